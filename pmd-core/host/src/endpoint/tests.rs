//! Two endpoints in one process: the whole way from `connect` to bytes and messages, and what happens when one goes.

use std::{
    sync::{Mutex, mpsc},
    time::Instant,
};

use pmd_core::{
    accelerator::{Accelerator, CopyDirection, CopyRange, DeviceMemory},
    memory::{Access, RemoteAddress},
};

use super::{
    choice::Carrier,
    handshake::{Heard, Opening, RESERVED},
    *,
};
use crate::{
    accelerator::{CpuAccelerator, CpuOptions, wait_for},
    backend::QueuePairAddress,
    control::{ConnectError, DownReason, Refusal, RequestError},
    identity::LinkId,
    lane::{Idle, Message, RouteError},
    region::RegionPath,
    transfer::{
        Direction, LocalPiece, RouteFault, SubmitError, TransferOptions, WorkListBuilder, WorkListLimits,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
enum Seen {
    Connected(String),
    Message(String, Vec<u8>),
    Event(u16, Vec<u8>),
    Down(String, DownReason),
}

/// Reports what it sees; answers requests with the body reversed.
struct Watcher(Mutex<mpsc::Sender<Seen>>);

impl Watcher {
    fn saw(&self, seen: Seen) {
        let _ = self.0.lock().unwrap().send(seen);
    }
}

impl PeerService for Watcher {
    fn connected(&self, peer: &Peer) {
        self.saw(Seen::Connected(peer.identity().name.clone()));
    }

    fn request(&self, _: &Peer, _: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(body.iter().rev().copied().collect())
    }

    fn event(&self, _: &Peer, kind: u16, body: &[u8]) {
        self.saw(Seen::Event(kind, body.to_vec()));
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        self.saw(Seen::Message(peer.identity().name.clone(), message.bytes.to_vec()));
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        self.saw(Seen::Down(peer.identity().name.clone(), reason.clone()));
    }
}

fn open(name: &str, listens: bool) -> (Endpoint, mpsc::Receiver<Seen>) {
    open_for(TransportChoice::Auto, name, listens)
}

fn open_for(transport: TransportChoice, name: &str, listens: bool) -> (Endpoint, mpsc::Receiver<Seen>) {
    let config = EndpointConfig {
        transport,
        name: name.into(),
        listen: listens.then(|| ([127, 0, 0, 1], 0).into()),
        lane: LaneConfig { idle: Idle::Park, ..LaneConfig::default() },
        queue_pairs: 2,
        ..EndpointConfig::default()
    };
    let (sender, receiver) = mpsc::channel();
    (Endpoint::open(config, Arc::new(Watcher(Mutex::new(sender)))).unwrap(), receiver)
}

fn bytes_of(arena: &Arena, length: usize) -> Vec<u8> {
    // SAFETY: the arena is at least that long and no transfer is in flight when the tests call this.
    #[expect(unsafe_code, reason = "looks at memory that transfers wrote")]
    unsafe {
        std::slice::from_raw_parts(arena.as_ptr(), length).to_vec()
    }
}

fn fill(arena: &Arena, byte: u8) {
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "prepares memory for transfers")]
    unsafe {
        arena.as_ptr().write_bytes(byte, arena.length());
    }
}

#[test]
fn bytes_and_messages_cross_and_requests_are_answered() {
    crosses(TransportChoice::Auto, Transport::SharedMemory);
}

#[test]
fn bytes_and_messages_cross_over_tcp() {
    crosses(TransportChoice::Only(Transport::Tcp), Transport::Tcp);
}

#[test]
fn an_endpoint_that_may_use_tcp_only_does_not_fall_back() {
    let (server, _) = open_for(TransportChoice::Only(Transport::SharedMemory), "server", true);
    let (client, _) = open_for(TransportChoice::Only(Transport::Tcp), "client", false);
    let refused = client.connect(server.local_address().unwrap()).unwrap_err();
    let (ours, theirs) = (Transport::Tcp, Transport::SharedMemory);
    let EndpointError::Choice(error) = refused else { panic!("{refused}") };
    assert_eq!(error, ChoiceError::WishesDiffer { ours, theirs });
    assert_eq!(client.transports(), [Transport::Tcp]);
    assert!(server.peers().is_empty() && client.peers().is_empty());
}

