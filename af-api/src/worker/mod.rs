//! The worker: the attention side, which pushes tensors to servers and pulls their answers.
//!
//! Called by engines; calls `pmd-host`'s endpoint. The server's side is [`server`](crate::server).
//!
//! ```text
//!  Worker::push_pull(&PushPull)                                    Handle: poll, wait, .await, cancel
//!      | plan      shares of each server, cut to headers (request)          ^
//!      | agree     room for each key, once (areas)                          | all legs have ended
//!      | reserve   a request slot, a slot per push (slots)          leg: header delivered + response (operation)
//!      v post      WRITEs and the header on the lane (submit)               ^
//!   Route::submit ------------------------------------------------> lane: observer, messages (connection)
//! ```
//! The life of a request is told in the module `operation`: submitted, posted, awaiting its response, done, failed or
//! cancelled.
//!
//! # Credits
//! A push needs a free slot in the receive area of its key at the server, a request needs a free number. Both come
//! back with the response. [`Worker::try_push_pull`] says [`PushPullError::Full`] where none is free,
//! [`Worker::push_pull`] waits.
//!
//! # Memory
//! From submission until its end a request reads the tensors that it pushes and writes those that it pulls: leave them
//! alone. After the end, whatever it is, nothing touches them. A wait that times out is not an end;
//! [`Handle::cancel`] makes one.
//!
//! A server that falls silent is down within the bound, and then its requests end. Only one of this host whose process is
//! stopped (SIGSTOP, a debugger, a frozen cgroup) in the very moment in which it moves bytes keeps them until it goes on or is
//! killed: over shared memory nobody else can say that it writes no more. Requests to other servers are not held up.
mod apps;
mod areas;
mod batches;
mod config;
mod connection;
mod error;
mod handle;
mod layouts;
mod operation;
mod request;
mod slots;
mod submit;
#[cfg(test)]
pub(crate) mod tests;
mod traces;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use config::{MESSAGE_BYTES, WorkerConfig};
pub use error::{ConnectError, DownCause, Failure, FailureCause, PushPullError, WaitError};
pub use handle::{CancelOutcome, Handle, Results, wait_any};
use pmd_core::{
    accelerator::{Accelerator, Event, Stream},
    sync::{AtomicU64, Ordering},
};
use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::{Endpoint, EndpointError, Peer, PeerService},
    lane::Message,
    soft::ArenaOptions,
    transfer::{RouteFault, SubmitError},
};
pub use request::{Part, PushPull};
use serde::{Serialize, de::DeserializeOwned};
pub use traces::TraceError;

use self::{
    connection::Connection,
    operation::{About, Leg, Operation},
    request::Share,
    submit::{Piece, Reserved},
};
use crate::{
    gate::{EventError, FAILED, Gate, GateConfig, GateError, Pending},
    graph::Proxy,
    rendezvous::MemberId,
    simple::Apps,
    tensor::{Memory, MemoryError, Tensor, driven},
    trace::Recorder,
    waiting::wait_until,
    wire::{AreaGone, Introduction, NodeIdentity, Refused, VERSION, kind},
};

/// A worker. Clones are handles to the same one; with the last it says goodbye to its servers, and what is in flight
/// fails.
#[derive(Clone)]
pub struct Worker(Arc<Inner>);

pub(crate) struct Inner {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    config: WorkerConfig,
    recorder: Recorder,
    gate: Gate,
    /// Waits for copies of what was pulled to devices that no NIC reaches.
    landings: Gate,
    /// Serves streams that push and pull by themselves.
    proxy: Proxy,
    /// Push-pulls so far.
    submitted: AtomicU64,
}

/// What the endpoint's threads reach.
#[derive(Default)]
struct Shared {
    servers: Mutex<Servers>,
    apps: Apps,
}

#[derive(Default)]
struct Servers {
    by_rank: BTreeMap<u32, Arc<Connection>>,
    /// By the number of the control connection.
    by_number: HashMap<u64, Arc<Connection>>,
    /// The ranks of those, and of peers that are being introduced: a server may send as soon as it knows us.
    ranks: HashMap<u64, u32>,
}

