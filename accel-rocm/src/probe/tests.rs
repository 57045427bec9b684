//! Probes this machine, and stand-ins for the runtime that are built on the spot.

use std::process::Command;

use super::*;

/// Three devices under HIP 6.2.41133.
const RUNTIME: &str = r#"
use std::ffi::{c_int, c_uint};
#[unsafe(no_mangle)] unsafe extern "C" fn hipRuntimeGetVersion(out: *mut c_int) -> c_uint { unsafe { *out = 60241133 }; 0 }
#[unsafe(no_mangle)] unsafe extern "C" fn hipGetDeviceCount(out: *mut c_int) -> c_uint { unsafe { *out = 3 }; 0 }
"#;

#[test]
fn this_machine_has_devices_or_a_typed_reason() {
    // SAFETY: as in `Hip::load`.
    let installed = LIBRARIES.iter().any(|name| unsafe { Library::new(name) }.is_ok());
    match probe() {
        Ok(runtime) => {
            assert!(installed && runtime.device_count > 0 && runtime.version.major >= 4, "{runtime:?}")
        }
        Err(Unavailable::Absent { library }) => {
            assert_eq!(library, "libamdhip64.so");
            assert!(!installed, "the library loads, and probe did not find it");
        }
        Err(other) => assert!(installed, "{other}"),
    }
}

#[test]
fn absent_says_which_library_and_what_to_do() {
    let error = probe_first_of(&["libno-such-runtime.so"]).expect_err("there is no such library");
    assert_eq!(error.to_string(), "ROCm runtime not found: libamdhip64.so (install ROCm's HIP runtime)");
}

#[test]
fn a_runtime_with_devices_is_described() {
    let version = Version { major: 6, minor: 2, patch: 41133 };
    assert_eq!(probe_stand_in(RUNTIME), Ok(Runtime { version, device_count: 3 }));
    assert_eq!(version.to_string(), "6.2.41133");
}

#[test]
fn a_runtime_that_refuses_for_want_of_a_device_is_no_device() {
    assert_eq!(
        probe_stand_in(&RUNTIME.replace("{ *out = 3 }; 0", "{ *out = 0 }; 100")),
        Err(Unavailable::NoDevice)
    );
}

#[test]
fn a_runtime_that_counts_no_devices_is_no_device() {
    assert_eq!(probe_stand_in(&RUNTIME.replace("*out = 3", "*out = 0")), Err(Unavailable::NoDevice));
}

#[test]
fn an_unknown_code_is_given_as_it_is() {
    let expected = Unavailable::Call { call: "hipGetDeviceCount", code: 4321 };
    assert_eq!(probe_stand_in(&RUNTIME.replace("{ *out = 3 }; 0", "{ *out = 3 }; 4321")), Err(expected));
}

#[test]
fn a_negative_count_is_a_failure() {
    let expected = Unavailable::Call { call: "hipGetDeviceCount", code: 0 };
    assert_eq!(probe_stand_in(&RUNTIME.replace("*out = 3", "*out = -3")), Err(expected));
}

#[test]
fn a_runtime_without_a_function_names_it() {
    match probe_stand_in(&RUNTIME.replace("hipGetDeviceCount", "hipGetDeviceSum")) {
        Err(Unavailable::Symbol { library, symbol }) => {
            assert!(library.ends_with("libstandin.so"), "{library}");
            assert_eq!(symbol, "hipGetDeviceCount");
        }
        other => panic!("{other:?}"),
    }
}

/// Builds a library from this source and probes it, after a name that does not exist.
fn probe_stand_in(source: &str) -> Result<Runtime, Unavailable> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, library) = (folder.path().join("standin.rs"), folder.path().join("libstandin.so"));
    std::fs::write(&file, source).expect("the stand-in's source is written");
    let status = Command::new(option_env!("RUSTC").unwrap_or("rustc"))
        .args(["--edition=2024", "--crate-type=cdylib", "-Anon_snake_case", "-o"])
        .args([&library, &file])
        .status()
        .expect("rustc starts");
    assert!(status.success(), "the stand-in does not build");
    probe_first_of(&["libno-such-runtime.so", library.to_str().expect("a path in UTF-8")])
}