#[test]
fn one_end_that_wishes_for_tcp_is_enough_and_both_say_so() {
    for (here, there) in [(TransportChoice::Only(Transport::Tcp), TransportChoice::Auto)] {
        for (server_wish, client_wish) in [(here, there), (there, here)] {
            let (server, saw) = open_for(server_wish, "server", true);
            let (client, _) = open_for(client_wish, "client", false);
            let peer = client.connect(server.local_address().unwrap()).unwrap();
            assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
            let back = server.peers().pop().unwrap();
            let by = |end| {
                let obstacle = Obstacle::OtherWish { end, wish: Transport::Tcp };
                [Transport::SharedMemory, Transport::Verbs].map(|transport| NotTaken { transport, obstacle })
            };
            for (peer, mine) in [(&peer, client_wish), (&back, server_wish)] {
                let end = if mine == here { End::Here } else { End::There };
                assert_eq!((peer.transport(), &peer.choice().not_taken[..]), (Transport::Tcp, &by(end)[..]));
            }
            assert_eq!(peer.choice().link, back.choice().link, "one link");
        }
    }
}

#[test]
fn a_side_that_comes_to_another_choice_is_refused() {
    let (server, _saw) = open("server", true);
    let (client, _client_saw) = open("client", false);
    let connection = client.0.plane.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    let terms = client.0.inner.devices.terms();
    let answer = connection.request(RESERVED.terms, handshake::encode(&terms), PATIENCE).unwrap();
    let theirs = handshake::decode::<Heard>(&answer).unwrap();
    assert_eq!(theirs.found, choice::Findings::default(), "nothing separates a process from itself");
    let opening = |carrier, wish| Opening {
        link: LinkId::random().unwrap(),
        carrier,
        ours: Heard { terms: choice::Terms { wish, ..terms.clone() }, found: choice::Findings::default() },
        yours: theirs.found,
        routes: vec![Vec::new()],
    };
    let wish = TransportChoice::Only(Transport::Verbs);
    for (opening, why) in [
        (opening(Carrier::Tcp, TransportChoice::Auto), "same transport"),
        (opening(Carrier::Fabric, TransportChoice::Auto), "same transport"),
        (opening(Carrier::Fabric, wish), "no NIC"),
    ] {
        let answer = connection.request(RESERVED.open, handshake::encode(&opening), PATIENCE);
        assert!(
            matches!(&answer, Err(RequestError::Refused(refusal)) if refusal.detail.contains(why)),
            "{answer:?}"
        );
    }
    let answer = connection.request(RESERVED.terms, vec![9], PATIENCE);
    assert!(matches!(answer, Err(RequestError::Refused(_))), "{answer:?}");
    assert!(server.peers().is_empty());
}

/// What a client of shared memory opens.
fn opening(client: &Endpoint, routes: Vec<Vec<QueuePairAddress>>) -> Vec<u8> {
    let ours = Heard { terms: client.0.inner.devices.terms(), found: choice::Findings::default() };
    let (link, carrier) = (LinkId::random().unwrap(), Carrier::SharedMemory);
    handshake::encode(&Opening { link, carrier, ours, yours: choice::Findings::default(), routes })
}

