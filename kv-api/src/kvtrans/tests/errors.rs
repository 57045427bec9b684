//! What is refused, and what it is refused with.

use std::{net::Ipv4Addr, time::Instant};

use pmd_host::endpoint::{EndpointConfig, EndpointError};

use super::*;
use crate::fabric::{Fabric, FabricError, Handler};

#[test]
fn configurations_that_cannot_be_are_refused() {
    let open = |change: &dyn Fn(&mut Config)| {
        let mut config = config(1, 1);
        change(&mut config);
        Engine::open(config).expect_err("it cannot be")
    };
    for (ncpus, nconn_per_cpu) in [(0, 1), (65, 1), (1, 0), (1, 1025), (64, 17)] {
        let error = open(&|config| (config.ncpus, config.nconn_per_cpu) = (ncpus, nconn_per_cpu));
        assert!(matches!(error, OpenError::Lanes { ncpus: of, .. } if of == ncpus), "{error}");
    }
    for bytes in [0, 4095, (1 << 31) + 1] {
        let error = open(&|config| config.chunk_bytes = bytes);
        assert!(matches!(error, OpenError::ChunkBytes { bytes: of, .. } if of == bytes), "{error}");
    }
    let error = open(&|config| config.endpoint.message_bytes = 63);
    assert!(matches!(error, OpenError::MessageBytes { given: 63, least: 64 }), "{error}");
    let error = open(&|config| config.if_name = "no_such_interface0".into());
    assert!(matches!(error, OpenError::Interface(InterfaceError::Unknown { .. })), "{error}");
    let taken = engine(config(1, 1));
    let port = taken.listen_address().expect("it listens").port();
    let error = open(&|config| config.listen_port = port);
    assert!(matches!(error, OpenError::Fabric(FabricError::Endpoint(EndpointError::Control(_)))), "{error}");
}

/// A fabric that speaks nothing.
struct Silent;

impl Handler for Silent {}

#[test]
fn what_is_no_engine_is_not_connected_to() {
    let ours = engine(config(1, 1));
    let error = ours.connect(Ipv4Addr::LOCALHOST.into(), 1).expect_err("nobody listens there");
    assert!(
        matches!(error, ConnectError::Fabric(FabricError::Endpoint(EndpointError::Connect(_)))),
        "{error}"
    );
    let listen = Some(([127, 0, 0, 1], 0).into());
    let other = EndpointConfig { listen, ..config(1, 1).endpoint };
    let other = Fabric::open(other, std::sync::Arc::new(Silent)).expect("a fabric");
    let address = other.local_address().expect("it listens");
    let error = ours.connect(address.ip(), address.port()).expect_err("it is no engine");
    assert!(matches!(error, ConnectError::NotKvTrans { .. }), "{error}");
    assert_eq!(ours.counts().connections, 0);
}

#[test]
fn nobody_connects_and_accept_says_so() {
    let engine = engine(config(1, 1));
    let timeout = Duration::from_millis(5);
    assert_eq!(engine.accept(timeout), Err(AcceptError::Timeout(timeout)));
    assert_eq!(engine.accept(Duration::ZERO), Err(AcceptError::Timeout(Duration::ZERO)));
}

#[test]
fn a_peer_that_went_before_it_was_accepted_is_not_told_of() {
    let receiver = engine(config(1, 1));
    let address = receiver.listen_address().expect("it listens");
    drop({
        let gone = engine(config(1, 1));
        gone.connect(address.ip(), address.port()).expect("connected");
        gone
    });
    let sender = engine(Config { label: 5, ..config(1, 1) });
    let deadline = Instant::now() + PATIENCE;
    while receiver.counts().connections > 0 {
        assert!(Instant::now() < deadline, "its end was not noticed");
        std::thread::yield_now();
    }
    sender.connect(address.ip(), address.port()).expect("connected");
    assert_eq!(receiver.accept(PATIENCE).expect("accepted").label, 5);
}

#[test]
fn numbers_that_nobody_gave_are_unknown() {
    let buffer = vec![0_u8; 100];
    let memory = Memory::from(&buffer[..]);
    let pair = pair(1, 1);
    let Pair { sender, out, .. } = &pair;
    let nobody = ConnectionId(999);
    // SAFETY: nothing is registered, and no byte moves.
    let error = unsafe { sender.reg_kv(nobody, &memory.host()) }.expect_err("no such connection");
    assert!(matches!(error, RegisterError::UnknownConnection(of) if of == nobody), "{error}");
    let (kv, free) = (reg_kv(sender, *out, &buffer), reg_memory(sender, &buffer));
    // SAFETY: as above.
    let send = |via: Via| unsafe { sender.send_kv(via, memory) }.expect_err("unknown");
    let receive = |via: Via| sender.recv_kv(via, 100).expect_err("unknown");
    for unknown in [KvId(999), KvId(free.0)] {
        let (sent, received) = (send(unknown.into()), receive(unknown.into()));
        assert!(matches!(sent, SendError::Post(PostError::UnknownKv(of)) if of == unknown), "{sent}");
        assert!(
            matches!(received, ReceiveError::Post(PostError::UnknownKv(of)) if of == unknown),
            "{received}"
        );
    }
    for unknown in [MemoryId(999), MemoryId(kv.0)] {
        let error = send((*out, unknown).into());
        assert!(matches!(error, SendError::Post(PostError::UnknownMemory(of)) if of == unknown), "{error}");
    }
    let error = send((nobody, free).into());
    assert!(matches!(error, SendError::Post(PostError::UnknownConnection(of)) if of == nobody), "{error}");
    assert!(matches!(sender.transport(nobody), Err(PostError::UnknownConnection(_))));
    assert!(matches!(sender.disconnect(nobody), Err(PostError::UnknownConnection(_))));
    assert!(matches!(sender.dereg_kv(KvId(free.0)), Err(RegisterError::Unknown(_))));
    assert!(matches!(sender.dereg_memory(MemoryId(kv.0)), Err(RegisterError::Unknown(_))));
    sender.dereg_kv(kv).expect("released");
    sender.dereg_memory(free).expect("released");
    assert!(matches!(sender.dereg_memory(free), Err(RegisterError::Unknown(_))));
    assert_eq!((sender.counts().sends, sender.counts().receives), (0, 0));
}

