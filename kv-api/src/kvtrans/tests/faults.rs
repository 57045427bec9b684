//! Peers that go, lie or fall silent.

use pmd_core::memory::MemoryKind;
use pmd_host::{control::DownReason, endpoint::EndpointConfig, endpoint::Peer, lane, soft::ArenaOptions};

use super::*;
use crate::{
    fabric::{Fabric, Handler},
    kvtrans::wire::{self, HELLO, Hello, VERSION},
};

/// Answers greetings and keeps silent otherwise: what it says is up to the test.
struct Mute;

impl Handler for Mute {
    fn request(&self, _: &Peer, _: u16, _: &[u8]) -> Result<Vec<u8>, pmd_host::control::Refusal> {
        Ok(wire::emit(&Hello { version: VERSION, listen_port: 0, label: 0 }))
    }

    fn message(&self, _: &Peer, _: lane::Message<'_>) {}
}

fn mute() -> Fabric {
    let listen = Some(([127, 0, 0, 1], 0).into());
    Fabric::open(EndpointConfig { listen, ..config(1, 1).endpoint }, std::sync::Arc::new(Mute))
        .expect("a fabric")
}

/// An engine that accepted a peer which says what the test wants.
fn with_mute(config: Config) -> (Engine, Fabric, Peer, ConnectionId) {
    let (engine, fabric) = (engine(config), mute());
    let peer = fabric.connect(engine.listen_address().expect("it listens")).expect("a peer");
    let hello = Hello { version: VERSION, listen_port: 1, label: 2 };
    peer.request(HELLO, wire::emit(&hello), PATIENCE).expect("greeted");
    let accepted = engine.accept(PATIENCE).expect("accepted");
    assert_eq!((accepted.port, accepted.label), (1, 2));
    (engine, fabric, peer, accepted.connection)
}

#[test]
fn a_peer_that_goes_wakes_sends_and_receives() {
    let (source, target) = (pattern(1000, 1), vec![0_u8; 1000]);
    let pair = pair(2, 1);
    let other = engine(config(1, 1));
    let (out, _) = connect(&pair.sender, &other);
    let (from, back_from) = (reg_kv(&pair.sender, pair.out, &source), reg_memory(&pair.sender, &target));
    let send = post_send(&pair.sender, from, &source, None);
    let receive = pair.sender.post_receive((pair.out, back_from), 1000, None).expect("posted");
    let kept = pair.sender.post_receive((out, back_from), 1000, None).expect("posted");
    drop(pair.receiver);
    let gone = ConnectionFault::PeerDown(DownReason::Goodbye);
    let error = send.wait().expect_err("the peer has gone");
    assert!(matches!(&error, SendError::Connection(fault) if *fault == gone), "{error}");
    let error = receive.wait().expect_err("the peer has gone");
    assert!(matches!(&error, ReceiveError::Connection(fault) if *fault == gone), "{error}");
    assert!(kept.poll().is_none(), "other connections go on");
    assert_eq!(pair.sender.counts().connections, 1);
}

#[test]
fn engines_of_other_versions_and_strangers_are_refused() {
    let (engine, fabric) = (engine(config(1, 1)), mute());
    let peer = fabric.connect(engine.listen_address().expect("it listens")).expect("a peer");
    let other = Hello { version: VERSION + 1, listen_port: 1, label: 2 };
    for greeting in [wire::emit(&other), vec![0xff; 9], Vec::new()] {
        assert!(peer.request(HELLO, greeting, PATIENCE).is_err());
    }
    assert!(peer.request(7, Vec::new(), PATIENCE).is_err());
    assert_eq!(engine.accept(Duration::ZERO), Err(AcceptError::Timeout(Duration::ZERO)));
    // A message before the greeting is nobody's.
    peer.route().send(b"hello", None).expect("sent");

    struct Newer;
    impl Handler for Newer {
        fn request(&self, _: &Peer, _: u16, _: &[u8]) -> Result<Vec<u8>, pmd_host::control::Refusal> {
            Ok(wire::emit(&Hello { version: VERSION + 1, listen_port: 0, label: 0 }))
        }
    }
    let listen = Some(([127, 0, 0, 1], 0).into());
    let newer = EndpointConfig { listen, ..config(1, 1).endpoint };
    let newer = Fabric::open(newer, std::sync::Arc::new(Newer)).expect("a fabric");
    let address = newer.local_address().expect("it listens");
    let error = engine.connect(address.ip(), address.port()).expect_err("another version");
    assert!(
        matches!(error, ConnectError::Version { ours: VERSION, theirs, .. } if theirs == VERSION + 1),
        "{error}"
    );
}

#[test]
fn a_peer_that_does_not_keep_to_the_protocol_loses_its_connection() {
    let landed = |stripes, length| wire::emit(&wire::Message::Landed { ticket: 1, stripes, length });
    let lies: [Vec<Vec<u8>>; 6] = [
        vec![b"no message".to_vec()],
        vec![landed(0, 10)],
        vec![landed(1, 101)],
        vec![landed(3, 10), landed(2, 10)],
        vec![wire::emit(&wire::Message::Abandoned { ticket: 1, reason: wire::Reason::Withdrawn })],
        vec![wire::emit(&wire::Message::Offer { ticket: 1, address: 1, room: 1, key: 1 }); 5],
    ];
    for lie in lies {
        let target = vec![0_u8; 100];
        let (engine, _fabric, peer, connection) = with_mute(Config { in_flight: 4, ..config(1, 1) });
        let to = reg_kv(&engine, connection, &target);
        let receive = engine.post_receive(to, 100, None).expect("posted");
        for message in &lie {
            peer.route().send(message, None).expect("sent");
        }
        let error = receive.wait().expect_err("it was a lie");
        assert!(matches!(error, ReceiveError::Connection(ConnectionFault::Protocol)), "{error}: {lie:?}");
        assert_eq!(engine.counts().connections, 0);
    }
}

#[test]
fn answers_to_what_is_over_are_ignored() {
    let target = vec![0_u8; 100];
    let (engine, _fabric, peer, connection) = with_mute(config(1, 1));
    let to = reg_kv(&engine, connection, &target);
    let say = |message| peer.route().send(&wire::emit(&message), None).expect("sent");
    say(wire::Message::Landed { ticket: 77, stripes: 1, length: 1 });
    say(wire::Message::Withdraw { ticket: 77 });
    say(wire::Message::TooLong { ticket: 77, length: 1 });
    say(wire::Message::Abandoned { ticket: 77, reason: wire::Reason::TimedOut });
    let receive = engine.post_receive(to, 100, None).expect("posted");
    say(wire::Message::Abandoned { ticket: 1, reason: wire::Reason::Refused });
    say(wire::Message::Landed { ticket: 1, stripes: 1, length: 1 });
    let error = receive.wait().expect_err("the sender stopped");
    assert!(matches!(error, ReceiveError::SenderStopped(SenderStop::Refused)), "{error}");
    assert_eq!(engine.counts().connections, 1);
}

#[test]
fn a_peer_that_does_not_answer_a_withdrawal_cannot_write_any_more() {
    let mut target = vec![0_u8; 100];
    let quick = Config { withdraw_patience: Duration::from_millis(20), ..config(1, 1) };
    let (engine, fabric, peer, connection) = with_mute(quick);
    let to = reg_kv(&engine, connection, &target);
    let receive = engine.post_receive(to, 100, Some(Duration::from_millis(1))).expect("posted");
    let error = receive.wait().expect_err("nobody answers");
    assert!(matches!(error, ReceiveError::Connection(ConnectionFault::Unresponsive)), "{error}");
    target.fill(2);
    // The peer still has address and key, but no queue pair to write through.
    let source = fabric.allocate(4096, ArenaOptions::default()).expect("memory");
    let piece =
        crate::fabric::Descriptor { local: source.address(), remote: target.as_ptr() as u64, length: 100 };
    let planned = fabric.plan(&peer, pmd_host::transfer::Direction::Write, &[piece], PATIENCE);
    if let Ok(plan) = planned
        && let Ok(mut transfer) = plan.post(crate::fabric::PostOptions::default())
    {
        transfer.wait(Some(std::time::Instant::now() + PATIENCE)).expect_err("it has no way there");
    }
    assert!(target.iter().all(|byte| *byte == 2));
}

#[test]
fn a_key_that_was_revoked_fails_the_send_and_the_connection() {
    let (source, target) = (pattern(100, 1), vec![0_u8; 100]);
    let (engine, _fabric, peer, connection) = with_mute(config(1, 1));
    let from = reg_kv(&engine, connection, &source);
    // An offer of memory that the peer never registered.
    let offer =
        wire::Message::Offer { ticket: 1, address: target.as_ptr() as u64, room: 100, key: 0xdead_0001 };
    peer.route().send(&wire::emit(&offer), None).expect("sent");
    let error = send_kv(&engine, from, &source).expect_err("there is no such key");
    assert!(matches!(error, SendError::Transfer(_)), "{error}");
    // SAFETY: nothing is begun.
    let again = unsafe { engine.post_send(from, Memory::from(&source[..]), None) }.expect_err("it is down");
    assert!(matches!(again, PostError::Connection(_)), "{again}");
    assert!(target.iter().all(|byte| *byte == 0));
}

#[test]
fn memory_of_an_accelerator_without_a_nic_is_refused() {
    let engine = engine(config(1, 1));
    let memory = RegionDescription {
        address: 0x7000_0000_0000,
        length: 4096,
        kind: MemoryKind::Device,
        descriptor: None,
    };
    // SAFETY: the call refuses the memory.
    let error = unsafe { engine.reg_memory(&memory) }.expect_err("nothing reaches it");
    assert!(matches!(error, RegisterError::Fabric(_)), "{error}");
}
