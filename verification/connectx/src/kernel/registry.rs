//! What this process has open: the device, contexts by descriptor, event files by descriptor.
//!
//! A child after fork starts with an empty registry: it owns nothing of its parent's, and may open the device itself.
#![allow(unsafe_code)] // a pointer that is replaced after fork

use std::{
    collections::BTreeMap,
    ffi::c_int,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicPtr, Ordering},
    },
};

use super::{channel::Channel, context::Context, descriptors, error::CommandError};
use crate::{config::Config, device::Device, errno::Errno, uar};

/// The registry; null until the device is opened, and in children after fork.
static CURRENT: AtomicPtr<Registry> = AtomicPtr::new(ptr::null_mut());

/// All that is open. Never freed: threads and signal handlers hold references.
#[derive(Debug)]
pub(super) struct Registry {
    /// The device as this process has it.
    pub(super) device: &'static Device,
    contexts: Mutex<BTreeMap<c_int, Arc<Context>>>,
    channels: Mutex<BTreeMap<c_int, Arc<Channel>>>,
    /// Held from taking events of the device until they are written.
    delivery: Mutex<()>,
}

/// No event is delivered while this lives.
#[derive(Debug)]
pub(super) struct Stopped<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

impl Registry {
    /// This process's registry, if it opened the device.
    pub(super) fn current() -> Option<&'static Self> {
        // SAFETY: null or leaked.
        unsafe { CURRENT.load(Ordering::Acquire).as_ref() }
    }

    /// The registry; the first time, opens the device and starts what watches its registers.
    pub(super) fn open(config: &Config) -> Result<&'static Self, CommandError> {
        /// Taken by the thread that opens; others wait for it.
        static OPENING: Mutex<()> = Mutex::new(());
        let _opening = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(registry) = Self::current() {
            return Ok(registry);
        }
        prepare_process();
        let device: &'static Device = Box::leak(Box::new(Device::open(config.clone()).map_err(Errno::from)?));
        let registry = Box::leak(Box::new(Self {
            device,
            contexts: Mutex::default(),
            channels: Mutex::default(),
            delivery: Mutex::default(),
        }));
        CURRENT.store(registry, Ordering::Release);
        uar::start(device).map_err(Errno::from)?;
        Ok(registry)
    }

    /// The context of a descriptor; `None` where it is no context of this process.
    pub(super) fn context(&self, descriptor: c_int) -> Option<Arc<Context>> {
        lock(&self.contexts).get(&descriptor).cloned()
    }

    /// All contexts.
    pub(super) fn contexts(&self) -> Vec<Arc<Context>> {
        lock(&self.contexts).values().cloned().collect()
    }

    /// Waits until no event is on its way, and keeps new ones back. What is destroyed meanwhile gets none afterwards.
    pub(super) fn stop_delivery(&self) -> Stopped<'_> {
        Stopped(lock(&self.delivery))
    }

    /// Enters a context.
    pub(super) fn add_context(&'static self, descriptor: c_int) -> Result<(), CommandError> {
        if !descriptors::add(descriptor) {
            return Err(CommandError::Full("open descriptor of the device"));
        }
        lock(&self.contexts).insert(descriptor, Arc::new(Context::new(self)));
        self.count_contexts(|contexts| contexts + 1);
        Ok(())
    }

    /// Makes an event file.
    pub(super) fn add_channel(&self, record: usize) -> Result<Arc<Channel>, CommandError> {
        let channel = Arc::new(Channel::new(record)?);
        if !descriptors::add(channel.reader()) {
            // SAFETY: made above, and given to nobody.
            unsafe { libc::close(channel.reader()) };
            return Err(CommandError::Full("event file"));
        }
        lock(&self.channels).insert(channel.reader(), Arc::clone(&channel));
        Ok(channel)
    }

    /// The event file with this read end.
    pub(super) fn channel(&self, reader: c_int) -> Option<Arc<Channel>> {
        lock(&self.channels).get(&reader).cloned()
    }

    /// A descriptor is about to be closed: destroys what it stands for.
    pub(super) fn close(&self, descriptor: c_int) {
        let context = lock(&self.contexts).remove(&descriptor);
        if let Some(context) = context {
            context.close();
            self.count_contexts(|contexts| contexts.saturating_sub(1));
        }
        lock(&self.channels).remove(&descriptor);
    }
}

impl Registry {
    fn count_contexts(&self, change: impl FnOnce(u32) -> u32) {
        let mut tables = self.device.lock();
        if let Some(process) = tables.processes.find_mut(self.device.process.into()) {
            process.contexts = change(process.contexts);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Other processes move bytes from and to this one's memory, and children own nothing of it.
fn prepare_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: registers a function that only stores to atomics.
        unsafe { libc::pthread_atfork(None, None, Some(forget_everything)) };
    });
    // SAFETY: takes numbers. Fails where no Yama restricts ptrace, which is as good.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
}

/// In a child after fork.
extern "C" fn forget_everything() {
    CURRENT.store(ptr::null_mut(), Ordering::Release);
    descriptors::clear();
    uar::forget_all();
}
