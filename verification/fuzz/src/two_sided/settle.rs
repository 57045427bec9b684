//! Letting things finish, starting anew, and what must hold then.

use std::time::{Duration, Instant};

use pmd_core::provider::{Provider, SendFlags};
use pmd_host::backend::Backend;

use super::{
    Kind,
    bench::{Side, World},
    expect::{Effect, Pending},
    memory::{SLOT, Use},
};

/// Anything that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Polls that find nothing before nothing more is expected.
const QUIET_POLLS: u32 = 64;

impl World {
    /// Lets everything finish: with success where nothing stands against it, else by failing both sides and starting
    /// anew.
    pub(super) fn settle(&mut self) {
        for side in 0..2 {
            self.sides[side].ring();
            self.sides[side].ring_receive();
        }
        self.complete_all();
        self.assert_nothing_else();
    }

    /// The end of an input.
    pub(super) fn finish(mut self) {
        self.settle();
        // What is left is unsignalled: one more request retires it.
        for side in 0..2 {
            self.post(side, Kind::Nop, 0, 1, SendFlags::SIGNALED);
        }
        self.settle();
        for side in &self.sides {
            // A queue full of unsignalled requests takes no other that would retire them.
            let full = side.backend.send_room(side.handle) == 0;
            assert!(side.pending.is_empty() || full, "left over: {:?}", side.pending);
            assert!(side.messages.is_empty(), "left over: {:?}", side.messages);
        }
        // Receives that nobody used are flushed, once each.
        self.flush_all();
    }

    /// Runs both devices until every signalled request and every message is done, or something has failed.
    fn complete_all(&mut self) {
        let start = Instant::now();
        while !self.is_complete() && !self.has_other_cause() {
            for side in 0..2 {
                if self.sides[side].receives.len() < self.sides[1 - side].messages.len() {
                    self.receive(side, SLOT, 1);
                    self.sides[side].ring_receive();
                }
                self.poll(side, 16);
            }
            assert!(start.elapsed() < PATIENCE, "hangs: {self:#?}");
            if self.sides.iter().any(|side| side.failed || side.receives_failed) {
                break;
            }
        }
        if !self.causes.is_empty() {
            self.flush_all();
            self.restart();
        }
    }

    /// Whether something else than a request that must fail stands against success: then nobody knows what comes first.
    fn has_other_cause(&self) -> bool {
        self.causes.iter().any(Option::is_none)
    }

    fn is_complete(&self) -> bool {
        let owes = |pending: &Pending| pending.signalled || matches!(pending.effect, Effect::Refused(_));
        let signalled = |side: usize| self.sides[side].pending.iter().any(owes);
        (0..2).all(|side| !signalled(side) && self.sides[side].messages.is_empty())
    }

    /// Fails both sides and polls until every request and every receive has completed.
    fn flush_all(&mut self) {
        self.causes.push(None);
        let start = Instant::now();
        for side in 0..2 {
            self.sides[side].ring();
            self.sides[side].ring_receive();
            self.sides[side].fail();
        }
        let mut quiet = 0;
        while quiet < QUIET_POLLS || (0..2).any(|side| self.owes_flushes(side)) {
            let found = self.poll(0, 16) + self.poll(1, 16);
            quiet = if found == 0 { quiet + 1 } else { 0 };
            assert!(start.elapsed() < PATIENCE, "hangs: {self:#?}");
        }
        // Unsignalled ones that no error came upon were done before it, and say nothing.
        for side in 0..2 {
            while let Some(pending) = self.sides[side].pending.pop_front() {
                self.done(side, pending);
            }
        }
    }

    /// Whether completions of a side that failed are still to come.
    fn owes_flushes(&self, number: usize) -> bool {
        let side = &self.sides[number];
        let pending = side.pending.iter().any(|pending| pending.signalled || side.failed);
        pending || !side.receives.is_empty()
    }

    /// Resets both queue pairs, which makes everything outstanding vanish, and connects them again.
    pub(super) fn restart(&mut self) {
        for side in &mut self.sides {
            side.backend.reset(side.handle).expect("a queue pair");
        }
        self.start_anew();
    }

    /// As [`restart`](Self::restart), with other queue pairs.
    pub(super) fn replace(&mut self) {
        self.sides.iter_mut().for_each(Side::replace);
        self.start_anew();
    }

    /// The model of fresh queue pairs, which are connected.
    fn start_anew(&mut self) {
        self.connect();
        for number in 0..2 {
            let counters = std::array::from_fn(|counter| self.sides[1 - number].memory.counter(counter));
            let side = &mut self.sides[number];
            side.pending.clear();
            side.receives.clear();
            side.messages.clear();
            (side.failed, side.receives_failed) = (false, false);
            side.counters = counters;
            for used_for in [Use::Landing, Use::Result, Use::Buffer] {
                side.memory.give_all_back(used_for);
            }
        }
        self.causes.clear();
    }

    /// Memory that no request names is as it was, and the counters are what the requests made of them.
    fn assert_nothing_else(&self) {
        for number in 0..2 {
            let (side, peer) = (&self.sides[number], &self.sides[1 - number]);
            side.memory.assert_untouched(number);
            if self.window_users[number] == 0 && side.memory.revoked.is_some() {
                assert!(side.memory.window_is_clear(), "the window was written after its key was taken away");
            }
            if side.pending.is_empty() {
                let counters = std::array::from_fn(|counter| peer.memory.counter(counter));
                assert_eq!(side.counters, counters);
            }
        }
    }
}
