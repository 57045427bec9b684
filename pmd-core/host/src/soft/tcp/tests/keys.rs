//! With a key: who connects, who does not, and somebody in between.

use std::{collections::VecDeque, sync::Arc};

use pmd_core::memory::{LocalKey, RemoteKey};

use super::*;
use crate::{
    lane::{Idle, Lane, LaneConfig, RouteConfig},
    security::{
        Answering, Asking, KeyMismatch, SECOND,
        tests::{
            key,
            relay::{Relay, Way},
        },
    },
    soft::exchange::Pair,
    soft::tcp::{
        greeting::GREETING,
        seal::{RECORD, Seal},
        socket,
        stream::Stream,
    },
    transfer::{
        Direction, LocalPiece, RouteFault, TransferError, TransferOptions, WaitError, WorkListBuilder,
        WorkListLimits,
    },
};

/// Bytes of a WRITE that goes over bulk streams.
const LONG: usize = 300_001;
/// What somebody in between looks for.
const SECRET: &[u8] = b"nobody else may read this";

fn sealed() -> Security {
    Security::with_key(key(1))
}

fn proven() -> Security {
    Security { seal_data: false, ..sealed() }
}

/// Two nodes, the first one dials.
fn nodes(of: [Security; 2]) -> (Node, Node) {
    let [one, other] = of.map(|security| Node::with(security, Tuning::default()));
    if one.device.id() < other.device.id() { (one, other) } else { (other, one) }
}

/// Connects both, through a relay to the second.
fn relayed(one: &mut Node, other: &mut Node, relay: &Relay) {
    let (ones, others) = (one.address(), other.address());
    other.connect(ones);
    one.connect(TcpAddress { socket: relay.address, ..others });
}

/// What is written: the secret at many places.
fn content() -> Vec<u8> {
    SECRET.iter().copied().cycle().take(LONG).collect()
}

/// A WRITE over bulk streams, and a short message in a packet.
fn post_both(one: &mut Node, other: &mut Node, from: &Region, to: &Region) {
    let local = [whole(from)];
    one.send(3, Operation::Write { remote: to.remote_address(0).unwrap(), local: Payload::Gather(&local) });
    one.send(4, Operation::Send { local: Payload::Inline(SECRET), immediate: None });
    let receive = ReceiveRequest { id: 5, scatter: &[Sge { length: 100, ..whole(to) }] };
    other.backend.post_receive(other.queue_pair, &receive).unwrap();
    other.backend.ring_receive(other.queue_pair);
}

#[test]
fn data_is_sealed_where_one_side_wants_it_and_arrives() {
    let unkeyed = Security::default;
    for (of, is_readable) in [
        ([sealed(), sealed()], false),
        ([sealed(), proven()], false),
        ([proven(), proven()], true),
        ([unkeyed(), unkeyed()], true),
    ] {
        let (mut one, mut other) = nodes(of);
        let relay = Relay::to(other.address().socket);
        relayed(&mut one, &mut other, &relay);
        let (mut source, mut target) = (content(), vec![0; LONG]);
        let from = one.register(&mut source, Access::LOCAL_WRITE);
        let to = other.register(&mut target, Access::all());
        post_both(&mut one, &mut other, &from, &to);
        carry_out(&mut one, &mut other, 3);
        // And back, by a READ.
        let local = [whole(&from)];
        one.send(6, Operation::Read { remote: to.remote_address(0).unwrap(), local: &local });
        carry_out(&mut one, &mut other, 1);
        drop((from, to));
        assert_eq!(target[100..], content()[100..]);
        assert_eq!(target[..SECRET.len()], *SECRET);
        assert_eq!(source, target);
        assert_eq!(relay.has_seen(SECRET), is_readable);
        assert_eq!(relay.recordings().len(), 3);
    }
}

/// What both queue pairs hear of which only one has the other's key, each within this time.
fn mismatches(of: [Security; 2], connect_timeout: Duration) -> [Option<KeyMismatch>; 2] {
    let tuning = Tuning { connect_timeout, ..Tuning::default() };
    let mut nodes = of.map(|security| Node::with(security, tuning));
    let [one, other] = nodes.each_ref().map(Node::address);
    nodes[0].connect(other);
    nodes[1].connect(one);
    nodes.iter_mut().for_each(Node::post);
    let mut failed = [Vec::new(), Vec::new()];
    within("failures of both", || {
        nodes.iter_mut().zip(&mut failed).for_each(|(node, failed)| failed.extend(node.poll()));
        failed.iter().all(|failed| failed.len() == 2).then_some(())
    });
    [0, 1].map(|side| {
        let (failed, backend) = (&failed[side], &nodes[side].backend);
        let syndromes: Vec<_> = failed.iter().map(|done| done.result.unwrap_err().syndrome).collect();
        assert_eq!(syndromes, [Syndrome::RetryExceeded, Syndrome::Flushed]);
        assert_eq!(backend.key_mismatch(&failed[1]), None);
        backend.key_mismatch(&failed[0])
    })
}

