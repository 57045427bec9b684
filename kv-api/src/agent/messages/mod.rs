//! Active messages: a header and a payload, and a handler at the receiver.
//!
//! NIXL's UCX back end sends its notifications as active messages; [`backend`](super::backend) sends them here. A
//! [`Messenger`] is a [`Fabric`] with messages of any size on it:
//!
//! ```text
//!  post, send --> outgoing: waiting --> frames --> Route::send ........ lane of the peer
//!                    |  window, credits                                     |
//!                    | <-- taken so many ---------------- incoming <--------+
//!                    |                                     |  here: Receiver::message
//!  payload > 8 KiB: registered, announced --------------> READ by the peer's progress thread, then the same
//! ```
//! | payload and header together | travels |
//! |---|---|
//! | up to [`QueuePairConfig::inline_bytes`](pmd_host::backend::QueuePairConfig::inline_bytes) | inside the work request |
//! | up to [`EAGER_BYTES`] | in a message of the lane, several small ones in one |
//! | more | is announced, and read by the receiver (rendezvous) |
//!
//! # Order and loss
//! Messages to one peer reach its receiver in the order in which they were posted, whatever their size; those of
//! different threads in one of the orders that there may have been. Nothing is dropped: what the lane does not take now
//! waits, up to [`MessageLimits::waiting_bytes`], and the progress thread sends it; beyond that `post` waits until its
//! deadline or says [`MessageError::Full`]. A receiver without room ([`Receiver::has_room`]) stops the sender the same
//! way, after [`MessageLimits::window_bytes`]. What was not taken when the peer goes down fails, and the sender's
//! [`Delivery`] says so.
//!
//! A message that travels with a transfer ([`Messenger::attach`]) has no order with the others.
//!
//! # Threads
//! The receiver is called on a lane's thread where nothing had to be read, else on the messenger's progress thread;
//! never by two threads at once for one peer. The progress thread sleeps while nothing waits.

mod channel;
mod delivery;
mod error;
mod frame;
mod incoming;
mod outgoing;
mod payload;
mod progress;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::{EndpointConfig, EndpointError, Peer},
    lane::LaneError,
};

pub use delivery::Delivery;
pub use error::{MessageError, Refused};

use self::progress::Progress;
use crate::fabric::{Fabric, FabricError};

/// Header and payload of a message that travels without a rendezvous, together.
pub const EAGER_BYTES: usize = 8192;

/// Longest header.
pub const HEADER_BYTES: usize = 4096;

/// How long a messenger that is dropped waits for its peers to take what is under way.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bounds of a messenger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes that may be under way to a peer and not taken by it. A quarter of it is the most that a peer takes before
    /// it tells.
    pub window_bytes: usize,
    /// Bytes that may wait for a peer's window, beside one message of any size.
    pub waiting_bytes: usize,
    /// Bytes of announced payloads that are read from a peer at one time, beside one of any size.
    pub fetch_bytes: u64,
    /// Longest payload that is taken.
    pub longest_payload: u64,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            window_bytes: 1 << 20,
            waiting_bytes: 16 << 20,
            fetch_bytes: 64 << 20,
            longest_payload: 1 << 30,
        }
    }
}

/// A message as the receiver gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveMessage<'a> {
    /// Number of the handler, chosen by the sender.
    pub number: u16,
    /// Bytes beside the payload.
    pub header: &'a [u8],
    /// Borrowed where it came along, owned where it was read.
    pub payload: Cow<'a, [u8]>,
}

/// Takes messages, and what else a fabric's peers do. Must be quick: it may run on a lane's thread, and must never wait
/// for the same messenger.
pub trait Receiver: Send + Sync {
    /// A message. A panic refuses it.
    fn message(&self, peer: &Peer, message: ActiveMessage<'_>);

    /// Whether messages can be taken now. Asked before each; once there is room again, call [`Messenger::resume`].
    fn has_room(&self) -> bool {
        true
    }

    /// As [`Handler::connected`](crate::fabric::Handler::connected).
    fn connected(&self, peer: &Peer) {
        let _ = peer;
    }

    /// As [`Handler::request`](crate::fabric::Handler::request).
    ///
    /// # Errors
    /// A [`Refusal`] travels back to the asker.
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let _ = (peer, body);
        Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") })
    }

    /// As [`Handler::down`](crate::fabric::Handler::down).
    fn down(&self, peer: &Peer, reason: &DownReason) {
        let _ = (peer, reason);
    }
}

/// A message that travels with a transfer: its bytes, and the payload that stays here until the peer has read it.
#[derive(Debug)]
#[must_use = "an attachment that is not posted with a transfer never arrives"]
pub struct Attachment {
    bytes: Vec<u8>,
    token: Option<u64>,
}

