//! The processes of a command: a scheduler, servers and workers, all on this machine, or each on its host (`hosts`).
//!
//! ```text
//!  af demo / af bench (this process)
//!     | starts                  scheduler      says where it listens
//!     | starts, with address    servers, workers: join there (Node::start), work, say what they found
//!     | lets go of servers and scheduler once every worker has ended
//! ```

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use af_api::{
    config::{Config, ProcessRole},
    environment,
    rendezvous::{Barrier, LeaveError, Member, MemberId, MemberState, Node, Role, Roles, Scheduler},
    server::{self, BatchError, Gather, Request, ServerConfig},
    wire::NodeIdentity,
    worker::{self, WorkerConfig},
};
use clap::Args;
use pmd_host::{endpoint::Endpoint, security::command::security};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Outcome,
    child::{self, Lifeline, RoleProcess},
    failure::Failure,
    memory::Room,
    options::{Common, LOOPBACK, PATIENCE, tell_metrics},
};

/// How long the whole work may take.
const LONGEST: Duration = Duration::from_secs(600);

/// How long one process is listened to before the others are.
const GLANCE: Duration = Duration::from_millis(20);

/// How long a batch is waited for before the members are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Name of a cluster whose processes are started by hand.
const DEFAULT_GROUP: &str = "default";

/// How many there are.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Size {
    /// Worker processes: attention nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
    /// Server processes: feed-forward nodes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) servers: u32,
}

/// `--metadata`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Directory {
    /// Let the processes find the scheduler in a directory instead of telling them: etcd://host:2379. Etcd may go away once
    /// they have joined.
    #[arg(long, value_name = "URL")]
    metadata: Option<String>,
    /// Name of the cluster there. Children of one command have one of their own if it is not given, processes that are
    /// started by hand "default".
    #[arg(long, value_name = "NAME", requires = "metadata")]
    group: Option<String>,
}

/// Where a child finds the others, and who it is.
#[derive(Clone, Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) size: Size,
    /// Where the scheduler listens.
    #[arg(long, required_unless_present = "metadata")]
    scheduler: Option<SocketAddr>,
    #[command(flatten)]
    directory: Directory,
    /// Number among the processes of the role.
    #[arg(long)]
    pub(crate) rank: u32,
}

/// `af role scheduler`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SchedulerArguments {
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    directory: Directory,
}

/// The scheduler to its parent.
#[derive(Debug, Serialize, Deserialize)]
struct SchedulerSays {
    address: SocketAddr,
}

/// All processes.
pub(crate) struct Cluster {
    scheduler: RoleProcess,
    pub(crate) servers: Vec<RoleProcess>,
    pub(crate) workers: Vec<RoleProcess>,
}

impl Size {
    fn arguments(self) -> Vec<String> {
        let (workers, servers) = (self.workers.to_string(), self.servers.to_string());
        ["--workers".into(), workers, "--servers".into(), servers].into()
    }
}

impl Directory {
    /// As arguments for a child process: of this command's cluster, unless another name was given.
    fn arguments(&self) -> Vec<String> {
        let Some(url) = &self.metadata else { return Vec::new() };
        let group = self.group.clone().unwrap_or_else(|| format!("af-{}", std::process::id()));
        ["--metadata".into(), url.clone(), "--group".into(), group].into()
    }

    /// Lets a configuration look there.
    pub(crate) fn configure(&self, config: Config) -> Result<Config, Failure> {
        let Some(url) = &self.metadata else { return Ok(config) };
        Ok(config.in_group(
            environment::directory_at(url)?,
            self.group.clone().unwrap_or_else(|| DEFAULT_GROUP.to_owned()),
        ))
    }
}

impl Place {
    /// Takes the place. A server announces its endpoint.
    pub(crate) fn join(&self, role: ProcessRole, endpoint: Option<&Endpoint>) -> Result<Node, Failure> {
        let Size { workers, servers } = self.size;
        let config = Config::new(role, workers, servers, self.scheduler.unwrap_or(LOOPBACK))
            .with_node_rank(self.rank)
            .with_start_timeout(PATIENCE);
        let config = self.directory.configure(config)?;
        let mut config = endpoint.map_or(config.clone(), |endpoint| config.with_endpoint(endpoint));
        config.endpoint.security = security();
        Ok(Node::start(config)?)
    }
}

