//! Tests of the streams: how they are connected, what comes over them, what hostile peers send and do not take.
#![allow(unsafe_code)] // registers memory

mod connections;
mod hostile;
mod keys;
mod pressure;
mod records;
mod refusals;
mod words;

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{Access, RemoteAddress, Sge},
    provider::{
        Completion, Operation, Payload, Provider, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest,
    },
    wire::Syndrome,
};

use super::{
    TcpConfig,
    record::{HELLO, Hello, Protection, WIRE_HEAD, WireHead, WireKind},
};
use crate::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, TcpAddress},
    identity::DeviceId,
    region::Region,
    security::Security,
    soft::{Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
};

/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Number of the queue pair that the peers of these tests claim to have.
const THEIRS: u32 = 7;
/// Lines of the rings of the devices here.
const LINES: u32 = 64;

fn open(security: Security) -> Device {
    open_with(security, 1)
}

fn open_with(security: Security, streams: u8) -> Device {
    let tcp = Some(TcpConfig { listen: ([127, 0, 0, 1], 0).into(), streams });
    Device::open(DeviceConfig { ring_bytes: 4096, tcp, security, ..DeviceConfig::default() }).unwrap()
}

/// Asks again until there is an answer.
fn within<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        thread::yield_now();
    }
}

/// A back end with one queue pair.
struct Node {
    device: Device,
    backend: SoftBackend,
    queue_pair: QueuePairHandle,
}

impl Node {
    fn new() -> Self {
        Self::with(Security::default(), Tuning::default())
    }

    /// With so many streams for large messages of either side.
    fn with_streams(streams: u8) -> Self {
        Self::on(open_with(Security::default(), streams), Tuning::default())
    }

    fn with(security: Security, tuning: Tuning) -> Self {
        Self::on(open(security), tuning)
    }

    fn on(device: Device, tuning: Tuning) -> Self {
        let domain = ProtectionDomain::default();
        let mut backend = SoftBackend::over_tcp(&device, domain, tuning).unwrap();
        let queue_pair = backend.create_queue_pair(&QueuePairConfig::default()).unwrap();
        Self { device, backend, queue_pair }
    }

    fn address(&self) -> TcpAddress {
        let QueuePairAddress::Tcp(address) = self.backend.address(self.queue_pair).unwrap() else {
            panic!("an address over TCP");
        };
        address
    }

    fn connect(&mut self, remote: TcpAddress) {
        self.connect_from(None, remote);
    }

    fn connect_from(&mut self, source: Option<IpAddr>, remote: TcpAddress) {
        let (remote, options) =
            (QueuePairAddress::Tcp(remote), ConnectOptions { source, ..ConnectOptions::default() });
        self.backend.connect(self.queue_pair, &remote, &options).unwrap();
    }

    fn send(&mut self, id: u64, operation: Operation<'_>) {
        let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
        self.backend.post_send(self.queue_pair, &request).unwrap();
        self.backend.ring_send(self.queue_pair);
    }

    /// Posts a receive and a message, which nothing but a failure completes.
    fn post(&mut self) {
        let receive = ReceiveRequest { id: 1, scatter: &[] };
        self.backend.post_receive(self.queue_pair, &receive).unwrap();
        self.backend.ring_receive(self.queue_pair);
        self.send(2, Operation::Send { local: Payload::Inline(b"x"), immediate: None });
    }

    fn poll(&mut self) -> Vec<Completion> {
        let mut completions = [Completion::EMPTY; 16];
        let count = self.backend.poll(&mut completions).unwrap();
        completions[..count].to_vec()
    }

    /// Waits for so many completions: what failed, and how.
    fn failures(&mut self, count: usize) -> Vec<(u64, Syndrome)> {
        let mut all = Vec::new();
        within("completions", || {
            all.extend(self.poll());
            (all.len() >= count).then_some(())
        });
        all.iter().filter_map(|done| Some((done.id, done.result.err()?.syndrome))).collect()
    }

    /// Memory that lives as long as the region, which must be dropped first.
    fn register(&self, memory: &mut [u8], access: Access) -> Region {
        let (address, length) = (memory.as_mut_ptr() as u64, memory.len() as u64);
        // SAFETY: callers drop the region before the memory, and do not touch the memory while transfers may.
        unsafe { self.device.register(address, length, access, ProtectionDomain::default()) }.unwrap()
    }
}

fn whole(region: &Region) -> Sge {
    Sge { address: region.address(), length: region.length() as u32, key: region.local_key() }
}

/// Polls both until each has completed `count` requests, all of them good.
fn carry_out(one: &mut Node, other: &mut Node, count: usize) {
    let mut done = [Vec::new(), Vec::new()];
    within("completions of both", || {
        done[0].extend(one.poll());
        done[1].extend(other.poll());
        (done.iter().map(Vec::len).sum::<usize>() >= count).then_some(())
    });
    assert!(done.iter().flatten().all(|completion| completion.result.is_ok()), "{done:?}");
}

