//! Tests of the soft HCA without its engine: keys, arenas, connections, and what other processes do to them.
#![allow(unsafe_code)] // registers memory and follows pointers, as the engine does

mod arenas;
mod connections;
mod garbage;

mod keys;
mod pins;
mod processes;
mod revoking;

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use pmd_core::memory::Access;

use super::{connect::LinkFault, regions::KeyFault, seat::NoSeat, *};
use crate::{
    backend::{SoftAddress, Waker},
    region::Region,
};

/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn open() -> Device {
    Device::open(DeviceConfig::default()).unwrap()
}

fn endpoint(queue_pair: u32) -> Endpoint {
    let waker = Waker::new().unwrap();
    Endpoint { queue_pair, protection_domain: ProtectionDomain(0), waker, may_park: true }
}

fn address(device: &Device, queue_pair: u32) -> SoftAddress {
    SoftAddress { host: device.host(), device: device.id(), queue_pair }
}

/// What may go on has gone on by then, on a busy machine too: a fault that is switched on is seen.
const LINGER: Duration = Duration::from_millis(200);

/// Asks again until there is an answer.
fn within<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no answer in {PATIENCE:?}");
        thread::yield_now();
    }
}

/// Polls both ends on one thread until both are connected.
fn complete(one: &mut PendingLink, other: &mut PendingLink) -> (Link, Link) {
    let (mut first, mut second) = (None, None);
    within(|| {
        first = first.take().or_else(|| one.poll().unwrap());
        second = second.take().or_else(|| other.poll().unwrap());
        (first.is_some() && second.is_some()).then_some(())
    });
    (first.unwrap(), second.unwrap())
}

fn connected(one: &Device, other: &Device) -> (Link, Link) {
    let mut first = one.connect(&endpoint(1), &address(other, 2)).unwrap();
    let mut second = other.connect(&endpoint(2), &address(one, 1)).unwrap();
    complete(&mut first, &mut second)
}

/// Sends a packet each way, as request and as response.
fn exchange_packets(one: &mut Link, other: &mut Link) {
    for (from, to, text) in [(0, 1, b"there"), (1, 0, b"back!")] {
        let ends = [&mut *one, &mut *other];
        ends[from].requests_out.push(text).unwrap();
        ends[from].responses_out.push(text).unwrap();
        let mut found = [0; 5];
        let packet = ends[to].requests_in.peek().unwrap().unwrap();
        packet.read(0, &mut found).unwrap();
        packet.release();
        assert_eq!(&found, text);
        let packet = ends[to].responses_in.peek().unwrap().unwrap();
        packet.read(0, &mut found).unwrap();
        packet.release();
        assert_eq!(&found, text);
    }
}

/// Registers memory that lives as long as the test process.
fn leak(device: &Device, length: usize, access: Access) -> Region {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let memory = Box::leak(vec![0_u8; length].into_boxed_slice());
    // Known to be there: no leak to those who look for leaks.
    KEPT.lock().unwrap().push(memory.as_mut_ptr().expose_provenance());
    // SAFETY: leaked, and borrowed by nobody.
    unsafe { device.register(memory.as_mut_ptr() as u64, length as u64, access, ProtectionDomain(0)) }
        .unwrap()
}
