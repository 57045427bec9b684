//! MEM_DEVICE on an accelerator: registered, staged, refused.

use super::*;
use crate::on_device::{TestDevice, address, pattern};

const LENGTH: usize = 300_000;

/// A client that is connected to a server; both drive the device.
fn pair_on(device: &TestDevice, given: &Given) -> (Hixl, Hixl, String) {
    for _ in 0..16 {
        let name = format!("127.0.0.1:{}", free_port());
        let (server, client) = (Hixl::new(), Hixl::new());
        if server.initialize_with(&name, given, device.driven(endpoint())).is_ok() {
            client.initialize_with("127.0.0.1", given, device.driven(endpoint())).expect("a client");
            client.connect(&name, PATIENCE).expect("connected");
            return (client, server, name);
        }
    }
    panic!("no port is free");
}

fn describe(address: u64) -> MemDesc {
    MemDesc { addr: address, len: LENGTH as u64 }
}

#[test]
fn registered_memory_of_a_device_is_read_and_written() {
    let device = TestDevice::new();
    let content = pattern(LENGTH, 5);
    let (far, near) = (device.memory(&content), device.memory(&[0; LENGTH]));
    let mut host = Memory::zeroed(LENGTH);
    let (client, server, name) = pair_on(&device, &direct());
    let handle = register(&server, describe(address(&*far)), MemType::Device).expect("registered");
    register(&client, describe(address(&*near)), MemType::Device).expect("registered");
    host.register(&client);
    for local in [host.address(), address(&*near)] {
        let list = permuted(local, address(&*far), 30, 10_000);
        transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect("read");
    }
    assert!(device.read(address(&*near), LENGTH) == host.bytes());
    let piece = turned(1, 30) as usize * 10_000;
    assert!(host.bytes()[10_000..20_000] == content[piece..piece + 10_000]);
    device.write(address(&*far), &[0; LENGTH]);
    let list = permuted(address(&*near), address(&*far), 30, 10_000);
    transfer(&client, &name, TransferOp::Write, &list, PATIENCE).expect("written");
    assert!(device.read(address(&*far), LENGTH) == content);
    server.deregister_mem(handle).expect("deregistered");
    // Memory of the engine's own on the device.
    let (handle, allocated) =
        server.allocate_mem(LENGTH, MemType::Device, ArenaOptions::default()).expect("allocated");
    let list = permuted(address(&*near), allocated.addr, 30, 10_000);
    transfer(&client, &name, TransferOp::Write, &list, PATIENCE).expect("written");
    assert!(device.read(allocated.addr, LENGTH) == content);
    server.deregister_mem(handle).expect("deregistered");
    client.finalize();
    server.finalize();
    drop((far, near));
    device.nothing_is_left();
}

/// Of the four sides of a transfer each is on the device once, and none of it is registered.
#[test]
fn memory_of_a_device_that_is_not_registered_is_staged() {
    let given = options(&[(OPTION_BUFFER_POOL, "2:1")]);
    let device = TestDevice::new();
    let content = pattern(LENGTH, 6);
    let (client, server, name) = pair_on(&device, &given);
    let (near, far) = (device.memory(&content), device.memory(&[0; LENGTH]));
    let mut host = Memory::new(LENGTH, |_| 0);
    for there in [address(&*far), host.address()] {
        let list = permuted(address(&*near), there, 30, 10_000);
        transfer(&client, &name, TransferOp::Write, &list, PATIENCE).expect("written");
    }
    assert!(device.read(address(&*far), LENGTH) == host.bytes());
    device.write(address(&*near), &[0; LENGTH]);
    let list = permuted(address(&*near), address(&*far), 30, 10_000);
    transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect("read");
    assert!(device.read(address(&*near), LENGTH) == content);
    // What is gone is an error, not a fault; then others go on.
    let gone = address(&*far);
    drop(far);
    let list = permuted(address(&*near), gone, 30, 10_000);
    transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect_err("it was freed");
    let list = permuted(address(&*near), host.address(), 30, 10_000);
    transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect("read");
    client.finalize();
    server.finalize();
}

#[test]
fn a_copy_that_fails_ends_its_link_and_others_go_on() {
    let device = TestDevice::new();
    let content = pattern(LENGTH, 8);
    let (far, near) = (device.memory(&content), device.memory(&[0; LENGTH]));
    let (client, server, name) = pair_on(&device, &direct());
    let (other, other_server, other_name) = pair_on(&device, &direct());
    for (engine, memory) in [(&server, &far), (&other_server, &far), (&client, &near), (&other, &near)] {
        register(engine, describe(address(&**memory)), MemType::Device).expect("registered");
    }
    let list = permuted(address(&*near), address(&*far), 30, 10_000);
    device.0.fail_copy(0);
    let failed = status(transfer(&client, &name, TransferOp::Read, &list, PATIENCE));
    assert!(matches!(failed, Status::Failed | Status::NotConnected), "{failed:?}");
    transfer(&other, &other_name, TransferOp::Read, &list, PATIENCE).expect("another link");
    // The same two, linked anew.
    let _ = client.disconnect(&name, PATIENCE);
    client.connect(&name, PATIENCE).expect("connected");
    transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect("read");
    let piece = turned(1, 30) as usize * 10_000;
    assert!(device.read(address(&*near) + 10_000, 10_000) == content[piece..piece + 10_000]);
    [client, server, other, other_server].iter().for_each(Hixl::finalize);
    drop((far, near));
    device.nothing_is_left();
}

#[test]
fn what_is_not_the_devices_has_its_status() {
    let device = TestDevice::new();
    let engine = Hixl::new();
    engine.initialize_with("127.0.0.1", &direct(), device.driven(endpoint())).expect("a client");
    let mut host = Memory::zeroed(64);
    assert_eq!(status(register(&engine, host.describe(), MemType::Device)), Status::ParamInvalid);
    let memory = device.memory(&[0; 4096]);
    let beyond = MemDesc { addr: address(&*memory), len: 1 << 30 };
    assert_eq!(status(register(&engine, beyond, MemType::Device)), Status::ParamInvalid);
    // As the host's it is not mapped.
    let as_host = MemDesc { addr: address(&*memory), len: 4096 };
    assert_eq!(status(register(&engine, as_host, MemType::Host)), Status::ParamInvalid);
    let huge = TestDevice::CAPACITY as usize + 1;
    let full = engine.allocate_mem(huge, MemType::Device, ArenaOptions::default());
    assert_eq!(status(full), Status::ResourceExhausted);
    let missing = crate::fabric::FabricError::NoDevice { device: 3 };
    assert_eq!(HixlError::from(missing).status(), Status::ParamInvalid);
    for (error, wanted) in [
        (pmd_core::accelerator::AcceleratorError::StreamGone, Status::Failed),
        (
            pmd_core::accelerator::AcceleratorError::Unsupported {
                kind: pmd_core::accelerator::AcceleratorKind::Cpu,
                what: "share memory",
                why: "it is pinned",
            },
            Status::Unsupported,
        ),
    ] {
        assert_eq!(HixlError::from(crate::fabric::FabricError::from(error)).status(), wanted);
    }
}
