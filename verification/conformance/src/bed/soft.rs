//! The soft HCA over shared memory, once for each way in which it reaches a peer's bytes.
#![allow(unsafe_code)] // registers memory

use std::{net::SocketAddr, ptr::NonNull, sync::Arc};

use pmd_core::{
    accelerator::{Accelerator, DeviceMemory},
    memory::Access,
};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions},
    backend::Transport,
    endpoint::{EndpointConfig, TransportChoice},
    region::Region,
    soft::{
        self, Accelerators, ArenaOptions, DeviceConfig, ProtectionDomain, SoftBackend, TcpConfig, Tuning,
    },
};

use super::{Ability, Bed, Device, Place};
use crate::{
    any::AnyBackend,
    memory::{Heap, Memory},
};

/// How bytes get from one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Copied straight: both devices are of this process.
    SameProcess,
    /// Through a mapping of the peer's arena.
    Arena,
    /// By the kernel.
    ProcessMemory,
    /// In packets, which the peer's engine takes when it is polled.
    Packets,
    /// By the streams of an accelerator, where its memory is on one of the sides.
    Accelerator,
    /// Over TCP.
    Tcp,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::SameProcess, Self::Arena, Self::ProcessMemory, Self::Packets, Self::Accelerator, Self::Tcp];

    /// What carries the bytes.
    #[must_use]
    pub const fn transport(self) -> Transport {
        if matches!(self, Self::Tcp) { Transport::Tcp } else { Transport::SharedMemory }
    }

    /// How a device is opened that takes this path only.
    #[must_use]
    pub fn config(self) -> DeviceConfig {
        DeviceConfig {
            same_process: self == Self::SameProcess,
            mapping: matches!(self, Self::Arena | Self::Accelerator),
            process_memory: matches!(self, Self::ProcessMemory | Self::Accelerator),
            tcp: (self == Self::Tcp).then(loopback),
            ..DeviceConfig::default()
        }
    }
}

/// The soft HCA on one path.
#[derive(Clone, Copy, Debug)]
pub struct SoftBed(pub Path);

impl Bed for SoftBed {
    fn name(&self) -> &str {
        match self.0 {
            Path::SameProcess => "soft-direct",
            Path::Arena => "soft-arena",
            Path::ProcessMemory => "soft-heap",
            Path::Packets => "soft-packets",
            Path::Accelerator => "soft-device",
            Path::Tcp => "soft-tcp",
        }
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match (ability, self.0) {
            (Ability::Processes, Path::SameProcess) => Some("this path is for devices of one process"),
            (Ability::DeviceMemory, path) if path != Path::Accelerator => {
                Some("this path is for memory of the host")
            }
            (Ability::Staging, _) => Some("this device is no NIC"),
            (Ability::MessageOrder, path) if !matches!(path, Path::Packets | Path::Tcp) => {
                Some("a direct write may overtake the payload of an earlier message")
            }
            _ => None,
        }
    }

    fn endpoint(&self, _: Place) -> Option<EndpointConfig> {
        let transport = TransportChoice::Only(self.0.transport());
        Some(EndpointConfig { transport, soft: self.0.config(), ..EndpointConfig::default() })
    }

    fn part(&self) -> Option<String> {
        Some(self.name().to_owned())
    }

    fn maps_memory(&self) -> bool {
        matches!(self.0, Path::Arena | Path::Accelerator)
    }

    fn device(&self, _: Place) -> Arc<dyn Device> {
        let mut config = self.0.config();
        let options = CpuOptions { shielded: true, ..CpuOptions::default() };
        let accelerator = (self.0 == Path::Accelerator).then(|| CpuAccelerator::new(options));
        if let Some(accelerator) = &accelerator {
            config.accelerators = Accelerators::new(vec![Arc::new(accelerator.clone())]);
        }
        let device = soft::Device::open(config).expect("opening a soft HCA");
        let domain = device.protection_domain();
        Arc::new(SoftDevice { device, path: self.0, domain, accelerator })
    }
}

struct SoftDevice {
    device: soft::Device,
    path: Path,
    domain: ProtectionDomain,
    accelerator: Option<CpuAccelerator>,
}

impl SoftDevice {
    fn register(&self, length: usize, access: Access, domain: ProtectionDomain) -> Memory {
        if matches!(self.path, Path::Arena | Path::Accelerator) {
            let arena = self.device.allocate(length.max(1), ArenaOptions::default()).expect("an arena");
            let base = NonNull::new(arena.as_ptr()).expect("an arena is not at address 0");
            // Registered as long as asked for, not as long as its pages.
            // SAFETY: the arena stays mapped while its handle lives, which the memory keeps.
            let region = unsafe { self.device.register(address(base), length as u64, access, domain) };
            // SAFETY: as above; the arena is reached by pointer only.
            return unsafe { with(base, length, region.expect("registering"), Box::new(arena)) };
        }
        let heap = Heap::new(length);
        let base = heap.base();
        // SAFETY: the heap memory lives as long as `Memory`, which deregisters first.
        let region = unsafe { self.device.register(address(base), length as u64, access, domain) };
        // SAFETY: as above.
        unsafe { with(base, length, region.expect("registering"), Box::new(heap)) }
    }
}

impl Device for SoftDevice {
    fn backend(&self, completions: u32) -> AnyBackend {
        let mut tuning = Tuning::default();
        tuning.completions = tuning.completions.max(completions);
        let backend = match self.path.transport() {
            Transport::Tcp => SoftBackend::over_tcp(&self.device, self.domain, tuning),
            _ => SoftBackend::new(&self.device, self.domain, tuning),
        };
        AnyBackend::new(backend.expect("a soft back end"))
    }

    fn memory(&self, length: usize, access: Access) -> Memory {
        self.register(length, access, self.domain)
    }

    fn device_memory(&self, length: usize, access: Access) -> Memory {
        let accelerator = self.accelerator.as_ref().expect("the bed of accelerators");
        let memory: Arc<dyn DeviceMemory> = accelerator.allocate(length as u64).expect("memory").into();
        let region = self.device.register_device(memory, access, self.domain).expect("registering");
        let base = NonNull::new(region.address() as *mut u8).expect("memory is not at address 0");
        let stream = accelerator.open_stream().expect("a stream");
        // SAFETY: the region keeps the memory, and bytes are reached by the stream only.
        unsafe { with(base, length, region, Box::new(())) }.behind(stream)
    }

    fn accelerator(&self) -> Option<&CpuAccelerator> {
        self.accelerator.as_ref()
    }

    fn foreign_memory(&self, length: usize, access: Access) -> Memory {
        self.register(length, access, self.device.protection_domain())
    }
}

/// Reached from this host only.
fn loopback() -> TcpConfig {
    let mut config = TcpConfig::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

fn address(base: NonNull<u8>) -> u64 {
    base.addr().get() as u64
}

/// Memory under the keys of a region.
///
/// # Safety
/// As [`Memory::new`].
pub(super) unsafe fn with(
    base: NonNull<u8>,
    length: usize,
    region: Region,
    backing: Box<dyn std::any::Any + Send + Sync>,
) -> Memory {
    let keys = (region.local_key(), region.remote_key());
    // SAFETY: the caller's promise.
    unsafe { Memory::new((base, length), keys, Box::new(region), backing) }
}
