use std::io;

use pmd_sys::devices::DevicesError;

use super::{
    super::{Candidate, GidChoice, OpenError, PortState, RegisterError, pointer, status},
    roce_table,
};
use crate::backend::SetupError;

fn device() -> String {
    "mlx5_0".to_owned()
}

#[test]
fn a_machine_without_devices_is_sent_to_shared_memory() {
    let error = OpenError::from(DevicesError::NoDevice);
    let text = "no RDMA device: libibverbs found, /sys/class/infiniband is empty; use --transport shm";
    assert_eq!(error.to_string(), text);
}

#[test]
fn every_device_that_was_tried_is_named_with_its_reason() {
    let down = OpenError::PortNotActive { device: device(), port: 1, state: PortState::Down };
    let other = OpenError::OtherProtocol { device: "siw0".to_owned() };
    let tried = [("mlx5_0", down), ("siw0", other)]
        .map(|(device, reason)| Candidate { device: device.to_owned(), reason: Box::new(reason) });
    let text = OpenError::NoneUsable { tried: tried.into() }.to_string();
    for part in ["mlx5_0 port 1 is down", "siw0 is not an InfiniBand or RoCE device", "--transport shm"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_missing_gid_is_answered_with_the_table() {
    let wanted = GidChoice::Address("10.0.0.9".parse().expect("an address"));
    let error = OpenError::NoGid { device: device(), port: 1, wanted, table: roce_table() };
    let text = error.to_string();
    for part in ["address 10.0.0.9", "3 10.0.0.1 (RoCE v2)", "0 fe80::1 (RoCE v1)"] {
        assert!(text.contains(part), "{text}");
    }
    let error = OpenError::NoGid { device: device(), port: 1, wanted: GidChoice::Auto, table: vec![] };
    assert!(error.to_string().ends_with("it has none"), "{error}");
}

#[test]
fn registration_says_what_to_raise() {
    let refused = |errno| {
        let source = io::Error::from_raw_os_error(errno);
        let call = "ibv_reg_mr";
        RegisterError::System { device: device(), address: 0x1000, length: 4096, call, source }.to_string()
    };
    assert!(refused(libc::ENOMEM).contains("ulimit -l"));
    assert!(refused(libc::EFAULT).contains("not mapped"));
    assert!(refused(libc::EOPNOTSUPP).contains("does not register this kind"));
}

#[test]
fn library_answers_become_errors() {
    assert!(status("call", Ok(0)).is_ok());
    for answer in [libc::EINVAL, -libc::EINVAL] {
        let error = status("ibv_modify_qp", Ok(answer));
        let Err(SetupError::System { call: "ibv_modify_qp", source }) = error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(libc::EINVAL));
    }
    let mut value = 5_u8;
    assert_eq!(pointer("call", Ok(&raw mut value)).map(|found| found.as_ptr()).ok(), Some(&raw mut value));
    assert!(matches!(
        pointer::<u8>("call", Ok(std::ptr::null_mut())),
        Err(SetupError::System { call: "call", .. })
    ));
    let missing = pmd_sys::LoadError::SymbolMissing { library: "libibverbs.so.1", symbol: "ibv_x" };
    let error = status("ibv_x", Err(missing)).expect_err("missing");
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("libibverbs.so.1 has no ibv_x"), "{source}");
}
