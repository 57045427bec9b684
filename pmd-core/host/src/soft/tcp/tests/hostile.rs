//! Peers that do not keep to the protocol: they lose their own connection, and nothing else happens.

use proptest::prelude::*;

use super::*;
use crate::soft::tcp::record::BulkHead;

/// Bytes of a packet's header.
const HEADER: usize = 16;
const SEND: u8 = 1;
const WRITE: u8 = 2;
/// Flags of a message of one packet, and of one whose bytes come over bulk streams.
const ONLY: u8 = 3;
const STREAMED: u8 = 1 << 5;

/// A packet's header.
fn header(kind: u8, flags: u8, length: u32) -> Vec<u8> {
    let mut bytes = vec![kind, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(length.to_le_bytes());
    bytes
}

/// Announces a WRITE whose bytes come over bulk streams.
fn streamed(remote: &RemoteAddress, length: u32) -> Vec<u8> {
    let mut bytes = header(WRITE, ONLY | STREAMED, length);
    bytes.extend(remote.address.to_le_bytes());
    bytes.extend(remote.key.0.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

/// What a queue pair says whose peer sent what cannot be.
const BROKEN: [(u64, Syndrome); 2] = [(2, Syndrome::BadResponse), (1, Syndrome::Flushed)];

#[test]
fn records_that_cannot_be_fail_the_queue_pair() {
    type Case = (&'static str, fn(&mut Peer));
    let cases: [Case; 9] = [
        ("no kind", |peer| peer.wire.write_all(&[0xee; WIRE_HEAD]).unwrap()),
        ("too long", |peer| peer.wire.write_all(&[1, 0, 0xff, 0xff, 0, 0, 0, 0]).unwrap()),
        ("ready twice", |peer| peer.record(WireKind::Ready, 0, &[])),
        ("a position ahead", |peer| peer.record(WireKind::Request, 5, &[0; HEADER])),
        ("a skip to nowhere", |peer| peer.record(WireKind::SkipResponses, 3, &[])),
        ("consumed what was not sent", |peer| peer.record(WireKind::Consumed, 1000, &[0; 4])),
        ("a packet longer than the ring", |peer| peer.record(WireKind::Request, 0, &vec![0; 5000])),
        ("no packet", |peer| peer.record(WireKind::Request, 0, &[0xff; HEADER])),
        ("bytes that nobody asked for", |peer| peer.record(WireKind::Response, 0, &header(0x81, ONLY, 0))),
    ];
    for (name, send) in cases {
        for make in [Peer::dialling, Peer::dialled] {
            let (mut node, mut peer) = make();
            node.post();
            send(&mut peer);
            assert_eq!(node.failures(2), BROKEN, "{name}");
        }
    }
}

#[test]
fn a_peer_that_sends_more_than_there_is_room_for_fails() {
    let (mut node, mut peer) = Peer::dialling();
    node.send(2, Operation::Send { local: Payload::Inline(b"x"), immediate: None });
    // No receive is posted: none of them is consumed.
    for position in 0..LINES {
        peer.record(WireKind::Request, position, &header(SEND, ONLY, 0));
    }
    assert_eq!(node.failures(1), [(2, Syndrome::BadResponse)]);
}

#[test]
fn pieces_that_cannot_be_fail_the_queue_pair_and_write_nothing_outside() {
    let good = BulkHead { length: 1 << 16, message: 0, offset: 0 };
    let cases = [
        ("empty", BulkHead { length: 0, ..good }),
        ("beyond the message", BulkHead { length: (1 << 16) + 1, ..good }),
        ("beyond the message by its offset", BulkHead { offset: 1, ..good }),
        ("far beyond", BulkHead { length: u32::MAX, offset: u32::MAX, ..good }),
        ("of an earlier message", BulkHead { message: u32::MAX, ..good }),
    ];
    for (name, head) in cases {
        let (mut node, mut peer) = Peer::dialling();
        let mut memory = vec![0_u8; 1 << 17];
        let region = node.register(&mut memory, Access::all());
        node.post();
        peer.record(WireKind::Request, 0, &streamed(&region.remote_address(0).unwrap(), 1 << 16));
        peer.asking.write_all(&head.to_bytes()).unwrap();
        assert_eq!(node.failures(2), BROKEN, "{name}");
        drop(region);
        assert!(memory.iter().all(|byte| *byte == 0), "{name}");
    }
}

#[test]
fn a_good_message_by_hand_arrives_and_forged_keys_do_not() {
    let (mut node, mut peer) = Peer::dialling();
    let mut memory = vec![0_u8; 1 << 17];
    let region = node.register(&mut memory, Access::all());
    let mut remote = region.remote_address(0).unwrap();
    peer.record(WireKind::Request, 0, &streamed(&remote, 1 << 16));
    // Its second half first.
    for offset in [1 << 15, 0] {
        let head = BulkHead { length: 1 << 15, message: 0, offset };
        peer.asking.write_all(&head.to_bytes()).unwrap();
        peer.asking.write_all(&[7; 1 << 15]).unwrap();
    }
    let mut told = [0; WIRE_HEAD + 4];
    read_while(&mut node, &mut peer.wire, &mut told);
    assert_eq!((told[0], told[4]), (WireKind::Consumed as u8, 1));
    remote.key.0 ^= 0x10_0000;
    peer.record(WireKind::Request, 1, &streamed(&remote, 1 << 16));
    node.post();
    assert_eq!(node.failures(2), [(2, Syndrome::Flushed), (1, Syndrome::Flushed)]);
    drop(region);
    assert!(
        memory[..1 << 16].iter().all(|byte| *byte == 7) && memory[1 << 16..].iter().all(|byte| *byte == 0)
    );
}

#[test]
fn who_says_no_hello_is_hung_up_on_and_the_service_goes_on() {
    let (node, _peer) = Peer::dialling();
    let address = node.address();
    let mut nonsense = TcpStream::connect(address.socket).unwrap();
    nonsense.write_all(&[b'G'; HELLO]).unwrap();
    let mut elsewhere = TcpStream::connect(address.socket).unwrap();
    let other = TcpAddress { device: HIGHEST, ..address };
    elsewhere.write_all(&hello(LOWEST, &other, 0).to_bytes()).unwrap();
    for stream in [&mut nonsense, &mut elsewhere] {
        stream.set_nonblocking(true).unwrap();
        within("hung up", || {
            node.device.service();
            let ended = stream.read(&mut [0]);
            matches!(ended, Ok(0)).then_some(()).or_else(|| {
                ended.err().filter(|error| error.kind() == std::io::ErrorKind::ConnectionReset).map(drop)
            })
        });
    }
    // Many that say nothing: the oldest go, and a good one is heard.
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(address.socket).unwrap());
        node.device.service();
    }
    let (mut one, mut two) = (Node::new(), node);
    two.backend.reset(two.queue_pair).unwrap();
    let (ones, twos) = (one.address(), two.address());
    one.connect(twos);
    two.connect(ones);
    one.send(3, Operation::Send { local: Payload::Inline(b""), immediate: None });
    let receive = ReceiveRequest { id: 4, scatter: &[] };
    two.backend.post_receive(two.queue_pair, &receive).unwrap();
    two.backend.ring_receive(two.queue_pair);
    carry_out(&mut one, &mut two, 2);
    let first = silent.first_mut().unwrap();
    first.set_nonblocking(true).unwrap();
    within("the oldest is hung up on", || {
        two.device.service();
        match first.read(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            _ => Some(()),
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_arrives_never_panics(
        records in prop::collection::vec((0..3u8, 0..8u8, 0..6u32, prop::collection::vec(any::<u8>(), 0..80)), 1..12),
        end in any::<bool>(),
    ) {
        let (mut node, mut peer) = Peer::dialling();
        let mut memory = vec![0_u8; 1 << 16];
        let region = node.register(&mut memory, Access::all());
        node.post();
        for (stream, kind, position, mut bytes) in records {
            if stream == 0 {
                // Mostly heads that look right at first.
                let mut head = [kind, 0, bytes.len() as u8, 0, position as u8, 0, 0, 0].to_vec();
                if let Some(first) = bytes.first_mut() {
                    *first = kind % 7;
                }
                head.extend(bytes);
                let _ = peer.wire.write_all(&head);
            } else {
                let stream = if stream == 1 { &mut peer.asking } else { &mut peer.asked };
                let _ = stream.write_all(&bytes);
            }
            (0..5).for_each(|_| drop(node.poll()));
        }
        if end {
            drop(peer);
        }
        (0..20).for_each(|_| drop(node.poll()));
        node.backend.reset(node.queue_pair).unwrap();
        drop(region);
    }
}
