//! When a side says what it has consumed, and how many calls of the kernel a small message takes.

use std::{net::Shutdown, os::unix::net::UnixStream};

use nix::sys::epoll::EpollFlags;

use super::*;
use crate::{
    outage,
    soft::tcp::stream::{CALLS, Stream},
};

/// A WRITE of eight bytes, as a peer sends it.
fn write(remote: &RemoteAddress, bytes: [u8; 8]) -> Vec<u8> {
    const WRITE: u8 = 2;
    const ONLY: u8 = 3;
    let mut packet = vec![WRITE, ONLY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0];
    packet.extend(remote.address.to_le_bytes());
    packet.extend(remote.key.0.to_le_bytes());
    packet.extend([0; 4]);
    packet.extend(bytes);
    packet
}

/// The bytes of a region, which a peer may be writing.
fn look(region: &Region) -> [u8; 8] {
    // SAFETY: the tests keep eight bytes of memory for as long as the region lives.
    unsafe { std::ptr::read_volatile(region.address() as *const [u8; 8]) }
}

/// A node that has consumed a WRITE of its peer and has not been called since.
fn written(node: &mut Node, peer: &mut Peer, region: &Region) {
    peer.record(WireKind::Request, 0, &write(&region.remote_address(0).unwrap(), [7; 8]));
    within("a WRITE", || {
        assert_eq!(node.poll(), []);
        (look(region) == [7; 8]).then_some(())
    });
}

