use std::collections::BTreeMap;

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use proptest::prelude::*;

use super::*;

fn piece(address: u64, length: u64, key: u32) -> LocalPiece {
    LocalPiece { address, length, key: LocalKey(key) }
}

fn remote(address: u64, key: u32) -> RemoteAddress {
    RemoteAddress { address, key: RemoteKey(key) }
}

fn build(limits: WorkListLimits, pieces: &[(LocalPiece, RemoteAddress)]) -> WorkList {
    let mut builder = WorkListBuilder::with_capacity(Direction::Write, limits, pieces.len());
    pieces.iter().for_each(|&(local, remote)| builder.push(local, remote));
    builder.finish()
}

/// Lengths and pieces of each entry.
fn shape(list: &WorkList) -> Vec<(u32, u16)> {
    list.entries().iter().map(|entry| (entry.length, entry.sge_count)).collect()
}

#[test]
fn neighbours_on_both_sides_merge() {
    let list = build(
        WorkListLimits::default(),
        &[(piece(0x1000, 64, 1), remote(0x9000, 2)), (piece(0x1040, 64, 1), remote(0x9040, 2))],
    );
    assert_eq!(shape(&list), [(128, 1)]);
    assert_eq!((list.bytes(), list.sges().len(), list.widest()), (128, 1, 1));
}

#[test]
fn neighbours_in_the_peer_only_gather() {
    let list = build(
        WorkListLimits { max_sges: 3, ..WorkListLimits::default() },
        &[
            (piece(0x1000, 64, 1), remote(0x9000, 2)),
            (piece(0x5000, 64, 1), remote(0x9040, 2)),
            (piece(0x3000, 64, 1), remote(0x9080, 2)),
            (piece(0x3040, 64, 1), remote(0x90c0, 2)),
            (piece(0x7000, 64, 1), remote(0x9100, 2)),
        ],
    );
    assert_eq!(shape(&list), [(256, 3), (64, 1)]);
    assert_eq!(list.local(&list.entries()[0]).len(), 3);
}

#[test]
fn other_keys_keep_pieces_apart() {
    let other_rkey = [(piece(0x1000, 64, 1), remote(0x9000, 2)), (piece(0x1040, 64, 1), remote(0x9040, 3))];
    assert_eq!(shape(&build(WorkListLimits::default(), &other_rkey)), [(64, 1), (64, 1)]);
    let other_lkey = [(piece(0x1000, 64, 1), remote(0x9000, 2)), (piece(0x1040, 64, 4), remote(0x9040, 2))];
    assert_eq!(shape(&build(WorkListLimits::default(), &other_lkey)), [(128, 2)]);
}

#[test]
fn long_pieces_are_split() {
    let limits = WorkListLimits { max_message: WorkListLimits::LARGEST_MESSAGE, ..WorkListLimits::default() };
    let list = build(limits, &[(piece(0x1000, 5 << 30, 1), remote(0x9000, 2))]);
    assert_eq!(shape(&list), [(1 << 31, 1), (1 << 31, 1), (1 << 30, 1)]);
    assert_eq!(list.bytes(), 5 << 30);
}

#[test]
fn nothing_and_senseless_limits_are_taken() {
    let limits = WorkListLimits { max_sges: 0, max_message: 0 };
    let list =
        build(limits, &[(piece(0x1000, 0, 1), remote(0x9000, 2)), (piece(0x1000, 2, 1), remote(0x9000, 2))]);
    assert_eq!(shape(&list), [(1, 1), (1, 1)]);
    assert!(build(WorkListLimits::default(), &[]).entries().is_empty());
    let top = build(WorkListLimits::default(), &[(piece(u64::MAX - 1, 4, 1), remote(u64::MAX - 1, 2))]);
    assert_eq!(top.bytes(), 4);
}

#[test]
fn the_memory_of_a_dropped_list_is_used_again() {
    let spares = Spares::default();
    let fill = || {
        let limits = WorkListLimits::default();
        let mut builder = WorkListBuilder::reusing(&spares, Direction::Write, limits, 4096);
        builder.extend((0..4096).map(|at| (piece(at * 128, 64, 1), remote(at * 64, 2))));
        builder.finish()
    };
    let first = fill();
    let (entries, sges) = (first.entries().as_ptr(), first.sges().as_ptr());
    let other = first.clone();
    assert_eq!((&other, spares.count()), (&first, 0));
    drop(first);
    assert_eq!(spares.count(), 1);
    let second = fill();
    assert_eq!((second.entries().as_ptr(), second.sges().as_ptr()), (entries, sges));
    assert_eq!((&second, spares.count()), (&other, 0));
    drop(other);
    assert_eq!(spares.count(), 0, "a clone's memory is its own");
}

#[test]
fn spares_are_few_and_neither_tiny_nor_huge() {
    let spares = Spares::<Vec<u8>>::default();
    let lend = |bytes: usize| {
        let mut lent = Spares::take(&spares);
        lent.clear();
        lent.shrink_to_fit();
        lent.resize(bytes, 1);
        lent
    };
    drop(lend(100));
    assert_eq!(spares.count(), 0, "tiny");
    drop(lend(Spares::<Vec<u8>>::MOST_BYTES + 1));
    assert_eq!(spares.count(), 0, "huge");
    let lent: Vec<_> = (0..2 * Spares::<Vec<u8>>::MOST).map(|_| lend(1 << 20)).collect();
    drop(lent);
    assert_eq!(spares.count(), Spares::<Vec<u8>>::MOST);
    assert!(spares.take().is_empty());
    drop((lend(40 << 20), lend(40 << 20)));
    assert_eq!(spares.count(), Spares::<Vec<u8>>::MOST - 1, "two of 40 MiB are too much together");
}

