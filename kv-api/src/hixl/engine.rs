//! An initialised engine: everything between `initialize` and `finalize`.
#![allow(unsafe_code)] // passes on what the caller promises about its memory

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_host::{
    backend::Transport,
    control::{DownReason, Refusal},
    endpoint::{EndpointConfig, Peer},
    soft::ArenaOptions,
    transfer::Direction,
};

use super::{
    AsyncConnectStatus, HixlError, MemDesc, MemHandle, MemType, NotifyDesc, TransferArgs, TransferOp,
    TransferOpDesc, TransferReq, TransferResult, TransferStatus, TransferStatusArgs,
    connect_pool::{ConnectPool, Kind},
    inbox::{self, Inbox},
    links::{Link, Links},
    memory::Memory,
    name::EngineName,
    options::Options,
    requests::{Requests, Work},
    staging::{self, Desk, Server, Stager, StagingQueue},
};
use crate::fabric::{Descriptor, Fabric, FabricError, Handler, Plan, PostOptions};

/// How long an asynchronous transfer waits for the link and for the peer's list of memory.
const ASYNC_PATIENCE: Duration = Duration::from_secs(3);

/// How long deregistering waits for transfers, and finalising for links.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);

/// As good as never: the deadline of transfers that have none.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

pub(super) struct Engine {
    fabric: Fabric,
    auto_connect: bool,
    desk: Arc<Reception>,
    links: Arc<Links>,
    requests: Arc<Requests>,
    connect_pool: ConnectPool,
    memory: Memory,
    staging: Option<Stagers>,
}

/// Both ends of staging.
struct Stagers {
    stager: Arc<Stager>,
    queue: StagingQueue,
    server: Server,
}

/// What arrives from peers.
struct Reception {
    inbox: Inbox,
    desk: Desk,
}

impl Engine {
    pub(super) fn open(
        local_engine: &str,
        options: &BTreeMap<String, String>,
        endpoint: EndpointConfig,
    ) -> Result<Self, HixlError> {
        let name = EngineName::parse(local_engine)?;
        let options = Options::parse(options)?;
        let desk = Desk {
            calls: Arc::default(),
            questions: Arc::default(),
            staging: options.staging,
            stage_for: options.stage_for,
        };
        let desk = Arc::new(Reception { inbox: Inbox::default(), desk });
        let config = configure(endpoint, &name, &options);
        let fabric = Fabric::open(config, Arc::clone(&desk) as Arc<dyn Handler>)?;
        let staging = Stagers::open(&fabric, &options, &desk.desk)?;
        let requests = Arc::<Requests>::default();
        let links =
            Arc::new(Links::new(fabric.clone(), name.listening(), options.link_pool, Arc::clone(&requests)));
        let connect_pool = ConnectPool::new(options.connect_pool, Arc::clone(&links));
        let auto_connect = options.auto_connect || options.link_pool.is_some();
        let memory = Memory::default();
        Ok(Self { fabric, auto_connect, desk, links, requests, connect_pool, memory, staging })
    }

    /// Ends everything. When this returns, no peer and no transfer touches the program's memory.
    pub(super) fn close(&self) {
        let deadline = Instant::now() + CLOSING_PATIENCE;
        self.links.close(deadline);
        self.connect_pool.stop();
        if let Some(Stagers { queue, server, .. }) = &self.staging {
            server.stop();
            queue.stop();
        }
        self.requests.clear();
        self.memory.clear();
    }

    /// # Safety
    /// As [`Fabric::register`].
    pub(super) unsafe fn register(&self, memory: MemDesc, kind: MemType) -> Result<MemHandle, HixlError> {
        // SAFETY: passed on to the caller.
        unsafe { self.memory.register(&self.fabric, memory, kind) }
    }

    pub(super) fn allocate(
        &self,
        bytes: usize,
        kind: MemType,
        options: ArenaOptions,
    ) -> Result<(MemHandle, MemDesc), HixlError> {
        self.memory.allocate(&self.fabric, bytes, kind, options)
    }

    pub(super) fn transport(&self, remote: &str) -> Result<Transport, HixlError> {
        self.links.find(remote).map(|link| link.peer().transport())
    }

    pub(super) fn deregister(&self, handle: MemHandle) -> Result<(), HixlError> {
        self.memory.deregister(handle, CLOSING_PATIENCE)
    }

    pub(super) fn connect(&self, remote: &str, timeout: Duration) -> Result<(), HixlError> {
        self.links.connect(remote, deadline(timeout)?).map(|_| ())
    }

