//! What a node's handle stands for: a session, until the program leaves.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use af_api::{
    config::{Config, Shape},
    rendezvous::{MemberState, Role},
    server::{Server, ServerConfig},
    session::{Session, SessionError, SessionOptions},
    worker::Worker,
};
use pmd_core::accelerator::{Accelerator, Stream};
use pmd_host::{endpoint::Endpoint, soft::Accelerators};

use crate::{
    boundary::milliseconds,
    options::is_node,
    status::{Failure, pmd_af_status},
};

/// Longest attempt to connect to a server that has come, or come again.
const CONNECT: Duration = Duration::from_secs(10);

/// A process of a cluster.
pub(crate) struct Process {
    worker: Option<Worker>,
    server: Option<Server>,
    /// Gone once the program has left.
    session: Mutex<Option<Arc<Session>>>,
    shape: Shape,
    instance: u32,
    accelerators: Accelerators,
}

impl Process {
    /// `device_areas` is whether a server's pushes arrive on its device.
    pub(super) fn start(config: Config, device_areas: bool) -> Result<Self, Failure> {
        if !is_node(config.role) {
            return Err(no_role());
        }
        let (shape, instance) = (config.shape, config.instance);
        let accelerators = config.endpoint.soft.accelerators.clone();
        let server = ServerConfig { device_areas, ..ServerConfig::default() };
        let options = SessionOptions { server, ..SessionOptions::default() };
        let session = Session::start_with(config, options)?;
        let (worker, server) = (session.worker().cloned(), session.server().cloned());
        let session = Mutex::new(Some(Arc::new(session)));
        Ok(Self { worker, server, session, shape, instance, accelerators })
    }

    /// Connects the worker to those servers that are up and that it is not connected to.
    pub(super) fn connect(&self) -> Result<(), Failure> {
        let session = self.session()?;
        let mut failed = None;
        for member in session.node().members_of(Role::Server) {
            if member.state == MemberState::Up {
                failed = session.connect(member.id.rank, CONNECT).err().or(failed);
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Closes worker and server, and leaves; what other threads still do with them fails.
    pub(super) fn leave(self: Arc<Self>, timeout_ms: u64) -> Result<(), Failure> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Who waits for requests on another thread has a handle of its own.
        self.server.iter().for_each(Server::close);
        // The last handles of worker and server are the session's then.
        drop(self);
        // Another thread may still be in a call with it: then the last of them leaves.
        let only = session.and_then(Arc::into_inner);
        only.map_or(Ok(()), |session| Ok(session.leave(milliseconds(timeout_ms))?))
    }

    /// The session, while the process has its place.
    pub(super) fn session(&self) -> Result<Arc<Session>, Failure> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        session.ok_or_else(|| Failure::new(pmd_af_status::InvalidHandle, "the node has left"))
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) const fn instance(&self) -> u32 {
        self.instance
    }

    /// Workers that there are, all instances.
    pub(crate) const fn worker_instances(&self) -> usize {
        self.shape.instances(Role::Worker) as usize
    }

    /// An endpoint to allocate with.
    pub(crate) fn endpoint(&self) -> Result<&Endpoint, Failure> {
        let worker = || Some(self.worker.as_ref()?.endpoint());
        self.server.as_ref().map_or_else(worker, |server| Some(server.endpoint())).ok_or_else(no_role)
    }

    /// The accelerator of a number, of those that the process was started with.
    pub(crate) fn accelerator(&self, device: i32) -> Result<&Arc<dyn Accelerator>, Failure> {
        let wanted = u32::try_from(device).ok();
        let found = self.accelerators.iter().find(|known| Some(known.identity().ordinal) == wanted);
        found.ok_or_else(|| {
            let text =
                format!("device {device} is of no accelerator of this process: name it in its options");
            Failure::new(pmd_af_status::Unavailable, text)
        })
    }

    /// Whose streams the process follows.
    pub(crate) fn first_accelerator(&self) -> Result<&Arc<dyn Accelerator>, Failure> {
        let none = "this process has no accelerator: name it in its options";
        self.accelerators.iter().next().ok_or_else(|| Failure::new(pmd_af_status::Unavailable, none))
    }

    /// A stream of the first accelerator, by the runtime's handle.
    pub(crate) fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, Failure> {
        let stream = self.first_accelerator()?.stream(native);
        stream.map_err(|error| Failure::of(pmd_af_status::NotFound, &error))
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

fn no_role() -> Failure {
    Failure::argument("a node is a server or a worker: start a scheduler as one")
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let status = match error {
            SessionError::Start(error) => return error.into(),
            SessionError::Server(error) => return error.into(),
            SessionError::Worker(error) => return error.into(),
            SessionError::Wait(error) => return error.into(),
            SessionError::NoWorker => pmd_af_status::InvalidArgument,
            _ => pmd_af_status::ConnectFailed,
        };
        Self::of(status, &error)
    }
}
