//! What nodes and the scheduler tell each other, as events of `pmd_host`'s control plane.
//!
//! Everything travels one way, in order: nothing waits for an answer on the control thread. A message is the protocol's
//! version (u16, little-endian) and a postcard value: [`Say`] towards the scheduler, [`Notice`] from it. The control
//! plane bounds and frames it.
//!
//! ```text
//!   node                          scheduler
//!    | Join                          |
//!    | ----------------------------> | place free, shape the same?
//!    | <------------- Admitted       | the members that are known; Joined to the others
//!    | <------------- Formed         | once every place is taken
//!    | Enter (ticket)                |
//!    | ----------------------------> | everyone expected has entered?
//!    | <------------- Released       | or Failed; Withdraw is answered with Withdrawn
//!    | Leave, then goodbye           |
//!    | ----------------------------> | Left to the others
//! ```

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{
    Barrier,
    member::{DataAddress, DownCause, Member, MemberId, names},
};
use crate::config::Shape;

/// Version of the messages. Nodes and scheduler must have the same.
pub const VERSION: u16 = 1;

/// Kind of every event of the rendezvous on a control connection.
pub const KIND: u16 = 0xaf;

/// Longest name of a barrier or of a member, in bytes.
pub const NAME_LIMIT: usize = 256;

/// Most barriers that a node may be in at one time.
pub const BARRIER_LIMIT: usize = 1024;

/// A node tells the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Say {
    /// "I want these places"; `held`: "and will announce them later".
    Join { shape: Shape, name: String, places: Vec<Place>, held: bool },
    /// "The places that I hold are open for push-pulls, there."
    Announce(Vec<(MemberId, Option<DataAddress>)>),
    /// "These of my members are at the barrier."
    Enter { ticket: u64, barrier: Key, members: Vec<MemberId>, patient: bool },
    /// "They do not wait any longer."
    Withdraw { ticket: u64 },
    /// "I leave in order."
    Leave,
}

/// A place that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) id: MemberId,
    pub(super) instance: u32,
    pub(super) data: Option<DataAddress>,
    /// Epoch that the node had before: a scheduler that was restarted does not know it.
    pub(super) after: u64,
}

/// Which barrier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) name: String,
    /// Bits of [`Roles`](super::Roles).
    pub(super) roles: u8,
    pub(super) scope: Scope,
}

impl From<&Barrier> for Key {
    fn from(barrier: &Barrier) -> Self {
        Self { name: barrier.name.clone(), roles: barrier.roles.bits(), scope: barrier.scope }
    }
}

/// Whose instances a barrier waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Scope {
    /// Every instance.
    #[default]
    Everyone,
    /// Those with this number in their group.
    Instance(u32),
    /// One of each group, whichever comes first.
    Groups,
}

impl Scope {
    /// Whether it takes in instances of this number.
    pub(super) const fn includes(self, instance: u32) -> bool {
        match self {
            Self::Instance(wanted) => wanted == instance,
            Self::Everyone | Self::Groups => true,
        }
    }
}

/// The scheduler tells a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notice {
    /// "You have your places; these are the members."
    Admitted { members: Vec<Member>, formed: bool },
    /// "You have not."
    Refused(Refused),
    /// "The others have been told of these members of yours."
    Announced { members: Vec<Member>, formed: bool },
    /// "These have come."
    Joined(Vec<Member>),
    /// "Every place has been taken."
    Formed,
    /// "These are gone."
    Down { members: Vec<MemberId>, cause: DownCause },
    /// "These have left in order."
    Left(Vec<MemberId>),
    /// "Everyone is at your barrier."
    Released { ticket: u64 },
    /// "You do not wait any longer; these had not come."
    Withdrawn { ticket: u64, missing: Vec<MemberId> },
    /// "Your barrier cannot come about."
    Failed { ticket: u64, failure: BarrierFailure },
    /// "You have left."
    Bye,
    /// "I do not understand your version", to a node that finds this version by it.
    OtherVersion,
}

/// Why the scheduler refuses a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The node was configured for another cluster.
    #[error(
        "the scheduler's cluster has {} workers, {} servers and groups of {}, this node was configured for {}, {} and {}",
        .theirs.workers, .theirs.servers, .theirs.group_size, .ours.workers, .ours.servers, .ours.group_size
    )]
    Shape {
        /// The scheduler's.
        theirs: Shape,
        /// The node's.
        ours: Shape,
    },
    /// The rank is not in the cluster.
    #[error("{id} is not in the cluster: it has {count} {} instances", .id.role)]
    Rank {
        /// Place asked for.
        id: MemberId,
        /// Instances that there are.
        count: u32,
    },
    /// The instance is not in its group.
    #[error("{id} says it is instance {instance} of a group of {group_size}")]
    Instance {
        /// Place asked for.
        id: MemberId,
        /// Number in the group.
        instance: u32,
        /// Instances of a group.
        group_size: u32,
    },
    /// Another process holds the place and lives.
    #[error("{id} is taken by {holder:?} at {address}: give every process another rank, or end that one")]
    Taken {
        /// Place asked for.
        id: MemberId,
        /// Name of the process that holds it.
        holder: String,
        /// Where the scheduler sees that process.
        address: SocketAddr,
    },
    /// The process has joined already, names no place, or names one twice.
    #[error("the process asked for no place, for one twice, or for more after it had joined")]
    Places,
    /// The name is too long.
    #[error("a name of {length} bytes, the limit is {NAME_LIMIT}")]
    Name {
        /// Its length in bytes.
        length: usize,
    },
}

/// Why a barrier cannot come about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum BarrierFailure {
    /// Members that are waited for are down.
    #[error("{} down: start it again and repeat the barrier, or wait with `patiently`", names(.0))]
    Down(Vec<MemberId>),
    /// The member is at this barrier already.
    #[error("{0} is at this barrier already")]
    AlreadyThere(MemberId),
    /// The barrier does not wait for the member.
    #[error("the barrier does not wait for {0}: its roles or its instance exclude it")]
    NotExpected(MemberId),
    /// The member belongs to another process, or has not joined.
    #[error("{0} is not a member of this process")]
    NotYours(MemberId),
    /// The process is at too many barriers.
    #[error("this process is at {BARRIER_LIMIT} barriers already")]
    TooMany,
    /// The name is too long.
    #[error("a name of {length} bytes, the limit is {NAME_LIMIT}")]
    Name {
        /// Its length in bytes.
        length: usize,
    },
    /// No member of this process is one that the barrier waits for.
    #[error("none of this process's members is one that the barrier waits for")]
    Nobody,
}

/// A message that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misunderstood {
    /// It is of another version.
    Version { theirs: u16 },
    /// It does not parse.
    Malformed,
}

/// A message as bytes.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    let start = VERSION.to_le_bytes().to_vec();
    // Only a serializer that refuses could fail; a vector takes everything.
    postcard::to_extend(message, start).unwrap_or_default()
}

pub(super) fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Misunderstood> {
    let Some((version, body)) = bytes.split_first_chunk() else { return Err(Misunderstood::Malformed) };
    let theirs = u16::from_le_bytes(*version);
    if theirs != VERSION {
        return Err(Misunderstood::Version { theirs });
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(Misunderstood::Malformed),
    }
}
