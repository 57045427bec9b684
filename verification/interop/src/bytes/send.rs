//! Send WQEs, doorbell records and doorbells against those of ibv_post_send and ibv_wr_*.

use pmd_core::wire::{self, SendExtra, SendWqe, Service};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestCaseError,
};

use super::{
    Options,
    layout::Path,
    pair::{Pair, Posted, Unlike},
    request::{self, Extra, Request, Sizes, Work},
    theirs::{Poll, Theirs, Wanted},
};
use crate::harness::Harness;

/// Queue pairs for long lists and long inline payloads: WQEs of up to 16 slots.
pub(super) const WIDE: Wanted = Wanted {
    send_requests: 16,
    sges: 30,
    inline: 800,
    receives: 32,
    receive_sges: 7,
    entries: 64,
    entry_bytes: 64,
    is_shared: false,
    scatter_to_completion: false,
};

/// Queue pairs for short ones, whose small queue wraps all the time.
pub(super) const NARROW: Wanted = Wanted { sges: 4, inline: 60, ..WIDE };

/// Requests of one doorbell, at most.
const BATCH: usize = 8;
/// Slots that a queue's 16-bit index has.
const INDEX_RANGE: u32 = 1 << 16;

/// Runs the checks of both ways to post.
pub(super) fn check(harness: &mut Harness, options: &Options) {
    for (path, name) in [(Path::PostSend, "ibv_post_send"), (Path::WorkRequest, "ibv_wr")] {
        for (wanted, shape) in [(WIDE, "wide"), (NARROW, "narrow")] {
            harness.check(&format!("bytes::send::{name}_{shape}"), || batches(options, path, wanted));
        }
        harness.check(&format!("bytes::send::{name}_past_16_bits"), || past_index_range(options, path));
        harness.check(&format!("bytes::send::{name}_decodes"), || decodes(options, path));
    }
}

pub(super) fn sizes(wanted: Wanted) -> Sizes {
    Sizes { sges: wanted.sges as usize, inline: wanted.inline as usize }
}

fn batches(options: &Options, path: Path, wanted: Wanted) {
    let mut count = Counted::default();
    options.run(&request::batches(sizes(wanted), BATCH), |batches| {
        let mut pair = Pair::new(&options.device, wanted);
        for requests in &batches {
            let posted = pair.post(path, requests).map_err(fail)?;
            pair.retire(&posted, Poll::Plain).map_err(fail)?;
            count.requests += posted.len();
        }
        count.wraps += pair.position / pair.shape.send_slots;
        count.blue_flames += pair.blue_flames;
        Ok(())
    });
    assert!(
        count.requests > 1000 && count.wraps > 10 && count.blue_flames > 10,
        "hardly anything: {count:?}"
    );
}

/// What was compared, so that a check that compares nothing fails.
#[derive(Debug, Default)]
struct Counted {
    requests: usize,
    /// Times that a queue went on at its beginning.
    wraps: u32,
    blue_flames: u32,
}

/// One queue pair until its 16-bit index has wrapped.
fn past_index_range(options: &Options, path: Path) {
    let mut pair = Pair::new(&options.device, WIDE);
    let mut runner = options.runner();
    let strategy = proptest::collection::vec(request::request(sizes(WIDE), false), 1..=BATCH);
    while pair.position < INDEX_RANGE + 4 * pair.shape.send_slots {
        let requests = strategy.new_tree(&mut runner).expect("no filter").current();
        let posted = pair.post(path, &requests).unwrap_or_else(|unlike| panic!("{unlike}"));
        pair.retire(&posted, Poll::Extended).unwrap_or_else(|unlike| panic!("{unlike}"));
    }
}

/// The parser with which the simulated device decodes reads libmlx5's WQEs as what was asked for.
fn decodes(options: &Options, path: Path) {
    let mut count = 0;
    options.run(&request::request(sizes(WIDE), true), |request| {
        let theirs = decoded(options, path, &request);
        count += 1;
        theirs.map_err(TestCaseError::fail)
    });
    assert!(count >= 100);
}

