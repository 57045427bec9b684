//! The planner, without moving a byte: lengths beyond every memory.

use pmd_core::memory::{LocalKey, RemoteKey};
use pmd_host::transfer::WorkListLimits;
use proptest::prelude::*;

use crate::kvtrans::stripes::{Ends, Stripe, cut, work};

const CHUNK: u32 = 512 << 10;

#[test]
fn a_message_of_one_chunk_is_one_stripe_and_longer_ones_use_every_lane() {
    assert_eq!(cut(0, 8, CHUNK), [Stripe { offset: 0, length: 0 }]);
    assert_eq!(cut(u64::from(CHUNK), 8, CHUNK).len(), 1);
    assert_eq!(cut(u64::from(CHUNK) + 1, 8, CHUNK).len(), 2);
    assert_eq!(cut(1 << 30, 8, CHUNK).len(), 8);
    assert_eq!(cut(1 << 30, 0, CHUNK).len(), 1, "there is always a lane");
}

#[test]
fn work_beyond_four_gigabytes_reaches_every_byte_once() {
    let (length, lanes) = ((5 << 30) + 12_345, 3);
    let ends = Ends { local: 1 << 40, local_key: LocalKey(1), remote: 1 << 44, remote_key: RemoteKey(2) };
    let limits = WorkListLimits { max_message: CHUNK, ..WorkListLimits::default() };
    let stripes = cut(length, lanes, CHUNK);
    assert_eq!(stripes.len(), lanes);
    let (mut local, mut remote) = (ends.local, ends.remote);
    for stripe in stripes {
        let list = work(stripe, &ends, limits);
        assert_eq!(list.bytes(), stripe.length);
        for entry in list.entries() {
            assert_eq!((entry.remote, entry.rkey), (remote, RemoteKey(2)));
            assert!(entry.length <= CHUNK);
            let [piece] = list.local(entry) else { panic!("one piece for one range") };
            assert_eq!((piece.address, piece.length), (local, entry.length));
            (local, remote) = (local + u64::from(entry.length), remote + u64::from(entry.length));
        }
    }
    assert_eq!((local - ends.local, remote - ends.remote), (length, length));
}

proptest! {
    #[test]
    fn stripes_are_neighbours_and_make_up_the_message(
        length in prop_oneof![0..100_000_u64, 0..u64::MAX / 2, Just(u64::MAX)],
        lanes in 1..65_usize,
        chunk in prop_oneof![Just(4096_u32), Just(CHUNK), 4096..=1_u32 << 31],
    ) {
        let stripes = cut(length, lanes, chunk);
        prop_assert!((1..=lanes).contains(&stripes.len()));
        let mut next = 0;
        for stripe in &stripes {
            prop_assert_eq!(stripe.offset, next);
            prop_assert!(stripe.length > 0 || length == 0);
            next += stripe.length;
        }
        prop_assert_eq!(next, length);
    }
}
