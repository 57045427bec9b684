//! Parking ends with a completion, with a wake-up and with its time, and loses none of them.

use std::time::{Duration, Instant};

use pmd_core::provider::{Completion, CompletionKind, Operation};
use pmd_host::backend::Backend;

use super::{PATIENCE, Pair, gather};

/// Every one of many completions ends a park or is there before it.
pub(crate) fn completions<B: Backend>(pair: &mut Pair<B>) {
    for id in 0..50 {
        let (entries, remote) = ([pair.here.sge(0, 64)], pair.there.remote(0));
        pair.post(id, Operation::Write { remote, local: gather(&entries) });
        pair.backend.ring_send(pair.left);
        let completion = parked(&mut pair.backend);
        assert_eq!((completion.id, completion.result), (id, Ok(CompletionKind::Write)));
    }
}

/// Parks until a completion is there; each park is long, so that a lost wake-up ends the test's patience.
fn parked<B: Backend>(backend: &mut B) -> Completion {
    let deadline = Instant::now() + PATIENCE;
    let mut place = [Completion::EMPTY];
    while backend.poll(&mut place).expect("polling") == 0 {
        assert!(Instant::now() < deadline, "no completion");
        backend.park(PATIENCE);
        assert!(Instant::now() < deadline, "a wake-up was lost");
    }
    place[0]
}

/// A wake-up before the park keeps it from sleeping; one during it ends it; time ends it too.
pub(crate) fn wake_ups<B: Backend>(pair: &mut Pair<B>) {
    let waker = pair.backend.waker();
    let begin = Instant::now();
    waker.wake();
    pair.backend.park(PATIENCE);
    let other = std::thread::spawn({
        let waker = waker.clone();
        move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        }
    });
    pair.backend.park(PATIENCE);
    other.join().expect("the waking thread");
    assert!(begin.elapsed() < PATIENCE, "a wake-up was lost");
    pair.backend.park(Duration::from_millis(5));
    assert!(begin.elapsed() < PATIENCE, "the time-out was lost");
}
