//! Loading what is not there, and calling what is not in it; libc stands in for a library without the functions.

use super::*;

/// A table of which no function is present.
pub(crate) fn table_without_functions() -> &'static Verbs {
    static TABLE: OnceLock<Verbs> = OnceLock::new();
    TABLE.get_or_init(|| open::<Verbs>("libc.so.6").expect("every machine has libc"))
}

#[test]
fn an_absent_library_is_named_with_its_package() {
    let error = open::<Verbs>("libpmd-no-such-library.so.9").err().unwrap();
    let LoadError::LibraryMissing { name, package, reason } = &error else {
        panic!("{error}");
    };
    assert_eq!((*name, *package), ("libpmd-no-such-library.so.9", "libibverbs1"));
    assert!(reason.contains("libpmd-no-such-library.so.9"), "{reason}");
    assert!(error.to_string().contains("install libibverbs1"), "{error}");
}

#[test]
fn a_library_without_the_functions_names_each_one() {
    let verbs = table_without_functions();
    let mut count = 0;
    // SAFETY: the symbol is not there, so nothing is called.
    let error = unsafe { verbs.ibv_get_device_list(&mut count) }.unwrap_err();
    assert_eq!(error, LoadError::SymbolMissing { library: "libibverbs.so.1", symbol: "ibv_get_device_list" });
    assert_eq!(count, 0);
    assert!(verbs.missing().contains(&"ibv_get_device_list"));
}
