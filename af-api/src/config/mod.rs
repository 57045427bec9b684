//! How a process takes part: its role, its rank, the shape of the cluster, where the scheduler is.
//!
//! Made with [`Config::new`] and the methods after it, or from the environment with
//! [`environment::config`](crate::environment::config). [`Node::start`](crate::rendezvous::Node::start) and
//! [`Scheduler::start`](crate::rendezvous::Scheduler::start) take it.

mod group;

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use pmd_host::{
    endpoint::{Endpoint, EndpointConfig},
    metadata::{Metadata, MetadataError},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use group::Group;

use crate::{
    rendezvous::{DataAddress, MemberId, Role},
    worker::MESSAGE_BYTES,
};

/// Most places of a cluster.
pub const MOST_PLACES: u64 = 1 << 16;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessRole {
    /// Brings the others together.
    Scheduler,
    /// Asks for push-pulls.
    Worker,
    /// Answers them.
    Server,
    /// Both, with the same rank among workers and among servers.
    Joint,
}

impl ProcessRole {
    /// Its name in the environment, and in directories.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
            Self::Server => "server",
            Self::Joint => "joint",
        }
    }

    /// The roles of the members that the process is.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Scheduler => &[Role::Scheduler],
            Self::Worker => &[Role::Worker],
            Self::Server => &[Role::Server],
            Self::Joint => &[Role::Server, Role::Worker],
        }
    }
}

/// How many nodes a cluster has. Every process must say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Groups of worker instances.
    pub workers: u32,
    /// Groups of server instances.
    pub servers: u32,
    /// Instances of each group: processes of one node, one for each accelerator.
    pub group_size: u32,
}

/// Whose tensors a process moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The processor's memory.
    Cpu,
    /// An accelerator's.
    Gpu,
}

/// For whom a node waits when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WaitFor {
    /// Until every place has been taken once. A node that comes back finds that already done.
    #[default]
    Everybody,
    /// Only for the scheduler; the others are told as they come.
    Nobody,
}

/// How a process takes part.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the process does.
    pub role: ProcessRole,
    /// How many nodes there are.
    pub shape: Shape,
    /// Number of this node among those of its role.
    pub node_rank: u32,
    /// Number of this process in its group.
    pub instance: u32,
    /// Added to the rank; negative where the numbers of servers' accelerators go on after those of the workers'.
    pub rank_offset: i64,
    /// Name or address of the scheduler's host.
    pub scheduler_host: String,
    /// Port of the scheduler.
    pub scheduler_port: u16,
    /// Where the scheduler is looked for instead, and ranks are claimed. The scheduler itself listens at the host and the port
    /// above, and publishes that.
    pub group: Option<Group>,
    /// Name told to the others; for people.
    pub name: String,
    /// Number of the accelerator that the process uses, on its host.
    pub accelerator: u32,
    /// Whose tensors the process moves, if that was said.
    pub backend: Option<Backend>,
    /// How much a program that prints should print, 0 to 4. This crate prints nothing.
    pub verbosity: u8,
    /// Where the worker's endpoint is reached, if others connect to it.
    pub worker_data: Option<DataAddress>,
    /// Where the server's endpoint is reached.
    pub server_data: Option<DataAddress>,
    /// For whom [`Node::start`](crate::rendezvous::Node::start) waits.
    pub wait_for: WaitFor,
    /// Longest time that a start takes.
    pub start_timeout: Duration,
    /// Interval of keep-alives between this process and the scheduler; below the bound of either.
    pub keep_alive: Duration,
    /// Silence after which the other side is down; several intervals.
    pub down_after: Duration,
    /// How the process's endpoint for data is opened.
    pub endpoint: EndpointConfig,
}

