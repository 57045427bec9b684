//! Bytes between the host and tensors, whatever memory those lie in: by the processor, or by a stream of the memory's
//! accelerator through pinned memory.
//!
//! Called by who must see bytes of device memory or put some there: commands that verify, the simple API, bindings. Push-pulls
//! themselves never pass through here.
#![allow(unsafe_code)] // has streams copy between plain addresses

use std::{sync::Arc, time::Instant};

use pmd_core::accelerator::{Accelerator, AcceleratorError, CopyDirection, CopyRange, DeviceMemory, Stream};
use pmd_host::accelerator::wait_for;

use super::{CopyError, Tensor, TensorError};

/// The smallest piece of pinned memory; larger ones are powers of two.
const SMALLEST: u64 = 64 << 10;

/// Copies between the host and tensors, one at a time. For tensors in host memory it is the processor that copies; of each
/// accelerator that is met it keeps a stream and a piece of pinned memory as large as the largest copy.
#[derive(Debug, Default)]
pub struct Stager {
    stages: Vec<Stage>,
}

/// What copies to and from one device.
#[derive(Debug)]
struct Stage {
    accelerator: Arc<dyn Accelerator>,
    // Dropped before the pinned memory: what is in it still happens.
    stream: Arc<dyn Stream>,
    pinned: Option<Box<dyn DeviceMemory>>,
    /// Memory of copies that were not done in time; freed at the end, which waits for them.
    late: Vec<Box<dyn DeviceMemory>>,
}

impl Stager {
    /// One that has met no accelerator.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies bytes into a tensor, from its first on, and waits until they are there.
    ///
    /// # Errors
    /// [`CopyError`]. Unless it is the timeout, nothing is written any more.
    ///
    /// # Safety
    /// Nothing else reads or writes the tensor meanwhile: no request in flight, no kernel, no other thread.
    pub unsafe fn upload(
        &mut self,
        tensor: &Tensor,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), CopyError> {
        let Some(accelerator) = tensor.memory().accelerator() else {
            check_host(tensor)?;
            // SAFETY: memory of the host; the caller promises that it is quiet.
            return Ok(unsafe { tensor.write(bytes) }?);
        };
        let length = bytes.len() as u64;
        if length > u64::from(tensor.bytes()) {
            let room = u64::from(tensor.bytes());
            return Err(TensorError::OutOfBounds { offset: 0, bytes: length, room }.into());
        }
        if length == 0 {
            return Ok(());
        }
        let stage = self.stage(accelerator)?;
        let from = stage.pinned(length)?;
        // SAFETY: pinned memory of so many bytes, which no copy touches: those before have been waited for.
        unsafe { (from as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
        let direction = CopyDirection::HostToDevice;
        // SAFETY: the tensor is registered device memory, which the caller keeps quiet; the pinned memory is kept until
        // the copy is done.
        unsafe { stage.copy(CopyRange { from, to: tensor.address(), length, direction }, deadline) }
    }

    /// Copies the bytes of a tensor out.
    ///
    /// # Errors
    /// [`CopyError`].
    ///
    /// # Safety
    /// Nothing writes the tensor meanwhile: no request in flight that pulls into it, no kernel, no other thread.
    pub unsafe fn download(
        &mut self,
        tensor: &Tensor,
        deadline: Option<Instant>,
    ) -> Result<Vec<u8>, CopyError> {
        let Some(accelerator) = tensor.memory().accelerator() else {
            check_host(tensor)?;
            // SAFETY: memory of the host; the caller promises that it is quiet.
            return Ok(unsafe { tensor.read() });
        };
        let length = u64::from(tensor.bytes());
        if length == 0 {
            return Ok(Vec::new());
        }
        let stage = self.stage(accelerator)?;
        let to = stage.pinned(length)?;
        let direction = CopyDirection::DeviceToHost;
        // SAFETY: as in `upload`.
        unsafe { stage.copy(CopyRange { from: tensor.address(), to, length, direction }, deadline)? };
        let mut bytes = vec![0; length as usize];
        // SAFETY: pinned memory of so many bytes, and the copy into it is done.
        unsafe { (to as *const u8).copy_to(bytes.as_mut_ptr(), bytes.len()) };
        Ok(bytes)
    }

    fn stage(&mut self, accelerator: Arc<dyn Accelerator>) -> Result<&mut Stage, AcceleratorError> {
        let wanted = accelerator.identity();
        let is_it = |stage: &Stage| {
            let found = stage.accelerator.identity();
            (found.kind, found.unique) == (wanted.kind, wanted.unique)
        };
        let at = match self.stages.iter().position(is_it) {
            Some(at) => at,
            None => {
                let stream = accelerator.open_stream()?;
                self.stages.push(Stage { accelerator, stream, pinned: None, late: Vec::new() });
                self.stages.len() - 1
            }
        };
        Ok(&mut self.stages[at])
    }
}

impl Stage {
    /// The address of pinned memory of at least so many bytes, which no copy touches.
    fn pinned(&mut self, length: u64) -> Result<u64, AcceleratorError> {
        let memory = match self.pinned.take() {
            Some(memory) if memory.description().length >= length => memory,
            _ => self.accelerator.allocate_pinned(length.next_power_of_two().max(SMALLEST))?,
        };
        Ok(self.pinned.insert(memory).description().address)
    }

    /// Copies, and waits for it.
    ///
    /// # Safety
    /// The device's side is allocated, and nobody else uses it; the other is this stage's pinned memory.
    unsafe fn copy(&mut self, range: CopyRange, deadline: Option<Instant>) -> Result<(), CopyError> {
        // SAFETY: the caller's promise.
        let copied = unsafe { self.stream.copy(&[range]) }.and_then(|()| self.stream.record());
        match copied.and_then(|event| wait_for(&*event, deadline)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.late.extend(self.pinned.take());
                Err(CopyError::Timeout)
            }
            Err(error) => {
                // A stream that failed takes nothing more; the next copy has a new one.
                self.late.extend(self.pinned.take());
                if let Ok(stream) = self.accelerator.open_stream() {
                    self.stream = stream;
                }
                Err(error.into())
            }
        }
    }
}

/// Memory that was registered as a device's, without its accelerator, is nobody's to copy.
fn check_host(tensor: &Tensor) -> Result<(), CopyError> {
    tensor.memory().is_host().then_some(()).ok_or(CopyError::NoAccelerator)
}
