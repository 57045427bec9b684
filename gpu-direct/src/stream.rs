//! Streams, the crate's own and the application's: copies, events and flags in their order. Made by [`CudaAccelerator`].
//!
//! [`CudaAccelerator`]: crate::CudaAccelerator
#![allow(unsafe_code)] // calls into the driver's C interface

use core::any::Any;
use core::ffi::c_uint;
use std::sync::Arc;

use cudarc::driver::sys;
use pmd_core::{
    accelerator::{
        AcceleratorError, AcceleratorKind, BlockCopies, CopyDirection, CopyRange, Event, Flag, Stream,
        word_of_value,
    },
    sync::Ordering,
};

use crate::{
    blocks,
    context::{Context, lock},
    driver::{Handle, NOT_SUPPORTED, unsupported},
    event::CudaEvent,
    flag::CudaFlag,
};

/// `CU_STREAM_LEGACY`; 0 is the same stream.
const LEGACY: Handle = 1;
/// `CU_STREAM_PER_THREAD`.
const PER_THREAD: Handle = 2;

/// Ranges of one call, so that nothing is allocated.
const AT_ONCE: usize = 128;

/// Fewer blocks than this are copied like ranges.
const FEW: usize = 4;

/// A stream of a device.
#[derive(Debug)]
pub(crate) struct CudaStream {
    context: Arc<Context>,
    native: Handle,
    own: bool,
}

impl CudaStream {
    pub(crate) fn open(context: &Arc<Context>) -> Result<Self, AcceleratorError> {
        /// `CU_STREAM_NON_BLOCKING`: not held up by the default stream.
        const NON_BLOCKING: c_uint = 1;
        let _entered = context.enter()?;
        lock(&context.blocks).prepare(context);
        let (driver, mut native) = (&context.driver, 0);
        // SAFETY: the driver writes one handle.
        driver.check("cuStreamCreate", unsafe { (driver.stream_create)(&mut native, NON_BLOCKING) })?;
        Ok(Self { context: Arc::clone(context), native, own: true })
    }

    /// The application's stream. The driver is asked whose it is; a handle that was never one may be followed by it.
    pub(crate) fn of(context: &Arc<Context>, native: u64) -> Result<Self, AcceleratorError> {
        let unknown = AcceleratorError::UnknownStream { kind: AcceleratorKind::Cuda, native };
        let Ok(handle) = Handle::try_from(native) else { return Err(unknown) };
        let _entered = context.enter()?;
        lock(&context.blocks).prepare(context);
        if handle > PER_THREAD {
            let mut owner = 0;
            // SAFETY: the driver writes one handle.
            let found = unsafe { (context.driver.stream_context)(handle, &mut owner) };
            if found != 0 || owner != context.handle() {
                return Err(unknown);
            }
        }
        Ok(Self { context: Arc::clone(context), native: handle, own: false })
    }

    /// As many ranges as fit, in one call where the driver has one.
    ///
    /// # Safety
    /// As [`Stream::copy`].
    unsafe fn copy_some(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError> {
        let batches = !self.context.without_batches.load(Ordering::Relaxed);
        // The legacy stream takes no batches, and no graph does.
        let several = copies.len() > 1 && self.native > LEGACY;
        if batches && several && !self.context.is_capturing(self.native) {
            // SAFETY: passed on.
            if unsafe { self.copy_batch(copies) }? {
                return Ok(());
            }
        }
        let driver = &self.context.driver;
        for CopyRange { from, to, length, .. } in copies {
            // SAFETY: the caller's promise; the driver tells the sides by the addresses.
            let copied = unsafe { (driver.copy)(*to, *from, *length as usize, self.native) };
            driver.check("cuMemcpyAsync", copied)?;
        }
        Ok(())
    }

    /// Whether the driver has taken the ranges as one batch.
    ///
    /// # Safety
    /// As [`Stream::copy`].
    unsafe fn copy_batch(&self, copies: &[CopyRange]) -> Result<bool, AcceleratorError> {
        let driver = &self.context.driver;
        let Some(copy_batch) = driver.copy_batch else { return Ok(false) };
        let (mut to, mut from, mut sizes) = ([0_u64; AT_ONCE], [0_u64; AT_ONCE], [0_usize; AT_ONCE]);
        for (at, copy) in copies.iter().enumerate() {
            (to[at], from[at], sizes[at]) = (copy.to, copy.from, copy.length as usize);
        }
        let attributes = in_stream_order();
        let (first, mut failed) = (0_usize, 0_usize);
        // SAFETY: three lists of so many entries, one set of attributes that counts from entry 0 on; the rest is the
        // caller's promise.
        let result = unsafe {
            copy_batch(
                to.as_ptr(),
                from.as_ptr(),
                sizes.as_ptr(),
                copies.len(),
                &attributes,
                &first,
                1,
                &mut failed,
                self.native,
            )
        };
        if result == NOT_SUPPORTED {
            self.context.without_batches.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        driver.check("cuMemcpyBatchAsync", result).map(|()| true)
    }

    fn flag<'flag>(&self, flag: &'flag Arc<dyn Flag>) -> Result<&'flag CudaFlag, AcceleratorError> {
        let any: &dyn Any = &**flag;
        let known = any.downcast_ref::<CudaFlag>().filter(|flag| flag.belongs_to(&self.context));
        known.ok_or_else(|| self.foreign())
    }

