//! Queue pairs and completion queues over memory that a device reads and writes.
//!
//! ```text
//! lane ── Provider ──> QueueProvider ─┬─ SendQueue ───────── WQE bytes, doorbell record, doorbell
//!                                     ├─ ReceiveQueue ────── slots, doorbell record
//!                                     ├─ SharedReceiveQueue  linked slots, doorbell record
//!                                     └─ CompletionQueue <── entries
//! ```
//! Back ends (`pmd-host`'s mlx5 and soft) create the memory and attach it; lanes post and poll. The formats are
//! [`crate::wire`], the order of stores [`crate::mmio`]. Nothing allocates after a queue is attached.
//!
//! # Orderings
//! A device is another processor that shares memory with this one. What each barrier orders, and the loom model that
//! fails without it (a device thread against the very code of these queues, `model.rs`):
//!
//! | driver | device |
//! |---|---|
//! | WQE bytes, [`to_device`](crate::mmio::to_device), doorbell record | reads the record, then fetches the WQEs that it counts |
//! | doorbell record, [`write_combining_start`](crate::mmio::write_combining_start), doorbell | is rung, then reads a record that counts the WQE it was rung for |
//! | ownership byte, [`from_device`](crate::mmio::from_device), the entry's other bytes | writes the entry, its ownership byte last |
//! | the entry's bytes, [`before_release`](crate::mmio::before_release), consumer index | reads the index, then overwrites entries |

mod attached;
mod completion;
mod error;
mod lines;
mod number_table;
mod parts;
mod queue_provider;
mod receive;
mod register;
mod scatter;
mod send;
mod shared_receive;
mod slot;
mod state;
mod units;

pub use completion::CompletionQueue;
pub use error::{AttachError, HandleError, MAX_INLINE, MAX_MESSAGE, MAX_SGES, QueueError, QueuePairLimits};
pub use queue_provider::{QueueProvider, ReceiveSource};
pub use receive::ReceiveQueue;
pub use register::{ArmRegister, DoorbellRegister};
pub use send::SendQueue;
pub use shared_receive::SharedReceiveQueue;
pub use state::{ProhibitedTransition, QueuePairState};

#[cfg(all(loom, test))]
#[allow(unsafe_code)] // Queues are made over raw memory.
mod model;
#[cfg(all(test, not(loom)))]
#[allow(unsafe_code)] // Queues are made over raw memory.
mod tests;