    pub(super) fn disconnect(&self, remote: &str, timeout: Duration) -> Result<(), HixlError> {
        self.links.disconnect(remote, deadline(timeout)?)
    }

    pub(super) fn connect_async(&self, remote: &str, timeout: Duration) -> Result<(), HixlError> {
        self.submit(remote, Kind::Connect, timeout)
    }

    pub(super) fn disconnect_async(&self, remote: &str, timeout: Duration) -> Result<(), HixlError> {
        self.submit(remote, Kind::Disconnect, timeout)
    }

    fn submit(&self, remote: &str, kind: Kind, timeout: Duration) -> Result<(), HixlError> {
        deadline(timeout)?;
        EngineName::reachable(remote)?;
        self.connect_pool.submit(remote, kind, timeout)
    }

    pub(super) fn async_connect_status(&self, remote: &str) -> AsyncConnectStatus {
        self.connect_pool.status(remote)
    }

    pub(super) fn async_connect_statuses(&self) -> BTreeMap<String, AsyncConnectStatus> {
        self.connect_pool.statuses()
    }

    /// # Safety
    /// As [`Hixl::transfer_sync`](super::Hixl::transfer_sync).
    pub(super) unsafe fn transfer_sync(
        &self,
        remote: &str,
        operation: TransferOp,
        operations: &[TransferOpDesc],
        timeout: Duration,
    ) -> Result<(), HixlError> {
        let deadline = deadline(timeout)?;
        let descriptors = descriptors(operations)?;
        let link = self.link(remote, deadline)?;
        // SAFETY: the caller promises it until this returns.
        let result = unsafe { self.carry_out(&link, direction(operation), &descriptors, deadline) };
        if result.is_err() {
            self.drop_if_automatic(|links| links.drop_link(&link, Instant::now() + ASYNC_PATIENCE));
        }
        result
    }

    /// # Safety
    /// As [`Stager::transfer`].
    unsafe fn carry_out(
        &self,
        link: &Link,
        direction: Direction,
        descriptors: &[Descriptor],
        deadline: Instant,
    ) -> Result<(), HixlError> {
        match self.plan(link, direction, descriptors, deadline)? {
            Way::Direct(plan) => {
                let transfer =
                    plan.post(PostOptions { deadline: Some(deadline), ..PostOptions::default() })?;
                staging::finish(transfer, deadline)
            }
            Way::Staged(stagers) => {
                let stager = &stagers.stager;
                // SAFETY: passed on to the caller.
                unsafe { stager.transfer(link.peer(), direction, descriptors, deadline, &|| false) }
            }
        }
    }

    /// # Safety
    /// As [`Hixl::transfer_async`](super::Hixl::transfer_async).
    pub(super) unsafe fn transfer_async(
        &self,
        remote: &str,
        operation: TransferOp,
        operations: &[TransferOpDesc],
        args: TransferArgs,
    ) -> Result<TransferReq, HixlError> {
        let descriptors = descriptors(operations)?;
        let patience = Instant::now() + ASYNC_PATIENCE;
        let link = self.link(remote, patience)?;
        let direction = direction(operation);
        let limit = (args.timeout_in_millis > 0)
            .then(|| Instant::now() + Duration::from_millis(args.timeout_in_millis.into()));
        let start = || match self.plan(&link, direction, &descriptors, patience)? {
            Way::Direct(plan) => {
                Ok(Work::Direct(plan.post(PostOptions { deadline: limit, ..PostOptions::default() })?))
            }
            Way::Staged(stagers) => {
                let (peer, deadline) =
                    (link.peer().clone(), limit.unwrap_or_else(|| Instant::now() + FOR_EVER));
                // SAFETY: the caller promises it until the request has ended.
                let staged = unsafe { stagers.queue.push(peer, direction, descriptors.clone(), deadline) };
                staged.map(Work::Staged)
            }
        };
        let result = self.requests.start(link.number(), args.user_data, start);
        if result.is_err() {
            self.drop_if_automatic(|links| links.drop_link(&link, patience));
        }
        result
    }

    pub(super) fn transfer_status(&self, req: TransferReq) -> Result<TransferStatus, HixlError> {
        let standing = self.requests.standing(req)?;
        self.heard(standing.status, standing.link);
        Ok(standing.status)
    }

    pub(super) fn transfer_statuses(&self, args: TransferStatusArgs) -> Vec<TransferResult> {
        let standings = self.requests.standings(args);
        standings.iter().for_each(|(result, link)| self.heard(result.status, *link));
        standings.into_iter().map(|(result, _)| result).collect()
    }