    fn foreign(&self) -> AcceleratorError {
        AcceleratorError::Foreign { of: self.context.identity.clone() }
    }
}

impl Stream for CudaStream {
    fn native(&self) -> u64 {
        self.native as u64
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        let _entered = self.context.enter()?;
        let captured = self.context.is_capturing(self.native);
        let native = self.context.record(self.native)?;
        Ok(Arc::new(CudaEvent::recorded(&self.context, native, captured)))
    }

    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        let any: &dyn Any = &**event;
        let known = any.downcast_ref::<CudaEvent>().filter(|event| event.belongs_to(&self.context));
        let event = known.ok_or_else(|| self.foreign())?;
        let _entered = self.context.enter()?;
        if !event.is_captured() && self.context.is_capturing(self.native) {
            return Err(unsupported(
                "wait in a graph for an event that was recorded outside of it",
                "each launch would wait for what has happened: wait before the launch",
            ));
        }
        let driver = &self.context.driver;
        // SAFETY: an event that is held, and a stream that its user keeps open.
        let waits = unsafe { (driver.stream_wait_event)(self.native, event.native(), 0) };
        driver.check("cuStreamWaitEvent", waits)
    }

    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        let flag = self.flag(flag)?;
        let _entered = self.context.enter()?;
        let driver = &self.context.driver;
        let (_, write_value) = self.context.values()?;
        // SAFETY: a word of pinned memory, which is not used anew before the stream has passed this.
        let written = unsafe { write_value(self.native, flag.address(), word_of_value(value), 0) };
        driver.check("cuStreamWriteValue64", written)?;
        flag.note_use(self.native)
    }

    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError> {
        /// `CU_STREAM_WAIT_VALUE_GEQ`.
        const AT_LEAST: c_uint = 0;
        let flag = self.flag(flag)?;
        let _entered = self.context.enter()?;
        let driver = &self.context.driver;
        let (wait_value, _) = self.context.values()?;
        // SAFETY: as for `signal`.
        let waits = unsafe { wait_value(self.native, flag.address(), word_of_value(value), AT_LEAST) };
        driver.check("cuStreamWaitValue64", waits)?;
        flag.note_use(self.native)
    }

    unsafe fn copy(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError> {
        let _entered = self.context.enter()?;
        let mut batch = Batch::default();
        for copy in copies {
            // SAFETY: passed on.
            unsafe { batch.put(self, *copy) }?;
        }
        // SAFETY: passed on.
        unsafe { batch.flush(self) }?;
        self.context.note_copy(self.native)
    }

    unsafe fn copy_blocks(&self, blocks: &BlockCopies<'_>) -> Result<(), AcceleratorError> {
        let _entered = self.context.enter()?;
        let within = blocks.direction == CopyDirection::DeviceToDevice && blocks.block_bytes > 0;
        let many = within && blocks.pairs.len() >= FEW && lock(&self.context.blocks).is_usable();
        if many && !self.context.is_capturing(self.native) {
            // SAFETY: passed on.
            unsafe { blocks::copy(&self.context, self.native, blocks) }?;
        } else {
            let mut batch = Batch::default();
            for pair in blocks.pairs {
                // SAFETY: passed on.
                unsafe { batch.put(self, blocks.copy_of(*pair)?) }?;
            }
            // SAFETY: passed on.
            unsafe { batch.flush(self) }?;
        }
        self.context.note_copy(self.native)
    }
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        if !self.own {
            return;
        }
        let Ok(_entered) = self.context.enter() else { return };
        // SAFETY: created by `open`, destroyed once; what is in it still happens.
        unsafe { (self.context.driver.stream_destroy)(self.native) };
    }
}

/// Ranges on their way to the driver. Neighbours become one.
#[derive(Debug)]
struct Batch {
    copies: [CopyRange; AT_ONCE],
    filled: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { copies: [CopyRange::default(); AT_ONCE], filled: 0 }
    }
}

impl Batch {
    /// # Safety
    /// As [`Stream::copy`].
    unsafe fn put(&mut self, stream: &CudaStream, copy: CopyRange) -> Result<(), AcceleratorError> {
        if copy.length == 0 {
            return Ok(());
        }
        if let Some(last) = self.copies[..self.filled].last_mut()
            && last.from + last.length == copy.from
            && last.to + last.length == copy.to
            && last.direction == copy.direction
        {
            last.length += copy.length;
            return Ok(());
        }
        if self.filled == AT_ONCE {
            // SAFETY: passed on.
            unsafe { self.flush(stream) }?;
        }
        self.copies[self.filled] = copy;
        self.filled += 1;
        Ok(())
    }

    /// # Safety
    /// As [`Stream::copy`].
    unsafe fn flush(&mut self, stream: &CudaStream) -> Result<(), AcceleratorError> {
        let filled = core::mem::take(&mut self.filled);
        // SAFETY: passed on.
        unsafe { stream.copy_some(&self.copies[..filled]) }
    }
}

/// Sources are read when the stream comes to them, not before.
fn in_stream_order() -> sys::CUmemcpyAttributes {
    let anywhere = sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_INVALID, id: 0 };
    sys::CUmemcpyAttributes {
        srcAccessOrder: sys::CUmemcpySrcAccessOrder::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM,
        srcLocHint: anywhere,
        dstLocHint: anywhere,
        flags: 0,
    }
}
