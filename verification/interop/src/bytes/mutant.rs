//! Does the comparison notice? Our side is made to err in known ways, and each must be reported under its name.

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{Completion, CompletionError, CompletionKind, QueuePairNumber, SendFlags},
    wire::{Cqe, Syndrome},
};
use pmd_sys::verbs::*;
use proptest::prelude::*;

use super::{
    Options, completed,
    layout::{self, Path},
    ours::{Ours, Rung},
    pair::Pair,
    request::{self, Data, Request, Work},
    send::{WIDE, sizes},
    theirs::{Completed, Poll},
};
use crate::harness::Harness;

/// An error of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Bits of a byte of the first WQE.
    Byte { offset: usize, bits: u8 },
    /// The doorbell record is not written.
    RecordForgotten,
    /// The doorbell carries what is not the last WQE's beginning.
    OtherDoorbell,
    /// A byte of a BlueFlame copy.
    BlueFlameByte { offset: usize },
    /// No doorbell at all.
    Unrung,
    /// A doorbell for each request, rather than one for all.
    RungTwice,
    /// Our side takes the next entry for one of the round before.
    StaleOwner,
    /// The consumer index is not written.
    ConsumerForgotten,
}

impl Mutant {
    /// Spoils what our side has just written at `slot`, and how it rang.
    pub(super) fn plant(self, ours: &mut Ours, slot: u32, rung: &mut Vec<Rung>) {
        match (self, rung.first_mut()) {
            (Self::Byte { offset, bits }, _) => ours.spoil(slot, offset, bits),
            (Self::RecordForgotten, _) => ours.spoil_record(slot as u16),
            (Self::OtherDoorbell, Some(Rung::Doorbell(bytes))) => bytes[2] ^= 1,
            (Self::BlueFlameByte { offset }, Some(Rung::BlueFlame(bytes))) => bytes[offset] ^= 1,
            (Self::Unrung, _) => rung.clear(),
            (Self::StaleOwner | Self::ConsumerForgotten, _) => {}
            (Self::RungTwice, Some(first)) => {
                let first = first.clone();
                rung.push(first);
            }
            (mutant, _) => panic!("{mutant:?} does not fit to the request"),
        }
    }
}

/// Runs the checks.
pub(super) fn check(harness: &mut Harness, options: &Options) {
    harness.check("bytes::mutants::encoder", || encoders(options));
    harness.check("bytes::mutants::every_field", || every_field(options));
    harness.check("bytes::mutants::decoder", decoders);
    harness.check("bytes::mutants::poller", || pollers(options));
}

const REMOTE: RemoteAddress = RemoteAddress { address: 0x7fff_dead_beef_0000, key: RemoteKey(0x00be_ef07) };

fn write(data: Data) -> Request {
    let work = Work::Write { remote: REMOTE, data, immediate: None };
    Request { work, flags: SendFlags::all() }
}

fn gathered() -> Request {
    write(Data::Gather(vec![Sge { address: 0x1122_3344, length: 0x1000, key: LocalKey(0x00ca_fe01) }]))
}

fn inline() -> Request {
    write(Data::Inline { bytes: (0..25).collect(), cuts: Vec::new() })
}

fn swapped() -> Request {
    let local = Sge { address: 0x1122_3344, length: 8, key: LocalKey(0x00ca_fe01) };
    let work = Work::CompareSwap { remote: REMOTE, local, compare: 0x1111, swap: 0x2222 };
    Request { work, flags: SendFlags::SIGNALED }
}

/// Planted by hand: what, into which request, and what the report says.
fn encoders(options: &Options) {
    let byte = |offset, bits| Mutant::Byte { offset, bits };
    let planted = [
        (byte(7, 1), gathered(), "control.ds"),
        (byte(11, 0x08), gathered(), "control.fm_ce_se"),
        (byte(11, 0x80), gathered(), "control.fm_ce_se"),
        (byte(11, 0x02), gathered(), "control.fm_ce_se"),
        (byte(2, 1), gathered(), "control.index"),
        (byte(6, 1), gathered(), "control.queue_pair"),
        (byte(3, 0x18), gathered(), "control.opcode"),
        (byte(15, 1), gathered(), "control.immediate"),
        (byte(27, 0xff), gathered(), "remote.rkey"),
        (byte(47, 1), gathered(), "data[0].address"),
        (byte(32, 0x80), inline(), "inline.length"),
        (byte(60, 1), inline(), "inline.bytes"),
        (byte(39, 0x33), swapped(), "atomic.swap_or_add"),
        (byte(47, 0x33), swapped(), "atomic.compare"),
        (Mutant::RecordForgotten, gathered(), "send doorbell record"),
        (Mutant::OtherDoorbell, gathered(), "doorbell register"),
        (Mutant::BlueFlameByte { offset: 40 }, inline(), "doorbell register"),
        (Mutant::Unrung, gathered(), "doorbells of one batch"),
        (Mutant::RungTwice, gathered(), "doorbells of one batch"),
    ];
    for (mutant, request, name) in planted {
        let mut pair = Pair::new(&options.device, WIDE);
        pair.planted = Some(mutant);
        let report = match pair.post(Path::PostSend, std::slice::from_ref(&request)) {
            Ok(_) => panic!("{mutant:?} is not noticed"),
            Err(unlike) => unlike.to_string(),
        };
        assert!(report.contains(name), "{mutant:?} is reported as {report}");
        pair = Pair::new(&options.device, WIDE);
        pair.post(Path::PostSend, &[request]).unwrap_or_else(|unlike| panic!("without a mutant: {unlike}"));
    }
}