    pub(super) fn send_notify(
        &self,
        remote: &str,
        notification: &NotifyDesc,
        timeout: Duration,
    ) -> Result<(), HixlError> {
        let deadline = deadline(timeout)?;
        inbox::check(notification)?;
        let link = self.links.find(remote)?;
        inbox::send(link.peer(), notification, deadline.saturating_duration_since(Instant::now()))
    }

    pub(super) fn take_notifies(&self) -> Vec<NotifyDesc> {
        self.desk.inbox.take()
    }

    /// The link to an engine, made now where that was asked for.
    fn link(&self, remote: &str, deadline: Instant) -> Result<Arc<Link>, HixlError> {
        if self.auto_connect { self.links.find_or_connect(remote, deadline) } else { self.links.find(remote) }
    }

    /// How the descriptors get to the peer: one-sided if all are registered at both ends, else staged.
    fn plan(
        &self,
        link: &Link,
        direction: Direction,
        descriptors: &[Descriptor],
        deadline: Instant,
    ) -> Result<Way<'_>, HixlError> {
        let patience = deadline.saturating_duration_since(Instant::now());
        match (self.fabric.plan(link.peer(), direction, descriptors, patience), &self.staging) {
            (Ok(plan), _) => Ok(Way::Direct(plan)),
            (Err(FabricError::Local { .. } | FabricError::Remote { .. }), Some(stagers)) => {
                Ok(Way::Staged(stagers))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// A transfer has ended: one that did not end well takes an automatic link with it.
    fn heard(&self, status: TransferStatus, link: u64) {
        if matches!(status, TransferStatus::Failed | TransferStatus::Timeout) {
            self.drop_if_automatic(|links| links.drop_number(link, Instant::now() + ASYNC_PATIENCE));
        }
    }

    fn drop_if_automatic(&self, drop: impl FnOnce(&Links)) {
        if self.auto_connect {
            drop(&self.links);
        }
    }
}

/// For tests.
#[cfg(test)]
impl Engine {
    pub(super) const fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    pub(super) fn links_up(&self) -> usize {
        self.links.up().len()
    }

    /// As if so many transfers had ended and nobody had asked about them.
    pub(super) fn pretend_requests(&self, number: usize) {
        for _ in 0..number {
            let start = || Ok(Work::Ended(TransferStatus::Completed));
            self.requests.start(0, 0, start).map(drop).unwrap_or_default();
        }
    }
}

/// How a transfer goes.
enum Way<'a> {
    Direct(Plan),
    Staged(&'a Stagers),
}

impl Stagers {
    fn open(fabric: &Fabric, options: &Options, desk: &Desk) -> Result<Option<Self>, HixlError> {
        let Some(config) = options.staging else { return Ok(None) };
        let server = staging::serve(fabric, config, &desk.questions)?;
        let stager = Arc::new(Stager::new(fabric.clone(), config, Arc::clone(&desk.calls)));
        Ok(Some(Self { queue: StagingQueue::new(Arc::clone(&stager)), stager, server }))
    }
}

impl Handler for Reception {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            inbox::NOTIFY => self.inbox.put(peer.connection().number(), body).map(|()| Vec::new()),
            _ => Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") }),
        }
    }

    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        self.desk.event(peer, kind, body);
    }

    fn down(&self, peer: &Peer, _: &DownReason) {
        self.desk.down(peer);
    }
}

fn configure(mut endpoint: EndpointConfig, name: &EngineName, options: &Options) -> EndpointConfig {
    endpoint.name = name.to_string();
    endpoint.listen = name.listening();
    endpoint.connect.traffic_class = options.traffic_class;
    endpoint.connect.service_level = options.service_level;
    endpoint
}

fn deadline(timeout: Duration) -> Result<Instant, HixlError> {
    if timeout.is_zero() {
        return Err(HixlError::NoTime);
    }
    Ok(Instant::now() + timeout.min(FOR_EVER))
}

const fn direction(operation: TransferOp) -> Direction {
    match operation {
        TransferOp::Read => Direction::Read,
        TransferOp::Write => Direction::Write,
    }
}

fn descriptors(operations: &[TransferOpDesc]) -> Result<Vec<Descriptor>, HixlError> {
    let descriptor = |(index, operation): (usize, &TransferOpDesc)| {
        let TransferOpDesc { local_addr: local, remote_addr: remote, len: length } = *operation;
        if local == 0 || remote == 0 {
            return Err(HixlError::NullAddress { index });
        }
        Ok(Descriptor { local, remote, length })
    };
    operations.iter().enumerate().map(descriptor).collect()
}
