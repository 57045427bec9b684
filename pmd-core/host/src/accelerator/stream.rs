//! A stream and its thread.
#![allow(unsafe_code)] // copies between addresses

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::{
    Accelerator, AcceleratorError, AcceleratorKind, BlockCopies, CopyRange, Event, Flag, Stream,
};

use super::{
    cpu::{CpuAccelerator, lock},
    event::{CpuEvent, CpuFlag},
    memory::{Allocation, failed},
    wait_for, wait_for_value,
};

/// How soon a stream that waits notices that it was closed.
const LOOK: Duration = Duration::from_millis(2);

/// A kernel that failed: the stream and all its later events fail with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelFault {
    /// Whatever the kernel says.
    pub code: i64,
}

impl KernelFault {
    /// The kernel panicked.
    pub const PANICKED: Self = Self { code: i64::MIN };
    /// [`CpuAccelerator::fail_copy`] asked for it.
    pub const COPY: Self = Self { code: -1 };

    fn of(self, function: &'static str) -> AcceleratorError {
        let name = "failed".to_owned();
        AcceleratorError::Runtime { kind: AcceleratorKind::Cpu, function, code: self.code, name }
    }
}

/// A thread that does what it is told, in order.
#[derive(Debug)]
pub struct CpuStream {
    native: u64,
    accelerator: CpuAccelerator,
    shared: Arc<Shared>,
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

type Kernel = Box<dyn FnOnce() -> Result<(), KernelFault> + Send>;

enum Work {
    Kernel(Kernel),
    Copy(Vec<Copy>),
    Record(Arc<CpuEvent>),
    Wait(Arc<dyn Event>),
    Signal(Arc<dyn Flag>, u64),
    WaitValue(Arc<dyn Flag>, u64),
}

/// One side of a copy, as the stream's thread reaches it.
pub(super) struct Bytes {
    pub(super) address: u64,
    /// Keeps device memory mapped until the copy is done.
    pub(super) _allocation: Option<Arc<Allocation>>,
}

/// A copy that is known to stay inside of what it touches on the device.
pub(super) struct Copy {
    pub(super) from: Bytes,
    pub(super) to: Bytes,
    pub(super) length: usize,
}

impl fmt::Debug for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kernel(_) => "Kernel",
            Self::Copy(_) => "Copy",
            Self::Record(_) => "Record",
            Self::Wait(_) => "Wait",
            Self::Signal(..) => "Signal",
            Self::WaitValue(..) => "WaitValue",
        })
    }
}

impl CpuStream {
    pub(super) fn start(native: u64, accelerator: CpuAccelerator) -> Result<Self, AcceleratorError> {
        let shared = Arc::new(Shared::default());
        let (run, device) = (Arc::clone(&shared), accelerator.clone());
        let spawned = thread::Builder::new().name("pmd-stream".into()).spawn(move || run.run(&device));
        spawned.map_err(|error| failed("pthread_create", &error))?;
        Ok(Self { native, accelerator, shared })
    }

    /// Puts a kernel into the stream. If it fails or panics, nothing behind it happens and later events fail.
    pub fn launch(&self, kernel: impl FnOnce() -> Result<(), KernelFault> + Send + 'static) {
        self.shared.put(Work::Kernel(Box::new(kernel)));
    }

    fn foreign(&self) -> AcceleratorError {
        AcceleratorError::Foreign { of: self.accelerator.identity().clone() }
    }

    fn own_flag(&self, flag: &Arc<dyn Flag>) -> Result<Arc<dyn Flag>, AcceleratorError> {
        let any: &dyn Any = &**flag;
        if any.is::<CpuFlag>() { Ok(Arc::clone(flag)) } else { Err(self.foreign()) }
    }
}

