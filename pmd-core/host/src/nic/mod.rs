//! What both NIC back ends share: the open device, its port and GIDs, registered memory, and the control calls that
//! take a queue pair from one state to the next.
//!
//! ```text
//!   mlx5::Mlx5Backend            verbs::VerbsBackend          registration cache
//!        | queue pairs, completion queue, events  |                  | regions
//!        +--------------------+-------------------+------------------+
//!                             v
//!   nic::Device   one context, one protection domain, one port, one GID; shared by all lanes of a process
//!                             | pmd-sys
//!                             v
//!   libibverbs and the kernel
//! ```
//! A process opens a [`Device`] once and clones the handle; each lane makes one back end of it. Regions are the
//! device's, so that every lane may use them.
mod attributes;
mod completion_queue;
mod device;
mod device_memory;
mod error;
mod events;
mod gid;
mod library;
mod mtu;
mod port;
mod queue_pair;
mod register;
mod room;
mod shared_receive;
mod staged;

#[cfg(test)]
mod tests;

pub use device::{Device, NicOptions};
pub use error::{BackendError, Candidate, OpenError};
pub use gid::{GidChoice, GidEntry, GidScope, GidType};
pub use port::{LinkLayer, Port, PortState};
pub use register::RegisterError;
pub use staged::StagedBackend;

pub(crate) use completion_queue::CompletionQueue;
pub(crate) use device_memory::Pins;
pub(crate) use events::EventSink;
pub(crate) use library::{pointer, status};
pub(crate) use queue_pair::QueuePair;
pub(crate) use room::CompletionRoom;
pub(crate) use shared_receive::{SharedReceiveQueue, within};

/// Sizes of a NIC back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicBackendOptions {
    /// Entries of the completion queue. All queue pairs' send slots and receives together must fit, because after an
    /// error each outstanding request completes. The default is what soft-RoCE offers at most.
    pub completions: u32,
}

impl Default for NicBackendOptions {
    fn default() -> Self {
        Self { completions: 32_767 }
    }
}
