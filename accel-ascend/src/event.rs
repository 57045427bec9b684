//! Events: recordings in streams.
#![allow(unsafe_code)] // calls the runtime's C functions

use std::sync::{Arc, OnceLock};

use acl_sys::acl;
use pmd_core::{
    accelerator::{AcceleratorError, Event},
    sync::{AtomicBool, Ordering},
};

use crate::{
    call::check,
    device::Device,
    retired::{Thing, handle},
    stream::Core,
};

/// One recording, with a native event of its own for as long as it lives.
#[derive(Debug)]
pub(crate) struct AscendEvent {
    device: &'static Device,
    native: usize,
    stream: Arc<Core>,
    /// Streams that were told to wait for it may still do so, so that the native event cannot be used again.
    is_waited_for: AtomicBool,
    outcome: OnceLock<Result<(), AcceleratorError>>,
}

impl AscendEvent {
    /// Records in a stream. The device's context is the thread's.
    pub(crate) fn record(device: &'static Device, stream: &Arc<Core>) -> Result<Self, AcceleratorError> {
        let native = device.take_event()?;
        // SAFETY: both are open.
        let answer = unsafe { device.acl.aclrtRecordEvent(handle(native), stream.handle()) };
        check("aclrtRecordEvent", answer).inspect_err(|_| device.spare_event(native))?;
        let (is_waited_for, outcome) = (AtomicBool::new(false), OnceLock::new());
        Ok(Self { device, native, stream: Arc::clone(stream), is_waited_for, outcome })
    }

    /// Holds a stream until it is done. The device's context is the thread's.
    pub(crate) fn hold(&self, stream: &Core) -> Result<(), AcceleratorError> {
        self.is_waited_for.store(true, Ordering::Release);
        // SAFETY: both are open.
        let answer = unsafe { self.device.acl.aclrtStreamWaitEvent(stream.handle(), handle(self.native)) };
        check("aclrtStreamWaitEvent", answer)
    }

    pub(crate) fn is_of(&self, device: &Device) -> bool {
        self.device.is(device)
    }

    fn is_complete(&self) -> Result<bool, AcceleratorError> {
        let mut status = acl::ACL_EVENT_RECORDED_STATUS_NOT_READY;
        // SAFETY: an event that is open, and a place for its state.
        let answer = unsafe { self.device.acl.aclrtQueryEventStatus(handle(self.native), &mut status) };
        check("aclrtQueryEventStatus", answer)?;
        Ok(status == acl::ACL_EVENT_RECORDED_STATUS_COMPLETE)
    }

    /// What the runtime says now: an event behind a failure is never done, so the stream is asked too.
    fn ask(&self) -> Result<bool, AcceleratorError> {
        let _entered = self.device.enter()?;
        if self.is_complete()? {
            return Ok(true);
        }
        match self.stream.check(self.device) {
            Ok(()) => Ok(false),
            // It may have been done between the two questions.
            Err(error) => {
                if self.is_complete()? {
                    Ok(true)
                } else {
                    Err(error)
                }
            }
        }
    }
}

impl Event for AscendEvent {
    fn query(&self) -> Result<bool, AcceleratorError> {
        if let Some(outcome) = self.outcome.get() {
            return outcome.clone().map(|()| true);
        }
        let done = self.ask();
        match &done {
            Ok(false) => {}
            Ok(true) => drop(self.outcome.set(Ok(()))),
            Err(error) => drop(self.outcome.set(Err(error.clone()))),
        }
        done
    }
}

impl Drop for AscendEvent {
    fn drop(&mut self) {
        if self.is_waited_for.load(Ordering::Acquire) {
            if let Ok(_entered) = self.device.enter() {
                self.device.retire(Thing::Event(self.native));
            }
        } else if self.outcome.get() == Some(&Ok(())) {
            self.device.spare_event(self.native);
        } else {
            self.device.spare_event_later(self.native);
        }
    }
}
