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

mod attached;
mod completion;
mod error;
mod number_table;
mod parts;
mod queue_provider;
mod receive;
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
pub use send::SendQueue;
pub use shared_receive::SharedReceiveQueue;
pub use state::{ProhibitedTransition, QueuePairState};

#[cfg(test)]
#[allow(unsafe_code)] // Queues are made over raw memory.
mod tests;
