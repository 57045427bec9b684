//! Graphs: what streams are given, captured once and launched often. Called by applications that have no framework to do
//! it, and by tests; a stream that PyTorch or CUDA's runtime captures needs nothing of this.
//!
//! What may be put into a stream while it is captured, and what becomes of it:
//!
//! | operation | in a graph |
//! |---|---|
//! | [`Stream::copy`], [`Stream::copy_blocks`] | a node for each range, neighbours joined; no kernel and no batch |
//! | [`Stream::signal`], [`Stream::wait_value`] | a node that writes, a node that waits, the same value at each launch |
//! | [`Stream::record`] | an order between streams that are captured together; the event cannot be asked |
//! | [`Stream::wait`] | the same, for an event that was recorded while captured; another one is [`Unsupported`] |
//!
//! Whatever else this crate does meanwhile, on this thread or on others, leaves captures alone: its calls into the driver
//! are made in the mode of capture that forbids nothing (`cuThreadExchangeStreamCaptureMode`).
//!
//! ```no_run
//! # use gpu_direct::CudaAccelerator;
//! # use pmd_core::accelerator::Accelerator;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gpu = CudaAccelerator::open(0)?;
//! let (stream, ready, done) = (gpu.open_stream()?, gpu.flag()?, gpu.flag()?);
//! let capture = gpu.begin_capture(&stream)?;
//! stream.wait_value(&ready, 1)?;
//! stream.signal(&done, 1)?;
//! let graph = capture.end()?.instantiate()?;
//! // SAFETY: nothing was captured but two flags, which live.
//! unsafe { graph.launch(&stream)? };
//! # Ok(())
//! # }
//! ```
//!
//! [`Unsupported`]: AcceleratorError::Unsupported
#![allow(unsafe_code)] // calls into the driver's C interface

use core::ffi::c_uint;
use std::{marker::PhantomData, sync::Arc};

use pmd_core::accelerator::{Accelerator, AcceleratorError, Stream};

use crate::{
    CudaAccelerator,
    context::Context,
    driver::{Handle, unsupported},
};

/// A capture that goes on: what is put into its stream becomes part of a graph. It ends on the thread on which it began.
/// Dropping it ends it without a graph.
#[derive(Debug)]
#[must_use = "a capture that is dropped leaves no graph"]
pub struct Capture {
    context: Arc<Context>,
    stream: Arc<dyn Stream>,
    ended: bool,
    /// The driver wants the thread that began it.
    _thread: PhantomData<*const ()>,
}

/// What was captured. Memory and flags in it live for as long as what is [made](Graph::instantiate) of it.
#[derive(Debug)]
pub struct Graph {
    context: Arc<Context>,
    native: Handle,
}

/// A graph that can be launched. Dropping it lets launches that have begun run to their end.
#[derive(Debug)]
pub struct Executable {
    context: Arc<Context>,
    native: Handle,
}

impl CudaAccelerator {
    /// Begins to capture a stream of this accelerator, for the calling thread (`CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`).
    ///
    /// # Errors
    /// [`AcceleratorError::Unsupported`] by a driver older than that of CUDA 11.4; [`AcceleratorError::UnknownStream`];
    /// [`AcceleratorError::Runtime`] for a default stream, and for one that is captured already.
    pub fn begin_capture(&self, stream: &Arc<dyn Stream>) -> Result<Capture, AcceleratorError> {
        /// `CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`.
        const THREAD_LOCAL: c_uint = 1;
        let context = Arc::clone(self.context());
        let begin = context.driver.begin_capture.ok_or(older("capture a stream"))?;
        let native = self.stream(stream.native())?.native();
        let entered = context.enter()?;
        // SAFETY: a stream that its user keeps open.
        context.driver.check("cuStreamBeginCapture", unsafe { begin(native as Handle, THREAD_LOCAL) })?;
        drop(entered);
        Ok(Capture { context, stream: Arc::clone(stream), ended: false, _thread: PhantomData })
    }
}

impl Capture {
    /// Ends it.
    ///
    /// # Errors
    /// [`AcceleratorError::Runtime`] where something was done meanwhile that cannot be captured: then there is no graph.
    pub fn end(mut self) -> Result<Graph, AcceleratorError> {
        self.ended = true;
        let native = self.finish()?;
        Ok(Graph { context: Arc::clone(&self.context), native })
    }

    fn finish(&self) -> Result<Handle, AcceleratorError> {
        let driver = &self.context.driver;
        let end = driver.end_capture.ok_or(older("end a capture"))?;
        let _entered = self.context.enter()?;
        let mut native = 0;
        // SAFETY: a stream that is held; the driver writes one handle.
        driver.check("cuStreamEndCapture", unsafe { end(self.stream.native() as Handle, &mut native) })?;
        Ok(native)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.ended
            && let Ok(native) = self.finish()
        {
            drop(Graph { context: Arc::clone(&self.context), native });
        }
    }
}

impl Graph {
    /// Makes what can be launched of it.
    ///
    /// # Errors
    /// [`AcceleratorError::Unsupported`], [`AcceleratorError::OutOfMemory`], [`AcceleratorError::Runtime`].
    pub fn instantiate(&self) -> Result<Executable, AcceleratorError> {
        let driver = &self.context.driver;
        let instantiate = driver.graph_instantiate.ok_or(older("instantiate a graph"))?;
        let _entered = self.context.enter()?;
        let mut native = 0;
        // SAFETY: a graph that is held; the driver writes one handle; no flags.
        let made = unsafe { instantiate(&mut native, self.native, 0) };
        driver.check_memory("cuGraphInstantiateWithFlags", 0, made)?;
        Ok(Executable { context: Arc::clone(&self.context), native })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let (Some(destroy), Ok(_entered)) = (self.context.driver.graph_destroy, self.context.enter()) else {
            return;
        };
        // SAFETY: made by `end`, destroyed once.
        unsafe { destroy(self.native) };
    }
}

impl Executable {
    /// Puts everything that was captured into a stream. A launch begins when the graph's earlier launches are done, whichever
    /// streams they are in.
    ///
    /// # Errors
    /// [`AcceleratorError::Unsupported`], [`AcceleratorError::Runtime`].
    ///
    /// # Safety
    /// As [`Stream::copy`] for every copy that was captured: its ranges are allocated still, and nothing else uses them
    /// until an event recorded behind the launch is done.
    pub unsafe fn launch(&self, stream: &Arc<dyn Stream>) -> Result<(), AcceleratorError> {
        let driver = &self.context.driver;
        let launch = driver.graph_launch.ok_or(older("launch a graph"))?;
        let _entered = self.context.enter()?;
        // SAFETY: handles that are held; the rest is the caller's promise.
        driver.check("cuGraphLaunch", unsafe { launch(self.native, stream.native() as Handle) })
    }
}

impl Drop for Executable {
    fn drop(&mut self) {
        let (Some(destroy), Ok(_entered)) = (self.context.driver.executable_destroy, self.context.enter())
        else {
            return;
        };
        // SAFETY: made by `instantiate`, destroyed once; launches that have begun keep what they need.
        unsafe { destroy(self.native) };
    }
}

const fn older(what: &'static str) -> AcceleratorError {
    unsupported(what, "the driver is older than that of CUDA 11.4")
}