impl Worker {
    /// Opens the worker's endpoint.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn open(config: WorkerConfig) -> Result<Self, EndpointError> {
        let shared = Arc::new(Shared::default());
        let (driven, accelerator) = driven(config.endpoint.clone(), config.accelerator.clone());
        let config = WorkerConfig { accelerator, ..config };
        let endpoint = Endpoint::open(driven, Arc::clone(&shared) as Arc<dyn PeerService>)?;
        let (recorder, gate) = (Recorder::new(config.trace), Gate::new(config.events));
        let (proxy, submitted) = (Proxy::new(config.graphs), AtomicU64::new(0));
        // As many as are in flight: requests have their bounds elsewhere.
        let landings = Gate::new(GateConfig { depth: usize::MAX, ..config.events });
        let inner = Inner { endpoint, shared, config, recorder, gate, landings, proxy, submitted };
        Ok(Self(Arc::new(inner)))
    }

    /// The endpoint: for registering memory, transports, counters.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// Who this worker is to its servers.
    #[must_use]
    pub fn identity(&self) -> NodeIdentity {
        self.0.config.identity
    }

    /// Zeroed memory that peers of this host map, registered.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn allocate(&self, bytes: usize) -> Result<Memory, MemoryError> {
        Memory::allocate(&self.0.endpoint, bytes, ArenaOptions::default())
    }

    /// Connects to the server of that rank, and takes the place of an earlier connection to it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, rank: u32, address: SocketAddr) -> Result<NodeIdentity, ConnectError> {
        let peer = self.0.endpoint.connect(address)?;
        let number = peer.connection().number();
        self.0.shared.servers().ranks.insert(number, rank);
        let introduced = self.introduce(rank, &peer);
        let connection = introduced.inspect_err(|_| {
            self.0.shared.servers().ranks.remove(&number);
            peer.close();
        })?;
        let server = connection.server;
        let earlier = {
            let mut servers = self.0.shared.servers();
            servers.by_number.insert(number, Arc::clone(&connection));
            servers.by_rank.insert(rank, Arc::clone(&connection))
        };
        if let Some(earlier) = earlier {
            earlier.fail(DownReason::Local.into());
        }
        // It may have gone down before it was known here.
        if let Some(reason) = peer.down_reason() {
            connection.fail(reason.into());
        }
        connection.check_route();
        Ok(server)
    }

    fn introduce(&self, rank: u32, peer: &Peer) -> Result<Arc<Connection>, ConnectError> {
        let Inner { config, .. } = &*self.0;
        let ours = Introduction {
            version: VERSION,
            node: config.identity,
            message_bytes: peer.route().message_limit() as u32,
        };
        let theirs: Introduction = ask(peer, kind::INTRODUCE, &ours, config.patience)?;
        if theirs.version != VERSION {
            return Err(ConnectError::Malformed);
        }
        if theirs.node.rank != rank {
            return Err(ConnectError::OtherServer { wanted: rank, found: theirs.node.rank });
        }
        let message_bytes = ours.message_bytes.min(theirs.message_bytes) as usize;
        let trace = self.0.recorder.add_peer(&format!("server {rank}"));
        let landings = self.0.landings.clone();
        Ok(Connection::new(peer.clone(), theirs.node, message_bytes, (config, trace, landings)))
    }

    /// Takes leave of a server; what is in flight to it fails, and is quiet once it has.
    ///
    /// # Errors
    /// [`PushPullError::UnknownServer`].
    pub fn disconnect(&self, rank: u32) -> Result<(), PushPullError> {
        let connection = self.0.shared.servers().by_rank.remove(&rank);
        let connection = connection.ok_or(PushPullError::UnknownServer { server: rank })?;
        connection.fail(DownCause::Closed);
        self.0.shared.apps.member_down(MemberId::server(rank));
        Ok(())
    }

    /// The servers that were connected, and why those that are down are.
    #[must_use]
    pub fn servers(&self) -> Vec<(NodeIdentity, Option<DownCause>)> {
        let connections: Vec<_> = self.0.shared.servers().by_rank.values().cloned().collect();
        connections.iter().map(|connection| (connection.server, connection.fault())).collect()
    }

    /// The peer behind a server: its transport, its route's limits.
    #[must_use]
    pub fn peer(&self, rank: u32) -> Option<Peer> {
        self.0.shared.servers().by_rank.get(&rank).map(|connection| connection.peer.clone())
    }

    /// The accelerator whose streams [`Worker::push_pull_on`] follows.
    #[must_use]
    pub fn accelerator(&self) -> Option<&Arc<dyn Accelerator>> {
        self.0.config.accelerator.as_ref()
    }

    /// Agrees beforehand on room for a key at one server: pushes of at most `capacity` bytes, `depth` in flight. Larger ones
    /// are refused from now on. Without a declaration the first push of a key agrees on its own size, and larger ones ask
    /// again.
    ///
    /// # Errors
    /// [`PushPullError`]: the server is down, has no room, or gave a smaller buffer for the key.
    pub fn declare(&self, server: u32, key: u64, capacity: u64, depth: u16) -> Result<(), PushPullError> {
        self.connection(server)?.declare(key, capacity, depth)
    }

    /// Submits a push-pull and returns its handle. While too much is in flight it waits, until `deadline` if there is one;
    /// the first push of a key waits for the server's control thread too.
    ///
    /// # Errors
    /// [`PushPullError`]; then nothing was sent. What fails once it is sent fails the handle.
    pub fn push_pull(&self, request: &PushPull, deadline: Option<Instant>) -> Result<Handle, PushPullError> {
        let submitted = self.0.recorder.now();
        let mut pieces = self.prepare(request)?;
        let mut full = None;
        let outcome = wait_until(deadline, |waker| {
            // Before the look, so that no slot becomes free unseen.
            if let Some(waker) = waker {
                pieces.iter().for_each(|piece| piece.connection.wait_for_room(waker));
            }
            match self.try_submit(std::mem::take(&mut pieces), request, (submitted, deadline)) {
                Ok(Ok(handle)) => Some(Ok(handle)),
                Ok(Err((returned, server))) => {
                    (pieces, full) = (returned, Some(server));
                    // A larger area may have taken the place of the one that was agreed on.
                    agree(&pieces).err().map(Err)
                }
                Err(error) => Some(Err(error)),
            }
        });
        outcome.unwrap_or_else(|| Err(PushPullError::Timeout { server: full.unwrap_or_default() }))
    }

    /// As [`Worker::push_pull`], but says [`PushPullError::Full`] instead of waiting for slots.
    ///
    /// # Errors
    /// [`PushPullError`]; then nothing was sent.
    pub fn try_push_pull(&self, request: &PushPull) -> Result<Handle, PushPullError> {
        let submitted = self.0.recorder.now();
        let pieces = self.prepare(request)?;
        let now = Some(Instant::now());
        match self.try_submit(pieces, request, (submitted, now))? {
            Ok(handle) => Ok(handle),
            Err((_, server)) => Err(PushPullError::Full { server }),
        }
    }

    /// As [`Worker::push_pull`], in the turn of a stream: nothing is sent before what the stream has been given so far is
    /// done, and what it is given from now on waits until everything that is pulled is there. The calling thread waits for
    /// neither. Where the request fails, or is not taken, the stream goes on: the handle tells whether the pulled tensors
    /// hold anything. Takes the place of [`PushPull::after`] and [`PushPull::then_set`].
    ///
    /// # Errors
    /// [`PushPullError`]; then nothing was sent. [`PushPullError::NoAccelerator`] for a worker that was opened without one,
    /// [`PushPullError::Stream`] for a stream that takes nothing, or of another accelerator.
    pub fn push_pull_on(
        &self,
        stream: &dyn Stream,
        request: &PushPull,
        deadline: Option<Instant>,
    ) -> Result<Handle, PushPullError> {
        let accelerator = self.0.config.accelerator.as_ref().ok_or(PushPullError::NoAccelerator)?;
        let arrived = accelerator.flag()?;
        let computed = stream.record()?;
        stream.wait_value(&arrived, 1)?;
        let request = request.clone().after(&computed).then_set(&arrived, 1);
        // The stream waits for it already.
        self.push_pull(&request, deadline).inspect_err(|_| arrived.store(FAILED))
    }

    pub(crate) const fn of(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    pub(crate) const fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    /// Whether a request would be taken where there is room, for which it agrees with the servers.
    pub(crate) fn check_and_agree(&self, request: &PushPull) -> Result<(), PushPullError> {
        self.prepare(request).map(drop)
    }

    /// Plans and checks a request, and agrees on room where there is none.
    fn prepare(&self, request: &PushPull) -> Result<Vec<Piece>, PushPullError> {
        let shares = request.plan(|| self.0.shared.servers().by_rank.keys().copied().collect())?;
        let mut all = Vec::with_capacity(shares.len());
        for share in shares {
            let connection = self.connection(share.server)?;
            self.check(&share, &connection)?;
            all.extend(submit::pieces(share, &connection, request.part, (request.tag, request.up_to))?);
        }
        agree(&all)?;
        Ok(all)
    }

    /// Whether the tensors of a share can travel.
    fn check(&self, share: &Share, connection: &Connection) -> Result<(), PushPullError> {
        let endpoint = &self.0.endpoint.identity().incarnation;
        let transport = connection.peer.transport();
        let check = |key: u64, tensor: &Tensor| {
            if !tensor.memory().is_of(endpoint) {
                return Err(PushPullError::ForeignMemory { key });
            }
            let reachable = tensor.memory().local_key(transport).is_some();
            reachable.then_some(()).ok_or(PushPullError::Unreachable { key, server: share.server })
        };
        share.pushes.iter().try_for_each(|push| check(push.key, &push.tensor))?;
        share.pulls.iter().try_for_each(|pull| {
            check(pull.key, &pull.tensor)?;
            let opened = pull.tensor.memory().open_to_peers(&self.0.endpoint, transport);
            let (key, server) = (pull.key, share.server);
            opened.map_err(|reason| PushPullError::NoLanding { key, server, reason })
        })
    }

    /// Takes all slots and posts, or gives the pieces back with who is full.
    fn try_submit(
        &self,
        pieces: Vec<Piece>,
        request: &PushPull,
        (submitted, deadline): (u64, Option<Instant>),
    ) -> Result<Attempt<Handle>, PushPullError> {
        let mut reserved = match reserve(pieces)? {
            Ok(reserved) => reserved,
            Err(full) => return Ok(Err(full)),
        };
        let places = match batches::place(&mut reserved, request.batch()) {
            Ok(places) => places,
            Err(error) => {
                reserved.into_iter().for_each(|one| drop(one.cancel()));
                return Err(error);
            }
        };
        let about = About {
            recorder: self.0.recorder.clone(),
            number: self.0.submitted.fetch_add(1, Ordering::Relaxed),
            pulls: request.pull_count(),
            then: request.then.clone(),
        };
        let operation = Operation::new(reserved.iter().map(|one| one.trace(submitted)), about);
        let enter = |(index, one): (usize, &Reserved)| one.enter(&operation, index);
        let legs: Vec<_> = reserved.iter().enumerate().map(enter).collect();
        let sending = Sending {
            legs: reserved.into_iter().zip(legs.clone()).collect(),
            inline: self.0.config.inline_bytes,
        };
        match &request.after {
            None => sending.post(deadline),
            Some(event) => {
                self.hold(event, &operation, sending).inspect_err(|_| places.take_back())?;
            }
        }
        Ok(Ok(Handle::new(operation, legs)))
    }

    /// Lets the gate post it once its event is done.
    fn hold(
        &self,
        event: &Arc<dyn Event>,
        operation: &Arc<Operation>,
        sending: Sending,
    ) -> Result<(), PushPullError> {
        let (held, patience) = (Arc::clone(operation), self.0.config.patience);
        let action = move |outcome: Result<(), EventError>| match outcome {
            Ok(()) => {
                held.event_done();
                sending.post(Instant::now().checked_add(patience));
            }
            Err(error) => sending.give_up(&error),
        };
        let pending =
            Pending { event: Arc::clone(event), order: None, deadline: None, action: Box::new(action) };
        match self.0.gate.hold(pending) {
            Ok(ticket) => {
                operation.set_held(ticket);
                Ok(())
            }
            Err(refused) => {
                operation.disarm();
                (refused.pending.action)(Err(EventError::Closed));
                Err(match refused.reason {
                    GateError::Full { depth } => PushPullError::Events { held: depth },
                    _ => PushPullError::NoEvents,
                })
            }
        }
    }

    fn connection(&self, server: u32) -> Result<Arc<Connection>, PushPullError> {
        let found = self.0.shared.servers().by_rank.get(&server).cloned();
        found.ok_or(PushPullError::UnknownServer { server })
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Worker")
            .field("identity", &self.identity())
            .field("servers", &self.servers())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.gate.close();
        let connections: Vec<_> = self.shared.servers().by_number.drain().map(|(_, one)| one).collect();
        for connection in connections {
            connection.fail(DownCause::Closed);
            self.shared.apps.member_down(MemberId::server(connection.server.rank));
        }
    }
}

