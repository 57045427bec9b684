//! Streams: this crate's own and the application's. Opened through [`AscendAccelerator`](crate::AscendAccelerator).
#![allow(unsafe_code)] // calls the runtime's C functions

use std::{
    any::Any,
    ffi::{c_int, c_void},
    ptr::null_mut,
    sync::{Arc, Mutex, Weak},
};

use acl_sys::acl;
use pmd_core::{
    accelerator::{AcceleratorError, CopyDirection, CopyRange, Event, Flag, Stream, word_of_value},
    sync::{AtomicU64, Ordering},
};

use crate::{
    call::{Answer, KIND, check, check_optional},
    device::{Device, lock},
    event::AscendEvent,
    flag::AscendFlag,
    retired::{Fence, Thing, handle},
};

/// A stream as its users hold it.
#[derive(Debug)]
pub(crate) struct AscendStream {
    device: &'static Device,
    core: Arc<Core>,
    owned: bool,
}

/// What of a stream outlives its value, until nothing is in it any more.
#[derive(Debug)]
pub(crate) struct Core {
    handle: usize,
    /// Whether the native stream is there.
    open: Mutex<bool>,
    /// Held while something is put in, so that two threads' batches do not mix.
    order: Mutex<()>,
    /// Calls that have put something in.
    posted: AtomicU64,
    /// What `posted` was when the stream was last seen idle.
    idle_at: AtomicU64,
    /// The last fence, and what `posted` was before it: good for as long as nothing more is put in.
    fence: Mutex<Option<(u64, Weak<Fence>)>>,
}

impl AscendStream {
    pub(crate) fn create(device: &'static Device) -> Result<Arc<Self>, AcceleratorError> {
        let _entered = device.enter()?;
        device.sweep();
        let mut native: *mut c_void = null_mut();
        // SAFETY: a place for a handle.
        check("aclrtCreateStream", unsafe { device.acl.aclrtCreateStream(&mut native) })?;
        // What is behind a failure shall not happen; where the runtime cannot promise that, the failure is still told.
        // SAFETY: a stream that is open.
        let _ = unsafe { device.acl.aclrtSetStreamFailureMode(native, acl::ACL_STOP_ON_FAILURE.into()) };
        Ok(Self::new(device, native.addr(), true))
    }

    /// The application's stream.
    pub(crate) fn of_application(
        device: &'static Device,
        native: u64,
    ) -> Result<Arc<Self>, AcceleratorError> {
        let _entered = device.enter()?;
        let unknown = AcceleratorError::UnknownStream { kind: KIND, native };
        let number = usize::try_from(native).map_err(|_| unknown.clone())?;
        match status(device, number) {
            Ok(acl::ACL_ERROR_RT_INVALID_HANDLE | acl::ACL_ERROR_RT_PARAM_INVALID) => Err(unknown),
            Ok(acl::ACL_ERROR_INVALID_PARAM | acl::ACL_ERROR_RT_STREAM_CONTEXT) => Err(unknown),
            _ => Ok(Self::new(device, number, false)),
        }
    }

    fn new(device: &'static Device, number: usize, owned: bool) -> Arc<Self> {
        let core = Arc::new(Core {
            handle: number,
            open: Mutex::new(true),
            order: Mutex::new(()),
            // An application's stream may have work of its own, which is none of ours.
            posted: AtomicU64::new(0),
            idle_at: AtomicU64::new(0),
            fence: Mutex::new(None),
        });
        device.add_stream(&core);
        Arc::new(Self { device, core, owned })
    }

    /// Puts something in.
    fn post<T>(&self, put: impl FnOnce() -> Result<T, AcceleratorError>) -> Result<T, AcceleratorError> {
        let _entered = self.device.enter()?;
        let _order = lock(&self.core.order);
        let outcome = put();
        // Behind the call: who sees the number also sees the work when it asks the runtime.
        self.core.posted.fetch_add(1, Ordering::Release);
        outcome
    }

    fn foreign(&self) -> AcceleratorError {
        AcceleratorError::Foreign { of: self.device.identity.clone() }
    }

    fn flag<'a>(&self, flag: &'a Arc<dyn Flag>) -> Result<&'a AscendFlag, AcceleratorError> {
        let flag = (&**flag as &dyn Any).downcast_ref::<AscendFlag>();
        flag.filter(|flag| flag.is_of(self.device)).ok_or_else(|| self.foreign())
    }

    /// One range, which is not empty.
    fn copy_one(&self, copy: &CopyRange) -> Result<(), AcceleratorError> {
        let kind = match copy.direction {
            CopyDirection::HostToDevice => acl::ACL_MEMCPY_HOST_TO_DEVICE,
            CopyDirection::DeviceToHost => acl::ACL_MEMCPY_DEVICE_TO_HOST,
            CopyDirection::DeviceToDevice => acl::ACL_MEMCPY_DEVICE_TO_DEVICE,
            CopyDirection::HostToHost => return self.copy_on_host(*copy),
        };
        let length = copy.length as usize;
        let (to, from) = (handle(copy.to as usize), handle(copy.from as usize));
        // SAFETY: the caller of `copy` promises that the ranges stay allocated.
        let answer =
            unsafe { self.device.acl.aclrtMemcpyAsync(to, length, from, length, kind, self.core.handle()) };
        check("aclrtMemcpyAsync", answer)
    }

    /// The runtime has no copies of this kind in streams.
    fn copy_on_host(&self, copy: CopyRange) -> Result<(), AcceleratorError> {
        let argument = Box::into_raw(Box::new(copy));
        // SAFETY: the function takes the argument back, once.
        let answer = unsafe {
            self.device.acl.aclrtLaunchHostFunc(self.core.handle(), Some(copy_host_bytes), argument.cast())
        };
        check_optional("aclrtLaunchHostFunc", "copy within the host in a stream", answer).inspect_err(|_| {
            // SAFETY: it was not launched, so the argument is still ours.
            drop(unsafe { Box::from_raw(argument) });
        })
    }
}

