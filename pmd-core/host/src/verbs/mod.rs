//! The back end for any NIC: requests through ibv_post_send, completions through ibv_poll_cq.
//!
//! ```text
//!   lane -> VerbsBackend    post: one more link of a chain of ibv_send_wr, built in place
//!             | ring: the chain, one ibv_post_send     ^ completions, found by their wr_id
//!             v                                        |
//!   libibverbs' provider of the NIC (rxe, efa, irdma, bnxt, mlx5 ...)
//! ```
//! The upper seam's second implementation, for NICs whose queue entries this driver does not write itself; soft-RoCE
//! is one. Requests are numbered by this back end (`wr_id`), so that completions of a queue pair that was reset
//! or destroyed meanwhile are told from those of its successor.
//!
//! A request takes one slot, whatever its length. NOP is not offered: verbs has no such request.

mod identity;
mod objects;
mod provider;
mod receive;
mod send;
mod setup;
mod syndrome;

#[cfg(test)]
mod tests;

pub use syndrome::{status_of, syndrome_of};

use std::collections::VecDeque;

use pmd_core::provider::CompletionQueueError;
use pmd_sys::verbs::ibv_wc;

use crate::{
    backend::{SetupError, Waker},
    nic::{
        BackendError, CompletionQueue, CompletionRoom, Device, NicBackendOptions, QueuePair,
        SharedReceiveQueue,
    },
};
use objects::Objects;

/// Completions taken from the library at once.
const BATCH: usize = 32;

/// A lane's queue pairs on one NIC.
///
/// Fields are dropped in their order: queue pairs before what they complete into.
pub struct VerbsBackend {
    objects: Objects,
    /// By handle, beside the chains in `objects`.
    controls: Vec<Option<Control>>,
    /// By handle, beside the receives in `objects`.
    shared: Vec<SharedReceiveQueue>,
    completion_queue: CompletionQueue,
    room: CompletionRoom,
    device: Device,
    waker: Waker,
    /// Where the library writes completions.
    taken: Taken,
    /// Completions taken while parking or resetting.
    backlog: VecDeque<ibv_wc>,
    /// Whether an event was asked for and has not come.
    armed: bool,
    empty_polls: u32,
    /// Why the completion queue is unusable, once it is.
    broken: Option<CompletionQueueError>,
}

/// A queue pair and the completion entries promised to it.
#[derive(Debug)]
struct Control {
    queue_pair: QueuePair,
    completions: u32,
}

/// A batch of the library's completions.
struct Taken([ibv_wc; BATCH]);

impl std::fmt::Debug for VerbsBackend {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, objects, broken, .. } = self;
        write!(formatter, "VerbsBackend {{ {device:?}, {objects:?}, {broken:?} }}")
    }
}

impl VerbsBackend {
    /// Creates a completion queue on `device`.
    ///
    /// # Errors
    /// [`BackendError::Setup`].
    pub fn new(device: Device, options: &NicBackendOptions) -> Result<Self, BackendError> {
        let completion_queue = CompletionQueue::create(&device, options.completions)?;
        let waker =
            Waker::new().map_err(|error| SetupError::System { call: "eventfd", source: error.into() })?;
        Ok(Self {
            objects: Objects::default(),
            controls: Vec::new(),
            shared: Vec::new(),
            room: CompletionRoom::new(completion_queue.capacity()),
            completion_queue,
            device,
            waker,
            taken: Taken([ibv_wc::default(); BATCH]),
            backlog: VecDeque::with_capacity(BATCH),
            armed: false,
            empty_polls: 0,
            broken: None,
        })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}
