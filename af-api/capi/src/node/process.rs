//! What a node's handle stands for: a place in the cluster, and the endpoints of its roles.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use af_api::{
    config::{Config, Shape},
    rendezvous::{MemberState, Node, Role},
    server::{Server, ServerConfig},
    wire::NodeIdentity,
    worker::{MESSAGE_BYTES, Worker, WorkerConfig},
};
use pmd_host::endpoint::Endpoint;

use crate::{
    boundary::milliseconds,
    options::serves_and_works,
    status::{Failure, pmd_af_status},
};

/// A process. The endpoints go before the place: peers hear a goodbye.
pub(crate) struct Process {
    worker: Option<Worker>,
    server: Option<Server>,
    /// Epochs of the servers that the worker is connected to.
    connected: Mutex<BTreeMap<u32, u64>>,
    /// Gone once the program has left.
    node: Mutex<Option<Arc<Node>>>,
    config: Config,
}

impl Process {
    pub(super) fn start(mut config: Config) -> Result<Self, Failure> {
        let (serves, works) = serves_and_works(config.role);
        if !serves && !works {
            return Err(no_role());
        }
        config.endpoint.message_bytes = config.endpoint.message_bytes.max(MESSAGE_BYTES);
        let rank = u32::try_from(config.rank()).unwrap_or(u32::MAX);
        let identity = NodeIdentity { rank, instance: config.instance, epoch: 0 };
        let server = if serves { Some(open_server(&mut config, identity)?) } else { None };
        let node = Node::start(config.clone())?;
        let worker = if works { Some(open_worker(&config, identity)?) } else { None };
        let node = Mutex::new(Some(Arc::new(node)));
        let process = Self { worker, server, connected: Mutex::default(), node, config };
        process.connect()?;
        Ok(process)
    }

    /// Connects the worker to servers that are up in an epoch that it does not know.
    pub(super) fn connect(&self) -> Result<(), Failure> {
        let Some(worker) = &self.worker else { return Ok(()) };
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = None;
        for member in self.node()?.members_of(Role::Server) {
            let (rank, known) = (member.id.rank, connected.get(&member.id.rank) == Some(&member.epoch));
            let Some(data) = member.data.filter(|_| member.state == MemberState::Up && !known) else {
                continue;
            };
            match worker.connect(rank, data.address) {
                Ok(_) => drop(connected.insert(rank, member.epoch)),
                Err(error) => failed = Some(Failure::from(error)),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn leave(&self, timeout_ms: u64) -> Result<(), Failure> {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Another thread may still be in a call with it: then the last of them leaves.
        let only = node.and_then(Arc::into_inner);
        only.map_or(Ok(()), |node| Ok(node.leave(milliseconds(timeout_ms))?))
    }

    /// The place, while the process has it.
    pub(super) fn node(&self) -> Result<Arc<Node>, Failure> {
        let node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
        node.ok_or_else(|| Failure::new(pmd_af_status::InvalidHandle, "the node has left"))
    }

    pub(super) const fn shape(&self) -> Shape {
        self.config.shape
    }

    pub(super) const fn instance(&self) -> u32 {
        self.config.instance
    }

    /// Workers that there are, all instances.
    pub(crate) const fn worker_instances(&self) -> usize {
        self.config.shape.instances(Role::Worker) as usize
    }

    /// An endpoint to allocate with.
    pub(crate) fn endpoint(&self) -> Result<&Endpoint, Failure> {
        let worker = || Some(self.worker.as_ref()?.endpoint());
        self.server.as_ref().map_or_else(worker, |server| Some(server.endpoint())).ok_or_else(no_role)
    }

    pub(crate) const fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    pub(crate) const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// The worker, where the process is one.
    pub(crate) fn as_worker(&self) -> Result<&Worker, Failure> {
        let other = || Failure::new(pmd_af_status::InvalidArgument, "this process is no worker");
        self.worker.as_ref().ok_or_else(other)
    }

    /// The server, where the process is one.
    pub(crate) fn as_server(&self) -> Result<&Server, Failure> {
        let other = || Failure::new(pmd_af_status::InvalidArgument, "this process is no server");
        self.server.as_ref().ok_or_else(other)
    }
}

/// Opens the server, and announces it.
fn open_server(config: &mut Config, identity: NodeIdentity) -> Result<Server, Failure> {
    let workers = config.shape.instances(Role::Worker) as usize;
    let given = ServerConfig {
        identity,
        endpoint: config.endpoint.clone(),
        workers: Some(workers),
        ..ServerConfig::default()
    };
    let server = Server::open(given)?;
    let announced = config.clone().with_endpoint(server.endpoint());
    *config = announced;
    Ok(server)
}

fn open_worker(config: &Config, identity: NodeIdentity) -> Result<Worker, Failure> {
    let mut endpoint = config.endpoint.clone();
    endpoint.listen = None;
    Ok(Worker::open(WorkerConfig { identity, endpoint, ..WorkerConfig::default() })?)
}

fn no_role() -> Failure {
    Failure::argument("a node is a server or a worker: start a scheduler as one")
}
