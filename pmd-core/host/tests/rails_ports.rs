//! Rails that have devices of their own: several software HCAs at each end, each with keys of its own.
#![allow(unsafe_code)] // looks into arenas, and registers parts of them

mod rails_support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::memory::{Access, RegionDescription, RegionSource, RemoteAddress, RemoteKey};
use pmd_host::{
    backend::Transport,
    control::DownReason,
    endpoint::{EndpointError, Peer, RailPort, RailsConfig, Registered},
    nic::NicOptions,
    rail::{BundleConfig, DISCOVERY, MOST_RAILS, RailState, Reach},
    security::{KEY_BYTES, PreSharedKey, Security},
    soft::ArenaOptions,
    transfer::{
        CancelOutcome, Direction, LocalPiece, Notification, Outcome, Transfer, TransferError,
        TransferOptions, WaitError, WorkList, WorkListBuilder,
    },
};

use self::rails_support::{CHUNK, End, LENGTH, PATIENCE, until, whole};

/// No rail is lost for being slow: the machine may be.
fn rails(count: usize, reach: Reach) -> RailsConfig {
    let (reopen, patience) = (Duration::from_millis(50), PATIENCE);
    let bundle = BundleConfig { reopen, stall: patience, probe: patience, ..BundleConfig::default() };
    RailsConfig { count, reach, bundle, ..RailsConfig::default() }
}

fn end(number: u8, ports: u8) -> End {
    End::on_ports(number, ports, &rails(MOST_RAILS, Reach::SameFabric), &Security::default())
}

/// The end that connects, the other, and each as the other's peer.
struct Scene {
    near: End,
    far: End,
    peer: Peer,
    back: Peer,
}

impl Scene {
    /// With so many devices at the two ends, and so many rails.
    fn new((near, far): (u8, u8), rails: usize) -> Self {
        Self::of(end(1, near), end(2, far), rails)
    }

    fn of(near: End, far: End, rails: usize) -> Self {
        let peer = near.endpoint.connect(far.endpoint.local_address().unwrap()).unwrap();
        let back = far.endpoint.peers()[0].clone();
        let scene = Self { near, far, peer, back };
        scene.until_up(rails);
        scene
    }

    fn until_up(&self, rails: usize) {
        let up = |peer: &Peer| {
            let reports = peer.rail_reports();
            reports.len() == rails && reports.iter().all(|report| report.state == RailState::Up)
        };
        until("all rails", || up(&self.peer) && up(&self.back));
    }

    /// The whole arena from the near end to the far one, and what it carried before and with that.
    fn write(&self, seed: u64, bytes: u64) {
        self.near.fill(seed);
        done(submit(&self.peer, &whole(&self.near, &self.far, Direction::Write)));
        assert!(self.far.holds(seed));
        carried(&self.peer, bytes);
    }
}

fn submit(peer: &Peer, work: &Arc<WorkList>) -> Transfer {
    peer.submit(work, TransferOptions::default(), None).unwrap()
}

fn done(mut transfer: Transfer) {
    let outcome = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap();
    assert_eq!(outcome, Outcome { bytes: LENGTH as u64 });
}