/// Legs that are ready to be posted.
struct Sending {
    legs: Vec<(Reserved, Arc<Leg>)>,
    inline: u32,
}

impl Sending {
    fn post(self, deadline: Option<Instant>) {
        let inline = self.inline;
        self.legs.into_iter().for_each(|(reserved, leg)| reserved.post(&leg, inline, deadline));
    }

    fn give_up(self, error: &EventError) {
        self.legs.iter().for_each(|(_, leg)| leg.give_up(FailureCause::Event(error.clone())));
    }
}

/// Sees to it that every key of the pieces has room.
fn agree(pieces: &[Piece]) -> Result<(), PushPullError> {
    pieces.iter().try_for_each(Piece::agree)
}

/// What there was room for; or the pieces back, and the server that is full.
type Attempt<T> = Result<T, (Vec<Piece>, u32)>;

/// All slots of all pieces; or the pieces back, and the server that is full.
fn reserve(pieces: Vec<Piece>) -> Result<Attempt<Vec<Reserved>>, PushPullError> {
    let mut reserved: Vec<Reserved> = Vec::with_capacity(pieces.len());
    let mut rest = pieces.into_iter();
    while let Some(piece) = rest.next() {
        match piece.reserve() {
            Ok(Ok(one)) => reserved.push(one),
            Ok(Err(piece)) => {
                let server = piece.connection.server.rank;
                let given_back = reserved.into_iter().map(Reserved::cancel);
                return Ok(Err((given_back.chain([piece]).chain(rest).collect(), server)));
            }
            Err(error) => {
                reserved.into_iter().for_each(|one| drop(one.cancel()));
                return Err(error);
            }
        }
    }
    Ok(Ok(reserved))
}

