//! Messages between memory of a device and memory of the host.

use super::*;
use crate::{
    fabric::FabricError,
    on_device::{TestDevice, address},
};

fn pair_on(device: &TestDevice) -> Pair {
    let config = || {
        let config = config(2, 1);
        Config { endpoint: device.driven(config.endpoint.clone()), ..config }
    };
    pair_of(config(), config())
}

fn on_device(address: u64, length: usize) -> Memory {
    Memory { address, length: length as u64 }
}

#[test]
fn messages_go_from_device_to_device_and_to_and_from_the_host() {
    const LENGTH: usize = 1_300_001;
    let device = TestDevice::new();
    let (content, landed) = (pattern(LENGTH, 1), vec![0_u8; LENGTH]);
    let (source, target) = (device.memory(&content), device.memory(&[0; LENGTH]));
    let pair = pair_on(&device);
    let (from, to) = (on_device(address(&*source), LENGTH), on_device(address(&*target), LENGTH));
    // SAFETY: the memory outlives the engines, and is looked at when nothing is under way.
    let (near, far) = unsafe {
        let far = pair.receiver.reg_kv(pair.back, &pair.receiver.describe(to)).expect("registered");
        (pair.sender.reg_kv(pair.out, &from.device()).expect("registered"), far)
    };
    let host = reg_kv(&pair.receiver, pair.back, &landed);
    for to_host in [false, true] {
        let via = if to_host { host } else { far };
        let receive = pair.receiver.post_receive(via, u64::MAX, None).expect("posted");
        // SAFETY: as above.
        unsafe { pair.sender.send_kv(near, from) }.expect("sent");
        assert_eq!(receive.wait().expect("received"), LENGTH as u64);
    }
    assert_eq!(device.read(to.address, LENGTH), content);
    // The host's to the device, of memory that is no part of the registration.
    let other = pattern(LENGTH, 2);
    let receive = pair.receiver.post_receive(far, u64::MAX, None).expect("posted");
    send_kv(&pair.sender, near, &other).expect("sent");
    assert_eq!(receive.wait().expect("received"), LENGTH as u64);
    assert_eq!(device.read(to.address, LENGTH), other);
    // And the device's, as little a part of it.
    let third = device.memory(&pattern(5000, 3));
    let receive = pair.receiver.post_receive(far, u64::MAX, None).expect("posted");
    // SAFETY: as above.
    unsafe { pair.sender.send_kv(near, on_device(address(&*third), 5000)) }.expect("sent");
    assert_eq!(receive.wait().expect("received"), 5000);
    assert_eq!(device.read(to.address, 5000), pattern(5000, 3));
    pair.receiver.dereg_kv(far).expect("released");
    drop((pair, source, target, third));
    assert!(landed == content);
    assert_eq!(device.0.allocations(), 0, "what was registered for one send is let go of");
}

#[test]
fn memory_that_the_device_does_not_know_is_refused() {
    let device = TestDevice::new();
    let bytes = [0_u8; 64];
    let pair = pair_on(&device);
    // SAFETY: it is refused.
    let refused = unsafe { pair.sender.reg_memory(&Memory::from(&bytes[..]).device()) };
    let Err(RegisterError::Fabric(FabricError::Accelerator(reason))) = refused else { panic!("{refused:?}") };
    assert!(reason.to_string().contains("is no device memory"), "{reason}");
    assert_eq!(pair.sender.counts().registrations, 0);
}