fn crosses(choice: TransportChoice, transport: Transport) {
    let (server, server_saw) = open_for(choice, "server", true);
    let (client, client_saw) = open_for(choice, "client", false);
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    assert_eq!(peer.transport(), transport);
    assert_eq!(peer.choice().not_taken.len(), if transport == Transport::Tcp { 2 } else { 0 });
    assert_eq!(peer.identity().name, "server");
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
    assert_eq!(peer.request(7, vec![1, 2, 3], PATIENCE), Ok(vec![3, 2, 1]));
    peer.connection().event(8, vec![4]).unwrap();
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Event(8, vec![4])));

    let source = client.allocate(1 << 20, ArenaOptions::default()).unwrap();
    let target = server.allocate(1 << 20, ArenaOptions::default()).unwrap();
    fill(&source, 0x5a);
    let from = client.register(&source, Access::LOCAL_WRITE).unwrap();
    let to = server.register(&target, Access::READ_WRITE).unwrap();
    let mut work = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    let key = from.local_key(transport).unwrap();
    let remote_key = to.remote_key(transport).unwrap();
    let path = if transport == Transport::Tcp { RegionPath::Streams } else { RegionPath::Mapped };
    assert_eq!((from.path(transport), from.path(Transport::Verbs)), (Some(path), None));
    let remote = RemoteAddress { address: to.address() + 4096, key: remote_key };
    work.push(LocalPiece { address: from.address(), length: 300_000, key }, remote);
    let notify = crate::transfer::Notification { bytes: b"landed".to_vec(), immediate: None };
    let options = TransferOptions { notify: Some(notify), ..TransferOptions::default() };
    let mut transfer = peer.route().submit(&Arc::new(work.finish()), options).unwrap();
    assert_eq!(transfer.wait(Some(Instant::now() + PATIENCE)).unwrap().bytes, 300_000);
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Message("client".into(), b"landed".to_vec())));
    let arrived = bytes_of(&target, 4096 + 300_000 + 1);
    assert!(arrived[4096..4096 + 300_000].iter().all(|byte| *byte == 0x5a));
    assert_eq!((arrived[4095], arrived[4096 + 300_000]), (0, 0), "nothing beside it was written");

    let backwards = server.peers().pop().unwrap();
    backwards.route().send(b"hello", None).unwrap();
    assert_eq!(client_saw.recv_timeout(PATIENCE), Ok(Seen::Message("server".into(), b"hello".to_vec())));
    drop((from, to));
}

#[test]
fn a_peer_that_goes_is_reported_and_its_route_fails() {
    let (server, server_saw) = open("server", true);
    let (client, client_saw) = open("client", false);
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
    drop(server);
    assert_eq!(client_saw.recv_timeout(PATIENCE), Ok(Seen::Down("server".into(), DownReason::Goodbye)));
    assert!(client.peers().is_empty());
    let work = Arc::new(WorkListBuilder::new(Direction::Write, WorkListLimits::default()).finish());
    let error = peer.route().submit(&work, TransferOptions::default()).unwrap_err();
    assert!(matches!(error, SubmitError::RouteFailed(RouteFault::PeerDown)), "{error}");
    assert_eq!(peer.request(7, vec![1], PATIENCE), Err(RequestError::Down(DownReason::Goodbye)));
}

#[test]
fn closing_a_peer_is_a_goodbye_to_the_other_side() {
    let (server, server_saw) = open("server", true);
    let (client, _client_saw) = open("client", false);
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
    peer.close();
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Down("client".into(), DownReason::Goodbye)));
    assert!(server.peers().is_empty());
    let again = client.connect(server.local_address().unwrap()).unwrap();
    assert_eq!(again.identity().incarnation, peer.identity().incarnation);
    assert!(again != peer, "a new connection is a new peer");
}

#[test]
fn a_peer_that_was_quietened_has_no_way_to_this_end_and_gets_no_rails() {
    let (server, _saw) = open("server", true);
    let (client, client_saw) = open("client", false);
    client.connect(server.local_address().unwrap()).unwrap();
    let back = server.peers().pop().unwrap();
    back.quieten();
    assert!(back.routes().all(|route| route.fault().is_some()));
    let refused = back.rails_or(|| unreachable!("there are to be none")).map(drop).unwrap_err();
    assert!(matches!(refused, EndpointError::Route(RouteError::Failed(RouteFault::Closed))), "{refused}");
    assert_eq!(client_saw.recv_timeout(PATIENCE), Ok(Seen::Down("server".into(), DownReason::Goodbye)));
    // Once more changes nothing.
    back.quieten();
}

#[test]
fn a_restarted_peer_of_the_same_name_is_another_one() {
    let (server, _saw) = open("server", true);
    let (client, _client_saw) = open("client", false);
    let first = client.connect(server.local_address().unwrap()).unwrap().identity().incarnation;
    drop(server);
    let (server, _saw) = open("server", true);
    let second = client.connect(server.local_address().unwrap()).unwrap().identity().incarnation;
    assert_ne!(first, second);
}

#[test]
fn a_peer_that_says_nothing_is_waited_for_no_longer_than_asked() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (client, _) = open("client", false);
    let address = silent.local_addr().unwrap();
    let error = client.connect_within(address, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, EndpointError::Connect(ConnectError::Silent { .. })), "{error}");
    let (server, seen) = open("server", true);
    let peer = client.connect_within(server.local_address().unwrap(), PATIENCE).unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), Seen::Connected("client".into()));
    assert_eq!(peer.down_reason(), None);
}

