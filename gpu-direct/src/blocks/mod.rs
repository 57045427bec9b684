//! Blocks between two block tables of one device, by one launch: paged caches move at the speed of the memory, not at
//! that of a copy command for each block. Called by the streams' `copy_blocks`.
//!
//! The list of pairs goes through a staging area (pinned memory and as much on the device) that is used again when the
//! launch is done. Each block is cut into parts of some 16 KiB; a group of threads moves one part, in words as wide as
//! the tables are aligned.
#![allow(unsafe_code)] // calls into the driver's C interface, writes pinned memory

mod kernel;

use core::ffi::c_void;
use core::ptr;
use std::sync::Arc;

use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, BlockCopies, BlockPair};

use self::kernel::Kernel;
use crate::{
    context::{Context, lock},
    driver::{Driver, Handle},
    memory::pinned,
};

/// Pairs that a staging area holds at least, and those that one launch takes at most.
const FEWEST: usize = 4096;
const MOST: usize = 1 << 16;

/// Threads of a group, and words that each moves at a time.
const THREADS: u32 = 256;
const UNROLLED: u64 = 4;

/// Parts of a block at most: the height of a grid.
const PARTS: u64 = 65_535;

/// The kernel and the staging areas of a context.
#[derive(Debug, Default)]
pub(crate) struct BlockCopier {
    /// Loaded with the first stream; the error if the driver did not take it.
    kernel: Option<Result<Kernel, AcceleratorError>>,
    idle: Vec<Staging>,
    /// In use until the event is done.
    busy: Vec<(Staging, Handle)>,
}

/// Room for a list of pairs, on the host and on the device.
#[derive(Debug)]
struct Staging {
    host: u64,
    device: u64,
    pairs: usize,
}

impl BlockCopier {
    /// Loads the kernel and makes a first staging area, once. Both may wait for what is on the device, so that it is done
    /// when a stream is opened, before anything in it can wait for this thread. Inside [`Context::enter`].
    pub(crate) fn prepare(&mut self, context: &Context) {
        if self.kernel.is_none() && self.kernel.insert(Kernel::load(&context.driver)).is_ok() {
            // Without room it is made when it is needed, or that fails.
            self.idle.extend(Staging::allocate(context, FEWEST));
        }
    }

    /// Whether the driver takes the kernel.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.kernel, Some(Ok(_)))
    }

    /// Frees everything; the context's streams are gone. Inside [`Context::enter`].
    pub(crate) fn close(&mut self, driver: &Driver) {
        for (staging, event) in self.busy.drain(..) {
            // SAFETY: an event that no one else holds.
            unsafe { (driver.event_destroy)(event) };
            self.idle.push(staging);
        }
        for staging in self.idle.drain(..) {
            staging.free(driver);
        }
        if let Some(Ok(kernel)) = self.kernel.take() {
            kernel.unload(driver);
        }
    }

    fn take(&mut self, context: &Context, pairs: usize) -> Result<Staging, AcceleratorError> {
        let mut at = 0;
        while let Some((_, event)) = self.busy.get(at) {
            if context.is_over(*event) {
                let (staging, event) = self.busy.swap_remove(at);
                context.return_event(event);
                self.idle.push(staging);
            } else {
                at += 1;
            }
        }
        let fitting = (0..self.idle.len()).filter(|at| self.idle[*at].pairs >= pairs);
        match fitting.min_by_key(|at| self.idle[*at].pairs) {
            Some(at) => Ok(self.idle.swap_remove(at)),
            None => Staging::allocate(context, pairs.next_power_of_two().max(FEWEST)),
        }
    }
}

impl Staging {
    fn allocate(context: &Context, pairs: usize) -> Result<Self, AcceleratorError> {
        let length = pairs * size_of::<BlockPair>();
        let (driver, mut device) = (&context.driver, 0);
        // SAFETY: the driver writes one address.
        let allocated = unsafe { (driver.memory_allocate)(&mut device, length) };
        driver.check_memory("cuMemAlloc", length as u64, allocated)?;
        let host = pinned(context, length as u64).inspect_err(|_| {
            // SAFETY: allocated above, and used by no one.
            unsafe { (driver.memory_free)(device) };
        })?;
        Ok(Self { host, device, pairs })
    }

    fn free(self, driver: &Driver) {
        // SAFETY: allocated together; the driver waits for what touches them.
        unsafe {
            (driver.memory_free)(self.device);
            (driver.host_free)(self.host);
        }
    }
}

