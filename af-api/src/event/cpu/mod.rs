//! The accelerator without a device: each stream is a thread that runs closures in order. Engines without an accelerator
//! use it, and the tests of everything that waits for an event.

mod event;
mod stream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use self::{
    event::CpuFlag,
    stream::{CpuStream, KernelFault},
};
use super::{Accelerator, EventError, Flag, Stream};

/// As errors and reports call it.
const NAME: &str = "cpu";

/// Streams of this process's threads. Clones are the same accelerator.
#[derive(Clone, Debug, Default)]
pub struct CpuAccelerator(Arc<Mutex<Streams>>);

#[derive(Debug, Default)]
struct Streams {
    open: Vec<(u64, Weak<CpuStream>)>,
    opened: u64,
}

impl CpuAccelerator {
    /// One without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new stream, with a thread of its own. It closes when the last handle goes: work that has begun is waited for,
    /// what is behind it never happens, and its events fail.
    ///
    /// # Errors
    /// [`EventError::Thread`].
    pub fn open_stream(&self) -> Result<Arc<CpuStream>, EventError> {
        let mut streams = lock(&self.0);
        streams.open.retain(|(_, stream)| stream.strong_count() > 0);
        streams.opened += 1;
        let stream = Arc::new(CpuStream::start(streams.opened)?);
        streams.open.push((stream.native(), Arc::downgrade(&stream)));
        Ok(stream)
    }
}

impl Accelerator for CpuAccelerator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, EventError> {
        let streams = lock(&self.0);
        let found = streams.open.iter().find(|(number, _)| *number == native);
        let stream = found.and_then(|(_, stream)| stream.upgrade());
        Ok(stream.ok_or(EventError::UnknownStream { accelerator: NAME, native })?)
    }

    fn flag(&self) -> Result<Arc<dyn Flag>, EventError> {
        Ok(Arc::new(CpuFlag::default()))
    }
}

/// No code of the application runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
