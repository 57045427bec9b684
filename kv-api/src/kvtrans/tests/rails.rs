//! Stripes over two rails, one of which goes through a relay.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Instant,
};

use pmd_core::sync::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use pmd_host::{
    endpoint::{Peer, RailsConfig},
    rail::{BundleConfig, RailState},
    soft::TcpConfig,
};

use super::*;

const LENGTH: usize = 8 << 20;

/// Bytes that a relay takes at a time.
const PIECE: usize = 64 << 10;

/// Carries streams to the same port of another address, unless it holds back what has come.
struct Relay {
    at: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    holds: AtomicBool,
    ended: AtomicBool,
    /// Bytes that were held back, and those that went on or had nowhere to go afterwards.
    held: AtomicUsize,
    released: AtomicUsize,
}

impl Relay {
    fn start(at: Ipv4Addr, target: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((at, 0)).expect("an address of the loopback");
        let at = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared::default());
        let carrying = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                if carrying.ended.load(SeqCst) {
                    return;
                }
                let Ok(far) = TcpStream::connect((target, at.port())) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a stream"), to.try_clone().expect("a stream"));
                    let shared = Arc::clone(&carrying);
                    thread::spawn(move || shared.carry(from, to));
                }
            }
        });
        Self { at, shared }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        let _ = TcpStream::connect(self.at);
    }
}

impl Shared {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = vec![0; PIECE];
        while let Ok(count) = from.read(&mut bytes)
            && count > 0
        {
            let is_held = self.holds.load(SeqCst);
            if is_held {
                self.held.fetch_add(count, SeqCst);
            }
            while self.holds.load(SeqCst) && !self.ended.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            let went_on = to.write_all(&bytes[..count]);
            if is_held {
                self.released.fetch_add(count, SeqCst);
            }
            if went_on.is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
    }
}

/// An engine whose second rail is reached through a relay.
fn railed(number: u8, rails: usize) -> (Engine, Relay) {
    let (direct, relayed) = (Ipv4Addr::new(127, 0, 61, number), Ipv4Addr::new(127, 0, 62, number));
    // The port of a relay may be taken on the other address: then another relay has another.
    let mut tries = 0..20;
    loop {
        let relay = Relay::start(relayed, direct);
        let mut config = config(1, 1);
        let mut tcp = TcpConfig::default();
        tcp.listen = SocketAddr::new(direct.into(), relay.at.port());
        config.endpoint.transport = TransportChoice::Only(Transport::Tcp);
        config.endpoint.soft.tcp = Some(tcp);
        // No rail is lost, or probed, for being slow.
        let bundle =
            BundleConfig { stall: PATIENCE, probe: PATIENCE, idle: PATIENCE, ..BundleConfig::default() };
        config.endpoint.rails = RailsConfig {
            count: rails,
            from: 2 << 20,
            chunk: 1 << 20,
            bundle,
            ..RailsConfig::over(vec![direct.into(), relayed.into()])
        };
        match Engine::open(config) {
            Ok(engine) => return (engine, relay),
            Err(error) => assert!(tries.next().is_some(), "{error}"),
        }
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A connection with both rails up at both ends, as each end knows it.
fn connect_railed(sender: &Engine, receiver: &Engine) -> (ConnectionId, ConnectionId) {
    let (out, back) = connect(sender, receiver);
    let is_up = |engine: &Engine, id| {
        let peer: Peer = engine.connection(id).expect("it is there").peer.clone();
        let reports = peer.rail_reports();
        reports.len() == 2 && reports.iter().all(|report| report.state == RailState::Up)
    };
    until("both rails", || is_up(sender, out) && is_up(receiver, back));
    (out, back)
}

#[test]
fn stripes_go_over_rails_and_an_engine_that_closes_waits_until_they_were_heard_of() {
    for round in 0..5 {
        let (source, target) = (pattern(LENGTH, round), vec![0_u8; LENGTH]);
        let (receiver, _relay) = railed(1, 0);
        let (sender, _other) = railed(2, 2);
        let (out, back) = connect_railed(&sender, &receiver);
        let (from, to) = (reg_kv(&sender, out, &source), reg_kv(&receiver, back, &target));
        let receive = receiver.post_receive(to, u64::MAX, None).expect("posted");
        send_kv(&sender, from, &source).expect("sent");
        let peer = sender.connection(out).expect("it is there").peer.clone();
        assert_eq!(peer.rail_reports().iter().map(|rail| rail.bytes).sum::<u64>(), LENGTH as u64);
        drop(sender);
        assert_eq!(receive.poll().expect("it has been heard of").expect("received"), LENGTH as u64);
        drop((receive, receiver));
        assert!(target == source);
    }
}

#[test]
fn memory_of_a_receive_that_was_withdrawn_is_still_although_a_rail_holds_its_bytes_back() {
    let (ones, mut target) = (vec![1_u8; LENGTH], vec![0_u8; LENGTH]);
    let (receiver, near) = railed(3, 0);
    let (sender, far) = railed(4, 2);
    let (out, back) = connect_railed(&sender, &receiver);
    let (out_of_other, other) = connect_railed(&sender, &receiver);
    let (from, to) = (reg_kv(&sender, out, &ones), reg_kv(&receiver, back, &target));
    let relays = [&near.shared, &far.shared];
    relays.into_iter().for_each(|relay| relay.holds.store(true, SeqCst));
    let receive = receiver.post_receive(to, u64::MAX, None).expect("posted");
    let send = post_send(&sender, from, &ones, None);
    let sum = |count: fn(&Shared) -> usize| relays.into_iter().map(|relay| count(relay)).sum::<usize>();
    let held = || sum(|relay| relay.held.load(SeqCst));
    until("bytes that are held back", || held() >= PIECE / 2);
    // The receiver's control thread stays with the end of another connection: it closes no rail.
    let other = receiver.connection(other).expect("it is there");
    let busy = other.lock();
    sender.connection(out_of_other).expect("it is there").peer.close();
    until("the end of the other connection", || other.peer.down_reason().is_some());
    // The receive is overdue, and then the answer to its withdrawal.
    let connection = receiver.connection(back).expect("it is there");
    let late = Instant::now() + PATIENCE * 3;
    connection.look_after(late);
    connection.look_after(late);
    let error = receive.poll().expect("it has an outcome").expect_err("nobody has answered");
    assert!(matches!(error, ReceiveError::Connection(ConnectionFault::Unresponsive)), "{error}");
    assert_eq!(connection.peer.down_reason(), None, "the control thread has not seen it yet");
    target.fill(2);
    let held = held();
    relays.into_iter().for_each(|relay| relay.holds.store(false, SeqCst));
    until("their release", || sum(|relay| relay.released.load(SeqCst)) >= held);
    drop(busy);
    send.wait().expect_err("the receiver gave it up");
    drop((receive, send, connection, other, sender, receiver));
    assert!(target.iter().all(|byte| *byte == 2), "written after the receive was given up");
}
