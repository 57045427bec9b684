//! What a lane shares with its handles: the ring, the attention flag, the counters, and how the lane ended.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pmd_core::{
    ring::{
        attention,
        mpsc::{Full, Receiver, Sender},
        parking::{Parking, Published},
    },
    sync::{AtomicBool, Ordering},
};

use super::{command::Command, counters::Record};
use crate::{backend::Waker, retries::RetryCounter, transfer::LaneFault};

/// Makes a lane look at flags that are set beside its ring: cancel requests, faults, closed routes, shutdown. A flag
/// is never refused, as a push into a full ring is.
#[derive(Clone, Debug)]
pub(crate) struct Attention(Arc<Doorway>);

#[derive(Debug)]
struct Doorway {
    raised: attention::Attention,
    parking: Parking,
    waker: Waker,
}

impl Attention {
    pub(crate) fn new(waker: Waker) -> Self {
        Self(Arc::new(Doorway { raised: attention::Attention::new(), parking: Parking::new(), waker }))
    }

    /// Called after a flag was set. When the lane has ended nobody looks, and nothing is left to stop.
    pub(crate) fn raise(&self) {
        self.0.raised.raise();
        let _ = self.published();
    }

    /// Whether flags are to be looked at; called by the lane.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        self.0.raised.take()
    }

    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.0.raised.is_raised()
    }

    pub(crate) fn parking(&self) -> &Parking {
        &self.0.parking
    }

    /// Wakes the lane if it sleeps. Called after something was published.
    #[inline]
    fn published(&self) -> Published {
        let published = self.0.parking.published();
        if published == Published::Wake {
            self.0.waker.wake();
        }
        published
    }
}

/// The part of a lane that its handles hold.
#[derive(Debug)]
pub(crate) struct LaneShared {
    pub(crate) attention: Attention,
    pub(crate) record: Record,
    /// Of a device that tells.
    pub(crate) retries: Option<RetryCounter>,
    /// Set when the lane is to end now.
    pub(crate) shutdown: AtomicBool,
    /// Set when no handle is left: the lane ends once its routes are closed.
    pub(crate) abandoned: AtomicBool,
    ring: Sender<Command>,
    /// Why the lane ended; set before its parking says so.
    ended: OnceLock<LaneFault>,
    /// The ring's other end, left here by a lane that ended: whoever pushed too late empties it.
    leftover: Mutex<Option<Receiver<Command>>>,
}

impl LaneShared {
    pub(crate) fn new(
        waker: Waker,
        ring: Sender<Command>,
        latencies: bool,
        retries: Option<RetryCounter>,
    ) -> Self {
        Self {
            attention: Attention::new(waker),
            record: Record::new(latencies),
            retries,
            shutdown: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            ring,
            ended: OnceLock::new(),
            leftover: Mutex::new(None),
        }
    }

    /// Hands a command to the lane, or gives it back when the ring is full. A lane that ended answers it too.
    #[inline]
    pub(crate) fn push(&self, command: Command) -> Result<(), Full<Command>> {
        self.ring.push(command)?;
        if self.attention.published() == Published::Ended {
            self.bury();
        }
        Ok(())
    }

    /// Asks the lane to end now.
    pub(crate) fn request_shutdown(&self) {
        self.shutdown.store(true, Ordering::Relaxed);
        self.attention.raise();
    }

    /// Tells the lane that nobody can give it work any more.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.attention.raise();
    }

    /// Why the lane ended, if it did.
    pub(crate) fn fault(&self) -> Option<LaneFault> {
        self.ended.get().copied()
    }

    /// Called once by the lane, last of all: from here on commands are answered by those who push them.
    pub(crate) fn end(&self, fault: LaneFault, ring: Receiver<Command>) {
        let _ = self.ended.set(fault);
        self.attention.parking().end();
        *self.leftover.lock().unwrap_or_else(PoisonError::into_inner) = Some(ring);
        self.bury();
    }

    /// Answers what is left in the ring of a lane that ended.
    ///
    /// A command behind one that is still being written cannot be taken yet; whoever writes that one comes here next,
    /// so every command is taken by somebody.
    #[cold]
    fn bury(&self) {
        let fault = self.fault().unwrap_or(LaneFault::Shutdown);
        let mut leftover = self.leftover.lock().unwrap_or_else(PoisonError::into_inner);
        let mut commands = Vec::new();
        if let Some(ring) = leftover.as_mut() {
            while let Some(command) = ring.pop() {
                commands.push(command);
            }
        }
        // Answering may drop a route, which comes back here: not under the lock.
        drop(leftover);
        commands.into_iter().for_each(|command| command.refuse(fault));
    }
}
