//! What goes over the control connection, as postcard: who a node is, receive areas, cancels.

use pmd_host::control;
use serde::{Deserialize, Serialize};

/// Kinds of requests and events.
pub(crate) mod kind {
    /// A worker says who it is: [`Introduction`](super::Introduction), answered by the server's.
    pub(crate) const INTRODUCE: u16 = 1;
    /// A worker wants room for a key: [`AgreeArea`](super::AgreeArea), answered by
    /// [`AreaAgreed`](super::AreaAgreed).
    pub(crate) const AGREE_AREA: u16 = 2;
    /// A worker gives a request up: [`CancelRequest`](super::CancelRequest), answered by
    /// [`CancelAnswer`](super::CancelAnswer).
    pub(crate) const CANCEL: u16 = 3;
    /// A worker wants the stamps of its requests: bytes of [`trace`](crate::trace), as is the answer.
    pub(crate) const TRACE: u16 = 6;
    /// Event, both ways: bytes of an application ([`SimpleApp`](crate::simple::SimpleApp)).
    pub(crate) const APP: u16 = 7;
    /// Event of a worker: it writes there no more ([`AreaGone`](super::AreaGone)).
    pub(crate) const RELEASE_AREA: u16 = 4;
    /// Event of a server: write there no more ([`AreaGone`](super::AreaGone)).
    pub(crate) const REVOKE_AREA: u16 = 5;
    /// Event of a worker: a part of the batch with this number (u32) will never come.
    pub(crate) const GIVE_UP_BATCH: u16 = 8;
}

/// Who a worker or a server is. The rendezvous hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// Number among the nodes of its role, from 0.
    pub rank: u32,
    /// Number of the instance within its group.
    pub instance: u32,
    /// Life of the rank: a node that was started again has a higher one.
    pub epoch: u64,
}

/// First request on a connection, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) version: u8,
    pub(crate) node: NodeIdentity,
    /// Longest message that the route takes at this end.
    pub(crate) message_bytes: u32,
}

/// Room for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgreeArea {
    pub(crate) key: u64,
    /// Bytes of the largest push.
    pub(crate) capacity: u64,
    /// Pushes in flight.
    pub(crate) depth: u16,
}

/// Where the room is: `depth` slots of `stride` bytes from `address` on, the first of which is number `first_slot`. Where the
/// capacity is less than what was asked for there is no room, and nothing was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AreaAgreed {
    pub(crate) address: u64,
    pub(crate) remote_key: u32,
    pub(crate) capacity: u64,
    pub(crate) stride: u64,
    pub(crate) first_slot: u16,
    pub(crate) depth: u16,
    /// Pushes must be written, none may travel inside of a header: the processor does not reach the area.
    pub(crate) write_only: bool,
}

/// Names an area by its first slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AreaGone {
    pub(crate) key: u64,
    pub(crate) first_slot: u16,
}

/// Names a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CancelRequest {
    pub(crate) slot: u16,
    pub(crate) generation: u16,
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CancelAnswer {
    /// The server writes nothing of the request from now on.
    Quiet,
    /// A response was on its way and is being stopped: ask again.
    Stopping,
}

/// Why a server refuses a question, as the codes of a [`control::Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Refused {
    Malformed = 1,
    Version = 2,
    NotIntroduced = 3,
    NoMemory = 5,
    /// A later life of that rank is connected.
    Stale = 6,
    /// Every slot number of the key is taken.
    NoSlots = 7,
}

impl Refused {
    pub(crate) fn because(self, detail: impl Into<String>) -> control::Refusal {
        control::Refusal { code: self as u16, detail: detail.into() }
    }
}
