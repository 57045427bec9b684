//! The device's half of the queues: reads what the driver posted, writes completion entries.
//!
//! Private memory of this process; the driver (`pmd_core::queue`) has the other half on the same thread.

mod completion;
mod memory;
mod receive;
mod send;

pub(super) use completion::CompletionRing;
use memory::QueueMemory;
pub(super) use receive::{ReceiveRing, Slot};
pub(super) use send::SendRing;

#[cfg(test)]
mod tests;