#[test]
fn without_the_key_nobody_is_connected_and_both_hear_why() {
    use KeyMismatch::{Another, OnlyHere, OnlyThere};
    let other_key = Security::with_key(key(2));
    for (ones, others, expected) in [
        (sealed(), other_key.clone(), [Another; 2]),
        (sealed(), Security::default(), [OnlyHere, OnlyThere]),
        (Security::default(), sealed(), [OnlyThere, OnlyHere]),
        (Security::default(), proven(), [OnlyThere, OnlyHere]),
    ] {
        // Who is connected to waits all of its time, in which the other one must have come.
        let times = [300, 1_000, 5_000].map(Duration::from_millis);
        let heard = |time| mismatches([ones.clone(), others.clone()], time) == expected.map(Some);
        assert!(times.into_iter().any(heard), "{expected:?}");
    }
}

#[test]
fn a_route_says_that_the_keys_differ() {
    let mut devices = [sealed(), Security::with_key(key(2))].map(open);
    // The first one dials.
    devices.sort_by_key(Device::id);
    let lanes = devices.each_ref().map(|device| {
        let backend = SoftBackend::over_tcp(device, ProtectionDomain::default(), Tuning::default()).unwrap();
        Lane::spawn(backend, LaneConfig { idle: Idle::Park, ..LaneConfig::default() }).unwrap()
    });
    let routes = lanes.each_ref().map(|lane| lane.open_route(RouteConfig::default()).unwrap());
    for (route, other) in [(&routes[0], &routes[1]), (&routes[1], &routes[0])] {
        route.connect(other.addresses(), &ConnectOptions::default()).unwrap();
    }
    let mut builder = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    // Nobody is there to look at it.
    let local = LocalPiece { address: 4096, length: 64, key: LocalKey(1) };
    builder.push(local, RemoteAddress { address: 4096, key: RemoteKey(1) });
    let work = Arc::new(builder.finish());
    let mut transfer = routes[0].submit(&work, TransferOptions::default()).unwrap();
    let error = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap_err();
    let cause = RouteFault::Keys(KeyMismatch::Another);
    assert_eq!(error, WaitError::Failed(TransferError::Flushed { cause }));
    assert_eq!(routes[0].fault(), Some(cause));
    assert!(error.to_string().contains("another pre-shared key"), "{error}");
}