impl Attachment {
    /// The bytes to post with the transfer, as [`PostOptions::notify`](crate::fabric::PostOptions::notify); and the
    /// token to [`detach`](Messenger::detach) when the transfer fails.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Option<u64>) {
        (self.bytes, self.token)
    }
}

/// A fabric with messages. Clones are handles to the same messenger; the last one waits a moment for peers to take what
/// is under way, then says goodbye to them.
#[derive(Clone)]
pub struct Messenger(Arc<Handle>);

struct Handle {
    fabric: Fabric,
    progress: Arc<Progress>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Messenger {
    /// Opens a fabric whose messages go to `receiver`. Longest message and service are the messenger's, whatever the
    /// configuration says of them.
    ///
    /// # Errors
    /// [`FabricError::Endpoint`].
    pub fn open(
        config: EndpointConfig,
        limits: MessageLimits,
        receiver: Arc<dyn Receiver>,
    ) -> Result<Self, FabricError> {
        let progress = Arc::new(Progress::new(limits, receiver));
        let config = EndpointConfig { message_bytes: outgoing::FRAME_BYTES, ..config };
        let fabric = Fabric::open(config, Arc::clone(&progress) as _)?;
        let (runner, below) = (Arc::clone(&progress), fabric.clone());
        let thread = thread::Builder::new().name("pmd-progress".to_owned()).spawn(move || runner.run(&below));
        let thread = thread.map_err(|error| EndpointError::Lane(LaneError::Thread(error)))?;
        Ok(Self(Arc::new(Handle { fabric, progress, thread: Mutex::new(Some(thread)) })))
    }

    /// The fabric below.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.0.fabric
    }

    /// Connects to the messenger that listens at `address`.
    ///
    /// # Errors
    /// [`FabricError::Endpoint`].
    pub fn connect(&self, address: SocketAddr) -> Result<Peer, FabricError> {
        self.0.fabric.connect(address)
    }

    /// Posts a message and forgets it. Waits for room until the deadline, if there is one.
    ///
    /// # Errors
    /// [`MessageError`]. The message was not taken.
    pub fn post(
        &self,
        peer: &Peer,
        number: u16,
        header: &[u8],
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), MessageError> {
        self.0.post(peer, number, header, Cow::Borrowed(payload), None, deadline)
    }

    /// Posts a message; the handle tells when the peer's receiver has taken it. It fails at the deadline, if there is
    /// one: if it was on its way by then, the peer may get it all the same.
    ///
    /// # Errors
    /// [`MessageError`]. The message was not taken.
    pub fn send(
        &self,
        peer: &Peer,
        number: u16,
        header: &[u8],
        payload: Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<Delivery, MessageError> {
        let cell = Arc::new(delivery::Cell::default());
        self.0.post(peer, number, header, Cow::Owned(payload), Some(Arc::clone(&cell)), deadline)?;
        Ok(Delivery(cell))
    }

    /// Makes a message that travels with a transfer to or from the same peer: the receiver gets it when all of the
    /// transfer's bytes are in place.
    ///
    /// # Errors
    /// [`MessageError`]: the header is too long, the payload cannot be registered, the peer is down.
    pub fn attach(
        &self,
        peer: &Peer,
        number: u16,
        header: &[u8],
        payload: &[u8],
    ) -> Result<Attachment, MessageError> {
        self.0.progress.channel(peer).attach(&self.0.fabric, number, header, payload)
    }

    /// Frees the payload of an attachment whose transfer has failed.
    pub fn detach(&self, peer: &Peer, token: u64) {
        self.0.progress.channel(peer).detach(token);
    }

    /// The receiver has room again.
    pub fn resume(&self) {
        self.0.progress.kick();
    }

    /// Waits until every peer has taken everything, or is down; at most until `deadline`. Whether they have.
    #[must_use]
    pub fn flush(&self, deadline: Instant) -> bool {
        self.0.progress.flush(deadline)
    }

    /// Lets the progress thread drive a future to its end. It must not block.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.progress.spawn(Box::pin(task));
    }
}

impl Handle {
    fn post(
        &self,
        peer: &Peer,
        number: u16,
        header: &[u8],
        payload: Cow<'_, [u8]>,
        delivery: Option<Arc<delivery::Cell>>,
        deadline: Option<Instant>,
    ) -> Result<(), MessageError> {
        let channel = self.progress.channel(peer);
        if channel.post(&self.fabric, number, header, payload, delivery, deadline)? {
            self.progress.kick();
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if thread.thread().id() == thread::current().id() {
            // The last handle went with a task of the progress thread: it ends when it comes round.
            self.progress.stop();
            return;
        }
        self.progress.flush(Instant::now() + GOODBYE);
        self.progress.stop();
        let _ = thread.join();
    }
}

impl fmt::Debug for Messenger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Messenger").field(&self.0.fabric.endpoint()).finish()
    }
}
