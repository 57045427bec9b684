//! Releases in constants as NIXL's libraries have them, and in this process's own libraries.

use super::*;

#[test]
fn the_release_is_what_follows_the_marker() {
    assert_eq!(release(b"NIXL_LOG_LEVEL\0NIXL version: \x001.5.1\0 (git: \0"), Some("1.5.1"));
    assert_eq!(release(b"NIXL version: \x001.4.0-rc2\0"), Some("1.4.0-rc2"));
}

#[test]
fn what_is_no_release_is_not_taken_for_one() {
    let none: [&[u8]; 6] = [
        b"",
        b"1.5.1\0",
        b"NIXL version: 1.5.1\0",
        b"NIXL version: \0 (git: \0",
        b"NIXL version: \x001.5.1",
        b"NIXL version: \x001.5.1 or thereabouts\0",
    ];
    for constants in none {
        assert_eq!(release(constants), None, "{:?}", String::from_utf8_lossy(constants));
    }
}

#[test]
fn a_library_that_is_not_nixl_is_refused_by_name() {
    let refused = check(libc::getpid as *const () as usize, "1.5.1").expect_err("the C library is not NIXL");
    let HostingError::Untold { host, built_for } = refused else { panic!("{refused}") };
    assert!(host.to_string_lossy().contains("libc"), "{}", host.display());
    assert_eq!(built_for, "1.5.1");
}

#[test]
fn an_address_in_no_library_is_refused() {
    let on_the_heap = Box::new(0_u8);
    let address = (&raw const *on_the_heap) as usize;
    assert_eq!(check(address, "1.5.1"), Err(HostingError::NoLibrary));
}
