//! The clocks of two machines.

use proptest::prelude::*;

use crate::trace::{ClockOffset, ServerStamps, WorkerStamps};

const POSTED: u64 = 1_000_000_000;

/// A request whose ways take so long, with a server whose clock is ahead by `offset`.
fn request(offset: i64, there: u64, back: u64) -> (WorkerStamps, ServerStamps) {
    let at_server = |time: u64| time.strict_add_signed(offset);
    let received = POSTED + there;
    let sent = received + 500;
    let worker = WorkerStamps { posted: POSTED, arrived: sent + back, ..WorkerStamps::default() };
    let server =
        ServerStamps { received: at_server(received), sent: at_server(sent), ..ServerStamps::default() };
    (worker, server)
}

#[test]
fn equal_ways_give_the_offset_exactly() {
    let (worker, server) = request(-123_456, 800, 800);
    assert_eq!(
        ClockOffset::of(&worker, &server),
        Some(ClockOffset { nanoseconds: -123_456, uncertainty: 800 })
    );
}

#[test]
fn the_shortest_time_on_the_wire_wins() {
    let estimates = [(900, 100), (40, 60), (5000, 0)];
    let best = estimates.into_iter().filter_map(|(there, back)| {
        let (worker, server) = request(77, there, back);
        ClockOffset::of(&worker, &server)
    });
    assert_eq!(best.reduce(ClockOffset::better), Some(ClockOffset { nanoseconds: 67, uncertainty: 50 }));
}

#[test]
fn without_a_moment_there_is_no_estimate() {
    let (worker, server) = request(5, 10, 10);
    assert_eq!(ClockOffset::of(&worker, &ServerStamps { sent: 0, ..server }), None);
    assert_eq!(ClockOffset::of(&WorkerStamps::default(), &server), None);
}

#[test]
fn shifting_keeps_what_is_missing() {
    let ahead = ClockOffset { nanoseconds: 100, uncertainty: 0 };
    assert_eq!([0, 50, 150].map(|stamp| ahead.to_worker(stamp)), [0, 1, 50]);
}

proptest! {
    #[test]
    fn the_true_offset_is_within_the_uncertainty(
        offset in -900_000_000i64..900_000_000,
        there in 0u64..1_000_000,
        back in 0u64..1_000_000,
    ) {
        let (worker, server) = request(offset, there, back);
        let estimate = ClockOffset::of(&worker, &server).expect("all moments are there");
        prop_assert!(estimate.nanoseconds.abs_diff(offset) <= estimate.uncertainty);
    }
}