#[test]
fn a_second_route_on_one_connection_is_refused() {
    let (server, _saw) = open("server", true);
    let (client, _client_saw) = open("client", false);
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    let opening = opening(&client, vec![peer.route().addresses().to_vec()]);
    let answer = peer.request(RESERVED.open, opening, PATIENCE);
    assert!(
        matches!(&answer, Err(RequestError::Refused(refusal)) if refusal.detail.contains("open")),
        "{answer:?}"
    );
    let answer = peer.request(RESERVED.open, vec![0xff; 3], PATIENCE);
    assert!(matches!(answer, Err(RequestError::Refused(_))), "{answer:?}");
    assert_eq!(peer.request(7, vec![1], PATIENCE), Ok(vec![1]), "the connection lives");
}

#[test]
fn requests_before_a_route_is_open_are_refused() {
    let (server, _saw) = open("server", true);
    let (client, _client_saw) = open("client", false);
    let connection = client.0.plane.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    assert!(matches!(connection.request(7, vec![1], PATIENCE), Err(RequestError::Refused(_))));
    assert!(matches!(connection.request(0xffee, vec![], PATIENCE), Err(RequestError::Refused(_))));
    assert!(server.peers().is_empty());
}

/// A client of its own number of lanes and queue pairs.
fn client_of(lanes: usize, queue_pairs: usize) -> Endpoint {
    let config = EndpointConfig { lanes, queue_pairs, ..EndpointConfig::default() };
    let (sender, _receiver) = mpsc::channel();
    Endpoint::open(config, Arc::new(Watcher(Mutex::new(sender)))).unwrap()
}

#[test]
fn the_connecting_side_decides_how_many_routes_and_queue_pairs_there_are() {
    let (server, saw) = open("server", true);
    for (lanes, queue_pairs) in [(1, 1), (3, 4), (2, 2)] {
        let client = client_of(lanes, queue_pairs);
        let peer = client.connect(server.local_address().unwrap()).unwrap();
        assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected(String::new())));
        let there = server.peers().pop().unwrap();
        for peer in [&peer, &there] {
            assert_eq!(peer.routes().len(), lanes);
            assert!(peer.routes().all(|route| route.addresses().len() == queue_pairs));
        }
        for (number, route) in peer.routes().enumerate() {
            route.send(&[number as u8], None).unwrap();
            let message = Seen::Message(String::new(), vec![number as u8]);
            assert_eq!(saw.recv_timeout(PATIENCE), Ok(message));
        }
        let deadline = Instant::now() + PATIENCE;
        while client.counters(Transport::SharedMemory).unwrap().messages_sent < lanes as u64 {
            assert!(Instant::now() < deadline, "counters of all lanes are added");
            std::thread::yield_now();
        }
        drop((peer, client));
        assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Down(String::new(), DownReason::Goodbye)));
    }
}

#[test]
fn more_routes_or_queue_pairs_than_there_can_be_are_refused() {
    let (server, _saw) = open("server", true);
    for (lanes, queue_pairs) in [(MOST_ROUTES + 1, 1), (2, MOST_QUEUE_PAIRS)] {
        let error = client_of(lanes, queue_pairs).connect(server.local_address().unwrap()).unwrap_err();
        assert!(matches!(error, EndpointError::Routes { .. }), "{error}");
    }
    let config = EndpointConfig { lanes: 0, ..EndpointConfig::default() };
    let (sender, _receiver) = mpsc::channel();
    let error = Endpoint::open(config, Arc::new(Watcher(Mutex::new(sender)))).unwrap_err();
    assert!(matches!(error, EndpointError::NoLanes), "{error}");
    // A peer that does not keep to the limits is refused as well.
    let client = client_of(1, 1);
    let connection = client.0.plane.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    for routes in [Vec::new(), vec![Vec::new(); MOST_ROUTES + 1]] {
        let answer = connection.request(RESERVED.open, opening(&client, routes), PATIENCE);
        assert!(matches!(answer, Err(RequestError::Refused(_))), "{answer:?}");
    }
    assert!(server.peers().is_empty(), "nothing is left behind");
}

