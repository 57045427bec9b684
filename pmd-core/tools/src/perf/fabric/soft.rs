//! The soft HCA.
#![allow(unsafe_code)] // registers memory

use pmd_core::memory::Access;
use pmd_host::soft::{ArenaOptions, Device, DeviceConfig, ProtectionDomain, SoftBackend, TcpConfig, Tuning};

use super::{Fabric, Task};
use crate::{
    memory::{Memory, Owner},
    perf::{error::PerfError, plan::MemoryChoice},
};

/// Opens a soft HCA and runs `task` over it.
pub(super) fn run<T: Task>(task: T) -> Result<T::Output, PerfError> {
    let device = Device::open(DeviceConfig::default())?;
    let backend = SoftBackend::new(&device, ProtectionDomain::default(), Tuning::default())?;
    task.run(backend, &device)
}

/// The same, over TCP.
pub(super) fn run_over_tcp<T: Task>(task: T) -> Result<T::Output, PerfError> {
    let config = DeviceConfig { tcp: Some(TcpConfig::default()), ..DeviceConfig::default() };
    let device = Device::open(config)?;
    let backend = SoftBackend::over_tcp(&device, ProtectionDomain::default(), Tuning::default())?;
    task.run(backend, &device)
}

impl Fabric for Device {
    fn memory(&self, length: u64, choice: MemoryChoice) -> Result<Memory, PerfError> {
        let mut owner = match choice {
            MemoryChoice::Arena => {
                let options = ArenaOptions { prefault: true, ..ArenaOptions::default() };
                Owner::Arena(self.allocate(length as usize, options)?)
            }
            MemoryChoice::Heap => Owner::heap(length),
        };
        let (address, domain) = (owner.base().addr() as u64, ProtectionDomain::default());
        // SAFETY: `Memory` keeps the owner for as long as the region and reaches its bytes by pointer only.
        let region = unsafe { self.register(address, length, Access::READ_WRITE, domain) }?;
        Ok(Memory::new(region, owner))
    }

    fn device(&self) -> String {
        "soft HCA".to_owned()
    }
}