impl Cluster {
    /// Starts a scheduler, and so many servers and workers in these roles.
    pub(crate) fn start(
        size: Size,
        directory: &Directory,
        server: &'static str,
        worker: &'static str,
        arguments: &[String],
    ) -> Result<Self, Failure> {
        let directory = directory.arguments();
        let mut scheduler = RoleProcess::start("scheduler", &[size.arguments(), directory.clone()].concat())?;
        let SchedulerSays { address } = scheduler.hear(PATIENCE)?;
        let told = ["--scheduler".to_owned(), address.to_string()];
        let whence = if directory.is_empty() { &told[..] } else { &directory };
        let member = |role: &'static str, rank: u32| {
            let rank = ["--rank".into(), rank.to_string()];
            RoleProcess::start(role, &[&size.arguments()[..], whence, &rank, arguments].concat())
        };
        let servers = (0..size.servers).map(|rank| member(server, rank)).collect::<Result<_, _>>()?;
        let workers = (0..size.workers).map(|rank| member(worker, rank)).collect::<Result<_, _>>()?;
        Ok(Self { scheduler, servers, workers })
    }

    /// What every worker says when it has done its part. Any process that ends before is a failure, told at once.
    pub(crate) fn reports<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, Failure> {
        let deadline = Instant::now() + LONGEST;
        let mut reports: Vec<Option<T>> = self.workers.iter().map(|_| None).collect();
        while reports.iter().any(Option::is_none) {
            for (worker, report) in self.workers.iter_mut().zip(&mut reports) {
                if report.is_none() {
                    *report = worker.listen(GLANCE)?;
                }
            }
            for silent in self.servers.iter_mut().chain([&mut self.scheduler]) {
                if let Some(said) = silent.listen::<Value>(Duration::ZERO)? {
                    return Err(silent.babbles(&said));
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::ChildSilent { role: "worker", patience: LONGEST });
            }
        }
        Ok(reports.into_iter().flatten().collect())
    }

    /// Waits for every worker to end well, then lets go of the others.
    pub(crate) fn finish(self) -> Outcome {
        self.workers.into_iter().try_for_each(|worker| worker.ended_well(PATIENCE))?;
        self.servers.into_iter().try_for_each(|server| server.finish(PATIENCE))?;
        self.scheduler.finish(PATIENCE)
    }
}

/// A worker's place in the cluster, connected to every server.
pub(crate) struct Worker {
    pub(crate) worker: worker::Worker,
    pub(crate) room: Room,
    node: Node,
}

impl Worker {
    /// Takes the place and connects.
    pub(crate) fn join(place: &Place, common: Common) -> Result<Self, Failure> {
        // Before the others wait for this one.
        let room = Room::open(common.device)?;
        let node = place.join(ProcessRole::Worker, None)?;
        let epoch = node.member(MemberId::worker(place.rank)).map_or(0, |member| member.epoch);
        let config = WorkerConfig::default();
        let endpoint = common.endpoint(&format!("worker {}", place.rank), None, config.endpoint);
        let identity = NodeIdentity { rank: place.rank, instance: 0, epoch };
        let accelerator = room.accelerator();
        let worker = worker::Worker::open(WorkerConfig { identity, endpoint, accelerator, ..config })?;
        tell_metrics(worker.endpoint());
        for server in node.members_of(Role::Server) {
            if let Some(data) = server.data {
                worker.connect(server.id.rank, data.address)?;
            }
        }
        Ok(Self { worker, room, node })
    }

    /// Name of what carries the bytes to the servers.
    pub(crate) fn transport(&self) -> String {
        self.worker.peer(0).map(|peer| peer.transport().name().to_owned()).unwrap_or_default()
    }

