//! Probes this machine, and stand-ins for the runtime that are built on the spot.

use std::process::Command;

use super::*;

/// Eight devices, and an initialisation that demands the default configuration.
const RUNTIME: &str = r#"
use std::ffi::{c_char, c_int};
#[unsafe(no_mangle)] extern "C" fn aclInit(configuration: *const c_char) -> c_int { if configuration.is_null() { 0 } else { 100000 } }
#[unsafe(no_mangle)] unsafe extern "C" fn aclrtGetDeviceCount(out: *mut u32) -> c_int { unsafe { *out = 8 }; 0 }
"#;

#[test]
fn this_machine_has_devices_or_a_typed_reason() {
    let installed = Acl::load().is_ok();
    match probe() {
        Ok(runtime) => assert!(installed && runtime.device_count > 0, "{runtime:?}"),
        Err(Unavailable::Absent { library }) => {
            assert_eq!(library, "libascendcl.so");
            assert!(!installed, "the library loads, and probe did not find it");
        }
        Err(other) => assert!(installed, "{other}"),
    }
}

#[test]
fn absent_says_which_library_and_what_to_do() {
    let error = Unavailable::Absent { library: LIBRARY };
    assert_eq!(
        error.to_string(),
        "Ascend runtime not found: libascendcl.so (install CANN and source its set_env.sh)"
    );
}

#[test]
fn a_runtime_with_devices_is_counted() {
    assert_eq!(probe_stand_in(RUNTIME), Ok(8));
}

#[test]
fn a_runtime_that_was_initialised_before_is_used() {
    assert_eq!(probe_stand_in(&RUNTIME.replace("{ 0 }", "{ 100002 }")), Ok(8));
}

#[test]
fn a_runtime_that_does_not_initialise_gives_its_code() {
    let expected = Unavailable::Call { call: "aclInit", code: 500_003 };
    assert_eq!(probe_stand_in(&RUNTIME.replace("{ 0 }", "{ 500003 }")), Err(expected));
}

#[test]
fn a_count_that_fails_gives_its_code() {
    let expected = Unavailable::Call { call: "aclrtGetDeviceCount", code: 100_001 };
    assert_eq!(probe_stand_in(&RUNTIME.replace("{ *out = 8 }; 0", "{ *out = 8 }; 100001")), Err(expected));
}

#[test]
fn a_runtime_that_counts_no_devices_is_no_device() {
    assert_eq!(probe_stand_in(&RUNTIME.replace("*out = 8", "*out = 0")), Err(Unavailable::NoDevice));
}

#[test]
fn a_runtime_without_a_function_names_it() {
    let answer = probe_stand_in(&RUNTIME.replace("aclrtGetDeviceCount", "aclrtGetDeviceSum"));
    assert_eq!(answer, Err(Unavailable::Symbol { symbol: "aclrtGetDeviceCount" }));
}

/// Builds a library from this source and counts its devices.
fn probe_stand_in(source: &str) -> Result<u32, Unavailable> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, library) = (folder.path().join("standin.rs"), folder.path().join("libstandin.so"));
    std::fs::write(&file, source).expect("the stand-in's source is written");
    let status = Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .args(["--edition=2024", "--crate-type=cdylib", "-Anon_snake_case", "-o"])
        .args([&library, &file])
        .status()
        .expect("rustc starts");
    assert!(status.success(), "the stand-in does not build");
    // SAFETY: the stand-ins' functions have the runtime's prototypes.
    let acl = unsafe { Acl::open(library.to_str().expect("a path in UTF-8")) };
    count_devices(&acl.expect("the stand-in loads"))
}
