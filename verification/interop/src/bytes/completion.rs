//! Completion entries, decoded by our driver, by ibv_poll_cq and by ibv_start_poll.

use pmd_core::{
    memory::{LocalKey, Sge},
    provider::{ReceiveRequest, SendFlags},
    wire::{
        Cqe, ErrorCompletion, ReceivePath, Received, RequesterCompletion, ResponderCompletion, Scatter, Side,
        Syndrome,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestCaseError};

use super::{
    Options,
    layout::{Hex, Path},
    pair::{Pair, Posted, Unlike, opcode},
    request::{self, Data, Extra, Request, Work},
    send::{NARROW, fail, post, sizes},
    theirs::{Poll, Wanted},
};
use crate::harness::Harness;

/// Something that completes.
#[derive(Clone, Debug)]
enum Event {
    /// Requests, of which these complete, in order, and the last one in any case.
    Sent(Vec<Request>, Vec<Index>),
    /// A receive.
    Arrived(ResponderCompletion),
}

/// Runs the checks.
pub(super) fn check(harness: &mut Harness, options: &Options) {
    for (poll, name) in [(Poll::Plain, "ibv_poll_cq"), (Poll::Extended, "ibv_start_poll")] {
        for entry_bytes in [64, 128] {
            let wanted = Wanted { entry_bytes, ..NARROW };
            let name = |what: &str| format!("bytes::completion::{name}_{entry_bytes}_{what}");
            harness.check(&name("success"), || successes(options, wanted, poll));
            let shared = Wanted { is_shared: true, ..wanted };
            harness.check(&name("success_shared"), || successes(options, shared, poll));
            harness.check(&name("every_syndrome"), || every_syndrome(options, wanted, poll));
            harness.check(&name("payload"), || payload(options, wanted, poll));
        }
    }
    harness.check("bytes::completion::arming", || arming(options));
}

fn successes(options: &Options, wanted: Wanted, poll: Poll) {
    let requests = vec(request::request(sizes(wanted), false), 1..=8);
    let event = prop_oneof![
        (requests, vec(any::<Index>(), 0..4)).prop_map(|(requests, some)| Event::Sent(requests, some)),
        arrival().prop_map(Event::Arrived),
    ];
    let mut entries = 0;
    options.run(&vec(event, 1..80), |events| {
        let mut pair = Pair::new(&options.device, wanted);
        for event in &events {
            match event {
                Event::Sent(requests, some) => sent(&mut pair, requests, some, poll)?,
                Event::Arrived(arrived) => receive(&mut pair, *arrived, poll)?,
            }
        }
        entries += pair.entry;
        Ok(())
    });
    assert!(entries > 1000, "hardly anything: {entries} entries");
}

/// Posts requests and completes some of them: a completion retires those before it.
fn sent(pair: &mut Pair, requests: &[Request], some: &[Index], poll: Poll) -> Result<(), TestCaseError> {
    let posted = post(pair, requests)?;
    let mut chosen: Vec<usize> = some.iter().map(|index| index.index(posted.len())).collect();
    chosen.push(posted.len() - 1);
    chosen.sort_unstable();
    chosen.dedup();
    for index in chosen {
        let entry = Cqe::Requester(posted[index].success(pair.shape.queue_pair));
        let (completion, _) = pair.complete(&entry, &[0; 64], poll).map_err(fail)?;
        prop_assert_eq!(completion.id, posted[index].id);
    }
    Ok(())
}

/// Posts a receive without memory and completes it.
fn receive(pair: &mut Pair, arrived: ResponderCompletion, poll: Poll) -> Result<(), TestCaseError> {
    let id = arm_receive(pair, &[]).map_err(fail)?;
    let entry =
        Cqe::Responder(ResponderCompletion { wqe_counter: slot_of(pair, id), ..addressed(pair, arrived) });
    let (completion, _) = pair.complete(&entry, &[0; 64], poll).map_err(fail)?;
    prop_assert_eq!(completion.id, id);
    Ok(())
}

/// First id of receives; they count up.
const RECEIVES: u64 = 1 << 40;

/// Posts a receive on both sides. Every receive completes before the next one is posted, so that the slots of a shared
/// queue are taken in turn.
fn arm_receive(pair: &mut Pair, list: &[Sge]) -> Result<u64, Unlike> {
    let id = RECEIVES + pair.next_id;
    pair.next_id += 1;
    pair.received += 1;
    pair.ours.receive(&ReceiveRequest { id, scatter: list })?;
    pair.theirs.receive(&ReceiveRequest { id, scatter: list });
    Ok(id)
}

/// The slot of the receive posted last.
fn slot_of(pair: &Pair, _id: u64) -> u16 {
    ((pair.received - 1) % pair.shape.receives) as u16
}

fn addressed(pair: &Pair, arrived: ResponderCompletion) -> ResponderCompletion {
    ResponderCompletion { queue_pair: pair.shape.queue_pair, ..arrived }
}

/// Any arrival whose payload is in memory.
fn arrival() -> impl Strategy<Value = ResponderCompletion> {
    let received = prop_oneof![
        any::<u32>().prop_map(Received::WriteImmediate),
        Just(Received::Send),
        any::<u32>().prop_map(Received::SendImmediate),
        any::<u32>().prop_map(Received::SendInvalidate),
    ];
    let path = (0u32..1 << 24, 0u8..16, 0u8..4, any::<u16>(), any::<u8>()).prop_map(
        |(source_queue_pair, service_level, global_route, source_lid, path_bits)| ReceivePath {
            source_queue_pair,
            service_level,
            global_route,
            source_lid,
            path_bits,
        },
    );
    (received, path, any::<u32>(), any::<bool>(), any::<u64>()).prop_map(
        |(received, path, byte_count, solicited, timestamp)| ResponderCompletion {
            received,
            path,
            byte_count,
            solicited,
            timestamp,
            ..ResponderCompletion::default()
        },
    )
}

/// Every value of the syndrome's byte, for a send and for a receive; what is behind is flushed.
fn every_syndrome(options: &Options, wanted: Wanted, poll: Poll) {
    for byte in 0..=u8::MAX {
        let syndrome = Syndrome::from_byte(byte);
        let result = failed_send(options, wanted, poll, syndrome)
            .and_then(|()| failed_receive(options, wanted, poll, syndrome));
        result.unwrap_or_else(|unlike| panic!("{unlike}"));
    }
}

fn failed_send(options: &Options, wanted: Wanted, poll: Poll, syndrome: Syndrome) -> Result<(), Unlike> {
    let mut pair = Pair::new(&options.device, wanted);
    let mut silent = request::empty_write();
    silent.flags = SendFlags::empty();
    let requests = [request::empty_write(), silent.clone(), silent, request::empty_write()];
    let posted = pair.post(Path::PostSend, &requests)?;
    for (index, syndrome) in [(1, syndrome), (2, Syndrome::Flushed), (3, Syndrome::Flushed)] {
        let entry = Cqe::Error(ErrorCompletion {
            side: Side::Requester,
            queue_pair: pair.shape.queue_pair,
            operation: opcode(&posted[index].request.work) as u8,
            wqe_counter: posted[index].slot as u16,
            syndrome,
            vendor: 0x51 ^ syndrome.to_byte(),
            shared_receive_queue: 0,
        });
        let (completion, _) = pair.complete(&entry, &[0; 64], poll)?;
        assert_eq!(completion.id, posted[index].id);
    }
    Ok(())
}

fn failed_receive(options: &Options, wanted: Wanted, poll: Poll, syndrome: Syndrome) -> Result<(), Unlike> {
    let mut pair = Pair::new(&options.device, wanted);
    let ids = [arm_receive(&mut pair, &[])?, arm_receive(&mut pair, &[])?];
    for (index, syndrome) in [(0, syndrome), (1, Syndrome::Flushed)] {
        let entry = Cqe::Error(ErrorCompletion {
            side: Side::Responder,
            queue_pair: pair.shape.queue_pair,
            operation: 0,
            wqe_counter: index as u16,
            syndrome,
            vendor: 0x17 ^ syndrome.to_byte(),
            shared_receive_queue: 0,
        });
        let (completion, _) = pair.complete(&entry, &[0; 64], poll)?;
        assert_eq!(completion.id, ids[index]);
    }
    Ok(())
}

/// Payload in the entry itself: both copy it to where the request says.
fn payload(options: &Options, wanted: Wanted, poll: Poll) {
    let wanted = Wanted { scatter_to_completion: true, ..wanted };
    let parts = vec(0usize..40, 1..=4);
    let what = (parts, vec(any::<u8>(), 64), any::<bool>(), any::<bool>(), any::<Index>());
    options.run(&what, |(parts, bytes, is_receive, is_long, length)| {
        let mut pair = Pair::new(&options.device, wanted);
        let mut target = Target::new();
        let list = target.list(&parts);
        // For a 128-byte entry libmlx5 looks for what a send returned elsewhere than in front of its second half; such
        // entries are left to receives.
        let is_receive = is_receive || wanted.entry_bytes == 128;
        let is_long = is_long && wanted.entry_bytes == 128;
        let room = parts.iter().sum::<usize>().min(if is_long { 64 } else { 32 });
        let length = length.index(room + 1) as u32;
        let mut inside = [0; 32];
        inside.copy_from_slice(&bytes[..32]);
        let scatter = if is_long { Scatter::Preceding } else { Scatter::InEntry(inside) };
        let entry = if is_receive {
            let id = arm_receive(&mut pair, &list).map_err(fail)?;
            let (wqe_counter, byte_count) = (slot_of(&pair, id), length);
            let arrived = ResponderCompletion { byte_count, wqe_counter, scatter, ..Default::default() };
            Cqe::Responder(addressed(&pair, arrived))
        } else {
            read(&mut pair, list, length, scatter)?
        };
        let preceding = bytes.as_slice().try_into().expect("64 bytes");
        let mut first = Vec::new();
        pair.complete_with(&entry, preceding, poll, || first = target.take()).map_err(fail)?;
        let second = target.take();
        if first == second {
            return Ok(());
        }
        let (ours, theirs) = (Hex(first), Hex(second));
        Err(fail(Unlike::Payload { entry: Box::new(entry), ours, theirs }))
    });
}

/// Posts a READ into `list` whose entry carries `length` bytes.
fn read(pair: &mut Pair, list: Vec<Sge>, length: u32, scatter: Scatter) -> Result<Cqe, TestCaseError> {
    // Our driver tells the length that was asked for, libmlx5 the one in the entry: in truth they are equal.
    let mut left = length;
    let cut = |entry: Sge| {
        let taken = entry.length.min(left);
        left -= taken;
        Sge { length: taken, ..entry }
    };
    let list = list.into_iter().map(cut).collect();
    let work = Work::Read { remote: Default::default(), list };
    let posted: Vec<Posted> = post(pair, &[Request { work, flags: SendFlags::SIGNALED }])?;
    let success = posted[0].success(pair.shape.queue_pair);
    Ok(Cqe::Requester(RequesterCompletion { byte_count: length, scatter, ..success }))
}

/// Memory that payload is copied to.
struct Target(Box<[u8; 256]>);

impl Target {
    fn new() -> Self {
        Self(Box::new([0xa5; 256]))
    }

    /// Entries of these lengths, one behind the other with gaps.
    fn list(&mut self, parts: &[usize]) -> Vec<Sge> {
        let base = self.0.as_mut_ptr().expose_provenance() as u64;
        let entry = |(index, length): (usize, &usize)| Sge {
            address: base + index as u64 * 48,
            length: *length as u32,
            key: LocalKey(index as u32 + 1),
        };
        parts.iter().enumerate().map(entry).collect()
    }

    /// What is there, and makes it as it was before.
    fn take(&mut self) -> Vec<u8> {
        let base = self.0.as_mut_ptr();
        let mut taken = Vec::with_capacity(256);
        for index in 0..256 {
            taken.push(exchange(base.wrapping_add(index)));
        }
        taken
    }
}

/// Reads a byte and puts the old one back.
#[expect(unsafe_code, reason = "memory that was written through its address only")]
fn exchange(place: *mut u8) -> u8 {
    // SAFETY: a byte of the target, which this thread owns and nobody writes now.
    unsafe {
        let byte = place.read_volatile();
        place.write_volatile(0xa5);
        byte
    }
}

/// The arm word of the doorbell record, and the doorbell.
fn arming(options: &Options) {
    let mut pair = Pair::new(&options.device, NARROW);
    for round in 0..200 {
        let posted = pair.post(Path::PostSend, &[sent_nothing()]).unwrap_or_else(|unlike| panic!("{unlike}"));
        pair.retire(&posted, Poll::Plain).unwrap_or_else(|unlike| panic!("{unlike}"));
        let solicited_only = round % 3 == 0;
        let (ours, theirs) = (pair.ours.arm(solicited_only), pair.theirs.arm(solicited_only));
        assert_eq!(ours, [theirs.to_ne_bytes()], "doorbell at consumer index {}", pair.entry);
        let (ours, theirs) = (pair.ours.completion_records(), pair.theirs.completion_records());
        assert_eq!(ours, theirs, "record at consumer index {}", pair.entry);
    }
}

fn sent_nothing() -> Request {
    let work = Work::Send { data: Data::Gather(Vec::new()), extra: Extra::None };
    Request { work, flags: SendFlags::SIGNALED }
}
