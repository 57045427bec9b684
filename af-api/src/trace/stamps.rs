//! Moments of a request, and the spans between them. Worker and server put a [`StampCell`] or plain stamps into the
//! slot of each request and note the moments as they come.

use nix::time::{ClockId, clock_gettime};
use pmd_core::sync::{AtomicU64, Ordering};

/// Nanoseconds of this machine's monotonic clock (`CLOCK_MONOTONIC`): the same for all processes of a machine, and
/// without any relation to another machine's. Never 0.
#[must_use]
pub fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(1, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Moments at the worker, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The caller handed the request in.
    Submitted,
    /// The event that the request waits for is done; for a request without an event, as `Submitted`.
    EventDone,
    /// Directly before the request to this server is handed to the lane.
    Posted,
    /// This server's response, all of it, has arrived.
    Arrived,
    /// The caller was told, or could have been: the request is complete at every server.
    Completed,
}

/// A request to one server as its worker saw it: nanoseconds of the worker's clock, 0 for what did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStamps {
    /// [`Moment::Submitted`].
    pub submitted: u64,
    /// [`Moment::EventDone`].
    pub event_done: u64,
    /// [`Moment::Posted`].
    pub posted: u64,
    /// [`Moment::Arrived`].
    pub arrived: u64,
    /// [`Moment::Completed`].
    pub completed: u64,
}

/// The same request as its server saw it: nanoseconds of the server's clock, 0 for what did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerStamps {
    /// The request and its tensors are there.
    pub received: u64,
    /// The request was given to the application: a batch returned, or a handler called.
    pub processed: u64,
    /// The application responded, and the event that the response waits for is done.
    pub responded: u64,
    /// Directly before the response is handed to the lane.
    pub sent: u64,
}

/// Stamps of one request to one server while it is in flight: each moment is noted once, by whichever thread sees it.
/// A note is one relaxed store; whoever reads them all has learned from the request's own state that they are there.
#[derive(Debug, Default)]
pub struct StampCell([AtomicU64; 5]);

impl StampCell {
    /// Notes a moment as [`now`], or as whatever clock value the caller has at hand.
    pub fn note(&self, moment: Moment, nanoseconds: u64) {
        self.0[moment as usize].store(nanoseconds, Ordering::Relaxed);
    }

    /// What was noted so far.
    #[must_use]
    pub fn load(&self) -> WorkerStamps {
        let at = |moment: Moment| self.0[moment as usize].load(Ordering::Relaxed);
        WorkerStamps {
            submitted: at(Moment::Submitted),
            event_done: at(Moment::EventDone),
            posted: at(Moment::Posted),
            arrived: at(Moment::Arrived),
            completed: at(Moment::Completed),
        }
    }

    /// Forgets everything, for the slot's next request.
    pub fn clear(&self) {
        self.0.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }
}

/// A span between two moments; the recorders keep one histogram of each for each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Submitted until its event was done.
    Event,
    /// Event done until posted: credits, and whatever the worker does.
    Post,
    /// Posted until the response had arrived.
    RoundTrip,
    /// Arrived until the request was complete at every server.
    Complete,
    /// Submitted until completed.
    Total,
    /// At the server: received until the application had it.
    Queue,
    /// At the server: from there until the application responded.
    Compute,
    /// At the server: responded until sent.
    Respond,
    /// At the server: received until sent.
    Server,
    /// The round trip without what the server took: both ways on the wire. Known without comparing clocks.
    Network,
}

impl Phase {
    /// Every phase, those of the worker first.
    pub const ALL: [Self; 10] = [
        Self::Event,
        Self::Post,
        Self::RoundTrip,
        Self::Complete,
        Self::Total,
        Self::Queue,
        Self::Compute,
        Self::Respond,
        Self::Server,
        Self::Network,
    ];

    /// A short name in lower case, as exports use it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Post => "post",
            Self::RoundTrip => "round_trip",
            Self::Complete => "complete",
            Self::Total => "total",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::Respond => "respond",
            Self::Server => "server",
            Self::Network => "network",
        }
    }
}

/// Both moments happened: the nanoseconds between them, 0 where they are the wrong way round.
const fn span(from: u64, to: u64) -> Option<u64> {
    if from == 0 || to == 0 { None } else { Some(to.saturating_sub(from)) }
}

impl WorkerStamps {
    /// Its spans in nanoseconds; those of which a moment is missing are left out.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, u64)> {
        let spans = [
            (Phase::Event, span(self.submitted, self.event_done)),
            (Phase::Post, span(self.event_done, self.posted)),
            (Phase::RoundTrip, span(self.posted, self.arrived)),
            (Phase::Complete, span(self.arrived, self.completed)),
            (Phase::Total, span(self.submitted, self.completed)),
        ];
        spans.into_iter().filter_map(|(phase, span)| Some((phase, span?)))
    }
}

impl ServerStamps {
    /// Its spans in nanoseconds; those of which a moment is missing are left out.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, u64)> {
        let spans = [
            (Phase::Queue, span(self.received, self.processed)),
            (Phase::Compute, span(self.processed, self.responded)),
            (Phase::Respond, span(self.responded, self.sent)),
            (Phase::Server, span(self.received, self.sent)),
        ];
        spans.into_iter().filter_map(|(phase, span)| Some((phase, span?)))
    }

    /// What of the worker's round trip was not spent at the server, in nanoseconds, where both sides noted theirs.
    #[must_use]
    pub fn network(&self, worker: &WorkerStamps) -> Option<u64> {
        Some(span(worker.posted, worker.arrived)?.saturating_sub(span(self.received, self.sent)?))
    }
}