#[test]
fn routes_of_all_lanes_fail_with_their_peer() {
    let (server, _saw) = open("server", true);
    let client = client_of(3, 1);
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    drop(server);
    let deadline = Instant::now() + PATIENCE;
    while !peer.routes().all(|route| route.fault() == Some(RouteFault::PeerDown)) {
        assert!(Instant::now() < deadline, "a route outlived its peer");
        std::thread::yield_now();
    }
}

#[test]
fn a_nic_that_is_not_there_is_named_and_only_missed_where_it_was_asked_for() {
    let open = |transport| {
        let nic = NicOptions { device: Some("no_such_device0".into()), ..NicOptions::default() };
        let config = EndpointConfig { transport, nic, ..EndpointConfig::default() };
        let (sender, _receiver) = mpsc::channel();
        Endpoint::open(config, Arc::new(Watcher(Mutex::new(sender))))
    };
    for transport in [Transport::Mlx5, Transport::Verbs] {
        let error = open(TransportChoice::Only(transport)).unwrap_err();
        let EndpointError::TransportMissing { transport: missing, reason: MissingReason::Nic(_) } = error
        else {
            panic!("{error}")
        };
        assert_eq!(missing, transport);
    }
    let auto = open(TransportChoice::Auto).unwrap();
    assert_eq!(auto.transports(), [Transport::SharedMemory, Transport::Tcp]);
    assert!(auto.nic_missing().is_some(), "the reason is kept");
    let shared = open(TransportChoice::Only(Transport::SharedMemory)).unwrap();
    assert!(shared.nic_missing().is_none(), "none was looked for");
}

#[test]
fn memory_that_no_device_reaches_is_refused() {
    let (endpoint, _saw) = open("alone", false);
    let memory = RegionDescription {
        address: 0x7000_0000_0000,
        length: 4096,
        kind: pmd_core::memory::MemoryKind::Device,
        descriptor: None,
    };
    // SAFETY: the call refuses the memory; nothing is ever moved to it.
    #[expect(unsafe_code, reason = "describes memory that is not there, to be refused")]
    let result = unsafe { endpoint.register_memory(&memory, Access::LOCAL_WRITE) };
    assert!(matches!(result, Err(RegisterError::Unreachable { .. })), "{result:?}");
}

fn open_with(accelerator: &CpuAccelerator, listens: bool) -> (Endpoint, mpsc::Receiver<Seen>) {
    let accelerators = soft::Accelerators::new(vec![Arc::new(accelerator.clone())]);
    let config = EndpointConfig {
        name: if listens { "server" } else { "client" }.into(),
        listen: listens.then(|| ([127, 0, 0, 1], 0).into()),
        transport: TransportChoice::Only(Transport::SharedMemory),
        lane: LaneConfig { idle: Idle::Park, ..LaneConfig::default() },
        queue_pairs: 2,
        soft: soft::DeviceConfig { accelerators, same_process: false, ..soft::DeviceConfig::default() },
        ..EndpointConfig::default()
    };
    let (sender, receiver) = mpsc::channel();
    (Endpoint::open(config, Arc::new(Watcher(Mutex::new(sender)))).unwrap(), receiver)
}

fn shielded() -> CpuAccelerator {
    CpuAccelerator::new(CpuOptions { shielded: true, ..CpuOptions::default() })
}

#[test]
fn device_memory_needs_its_accelerator() {
    let accelerator = shielded();
    let allocate = || Arc::<dyn DeviceMemory>::from(accelerator.allocate(4096).unwrap());
    let (plain, _saw) = open("alone", false);
    let refused = plain.register_device(allocate(), Access::READ_WRITE).unwrap_err();
    let expected = matches!(refused, RegisterError::Soft(soft::RegisterError::NoAccelerator { .. }));
    assert!(expected, "{refused}");
    let (endpoint, _saw) = open_with(&accelerator, false);
    let registered = endpoint.register_device(allocate(), Access::READ_WRITE).unwrap();
    assert_eq!(registered.path(Transport::SharedMemory), Some(RegionPath::DeviceCopy));
    assert_eq!(accelerator.allocations(), 1);
    drop(registered);
    assert_eq!(accelerator.allocations(), 0);
}