/// Runs on a thread of the runtime, in the stream's turn.
///
/// # Safety
/// The argument is a boxed [`CopyRange`] that is passed once, whose promises are those of [`Stream::copy`].
unsafe extern "C" fn copy_host_bytes(argument: *mut c_void) {
    // SAFETY: the range that was launched with this function, which is called once.
    let copy = unsafe { Box::from_raw(argument.cast::<CopyRange>()) };
    let (from, to) = (copy.from as *const u8, copy.to as *mut u8);
    // SAFETY: the caller of `copy` promises that both ranges stay allocated and that nothing else touches them.
    unsafe { std::ptr::copy(from, to, copy.length as usize) };
}

impl Stream for AscendStream {
    fn native(&self) -> u64 {
        self.core.handle as u64
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        self.post(|| Ok(Arc::new(AscendEvent::record(self.device, &self.core)?) as Arc<dyn Event>))
    }

    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        let event = (&**event as &dyn Any).downcast_ref::<AscendEvent>();
        let event = event.filter(|event| event.is_of(self.device)).ok_or_else(|| self.foreign())?;
        self.post(|| event.hold(&self.core))
    }

    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        let word = self.flag(flag)?.mapped();
        self.post(|| {
            // SAFETY: a word that the device reaches; it stays registered.
            let answer =
                unsafe { self.device.acl.aclrtValueWrite(word, word_of_value(value), 0, self.core.handle()) };
            check_optional("aclrtValueWrite", "write a value in a stream", answer)
        })
    }

    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        let word = self.flag(flag)?.mapped();
        let condition = acl::ACL_VALUE_WAIT_GEQ;
        self.post(|| {
            // SAFETY: as above.
            let answer = unsafe {
                self.device.acl.aclrtValueWait(word, word_of_value(value), condition, self.core.handle())
            };
            check_optional("aclrtValueWait", "wait for a value in a stream", answer)
        })
    }

    unsafe fn copy(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError> {
        let mut copies = copies.iter().filter(|copy| copy.length > 0).peekable();
        if copies.peek().is_none() {
            return Ok(());
        }
        self.post(|| copies.try_for_each(|copy| self.copy_one(copy)))
    }
}

impl Drop for AscendStream {
    fn drop(&mut self) {
        let thing = if self.owned { Thing::Stream(Arc::clone(&self.core)) } else { Thing::Mark };
        // Without a context nothing can be freed, nor does anything run.
        if let Ok(_entered) = self.device.enter() {
            self.device.remove_stream(&self.core, thing);
        }
    }
}

impl Core {
    pub(crate) fn handle(&self) -> *mut c_void {
        handle(self.handle)
    }

    /// Whether nothing that was put in here is left. The device's context is the thread's.
    pub(crate) fn is_idle(&self, device: &Device) -> bool {
        let posted = self.posted();
        if posted == self.idle_at.load(Ordering::Relaxed) {
            return true;
        }
        let mut found = acl::ACL_STREAM_STATUS_NOT_READY;
        // SAFETY: a stream that is open, and a place for its state.
        let answer = unsafe { device.acl.aclrtStreamQuery(self.handle(), &mut found) };
        let idle = answer == Ok(acl::ACL_SUCCESS) && found == acl::ACL_STREAM_STATUS_COMPLETE;
        if idle {
            self.idle_at.store(posted, Ordering::Relaxed);
        }
        idle
    }

    /// Calls that have put something in and returned.
    pub(crate) fn posted(&self) -> u64 {
        self.posted.load(Ordering::Acquire)
    }

    /// A fence behind everything that is in it, if there is one.
    pub(crate) fn last_fence(&self) -> Option<Arc<Fence>> {
        let fence = lock(&self.fence);
        let (_, fence) = fence.as_ref().filter(|(posted, _)| *posted == self.posted())?;
        fence.upgrade()
    }

    /// Remembers a fence, with what had been put in before it was recorded.
    pub(crate) fn keep_fence(&self, posted: u64, fence: &Arc<Fence>) {
        *lock(&self.fence) = Some((posted, Arc::downgrade(fence)));
    }

    /// The native stream is about to go.
    pub(crate) fn close(&self) {
        *lock(&self.open) = false;
    }

    /// Fails where the stream has, or is gone. The device's context is the thread's.
    pub(crate) fn check(&self, device: &Device) -> Result<(), AcceleratorError> {
        let open = lock(&self.open);
        if !*open {
            return Err(AcceleratorError::StreamGone);
        }
        match status(device, self.handle) {
            Ok(acl::ACL_ERROR_RT_INVALID_HANDLE) => Err(AcceleratorError::StreamGone),
            answer => check("aclrtStreamQuery", answer),
        }
    }
}

/// The code with which the runtime answers for a stream.
fn status(device: &Device, number: usize) -> Answer {
    let mut found: acl::aclrtStreamStatus = acl::ACL_STREAM_STATUS_NOT_READY;
    // SAFETY: a number that the runtime looks up, and a place for a state.
    let answer: Result<c_int, _> = unsafe { device.acl.aclrtStreamQuery(handle(number), &mut found) };
    answer
}
