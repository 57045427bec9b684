//! Tensors of this process, in memory of the host or of a device: allocated, filled and looked at between requests.
#![allow(unsafe_code)] // borrows and copies memory that requests read and write

use std::{borrow::Cow, slice, sync::Arc, time::Instant};

use af_api::tensor::{Layout, Memory, Stager, Tensor};
use pmd_accelerators::DeviceName;
use pmd_core::accelerator::{Accelerator, CopyDirection, CopyRange, Stream};
use pmd_host::{accelerator::wait_for, endpoint::Endpoint, soft::ArenaOptions};

use crate::{Outcome, failure::Failure, options::PATIENCE};

/// Where the tensors of this process are.
#[derive(Debug, Default)]
pub(crate) struct Room {
    device: Option<Device>,
    stager: Stager,
}

/// An accelerator, and the stream that the command's work is in.
#[derive(Debug)]
struct Device {
    accelerator: Arc<dyn Accelerator>,
    stream: Arc<dyn Stream>,
}

impl Room {
    /// On that device; without one, in memory of the host.
    pub(crate) fn open(device: Option<DeviceName>) -> Result<Self, Failure> {
        let Some(name) = device else { return Ok(Self::default()) };
        let accelerator = pmd_accelerators::open(name)?;
        let stream = accelerator.open_stream()?;
        Ok(Self { device: Some(Device { accelerator, stream }), stager: Stager::new() })
    }

    /// The device's accelerator.
    pub(crate) fn accelerator(&self) -> Option<Arc<dyn Accelerator>> {
        self.device.as_ref().map(|device| Arc::clone(&device.accelerator))
    }

    /// The stream in whose turn push-pulls are; none in memory of the host.
    pub(crate) fn stream(&self) -> Option<&dyn Stream> {
        self.device.as_ref().map(|device| &*device.stream)
    }

    /// A new tensor.
    pub(crate) fn tensor(&self, endpoint: &Endpoint, layout: Layout) -> Result<Tensor, Failure> {
        let bytes = layout.bytes().max(1);
        let memory = match &self.device {
            Some(device) => Memory::allocate_on(endpoint, &*device.accelerator, bytes.into())?,
            None => Memory::allocate(endpoint, bytes as usize, ArenaOptions::default())?,
        };
        Ok(Tensor::new(&memory, 0, layout)?)
    }

    /// The bytes of a tensor.
    ///
    /// # Safety
    /// No request writes the tensor while the result lives, and nothing else does.
    pub(crate) unsafe fn bytes<'a>(&mut self, tensor: &'a Tensor) -> Result<Cow<'a, [u8]>, Failure> {
        Ok(match self.device {
            // SAFETY: the caller's promise.
            Some(_) => Cow::Owned(unsafe { self.stager.download(tensor, soon())? }),
            // SAFETY: registered memory of this process, which the tensor keeps; the caller promises the rest.
            None => Cow::Borrowed(unsafe { slice::from_raw_parts(tensor.as_ptr(), tensor.bytes() as usize) }),
        })
    }

    /// The values of a tensor of 16-bit elements.
    ///
    /// # Safety
    /// As [`Room::bytes`]; the tensor is aligned to 2 bytes.
    pub(crate) unsafe fn values<'a>(&mut self, tensor: &'a Tensor) -> Result<Cow<'a, [u16]>, Failure> {
        if self.device.is_none() {
            let count = tensor.bytes() as usize / 2;
            // SAFETY: as in `bytes`; every pattern of bits is a number.
            return Ok(Cow::Borrowed(unsafe { slice::from_raw_parts(tensor.as_ptr().cast(), count) }));
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.bytes(tensor)? };
        let value = |pair: &[u8]| u16::from_ne_bytes([pair[0], pair[1]]);
        Ok(Cow::Owned(bytes.chunks_exact(2).map(value).collect()))
    }

    /// Has `fill` write all bytes of a tensor.
    ///
    /// # Safety
    /// No request reads or writes the tensor meanwhile, and there is no slice to it.
    pub(crate) unsafe fn fill(&mut self, tensor: &Tensor, fill: impl FnOnce(&mut [u8])) -> Outcome {
        let count = tensor.bytes() as usize;
        if self.device.is_none() {
            // SAFETY: registered memory of this process, which the tensor keeps; the caller promises the rest.
            fill(unsafe { slice::from_raw_parts_mut(tensor.as_ptr(), count) });
            return Ok(());
        }
        let mut bytes = vec![0; count];
        fill(&mut bytes);
        // SAFETY: the caller's promise.
        unsafe { self.stager.upload(tensor, &bytes, soon())? };
        Ok(())
    }

    /// Has `fill` write all values of a tensor of 16-bit elements.
    ///
    /// # Safety
    /// As [`Room::fill`]; the tensor is aligned to 2 bytes.
    pub(crate) unsafe fn fill_values(&mut self, tensor: &Tensor, fill: impl FnOnce(&mut [u16])) -> Outcome {
        let count = tensor.bytes() as usize / 2;
        if self.device.is_none() {
            // SAFETY: as in `fill`.
            fill(unsafe { slice::from_raw_parts_mut(tensor.as_ptr().cast(), count) });
            return Ok(());
        }
        let mut values = vec![0_u16; count];
        fill(&mut values);
        let bytes: Vec<u8> = values.into_iter().flat_map(u16::to_ne_bytes).collect();
        // SAFETY: the caller's promise.
        unsafe { self.stager.upload(tensor, &bytes, soon())? };
        Ok(())
    }

    /// Copies one tensor onto another of the same size within this process, and waits until it is there.
    ///
    /// # Safety
    /// No request reads or writes either meanwhile, they are different memory, and there is no slice to them.
    pub(crate) unsafe fn copy(&self, from: &Tensor, to: &Tensor) -> Outcome {
        let Some(Device { stream, .. }) = &self.device else {
            // SAFETY: registered memory of this process, which the tensors keep; the caller promises the rest.
            unsafe { from.as_ptr().copy_to_nonoverlapping(to.as_ptr(), from.bytes() as usize) };
            return Ok(());
        };
        let direction = CopyDirection::DeviceToDevice;
        let range =
            CopyRange { from: from.address(), to: to.address(), length: from.bytes().into(), direction };
        // SAFETY: memory of the device, which the tensors keep; the caller promises the rest.
        unsafe { stream.copy(&[range])? };
        let copied = wait_for(&*stream.record()?, soon())?;
        copied.then_some(()).ok_or(Failure::Copy(af_api::tensor::CopyError::Timeout))
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}