#[test]
fn memory_that_is_not_there_is_not_registered() {
    let buffer = vec![0_u8; 100];
    let pair = pair(1, 1);
    let from = reg_kv(&pair.sender, pair.out, &buffer);
    let nowhere = Memory { address: 4096, length: 100 };
    // SAFETY: there is no memory there: the registration is refused.
    let error = unsafe { pair.sender.reg_kv(pair.out, &nowhere.host()) }.expect_err("not mapped");
    assert!(matches!(error, RegisterError::Fabric(FabricError::Register(_))), "{error}");
    // SAFETY: as above.
    let error = unsafe { pair.sender.post_send(from, nowhere, None) }.expect_err("not mapped");
    assert!(matches!(error, PostError::Register(_)), "{error}");
    // SAFETY: as above.
    let error = unsafe { pair.sender.post_receive_into(from, nowhere, None) }.expect_err("not mapped");
    assert!(matches!(error, PostError::Register(_)), "{error}");
}

#[test]
fn a_message_that_is_too_long_fails_both_and_the_connection_goes_on() {
    let (source, target) = (pattern(1001, 1), vec![0xee_u8; 2000]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    for room in [0, 1, 1000] {
        let receive = pair.receiver.post_receive(to, room, None).expect("posted");
        let sent = send_kv(&pair.sender, from, &source).expect_err("it does not fit");
        assert!(matches!(sent, SendError::TooLong { length: 1001, room: of } if of == room), "{sent}");
        let received = receive.wait().expect_err("it does not fit");
        assert!(
            matches!(received, ReceiveError::TooLong { length: 1001, room: of } if of == room),
            "{received}"
        );
    }
    let receive = pair.receiver.post_receive(to, 1001, None).expect("posted");
    send_kv(&pair.sender, from, &source).expect("it fits exactly");
    assert_eq!(receive.wait().expect("received"), 1001);
    drop((receive, pair));
    assert!(target[..1001] == source && target[1001..].iter().all(|byte| *byte == 0xee));
}

#[test]
fn more_than_may_be_under_way_is_refused_until_some_have_ended() {
    let (source, target) = (pattern(10, 1), vec![0_u8; 10]);
    let few = || Config { in_flight: 4, ..config(1, 1) };
    let pair = pair_of(few(), few());
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    let sends: Vec<_> = (0..4).map(|_| post_send(&pair.sender, from, &source, None)).collect();
    // SAFETY: nothing is begun.
    let error =
        unsafe { pair.sender.post_send(from, Memory::from(&source[..]), None) }.expect_err("too many");
    assert!(matches!(error, PostError::TooManyInFlight { limit: 4 }), "{error}");
    for _ in 0..4 {
        assert_eq!(pair.receiver.recv_kv(to, 10).expect("received"), 10);
    }
    sends.iter().for_each(|send| send.wait().expect("sent"));
    let receives: Vec<_> =
        (0..4).map(|_| pair.receiver.post_receive(to, 10, None).expect("posted")).collect();
    let error = pair.receiver.post_receive(to, 10, None).expect_err("too many");
    assert!(matches!(error, PostError::TooManyInFlight { limit: 4 }), "{error}");
    for _ in 0..4 {
        send_kv(&pair.sender, from, &source).expect("sent");
    }
    assert!(receives.iter().all(|receive| receive.wait().expect("received") == 10));
}

#[test]
fn a_closed_engine_says_so() {
    let buffer = vec![0_u8; 100];
    let pair = pair(1, 1);
    let kv = reg_kv(&pair.sender, pair.out, &buffer);
    let engine = pair.sender.clone();
    engine.close();
    engine.close();
    let address = pair.receiver.listen_address().expect("it listens");
    assert!(matches!(engine.connect(address.ip(), address.port()), Err(ConnectError::Closed)));
    assert_eq!(engine.accept(PATIENCE), Err(AcceptError::Closed));
    // SAFETY: nothing is registered.
    let error = unsafe { engine.reg_memory(&Memory::from(&buffer[..]).host()) }.expect_err("closed");
    assert!(matches!(error, RegisterError::Closed), "{error}");
    assert!(matches!(engine.recv_kv(kv, 100), Err(ReceiveError::Post(PostError::UnknownKv(_)))));
    assert_eq!(engine.counts(), Counts::default());
    let listen = engine.listen_address().expect("its port stays taken while a handle lives");
    let error = pair.receiver.connect(listen.ip(), listen.port()).expect_err("closed");
    assert!(matches!(error, ConnectError::NotKvTrans { .. }), "{error}");
}
