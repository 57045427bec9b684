//! A stream and its thread.

use std::{
    any::Any,
    collections::VecDeque,
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{NAME, event::CpuEvent, lock};
use crate::event::{Event, EventError, Flag, Stream};

/// Pieces of work that a stream holds; as many as CUDA's streams are said to.
const DEPTH: usize = 1024;

/// How soon a stream that waits notices that it was closed.
const LOOK: Duration = Duration::from_millis(2);

/// A kernel that failed: the stream and all its later events fail with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFault {
    /// Whatever the kernel says.
    pub code: i32,
}

impl KernelFault {
    /// The kernel panicked.
    pub const PANICKED: Self = Self { code: i32::MIN };
}

/// A thread that runs closures in order.
#[derive(Debug)]
pub struct CpuStream {
    native: u64,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    work: VecDeque<Work>,
    closed: bool,
}

enum Work {
    Kernel(Box<dyn FnOnce() -> Result<(), KernelFault> + Send>),
    Record(Arc<CpuEvent>),
    Wait(Arc<dyn Event>),
    Signal(Arc<dyn Flag>, u64),
    WaitValue(Arc<dyn Flag>, u64),
}

impl fmt::Debug for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kernel(_) => "Kernel",
            Self::Record(_) => "Record",
            Self::Wait(_) => "Wait",
            Self::Signal(..) => "Signal",
            Self::WaitValue(..) => "WaitValue",
        })
    }
}

impl CpuStream {
    pub(super) fn start(native: u64) -> Result<Self, EventError> {
        let shared = Arc::new(Shared::default());
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run()
        };
        let spawned = thread::Builder::new().name("pmd-af-stream".into()).spawn(run);
        let thread = spawned.map_err(|error| EventError::Thread { kind: error.kind() })?;
        Ok(Self { native, shared, thread: Some(thread) })
    }

    /// The number by which [`Accelerator::stream`](crate::event::Accelerator::stream) finds it.
    #[must_use]
    pub const fn native(&self) -> u64 {
        self.native
    }

    /// Puts a kernel into the stream. If it fails or panics, nothing behind it happens and later events fail.
    ///
    /// # Errors
    /// [`EventError::Full`].
    pub fn launch(
        &self,
        kernel: impl FnOnce() -> Result<(), KernelFault> + Send + 'static,
    ) -> Result<(), EventError> {
        self.shared.put(Work::Kernel(Box::new(kernel)))
    }
}

impl Stream for CpuStream {
    fn record(&self) -> Result<Arc<dyn Event>, EventError> {
        let event = Arc::new(CpuEvent::default());
        self.shared.put(Work::Record(Arc::clone(&event)))?;
        Ok(event)
    }

    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), EventError> {
        let any: &dyn Any = &**event;
        if !any.is::<CpuEvent>() {
            return Err(EventError::Foreign { accelerator: NAME });
        }
        self.shared.put(Work::Wait(Arc::clone(event)))
    }

    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), EventError> {
        self.shared.put(Work::Signal(Arc::clone(flag), value))
    }

    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), EventError> {
        self.shared.put(Work::WaitValue(Arc::clone(flag), value))
    }
}

impl Drop for CpuStream {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
        let Some(thread) = self.thread.take() else { return };
        // A kernel may hold the last handle of its own stream.
        if thread.thread().id() != thread::current().id() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn put(&self, work: Work) -> Result<(), EventError> {
        let mut queue = lock(&self.queue);
        if queue.work.len() >= DEPTH {
            return Err(EventError::Full { depth: DEPTH });
        }
        queue.work.push_back(work);
        self.changed.notify_all();
        Ok(())
    }

    /// The stream's thread.
    fn run(&self) {
        let mut state = Ok(());
        while let Some(work) = self.next() {
            match work {
                Work::Record(event) => event.settle(state.clone()),
                work if state.is_ok() => state = self.perform(work),
                _skipped => {}
            }
        }
        for work in mem::take(&mut lock(&self.queue).work) {
            if let Work::Record(event) = work {
                event.settle(Err(EventError::StreamGone));
            }
        }
    }

    /// The next piece of work; none once the stream is closed.
    fn next(&self) -> Option<Work> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                return None;
            }
            if let Some(work) = queue.work.pop_front() {
                return Some(work);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn perform(&self, work: Work) -> Result<(), EventError> {
        match work {
            Work::Kernel(kernel) => {
                let ended = catch_unwind(AssertUnwindSafe(kernel)).unwrap_or(Err(KernelFault::PANICKED));
                ended.map_err(|KernelFault { code }| EventError::Device { accelerator: NAME, code })
            }
            Work::Record(event) => {
                event.settle(Ok(()));
                Ok(())
            }
            Work::Wait(event) => self.wait_while_open(|look| event.synchronize(Some(look))),
            Work::Signal(flag, value) => {
                flag.store(value);
                Ok(())
            }
            Work::WaitValue(flag, value) => self.wait_while_open(|look| flag.wait(value, Some(look))),
        }
    }

    fn wait_while_open(&self, wait: impl Fn(Instant) -> Result<(), EventError>) -> Result<(), EventError> {
        loop {
            match wait(Instant::now() + LOOK) {
                Err(EventError::Timeout { .. }) if lock(&self.queue).closed => {
                    return Err(EventError::StreamGone);
                }
                Err(EventError::Timeout { .. }) => {}
                ended => return ended,
            }
        }
    }
}