impl Config {
    /// A process of a cluster of single instances: rank 0, 60 s to start, keep-alive each second, down after 5 s.
    #[must_use]
    pub fn new(role: ProcessRole, workers: u32, servers: u32, scheduler: SocketAddr) -> Self {
        Self {
            role,
            shape: Shape { workers, servers, group_size: 1 },
            node_rank: 0,
            instance: 0,
            rank_offset: 0,
            scheduler_host: scheduler.ip().to_string(),
            scheduler_port: scheduler.port(),
            group: None,
            name: String::new(),
            accelerator: 0,
            backend: None,
            verbosity: 0,
            worker_data: None,
            server_data: None,
            wait_for: WaitFor::Everybody,
            start_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(1),
            down_after: Duration::from_secs(5),
            endpoint: EndpointConfig { message_bytes: MESSAGE_BYTES, ..EndpointConfig::default() },
        }
    }

    /// A process of a group that is found by name: a scheduler publishes where it listens, the others look that up each time
    /// they connect, wherever it has moved.
    #[must_use]
    pub fn in_group(mut self, metadata: Arc<dyn Metadata>, name: impl Into<String>) -> Self {
        self.group = Some(Group::new(metadata, name));
        self
    }

    /// Takes the first number of the role that is free in the group, when the node starts. Without a group nothing is
    /// claimed.
    #[must_use]
    pub fn claiming_rank(mut self) -> Self {
        self.group = self.group.map(Group::claiming_rank);
        self
    }

    /// Number of this node among those of its role.
    #[must_use]
    pub const fn with_node_rank(mut self, node_rank: u32) -> Self {
        self.node_rank = node_rank;
        self
    }

    /// Instances of each group, and which of them this process is.
    #[must_use]
    pub const fn with_instance(mut self, group_size: u32, instance: u32) -> Self {
        (self.shape.group_size, self.instance) = (group_size, instance);
        self
    }

    /// Name told to the others.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Longest time that a start takes.
    #[must_use]
    pub const fn with_start_timeout(mut self, start_timeout: Duration) -> Self {
        self.start_timeout = start_timeout;
        self
    }

    /// For whom the start waits.
    #[must_use]
    pub const fn with_wait_for(mut self, wait_for: WaitFor) -> Self {
        self.wait_for = wait_for;
        self
    }

    /// Interval of keep-alives, and the silence after which the other side is down.
    #[must_use]
    pub const fn with_keep_alive(mut self, interval: Duration, down_after: Duration) -> Self {
        (self.keep_alive, self.down_after) = (interval, down_after);
        self
    }

    /// Announces the endpoint that the process takes push-pulls at, for each of its roles. An endpoint that does not
    /// listen announces nothing.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: &Endpoint) -> Self {
        let data = DataAddress::of(endpoint);
        for role in self.role.roles() {
            match role {
                Role::Worker => self.worker_data = data,
                Role::Server => self.server_data = data,
                Role::Scheduler => {}
            }
        }
        self
    }

    /// `group_size` x `node_rank` + `instance` + `rank_offset`, among all instances of the role.
    #[must_use]
    pub const fn rank(&self) -> i64 {
        let node = self.shape.group_size as i64 * self.node_rank as i64;
        (node + self.instance as i64).saturating_add(self.rank_offset)
    }

    /// The members that the process is.
    ///
    /// # Errors
    /// [`ConfigError`]: the settings contradict each other.
    pub fn members(&self) -> Result<Vec<MemberId>, ConfigError> {
        self.check()?;
        let rank = if self.role == ProcessRole::Scheduler { 0 } else { self.rank() };
        let member = |role: &Role| {
            let (role, count) = (*role, self.shape.instances(*role));
            let in_range = u32::try_from(rank).ok().filter(|rank| *rank < count);
            in_range.map(|rank| MemberId { role, rank }).ok_or(ConfigError::Rank { role, rank, count })
        };
        self.role.roles().iter().map(member).collect()
    }

    /// Where a role of this process takes push-pulls.
    #[must_use]
    pub const fn data(&self, role: Role) -> Option<DataAddress> {
        match role {
            Role::Scheduler => None,
            Role::Server => self.server_data,
            Role::Worker => self.worker_data,
        }
    }

    /// Addresses of the scheduler: what a group's directory says of it, unless this process is the scheduler.
    ///
    /// # Errors
    /// [`ConfigError::SchedulerHost`]; of a group, [`ConfigError::Group`] and [`ConfigError::GroupAddress`].
    pub fn scheduler_addresses(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        if let Some(group) = self.group.as_ref().filter(|_| self.role != ProcessRole::Scheduler) {
            return Ok(vec![group.scheduler()?]);
        }
        let failed = |source| ConfigError::SchedulerHost { host: self.scheduler_host.clone(), source };
        let found = (self.scheduler_host.as_str(), self.scheduler_port).to_socket_addrs().map_err(failed)?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(failed(io::Error::other("the name has no address")));
        }
        Ok(found)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.shape.check()?;
        let group_size = self.shape.group_size;
        if self.role != ProcessRole::Scheduler && self.instance >= group_size {
            return Err(ConfigError::Instance { instance: self.instance, group_size });
        }
        if self.keep_alive.is_zero() || self.down_after < self.keep_alive * 2 {
            let (keep_alive, down_after) = (self.keep_alive, self.down_after);
            return Err(ConfigError::KeepAlive { keep_alive, down_after });
        }
        Ok(())
    }
}

