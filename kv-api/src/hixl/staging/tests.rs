//! Cutting, copying and lending by themselves; what peers do to them.

use std::time::Duration;

use pmd_host::endpoint::EndpointConfig;
use proptest::prelude::*;

use super::{copy::CopyError, protocol::*, *};
use crate::{fabric::Handler, hixl::Status};

struct Silent;

impl Handler for Silent {}

fn fabric() -> Fabric {
    Fabric::open(EndpointConfig::default(), Arc::new(Silent)).expect("a fabric")
}

fn pool(buffers: usize, bytes: usize) -> Arc<BufferPool> {
    BufferPool::new(fabric(), Staging { buffers, bytes })
}

proptest! {
    /// Chunks hold every byte of the descriptors once, in order, and none is larger than a buffer.
    #[test]
    fn chunks_are_the_descriptors(
        lengths in prop::collection::vec(0_u64..50, 0..40),
        limit in 1_u64..64,
    ) {
        let descriptors: Vec<Descriptor> = lengths
            .iter()
            .zip(0_u64..)
            .map(|(length, index)| Descriptor { local: 1000 * index, remote: 7000 + 900 * index, length: *length })
            .collect();
        let bytes = |address: u64, length: u64| address..address + length;
        let wanted: Vec<(u64, u64)> = descriptors
            .iter()
            .flat_map(|piece| bytes(piece.local, piece.length).zip(bytes(piece.remote, piece.length)))
            .collect();
        let mut found = Vec::new();
        for chunk in Chunks::new(&descriptors, limit) {
            prop_assert!(chunk.bytes <= limit && chunk.bytes > 0);
            let local = chunk.local.iter().flat_map(|piece| bytes(piece.address, piece.length));
            let remote = chunk.remote.iter().flat_map(|piece| bytes(piece.address, piece.length));
            let before = found.len();
            found.extend(local.zip(remote));
            prop_assert_eq!((found.len() - before) as u64, chunk.bytes);
            let last = chunk.descriptors(5).last().map(|piece| piece.local + piece.length);
            prop_assert_eq!(last, Some(5 + chunk.bytes));
        }
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn questions_and_answers_survive_the_wire(
        number: u64, write: bool, buffer: u64, patience_in_millis: u32,
        pieces in prop::collection::vec((any::<u64>(), any::<u64>()), 0..20),
        cut in 0_usize..8,
    ) {
        let pieces = pieces.into_iter().map(|(address, length)| Piece { address, length }).collect();
        let ask = Ask { number, write, buffer, patience_in_millis, pieces };
        let bytes = encode(&ask);
        prop_assert_eq!(decode::<Ask>(&bytes), Some(ask));
        // Half a question is none, whatever it is taken for.
        let half = &bytes[..bytes.len().saturating_sub(cut + 1)];
        prop_assert_eq!(decode::<Ask>(half), None);
    }
}

#[test]
fn many_pieces_are_one_chunk_after_the_other() {
    let descriptors = vec![Descriptor { local: 8, remote: 8, length: 1 }; 2 * PIECES + 3];
    let counts: Vec<_> = Chunks::new(&descriptors, 1 << 20).map(|chunk| chunk.local.len()).collect();
    assert_eq!(counts, [PIECES, PIECES, 3]);
}

/// Copies in and out of a buffer.
fn copy(lease: &mut Lease, pieces: &[Piece], gather: bool) -> Result<(), CopyError> {
    let bytes = pieces.iter().map(|piece| piece.length).sum();
    // SAFETY: the buffer is this test's alone.
    let buffer = unsafe { lease.bytes(bytes) }.expect("lent");
    if gather { buffer.gather(pieces) } else { buffer.scatter(pieces) }
}

#[test]
fn pieces_of_any_number_are_copied_in_order() {
    let mut lease = pool(1, 1 << 20).lend(Instant::now()).expect("a buffer");
    let source: Vec<u8> = (0..9000_u32).map(|index| (index % 253) as u8).collect();
    let mut target = vec![0_u8; 9000];
    // Three bytes each, the last ones first: more than the kernel takes at once.
    let pieces = |start: u64| -> Vec<Piece> {
        (0..3000).rev().map(|index| Piece { address: start + 3 * index, length: 3 }).collect()
    };
    copy(&mut lease, &pieces(source.as_ptr() as u64), true).expect("gathered");
    copy(&mut lease, &pieces(target.as_mut_ptr() as u64), false).expect("scattered");
    assert_eq!(std::hint::black_box(&target), &source);
}

#[test]
fn the_first_byte_that_is_not_there_is_named() {
    let mut lease = pool(1, 1 << 20).lend(Instant::now()).expect("a buffer");
    let good = [7_u8; 100];
    let good = Piece { address: good.as_ptr() as u64, length: 100 };
    let empty = Piece { address: 1, length: 0 };
    let bad = Piece { address: 4096, length: 10 };
    for pieces in [vec![bad], vec![good, bad], vec![empty, good, empty, bad, good], vec![bad, good]] {
        for gather in [true, false] {
            let refused = copy(&mut lease, &pieces, gather);
            assert_eq!(refused, Err(CopyError::BadAddress { address: 4096 }), "{pieces:?}");
        }
    }
    copy(&mut lease, &[empty, good], true).expect("the others are");
}

#[test]
fn more_than_the_buffer_is_refused_rather_than_cut() {
    let mut lease = pool(1, 4096).lend(Instant::now()).expect("a buffer");
    let source = [1_u8; 5000];
    let pieces = [Piece { address: source.as_ptr() as u64, length: 5000 }];
    let room = source.as_ptr() as u64 + 4096;
    assert_eq!(copy(&mut lease, &pieces, true), Err(CopyError::BadAddress { address: room }));
}

#[test]
fn buffers_are_lent_once_and_wanted_ones_waited_for() {
    let pool = pool(2, 4096);
    let soon = || Instant::now() + Duration::from_millis(5);
    let (one, other) = (pool.lend(soon()).expect("one"), pool.lend(soon()).expect("another"));
    assert_ne!(one.address(), other.address());
    let refused = pool.lend(soon()).err().expect("there are two");
    assert_eq!(refused.status(), Status::Timeout);
    let address = one.address();
    drop(one);
    let again = pool.lend(soon()).expect("it came back");
    assert_eq!(again.address(), address);
    again.discard();
    let another = pool.lend(soon()).expect("one that was given up is replaced");
    assert!(pool.try_lend().expect("asked").is_none());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.lend(Instant::now() + Duration::from_secs(20)).map(drop));
        drop(another);
        waiting.join().expect("no panic").expect("lent when the other came back");
    });
}

/// What is given up on the control thread reaches those that wait, whichever of the two is first.
#[test]
fn a_buffer_that_is_given_up_is_replaced_for_those_that_wait() {
    let pool = pool(1, 4096);
    let lend = || pool.lend(Instant::now() + Duration::from_secs(20)).expect("replaced");
    lend().orphan();
    let second = lend();
    assert!(pool.try_lend().expect("asked").is_none(), "the replaced one was lent as well");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| drop(lend()));
        second.orphan();
        waiting.join().expect("no panic");
    });
    let third = lend();
    assert!(pool.try_lend().expect("asked").is_none(), "one buffer, however often it was given up");
    drop(third);
}

#[test]
fn a_buffer_that_cannot_be_allocated_is_an_error_each_time() {
    let pool = pool(1, 1 << 60);
    for _ in 0..3 {
        let refused = pool.lend(Instant::now()).err().expect("too large");
        assert!(matches!(refused, HixlError::Fabric(FabricError::Allocate(_))), "{refused}");
    }
}