/// Answers of the hub to one that has dialled it by hand.
fn answer_to(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(node.address().socket).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut answer = Vec::new();
    within("the end of the stream", || {
        node.device.service();
        match stream.read_to_end(&mut answer) {
            Ok(_) => Some(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("hung up on before it was told why: {error}"),
        }
    });
    answer
}

#[test]
fn only_who_knows_the_device_is_told_why_it_is_refused() {
    let node = Node::with(sealed(), Tuning::default());
    let hello = hello(LOWEST, &node.address(), 0);
    let unkeyed = answer_to(&node, &hello.to_bytes());
    let said = Hello::parse(unkeyed.first_chunk().unwrap()).unwrap();
    assert_eq!((said.protection, said.device, unkeyed.len()), (Protection::Sealed, node.device.id(), HELLO));
    let keyed = Hello { protection: Protection::Proof, ..hello };
    let greeting = [&keyed.to_bytes()[..], &[7; GREETING - HELLO]].concat();
    let refused = answer_to(&node, &greeting);
    assert_eq!(refused[..HELLO], unkeyed[..]);
    assert_eq!(refused[HELLO..], [0; SECOND]);
    // It is remembered for the queue pair, once.
    let pair = Pair { mine: hello.peer_queue_pair, device: LOWEST, theirs: THEIRS };
    let hub = node.device.hub().unwrap();
    assert!(matches!(hub.claim(pair), (None, Some(KeyMismatch::Another))));
    assert!(matches!(hub.claim(pair), (None, None)));
    let lost = Hello { peer_device: DeviceId([2; 16]), ..keyed };
    assert_eq!(answer_to(&node, &[&lost.to_bytes()[..], &[7; GREETING - HELLO]].concat()), []);
    assert!(matches!(hub.claim(pair), (None, None)));
}

#[test]
fn recorded_streams_that_are_sent_again_connect_nobody() {
    let (mut one, mut other) = nodes([sealed(), sealed()]);
    let hub = other.address().socket;
    let relay = Relay::to(hub);
    relayed(&mut one, &mut other, &relay);
    let (mut source, mut target) = (content(), vec![0; LONG]);
    let from = one.register(&mut source, Access::LOCAL_WRITE);
    let to = other.register(&mut target, Access::all());
    post_both(&mut one, &mut other, &from, &to);
    carry_out(&mut one, &mut other, 3);
    drop((from, to));
    let recordings = relay.recordings();
    one.backend.reset(one.queue_pair).unwrap();
    other.backend.reset(other.queue_pair).unwrap();

    // The other side waits for the same peer again, and somebody plays what was recorded.
    target.fill(0);
    let to = other.register(&mut target, Access::all());
    other.connect(one.address());
    let mut played: Vec<TcpStream> = Vec::new();
    for [there, _] in &recordings {
        let mut stream = TcpStream::connect(hub).unwrap();
        // It may have been hung up on before all of it is written.
        let _ = stream.write_all(there);
        stream.set_nonblocking(true).unwrap();
        played.push(stream);
    }
    within("all are hung up on", || {
        assert_eq!(other.poll(), []);
        played.retain_mut(|stream| match stream.read(&mut [0; 4096]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        played.is_empty().then_some(())
    });
    // Who has the key gets through.
    let relay = Relay::to(hub);
    one.connect(TcpAddress { socket: relay.address, ..other.address() });
    let from = one.register(&mut source, Access::LOCAL_WRITE);
    post_both(&mut one, &mut other, &from, &to);
    carry_out(&mut one, &mut other, 3);
    drop((from, to));
    assert_eq!(target[100..], content()[100..]);
}

#[test]
fn a_changed_bit_ends_the_connection_and_is_not_written() {
    // Behind a greeting and Ready: in a length, and in a record.
    let ready = WIRE_HEAD + 16;
    for position in [GREETING + ready + 1, GREETING + ready + 40, GREETING + ready + 10_000] {
        let (mut one, mut other) = nodes([sealed(), sealed()]);
        let flip = move |way, before: usize, bytes: &mut [u8]| {
            let here = position.checked_sub(before).and_then(|index: usize| bytes.get_mut(index));
            if let Some(byte) = here.filter(|_| way == Way::There) {
                *byte ^= 0x80;
            }
        };
        let relay = Relay::changing(([127, 0, 0, 1], 0).into(), other.address().socket, flip);
        relayed(&mut one, &mut other, &relay);
        let (mut source, mut target) = (content(), vec![0; LONG]);
        let from = one.register(&mut source, Access::LOCAL_WRITE);
        let to = other.register(&mut target, Access::all());
        let local = [whole(&from)];
        other.post();
        one.send(
            3,
            Operation::Write { remote: to.remote_address(0).unwrap(), local: Payload::Gather(&local) },
        );
        let mut failed = Vec::new();
        within("failure of the receiver", || {
            drop(one.poll());
            failed.extend(other.poll());
            (failed.len() == 2).then_some(())
        });
        assert_eq!(failed[0].result.unwrap_err().syndrome, Syndrome::BadResponse, "byte {position}");
        drop((local, from, to));
        let good = content();
        assert!(
            target.iter().zip(&good).all(|(found, good)| *found == 0 || found == good),
            "byte {position}"
        );
    }
}

/// A stream that a test has, and the other end of it in a test's hands.
fn pair() -> (Stream, Stream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let one = Stream::new(socket::connect_to(listener.local_addr().unwrap(), None).unwrap());
    let (other, _) = listener.accept().unwrap();
    other.set_nonblocking(true).unwrap();
    let (mut one, mut other) = (one, Stream::new(other.into()));
    let (asking, first) = Asking::begin(&key(1), b"").unwrap();
    let mut answer = [0; SECOND];
    let theirs = Answering::hear(&key(1), b"", &first).unwrap().answer(&[], &mut answer).unwrap();
    one.seal(Box::new(asking.finish(&answer, &mut []).unwrap()));
    other.seal(Box::new(theirs));
    (one, other)
}

/// Receives until `bytes` are there.
fn receive_all(stream: &mut Stream, bytes: usize, step: usize) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), vec![0; step]);
    within("bytes of the stream", || {
        stream.readable = true;
        let count = stream.receive(&mut room);
        all.extend_from_slice(&room[..count]);
        (all.len() >= bytes).then_some(())
    });
    all
}

