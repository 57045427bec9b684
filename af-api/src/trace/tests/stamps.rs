//! Stamps and the spans between them.

use super::{server_stamps, worker_stamps};
use crate::trace::{Moment, Phase, ServerStamps, StampCell, WorkerStamps, now};

#[test]
fn the_clock_goes_forward() {
    let first = now();
    assert!(first > 0 && now() >= first);
}

#[test]
fn a_cell_tells_what_was_noted_until_it_is_cleared() {
    let cell = StampCell::default();
    assert_eq!(cell.load(), WorkerStamps::default());
    let moments = [Moment::Submitted, Moment::EventDone, Moment::Posted, Moment::Arrived, Moment::Completed];
    for (moment, at) in moments.into_iter().zip([100, 110, 130, 200, 205]) {
        cell.note(moment, at);
    }
    assert_eq!(cell.load(), worker_stamps(200));
    cell.clear();
    assert_eq!(cell.load(), WorkerStamps::default());
}

#[test]
fn spans_are_between_their_moments() {
    let worker: Vec<_> = worker_stamps(200).phases().collect();
    let wanted = [
        (Phase::Event, 10),
        (Phase::Post, 20),
        (Phase::RoundTrip, 70),
        (Phase::Complete, 5),
        (Phase::Total, 105),
    ];
    assert_eq!(worker, wanted);
    let server: Vec<_> = server_stamps(1).phases().collect();
    assert_eq!(server, [(Phase::Queue, 10), (Phase::Compute, 30), (Phase::Respond, 2), (Phase::Server, 42)]);
    assert_eq!(server_stamps(1).network(&worker_stamps(200)), Some(28));
}

#[test]
fn spans_without_a_moment_are_left_out() {
    assert_eq!(WorkerStamps { arrived: 0, completed: 0, ..worker_stamps(200) }.phases().count(), 2);
    assert_eq!(ServerStamps { received: 5, ..ServerStamps::default() }.phases().count(), 0);
}

#[test]
fn each_phase_has_its_own_name() {
    let names: std::collections::HashSet<_> = Phase::ALL.iter().map(|phase| phase.name()).collect();
    assert_eq!(names.len(), Phase::ALL.len());
    assert!(Phase::ALL.iter().enumerate().all(|(index, phase)| *phase as usize == index));
}