/// The other end of a node's connection, in the hands of a test.
struct Peer {
    wire: TcpStream,
    /// Where the node asks.
    asked: TcpStream,
    /// Where this end asks.
    asking: TcpStream,
}

/// Below and above every device: so that it connects, or is connected to.
const LOWEST: DeviceId = DeviceId([0; 16]);
const HIGHEST: DeviceId = DeviceId([0xff; 16]);

fn hello(device: DeviceId, node: &TcpAddress, stream: u8) -> Hello {
    Hello {
        stream,
        streams: 1,
        lines: LINES,
        protection: Protection::Nothing,
        serial: 0x1234,
        device,
        peer_device: node.device,
        queue_pair: THEIRS,
        peer_queue_pair: node.queue_pair,
    }
}

impl Peer {
    /// A node, and a peer that has connected to it.
    fn dialling() -> (Node, Self) {
        Self::with(Tuning::default())
    }

    /// The same, with a node that works so.
    fn with(tuning: Tuning) -> (Node, Self) {
        let (node, streams) = dial_to(Node::with(Security::default(), tuning), 1);
        let Ok([wire, asking, asked]) = <[TcpStream; 3]>::try_from(streams) else { panic!("three streams") };
        (node, Self { wire, asked, asking })
    }

    /// A node, and a peer that it has connected to.
    fn dialled() -> (Node, Self) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut node = Node::new();
        let socket = listener.local_addr().unwrap();
        node.connect(TcpAddress { socket, device: HIGHEST, queue_pair: THEIRS });
        let mut streams = [None, None, None];
        within("three streams", || {
            node.poll();
            let (mut stream, _) = listener.accept().ok()?;
            let said = listen_for(&mut node, &mut stream);
            assert_eq!((said.peer_device, said.peer_queue_pair, said.streams), (HIGHEST, THEIRS, 1));
            streams[usize::from(said.stream)] = Some((stream, said));
            streams.iter().all(Option::is_some).then_some(())
        });
        let [(mut wire, said), (asked, _), (asking, _)] = streams.map(Option::unwrap);
        let answer = Hello { serial: said.serial, ..hello(HIGHEST, &node.address(), 0) };
        wire.write_all(&answer.to_bytes()).unwrap();
        let mut ready = [0; WIRE_HEAD];
        read_while(&mut node, &mut wire, &mut ready);
        assert_eq!(WireHead::parse(&ready).unwrap().kind, WireKind::Ready);
        (node, Self { wire, asked, asking })
    }

    fn record(&mut self, kind: WireKind, position: u32, body: &[u8]) {
        record(&mut self.wire, kind, position, body);
    }
}

fn record(wire: &mut TcpStream, kind: WireKind, position: u32, body: &[u8]) {
    let head = WireHead { kind, length: body.len() as u16, position };
    // The node may have hung up already.
    let _ = wire.write_all(&[&head.to_bytes()[..], body].concat());
}

/// A node to which a peer has connected, and the peer's streams: the wire, as many as said over which it asks, and as many over
/// which the node does.
fn dial(count: u8) -> (Node, Vec<TcpStream>) {
    dial_to(Node::new(), count)
}

fn dial_to(mut node: Node, count: u8) -> (Node, Vec<TcpStream>) {
    let address = node.address();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    node.connect(TcpAddress { socket: nobody, device: LOWEST, queue_pair: THEIRS });
    let dial = |stream| {
        let mut dialled = TcpStream::connect(address.socket).unwrap();
        let hello = Hello { streams: count, ..hello(LOWEST, &address, stream) };
        dialled.write_all(&hello.to_bytes()).unwrap();
        dialled
    };
    let mut streams: Vec<_> = (0..=2 * count).map(dial).collect();
    let answer = listen_for(&mut node, &mut streams[0]);
    assert_eq!(
        (answer.device, answer.queue_pair, answer.serial),
        (address.device, address.queue_pair, 0x1234)
    );
    let ready = WireHead { kind: WireKind::Ready, length: 0, position: 0 };
    streams[0].write_all(&ready.to_bytes()).unwrap();
    (0..100).for_each(|_| assert_eq!(node.poll(), []));
    (node, streams)
}

fn listen_for(node: &mut Node, stream: &mut TcpStream) -> Hello {
    let mut bytes = [0; HELLO];
    read_while(node, stream, &mut bytes);
    Hello::parse(&bytes).unwrap()
}

/// Reads while the node is polled.
fn read_while(node: &mut Node, stream: &mut TcpStream, bytes: &mut [u8]) {
    stream.set_nonblocking(true).unwrap();
    let mut have = 0;
    within("bytes of the node", || {
        node.poll();
        have += stream.read(&mut bytes[have..]).unwrap_or(0);
        (have == bytes.len()).then_some(())
    });
    stream.set_nonblocking(false).unwrap();
}
