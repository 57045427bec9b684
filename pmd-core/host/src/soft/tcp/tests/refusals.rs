//! Peers that refuse: what they say last is heard, whatever of them is still on its way, or has ended before.

use std::{
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt::SndBuf},
};
use pmd_core::{memory::RemoteKey, ring::packet::ring};

use super::*;
use crate::{
    outage,
    soft::tcp::{
        record::BulkHead,
        stream::Stream,
        wire::{Wire, WireRings},
    },
};

/// Kinds of packets, and the flags of a message of one.
const FATAL: u8 = 6;
const NAK: u8 = 0x83;
const ONLY: u8 = 3;

/// A packet without a payload. `word` is where the request begins that it is about.
fn packet(kind: u8, detail: u8, word: u32) -> Vec<u8> {
    let mut bytes = vec![kind, ONLY, detail, 0, 0, 0, 0, 0];
    bytes.extend(word.to_le_bytes());
    bytes.extend([0; 4]);
    bytes
}

fn refusal(word: u32) -> Vec<u8> {
    packet(NAK, Syndrome::RemoteAccess.to_byte(), word)
}

/// Identifiers with what became of them.
fn told(completions: &[Completion]) -> Vec<(u64, Result<(), Syndrome>)> {
    let result = |done: &Completion| done.result.map(drop).map_err(|error| error.syndrome);
    completions.iter().map(|done| (done.id, result(done))).collect()
}

/// Polls until so many have completed.
fn ends(node: &mut Node, count: usize) -> Vec<(u64, Result<(), Syndrome>)> {
    let mut all = Vec::new();
    within("completions", || {
        all.extend(node.poll());
        (all.len() >= count).then_some(())
    });
    told(&all)
}

#[test]
fn a_refusal_that_is_here_is_told_by_the_next_poll() {
    let (mut node, mut peer) = Peer::dialling();
    node.post();
    peer.record(WireKind::Response, 0, &refusal(0));
    within("its arrival", || outage::has_arrived(&peer.wire).then_some(()));
    let expected = [(2, Err(Syndrome::RemoteAccess)), (1, Err(Syndrome::Flushed))];
    assert_eq!(told(&node.poll()), expected);
}

#[test]
fn a_refusal_behind_a_read_waits_for_the_bytes_of_that_although_the_peer_has_failed() {
    const LENGTH: usize = 1 << 17;
    const HALF: usize = LENGTH / 2;
    for closes in [false, true] {
        let (mut node, mut streams) = dial(2);
        let mut memory = vec![0_u8; LENGTH];
        let region = node.register(&mut memory, Access::LOCAL_WRITE);
        let remote = RemoteAddress { address: 4096, key: RemoteKey(1) };
        let local = [whole(&region)];
        node.send(3, Operation::Read { remote, local: &local });
        node.send(4, Operation::Write { remote, local: Payload::Inline(b"x") });
        // One of the streams over which the node asks has carried its half, and ends; the other has not.
        let head = |offset: usize| BulkHead { length: HALF as u32, message: 0, offset: offset as u32 };
        streams[3].write_all(&[&head(0).to_bytes()[..], &[9; HALF]].concat()).unwrap();
        streams[3].shutdown(Shutdown::Write).unwrap();
        streams[4].write_all(&[&head(HALF).to_bytes()[..], &[9; 1000]].concat()).unwrap();
        record(&mut streams[0], WireKind::Response, 0, &refusal(1));
        record(&mut streams[0], WireKind::Request, 0, &packet(FATAL, 0, 0));
        if closes {
            streams[0].shutdown(Shutdown::Write).unwrap();
        }
        (0..2000).for_each(|_| assert_eq!(node.poll(), [], "the rest of the bytes is on its way"));
        streams[4].write_all(&[9; HALF - 1000]).unwrap();
        assert_eq!(ends(&mut node, 2), [(3, Ok(())), (4, Err(Syndrome::RemoteAccess))]);
        drop((local, region));
        assert!(memory.iter().all(|byte| *byte == 9));
    }
}

/// Two connected nodes.
fn linked(streams: u8) -> [Node; 2] {
    let [mut one, mut other] = [(); 2].map(|()| Node::with_streams(streams));
    let (ones, others) = (one.address(), other.address());
    one.connect(others);
    other.connect(ones);
    let receive = ReceiveRequest { id: 9, scatter: &[] };
    for _ in 0..2 {
        other.backend.post_receive(other.queue_pair, &receive).unwrap();
    }
    other.backend.ring_receive(other.queue_pair);
    one.send(8, Operation::Send { local: Payload::Inline(b""), immediate: None });
    carry_out(&mut one, &mut other, 2);
    [one, other]
}

#[test]
fn refusals_behind_reads_come_after_the_bytes_of_all_streams() {
    const LENGTH: usize = 256 << 10;
    for _ in 0..30 {
        let [mut one, mut other] = linked(4);
        let (mut source, mut target) = (vec![7_u8; LENGTH], vec![0_u8; LENGTH]);
        let (there, here) =
            (other.register(&mut source, Access::all()), one.register(&mut target, Access::all()));
        let remote = there.remote_address(0).unwrap();
        let local = [whole(&here)];
        one.send(1, Operation::Read { remote, local: &local });
        let unknown = RemoteAddress { key: RemoteKey(!remote.key.0), ..remote };
        one.send(2, Operation::Write { remote: unknown, local: Payload::Inline(b"x") });
        // It has carried out the one, refused the other, and closed all streams before the first byte is read.
        assert_eq!(ends(&mut other, 1), [(9, Err(Syndrome::Flushed))]);
        assert_eq!(ends(&mut one, 2), [(1, Ok(())), (2, Err(Syndrome::RemoteAccess))]);
        drop((local, here, there));
        assert_eq!(source, target);
    }
}

