//! Events: one recording each, in native events out of the context's pool. Made by [`CudaStream::record`].
//!
//! [`CudaStream::record`]: pmd_core::accelerator::Stream::record
#![allow(unsafe_code)] // calls into the driver's C interface

use std::sync::Arc;

use pmd_core::{
    accelerator::{AcceleratorError, Event},
    sync::{AtomicBool, Ordering},
};

use crate::{
    context::Context,
    driver::{Handle, NOT_READY, unsupported},
};

/// One recording in a stream.
#[derive(Debug)]
pub(crate) struct CudaEvent {
    context: Arc<Context>,
    native: Handle,
    /// It was recorded in a graph: at each launch, or as the graph's own order.
    captured: bool,
    /// Once done, the driver is not asked again.
    done: AtomicBool,
}

impl CudaEvent {
    /// Takes over a native event of the context's pool that was recorded.
    pub(crate) fn recorded(context: &Arc<Context>, native: Handle, captured: bool) -> Self {
        Self { context: Arc::clone(context), native, captured, done: AtomicBool::new(false) }
    }

    pub(crate) const fn is_captured(&self) -> bool {
        self.captured
    }

    pub(crate) fn native(&self) -> Handle {
        self.native
    }

    /// Whether a stream of this context may wait for it.
    pub(crate) fn belongs_to(&self, context: &Context) -> bool {
        self.context.handle() == context.handle()
    }
}

impl Event for CudaEvent {
    fn query(&self) -> Result<bool, AcceleratorError> {
        if self.done.load(Ordering::Acquire) {
            return Ok(true);
        }
        if self.captured {
            // To ask the driver would break a capture that goes on.
            return Err(unsupported(
                "ask for an event that was recorded in a graph",
                "each launch passes it anew: signal a flag in the graph, or record behind the launch",
            ));
        }
        let _entered = self.context.enter()?;
        let driver = &self.context.driver;
        // SAFETY: an event of the pool, which this value holds alone.
        match unsafe { (driver.event_query)(self.native) } {
            NOT_READY => Ok(false),
            result => {
                driver.check("cuEventQuery", result)?;
                self.done.store(true, Ordering::Release);
                Ok(true)
            }
        }
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        self.context.return_event(self.native);
    }
}
