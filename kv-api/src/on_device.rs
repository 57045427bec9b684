//! A device for tests: ordinary memory that only streams touch, and two engines that take each other for other processes.
//! Whoever touches its memory directly ends the test with a signal.
#![allow(unsafe_code)] // does what kernels would

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::{Accelerator, DeviceMemory};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions},
    endpoint::EndpointConfig,
    soft::{Accelerators, DeviceConfig},
};

/// Longest wait for what is going to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The device. Clones are the same.
#[derive(Clone)]
pub(crate) struct TestDevice(pub(crate) CpuAccelerator);

impl TestDevice {
    /// Bytes that it has room for.
    pub(crate) const CAPACITY: u64 = 64 << 20;

    pub(crate) fn new() -> Self {
        Self::numbered(0)
    }

    pub(crate) fn numbered(ordinal: u32) -> Self {
        Self(CpuAccelerator::new(CpuOptions { ordinal, shielded: true, capacity: Self::CAPACITY }))
    }

    /// Waits until nothing is allocated: engines that share memory give it back when the last one has closed it.
    pub(crate) fn nothing_is_left(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.allocations() > 0 {
            assert!(Instant::now() < deadline, "{} allocations are left", self.0.allocations());
            thread::yield_now();
        }
    }

    /// The configuration of an engine that drives it.
    pub(crate) fn driven(&self, config: EndpointConfig) -> EndpointConfig {
        driven([self], config)
    }

    /// Memory with these bytes.
    pub(crate) fn memory(&self, bytes: &[u8]) -> Box<dyn DeviceMemory> {
        let memory = self.0.allocate(bytes.len() as u64).expect("allocated");
        self.write(memory.description().address, bytes);
        memory
    }

    /// What a kernel would write.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        let place = self.0.kernel_pointer(address, bytes.len() as u64).expect("memory of the device");
        // SAFETY: the device has so many bytes there, and no transfer is under way.
        unsafe { place.copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// What a kernel would read.
    pub(crate) fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let place = self.0.kernel_pointer(address, length as u64).expect("memory of the device");
        let mut bytes = vec![0; length];
        // SAFETY: as above.
        unsafe { place.copy_to(bytes.as_mut_ptr(), length) };
        bytes
    }
}

/// The configuration of an engine that drives these.
pub(crate) fn driven<'a>(
    devices: impl IntoIterator<Item = &'a TestDevice>,
    config: EndpointConfig,
) -> EndpointConfig {
    let accelerator = |device: &TestDevice| Arc::new(device.0.clone()) as Arc<dyn Accelerator>;
    let accelerators = Accelerators::new(devices.into_iter().map(accelerator).collect());
    EndpointConfig { soft: DeviceConfig { accelerators, same_process: false, ..config.soft }, ..config }
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8 ^ seed).collect()
}

/// First byte of memory.
pub(crate) fn address(memory: &dyn DeviceMemory) -> u64 {
    memory.description().address
}
