//! Who takes part: roles, ranks, and what is known of each member.

use std::{fmt, net::SocketAddr, time::Duration};

use bitflags::bitflags;
use pmd_host::{control::DownReason, endpoint::Endpoint, identity::DeviceId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::Shape;

/// What a member does. A process is one member, or two where it is worker and server at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Brings the others together; there is one, of rank 0.
    Scheduler,
    /// Answers push-pulls: the feed-forward side.
    Server,
    /// Asks for them: the attention side.
    Worker,
}

impl Role {
    /// The role as a set of one.
    #[must_use]
    pub const fn as_roles(self) -> Roles {
        match self {
            Self::Scheduler => Roles::SCHEDULER,
            Self::Server => Roles::SERVER,
            Self::Worker => Roles::WORKER,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Scheduler => "scheduler",
            Self::Server => "server",
            Self::Worker => "worker",
        })
    }
}

bitflags! {
    /// A set of roles, with the numbers of ps-lite's node groups.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub struct Roles: u8 {
        /// The scheduler.
        const SCHEDULER = 1;
        /// All servers.
        const SERVER = 2;
        /// All workers.
        const WORKER = 4;
    }
}

/// A place in the cluster. Whoever holds it may change; see [`Member::epoch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemberId {
    /// What it does.
    pub role: Role,
    /// Number among all instances of the role, from 0.
    pub rank: u32,
}

impl MemberId {
    /// The scheduler.
    pub const SCHEDULER: Self = Self { role: Role::Scheduler, rank: 0 };

    /// A worker.
    #[must_use]
    pub const fn worker(rank: u32) -> Self {
        Self { role: Role::Worker, rank }
    }

    /// A server.
    #[must_use]
    pub const fn server(rank: u32) -> Self {
        Self { role: Role::Server, rank }
    }

    /// The identifier that ps-lite gives it: 1 for the scheduler, 8 + 2 x rank for a server, 9 + 2 x rank for a worker.
    #[must_use]
    pub const fn ps_lite_id(self) -> u64 {
        match self.role {
            Role::Scheduler => 1,
            Role::Server => 8 + 2 * self.rank as u64,
            Role::Worker => 9 + 2 * self.rank as u64,
        }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Scheduler => write!(formatter, "scheduler"),
            role => write!(formatter, "{role} {}", self.rank),
        }
    }
}

/// Where a member takes push-pulls: the address of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataAddress {
    /// Where the endpoint listens. The scheduler puts the address that it sees the member at in the place of an
    /// unspecified one (`0.0.0.0`).
    pub address: SocketAddr,
    /// Drawn when the endpoint was opened: another one at this address is not this member.
    pub incarnation: DeviceId,
}

impl DataAddress {
    /// Where an endpoint listens, if it does.
    #[must_use]
    pub fn of(endpoint: &Endpoint) -> Option<Self> {
        let incarnation = endpoint.identity().incarnation;
        endpoint.local_address().map(|address| Self { address, incarnation })
    }
}

/// A member as the scheduler knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its place.
    pub id: MemberId,
    /// Its number in its group, 0 to `group_size` - 1.
    pub instance: u32,
    /// How often the place has been taken so far: 1 at first, one more for each restarted process.
    pub epoch: u64,
    /// Name given by its configuration; for people.
    pub name: String,
    /// Where it takes push-pulls, if it does.
    pub data: Option<DataAddress>,
    /// Whether it lives.
    pub state: MemberState,
}

impl Member {
    /// Whether it lives.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == MemberState::Up
    }
}

/// Whether a member lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It does.
    Up,
    /// It left in order; nobody waits for it any more.
    Left,
    /// It is gone. A restarted process may take its place.
    Down(DownCause),
}

/// Why a member is down, as the scheduler saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum DownCause {
    /// Its connection closed without a word.
    #[error("its process is gone")]
    Closed,
    /// Its process ended, or gave up, without leaving.
    #[error("it ended without leaving")]
    Ended,
    /// Nothing came for longer than the keep-alive bound.
    #[error("nothing heard from it for {0:?}")]
    Silent(Duration),
    /// It sent something that is not a message of the rendezvous.
    #[error("it sent something that is not understood")]
    Protocol,
}

impl From<&DownReason> for DownCause {
    fn from(reason: &DownReason) -> Self {
        match reason {
            DownReason::Goodbye => Self::Ended,
            DownReason::Silent(silence) => Self::Silent(*silence),
            DownReason::Protocol(_) => Self::Protocol,
            _ => Self::Closed,
        }
    }
}

/// Writes members in few words: `workers 0, 3-5; server 1`.
pub(super) fn names(members: &[MemberId]) -> String {
    let mut sorted = members.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let roles = sorted.chunk_by(|left, right| left.role == right.role);
    let parts: Vec<String> = roles.map(names_of_role).collect();
    parts.join("; ")
}

fn names_of_role(members: &[MemberId]) -> String {
    let [first, ..] = members else { return String::new() };
    if members.len() == 1 {
        return first.to_string();
    }
    let runs = members.chunk_by(|left, right| left.rank + 1 == right.rank);
    let ranks: Vec<String> = runs
        .map(|run| match run {
            [only] => only.rank.to_string(),
            [first, .., last] => format!("{}-{}", first.rank, last.rank),
            [] => String::new(),
        })
        .collect();
    format!("{}s {}", first.role, ranks.join(", "))
}

impl Shape {
    /// Every place but the scheduler's: servers first, then workers, by rank.
    pub fn places(self) -> impl Iterator<Item = MemberId> {
        let servers = (0..self.instances(Role::Server)).map(MemberId::server);
        servers.chain((0..self.instances(Role::Worker)).map(MemberId::worker))
    }

    /// How many instances of a role there are.
    #[must_use]
    pub const fn instances(self, role: Role) -> u32 {
        match role {
            Role::Scheduler => 1,
            Role::Server => self.servers.saturating_mul(self.group_size),
            Role::Worker => self.workers.saturating_mul(self.group_size),
        }
    }
}
