//! A program that never empties its completion queue hears of it.

use pmd_sys::verbs::*;

use super::bench::Bench;

/// More than fit.
const WRITES: u64 = 8;

#[test]
#[ignore = "runs on the simulated device, and breaks its rules"]
fn an_overrun_is_told_and_everything_can_be_destroyed() {
    let bench = Bench::new();
    (0..WRITES).for_each(|id| bench.write(id));
    let mut events = [bench.event(), bench.event()];
    events.sort_unstable();
    assert_eq!(events, [IBV_EVENT_CQ_ERR, IBV_EVENT_QP_FATAL]);
    // What is in the queue is good; what did not fit is lost.
    assert_eq!(bench.complete(4), [0, 1, 2, 3]);
    assert_eq!(bench.poll(), None);
    bench.destroy();
}
