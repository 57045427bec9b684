//! A process of the cluster, ready for push-pulls: its place, its worker or its server, and its connections.
//!
//! # Place in the flow
//! What an engine opens, and what the Python and C++ interfaces open for it. It puts [`rendezvous`](crate::rendezvous),
//! [`worker`](crate::worker) and [`server`](crate::server) together:
//!
//! ```text
//!  Session::start
//!     | reserve     a place and its epoch, of the scheduler                  (Node::reserve)
//!     | open        the server's and the worker's endpoint, with that epoch  (Server::open, Worker::open)
//!     | announce    where the server listens; wait until everybody is there  (Node::announce)
//!     v connect     the worker to every server, or to each when it is needed (Session::connect)
//! ```
//! A server that goes down takes its requests with it; the others go on. Once its successor has taken the place,
//! [`Session::connect`] finds it, however long that takes within the deadline, and by its epoch knows it from the one that
//! is gone.
//!
//! # Example
//! A scheduler, a server and a worker; here in one process.
//! ```
//! use std::{thread, time::{Duration, Instant}};
//!
//! use af_api::config::{Config, ProcessRole};
//! use af_api::rendezvous::Scheduler;
//! use af_api::server::Gather;
//! use af_api::session::Session;
//! use af_api::tensor::{Layout, Tensor};
//! use af_api::worker::PushPull;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let patience = Duration::from_secs(20);
//! let soon = || Some(Instant::now() + patience);
//! let config = |role, address| Config::new(role, 1, 1, address);
//! let scheduler = Scheduler::start(&config(ProcessRole::Scheduler, ([127, 0, 0, 1], 0).into()))?;
//! let address = scheduler.local_address();
//! let other = thread::spawn(move || Session::start(config(ProcessRole::Server, address)));
//! let session = Session::start(config(ProcessRole::Worker, address))?;
//! let other = other.join().expect("no panic")?;
//!
//! let worker = session.worker().expect("it is one");
//! let push = Tensor::new(&worker.allocate(1 << 20)?, 0, Layout::of_bytes(1 << 20))?;
//! let handle = worker.push_pull(&PushPull::new().push(1, &push), soon())?;
//! for request in other.server().expect("it is one").batch(Gather::All, soon())? {
//!     request.respond(&[])?;
//! }
//! handle.wait(soon())?;
//! # Ok(())
//! # }
//! ```

mod error;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub use error::{FinishError, SessionError};
use pmd_host::endpoint::EndpointConfig;

use crate::{
    config::Config,
    rendezvous::{Barrier, DataAddress, LeaveError, Member, MemberId, Node, Role, Roles, WaitError},
    server::{Server, ServerConfig},
    wire::NodeIdentity,
    worker::{Worker, WorkerConfig},
};

/// Pause before another attempt to connect to a server that is being started again.
const PAUSE: Duration = Duration::from_millis(20);

/// When a worker connects to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Connecting {
    /// To all of them before [`Session::start`] returns.
    #[default]
    Eager,
    /// To each when [`Session::connect`] is called for it.
    Lazy,
}

/// What a session opens besides its node.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The worker. Its identity and its endpoint are the session's.
    pub worker: WorkerConfig,
    /// The server. Its identity and its endpoint are the session's. Where it does not say how many workers a batch of all
    /// waits for, it is all of the cluster's.
    pub server: ServerConfig,
    /// When the worker connects.
    pub connecting: Connecting,
}

/// A process of the cluster, ready for push-pulls. Dropping it closes its worker and its server, then leaves in order.
#[derive(Debug)]
pub struct Session {
    worker: Option<Worker>,
    server: Option<Server>,
    /// Goes last: what is in flight ends before the others hear that it has left.
    node: Arc<Node>,
}

impl Session {
    /// Takes the process's place, opens its worker and its server, waits for the others and connects to the servers.
    ///
    /// # Errors
    /// [`SessionError`]; the place is free again.
    pub fn start(config: Config) -> Result<Self, SessionError> {
        Self::start_with(config, SessionOptions::default())
    }

    /// As [`Session::start`], with the worker and the server as they are wanted.
    ///
    /// # Errors
    /// [`SessionError`]; the place is free again.
    pub fn start_with(config: Config, options: SessionOptions) -> Result<Self, SessionError> {
        let deadline = Instant::now() + config.start_timeout;
        let node = Node::reserve(config)?;
        let server = open_server(&node, options.server)?;
        let worker = open_worker(&node, options.worker)?;
        let data = server.as_ref().and_then(|server| DataAddress::of(server.endpoint()));
        let session = Self { worker, server, node: Arc::new(node) };
        session.node.announce(&data.map(|data| (Role::Server, data)).into_iter().collect::<Vec<_>>())?;
        if options.connecting == Connecting::Eager && session.worker.is_some() {
            session.connect_all(deadline.saturating_duration_since(Instant::now()))?;
        }
        Ok(session)
    }

