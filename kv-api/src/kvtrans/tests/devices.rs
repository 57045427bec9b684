//! Messages between memory of a device and memory of the host.

use std::{thread, time::Instant};

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
    device.nothing_is_left();
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

/// The device fails one copy: both ends are told, and another connection of the same engines goes on.
#[test]
fn a_copy_that_fails_ends_its_message_on_both_sides_and_others_go_on() {
    let device = TestDevice::new();
    let (source, target) = (device.memory(&pattern(5000, 1)), device.memory(&[0; 5000]));
    let pair = pair_on(&device);
    let (from, to) = (on_device(address(&*source), 5000), on_device(address(&*target), 5000));
    // SAFETY: the memory outlives the engines, and is looked at when nothing is under way.
    let (near, far) = unsafe {
        let far = pair.receiver.reg_memory(&to.device()).expect("registered");
        (pair.sender.reg_memory(&from.device()).expect("registered"), far)
    };
    let (other_out, other_back) = connect(&pair.sender, &pair.receiver);
    for (out, back, fails) in [(pair.out, pair.back, true), (other_out, other_back, false)] {
        let receive = pair.receiver.post_receive((back, far), u64::MAX, None).expect("posted");
        if fails {
            device.0.fail_copy(0);
        }
        // SAFETY: as above.
        let sent = unsafe { pair.sender.send_kv((out, near), from) };
        let received = receive.wait();
        assert_eq!((sent.is_err(), received.is_err()), (fails, fails), "{sent:?}, {received:?}");
    }
    assert_eq!(device.read(to.address, 5000), pattern(5000, 1));
    drop((pair, source, target));
    device.nothing_is_left();
}

/// A copy that the device has begun is waited for: when the release returns nothing writes the memory any more.
#[test]
fn releasing_memory_that_the_device_copies_waits_for_it() {
    let device = TestDevice::new();
    let (source, target) = (device.memory(&pattern(5000, 1)), device.memory(&[0; 5000]));
    let pair = pair_on(&device);
    let (from, to) = (on_device(address(&*source), 5000), on_device(address(&*target), 5000));
    // SAFETY: as above.
    let (near, far) = unsafe {
        let far = pair.receiver.reg_memory(&to.device()).expect("registered");
        (pair.sender.reg_memory(&from.device()).expect("registered"), far)
    };
    let receive = pair.receiver.post_receive((pair.back, far), u64::MAX, None).expect("posted");
    let hold = device.0.hold_copies();
    // SAFETY: as above.
    let send = unsafe { pair.sender.post_send((pair.out, near), from, None) }.expect("posted");
    let deadline = Instant::now() + PATIENCE;
    while device.0.held_copies() == 0 {
        assert!(Instant::now() < deadline, "no copy begins");
        thread::yield_now();
    }
    let receiver = pair.receiver.clone();
    let releasing = thread::spawn(move || receiver.dereg_memory(far));
    thread::sleep(Duration::from_millis(20));
    assert!(!releasing.is_finished(), "the device still copies");
    drop(hold);
    releasing.join().expect("it does not panic").expect("released");
    device.write(to.address, &[9; 5000]);
    let _ = (receive.wait(), send.wait());
    assert_eq!(device.read(to.address, 5000), [9; 5000], "nothing was written afterwards");
}
