//! Notifications that have come and were not taken yet.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use pmd_host::{control::Refusal, endpoint::Peer};

use crate::agent::messages::{ActiveMessage, Receiver};

/// What the bookkeeping of a notification counts for.
const ENTRY_BYTES: usize = 64;

/// Something that a remote agent said, alone or with a transfer whose bytes are all in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Who said it.
    pub agent: Arc<str>,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Answers what other agents ask over the control connection. Called on the control thread: never wait there for the same
/// backend.
pub trait Service: Send + Sync {
    /// Answers a request.
    ///
    /// # Errors
    /// A [`Refusal`] travels back to the asker.
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal>;
}

/// Notifications that have come, up to a number of bytes; what is beyond stays with its sender.
pub(in crate::agent) struct Inbox {
    limit: usize,
    service: Option<Arc<dyn Service>>,
    arrivals: Mutex<Arrivals>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Arrivals {
    notifications: VecDeque<Notification>,
    bytes: usize,
    /// The last sender's name, which is the next one's too more often than not.
    last: Option<Arc<str>>,
    /// Somebody was told that there is no room.
    refused: bool,
}

impl Inbox {
    pub(super) fn new(limit: usize, service: Option<Arc<dyn Service>>) -> Self {
        Self { limit, service, arrivals: Mutex::default(), arrived: Condvar::new() }
    }

    /// Everything that has come since the last call; and whether somebody waits for the room.
    pub(super) fn take(&self) -> (Vec<Notification>, bool) {
        let mut arrivals = self.arrivals();
        arrivals.bytes = 0;
        let refused = std::mem::take(&mut arrivals.refused);
        (std::mem::take(&mut arrivals.notifications).into(), refused)
    }

    /// Waits until something has come, at most until `deadline`.
    pub(super) fn wait(&self, deadline: Instant) {
        let mut arrivals = self.arrivals();
        while arrivals.notifications.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            arrivals = self.arrived.wait_timeout(arrivals, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Keeps notifications, and with them the lane that brings them, from coming in.
    #[cfg(test)]
    pub(in crate::agent) fn hold(&self) -> impl Sized {
        self.arrivals()
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver for Inbox {
    fn message(&self, peer: &Peer, message: ActiveMessage<'_>) {
        let mut arrivals = self.arrivals();
        let name = &peer.identity().name;
        let agent = match &arrivals.last {
            Some(last) if **last == **name => Arc::clone(last),
            _ => Arc::from(name.as_str()),
        };
        arrivals.last = Some(Arc::clone(&agent));
        arrivals.bytes += message.payload.len() + ENTRY_BYTES;
        arrivals.notifications.push_back(Notification { agent, bytes: message.payload.into_owned() });
        drop(arrivals);
        self.arrived.notify_all();
    }

    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let nobody = || Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") };
        self.service.as_ref().ok_or_else(nobody)?.request(peer, kind, body)
    }

    fn has_room(&self) -> bool {
        let mut arrivals = self.arrivals();
        let room = arrivals.bytes < self.limit;
        arrivals.refused |= !room;
        room
    }
}