/// Where each remote byte comes from.
fn bytes_of(list: &WorkList) -> BTreeMap<(u32, u64), (u32, u64)> {
    let mut bytes = BTreeMap::new();
    for entry in list.entries() {
        let locals = list.local(entry);
        let sources =
            locals.iter().flat_map(|sge| (0..sge.length).map(|at| (sge.key.0, sge.address + u64::from(at))));
        for (offset, source) in sources.enumerate() {
            bytes.insert((entry.rkey.0, entry.remote + offset as u64), source);
        }
        assert_eq!(u64::from(entry.length), locals.iter().map(|sge| u64::from(sge.length)).sum::<u64>());
    }
    bytes
}

/// Pieces whose remote sides do not overlap, many of them neighbours.
fn pieces() -> impl Strategy<Value = Vec<(LocalPiece, RemoteAddress)>> {
    let step = (0_u64..40, 0_u64..3, 0_u64..3, 0_u32..8);
    prop::collection::vec(step, 0..60).prop_map(|steps| {
        let (mut local, mut far) = (0x1_0000_u64, 0x9_0000_u64);
        let mut pieces = Vec::new();
        for (length, local_gap, remote_gap, keys) in steps {
            (local, far) = (local + 8 * local_gap, far + 8 * remote_gap);
            pieces.push((piece(local, length, keys / 7), remote(far, keys / 6)));
            (local, far) = (local + length, far + length);
        }
        pieces
    })
}

proptest! {
    #[test]
    fn the_same_bytes_move(pieces in pieces(), max_sges in 1_u16..5, max_message in 1_u32..100) {
        let list = build(WorkListLimits { max_sges, max_message }, &pieces);
        let mut at_once = WorkListBuilder::new(Direction::Write, WorkListLimits { max_sges, max_message });
        at_once.extend(pieces.iter().copied());
        prop_assert_eq!(at_once.finish(), list.clone());
        let mut expected = BTreeMap::new();
        for (local, remote) in &pieces {
            for at in 0..local.length {
                expected.insert((remote.key.0, remote.address + at), (local.key.0, local.address + at));
            }
        }
        prop_assert_eq!(bytes_of(&list), expected);
        prop_assert_eq!(list.bytes(), pieces.iter().map(|(local, _)| local.length).sum::<u64>());
        for entry in list.entries() {
            prop_assert!(entry.length <= max_message && entry.sge_count <= max_sges && entry.length > 0);
        }
        prop_assert_eq!(list.widest(), list.entries().iter().map(|entry| entry.sge_count).max().unwrap_or(0));
    }

    /// A run that is contiguous on both sides takes the fewest requests, whatever pieces it comes in.
    #[test]
    fn runs_are_minimal(lengths in prop::collection::vec(1_u64..50, 1..40), max_message in 1_u32..300) {
        let mut at = 0;
        let pieces: Vec<_> = lengths.iter().map(|&length| {
            let next = (piece(0x1000 + at, length, 1), remote(0x9000 + at, 2));
            at += length;
            next
        }).collect();
        let list = build(WorkListLimits { max_sges: 1, max_message }, &pieces);
        prop_assert_eq!(list.entries().len() as u64, at.div_ceil(u64::from(max_message)));
    }
}

#[test]
fn errors_tell_a_route_that_broke_from_a_request_that_was_wrong() {
    let failed = |syndrome| TransferError::Failed { syndrome, vendor: 0, entry: 3, remote: remote(1, 2) };
    let unnotified = |syndrome| TransferError::NotificationFailed { syndrome, vendor: 0 };
    let broken = [
        Syndrome::RetryExceeded,
        Syndrome::ReceiverNotReadyExceeded,
        Syndrome::RemoteAborted,
        Syndrome::Flushed,
    ];
    for syndrome in Syndrome::ALL {
        let is_broken = broken.contains(&syndrome);
        let fault = RouteFault::WorkRequest { syndrome, vendor: 0 };
        assert_eq!(failed(syndrome).is_route_down(), is_broken, "{syndrome}");
        assert_eq!(unnotified(syndrome).is_route_down(), is_broken, "{syndrome}");
        assert_eq!(fault.is_disconnect(), is_broken, "{syndrome}");
        // Whatever took the route down, the others on it lost their way and did nothing wrong.
        assert!(fault.transfer_error().is_route_down(), "{syndrome}");
    }
    let silent = RouteFault::PeerSilent { silence: std::time::Duration::from_secs(5) };
    let disconnects = [RouteFault::PeerDown, silent, RouteFault::Disconnected, RouteFault::Closed];
    assert!(disconnects.iter().all(|fault| fault.is_disconnect() && fault.transfer_error().is_route_down()));
    let others = [RouteFault::Unresponsive, RouteFault::HandlerPanicked, RouteFault::Protocol];
    assert!(others.iter().all(|fault| !fault.is_disconnect() && fault.transfer_error().is_route_down()));
    let own = [
        TransferError::Cancelled,
        TransferError::DeadlineExceeded,
        TransferError::LaneEnded { fault: LaneFault::Shutdown },
    ];
    assert!(own.iter().all(|error| !error.is_route_down()));
}