#[test]
fn a_sealed_stream_carries_all_bytes_whatever_the_steps() {
    let (mut one, mut other) = pair();
    // Far more than sockets hold, and than one key seals here.
    let content: Vec<u8> = (0..6_000_000_u32).map(|index| (index % 251) as u8).collect();
    let (mut sent, mut came, mut room) = (0, Vec::new(), vec![0; 3 * RECORD]);
    let mut steps = [1, 7, RECORD - 1, RECORD, RECORD + 1, 5 * RECORD, 333].into_iter().cycle();
    // What is offered while a record is on its way begins with the same bytes.
    within("all bytes", || {
        (one.writable, other.readable) = (true, true);
        let step = steps.next().unwrap();
        sent += one.send(&content[sent..content.len().min(sent + step)]);
        let step = steps.next().unwrap().min(room.len());
        let count = other.receive(&mut room[..step]);
        came.extend_from_slice(&room[..count]);
        (came.len() == content.len()).then_some(())
    });
    assert_eq!(came, content);
    assert_eq!((sent, one.ended, other.ended, other.forged), (content.len(), false, false, false));
}

#[test]
fn bytes_that_were_taken_in_are_told_by_being_readable() {
    let (mut one, mut other) = pair();
    assert_eq!(one.send(&[5; 1000]), 1000);
    assert_eq!(receive_all(&mut other, 10, 10), [5; 10]);
    // The socket is empty, the stream is not: nobody is told again.
    assert!(other.readable);
    assert_eq!(other.receive(&mut [0; 2000]), 990);
    assert_eq!(other.receive(&mut [0; 10]), 0);
    assert!(!other.readable && !other.ended);
}

#[test]
fn last_words_are_sealed_behind_what_is_on_its_way() {
    let (mut one, mut other) = pair();
    let content: Vec<u8> = (0..4_000_000_u32).map(|index| (index % 253) as u8).collect();
    let mut sent = 0;
    // Until the sockets are full in the middle of a record, or all is sent.
    while one.writable && sent < content.len() {
        sent += one.send(&content[sent..]);
    }
    let (socket, rest) = one.into_rest(content[sent..].to_vec());
    let mut plain = Stream::new(socket);
    let (mut came, mut done, mut room) = (Vec::new(), 0, vec![0; RECORD]);
    within("all bytes", || {
        (plain.writable, other.readable) = (true, true);
        done += plain.send(&rest[done..]);
        let count = other.receive(&mut room);
        came.extend_from_slice(&room[..count]);
        (came.len() == content.len()).then_some(())
    });
    assert_eq!(came, content);
}

#[test]
fn records_that_cannot_be_end_a_stream() {
    for bytes in [
        &[0, 0][..],
        &[16, 0],
        &[0xff, 0xff],
        &[20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0],
    ] {
        let (one, mut other) = pair();
        let (socket, _) = one.into_rest(Vec::new());
        let mut plain = Stream::new(socket);
        assert_eq!(plain.send(bytes), bytes.len());
        within("the end", || {
            other.readable |= !other.ended;
            assert_eq!(other.receive(&mut [0; 10]), 0);
            other.ended.then_some(())
        });
        assert!(other.forged);
    }
    assert_eq!(format!("{:?}", pair().0).matches("hidden").count(), 1);
    let _ = size_of::<Seal>();
}

#[test]
fn ten_thousand_streams_that_say_nothing_are_bounded_and_others_connect() {
    let (mut one, mut other) = nodes([sealed(), sealed()]);
    let (ones, others) = (one.address(), other.address());
    let mut silent = VecDeque::new();
    for number in 0..10_000 {
        silent.push_back(TcpStream::connect(others.socket).unwrap());
        if number % 16 == 15 {
            other.device.service();
        }
        // Those of before have been hung up on: more than there may be have come since.
        let Some(mut first) = (silent.len() > 400).then(|| silent.pop_front()).flatten() else { continue };
        first.set_nonblocking(true).unwrap();
        within("the oldest is hung up on", || {
            other.device.service();
            match first.read(&mut [0]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
                said => {
                    assert!(!matches!(said, Ok(1..)), "strangers are told nothing");
                    Some(())
                }
            }
        });
    }
    one.connect(others);
    other.connect(ones);
    one.send(3, Operation::Send { local: Payload::Inline(b""), immediate: None });
    let receive = ReceiveRequest { id: 4, scatter: &[] };
    other.backend.post_receive(other.queue_pair, &receive).unwrap();
    other.backend.ring_receive(other.queue_pair);
    carry_out(&mut one, &mut other, 2);
}