impl Stream for CpuStream {
    fn native(&self) -> u64 {
        self.native
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        self.accelerator.check_alive("record")?;
        let event = Arc::new(CpuEvent::default());
        self.shared.put(Work::Record(Arc::clone(&event)));
        Ok(event)
    }

    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        let any: &dyn Any = &**event;
        if !any.is::<CpuEvent>() {
            return Err(self.foreign());
        }
        self.shared.put(Work::Wait(Arc::clone(event)));
        Ok(())
    }

    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        self.shared.put(Work::Signal(self.own_flag(flag)?, value));
        Ok(())
    }

    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        self.shared.put(Work::WaitValue(self.own_flag(flag)?, value));
        Ok(())
    }

    unsafe fn copy(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError> {
        self.accelerator.check_alive("copy")?;
        let copies = copies.iter().filter(|copy| copy.length > 0);
        let copies = copies.map(|copy| self.accelerator.resolve(copy)).collect::<Result<Vec<_>, _>>()?;
        if !copies.is_empty() {
            let ranges = copies.len() as u64;
            self.accelerator.count(|counters| {
                counters.copies += 1;
                counters.ranges += ranges;
            });
            self.shared.put(Work::Copy(copies));
        }
        Ok(())
    }

    unsafe fn copy_blocks(&self, blocks: &BlockCopies<'_>) -> Result<(), AcceleratorError> {
        self.accelerator.check_alive("copy_blocks")?;
        if blocks.block_bytes == 0 || blocks.pairs.is_empty() {
            return Ok(());
        }
        let copies = blocks.pairs.iter().map(|pair| self.accelerator.resolve(&blocks.copy_of(*pair)?));
        let copies = copies.collect::<Result<Vec<_>, _>>()?;
        self.accelerator.count(|counters| {
            counters.launches += 1;
            counters.blocks += blocks.pairs.len() as u64;
        });
        self.shared.put(Work::Copy(copies));
        Ok(())
    }
}

impl Drop for CpuStream {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn put(&self, work: Work) {
        lock(&self.queue).work.push_back(work);
        self.changed.notify_all();
    }

    /// The stream's thread.
    fn run(&self, device: &CpuAccelerator) {
        let mut state = Ok(());
        while let Some(work) = self.next() {
            match work {
                Work::Record(event) => event.settle(state.clone()),
                work if state.is_ok() => state = self.perform(work, device),
                _skipped => {}
            }
        }
    }

    /// The next piece of work; none once the stream is closed and empty.
    fn next(&self) -> Option<Work> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(work) = queue.work.pop_front() {
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn perform(&self, work: Work, device: &CpuAccelerator) -> Result<(), AcceleratorError> {
        match work {
            Work::Kernel(kernel) => {
                let ended = catch_unwind(AssertUnwindSafe(kernel)).unwrap_or(Err(KernelFault::PANICKED));
                ended.map_err(|fault| fault.of("launch"))
            }
            Work::Copy(copies) => copies.iter().try_for_each(|copy| perform_copy(copy, device)),
            Work::Record(event) => {
                event.settle(Ok(()));
                Ok(())
            }
            Work::Wait(event) => self.wait_while_open(|look| wait_for(&*event, Some(look))),
            Work::Signal(flag, value) => {
                flag.store(value);
                Ok(())
            }
            Work::WaitValue(flag, value) => {
                self.wait_while_open(|look| Ok(wait_for_value(&*flag, value, Some(look))))
            }
        }
    }

    fn wait_while_open(
        &self,
        wait: impl Fn(Instant) -> Result<bool, AcceleratorError>,
    ) -> Result<(), AcceleratorError> {
        while !wait(Instant::now() + LOOK)? {
            if lock(&self.queue).closed {
                return Err(AcceleratorError::StreamGone);
            }
        }
        Ok(())
    }
}

fn perform_copy(copy: &Copy, device: &CpuAccelerator) -> Result<(), AcceleratorError> {
    if device.before_copy() {
        return Err(KernelFault::COPY.of("copy"));
    }
    let (from, to) = (copy.from.address as *const u8, copy.to.address as *mut u8);
    // SAFETY: device memory was found to hold its side and is kept mapped; that the host's side is there until the copy
    // is done, and that nobody else uses the bytes, is the promise of whoever called `copy`.
    unsafe { ptr::copy(from, to, copy.length) };
    Ok(())
}
