//! Probes this machine, and machines that a stand-in for the driver's library makes up.

use std::path::Path;
use std::process::Command;

use gpu_direct::{Device, Runtime, Unavailable, Version, is_stand_in, probe};
use pmd_core::accelerator::PciAddress;

/// Two devices under CUDA 12.8.
const DRIVER: &str = r#"
use std::ffi::{c_char, c_int, c_uint};
#[unsafe(no_mangle)] extern "C" fn cuInit(flags: c_uint) -> c_uint { flags }
#[unsafe(no_mangle)] unsafe extern "C" fn cuDriverGetVersion(out: *mut c_int) -> c_uint { unsafe { *out = 12080 }; 0 }
#[unsafe(no_mangle)] unsafe extern "C" fn cuDeviceGetCount(out: *mut c_int) -> c_uint { unsafe { *out = 2 }; 0 }
#[unsafe(no_mangle)] unsafe extern "C" fn cuDeviceGet(out: *mut c_int, ordinal: c_int) -> c_uint { unsafe { *out = ordinal + 40 }; 0 }
#[unsafe(no_mangle)] unsafe extern "C" fn cuDeviceGetName(out: *mut c_char, length: c_int, device: c_int) -> c_uint {
    let name = if device == 40 { c"Model A" } else { c"Model B" }.to_bytes_with_nul();
    if name.len() > length as usize { return 1; }
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len()) };
    0
}
#[unsafe(no_mangle)] unsafe extern "C" fn cuDeviceTotalMem_v2(out: *mut usize, device: c_int) -> c_uint {
    unsafe { *out = (device as usize - 39) << 30 };
    0
}
#[unsafe(no_mangle)] unsafe extern "C" fn cuDeviceGetAttribute(out: *mut c_int, attribute: c_uint, device: c_int) -> c_uint {
    unsafe { *out = match attribute { 50 => 1, 33 => 0x3b + device - 40, 34 => 2, _ => return 1 } };
    0
}
"#;

#[test]
fn this_machine_has_devices_or_a_typed_reason() {
    match probe() {
        Ok(runtime) => {
            assert!(runtime.driver_version.major >= 1, "{runtime:?}");
            assert!(!runtime.devices.is_empty(), "{runtime:?}");
            for (index, device) in runtime.devices.iter().enumerate() {
                assert_eq!(device.ordinal as usize, index);
                assert!(!device.name.is_empty() && device.memory_bytes > 0, "{device:?}");
            }
        }
        Err(Unavailable::Absent { library }) => {
            assert_eq!(library, "libcuda.so.1");
            assert!(
                !library_is_listed("libcuda.so.1"),
                "the loader knows the library that probe did not find"
            );
        }
        Err(other) => assert!(other.to_string().starts_with("CUDA driver "), "{other}"),
    }
}

#[test]
fn absent_says_which_library_and_what_to_do() {
    let message = Unavailable::Absent { library: "libcuda.so.1" }.to_string();
    assert_eq!(message, "CUDA driver not found: libcuda.so.1 (install the NVIDIA driver)");
}

#[test]
fn a_driver_with_two_devices_is_described() {
    let described = probe_with(DRIVER);
    let expected = Runtime {
        driver_version: Version { major: 12, minor: 8 },
        devices: vec![
            Device { ordinal: 0, name: "Model A".into(), memory_bytes: 1 << 30, pci: Some(place(0x3b)) },
            Device { ordinal: 1, name: "Model B".into(), memory_bytes: 2 << 30, pci: Some(place(0x3c)) },
        ],
    };
    assert_eq!(described, format!("{:?}", Ok::<_, Unavailable>(expected)));
}

/// Where the stand-in's devices are.
fn place(bus: u8) -> PciAddress {
    PciAddress { domain: 1, bus, device: 2, function: 0 }
}

#[test]
fn a_driver_that_does_not_tell_a_device_s_place_is_described_without() {
    let described = probe_with(&DRIVER.replace("fn cuDeviceGetAttribute", "fn cuDeviceAttribute"));
    assert_eq!(described.matches("pci: None").count(), 2, "{described}");
}

#[test]
fn a_driver_without_a_gpu_is_no_device() {
    let answer = probe_with(&DRIVER.replace("{ flags }", "{ flags + 100 }"));
    assert_eq!(answer, format!("{:?}", Err::<Runtime, _>(Unavailable::NoDevice)));
}

#[test]
fn a_driver_that_counts_no_devices_is_no_device() {
    let answer = probe_with(&DRIVER.replace("*out = 2 ", "*out = 0 "));
    assert_eq!(answer, format!("{:?}", Err::<Runtime, _>(Unavailable::NoDevice)));
}

#[test]
fn an_unknown_code_is_given_as_it_is() {
    let answer = probe_with(&DRIVER.replace("{ flags }", "{ flags + 4321 }"));
    let expected = Unavailable::Call { call: "cuInit", code: 4321 };
    assert_eq!(answer, format!("{:?}", Err::<Runtime, _>(expected)));
}

#[test]
fn a_driver_without_a_function_names_it() {
    let answer = probe_with(&DRIVER.replace("cuDeviceGetName", "cuDeviceGetNick"));
    let expected = Unavailable::Symbol { symbol: "cuDeviceGetName" };
    assert_eq!(answer, format!("{:?}", Err::<Runtime, _>(expected)));
}

/// The half of [`probe_with`] that runs with the stand-in on its library path.
#[test]
#[ignore = "run by the other tests, with a library path that holds a stand-in for the driver"]
fn print_what_probe_finds() {
    // These are no driver's, nor the project's.
    assert_eq!(is_stand_in(), Ok(false));
    println!("found: {:?}", probe());
}

/// Builds a stand-in for the driver, probes with it in a process of its own, and returns what that process found.
fn probe_with(source: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    build_library(source, folder.path());
    let this = std::env::current_exe().expect("the path of this test");
    let output = Command::new(this)
        .args(["print_what_probe_finds", "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", folder.path())
        .output()
        .expect("this test runs again");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find_map(|line| line.split_once("found: "));
    found.unwrap_or_else(|| panic!("no answer in {text}, {output:?}")).1.to_owned()
}

fn build_library(source: &str, folder: &Path) {
    let file = folder.join("driver.rs");
    std::fs::write(&file, source).expect("the stand-in's source is written");
    let status = Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .args(["--edition=2024", "--crate-type=cdylib", "-Anon_snake_case", "-o"])
        .arg(folder.join("libcuda.so"))
        .arg(&file)
        .status()
        .expect("rustc starts");
    assert!(status.success(), "the stand-in does not build");
}

/// Whether the loader's cache lists a library whose name begins so.
fn library_is_listed(name: &str) -> bool {
    let cache = ["/sbin/ldconfig", "/usr/sbin/ldconfig", "ldconfig"]
        .iter()
        .find_map(|program| Command::new(program).arg("-p").output().ok())
        .expect("ldconfig is on this machine");
    String::from_utf8_lossy(&cache.stdout).lines().any(|line| line.trim_start().starts_with(name))
}