impl Shape {
    /// Whether a cluster can have the shape.
    ///
    /// # Errors
    /// [`ConfigError::Shape`].
    pub fn check(self) -> Result<(), ConfigError> {
        let groups = u64::from(self.workers) + u64::from(self.servers);
        let places = groups.saturating_mul(u64::from(self.group_size));
        let possible = self.workers > 0 && self.servers > 0 && (1..=MOST_PLACES).contains(&places);
        if possible { Ok(()) } else { Err(ConfigError::Shape { shape: self }) }
    }
}

/// Why a configuration cannot be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No cluster has this shape.
    #[error(
        "{} workers, {} servers, groups of {}: at least one of each, at most {MOST_PLACES} instances in all",
        .shape.workers, .shape.servers, .shape.group_size
    )]
    Shape {
        /// What was asked for.
        shape: Shape,
    },
    /// The instance is not in the group.
    #[error("instance {instance} of a group of {group_size}: it must be less than the group's size")]
    Instance {
        /// Number asked for.
        instance: u32,
        /// Instances of a group.
        group_size: u32,
    },
    /// The rank is not in the cluster.
    #[error(
        "rank {rank} among {count} {role} instances: lower the node's rank, its instance or the rank offset"
    )]
    Rank {
        /// Whose rank.
        role: Role,
        /// The rank that the settings give.
        rank: i64,
        /// Instances that there are.
        count: u32,
    },
    /// The keep-alive bound leaves no room for a single late keep-alive.
    #[error(
        "down after {down_after:?} with a keep-alive each {keep_alive:?}: take at least two intervals, of more than nothing"
    )]
    KeepAlive {
        /// Interval asked for.
        keep_alive: Duration,
        /// Bound asked for.
        down_after: Duration,
    },
    /// The scheduler's host has no address.
    #[error("the scheduler's host {host:?} has no address")]
    SchedulerHost {
        /// The name asked for.
        host: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory of the group does not answer, or has no scheduler or no free number.
    #[error("group {group:?}")]
    Group {
        /// The group's name.
        group: String,
        /// The directory's reason.
        #[source]
        source: MetadataError,
    },
    /// What is published as the scheduler's address is none.
    #[error("group {group:?}: {value:?} is published as the scheduler's address, and is none")]
    GroupAddress {
        /// The group's name.
        group: String,
        /// What is published.
        value: String,
    },
    /// The scheduler listens on every address, and which one others reach was not said.
    #[error(
        "the scheduler listens on {address}, which nobody can connect to: name the address that others reach"
    )]
    Anywhere {
        /// Where it listens.
        address: SocketAddr,
    },
    /// The role cannot do what was called: a scheduler is started as one, everything else as a node.
    #[error(
        "the configuration is that of a {role:?}: start a scheduler with Scheduler::start, anything else with Node::start"
    )]
    WrongRole {
        /// The configured role.
        role: ProcessRole,
    },
}

#[cfg(test)]
mod tests;
