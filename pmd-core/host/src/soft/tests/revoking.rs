//! Taking keys back while engines of other threads use them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    mpsc,
};

use super::*;

#[test]
fn deregistration_waits_for_the_round_in_which_the_key_was_checked() {
    let device = open();
    let region = leak(&device, 8, Access::LOCAL_WRITE);
    let seat = device.seat(Waker::new().unwrap()).unwrap();
    let active = seat.enter();
    let (key, start) = (region.local_key().0, region.address());
    let check =
        |active: &_| device.regions().check(active, key, start, 8, Access::LOCAL_WRITE, ProtectionDomain(0));
    assert_eq!(check(&active), Ok(None));
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    let (started, began) = mpsc::channel();
    let revoker = thread::spawn(move || {
        started.send(()).unwrap();
        region.deregister();
        seen.load(Ordering::Acquire)
    });
    began.recv_timeout(PATIENCE).unwrap();
    // The key goes at once; the round is still waited for.
    within(|| check(&active).is_err().then_some(()));
    thread::sleep(LINGER);
    assert!(!revoker.is_finished());
    ended.store(true, Ordering::Release);
    drop(active);
    assert!(revoker.join().unwrap(), "deregistration returned within the round");
}

#[test]
fn deregistration_waits_for_rounds_of_peers_too() {
    let (device, peer) = (open(), open());
    let (_link, _peers_link) = connected(&device, &peer);
    let region = leak(&device, 8, Access::LOCAL_WRITE);
    let seat = peer.seat(Waker::new().unwrap()).unwrap();
    let active = seat.enter();
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    let revoker = thread::spawn(move || {
        region.deregister();
        seen.load(Ordering::Acquire)
    });
    thread::sleep(LINGER);
    ended.store(true, Ordering::Release);
    drop(active);
    assert!(revoker.join().unwrap(), "deregistration returned within a round of the peer's");
}

#[test]
fn a_link_is_closed_for_rounds_to_come_and_quiet_after_those_that_run() {
    let (one, other) = (open(), open());
    let seat = other.seat(Waker::new().unwrap()).unwrap();
    let (link, peers_link) = connected(&one, &other);
    let active = seat.enter();
    assert!(peers_link.is_open(&active));
    let mut quiet = link.close().unwrap();
    assert!(!peers_link.is_open(&active));
    assert!(peers_link.closed_by_peer());
    assert!(!quiet.is_reached());
    drop(active);
    assert!(quiet.is_reached());
    assert!(quiet.is_reached());
}

/// Nothing may be written under a key after its deregistration has returned.
#[test]
fn memory_is_still_after_deregistration() {
    const ROUNDS: u64 = 300;
    let (device, peer) = (open(), open());
    let (_link, peers_link) = connected(&device, &peer);
    let word = Arc::new(AtomicU64::new(0));
    let key = Arc::new(AtomicU32::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let engine = thread::spawn({
        let (word, key, stop) = (word.clone(), key.clone(), stop.clone());
        move || engine(&peer, &peers_link, &word, &key, &stop)
    });
    for _ in 0..ROUNDS {
        let address = Arc::as_ptr(&word) as u64;
        // SAFETY: lives longer than the region, and is reached as an atomic only.
        let region = unsafe { device.register(address, 8, Access::READ_WRITE, ProtectionDomain(0)) }.unwrap();
        let before = word.load(Ordering::Relaxed);
        key.store(region.remote_key().0, Ordering::Release);
        within(|| (word.load(Ordering::Relaxed) != before).then_some(()));
        region.deregister();
        let after = word.load(Ordering::Relaxed);
        thread::yield_now();
        assert_eq!(word.load(Ordering::Relaxed), after);
    }
    stop.store(true, Ordering::Release);
    assert!(engine.join().unwrap() >= ROUNDS);
}

/// Adds to the word whenever the key allows it, until told to stop. How often it did.
fn engine(peer: &Device, link: &Link, word: &AtomicU64, key: &AtomicU32, stop: &AtomicBool) -> u64 {
    let seat = peer.seat(Waker::new().unwrap()).unwrap();
    let mut mappings = MappingCache::new(peer);
    let mut count = 0;
    while !stop.load(Ordering::Acquire) {
        let active = seat.enter();
        let address = std::ptr::from_ref(word) as u64;
        let reach = link.peer().reach(
            &mut mappings,
            &active,
            key.load(Ordering::Acquire),
            address,
            8,
            Access::REMOTE_WRITE,
            ProtectionDomain(0),
        );
        if let Ok(reach) = reach {
            assert_eq!(reach, Reach::Direct(address as *mut u8));
            count += 1;
            word.fetch_add(1, Ordering::Relaxed);
        }
        drop(active);
        thread::yield_now();
    }
    count
}