    /// The worker, if the process is one.
    #[must_use]
    pub const fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// The server, if the process is one.
    #[must_use]
    pub const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The process's end of the rendezvous: members, barriers, events.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Connects the worker to the server that holds a rank now, or will within `timeout`. One that is connected and lives is
    /// left as it is, so that this may be called before every request.
    ///
    /// # Errors
    /// [`SessionError`]: the process is no worker, the server is not there in time, or cannot be connected to.
    pub fn connect(&self, rank: u32, timeout: Duration) -> Result<NodeIdentity, SessionError> {
        let worker = self.worker.as_ref().ok_or(SessionError::NoWorker)?;
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let member = self.up(rank, left)?;
            if let Some(server) = connected(worker, rank, member.epoch) {
                return Ok(server);
            }
            let error = match self.connect_member(worker, &member) {
                Ok(server) => return Ok(server),
                Err(error) => error,
            };
            // It may be dying, and its successor not be there yet.
            if Instant::now() + PAUSE >= deadline {
                return Err(error);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Connects the worker to every server of the cluster, as [`Session::connect`] does, `timeout` for all of them together.
    ///
    /// # Errors
    /// [`SessionError`] of the first that could not be connected to.
    pub fn connect_all(&self, timeout: Duration) -> Result<(), SessionError> {
        let deadline = Instant::now() + timeout;
        let servers = 0..self.node.config().shape.instances(Role::Server);
        servers.into_iter().try_for_each(|rank| {
            self.connect(rank, deadline.saturating_duration_since(Instant::now())).map(|_| ())
        })
    }

    /// Joins again after the scheduler was lost; see [`Node::rejoin`]. Connections stay.
    ///
    /// # Errors
    /// [`SessionError::Start`].
    pub fn rejoin(&self) -> Result<(), SessionError> {
        self.node.rejoin()?;
        if let Some(server) = &self.server {
            server.set_identity(identity(&self.node, Role::Server));
        }
        Ok(())
    }

    /// Ends together with the others: waits until every worker and server is here, closes, and leaves. Whatever the
    /// barrier says, the session is closed when this returns.
    ///
    /// # Errors
    /// [`FinishError`]: who was missing, or that nobody could be told.
    pub fn finish(self, timeout: Duration) -> Result<(), FinishError> {
        let Self { worker, server, node } = self;
        let deadline = Instant::now() + timeout;
        let together = node.barrier(&Barrier::new("session: finish", Roles::WORKER | Roles::SERVER), timeout);
        drop((worker, server));
        let grace = node.config().down_after;
        node.leave(deadline.saturating_duration_since(Instant::now()).max(grace))?;
        Ok(together?)
    }

    /// Ends without the others: closes, and leaves in order. Whatever comes of that, the session is closed when this
    /// returns.
    ///
    /// # Errors
    /// [`LeaveError`]: nobody could be told.
    pub fn leave(self, timeout: Duration) -> Result<(), LeaveError> {
        let Self { worker, server, node } = self;
        drop((worker, server));
        node.leave(timeout)
    }

    /// The server of a rank, once it is up and says where it listens.
    fn up(&self, rank: u32, timeout: Duration) -> Result<Member, SessionError> {
        let id = MemberId::server(rank);
        match self.node.wait_member(id, 0, timeout) {
            Ok(member) => Ok(member),
            // Who was up when the scheduler went may still be.
            Err(WaitError::SchedulerLost { .. })
                if self.node.member(id).is_some_and(|member| member.is_up()) =>
            {
                self.node.member(id).ok_or(SessionError::NoAddress { rank })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn connect_member(&self, worker: &Worker, member: &Member) -> Result<NodeIdentity, SessionError> {
        let rank = member.id.rank;
        let data = member.data.ok_or(SessionError::NoAddress { rank })?;
        let failed = |source| SessionError::Connect { rank, address: data.address, source };
        let server = worker.connect(rank, data.address).map_err(failed)?;
        let incarnation = worker.peer(rank).map(|peer| peer.identity().incarnation);
        if incarnation.is_some_and(|incarnation| incarnation != data.incarnation) {
            // Another life of the server, which the scheduler has not told of yet.
            let _ = worker.disconnect(rank);
            return Err(SessionError::Stale { rank, address: data.address });
        }
        Ok(server)
    }
}

/// The server that a worker is connected to under a rank, if it lives and is of that epoch.
fn connected(worker: &Worker, rank: u32, epoch: u64) -> Option<NodeIdentity> {
    let living = worker.servers().into_iter().find(|(server, cause)| server.rank == rank && cause.is_none());
    living.map(|(server, _)| server).filter(|server| server.epoch == epoch)
}

fn identity(node: &Node, role: Role) -> NodeIdentity {
    let own = node.ids().iter().find(|id| id.role == role).and_then(|id| node.member(*id));
    own.map_or_else(NodeIdentity::default, |own| NodeIdentity {
        rank: own.id.rank,
        instance: own.instance,
        epoch: own.epoch,
    })
}

fn open_server(node: &Node, options: ServerConfig) -> Result<Option<Server>, SessionError> {
    let config = node.config();
    if !config.role.roles().contains(&Role::Server) {
        return Ok(None);
    }
    let listen = config.endpoint.listen.or(options.endpoint.listen);
    let endpoint = EndpointConfig { listen, ..config.endpoint.clone() };
    let workers = options.workers.or(Some(config.shape.instances(Role::Worker) as usize));
    let options = ServerConfig { identity: identity(node, Role::Server), endpoint, workers, ..options };
    Ok(Some(Server::open(options)?))
}

/// A worker's endpoint does not listen: it connects to the servers.
fn open_worker(node: &Node, options: WorkerConfig) -> Result<Option<Worker>, SessionError> {
    let config = node.config();
    if !config.role.roles().contains(&Role::Worker) {
        return Ok(None);
    }
    let endpoint = EndpointConfig { listen: None, ..config.endpoint.clone() };
    let options = WorkerConfig { identity: identity(node, Role::Worker), endpoint, ..options };
    Worker::open(options).map(Some).map_err(SessionError::Worker)
}

#[cfg(test)]
mod tests;
