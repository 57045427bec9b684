//! What waits: queue pairs whose peer has no receive, does not answer, or that a fault holds back.
//!
//! `requester` puts a queue pair to sleep; the service thread of its process calls [`Device::run_due`], which tries
//! again and says when to come back. InfiniBand specification 9.7.5.2.8 (RNR timers), 11.6.2 (local ack timeout).
#![allow(unsafe_code)] // asks for the time

use std::time::Duration;

use super::{Device, turn::Turn};
use crate::state::{QueuePair, SendProgress, Stall, state};

/// How often a queue pair without a timeout looks for its peer again.
const WITHOUT_TIMEOUT: u64 = 100_000_000;

/// RNR NAK timer codes in microseconds (InfiniBand specification, table 45).
const RECEIVER_NOT_READY: [u64; 32] = [
    655_360, 10, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1_280, 1_920, 2_560, 3_840, 5_120,
    7_680, 10_240, 15_360, 20_480, 30_720, 40_960, 61_440, 81_920, 122_880, 163_840, 245_760, 327_680,
    491_520,
];

/// RNR retries that never end.
const FOR_EVER: u8 = 7;

impl Device {
    /// Runs what is due of this process: stalled queue pairs, and work that was posted to failed ones without a
    /// doorbell (receives). Gives the time until the next is due, if anything waits.
    pub fn run_due(&self) -> Option<Duration> {
        for number in self.turn(|turn| turn.due()) {
            self.run(number);
        }
        for number in self.turn(|turn| turn.failed()) {
            self.turn(|turn| turn.flush_receives(number));
        }
        let next = self.turn(|turn| turn.stalled().map(|queue_pair| queue_pair.send.due).min())?;
        Some(Duration::from_nanos(next.saturating_sub(now())))
    }
}

impl Turn<'_> {
    /// Whether a queue pair has still to wait.
    pub(super) fn still_waits(&self, send: &SendProgress) -> bool {
        send.stall != Stall::None && now() < send.due
    }

    /// Puts a queue pair to sleep until its peer may have a receive; `false` when it has tried often enough.
    pub(super) fn wait_for_receive(&mut self, queue_pair: &QueuePair, timer: u8) -> bool {
        let retries = self.stall_again(queue_pair, Stall::ReceiverNotReady);
        let limit = queue_pair.path.rnr_retry;
        if limit != FOR_EVER && retries > limit {
            return false;
        }
        let wait = RECEIVER_NOT_READY[usize::from(timer) % RECEIVER_NOT_READY.len()] * 1_000;
        self.sleep(queue_pair, wait);
        true
    }

    /// Puts a queue pair to sleep until its request counts as lost.
    pub(super) fn wait_for_answer(&mut self, queue_pair: &QueuePair) {
        if self.stall_again(queue_pair, Stall::NoAnswer) == 1 {
            // Perhaps because its process was killed: its objects go then.
            self.tables.reap();
        }
        match queue_pair.path.timeout & 31 {
            0 => {
                self.update(queue_pair.number, |queue_pair| queue_pair.send.retries = 0);
                self.sleep(queue_pair, WITHOUT_TIMEOUT);
            }
            exponent => self.sleep(queue_pair, 4_096 << exponent),
        }
    }

    /// Counts one more attempt that ended in `stall`.
    fn stall_again(&mut self, queue_pair: &QueuePair, stall: Stall) -> u8 {
        let SendProgress { stall: earlier, retries, .. } = queue_pair.send;
        let retries = if earlier == stall { retries.saturating_add(1) } else { 1 };
        self.update(queue_pair.number, |queue_pair| {
            queue_pair.send.stall = stall;
            queue_pair.send.retries = retries;
        });
        retries
    }

    /// Sets when to try again, and tells the service thread of it.
    fn sleep(&mut self, queue_pair: &QueuePair, nanoseconds: u64) {
        self.update(queue_pair.number, |queue_pair| queue_pair.send.due = now() + nanoseconds);
        self.wake(queue_pair.owner);
    }

    fn stalled(&self) -> impl Iterator<Item = &QueuePair> {
        let own = self.device.process;
        self.tables.queue_pairs.iter().filter(move |queue_pair| {
            let runs = matches!(queue_pair.state, state::RTS | state::SQD);
            queue_pair.owner == own && runs && queue_pair.send.stall != Stall::None
        })
    }

    fn due(&self) -> Vec<u32> {
        let now = now();
        self.stalled()
            .filter(|queue_pair| queue_pair.send.due <= now)
            .map(|queue_pair| queue_pair.number)
            .collect()
    }

    fn failed(&self) -> Vec<u32> {
        let own = self.device.process;
        let failed = |queue_pair: &&QueuePair| queue_pair.owner == own && queue_pair.state == state::ERR;
        self.tables.queue_pairs.iter().filter(failed).map(|queue_pair| queue_pair.number).collect()
    }
}

/// Monotonic nanoseconds.
pub(super) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
