use super::*;

#[test]
fn a_library_that_is_not_there_is_an_error_that_says_what_to_do() {
    // SAFETY: there is no such library.
    let error = unsafe { Acl::open("libno-such-runtime.so") }.err().expect("there is no such library");
    let LoadError::LibraryMissing { name, reason } = &error else { panic!("{error}") };
    assert_eq!(*name, "libascendcl.so");
    assert!(reason.contains("libno-such-runtime.so"), "{reason}");
    assert!(error.to_string().contains("install CANN"), "{error}");
}

#[test]
fn a_library_without_the_functions_names_each_when_it_is_called() {
    // SAFETY: the C library has no function of the runtime's names.
    let table = unsafe { Acl::open("libc.so.6") }.expect("the C library is always there");
    // SAFETY: nothing is called.
    let error = unsafe { table.aclFinalize() }.expect_err("not in the C library");
    assert_eq!(error, LoadError::SymbolMissing { library: LIBRARY, symbol: "aclFinalize" });
    let missing = table.missing();
    assert!(missing.len() > 40 && missing.contains(&"aclrtMalloc"), "{missing:?}");
}
