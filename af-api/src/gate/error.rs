//! What can become of a wait for an event.

use std::time::Duration;

use pmd_core::accelerator::AcceleratorError;
use thiserror::Error;

/// Why what waited for an event does not go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The work in front of the event failed, or the event cannot be done any more: what it stands for was not computed.
    #[error("not computed: {0}")]
    Accelerator(#[from] AcceleratorError),
    /// It is not done yet.
    #[error("the event is not done after {waited:?}")]
    Timeout {
        /// For how long was waited.
        waited: Duration,
    },
    /// The accelerator's code panicked when it was asked.
    #[error("the accelerator's code panicked when it was asked for the event")]
    Panicked,
    /// The worker or server that waited for the event has closed.
    #[error("what waited for the event was closed")]
    Closed,
}
