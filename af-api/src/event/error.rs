//! What can become of an event.

use std::time::Duration;

use thiserror::Error;

/// Why an event is not done, or a stream took nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The device, or the work in front of the event, failed. What the event stands for was not computed.
    #[error("{accelerator} reports error {code}: the work in front of the event failed")]
    Device {
        /// Whose code it is.
        accelerator: &'static str,
        /// The device's own error code; for the CPU, the kernel's.
        code: i32,
    },
    /// It is not done yet.
    #[error("the event is not done after {waited:?}")]
    Timeout {
        /// For how long was waited.
        waited: Duration,
    },
    /// The stream went before the event was done.
    #[error("the stream was closed before the event was done")]
    StreamGone,
    /// No such stream.
    #[error("{accelerator} has no stream {native:#x}: pass the native handle of one that is open")]
    UnknownStream {
        /// Who was asked.
        accelerator: &'static str,
        /// The handle that was passed.
        native: u64,
    },
    /// An event or flag of another accelerator.
    #[error("a stream of {accelerator} cannot follow an event or a flag of another accelerator")]
    Foreign {
        /// Whose stream it is.
        accelerator: &'static str,
    },
    /// The stream's queue is full.
    #[error("the stream has {depth} pieces of work before it and takes no more: wait for one")]
    Full {
        /// How many it takes.
        depth: usize,
    },
    /// The thread behind a CPU stream did not start.
    #[error("cannot start a stream's thread: {kind}")]
    Thread {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// The accelerator's code panicked when it was asked.
    #[error("the accelerator's code panicked when it was asked for the event")]
    Panicked,
    /// The worker or server that waited for the event has closed.
    #[error("what waited for the event was closed")]
    Closed,
}
