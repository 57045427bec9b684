//! Events of accelerator streams: a push waits for the kernel that computes it, a kernel waits for the pull that feeds it.
//!
//! # Place in the flow
//! The application records an [`Event`] behind its kernels and gives it to a push; the worker hands the push to its
//! [`Gate`], which posts it once the event is done. The other way round a [`Flag`] is set when a pull has arrived, and a
//! stream waits for its value. An accelerator crate implements the four traits; none of them names a framework.
//!
//! ```text
//!  stream:  kernel  kernel  record ---> Event ---> Gate (polls) ---> post ---> lane
//!  lane:    arrived ---> Flag ---> stream: wait for value, kernel
//! ```
//! | trait | is, in CUDA's words |
//! |---|---|
//! | [`Accelerator`] | a device context |
//! | [`Stream`] | a stream: record, wait for an event, write a value, wait for a value |
//! | [`Event`] | one recording of an event: query, synchronise |
//! | [`Flag`] | a word in pinned memory that host and streams read and write |
//!
//! [`cpu`] is the implementation without a device: a stream is a thread that runs closures in order.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use af_api::event::{Accelerator, Event, Flag, Stream, cpu::CpuAccelerator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let accelerator = CpuAccelerator::new();
//! let stream = accelerator.open_stream()?;
//! let arrived = accelerator.flag()?;
//!
//! // The kernel runs when the flag is 1; the event is done behind it.
//! stream.wait_value(&arrived, 1)?;
//! stream.launch(|| Ok(()))?;
//! let computed = stream.record()?;
//! assert!(!computed.query()?);
//! arrived.store(1);
//! computed.synchronize(Some(Instant::now() + Duration::from_secs(10)))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Who polls
//! A device tells only those who ask, so each worker and each server that is given events has one [`Gate`]: a thread with
//! a bounded queue, started with the first event. It asks every event that it holds in turn, without a pause but yielding
//! for [`GateConfig::busy`] after the last change, afterwards every [`GateConfig::pause`]. The caller's thread never
//! waits, and lanes never ask a device. A request without an event does not pass through it.

pub mod cpu;
mod error;
mod gate;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    fmt::Debug,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub use error::EventError;
pub use gate::{Gate, GateConfig, GateError, Pending, Refused, Ticket};

/// A device whose streams the library can follow. Object safe: engines hold `Arc<dyn Accelerator>`.
pub trait Accelerator: Send + Sync + Debug {
    /// A short name, as reports use it: "cpu", "cuda".
    fn name(&self) -> &'static str;

    /// A stream that the application has made, by its native handle: `cudaStream_t`, `hipStream_t`, `aclrtStream`, or
    /// [`cpu::CpuStream::native`].
    ///
    /// # Errors
    /// [`EventError::UnknownStream`].
    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, EventError>;

    /// A new flag of value 0.
    ///
    /// # Errors
    /// [`EventError::Device`] where the device has no memory for it.
    fn flag(&self) -> Result<Arc<dyn Flag>, EventError>;
}

/// A queue of work on a device; what is put into it happens in order. None of these calls waits for the device.
pub trait Stream: Send + Sync + Debug {
    /// An event that is done when everything put into the stream before has been.
    ///
    /// # Errors
    /// [`EventError`] where the stream takes nothing.
    fn record(&self) -> Result<Arc<dyn Event>, EventError>;

    /// Holds the stream until an event of the same accelerator is done. If that fails, the stream fails too.
    ///
    /// # Errors
    /// [`EventError::Foreign`] where the stream cannot wait for such an event; [`EventError`] where it takes nothing.
    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), EventError>;

    /// Writes a value into a flag in its turn.
    ///
    /// # Errors
    /// As [`Stream::wait`].
    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), EventError>;

    /// Holds the stream until a flag has at least this value.
    ///
    /// # Errors
    /// As [`Stream::wait`].
    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), EventError>;
}

/// One recording in a stream. It is done once and stays so; implementers return native events to a pool on drop.
pub trait Event: Any + Send + Sync + Debug {
    /// Whether it is done. Does not wait.
    ///
    /// # Errors
    /// [`EventError::Device`] where work in front of it failed, [`EventError::StreamGone`] where it cannot be done any more.
    fn query(&self) -> Result<bool, EventError>;

    /// Waits until it is done.
    ///
    /// # Errors
    /// As [`Event::query`]; [`EventError::Timeout`] at the deadline.
    fn synchronize(&self, deadline: Option<Instant>) -> Result<(), EventError> {
        poll_until(deadline, || self.query())
    }
}

/// A 64-bit word that the host and the accelerator's streams read and write. Values are taken to grow: whoever waits for
/// one goes on at a larger one too.
pub trait Flag: Any + Send + Sync + Debug {
    /// Where it is, in the host's address space; streams know it by what their implementation maps there.
    fn address(&self) -> u64;

    /// Its value; what the writer did before it wrote is visible.
    fn load(&self) -> u64;

    /// Sets its value, from the host; what the caller did before is visible to whoever sees it.
    fn store(&self, value: u64);

    /// Waits on the host until it has at least this value.
    ///
    /// # Errors
    /// [`EventError::Timeout`].
    fn wait(&self, value: u64, deadline: Option<Instant>) -> Result<(), EventError> {
        poll_until(deadline, || Ok(self.load() >= value))
    }
}

/// What a flag is set to when what it stands for has failed: at least any value, so that nothing waits for ever. The
/// host learns the error from the request.
pub const FAILED: u64 = u64::MAX;

/// Asks again and again, yielding for a while and then pausing in between.
fn poll_until(
    deadline: Option<Instant>,
    mut done: impl FnMut() -> Result<bool, EventError>,
) -> Result<(), EventError> {
    const BUSY: Duration = Duration::from_micros(200);
    let begun = Instant::now();
    while !done()? {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(EventError::Timeout { waited: now - begun });
        }
        if now - begun < BUSY { thread::yield_now() } else { thread::sleep(Duration::from_micros(50)) }
    }
    Ok(())
}
