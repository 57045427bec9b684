//! The server: the FFN side, which takes requests of workers batch by batch and responds.
//!
//! Called by engines; calls `pmd-host`'s endpoint. The worker's side is [`worker`](crate::worker).
//!
//! ```text
//!  lane: header of a request                        Server::batch(All | Any | Quorum) -> requests
//!     | checked, its tensors found (link, areas)        ^                                    |
//!     | parts of a batch put together                   |                          Request::respond(tensors)
//!     +---------------------------------> inbox: a queue for each worker                     |
//!  lane: WRITE into the worker's tensors, with the immediate <-------------------------------+ (respond)
//! ```
//! The life of a request at the server is told in the module `link`, that of a slot in `areas`.
//!
//! # Workers that go down
//! [`BatchError::WorkerDown`] tells each once, from whatever waits for a batch; what the worker had asked for is
//! dropped, and a response to it is [`RespondError::WorkerDown`]. A worker of the same rank that connects later takes
//! its place.
mod apps;
mod areas;
mod batches;
mod captured;
mod config;
mod deferred;
mod error;
mod inbox;
mod link;
mod offers;
mod request;
mod respond;
mod service;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use batches::{Batches, Serving};
pub(crate) use captured::CapturedBatch;
pub use config::ServerConfig;
pub use deferred::DeferredError;
pub use error::{BatchError, OfferError, OpenError, RespondError, ResponseFailure, ResponseWaitError};
pub(crate) use inbox::Inbox;
use pmd_host::{
    endpoint::{Endpoint, PeerService},
    soft::ArenaOptions,
};
pub use request::{Pushed, Request, Wanted};
pub use respond::Response;

use self::service::Shared;
use crate::{
    gate::Gate,
    graph::Proxy,
    tensor::{Memory, MemoryError, Tensor, driven},
    trace::ServerRecorder,
    wire::NodeIdentity,
};

/// Which requests make a batch. Of each worker at most one, the one that it sent first; in the order of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gather {
    /// One of every worker: of as many as [`ServerConfig::workers`] says, or of those that are connected.
    All,
    /// The oldest that there is.
    Any,
    /// One of each worker that has one, once so many have.
    Quorum(usize),
}

/// A server. Clones are handles to the same one; with the last it says goodbye to its workers.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    /// Holds responses until their events are done.
    gate: Gate,
    /// Serves streams that take and answer batches by themselves.
    proxy: Proxy,
}

impl Server {
    /// Opens the server's endpoint, which listens for workers.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: ServerConfig) -> Result<Self, OpenError> {
        let shared = Shared::new(&config);
        let (driven, accelerator) = driven(config.endpoint, config.accelerator);
        let endpoint = Endpoint::open(driven, Arc::clone(&shared) as Arc<dyn PeerService>)?;
        shared.start(&endpoint, accelerator.filter(|_| config.device_areas));
        let (gate, proxy) = (Gate::new(config.events), Proxy::new(config.graphs));
        Ok(Self(Arc::new(Inner { endpoint, shared, gate, proxy })))
    }

    /// The endpoint: for registering memory, transports, counters.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Where it listens for workers.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.0.endpoint.local_address()
    }

    /// Who this server is to workers that connect from now on.
    #[must_use]
    pub fn identity(&self) -> NodeIdentity {
        *lock(&self.0.shared.identity)
    }

    /// Takes the identity that a rendezvous handed out after the server was opened. Workers that are connected go on with the
    /// earlier one.
    pub fn set_identity(&self, identity: NodeIdentity) {
        *lock(&self.0.shared.identity) = identity;
    }

    /// Zeroed memory that peers of this host map, registered.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn allocate(&self, bytes: usize) -> Result<Memory, MemoryError> {
        Memory::allocate(&self.0.endpoint, bytes, ArenaOptions::default())
    }

    /// Workers that are connected, in the order of ranks.
    #[must_use]
    pub fn workers(&self) -> Vec<NodeIdentity> {
        self.inbox().workers()
    }

    /// Figures of this server's requests, for each worker. Workers fetch the stamps of their own.
    #[must_use]
    pub fn recorder(&self) -> &ServerRecorder {
        self.inbox().recorder()
    }

    /// Closes it for every handle: whoever waits for a batch is told [`BatchError::Closed`], and requests that wait or still
    /// come are refused. Those that are in hands can be answered.
    pub fn close(&self) {
        self.0.shared.stop();
    }

    /// Responds to many requests, each with its tensors. Each is on its own: one that fails does not keep the others
    /// from going.
    pub fn respond_many(
        &self,
        answers: impl IntoIterator<Item = (Request, Vec<Tensor>)>,
    ) -> Vec<Result<Response, RespondError>> {
        answers.into_iter().map(|(request, tensors)| request.respond(&tensors)).collect()
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.0.shared.inbox
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    /// Whether pushes of one key of a worker land in this tensor, each time.
    pub(crate) fn has_offered(&self, worker: u32, key: u64, tensor: &Tensor) -> bool {
        let place = lock(&self.0.shared.offers).find(worker, key);
        place.is_some_and(|place| {
            let same = place.memory.is_same(tensor.memory()) && place.offset == tensor.offset();
            same && place.depth == 1 && u64::from(tensor.bytes()) <= place.capacity
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("identity", &self.identity())
            .field("local_address", &self.local_address())
            .field("workers", &self.workers())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gate.close();
        self.shared.stop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