#[test]
fn a_large_write_that_is_refused_is_told_so_whatever_of_it_is_on_its_way() {
    const LENGTH: usize = 8 << 20;
    for round in 0..40 {
        let [mut one, mut other] = linked(4);
        let (mut source, mut target) = (vec![7_u8; LENGTH], vec![0_u8; LENGTH]);
        let (here, there) =
            (one.register(&mut source, Access::all()), other.register(&mut target, Access::all()));
        let remote = there.remote_address(0).unwrap();
        // Refused at the start, or in the middle, when its memory is withdrawn.
        let is_known = round % 2 == 0;
        let key = if is_known { remote.key } else { RemoteKey(!remote.key.0) };
        let (remote, local) = (RemoteAddress { key, ..remote }, [whole(&here)]);
        for id in [1, 2] {
            one.send(id, Operation::Write { remote, local: Payload::Gather(&local) });
        }
        if is_known {
            (0..round / 2).for_each(|_| assert_eq!((one.poll(), other.poll()), (vec![], vec![])));
        }
        drop(there);
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        within("the end of both", || {
            ones.extend(one.poll());
            others.extend(other.poll());
            (ones.len() == 2 && others.len() == 1).then_some(())
        });
        assert_eq!(told(&ones), [(1, Err(Syndrome::RemoteAccess)), (2, Err(Syndrome::Flushed))]);
        assert_eq!(told(&others), [(9, Err(Syndrome::Flushed))]);
        drop((local, here));
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    [&one, &other].into_iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    (one, other)
}

#[test]
fn a_closed_stream_that_waits_for_the_other_end_keeps_nobody_awake() {
    let node = Node::new();
    let hub = node.device.hub().unwrap();
    let (mut other, closed) = pair();
    hub.linger(closed.into(), b"the last".to_vec());
    within("nothing to do", || {
        node.device.service();
        let mut polled = [PollFd::new(hub.as_fd(), PollFlags::POLLIN)];
        (poll(&mut polled, PollTimeout::ZERO) == Ok(0)).then_some(())
    });
    assert_eq!(hub.lingering(), 1);
    let mut said = Vec::new();
    other.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"the last");
}

#[test]
fn a_closed_stream_is_read_to_its_end_however_much_is_unread() {
    let node = Node::new();
    let hub = node.device.hub().unwrap();
    let [(mut ends, ending), (_stays, staying)] = [pair(), pair()];
    // As far as the system grants it.
    setsockopt(&ends, SndBuf, &(1 << 20)).unwrap();
    let mut sent = 0;
    while let Ok(count) = ends.write(&[5; 1 << 13]) {
        sent += count;
    }
    assert!(sent > 2 * (64 << 10), "{sent} bytes: more than is read at a time, and at a second");
    drop(ends);
    [ending, staying].into_iter().for_each(|stream| hub.linger(stream.into(), Vec::new()));
    within("the end of the one", || {
        node.device.service();
        (hub.lingering() == 1).then_some(())
    });
}

#[test]
fn a_write_whose_streams_break_fails_although_nothing_comes_over_the_wire() {
    let (mut node, Peer { wire, asked, asking }) = Peer::dialling();
    let mut memory = vec![0_u8; 32 << 20];
    let region = node.register(&mut memory, Access::LOCAL_WRITE);
    let remote = RemoteAddress { address: 4096, key: RemoteKey(1) };
    let local = [whole(&region)];
    node.send(3, Operation::Write { remote, local: Payload::Gather(&local) });
    (0..100).for_each(|_| assert_eq!(node.poll(), []));
    drop(asked);
    assert_eq!(ends(&mut node, 1), [(3, Err(Syndrome::RetryExceeded))]);
    drop((wire, asking, local, region));
}

#[test]
fn all_answers_are_sent_before_the_last_word() {
    const ANSWERS: usize = 200;
    let (mut requests, requests_out) = ring(64).unwrap();
    let (mut responses, responses_out) = ring(1 << 13).unwrap();
    let (requests_in, _taken) = ring(64).unwrap();
    let (responses_in, _answered) = ring(64).unwrap();
    let rings = WireRings { requests_out, responses_out, requests_in, responses_in };
    let (socket, _other) = UnixStream::pair().unwrap();
    let wire = Wire::new(Stream::new(socket.into()), rings);
    requests.push(&packet(FATAL, 0, 0)).unwrap();
    for _ in 1..ANSWERS {
        responses.push(&[0x81; 1 << 10]).unwrap();
    }
    responses.push(&refusal(0)).unwrap();
    let (_, rest) = wire.into_rest((0, 0));
    let (mut rest, mut kinds) = (&rest[..], Vec::new());
    while let Some((head, bodies)) = rest.split_first_chunk::<WIRE_HEAD>() {
        let head = WireHead::parse(head).unwrap();
        kinds.push(head.kind);
        rest = &bodies[head.length.into()..];
    }
    kinds.retain(|kind| matches!(kind, WireKind::Request | WireKind::Response));
    assert_eq!(kinds.len(), ANSWERS + 1);
    assert_eq!(kinds.pop(), Some(WireKind::Request), "behind all answers");
}