/// Copies between the host and shielded memory.
fn device_copy(accelerator: &CpuAccelerator, from: u64, to: u64, length: u64, direction: CopyDirection) {
    let stream = accelerator.open_stream().unwrap();
    // SAFETY: the callers' memory lives until the copy is done.
    #[expect(unsafe_code, reason = "copies memory of this test")]
    unsafe { stream.copy(&[CopyRange { from, to, length, direction }]) }.unwrap();
    let copied = stream.record().unwrap();
    assert_eq!(wait_for(&*copied, Some(Instant::now() + PATIENCE)), Ok(true));
}

#[test]
fn device_memory_crosses_lanes_that_sleep() {
    const LENGTH: u64 = 100_000;
    let accelerator = shielded();
    let ((server, server_saw), (client, _saw)) =
        (open_with(&accelerator, true), open_with(&accelerator, false));
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
    let allocate = || Arc::<dyn DeviceMemory>::from(accelerator.allocate(LENGTH).unwrap());
    let from = client.register_device(allocate(), Access::LOCAL_WRITE).unwrap();
    let to = server.register_device(allocate(), Access::READ_WRITE).unwrap();
    let (key, remote_key) =
        (from.local_key(Transport::SharedMemory).unwrap(), to.remote_key(Transport::SharedMemory).unwrap());
    let mut work = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    for piece in 0..LENGTH / 1000 {
        let remote = RemoteAddress { address: to.address() + (99 - piece) * 1000, key: remote_key };
        let address = from.address() + piece * 1000;
        work.push(LocalPiece { address, length: 1000, key }, remote);
    }
    let work = Arc::new(work.finish());
    for round in 0..20_u8 {
        let bytes: Vec<u8> = (0..LENGTH).map(|at| (at / 1000) as u8 ^ round).collect();
        device_copy(&accelerator, bytes.as_ptr() as u64, from.address(), LENGTH, CopyDirection::HostToDevice);
        // Nothing else wakes the lane than the end of the copies.
        let hold = accelerator.hold_copies();
        let notify = crate::transfer::Notification { bytes: vec![round], immediate: None };
        let options = TransferOptions { notify: Some(notify), ..TransferOptions::default() };
        let mut transfer = peer.route().submit(&work, options).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        drop(hold);
        assert_eq!(transfer.wait(Some(Instant::now() + PATIENCE)).unwrap().bytes, LENGTH);
        let message = server_saw.recv_timeout(PATIENCE);
        assert_eq!(message, Ok(Seen::Message("client".into(), vec![round])));
        let mut arrived = vec![0_u8; LENGTH as usize];
        device_copy(
            &accelerator,
            to.address(),
            arrived.as_mut_ptr() as u64,
            LENGTH,
            CopyDirection::DeviceToHost,
        );
        for (at, byte) in arrived.iter().enumerate() {
            assert_eq!(*byte, (99 - at / 1000) as u8 ^ round, "byte {at}");
        }
    }
}

#[test]
fn cached_registrations_are_found_again_until_they_are_invalidated() {
    let (endpoint, _saw) = open("alone", false);
    let memory = vec![0_u8; 64 << 10];
    let whole = RegionDescription {
        address: memory.as_ptr() as u64,
        length: memory.len() as u64,
        kind: pmd_core::memory::MemoryKind::Host,
        descriptor: None,
    };
    let part = RegionDescription { address: whole.address + 100, length: 200, ..whole };
    let key = |registered: &Registered| registered.remote_key(Transport::SharedMemory).unwrap();
    // SAFETY: the vector outlives the registrations (invalidated below) and no transfer touches it.
    #[expect(unsafe_code, reason = "registers memory of this test")]
    let acquire = |memory| unsafe { endpoint.register_cached(memory, Access::READ_WRITE).unwrap() };
    let first = key(&acquire(&whole));
    assert_eq!(key(&acquire(&part)), first, "a part of it is covered");
    assert_eq!(endpoint.invalidate_registrations(part.address, 1), 1);
    assert_ne!(key(&acquire(&whole)), first, "the old key is gone");
    assert_eq!(endpoint.invalidate_registrations(whole.address, whole.length), 1);
    let counters = endpoint.registration_counters();
    assert_eq!((counters.hits, counters.misses, counters.invalidated), (1, 2, 2));
    drop(memory);
}