/// Errors of polling, and of the pointers that it hands to the device.
fn pollers(options: &Options) {
    let planted =
        [(Mutant::StaleOwner, "presence"), (Mutant::ConsumerForgotten, "completion doorbell record")];
    for (mutant, name) in planted {
        for poll in [Poll::Plain, Poll::Extended] {
            let mut pair = Pair::new(&options.device, WIDE);
            let posted = pair.post(Path::PostSend, &[gathered()]).unwrap_or_else(|unlike| panic!("{unlike}"));
            pair.planted = Some(mutant);
            match pair.retire(&posted, poll) {
                Ok(()) => panic!("{mutant:?} is not noticed"),
                Err(unlike) => assert!(unlike.to_string().contains(name), "{mutant:?}: {unlike}"),
            }
        }
    }
    // An entry of the round before is nobody's: neither side takes it.
    let mut pair = Pair::new(&options.device, WIDE);
    let posted = pair.post(Path::PostSend, &[gathered()]).unwrap_or_else(|unlike| panic!("{unlike}"));
    let entry = Cqe::Requester(posted[0].success(pair.shape.queue_pair));
    let mut bytes = pair.bytes(&entry, &[0; 64]);
    bytes[63] ^= 1;
    pair.ours.put_entry(pair.entry, &bytes);
    pair.theirs.put_entry(pair.entry, &bytes);
    assert_eq!(pair.ours.poll(), Ok(None));
    assert_eq!((pair.theirs.poll(Poll::Plain), pair.theirs.poll(Poll::Extended)), (None, None));
}

/// One bit of any field of any request.
fn every_field(options: &Options) {
    let strategy = (request::request(sizes(WIDE), false), any::<usize>(), 0u8..8);
    options.run(&strategy, |(request, place, bit)| {
        let mut pair = Pair::new(&options.device, WIDE);
        let fields = layout::fields(&request, Path::PostSend);
        let offset = place % layout::length(&fields);
        pair.planted = Some(Mutant::Byte { offset, bits: 1 << bit });
        let field = fields.iter().find(|field| field.range.contains(&offset)).expect("a field for each byte");
        match pair.post(Path::PostSend, std::slice::from_ref(&request)) {
            Ok(_) => prop_assert!(field.is_free, "{} at {offset} is not noticed", field.name),
            Err(unlike) => {
                prop_assert!(!field.is_free, "{} is free: {unlike}", field.name);
                prop_assert!(unlike.to_string().contains(&field.name), "{}: {unlike}", field.name);
            }
        }
        Ok(())
    });
}

/// A decoder that mixes something up.
fn decoders() {
    let good = Completion {
        id: 7,
        queue_pair: QueuePairNumber(9),
        byte_length: 100,
        immediate: Some(5),
        result: Ok(CompletionKind::Receive),
    };
    let theirs = Completed {
        id: 7,
        status: IBV_WC_SUCCESS,
        vendor: 0,
        queue_pair: 9,
        opcode: IBV_WC_RECV,
        length: 100,
        flags: IBV_WC_WITH_IMM,
        immediate: 5u32.to_be(),
    };
    assert_eq!(completed::compare(&good, &theirs), Ok(()));
    let error = CompletionError { syndrome: Syndrome::RemoteAccess, vendor: 0x88, is_receive: false };
    let wrong = [
        ("wr_id", Completion { id: 8, ..good }),
        ("qp_num", Completion { queue_pair: QueuePairNumber(8), ..good }),
        ("byte_len", Completion { byte_length: 0, ..good }),
        ("imm_data", Completion { immediate: None, ..good }),
        ("imm_data", Completion { immediate: Some(5u32.swap_bytes()), ..good }),
        ("opcode", Completion { result: Ok(CompletionKind::ReceiveWriteImmediate), ..good }),
        ("status", Completion { result: Err(error), ..good }),
    ];
    for (field, ours) in wrong {
        assert_eq!(completed::compare(&ours, &theirs), Err(field));
    }
    let failed = Completed { status: IBV_WC_REM_ACCESS_ERR, vendor: 0x88, ..theirs };
    let ours = |error| Completion { byte_length: 0, immediate: None, result: Err(error), ..good };
    assert_eq!(completed::compare(&ours(error), &failed), Ok(()));
    assert_eq!(completed::compare(&ours(CompletionError { vendor: 0, ..error }), &failed), Err("vendor_err"));
    let other = CompletionError { syndrome: Syndrome::RemoteOperation, ..error };
    assert_eq!(completed::compare(&ours(other), &failed), Err("status"));
}