/// Whether nothing of the node is here.
fn is_quiet(peer: &mut Peer) -> bool {
    peer.wire.set_nonblocking(true).unwrap();
    let found = peer.wire.read(&mut [0; 64]);
    peer.wire.set_nonblocking(false).unwrap();
    found.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The next record of the node, which is not called meanwhile.
fn hear(peer: &mut Peer) -> (WireKind, u32) {
    peer.wire.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = [0; WIRE_HEAD];
    peer.wire.read_exact(&mut head).expect("a record");
    let WireHead { kind, length, position } = WireHead::parse(&head).unwrap();
    peer.wire.read_exact(&mut vec![0; length.into()]).expect("its body");
    (kind, position)
}

#[test]
fn what_was_consumed_goes_with_the_answer() {
    let (mut node, mut peer) = Peer::dialling();
    let mut memory = [0; 8];
    let region = node.register(&mut memory, Access::all());
    written(&mut node, &mut peer, &region);
    // What it sends is here when its call returns: both ends are on this host.
    assert!(is_quiet(&mut peer), "the answer may take it along");
    let remote = RemoteAddress { address: 4096, ..region.remote_address(0).unwrap() };
    node.send(1, Operation::Write { remote, local: Payload::Inline(&[1; 8]) });
    assert_eq!(hear(&mut peer), (WireKind::Consumed, 1));
    assert_eq!(hear(&mut peer), (WireKind::Request, 0));
    drop(region);
}

#[test]
fn what_was_consumed_is_said_soon_where_there_is_no_answer() {
    type Case = (&'static str, fn(&mut Node));
    let cases: [Case; 3] = [
        ("the next poll", |node| assert_eq!(node.poll(), [])),
        ("a caller that goes", |node| node.backend.settle()),
        ("sleep", |node| node.backend.park(Duration::from_millis(1))),
    ];
    for (name, call) in cases {
        let (mut node, mut peer) = Peer::dialling();
        let mut memory = [0; 8];
        let region = node.register(&mut memory, Access::all());
        written(&mut node, &mut peer, &region);
        assert!(is_quiet(&mut peer), "{name}");
        call(&mut node);
        assert_eq!(hear(&mut peer), (WireKind::Consumed, 1), "{name}");
        // Once.
        (0..100).for_each(|_| assert_eq!(node.poll(), []));
        node.backend.settle();
        assert!(is_quiet(&mut peer), "{name}");
        drop(region);
    }
}

#[test]
fn a_poll_that_took_long_keeps_nothing_back() {
    let (mut node, mut peer) = Peer::with(Tuning { poll_budget: 8, ..Tuning::default() });
    let mut memory = [0; 8];
    let region = node.register(&mut memory, Access::all());
    written(&mut node, &mut peer, &region);
    assert_eq!(hear(&mut peer), (WireKind::Consumed, 1));
    drop(region);
}

#[test]
fn a_small_message_takes_one_call_to_send_and_one_to_receive() {
    const TURNS: u32 = 100;
    let (mut one, mut other) = (Node::new(), Node::new());
    let (ones, others) = (one.address(), other.address());
    one.connect(others);
    other.connect(ones);
    let mut memories = [[0; 8]; 2];
    let [here, there] = &mut memories;
    let regions = [one.register(here, Access::all()), other.register(there, Access::all())];
    let mut nodes = [one, other];
    let mut before = [0; 2];
    for turn in 1..=TURNS {
        for (from, to) in [(0, 1), (1, 0)] {
            let remote = regions[to].remote_address(0).unwrap();
            let bytes = u64::from(turn).to_ne_bytes();
            let request = SendRequest {
                id: turn.into(),
                operation: Operation::Write { remote, local: Payload::Inline(&bytes) },
                flags: SendFlags::empty(),
            };
            let Node { backend, queue_pair, .. } = &mut nodes[from];
            backend.post_send(*queue_pair, &request).unwrap();
            backend.ring_send(*queue_pair);
            within("a message", || {
                // Until they are linked both have to be polled.
                if turn == 1 {
                    assert_eq!(nodes[from].poll(), []);
                }
                assert_eq!(nodes[to].poll(), []);
                (look(&regions[to]) == bytes).then_some(())
            });
        }
        if turn == 1 {
            before = CALLS.get();
        }
    }
    let calls = CALLS.get();
    assert_eq!([0, 1].map(|kind| calls[kind] - before[kind]), [2 * (TURNS - 1); 2], "sends, receives");
    drop(nodes);
    drop(regions);
}

#[test]
fn the_end_of_the_wire_is_found_though_it_came_with_a_request() {
    let (mut node, mut peer) = Peer::dialling();
    let mut memory = [0; 8];
    let region = node.register(&mut memory, Access::all());
    node.post();
    peer.record(WireKind::Request, 0, &write(&region.remote_address(0).unwrap(), [7; 8]));
    peer.wire.shutdown(Shutdown::Write).unwrap();
    within("the arrival of both", || outage::has_arrived(&peer.wire).then_some(()));
    assert_eq!(node.failures(2), [(2, Syndrome::RetryExceeded), (1, Syndrome::Flushed)]);
    assert_eq!(look(&region), [7; 8]);
    drop(region);
}

#[test]
fn a_stream_that_gave_less_than_there_is_room_for_is_asked_again_when_it_has_news() {
    let make = || {
        let (mut other, socket) = UnixStream::pair().unwrap();
        socket.set_nonblocking(true).unwrap();
        other.write_all(b"abc").unwrap();
        (other, Stream::new(socket.into()))
    };
    let calls = || CALLS.get()[1];
    let mut bytes = [0; 8];

    let (mut other, mut stream) = make();
    stream.note(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT);
    assert_eq!(stream.receive(&mut bytes), 3);
    stream.note_drained();
    let before = calls();
    assert_eq!((stream.readable, stream.receive(&mut bytes)), (false, 0));
    assert_eq!(calls(), before, "it has said nothing");
    other.write_all(b"defg").unwrap();
    stream.note(EpollFlags::EPOLLIN);
    assert_eq!(stream.receive(&mut bytes), 4);

    // The end came with the bytes: nobody tells of it again.
    let (other, mut stream) = make();
    drop(other);
    stream.note(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP);
    assert_eq!(stream.receive(&mut bytes), 3);
    stream.note_drained();
    assert!(stream.readable);
    assert_eq!((stream.receive(&mut bytes), stream.ended), (0, true));
}
