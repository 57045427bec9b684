//! With rdma-core installed: the libraries load, every function bound is there, and listing devices gives devices or
//! says why there are none. The verification suite installs the packages and runs these with `--ignored`.
// Function pointers are only looked at, and two functions called that take no pointers.
#![allow(unsafe_code)]

use pmd_sys::{DevicesError, Mlx5, RdmaCm, Verbs, devices};

#[test]
#[ignore = "needs libibverbs1"]
fn devices_are_listed_or_the_reason_is_typed() {
    match devices() {
        Ok(devices) => {
            assert!(!devices.is_empty());
            assert!(devices.iter().all(|device| !device.name.is_empty()));
        }
        Err(DevicesError::NoDevice | DevicesError::KernelModulesMissing) => {
            assert!(!has_device(), "the kernel has a device that is not listed");
        }
        Err(error) => panic!("{error}"),
    }
}

fn has_device() -> bool {
    std::fs::read_dir("/sys/class/infiniband").is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
#[ignore = "needs libibverbs1"]
fn libibverbs_is_opened_once_and_answers() {
    let verbs = Verbs::load().unwrap();
    assert!(std::ptr::eq(verbs, Verbs::load().unwrap()));
    // SAFETY: takes a number, returns a string that lives as long as the library.
    let text = unsafe { std::ffi::CStr::from_ptr(verbs.ibv_wc_status_str(5).unwrap()) };
    assert_eq!(text.to_str(), Ok("Work Request Flushed Error"));
}

#[test]
#[ignore = "needs libibverbs1, ibverbs-providers, librdmacm1"]
fn no_function_is_missing_from_the_release_that_was_bound() {
    let nothing: [&str; 0] = [];
    assert_eq!(Verbs::load().unwrap().missing(), nothing);
    assert_eq!(Mlx5::load().unwrap().missing(), nothing);
    assert_eq!(RdmaCm::load().unwrap().missing(), nothing);
}