fn failed(mut transfer: Transfer) -> TransferError {
    match transfer.wait(Some(Instant::now() + PATIENCE)) {
        Err(WaitError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn bytes_on_rails(peer: &Peer) -> u64 {
    peer.rail_reports().iter().map(|report| report.bytes).sum()
}

/// Every rail of a peer has carried something, and all of them so many bytes.
fn carried(peer: &Peer, bytes: u64) {
    let reports = peer.rail_reports();
    assert!(reports.iter().all(|report| report.chunks > 0), "{reports:?}");
    assert_eq!(bytes_on_rails(peer), bytes);
}

#[test]
fn devices_in_unequal_numbers_share_what_goes_either_way() {
    for counts in [(2, 3), (3, 2)] {
        let scene = Scene::new(counts, 3);
        let Scene { near, far, peer, back } = &scene;
        near.fill(1);
        let notify = Some(Notification { bytes: b"all of it".to_vec(), immediate: None });
        let options = TransferOptions { notify, ..TransferOptions::default() };
        done(peer.submit(&whole(near, far, Direction::Write), options, None).unwrap());
        assert!(far.holds(1));
        until("the notification", || far.inbox.messages() == [b"all of it"]);
        carried(peer, LENGTH as u64);
        far.fill(2);
        done(submit(peer, &whole(near, far, Direction::Read)));
        assert!(near.holds(2));
        carried(peer, 2 * LENGTH as u64);
        near.fill(3);
        done(submit(back, &whole(far, near, Direction::Read)));
        assert!(far.holds(3));
        far.fill(4);
        done(submit(back, &whole(far, near, Direction::Write)));
        assert!(near.holds(4));
        carried(back, 2 * LENGTH as u64);
        // One lane of the route, and behind it one of each device.
        let lanes = near.endpoint.metrics().lanes;
        let numbers: Vec<_> = lanes.iter().map(|lane| (lane.transport, lane.number)).collect();
        let wanted: Vec<_> = (0..=usize::from(counts.0)).map(|number| (Transport::Tcp, number)).collect();
        assert_eq!(numbers, wanted);
        let each: u64 = lanes.iter().map(|lane| lane.counters.bytes).sum();
        assert_eq!(near.endpoint.counters(Transport::Tcp).unwrap().bytes, each);
    }
}

#[test]
fn devices_of_rails_ask_for_the_key_that_the_endpoint_has() {
    let security = Security::with_key(PreSharedKey::from_bytes(&[7; KEY_BYTES]));
    let end = |number, ports| End::on_ports(number, ports, &rails(MOST_RAILS, Reach::SameFabric), &security);
    Scene::of(end(1, 2), end(2, 3), 3).write(1, LENGTH as u64);
}

#[test]
fn a_device_that_is_cut_off_is_dropped_and_taken_back() {
    let scene = Scene::new((2, 2), 2);
    let relays = [&scene.near.relay, &scene.far.relay];
    relays.iter().for_each(|relay| relay.cut_after(CHUNK as u64 / 2));
    scene.near.fill(5);
    let work = whole(&scene.near, &scene.far, Direction::Write);
    done(submit(&scene.peer, &work));
    assert!(scene.far.holds(5));
    assert!(relays.iter().any(|relay| !relay.is_through()), "it was used when it was cut off");
    relays.iter().for_each(|relay| relay.heal());
    scene.until_up(2);
    assert_eq!(scene.peer.rail_reports()[0].lives, 1);
    assert!(scene.peer.rail_reports()[1].lives > 1);
    scene.write(6, 2 * LENGTH as u64);
}

#[test]
fn memory_that_was_registered_later_has_keys_there_too_and_none_once_it_is_gone() {
    let scene = Scene::new((2, 2), 2);
    let Scene { near, far, peer, .. } = &scene;
    let arena = far.endpoint.allocate(LENGTH, ArenaOptions::default()).unwrap();
    let registered = far.endpoint.register(&arena, Access::READ_WRITE).unwrap();
    let work = |address: u64, key: RemoteKey| {
        let mut work = WorkListBuilder::new(Direction::Write, peer.route().limits());
        work.push(local(near, 0, LENGTH), RemoteAddress { address, key });
        Arc::new(work.finish())
    };
    let there = work(registered.address(), registered.remote_key(Transport::Tcp).unwrap());
    done(submit(peer, &there));
    carried(peer, LENGTH as u64);
    drop(registered);
    // As on the route, which tells it.
    let error = failed(submit(peer, &there));
    assert!(matches!(error, TransferError::Failed { .. }), "{error:?}");
    carried(peer, LENGTH as u64);
}

/// Some bytes of an end's arena, under the key of all of it.
fn local(end: &End, offset: usize, length: usize) -> LocalPiece {
    let key = end.registered.local_key(Transport::Tcp).unwrap();
    LocalPiece { address: end.registered.address() + offset as u64, length: length as u64, key }
}

#[test]
fn a_list_with_more_keys_than_can_be_asked_for_goes_over_the_route() {
    const KEYS: usize = 4096;
    const PIECE: usize = 4096;
    let scene = Scene::new((2, 2), 2);
    let Scene { near, far, peer, .. } = &scene;
    let arena = far.arena.description();
    let part = |index: usize| {
        let part = RegionDescription {
            address: arena.address + (index * PIECE) as u64,
            length: PIECE as u64,
            kind: arena.kind,
            descriptor: arena.descriptor.map(|(file, offset)| (file, offset + (index * PIECE) as u64)),
        };
        // SAFETY: it is a part of the arena, which outlives it, and nobody borrows its bytes while transfers are on it.
        unsafe { far.endpoint.register_memory(&part, Access::READ_WRITE) }.unwrap()
    };
    let parts: Vec<Registered> = (0..=KEYS).map(part).collect();
    let work = |parts: &[Registered]| {
        let mut work = WorkListBuilder::new(Direction::Write, peer.route().limits());
        for (index, part) in parts.iter().enumerate() {
            let key = part.remote_key(Transport::Tcp).unwrap();
            work.push(local(near, index * PIECE, PIECE), RemoteAddress { address: part.address(), key });
        }
        Arc::new(work.finish())
    };
    far.fill(8);
    near.fill(8);
    let all = (parts.len() * PIECE) as u64;
    let clear = |bytes: usize| {
        // SAFETY: the arena has so many bytes, and no transfer is on it.
        unsafe { far.arena.as_ptr().write_bytes(0, bytes) };
    };
    for (parts, on_rails, message) in [(&parts[..], 0, "beside"), (&parts[..KEYS], all - PIECE as u64, "on")]
    {
        clear(parts.len() * PIECE);
        assert!(!far.holds(8));
        let notify = Some(Notification { bytes: message.into(), immediate: None });
        let options = TransferOptions { notify, ..TransferOptions::default() };
        let mut transfer = peer.submit(&work(parts), options, None).unwrap();
        let outcome = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap();
        assert_eq!(outcome.bytes, (parts.len() * PIECE) as u64);
        assert!(far.holds(8));
        assert_eq!(bytes_on_rails(peer), on_rails);
    }
    until("both notifications", || far.inbox.messages() == ["beside".as_bytes(), b"on"]);
}

#[test]
fn what_waits_for_keys_can_be_stopped_and_is_late_at_its_time() {
    let scene = Scene::new((2, 2), 2);
    let Scene { near, far, peer, .. } = &scene;
    let work = whole(near, far, Direction::Write);
    // The peer answers nothing until its control thread is let go.
    let busy = far.inbox.keep_busy();
    peer.connection().event(1, Vec::new()).unwrap();
    let mut stopped = submit(peer, &work);
    assert_eq!(stopped.poll(), None);
    let outcome = stopped.cancel();
    assert!(matches!(outcome, CancelOutcome::Cancelled), "{outcome:?}");
    let deadline = Some(Instant::now() + Duration::from_millis(20));
    let options = TransferOptions { deadline, ..TransferOptions::default() };
    let error = failed(peer.submit(&work, options, None).unwrap());
    assert_eq!(error, TransferError::DeadlineExceeded);
    assert_eq!(bytes_on_rails(peer), 0);
    drop(busy);
    // The answers to those two come first, and concern nobody.
    scene.write(9, LENGTH as u64);
}

#[test]
fn what_waits_for_the_keys_of_a_peer_that_leaves_fails() {
    let scene = Scene::new((2, 2), 2);
    let Scene { near, far, peer, back } = &scene;
    let busy = far.inbox.keep_busy();
    peer.connection().event(1, Vec::new()).unwrap();
    let transfer = submit(peer, &whole(near, far, Direction::Write));
    assert_eq!(transfer.poll(), None);
    // Its goodbye is queued before the question is read.
    back.close();
    drop(busy);
    assert_eq!(failed(transfer), TransferError::PeerDown);
    assert_eq!(peer.down_reason(), Some(DownReason::Goodbye));
    assert_eq!(bytes_on_rails(peer), 0);
}

#[test]
fn devices_that_are_declared_to_reach_their_equals_alone_are_on_no_other_rail() {
    let far = end(2, 3);
    // The third device of the far end has no equal, and reaches nobody.
    far.relay.silence();
    let near = End::on_ports(1, 2, &rails(MOST_RAILS, Reach::SameNumber), &Security::default());
    Scene::of(near, far, 2).write(10, LENGTH as u64);
}

#[test]
fn devices_that_reach_one_of_the_peer_alone_are_found_by_trying() {
    // Time that a life has to come up in, on a pair that works too: one that is given up for that is tried again. Nothing is lost
    // afterwards.
    let bundle = BundleConfig {
        reopen: Duration::from_millis(20),
        reopen_limit: Duration::from_millis(50),
        probe: Duration::from_millis(500),
        idle: Duration::ZERO,
        stall: PATIENCE,
        ..BundleConfig::default()
    };
    let rails = RailsConfig { bundle, ..rails(MOST_RAILS, Reach::SameFabric) };
    // No device has its equal at the same place, where rails begin.
    let near = End::on_networks((1, 2), &[0, 1, 2], &rails);
    let far = End::on_networks((2, 1), &[1, 2, 0], &rails);
    let scene = Scene::of(near, far, 3);
    let reports = scene.peer.rail_reports();
    assert!(reports.iter().all(|report| report.lives > DISCOVERY), "{reports:?}");
    scene.write(14, LENGTH as u64);
    scene.far.fill(15);
    done(submit(&scene.peer, &whole(&scene.near, &scene.far, Direction::Read)));
    assert!(scene.near.holds(15));
    carried(&scene.peer, 2 * LENGTH as u64);
}

#[test]
fn a_peer_without_devices_for_rails_is_not_linked_with_rails_on_others() {
    let (near, far) = (end(1, 2), end(2, 0));
    let refused = near.endpoint.connect(far.endpoint.local_address().unwrap());
    assert!(matches!(refused, Err(EndpointError::RailPorts { ours: 2, theirs: 0 })), "{refused:?}");
    until("the end of the link", || near.endpoint.peers().is_empty() && far.endpoint.peers().is_empty());
}

#[test]
fn a_peer_that_connects_without_devices_has_its_rails_on_the_device_of_the_route() {
    let near = End::on_ports(1, 0, &rails(2, Reach::SameFabric), &Security::default());
    Scene::of(near, end(2, 2), 2).write(11, LENGTH as u64);
}

/// Rails on NICs beside a route over TCP; `--ignored`.
#[test]
#[ignore = "needs NICs: their names in PMD_TEST_NICS, with commas between them"]
fn nics_of_their_own_carry_rails_beside_a_route_over_tcp() {
    let names = std::env::var("PMD_TEST_NICS").unwrap();
    let nic =
        |name: &str| RailPort::Nic(NicOptions { device: Some(name.to_owned()), ..NicOptions::default() });
    let ports: Vec<_> = names.split(',').map(nic).collect();
    let end = |number| End::on(number, &ports, &rails(MOST_RAILS, Reach::SameFabric));
    let scene = Scene::of(end(1), end(2), ports.len());
    scene.write(12, LENGTH as u64);
    scene.far.fill(13);
    done(submit(&scene.peer, &whole(&scene.near, &scene.far, Direction::Read)));
    assert!(scene.near.holds(13));
    carried(&scene.peer, 2 * LENGTH as u64);
}