/// Puts the copies of the blocks into a stream; all tables are the device's. Inside [`Context::enter`].
///
/// # Safety
/// As [`Stream::copy_blocks`](pmd_core::accelerator::Stream::copy_blocks).
pub(crate) unsafe fn copy(
    context: &Arc<Context>,
    stream: Handle,
    blocks: &BlockCopies<'_>,
) -> Result<(), AcceleratorError> {
    check(blocks)?;
    for pairs in blocks.pairs.chunks(MOST) {
        // SAFETY: passed on; the addresses were checked.
        unsafe { launch(context, stream, &BlockCopies { pairs, ..*blocks }) }?;
    }
    Ok(())
}

/// Whether all addresses are below 2^64: that of the largest number in each table.
fn check(blocks: &BlockCopies<'_>) -> Result<(), AcceleratorError> {
    let largest = blocks.pairs.iter().fold(BlockPair { from: 0, to: 0 }, |largest, pair| BlockPair {
        from: largest.from.max(pair.from),
        to: largest.to.max(pair.to),
    });
    blocks.copy_of(largest).map(drop)
}

/// # Safety
/// As [`copy`], for addresses that were checked.
unsafe fn launch(
    context: &Arc<Context>,
    stream: Handle,
    blocks: &BlockCopies<'_>,
) -> Result<(), AcceleratorError> {
    let mut copier = lock(&context.blocks);
    let staging = copier.take(context, blocks.pairs.len())?;
    let Some(Ok(kernel)) = &copier.kernel else {
        copier.idle.push(staging);
        return Err(AcceleratorError::Unsupported {
            kind: AcceleratorKind::Cuda,
            what: "copy blocks by a kernel",
            why: "its driver did not take the kernel",
        });
    };
    // SAFETY: passed on; the staging area is no one else's until the event behind the launch is done.
    let launched = unsafe { upload_and_launch(&context.driver, kernel, stream, &staging, blocks) };
    match context.record(stream) {
        Ok(event) => copier.busy.push((staging, event)),
        // A stream that takes no event does nothing more.
        Err(error) => {
            copier.idle.push(staging);
            return launched.and(Err(error));
        }
    }
    launched
}

/// # Safety
/// As [`copy`]; nothing touches the staging area before the stream has passed the launch.
unsafe fn upload_and_launch(
    driver: &Driver,
    kernel: &Kernel,
    stream: Handle,
    staging: &Staging,
    blocks: &BlockCopies<'_>,
) -> Result<(), AcceleratorError> {
    let count = blocks.pairs.len();
    // SAFETY: the area has room for so many pairs, and no one else looks at it.
    unsafe { ptr::copy_nonoverlapping(blocks.pairs.as_ptr(), staging.host as *mut BlockPair, count) };
    let bytes = size_of_val(blocks.pairs);
    // SAFETY: both halves of the area have room for the pairs.
    let uploaded = unsafe { (driver.copy)(staging.device, staging.host, bytes, stream) };
    driver.check("cuMemcpyAsync", uploaded)?;
    let width = width(blocks);
    let units = blocks.block_bytes / width;
    let parts = units.div_ceil(u64::from(THREADS) * UNROLLED).clamp(1, PARTS) as u32;
    let numbers =
        [blocks.from.base, blocks.from.stride, blocks.to.base, blocks.to.stride, units, staging.device];
    let parameters: [*const c_void; 6] = core::array::from_fn(|at| (&raw const numbers[at]).cast());
    let function = kernel.function(width);
    // SAFETY: the function takes six 64-bit numbers, which the driver reads before it returns; the caller promises that
    // the blocks are there until the stream has passed the launch.
    let launched = unsafe {
        (driver.launch)(
            function,
            count as u32,
            parts,
            1,
            THREADS,
            1,
            1,
            0,
            stream,
            parameters.as_ptr(),
            ptr::null(),
        )
    };
    driver.check("cuLaunchKernel", launched)
}

/// Bytes of the widest word at which everything is aligned.
fn width(blocks: &BlockCopies<'_>) -> u64 {
    let BlockCopies { from, to, block_bytes, .. } = blocks;
    let all = from.base | from.stride | to.base | to.stride | block_bytes;
    let widest = 1_u64 << all.trailing_zeros().min(4);
    if widest == 2 { 1 } else { widest }
}
