//! Transfers that may not happen: wrong keys, bounds, rights and domains; through endpoints and their routes.

mod faults_support;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use faults_support::{Memory, Node, PATIENCE, carry_out, list, open, round_trip};
use pmd_core::{
    memory::{Access, LocalKey, RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use pmd_host::{
    backend::ConnectOptions,
    endpoint::Peer,
    lane::{Lane, LaneConfig, Route, RouteConfig},
    soft::{Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
    transfer::{
        Direction, LocalPiece, Outcome, RouteFault, SubmitError, TransferError, TransferOptions, WaitError,
        WorkList,
    },
};

const BLOCK: usize = 4096;
/// Apart from each other, so that each becomes a work request of its own.
const STRIDE: usize = 2 * BLOCK;
const BLOCKS: usize = 4;
const LENGTH: usize = BLOCKS * STRIDE;
/// The entry that is wrong.
const BAD: usize = 2;

/// A server and two clients of it.
struct Scene {
    server: Node,
    client: Node,
    other: Node,
    peer: Peer,
    other_peer: Peer,
}

impl Scene {
    fn new() -> Self {
        let (server, client, other) = (open("server"), open("client"), open("other"));
        let (peer, other_peer) = (client.connect(&server), other.connect(&server));
        Self { server, client, other, peer, other_peer }
    }

    /// After the route of `peer` went down: the process lives, others go on, and so does the client once it has
    /// connected anew.
    fn recovers(&mut self) {
        let target = Memory::arena(&self.server.endpoint, LENGTH, Access::READ_WRITE);
        let source = Memory::heap(&self.other.endpoint, LENGTH, Access::READ_WRITE);
        source.fill(0x77);
        let work = blocks(Direction::Write, &source, &target);
        assert_eq!(carry_out(self.other_peer.route(), &work), Ok(Outcome { bytes: work.bytes() }));
        assert_eq!(target.read(0, BLOCK), [0x77; BLOCK]);
        assert_eq!(self.other_peer.route().fault(), None);
        assert_eq!(self.peer.request(1, vec![1, 2], PATIENCE), Ok(vec![2, 1]), "the connection lives");

        self.peer.close();
        self.server.sees_down("client");
        self.peer = self.client.connect(&self.server);
        let source = Memory::heap(&self.client.endpoint, LENGTH, Access::READ_WRITE);
        source.fill(0x66);
        let work = blocks(Direction::Write, &source, &target);
        assert_eq!(carry_out(self.peer.route(), &work), Ok(Outcome { bytes: work.bytes() }));
        assert_eq!(target.read(BAD * STRIDE, BLOCK), [0x66; BLOCK]);
        let back = self.server.peer("client");
        round_trip((&self.client, &self.peer), (&self.server, &back));
    }
}

/// Blocks of one memory and the same blocks of the other.
fn pairs(local: &Memory, remote: &Memory) -> Vec<(LocalPiece, RemoteAddress)> {
    (0..BLOCKS).map(|block| (local.piece(block * STRIDE, BLOCK), remote.remote(block * STRIDE))).collect()
}

fn blocks(direction: Direction, local: &Memory, remote: &Memory) -> Arc<WorkList> {
    list(direction, BLOCK as u32, pairs(local, remote))
}

/// Spoils one entry and expects that it is the one that fails, in both directions.
fn fails(
    syndrome: Syndrome,
    rights: (Access, Access),
    directions: &[Direction],
    spoil: impl Fn(&mut (LocalPiece, RemoteAddress)),
) {
    let mut scene = Scene::new();
    for &direction in directions {
        let local = Memory::heap(&scene.client.endpoint, LENGTH, rights.0);
        let remote = Memory::arena(&scene.server.endpoint, LENGTH, rights.1);
        let (source, target) = match direction {
            Direction::Read => (&remote, &local),
            Direction::Write => (&local, &remote),
        };
        source.fill(1);
        target.fill(0);
        let mut pairs = pairs(&local, &remote);
        spoil(&mut pairs[BAD]);
        let bad = pairs[BAD].1;
        let route = scene.peer.route().clone();
        let error = carry_out(&route, &list(direction, BLOCK as u32, pairs)).unwrap_err();
        let TransferError::Failed { syndrome: found, entry, remote: at, .. } = error else {
            panic!("{direction:?}: {error}")
        };
        assert_eq!((found, entry as usize, at), (syndrome, BAD, bad), "{direction:?}");
        let arrived: Vec<u8> = (0..BLOCKS).map(|block| target.byte(block * STRIDE)).collect();
        assert_eq!(arrived, [1, 1, 0, 0], "{direction:?}: what came before the bad entry, and no more");
        let fault = route.fault();
        assert!(
            matches!(fault, Some(RouteFault::WorkRequest { syndrome: found, .. }) if found == syndrome),
            "{fault:?}"
        );
        let again = route.submit(&blocks(direction, &local, &local), TransferOptions::default());
        assert!(matches!(again, Err(SubmitError::RouteFailed(_))), "{again:?}");
        scene.recovers();
    }
}

const ALL: (Access, Access) = (Access::READ_WRITE, Access::READ_WRITE);
const BOTH: [Direction; 2] = [Direction::Write, Direction::Read];

#[test]
fn a_wrong_remote_key_fails_its_entry() {
    fails(Syndrome::RemoteAccess, ALL, &BOTH, |(_, remote)| remote.key = RemoteKey(remote.key.0 ^ 0x100));
}

#[test]
fn the_end_of_a_region_is_its_end() {
    let beyond = (LENGTH - BAD * STRIDE - BLOCK + 1) as u64;
    fails(Syndrome::RemoteAccess, ALL, &BOTH, |(_, remote)| remote.address += beyond);
    let before = (BAD * STRIDE + 1) as u64;
    fails(Syndrome::RemoteAccess, ALL, &BOTH, |(_, remote)| remote.address -= before);
}

#[test]
fn an_address_at_the_end_of_the_address_space_is_out_of_bounds() {
    fails(Syndrome::RemoteAccess, ALL, &BOTH, |(_, remote)| remote.address = u64::MAX - 10);
}

#[test]
fn a_wrong_local_key_fails_its_entry() {
    fails(Syndrome::LocalProtection, ALL, &BOTH, |(local, _)| local.key = LocalKey(local.key.0 ^ 0x100));
}

#[test]
fn a_local_piece_outside_of_its_region_fails_its_entry() {
    fails(Syndrome::LocalProtection, ALL, &BOTH, |(local, _)| local.address += LENGTH as u64);
}

/// The right to do the opposite only: the first entry fails.
#[test]
fn a_right_that_was_not_given_is_missing() {
    let cases = [
        (Direction::Write, Access::READ_WRITE, Access::REMOTE_READ, Syndrome::RemoteAccess),
        (
            Direction::Read,
            Access::READ_WRITE,
            Access::REMOTE_WRITE | Access::LOCAL_WRITE,
            Syndrome::RemoteAccess,
        ),
        (Direction::Read, Access::REMOTE_READ, Access::READ_WRITE, Syndrome::LocalProtection),
    ];
    let mut scene = Scene::new();
    for (direction, here, there, syndrome) in cases {
        let local = Memory::heap(&scene.client.endpoint, LENGTH, here);
        let remote = Memory::arena(&scene.server.endpoint, LENGTH, there);
        local.fill(1);
        remote.fill(2);
        let error = carry_out(scene.peer.route(), &blocks(direction, &local, &remote)).unwrap_err();
        let expected = (syndrome, 0, remote.remote(0));
        let TransferError::Failed { syndrome, entry, remote: at, .. } = error else { panic!("{error}") };
        assert_eq!((syndrome, entry, at), expected, "{direction:?}");
        assert!(local.holds_only(&[1]) && remote.holds_only(&[2]), "{direction:?}");
        scene.recovers();
    }
}

#[test]
fn a_key_of_a_region_that_is_gone_is_refused() {
    let mut scene = Scene::new();
    let local = Memory::heap(&scene.client.endpoint, LENGTH, Access::READ_WRITE);
    let mut remote = Memory::heap(&scene.server.endpoint, LENGTH, Access::READ_WRITE);
    let work = blocks(Direction::Write, &local, &remote);
    assert_eq!(carry_out(scene.peer.route(), &work), Ok(Outcome { bytes: work.bytes() }));
    remote.deregister();
    remote.fill(9);
    let error = carry_out(scene.peer.route(), &work).unwrap_err();
    assert!(
        matches!(error, TransferError::Failed { syndrome: Syndrome::RemoteAccess, entry: 0, .. }),
        "{error}"
    );
    assert!(remote.holds_only(&[9]));
    scene.recovers();
}

/// Endpoints use one protection domain; lanes on one device may each have their own.
#[test]
fn memory_of_another_domain_is_foreign_on_either_side() {
    for foreign in [false, true] {
        let devices = [0, 1].map(|_| Device::open(DeviceConfig::default()).unwrap());
        let domains = [0, 1].map(|side: usize| devices[side].protection_domain());
        let lanes = [0, 1].map(|side: usize| {
            let backend = SoftBackend::new(&devices[side], domains[side], Tuning::default()).unwrap();
            Lane::spawn(backend, LaneConfig::default()).unwrap()
        });
        let routes: [Route; 2] =
            [0, 1].map(|side: usize| lanes[side].open_route(RouteConfig::default()).unwrap());
        for side in [0, 1] {
            routes[side].connect(routes[1 - side].addresses(), &ConnectOptions::default()).unwrap();
        }
        let region = |side: usize, domain| {
            let arena = devices[side].allocate(BLOCK, Default::default()).unwrap();
            devices[side].register_source(&arena, Access::READ_WRITE, domain).unwrap()
        };
        let other = ProtectionDomain::default();
        let local = region(0, if foreign { domains[0] } else { other });
        let remote = region(1, if foreign { other } else { domains[1] });
        let piece = LocalPiece { address: local.address(), length: 64, key: local.local_key() };
        let work = list(Direction::Write, 64, [(piece, remote.remote_address(0).unwrap())]);
        let mut transfer = routes[0].submit(&work, TransferOptions::default()).unwrap();
        let error = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap_err();
        let expected = if foreign { Syndrome::RemoteAccess } else { Syndrome::LocalProtection };
        let WaitError::Failed(TransferError::Failed { syndrome, entry: 0, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(syndrome, expected);
    }
}

#[test]
fn nothing_is_moved_by_lists_without_bytes() {
    let scene = Scene::new();
    let local = Memory::heap(&scene.client.endpoint, LENGTH, Access::READ_WRITE);
    let nowhere = RemoteAddress { address: 1, key: RemoteKey(1) };
    for direction in BOTH {
        for pieces in [vec![], vec![(local.piece(0, 0), nowhere), (local.piece(8, 0), nowhere)]] {
            let work = list(direction, BLOCK as u32, pieces);
            assert_eq!(work.entries().len(), 0);
            assert_eq!(carry_out(scene.peer.route(), &work), Ok(Outcome { bytes: 0 }));
        }
    }
    // Beside pieces with bytes they change nothing.
    let remote = Memory::arena(&scene.server.endpoint, LENGTH, Access::READ_WRITE);
    local.fill(5);
    let pieces = [(local.piece(0, 0), nowhere), (local.piece(0, 64), remote.remote(0))];
    let work = list(Direction::Write, BLOCK as u32, pieces);
    assert_eq!(carry_out(scene.peer.route(), &work), Ok(Outcome { bytes: 64 }));
    assert_eq!((remote.byte(63), remote.byte(64)), (5, 0));
}

#[test]
fn a_deadline_that_has_passed_is_an_error_and_the_route_goes_on() {
    let scene = Scene::new();
    let local = Memory::heap(&scene.client.endpoint, LENGTH, Access::READ_WRITE);
    let remote = Memory::arena(&scene.server.endpoint, LENGTH, Access::READ_WRITE);
    local.fill(5);
    let work = blocks(Direction::Write, &local, &remote);
    let deadline = Some(Instant::now() - Duration::from_millis(1));
    let options = TransferOptions { deadline, ..TransferOptions::default() };
    let mut transfer = scene.peer.route().submit(&work, options).unwrap();
    let result = transfer.wait(Some(Instant::now() + PATIENCE));
    assert_eq!(result, Err(WaitError::Failed(TransferError::DeadlineExceeded)));
    let after = remote.read(0, LENGTH);
    local.fill(6);
    round_trip((&scene.client, &scene.peer), (&scene.server, &scene.server.peer("client")));
    assert_eq!(remote.read(0, LENGTH), after, "it is quiet");
    assert_eq!(carry_out(scene.peer.route(), &work), Ok(Outcome { bytes: work.bytes() }));
}

/// Looks at the route in the moment in which it is woken with the outcome.
struct Probe(Route, mpsc::SyncSender<Option<RouteFault>>);

impl Wake for Probe {
    fn wake(self: Arc<Self>) {
        let _ = self.1.try_send(self.0.fault());
    }
}

#[test]
fn a_route_is_down_before_the_failure_is_told() {
    let scene = Scene::new();
    let local = Memory::heap(&scene.client.endpoint, LENGTH, Access::READ_WRITE);
    let nowhere = RemoteAddress { address: 1, key: RemoteKey(1) };
    let work = list(Direction::Write, BLOCK as u32, [(local.piece(0, 64), nowhere)]);
    let route = scene.peer.route().clone();
    let (sender, found) = mpsc::sync_channel(1);
    let waker = Waker::from(Arc::new(Probe(route.clone(), sender)));
    let mut transfer = route.submit(&work, TransferOptions::default()).unwrap();
    let fault = match Pin::new(&mut transfer).as_mut().poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(_) => route.fault(),
        Poll::Pending => found.recv_timeout(PATIENCE).unwrap(),
    };
    assert!(
        matches!(fault, Some(RouteFault::WorkRequest { syndrome: Syndrome::RemoteAccess, .. })),
        "{fault:?}"
    );
}
