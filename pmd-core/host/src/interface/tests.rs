//! Names of interfaces, against made-up lists and against this machine's loopback.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn interfaces() -> Vec<Named> {
    let version_six = |address: &str| Some((address.parse::<Ipv6Addr>().expect("an address"), 0).into());
    vec![
        ("eth0".to_owned(), None),
        ("eth0".to_owned(), version_six("fe80::1")),
        ("eth0".to_owned(), Some((Ipv4Addr::new(10, 0, 0, 5), 0).into())),
        ("ib0".to_owned(), version_six("fe80::2")),
        ("ib0".to_owned(), version_six("fd00::2")),
        ("dummy0".to_owned(), None),
    ]
}

fn devices() -> Vec<RdmaDevice> {
    vec![
        ("mlx5_0".to_owned(), vec!["eth0".to_owned()]),
        ("mlx5_1".to_owned(), vec!["ib0".to_owned()]),
        ("mlx5_2".to_owned(), Vec::new()),
    ]
}

fn look_up(name: &str) -> Result<Interface, InterfaceError> {
    find_among(name, 7000, &interfaces(), &devices())
}

#[test]
fn an_interface_is_its_address_and_the_device_behind_it() {
    let found = look_up("eth0").expect("it is there");
    assert_eq!(found.address, "10.0.0.5:7000".parse().expect("an address"));
    assert_eq!(found.device.as_deref(), Some("mlx5_0"));
    let found = look_up("ib0").expect("it is there");
    assert_eq!(found.address, "[fd00::2]:7000".parse().expect("an address"), "valid everywhere before local");
    assert_eq!(found.device.as_deref(), Some("mlx5_1"));
}

#[test]
fn a_device_is_the_address_of_its_interface() {
    assert_eq!(look_up("mlx5_1").expect("it is there"), look_up("ib0").expect("it is there"));
}

#[test]
fn what_has_no_address_and_what_is_unknown_is_told() {
    for name in ["dummy0", "mlx5_2"] {
        assert!(matches!(look_up(name), Err(InterfaceError::NoAddress { name: of }) if of == name));
    }
    let Err(InterfaceError::Unknown { name, available }) = look_up("eth9") else { panic!("there is none") };
    assert_eq!((name.as_str(), available.len()), ("eth9", 6), "every name once: {available:?}");
    let error = find("no_such_interface0", 0).expect_err("there is none");
    assert!(error.to_string().contains("no_such_interface0"), "{error}");
}

#[test]
fn loopback_all_addresses_and_literal_addresses_need_no_interface() {
    for (name, address) in [
        ("", "127.0.0.1:5"),
        ("lo", "127.0.0.1:5"),
        ("*", "0.0.0.0:5"),
        ("127.0.0.9", "127.0.0.9:5"),
        ("::1", "[::1]:5"),
    ] {
        let found = find(name, 5).expect(name);
        assert_eq!((found.address, found.device), (address.parse().expect("an address"), None));
    }
}

#[test]
fn devices_and_their_interfaces_are_read_from_the_class_directory() {
    let class = tempfile::tempdir().expect("a directory");
    let table =
        |device: &str, port: &str| class.path().join(device).join("ports").join(port).join("gid_attrs/ndevs");
    for (device, port, index, interface) in
        [("mlx5_0", "1", "0", "eth0\n"), ("mlx5_0", "1", "1", "eth0\n"), ("mlx5_0", "2", "0", "eth1\n")]
    {
        fs::create_dir_all(table(device, port)).expect("a directory");
        fs::write(table(device, port).join(index), interface).expect("a file");
    }
    fs::create_dir_all(class.path().join("rxe0")).expect("a directory");
    let wanted =
        [("mlx5_0".to_owned(), vec!["eth0".to_owned(), "eth1".to_owned()]), ("rxe0".to_owned(), Vec::new())];
    assert_eq!(rdma_devices(class.path()), wanted);
    assert_eq!(rdma_devices(&class.path().join("absent")), []);
}
