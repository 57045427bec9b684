//! Points in streams: native events, and the pool that they return to. Called by `stream` and `outstanding`.
#![allow(unsafe_code)] // calls the runtime

use core::ffi::c_int;
use core::ptr;
use std::fmt;
use std::sync::{Arc, PoisonError};

use hip_sys::hip::{self, hipError_t, hipEvent_t, hipStream_t};
use pmd_core::accelerator::{AcceleratorError, Event};

use crate::accelerator::Shared;
use crate::runtime::{self, Hip, meaning};

/// What the runtime answers for streams and events that were destroyed, with their device for instance.
pub(crate) const DESTROYED: [hipError_t; 2] = [hip::hipErrorInvalidHandle, hip::hipErrorContextIsDestroyed];

/// One recording. Its native event goes back to the pool.
pub(crate) struct RocmEvent {
    shared: Arc<Shared>,
    native: Option<NativeEvent>,
}

impl RocmEvent {
    /// Records what is in the stream. The caller has made the device current.
    pub(crate) fn record(shared: &Arc<Shared>, stream: hipStream_t) -> Result<Self, AcceleratorError> {
        let pooled = shared.events.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let native = match pooled.map(|native| native.record(stream).map(|()| native)) {
            Some(Ok(native)) => native,
            Some(Err(error)) if !runtime::code(&error).is_some_and(|code| DESTROYED.contains(&code)) => {
                return Err(error);
            }
            // None is left over, or it went when the device was reset; if the stream did, this one says so too.
            Some(Err(_)) | None => {
                let native = NativeEvent::new(shared.hip, shared.device())?;
                native.record(stream)?;
                native
            }
        };
        Ok(Self { shared: Arc::clone(shared), native: Some(native) })
    }

    /// Whether the event is of this accelerator, or of another value for the same device.
    pub(crate) fn is_of(&self, shared: &Shared) -> bool {
        self.shared.identity == shared.identity
    }

    /// There from the beginning until the value is dropped.
    pub(crate) fn native(&self) -> Option<&NativeEvent> {
        self.native.as_ref()
    }
}

impl Event for RocmEvent {
    fn query(&self) -> Result<bool, AcceleratorError> {
        self.native().map_or(Err(AcceleratorError::StreamGone), NativeEvent::is_done)
    }
}

impl Drop for RocmEvent {
    fn drop(&mut self) {
        self.shared.events.lock().unwrap_or_else(PoisonError::into_inner).extend(self.native.take());
    }
}

impl fmt::Debug for RocmEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RocmEvent").field("native", &self.native).finish_non_exhaustive()
    }
}

/// An event of the runtime, without time stamps.
#[derive(Debug)]
pub(crate) struct NativeEvent {
    hip: Hip,
    device: c_int,
    handle: hipEvent_t,
}

// SAFETY: the runtime's functions take events from any thread.
unsafe impl Send for NativeEvent {}
// SAFETY: as above; they lock what they change.
unsafe impl Sync for NativeEvent {}

impl NativeEvent {
    /// A new event of the current device, which is `device`.
    pub(crate) fn new(hip: Hip, device: c_int) -> Result<Self, AcceleratorError> {
        let mut handle = ptr::null_mut();
        // SAFETY: writes one handle.
        let answer = unsafe { hip.hipEventCreateWithFlags(&mut handle, hip::hipEventDisableTiming) };
        hip.check("hipEventCreateWithFlags", answer)?;
        Ok(Self { hip, device, handle })
    }

    pub(crate) fn record(&self, stream: hipStream_t) -> Result<(), AcceleratorError> {
        // SAFETY: the event is alive; the runtime refuses a stream that is not.
        self.hip.check("hipEventRecord", unsafe { self.hip.hipEventRecord(self.handle, stream) })
    }

    pub(crate) fn is_done(&self) -> Result<bool, AcceleratorError> {
        // SAFETY: the event is alive.
        let answer = unsafe { self.hip.hipEventQuery(self.handle) };
        self.hip
            .is_done("hipEventQuery", answer)
            .map_err(|error| meaning(error, &DESTROYED, || AcceleratorError::StreamGone))
    }

    /// Waits until it is done, or failed.
    pub(crate) fn wait(&self) {
        // SAFETY: the event is alive.
        let answer = unsafe { self.hip.hipEventSynchronize(self.handle) };
        let _ = self.hip.check("hipEventSynchronize", answer);
    }

    /// Holds a stream until it is done.
    pub(crate) fn hold(&self, stream: hipStream_t) -> Result<(), AcceleratorError> {
        // SAFETY: the event is alive; the runtime refuses a stream that is not.
        let answer = unsafe { self.hip.hipStreamWaitEvent(stream, self.handle, 0) };
        self.hip.check("hipStreamWaitEvent", answer)
    }
}

impl Drop for NativeEvent {
    fn drop(&mut self) {
        let Ok(_current) = self.hip.on_device(self.device) else { return };
        // SAFETY: nobody else has it; the runtime keeps what a stream still needs of it.
        let answer = unsafe { self.hip.hipEventDestroy(self.handle) };
        // It leaves with the process at the latest: nobody could be told.
        let _ = self.hip.check("hipEventDestroy", answer);
    }
}
