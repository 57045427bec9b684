//! Names that are not there, and a library that is another one.
#![allow(unsafe_code)] // calls through the table

use super::*;
use crate::hip::hipSuccess;

#[test]
fn a_missing_library_is_told_with_the_linkers_words() {
    match Runtime::open(&["libno-such-runtime.so.9", "libno-such-runtime.so"]) {
        Err(LoadError::LibraryMissing { name, reason }) => {
            assert_eq!(name, "libno-such-runtime.so");
            assert!(reason.contains("cannot open shared object file"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_library_without_the_functions_names_them() {
    let runtime = Runtime::open(&["libno-such-runtime.so", "libc.so.6"]).expect("the C library");
    assert_eq!(runtime.name, "libc.so.6");
    let missing = runtime.hip.missing();
    assert!(missing.len() > 30 && missing.contains(&"hipMalloc"), "{missing:?}");
    let mut count = 0;
    // SAFETY: the function is not there, so nothing is called.
    let answer = unsafe { runtime.hip.hipGetDeviceCount(&mut count) };
    assert_eq!(answer, Err(LoadError::SymbolMissing { symbol: "hipGetDeviceCount" }));
    assert!(runtime.newer.hipMemGetHandleForAddressRange.is_none());
}

/// Debian's runtime, or any other; a machine without one has the other tests.
#[test]
fn an_installed_runtime_has_every_function() {
    let Ok(runtime) = Runtime::load() else { return };
    assert_eq!(runtime.hip.missing(), Vec::<&str>::new(), "{}", runtime.name);
    let mut version = 0;
    // SAFETY: writes one int.
    let code = unsafe { runtime.hip.hipRuntimeGetVersion(&mut version) };
    assert_eq!((code, version >= 50_000_000), (Ok(hipSuccess), true), "{version}");
}
