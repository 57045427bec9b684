//! Connecting, in any order, again, and not at all.

use super::*;
use crate::{
    backend::SetupError,
    soft::{OpenError, device::Device as SoftDevice},
};

/// One message each way.
fn works(one: &mut Node, other: &mut Node) {
    for (from, to) in [(true, false), (false, true)] {
        let (sender, receiver) =
            if from && !to { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
        let receive = ReceiveRequest { id: 1, scatter: &[] };
        receiver.backend.post_receive(receiver.queue_pair, &receive).unwrap();
        receiver.backend.ring_receive(receiver.queue_pair);
        sender.send(2, Operation::Send { local: Payload::Inline(b""), immediate: Some(7) });
    }
    carry_out(one, other, 4);
}

/// Two nodes: the first one dials.
fn ordered() -> (Node, Node) {
    let (one, other) = (Node::new(), Node::new());
    if one.device.id() < other.device.id() { (one, other) } else { (other, one) }
}

#[test]
fn either_side_may_connect_first() {
    for dialler_first in [true, false] {
        let (mut one, mut other) = ordered();
        let (ones, others) = (one.address(), other.address());
        if dialler_first {
            one.connect(others);
            (0..200).for_each(|_| assert_eq!(one.poll(), []));
            other.connect(ones);
        } else {
            other.connect(ones);
            (0..200).for_each(|_| assert_eq!(other.poll(), []));
            one.connect(others);
        }
        works(&mut one, &mut other);
    }
}

#[test]
fn a_connection_that_was_given_up_is_not_taken_for_a_later_one() {
    let (mut one, mut other) = ordered();
    let (ones, others) = (one.address(), other.address());
    for answered in [false, true] {
        one.connect(others);
        if answered {
            other.connect(ones);
        }
        // Far enough that the streams are with the other side, and answered there if it answers.
        for _ in 0..400 {
            one.device.service();
            other.poll();
        }
        one.backend.reset(one.queue_pair).unwrap();
        one.connect(others);
        if !answered {
            other.connect(ones);
        }
        works(&mut one, &mut other);
        one.backend.reset(one.queue_pair).unwrap();
        other.backend.reset(other.queue_pair).unwrap();
    }
}

#[test]
fn a_queue_pair_connects_to_itself() {
    let mut node = Node::new();
    let address = node.address();
    node.connect(address);
    let mut memory = vec![0_u8; 2 << 20];
    memory[..1 << 20].fill(0x5a);
    let region = node.register(&mut memory, Access::all());
    let local = [Sge { length: 1 << 20, ..whole(&region) }];
    let remote = region.remote_address(1 << 20).unwrap();
    node.send(3, Operation::Write { remote, local: Payload::Gather(&local) });
    let done = within("a completion", || node.poll().pop());
    assert!(done.result.is_ok(), "{done:?}");
    drop(region);
    assert!(memory.iter().all(|byte| *byte == 0x5a));
}

#[test]
fn a_port_without_a_listener_says_that_the_peer_is_gone() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let mut node = Node::new();
    node.connect(TcpAddress { socket: port, device: HIGHEST, queue_pair: THEIRS });
    node.post();
    assert_eq!(node.failures(2), [(2, Syndrome::RetryExceeded), (1, Syndrome::Flushed)]);
}

#[test]
fn streams_leave_from_the_address_that_is_asked_for_and_from_none_that_this_host_lacks() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let remote = TcpAddress { socket: listener.local_addr().unwrap(), device: HIGHEST, queue_pair: THEIRS };
    let asked: IpAddr = [127, 0, 0, 77].into();
    let mut node = Node::new();
    node.connect_from(Some(asked), remote);
    listener.set_nonblocking(true).unwrap();
    let (_stream, from) = within("a stream", || {
        node.poll();
        listener.accept().ok()
    });
    assert_eq!(from.ip(), asked);
    // Kept for documentation (RFC 5737): nobody has it.
    let mut node = Node::new();
    node.connect_from(Some([192, 0, 2, 1].into()), remote);
    node.post();
    assert_eq!(node.failures(2), [(2, Syndrome::RetryExceeded), (1, Syndrome::Flushed)]);
}

#[test]
fn an_address_of_another_transport_and_a_device_without_tcp_are_refused() {
    let mut node = Node::new();
    let plain = SoftDevice::open(DeviceConfig::default()).unwrap();
    let over_tcp = SoftBackend::over_tcp(&plain, ProtectionDomain::default(), Tuning::default());
    assert!(matches!(over_tcp, Err(SetupError::NotListening)));
    let mut memory = SoftBackend::new(&plain, ProtectionDomain::default(), Tuning::default()).unwrap();
    let queue_pair = memory.create_queue_pair(&QueuePairConfig::default()).unwrap();
    let address = memory.address(queue_pair).unwrap();
    let refused = node.backend.connect(node.queue_pair, &address, &ConnectOptions::default());
    assert!(matches!(refused, Err(SetupError::OtherTransport { mine }) if mine.name() == "tcp"));
    let over_tcp = QueuePairAddress::Tcp(node.address());
    let refused = memory.connect(queue_pair, &over_tcp, &ConnectOptions::default());
    assert!(matches!(refused, Err(SetupError::OtherTransport { mine }) if mine.name() == "shm"));
}

#[test]
fn numbers_of_streams_and_taken_ports_are_refused() {
    let open = |tcp| SoftDevice::open(DeviceConfig { tcp: Some(tcp), ..DeviceConfig::default() });
    for streams in [0, 17] {
        let refused = open(TcpConfig { streams, ..TcpConfig::default() });
        assert!(matches!(refused, Err(OpenError::Streams { streams: found }) if found == streams));
    }
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let listen = taken.local_addr().unwrap();
    let refused = open(TcpConfig { listen, ..TcpConfig::default() });
    assert!(matches!(refused, Err(OpenError::System { call: "listening on a TCP port", .. })));
}