/// Asks the peer over the control connection.
fn ask<Q: Serialize, A: DeserializeOwned>(
    peer: &Peer,
    kind: u16,
    question: &Q,
    patience: Duration,
) -> Result<A, RequestError> {
    let malformed = || RequestError::Refused(Refused::Malformed.because("it does not parse"));
    let body = postcard::to_allocvec(question).map_err(|_| malformed())?;
    postcard::from_bytes(&peer.request(kind, body, patience)?).map_err(|_| malformed())
}

/// What the refusal of a submission says about the server.
fn route_cause(error: &SubmitError) -> FailureCause {
    match error {
        SubmitError::RouteFailed(fault) => FailureCause::Down((*fault).into()),
        SubmitError::Full(_) => FailureCause::Busy,
        _ => FailureCause::Down(RouteFault::Disconnected.into()),
    }
}

impl Shared {
    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, peer: &Peer) -> Option<Arc<Connection>> {
        self.servers().by_number.get(&peer.connection().number()).cloned()
    }
}

impl PeerService for Shared {
    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        if kind == kind::APP {
            let rank = self.servers().ranks.get(&peer.connection().number()).copied();
            rank.into_iter().for_each(|rank| self.apps.deliver(MemberId::server(rank), body));
        } else if kind == kind::REVOKE_AREA
            && let (Some(connection), Ok(gone)) = (self.find(peer), postcard::from_bytes::<AreaGone>(body))
        {
            connection.revoked(gone);
        }
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        if let Some(connection) = self.find(peer) {
            connection.message(message);
        }
    }

    fn route_down(&self, peer: &Peer, fault: RouteFault) {
        if let Some(connection) = self.find(peer) {
            connection.fail(fault.into());
            self.apps.member_down(MemberId::server(connection.server.rank));
        }
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        let connection = {
            let mut servers = self.servers();
            servers.ranks.remove(&peer.connection().number());
            servers.by_number.remove(&peer.connection().number())
        };
        if let Some(connection) = connection {
            connection.fail(reason.clone().into());
            self.apps.member_down(MemberId::server(connection.server.rank));
        }
    }
}
