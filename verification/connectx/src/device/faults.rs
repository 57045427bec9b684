//! Where the faults of [`crate::fault`] meet the work: before a WQE is executed, and before an entry is written.

use super::{requester::Step, responder::Stop, timers::now, turn::Turn};
use crate::{
    fault::Fault,
    state::{QueuePair, Stall},
};

/// What becomes of an attempt.
pub(super) enum Fate {
    /// Nothing: it is executed.
    Executed,
    /// It ends so.
    Stopped(Stop),
    /// Later.
    Waits(Step),
}

impl Turn<'_> {
    /// Counts an attempt, unless it is one that a delay has held back, and says what a fault makes of it.
    pub(super) fn fate(&mut self, queue_pair: &QueuePair) -> Fate {
        if queue_pair.send.stall == Stall::Delayed || queue_pair.send.offset > 0 {
            return Fate::Executed;
        }
        let faults = self.device.faults.attempt();
        self.tables.counters.faults += faults.len() as u64;
        if self.device.faults.governs_link() {
            self.set_link(!faults.contains(&Fault::LinkDown));
        }
        let stopped = faults.iter().find_map(|fault| match fault {
            Fault::Syndrome(syndrome) => Some(Stop::Failed(*syndrome)),
            Fault::NoAnswer => Some(Stop::NoAnswer),
            Fault::NoReceive => Some(Stop::NotReady { timer: 1 }),
            _ => None,
        });
        match (stopped, faults.iter().find_map(delay)) {
            (Some(stop), _) => Fate::Stopped(stop),
            (None, Some(nanoseconds)) => Fate::Waits(self.delay(queue_pair, nanoseconds)),
            (None, None) => Fate::Executed,
        }
    }

    fn delay(&mut self, queue_pair: &QueuePair, nanoseconds: u64) -> Step {
        self.update(queue_pair.number, |queue_pair| {
            queue_pair.send.stall = Stall::Delayed;
            queue_pair.send.due = now() + nanoseconds;
        });
        self.wake(queue_pair.owner);
        Step::Idle
    }

    /// Counts an entry of a completion queue; whether it is lost.
    pub(super) fn loses_completion(&mut self) -> bool {
        let is_lost = self.device.faults.drops_completion();
        self.tables.counters.faults += u64::from(is_lost);
        is_lost
    }
}

fn delay(fault: &Fault) -> Option<u64> {
    match fault {
        Fault::Delay(time) => Some(time.as_nanos() as u64),
        _ => None,
    }
}
