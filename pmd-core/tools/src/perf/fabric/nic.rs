//! NICs: ConnectX through mlx5dv, any other through ibverbs.
#![allow(unsafe_code)] // registers memory

use pmd_core::memory::Access;
use pmd_host::{
    backend::Transport,
    mlx5::Mlx5Backend,
    nic::{BackendError, Device, NicBackendOptions, NicOptions, OpenError},
    verbs::VerbsBackend,
};
use pmd_sys::Mlx5;

use super::{Fabric, Task};
use crate::{
    memory::{Memory, Owner},
    perf::{error::PerfError, plan::MemoryChoice},
};

/// Opens the NIC and runs `task` over it.
pub(super) fn run<T: Task>(
    transport: Transport,
    name: Option<&String>,
    task: T,
) -> Result<T::Output, PerfError> {
    let device = open(name)?;
    let options = NicBackendOptions::default();
    match transport {
        Transport::Mlx5 => task.run(Mlx5Backend::new(device.clone(), &options)?, &device),
        _ => task.run(VerbsBackend::new(device.clone(), &options)?, &device),
    }
}

/// `transport`, if a NIC of this machine has it.
pub(super) fn check(transport: Transport, name: Option<&String>) -> Result<Transport, PerfError> {
    let device = open(name)?;
    if transport == Transport::Mlx5 && !device.is_mlx5() {
        return Err(BackendError::NotMlx5 { device: device.name().to_owned() }.into());
    }
    Ok(transport)
}

/// The best transport of this machine: shared memory where no NIC can be used and none was asked for by name.
pub(super) fn best(name: Option<&String>) -> Result<Transport, PerfError> {
    match open(name) {
        Ok(device) if device.is_mlx5() && Mlx5::load().is_ok() => Ok(Transport::Mlx5),
        Ok(_) => Ok(Transport::Verbs),
        Err(_) if name.is_none() => Ok(Transport::SharedMemory),
        Err(error) => Err(error.into()),
    }
}

fn open(name: Option<&String>) -> Result<Device, OpenError> {
    Device::open(&NicOptions { device: name.cloned(), ..NicOptions::default() })
}

impl Fabric for Device {
    /// A NIC pins memory of either kind alike.
    fn memory(&self, length: u64, _: MemoryChoice) -> Result<Memory, PerfError> {
        let mut owner = Owner::heap(length);
        let address = owner.base().addr() as u64;
        // SAFETY: `Memory` keeps the owner for as long as the region and reaches its bytes by pointer only.
        let region = unsafe { self.register(address, length, Access::READ_WRITE) }?;
        Ok(Memory::new(region, owner))
    }

    fn device(&self) -> String {
        self.name().to_owned()
    }
}