    /// Work requests posted so far.
    pub(crate) fn work_requests(&self, servers: u32) -> u64 {
        let lanes =
            (0..servers).filter_map(|rank| self.worker.peer(rank)).map(|peer| peer.route().lane().counters());
        // One lane carries all of them.
        lanes.map(|counters| counters.work_requests).max().unwrap_or_default()
    }

    /// Leaves in order, once every worker has done its part: servers then wait for none of them any more.
    pub(crate) fn leave(self) -> Outcome {
        self.node.barrier(&Barrier::new("done", Roles::WORKER), LONGEST)?;
        Ok(self.node.leave(PATIENCE)?)
    }
}

/// A server's place in the cluster.
pub(crate) struct Server {
    pub(crate) server: server::Server,
    pub(crate) room: Room,
    pub(crate) node: Node,
}

impl Server {
    /// Opens the server, which listens at an address that workers reach, and takes the place.
    pub(crate) fn join(place: &Place, common: Common, listen: SocketAddr) -> Result<Self, Failure> {
        let room = Room::open(common.device)?;
        let config = ServerConfig { accelerator: room.accelerator(), ..ServerConfig::default() };
        let device_areas = config.accelerator.is_some();
        let endpoint = common.endpoint(&format!("server {}", place.rank), Some(listen), config.endpoint);
        let identity = NodeIdentity { rank: place.rank, instance: 0, epoch: 1 };
        let workers = Some(place.size.workers as usize);
        let config = ServerConfig { identity, endpoint, workers, device_areas, ..config };
        let server = server::Server::open(config)?;
        tell_metrics(server.endpoint());
        let node = place.join(ProcessRole::Server, Some(server.endpoint()))?;
        Ok(Self { server, room, node })
    }

    /// Leaves in order.
    pub(crate) fn leave(self) -> Outcome {
        Ok(self.node.leave(PATIENCE)?)
    }

    /// Waits until no worker is there any more, as nobody else says when to go, and leaves.
    pub(crate) fn leave_after_workers(self) -> Outcome {
        let deadline = Instant::now() + LONGEST;
        while self.node.members_of(Role::Worker).iter().any(Member::is_up) {
            if let Some(reason) = self.node.scheduler_lost() {
                return Err(LeaveError::SchedulerLost(reason).into());
            }
            if Instant::now() > deadline {
                return Err(Failure::WorkersStay { patience: LONGEST });
            }
            // Short, as an event may have been taken before the members were looked at.
            let _ = self.node.wait_event(GLANCE);
        }
        match self.node.leave(PATIENCE) {
            // The last to leave: the scheduler may go before it has answered.
            Err(LeaveError::SchedulerLost(_)) => Ok(()),
            left => Ok(left?),
        }
    }
}

/// Waits for a request of every worker. Of one that goes down before it has connected only the scheduler knows.
pub(crate) fn batch(server: &server::Server, node: &Node) -> Result<Vec<Request>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match server.batch(Gather::All, Some(deadline.min(Instant::now() + LOOK))) {
            Err(BatchError::Timeout { .. }) if Instant::now() < deadline => {
                fail_if_down(&node.members_of(Role::Worker))?;
            }
            batch => return Ok(batch?),
        }
    }
}

/// Fails with the first of these that is down.
pub(crate) fn fail_if_down(members: &[Member]) -> Outcome {
    let down = members.iter().find_map(|member| match &member.state {
        MemberState::Down(cause) => Some(Failure::MemberDown { member: member.id, cause: cause.clone() }),
        _ => None,
    });
    down.map_or(Ok(()), Err)
}

/// Runs the scheduler until its parent lets go.
pub(crate) fn schedule(arguments: &SchedulerArguments) -> Outcome {
    let Size { workers, servers } = arguments.size;
    let lifeline = Lifeline::watch();
    let mut config = Config::new(ProcessRole::Scheduler, workers, servers, LOOPBACK);
    config.endpoint.security = security();
    let scheduler = Scheduler::start(&arguments.directory.configure(config)?)?;
    child::say(&SchedulerSays { address: scheduler.local_address() });
    lifeline.wait_for_release();
    Ok(())
}
