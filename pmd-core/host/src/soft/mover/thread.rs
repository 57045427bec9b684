//! The mover's thread: two rounds of copies while there are jobs, sleep while there are none.

use std::{
    collections::VecDeque,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::ring::spsc::{Consumer, Producer};

use super::{
    Job, Moved, NAP, Signal,
    round::{Round, Worker},
};
use crate::{backend::Waker, soft::Seat};

/// Rounds without sleep between two looks at what peers have taken back.
const TRIM_ROUNDS: u32 = 256;
/// Rounds in flight: while a stream copies one, the next is put behind it.
const IN_FLIGHT: usize = 2;

/// What the thread is started with.
pub(super) struct Ends {
    /// One for each round in flight.
    pub(super) seats: [Seat; IN_FLIGHT],
    pub(super) incoming: Consumer<Job>,
    pub(super) outgoing: Producer<Moved>,
    pub(super) signal: std::sync::Arc<Signal>,
    /// Wakes the engine.
    pub(super) engine: Waker,
}

/// Until the engine's end is gone.
pub(super) fn run(ends: Ends) {
    let Ends { seats, incoming, outgoing, signal, engine } = ends;
    let worker = Worker::new(seats[0].device());
    let flying = VecDeque::with_capacity(IN_FLIGHT);
    let mut thread = Thread { seats: &seats, incoming, outgoing, engine, worker, flying, rounds: 0 };
    let mut pause = Pause::default();
    while !thread.incoming.is_disconnected() {
        if thread.begin() || thread.end() {
            pause = Pause::default();
        } else if thread.flying.is_empty() {
            thread.worker.trim();
            thread.sleep(&signal);
        } else {
            pause.pause();
        }
    }
    thread.end_all();
}

struct Thread<'seats> {
    seats: &'seats [Seat; IN_FLIGHT],
    incoming: Consumer<Job>,
    outgoing: Producer<Moved>,
    engine: Waker,
    worker: Worker,
    /// Oldest first.
    flying: VecDeque<Round<'seats>>,
    /// Rounds so far.
    rounds: u32,
}

impl Thread<'_> {
    /// Begins a round, if there is anything for one and fewer are in flight than may be.
    fn begin(&mut self) -> bool {
        if self.flying.len() == IN_FLIGHT || !self.worker.has_job() && self.incoming.is_empty() {
            return false;
        }
        if self.rounds.wrapping_add(1).is_multiple_of(TRIM_ROUNDS) {
            // Between rounds only: pointers into what peers have mapped are good until their round ends.
            self.end_all();
            self.worker.trim();
        }
        let seat = &self.seats[self.rounds as usize % IN_FLIGHT];
        self.rounds = self.rounds.wrapping_add(1);
        let round = self.worker.begin_round(seat, &mut self.incoming);
        self.flying.push_back(round);
        true
    }

    /// Ends the oldest round, if its copies are over.
    fn end(&mut self) -> bool {
        if !self.flying.front().is_some_and(Round::is_over) {
            return false;
        }
        self.end_oldest();
        true
    }

    fn end_all(&mut self) {
        while !self.flying.is_empty() {
            self.end_oldest();
        }
    }

    fn end_oldest(&mut self) {
        let Some(round) = self.flying.pop_front() else { return };
        for moved in self.worker.end_round(round, self.flying.front_mut()) {
            // Never full: there is room for the result of every job.
            let _ = self.outgoing.push(moved);
        }
        self.engine.wake();
    }

    fn sleep(&mut self, signal: &Signal) {
        signal.parking.announce();
        if self.incoming.is_empty() && !self.incoming.is_disconnected() {
            let timeout = PollTimeout::try_from(NAP).unwrap_or(PollTimeout::MAX);
            // An interrupted sleep is a short one.
            let _ = poll(&mut [PollFd::new(signal.waker.as_fd(), PollFlags::POLLIN)], timeout);
            let _ = signal.waker.0.read();
        }
        signal.parking.resume();
    }
}

/// How long to wait between two looks at the streams.
#[derive(Default)]
struct Pause(Option<Instant>);

impl Pause {
    fn pause(&mut self) {
        const BUSY: Duration = Duration::from_micros(200);
        const PAUSE: Duration = Duration::from_micros(50);
        let begun = *self.0.get_or_insert_with(Instant::now);
        if begun.elapsed() < BUSY { thread::yield_now() } else { thread::sleep(PAUSE) }
    }
}
