//! A NIC behind the verbs or the mlx5 back end: silicon, soft-RoCE, or the simulated ConnectX.
#![allow(unsafe_code)] // registers memory

use std::{
    ptr::NonNull,
    sync::{Arc, OnceLock},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, DeviceMemory, ShareHandle},
    memory::{Access, RegionDescription, RegionSource},
};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions},
    backend::{ConnectOptions, Transport},
    endpoint::{EndpointConfig, TransportChoice},
    mlx5::Mlx5Backend,
    nic::{self, NicBackendOptions, NicOptions, StagedBackend},
    region::{Region, RegionPath},
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
            (Ability::DeviceMemory, _) => Some("peers are not let into memory that the NIC does not reach"),
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
        let (device, foreign, driver) = (opened(), opened(), self.driver);
        Arc::new(NicDevice { device, foreign, driver, accelerator: OnceLock::new() })
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
    accelerator: OnceLock<CpuAccelerator>,
}

impl Device for NicDevice {
    fn backend(&self, completions: u32) -> AnyBackend {
        let options = NicBackendOptions { completions };
        let device = self.device.clone();
        match self.driver {
            // As the lanes of endpoints have them.
            Driver::Verbs => {
                let backend = VerbsBackend::new(device, &options).expect("a verbs back end");
                AnyBackend::new(StagedBackend::on(&self.device, backend))
            }
            Driver::Mlx5 => {
                let backend = Mlx5Backend::new(device, &options).expect("an mlx5 back end");
                AnyBackend::new(StagedBackend::on(&self.device, backend))
            }
        }
    }

    fn memory(&self, length: usize, access: Access) -> Memory {
        register(&self.device, length, access)
    }

    fn staged_memory(&self, length: usize) -> Memory {
        let accelerator = self.cpu();
        let memory: Arc<dyn DeviceMemory> = accelerator.allocate(length as u64).expect("memory").into();
        let refused = self.device.register_device(memory.clone(), Access::READ_WRITE);
        let refused = refused.expect_err("peers are not let in");
        assert!(
            matches!(&refused, nic::RegisterError::Unreachable { refusals, .. } if refusals.len() == 2),
            "{refused}"
        );
        let region = self.device.register_device(memory, Access::LOCAL_WRITE).expect("staging");
        let ways: Vec<RegionPath> = region.refusals().iter().map(|refusal| refusal.path).collect();
        assert_eq!(
            (region.path(), &ways[..]),
            (RegionPath::Staged, &[RegionPath::DmaBuf, RegionPath::PeerMemory][..])
        );
        behind(accelerator, length, region)
    }

    fn direct_memory(&self, length: usize, access: Access) -> Memory {
        // Without a shield: the kernel finds pages at the address, as it does with a peer memory module.
        let open = CpuAccelerator::new(CpuOptions {
            ordinal: self.cpu().identity().ordinal,
            ..CpuOptions::default()
        });
        let memory: Arc<dyn DeviceMemory> = Arc::new(Borrowed {
            memory: open.allocate(length as u64).expect("memory"),
            of: self.cpu().clone(),
        });
        let region = self.device.register_device(memory, access).expect("registering");
        assert_eq!((region.path(), region.refusals().len()), (RegionPath::PeerMemory, 1));
        behind(&open, length, region)
    }

    fn accelerator(&self) -> Option<&CpuAccelerator> {
        Some(self.cpu())
    }

    fn foreign_memory(&self, length: usize, access: Access) -> Memory {
        register(&self.foreign, length, access)
    }
}

impl NicDevice {
    fn cpu(&self) -> &CpuAccelerator {
        let options = CpuOptions { shielded: true, ..CpuOptions::default() };
        self.accelerator.get_or_init(|| CpuAccelerator::new(options))
    }
}

/// Memory of one accelerator that says that it is another's, whose flushes are counted.
#[derive(Debug)]
struct Borrowed {
    memory: Box<dyn DeviceMemory>,
    of: CpuAccelerator,
}

// SAFETY: the memory's own description, which stays as long as the value.
unsafe impl RegionSource for Borrowed {
    fn description(&self) -> RegionDescription {
        self.memory.description()
    }
}

impl DeviceMemory for Borrowed {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        Arc::new(self.of.clone())
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        self.memory.share()
    }
}

/// Memory that only streams of its accelerator touch, under the keys of a region that keeps it.
fn behind(accelerator: &CpuAccelerator, length: usize, region: Region) -> Memory {
    let base = NonNull::new(region.address() as *mut u8).expect("memory is not at address 0");
    let stream = accelerator.open_stream().expect("a stream");
    // SAFETY: the region keeps the memory, and bytes are reached by the stream only.
    unsafe { soft::with(base, length, region, Box::new(())) }.behind(stream)
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
