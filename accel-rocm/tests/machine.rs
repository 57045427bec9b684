//! What this machine has: a runtime with devices, one without, or none. Everything that needs a device is tested on the
//! stand-in, in `verification/fake-rocm`.

use accel_rocm::{RocmAccelerator, Unavailable, probe};
use hip_sys::Runtime;
use pmd_core::accelerator::Accelerator;

#[test]
fn there_are_devices_or_a_typed_reason() {
    match (probe(), RocmAccelerator::open(0)) {
        (Ok(runtime), Ok(device)) => {
            assert!(runtime.version.major >= 5, "{runtime:?}");
            assert_eq!(runtime.devices[0].name, device.identity().name);
        }
        (Err(Unavailable::Absent { library }), Err(error)) => {
            assert_eq!(library, "libamdhip64.so");
            assert!(Runtime::load().is_err(), "the library loads, and probe did not find it");
            assert_eq!(error, Unavailable::Absent { library });
        }
        (Err(probed), Err(opened)) => {
            assert!(Runtime::load().is_ok(), "{probed}");
            assert_eq!(probed, opened);
        }
        differing => panic!("{differing:?}"),
    }
}

/// Debian's runtime, on a machine without an AMD GPU, is there and has no device.
#[test]
#[ignore = "run where libamdhip64 is installed"]
fn an_installed_runtime_has_devices_or_none() {
    assert!(Runtime::load().is_ok(), "libamdhip64 is not installed");
    match probe() {
        Ok(runtime) => assert!(!runtime.devices.is_empty(), "{runtime:?}"),
        Err(reason) => assert_eq!(reason, Unavailable::NoDevice),
    }
}

#[test]
fn every_reason_says_what_to_do() {
    let reasons = [
        Unavailable::Absent { library: "libamdhip64.so" },
        Unavailable::Symbol { library: "libamdhip64.so.5".into(), symbol: "hipMalloc" },
        Unavailable::NoDevice,
        Unavailable::Ordinal { ordinal: 8, devices: 8 },
        Unavailable::Call { call: "hipGetDeviceCount", code: 4321 },
    ];
    assert_eq!(
        reasons.map(|reason| reason.to_string()),
        [
            "ROCm runtime not found: libamdhip64.so (install ROCm's HIP runtime)",
            "ROCm runtime libamdhip64.so.5 has no hipMalloc (install ROCm 5 or newer)",
            "ROCm runtime found, no GPU (check rocminfo, HIP_VISIBLE_DEVICES and access to /dev/kfd)",
            "ROCm device 8 is not there: devices are 0 to 7 (check HIP_VISIBLE_DEVICES)",
            "ROCm runtime found, hipGetDeviceCount failed with 4321 (check rocminfo)",
        ]
    );
}
