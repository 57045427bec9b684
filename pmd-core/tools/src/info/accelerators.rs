//! Accelerators, as their crates' probes tell.

use pmd_core::accelerator::PciAddress;
use serde::Serialize;

/// One kind of accelerator.
#[derive(Debug, Serialize)]
pub(super) struct Accelerator {
    /// `cuda`, `rocm` or `ascend`.
    pub(super) kind: &'static str,
    #[serde(skip)]
    pub(super) library: &'static str,
    #[serde(skip)]
    pub(super) library_found: bool,
    #[serde(skip)]
    pub(super) package: &'static str,
    /// Of the driver or runtime, where it says so.
    pub(super) version: Option<String>,
    /// One line each.
    pub(super) devices: Vec<String>,
    /// Where each is plugged in, by its number.
    #[serde(skip)]
    pub(super) places: Vec<Option<PciAddress>>,
    /// Why there are no devices.
    pub(super) missing: Option<String>,
}

/// Asks all of them.
pub(super) fn probe() -> Vec<Accelerator> {
    vec![cuda(), rocm(), ascend()]
}

fn cuda() -> Accelerator {
    let absent = |error: &gpu_direct::Unavailable| matches!(error, gpu_direct::Unavailable::Absent { .. });
    let found = gpu_direct::probe();
    let mut accelerator = Accelerator::new("cuda", "libcuda.so.1", "NVIDIA driver", &found, absent);
    if let Ok(runtime) = found {
        accelerator.version = Some(runtime.driver_version.to_string());
        accelerator.devices = runtime.devices.iter().map(gpu).collect();
        accelerator.places = runtime.devices.iter().map(|device| device.pci).collect();
    }
    accelerator
}

fn gpu(device: &gpu_direct::Device) -> String {
    format!("{}: {}, {} MiB", device.ordinal, device.name, device.memory_bytes >> 20)
}

fn rocm() -> Accelerator {
    let absent = |error: &accel_rocm::Unavailable| matches!(error, accel_rocm::Unavailable::Absent { .. });
    let found = accel_rocm::probe();
    let mut accelerator = Accelerator::new("rocm", "libamdhip64.so", "ROCm's HIP runtime", &found, absent);
    if let Ok(runtime) = found {
        accelerator.version = Some(runtime.version.to_string());
        let line = |device: &accel_rocm::Device| {
            format!("{}: {}, {} MiB", device.ordinal, device.name, device.memory_bytes >> 20)
        };
        accelerator.devices = runtime.devices.iter().map(line).collect();
        accelerator.places = runtime.devices.iter().map(|device| device.pci).collect();
    }
    accelerator
}

fn ascend() -> Accelerator {
    let absent =
        |error: &accel_ascend::Unavailable| matches!(error, accel_ascend::Unavailable::Absent { .. });
    let found = accel_ascend::probe();
    let mut accelerator = Accelerator::new("ascend", "libascendcl.so", "CANN", &found, absent);
    if let Ok(runtime) = found {
        accelerator.devices = (0..runtime.device_count).map(|ordinal| ordinal.to_string()).collect();
        accelerator.places = runtime.pci;
    }
    accelerator
}

impl Accelerator {
    fn new<T, E: std::error::Error>(
        kind: &'static str,
        library: &'static str,
        package: &'static str,
        found: &Result<T, E>,
        absent: impl Fn(&E) -> bool,
    ) -> Self {
        let error = found.as_ref().err();
        Self {
            kind,
            library,
            library_found: !error.is_some_and(absent),
            package,
            version: None,
            devices: Vec::new(),
            places: Vec::new(),
            missing: error.map(ToString::to_string),
        }
    }

    /// Where each device is whose place the runtime tells, and its name: `cuda:0`.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (PciAddress, String)> {
        self.named().filter_map(|(place, name)| Some((place?, name)))
    }

    /// The names of the others.
    pub(super) fn without_address(&self) -> impl Iterator<Item = String> {
        self.named().filter(|(place, _)| place.is_none()).map(|(_, name)| name)
    }

    fn named(&self) -> impl Iterator<Item = (Option<PciAddress>, String)> {
        let kind = self.kind;
        self.places.iter().enumerate().map(move |(ordinal, place)| (*place, format!("{kind}:{ordinal}")))
    }
}
