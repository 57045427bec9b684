//! A NIC behind the verbs or the mlx5 back end: silicon, soft-RoCE, or the simulated ConnectX.
#![allow(unsafe_code)] // registers memory

use std::sync::Arc;

use pmd_core::memory::Access;
use pmd_host::{
    backend::{ConnectOptions, Transport},
    endpoint::{EndpointConfig, TransportChoice},
    mlx5::Mlx5Backend,
    nic::{self, NicBackendOptions, NicOptions},
    verbs::VerbsBackend,
};

use super::{Ability, Bed, BedError, Device, Place, soft};
use crate::{
    any::AnyBackend,
    memory::{Heap, Memory},
};

/// Who writes the NIC's queue entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// libibverbs' provider.
    Verbs,
    /// This driver.
    Mlx5,
}

impl Driver {
    /// Name of its bed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verbs => "verbs",
            Self::Mlx5 => "mlx5",
        }
    }
}

/// Queue pairs between two NICs, or of one NIC to itself.
#[derive(Clone, Debug)]
pub struct NicBed {
    driver: Driver,
    devices: [String; 2],
    is_mlx5: bool,
    retry_count: Option<u8>,
}

impl NicBed {
    /// A bed on the device `left` and, where there is one, `right`.
    ///
    /// # Errors
    /// [`BedError`] when a device cannot be used.
    pub fn open(driver: Driver, left: &str, right: Option<&str>) -> Result<Self, BedError> {
        let devices = [left, right.unwrap_or(left)].map(str::to_owned);
        let mut all_mlx5 = true;
        for device in &devices {
            let is_mlx5 =
                open(device).map_err(|source| BedError::Open { device: device.clone(), source })?.is_mlx5();
            if driver == Driver::Mlx5 && !is_mlx5 {
                return Err(BedError::NotMlx5 { device: device.clone() });
            }
            all_mlx5 &= is_mlx5;
        }
        Ok(Self { driver, devices, is_mlx5: all_mlx5, retry_count: None })
    }

    /// Sets how often a lost packet is sent again. Soft-RoCE counts the losses of a whole message: a long one on a bad
    /// link needs 7, which it takes for any number.
    #[must_use]
    pub fn with_retry_count(self, retry_count: Option<u8>) -> Self {
        Self { retry_count, ..self }
    }
}

impl Bed for NicBed {
    fn name(&self) -> &str {
        self.driver.name()
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match (ability, self.driver) {
            (Ability::Nop, Driver::Verbs) => Some("verbs has no such request"),
            (Ability::ExactErrors, _) if !self.is_mlx5 => {
                Some("software RoCE reports other codes than the specification")
            }
            (Ability::RefusalFailsPeer, _) if !self.is_mlx5 => {
                Some("software RoCE leaves the peer's queue pair as it is in some cases")
            }
            (Ability::DeviceMemory, _) => Some("no accelerator here has memory that this NIC reaches"),
            _ => None,
        }
    }

    fn endpoint(&self, place: Place) -> Option<EndpointConfig> {
        let transport = TransportChoice::Only(match self.driver {
            Driver::Verbs => Transport::Verbs,
            Driver::Mlx5 => Transport::Mlx5,
        });
        let nic = options(&self.devices[place as usize]);
        Some(EndpointConfig { transport, nic, ..EndpointConfig::default() })
    }

    fn part(&self) -> Option<String> {
        Some(format!("{} {} {}", self.driver.name(), self.devices[0], self.devices[1]))
    }

    fn device(&self, place: Place) -> Arc<dyn Device> {
        let name = &self.devices[place as usize];
        let opened = || open(name).unwrap_or_else(|error| panic!("opening {name} again: {error}"));
        Arc::new(NicDevice { device: opened(), foreign: opened(), driver: self.driver })
    }

    fn options(&self) -> ConnectOptions {
        let usual = super::usual_options();
        ConnectOptions { retry_count: self.retry_count.unwrap_or(usual.retry_count), ..usual }
    }
}

fn open(name: &str) -> Result<nic::Device, nic::OpenError> {
    nic::Device::open(&options(name))
}

fn options(name: &str) -> NicOptions {
    NicOptions { device: Some(name.to_owned()), ..NicOptions::default() }
}

struct NicDevice {
    device: nic::Device,
    /// The same NIC in another protection domain.
    foreign: nic::Device,
    driver: Driver,
}

impl Device for NicDevice {
    fn backend(&self, completions: u32) -> AnyBackend {
        let options = NicBackendOptions { completions };
        let device = self.device.clone();
        match self.driver {
            Driver::Verbs => AnyBackend::new(VerbsBackend::new(device, &options).expect("a verbs back end")),
            Driver::Mlx5 => AnyBackend::new(Mlx5Backend::new(device, &options).expect("an mlx5 back end")),
        }
    }

    fn memory(&self, length: usize, access: Access) -> Memory {
        register(&self.device, length, access)
    }

    fn foreign_memory(&self, length: usize, access: Access) -> Memory {
        register(&self.foreign, length, access)
    }
}

fn register(device: &nic::Device, length: usize, access: Access) -> Memory {
    let heap = Heap::new(length);
    let base = heap.base();
    // SAFETY: the heap memory lives as long as `Memory`, which deregisters first.
    let region = unsafe { device.register(base.addr().get() as u64, length as u64, access) };
    let region = region.unwrap_or_else(|error| panic!("registering {length} bytes: {error}"));
    // SAFETY: as above; the heap memory is reached by pointer only.
    unsafe { soft::with(base, length, region, Box::new(heap)) }
}
