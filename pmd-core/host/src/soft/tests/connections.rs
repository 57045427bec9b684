//! Connecting queue pairs within one process, on one thread.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::{backend::SetupError, identity::DeviceId};

#[test]
fn two_devices_connect_in_either_order() {
    for reversed in [false, true] {
        let (one, other) = (open(), open());
        let (mut first, mut second) =
            if reversed { connected(&other, &one) } else { connected(&one, &other) };
        exchange_packets(&mut first, &mut second);
        assert!(first.peer().is_same_process() && first.peer().alive());
        assert!(first.peer().confirm_alive());
        assert_eq!((first.peer_queue_pair(), second.peer_queue_pair()), (2, 1));
        assert!(!first.closed_by_peer());
        drop(second);
        assert!(first.closed_by_peer());
        assert!(first.peer().alive());
    }
}

#[test]
fn queue_pairs_of_one_device_connect() {
    let device = open();
    let (mut first, mut second) = connected(&device, &device);
    exchange_packets(&mut first, &mut second);
    assert_eq!(first.peer().id(), device.id());
}

#[test]
fn a_queue_pair_connects_to_itself() {
    let device = open();
    let mut pending = device.connect(&endpoint(9), &address(&device, 9)).unwrap();
    let mut link = within(|| pending.poll().unwrap());
    link.requests_out.push(b"me").unwrap();
    let mut found = [0; 2];
    link.requests_in.peek().unwrap().unwrap().read(0, &mut found).unwrap();
    assert_eq!(&found, b"me");
    assert!(!link.closed_by_peer());
    let seat = device.seat(Waker::new().unwrap()).unwrap();
    assert!(link.is_open(&seat.enter()));
}

#[test]
fn many_queue_pairs_of_two_devices_share_their_connections() {
    let (one, other) = (open(), open());
    let mut pending: Vec<_> = (1..=50)
        .map(|number| {
            let first = one.connect(&endpoint(number), &address(&other, 100 + number)).unwrap();
            let second = other.connect(&endpoint(100 + number), &address(&one, number)).unwrap();
            (first, second)
        })
        .collect();
    let mut links: Vec<_> = pending.iter_mut().map(|(first, second)| complete(first, second)).collect();
    for (first, second) in &mut links {
        exchange_packets(first, second);
        assert_eq!(first.peer_queue_pair(), 100 + second.peer_queue_pair());
    }
}

#[test]
fn a_protection_domain_crosses_the_link() {
    let (one, other) = (open(), open());
    let domain = one.protection_domain();
    assert_ne!(domain, ProtectionDomain::default());
    let mine = Endpoint { protection_domain: domain, ..endpoint(1) };
    let mut first = one.connect(&mine, &address(&other, 2)).unwrap();
    let mut second = other.connect(&endpoint(2), &address(&one, 1)).unwrap();
    let (first, second) = complete(&mut first, &mut second);
    assert_eq!((first.peer_domain(), second.peer_domain()), (ProtectionDomain(0), domain));
}

/// Orders two devices by who makes the link.
fn ordered() -> (Device, Device) {
    let (one, other) = (open(), open());
    if one.id() < other.id() { (one, other) } else { (other, one) }
}

#[test]
fn a_later_offer_replaces_one_that_was_not_taken() {
    let (offering, taking) = ordered();
    let given_up = offering.connect(&endpoint(1), &address(&taking, 2)).unwrap();
    taking.service();
    drop(given_up);
    let mut first = offering.connect(&endpoint(1), &address(&taking, 2)).unwrap();
    let mut second = taking.connect(&endpoint(2), &address(&offering, 1)).unwrap();
    let (mut first, mut second) = complete(&mut first, &mut second);
    exchange_packets(&mut first, &mut second);
}

#[test]
fn a_later_offer_replaces_one_that_was_answered() {
    let (offering, taking) = ordered();
    let given_up = offering.connect(&endpoint(1), &address(&taking, 2)).unwrap();
    let mut second = taking.connect(&endpoint(2), &address(&offering, 1)).unwrap();
    for _ in 0..3 {
        assert!(second.poll().unwrap().is_none());
    }
    drop(given_up);
    let mut first = offering.connect(&endpoint(1), &address(&taking, 2)).unwrap();
    let (mut first, mut second) = complete(&mut first, &mut second);
    exchange_packets(&mut first, &mut second);
}

#[test]
fn a_link_that_the_peer_gave_up_is_offered_anew() {
    let (offering, taking) = ordered();
    let mut first = offering.connect(&endpoint(1), &address(&taking, 2)).unwrap();
    let mut given_up = taking.connect(&endpoint(2), &address(&offering, 1)).unwrap();
    assert!(given_up.poll().unwrap().is_none());
    drop(given_up);
    let mut second = taking.connect(&endpoint(2), &address(&offering, 1)).unwrap();
    let (mut first, mut second) = complete(&mut first, &mut second);
    exchange_packets(&mut first, &mut second);
}