fn decoded(options: &Options, path: Path, request: &Request) -> Result<(), String> {
    let mut theirs = Theirs::new(&options.device, WIDE);
    theirs.post(path, 1, std::slice::from_ref(request));
    let queue = theirs.sent(0, theirs.shape().send_slots as usize * 64);
    let wqe = SendWqe::parse_strict(&queue, 1, Service::Connected).map_err(|error| error.to_string())?;
    if wqe.control.index != 1 || wqe.control.queue_pair != theirs.shape().queue_pair {
        return Err(format!("{wqe:?}"));
    }
    let same = match (&wqe.operation, &request.work) {
        (
            wire::Operation::Write { remote, immediate, data },
            Work::Write { remote: at, immediate: given, .. },
        ) => {
            remote.address == at.address
                && remote.rkey == at.key.0
                && immediate == given
                && is_data(data.clone(), request)
        }
        (wire::Operation::Read { remote, data }, Work::Read { remote: at, .. }) => {
            remote.address == at.address && remote.rkey == at.key.0 && is_data(data.clone(), request)
        }
        (wire::Operation::Send { extra, address_vector: None, data }, Work::Send { extra: given, .. }) => {
            is_extra(*extra, *given) && is_data(data.clone(), request)
        }
        (
            wire::Operation::CompareAndSwap { remote, operands, result },
            Work::CompareSwap { remote: at, local, compare, swap },
        ) => {
            remote.address == at.address
                && (operands.compare, operands.swap_or_add) == (*compare, *swap)
                && (result.address, result.length, result.lkey) == (local.address, 8, local.key.0)
        }
        (
            wire::Operation::FetchAndAdd { remote, addend, result },
            Work::FetchAdd { remote: at, local, add },
        ) => {
            remote.address == at.address
                && addend == add
                && (result.address, result.length, result.lkey) == (local.address, 8, local.key.0)
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("{wqe:?} for {request:?}")) }
}

fn is_extra(parsed: SendExtra, given: Extra) -> bool {
    match (parsed, given) {
        (SendExtra::None, Extra::None) => true,
        (SendExtra::Immediate(parsed), Extra::Immediate(given))
        | (SendExtra::Invalidate(parsed), Extra::Invalidate(given)) => parsed == given,
        _ => false,
    }
}

/// Whether the parsed items are the request's entries, or its inline bytes.
fn is_data(items: wire::DataItems<'_>, request: &Request) -> bool {
    use super::request::Data;
    let items: Vec<wire::DataItem<'_>> = items.collect();
    let list = match &request.work {
        Work::Read { list, .. } => list,
        Work::Write { data: Data::Gather(list), .. } | Work::Send { data: Data::Gather(list), .. } => list,
        Work::Write { data: Data::Inline { bytes, .. }, .. }
        | Work::Send { data: Data::Inline { bytes, .. }, .. } => {
            let joined: Vec<u8> = items
                .iter()
                .flat_map(|item| match item {
                    wire::DataItem::Inline(first, second) => [*first, *second].concat(),
                    wire::DataItem::Memory(_) => vec![0xee; 1000],
                })
                .collect();
            return joined == *bytes;
        }
        _ => return false,
    };
    let expected: Vec<wire::DataItem<'_>> = list
        .iter()
        .filter(|entry| entry.length != 0)
        .map(|entry| {
            wire::DataItem::Memory(wire::DataSegment {
                length: entry.length,
                lkey: entry.key.0,
                address: entry.address,
            })
        })
        .collect();
    items == expected
}

/// A difference, as proptest takes it.
pub(super) fn fail(unlike: Unlike) -> TestCaseError {
    TestCaseError::fail(unlike.to_string())
}

/// Posts one batch and gives it.
pub(super) fn post(pair: &mut Pair, requests: &[Request]) -> Result<Vec<Posted>, TestCaseError> {
    pair.post(Path::PostSend, requests).map_err(fail)
}
