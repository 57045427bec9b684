//! The runtime's own copies, called as a program would that does not know this driver. CUDA's and HIP's.
#![allow(unsafe_code)] // calls functions of a library

use std::ffi::{c_int, c_uint};

use libloading::Library;
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, CopyRange, Stream};

use crate::{bench::Name, context::Context, selected::Selected};

/// To, from, bytes, stream.
type CudaCopy = unsafe extern "C" fn(u64, u64, usize, usize) -> c_uint;
/// To, from, sizes, count, attributes, first of each, attributes' count, which failed, stream.
type CudaBatch = unsafe extern "C" fn(
    *const u64,
    *const u64,
    *const usize,
    usize,
    *const [u32; 14],
    *const usize,
    usize,
    *mut usize,
    usize,
) -> c_uint;
/// To, from, bytes, kind, stream.
type HipCopy = unsafe extern "C" fn(u64, u64, usize, c_int, usize) -> c_uint;

/// Functions of the runtime; none where it is another.
#[derive(Default)]
pub(super) struct Baseline {
    cuda: Option<CudaCopy>,
    batch: Option<CudaBatch>,
    hip: Option<HipCopy>,
    kind: Option<AcceleratorKind>,
}

impl Baseline {
    /// Of the runtime that an accelerator runs on; its device becomes the thread's.
    pub(super) fn of(context: &Context) -> Self {
        let (Name::Cuda | Name::CudaMapped | Name::Rocm) = context.name else { return Self::default() };
        let identity = context.accelerator.identity();
        if let Some(selected) = Selected::of(context.name) {
            selected.set(identity.ordinal.cast_signed());
        }
        // SAFETY: the library is loaded already, by the accelerator's crate.
        let library = context.name.libraries().iter().find_map(|name| unsafe { Library::new(name) }.ok());
        let Some(library) = library else { return Self::default() };
        let kind = Some(identity.kind);
        // SAFETY: the functions' prototypes; what the accelerator's crate has loaded stays.
        unsafe {
            let batch = library.get::<CudaBatch>(b"cuMemcpyBatchAsync").ok().map(|found| *found);
            let cuda = library.get::<CudaCopy>(b"cuMemcpyAsync").ok().map(|found| *found);
            let hip = library.get::<HipCopy>(b"hipMemcpyAsync").ok().map(|found| *found);
            Self { cuda, batch, hip, kind }
        }
    }

    pub(super) fn has_copy(&self) -> bool {
        self.cuda.is_some() || self.hip.is_some()
    }

    pub(super) fn has_batch(&self) -> bool {
        self.batch.is_some()
    }

    /// One copy within the device.
    ///
    /// # Safety
    /// As [`Stream::copy`].
    pub(super) unsafe fn copy(&self, stream: &dyn Stream, range: CopyRange) -> Result<(), AcceleratorError> {
        /// `hipMemcpyDeviceToDevice`.
        const WITHIN: c_int = 3;
        let CopyRange { from, to, length, .. } = range;
        let (length, stream) = (length as usize, stream.native() as usize);
        if let Some(copy) = self.cuda {
            // SAFETY: the caller's promise.
            return self.check("cuMemcpyAsync", unsafe { copy(to, from, length, stream) });
        }
        let Some(copy) = self.hip else { return Ok(()) };
        // SAFETY: the caller's promise.
        let copied = unsafe { copy(to, from, length, WITHIN, stream) };
        self.check("hipMemcpyAsync", copied)
    }

    /// All copies by one call.
    ///
    /// # Safety
    /// As [`Stream::copy`].
    pub(super) unsafe fn batch(
        &self,
        stream: &dyn Stream,
        ranges: &[CopyRange],
    ) -> Result<(), AcceleratorError> {
        let Some(batch) = self.batch else { return Ok(()) };
        let to: Vec<u64> = ranges.iter().map(|range| range.to).collect();
        let from: Vec<u64> = ranges.iter().map(|range| range.from).collect();
        let sizes: Vec<usize> = ranges.iter().map(|range| range.length as usize).collect();
        // CU_MEMCPY_SRC_ACCESS_ORDER_STREAM; no hints where the memory is.
        let mut attributes = [0_u32; 14];
        attributes[0] = 1;
        let (first, mut failed) = (0, 0);
        let (count, stream) = (ranges.len(), stream.native() as usize);
        // SAFETY: lists of so many entries, one set of attributes; the rest is the caller's promise.
        let code = unsafe {
            batch(
                to.as_ptr(),
                from.as_ptr(),
                sizes.as_ptr(),
                count,
                &attributes,
                &first,
                1,
                &mut failed,
                stream,
            )
        };
        self.check("cuMemcpyBatchAsync", code)
    }

    fn check(&self, function: &'static str, code: c_uint) -> Result<(), AcceleratorError> {
        let kind = self.kind.unwrap_or(AcceleratorKind::Cuda);
        match code {
            0 => Ok(()),
            code => Err(AcceleratorError::Runtime {
                kind,
                function,
                code: code.into(),
                name: "a code".to_owned(),
            }),
        }
    }
}
