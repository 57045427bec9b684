//! Queue pairs and completion queues.
mod state;
pub use state::QueuePairState;