#[test]
fn a_link_whose_peer_gave_up_at_the_last_moment_is_closed() {
    let (offering, taking) = ordered();
    let mut first = offering.connect(&endpoint(1), &address(&taking, 2)).unwrap();
    let mut second = taking.connect(&endpoint(2), &address(&offering, 1)).unwrap();
    let link = within(|| {
        // Until side 0 has its link, side 1 cannot have one.
        let link = first.poll().unwrap();
        link.is_none().then(|| assert!(second.poll().unwrap().is_none()));
        link
    });
    let seat = offering.seat(Waker::new().unwrap()).unwrap();
    let active = seat.enter();
    assert!(link.is_open(&active));
    let quiet = second.close();
    assert!(!link.is_open(&active) && link.closed_by_peer());
    let mut quiet = quiet.unwrap();
    assert!(!quiet.is_reached());
    drop(active);
    assert!(quiet.is_reached());
}

#[test]
fn a_pair_connects_again_after_both_closed() {
    let (one, other) = (open(), open());
    for _ in 0..20 {
        let (mut first, mut second) = connected(&one, &other);
        exchange_packets(&mut first, &mut second);
    }
}

#[test]
fn unreachable_peers_are_refused() {
    let device = open();
    let nobody = SoftAddress { device: DeviceId([7; 16]), ..address(&device, 1) };
    let refused = device.connect(&endpoint(1), &nobody).unwrap_err();
    assert!(matches!(refused, SetupError::PeerGone { device } if device == DeviceId([7; 16])));
    let mut elsewhere = address(&device, 2);
    elsewhere.host.boot[0] ^= 1;
    let refused = device.connect(&endpoint(1), &elsewhere).unwrap_err();
    assert!(matches!(refused, SetupError::NotSameHost { .. }));
}

#[test]
fn a_device_that_is_dropped_is_not_alive() {
    let (one, other) = (open(), open());
    let mut waiting = one.connect(&endpoint(5), &address(&other, 6)).unwrap();
    let (link, _) = connected(&one, &other);
    let peer = link.peer().clone();
    drop(other);
    assert!(peer.alive(), "nothing was asked yet");
    within(|| {
        one.service();
        (!peer.alive()).then_some(())
    });
    assert!(matches!(waiting.poll(), Err(LinkFault::PeerGone { device }) if device == peer.id()));
}

#[test]
fn only_a_parked_peer_is_woken() {
    let (one, other) = (open(), open());
    let (mine, theirs) = (endpoint(1), endpoint(2));
    let mut first = one.connect(&mine, &address(&other, 2)).unwrap();
    let mut second = other.connect(&theirs, &address(&one, 1)).unwrap();
    let (mut first, second) = complete(&mut first, &mut second);
    let woken = || {
        let mut descriptors = [PollFd::new(theirs.waker.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptors, PollTimeout::ZERO).unwrap() == 1
    };
    first.wake_peer();
    assert!(!woken());
    second.set_parked(true);
    assert!(!woken());
    first.wake_peer();
    assert!(woken());
    theirs.waker.0.read().unwrap();
    second.set_parked(false);
    first.wake_peer();
    assert!(!woken());
}

#[test]
fn paths_that_are_switched_off_are_not_taken() {
    for (same_process, mapping, process_memory) in
        [(true, true, true), (false, true, true), (false, false, true), (false, false, false)]
    {
        let config = DeviceConfig { same_process, mapping, process_memory, ..DeviceConfig::default() };
        let (one, other) = (Device::open(config).unwrap(), open());
        let arena = other.allocate(4096, ArenaOptions::default()).unwrap();
        let region = other.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
        let (link, _peers_link) = connected(&one, &other);
        let seat = one.seat(Waker::new().unwrap()).unwrap();
        let mut mappings = MappingCache::new(&one);
        let (key, at) = (region.remote_key().0, region.address() + 8);
        let (write, domain) = (Access::REMOTE_WRITE, ProtectionDomain(0));
        let active = seat.enter();
        let reach = link.peer().reach(&mut mappings, &active, key, at, 8, write, domain).unwrap();
        match (same_process, mapping, process_memory) {
            (true, ..) => assert_eq!(reach, Reach::Direct(at as *mut u8)),
            (_, true, _) => assert!(matches!(reach, Reach::Direct(there) if there as u64 != at)),
            (_, _, true) => {
                assert_eq!(reach, Reach::Process { pid: std::process::id() as i32, address: at });
            }
            _ => assert_eq!(reach, Reach::Packets),
        }
    }
}
