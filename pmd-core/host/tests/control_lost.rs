//! The control connection through a relay that holds, drips or cuts it, while bytes move beside it over shared memory: a
//! link that is only slow lives, one that is silent or cut goes down with the reason, and is made anew.

mod faults_support;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use faults_support::{End, Memory, Node, PATIENCE, Seen, carry_out, list, open_with, until_failure, within};
use pmd_core::{
    memory::Access,
    sync::{AtomicU64, Ordering},
};
use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::Peer,
    transfer::{Direction, RouteFault, SubmitError, TransferError},
};

/// Silence after which a peer is down.
const BOUND: Duration = Duration::from_secs(3);
const LENGTH: usize = 1 << 20;

/// What the relay does with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Keeps them, and the connections.
    Hold,
    /// One by one, with a pause after each.
    Drip,
    /// Ends the connections.
    Cut,
}

/// Stands between a client and the address of a server.
struct Relay {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    /// Bytes that went through.
    passed: Arc<AtomicU64>,
}

impl Relay {
    /// Its threads end with the connections, or with the process.
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Self { address, mode: Arc::new(Mutex::new(Mode::Forward)), passed: Arc::default() };
        let (mode, passed) = (Arc::clone(&relay.mode), Arc::clone(&relay.passed));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let ends = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (mode, passed) = (Arc::clone(&mode), Arc::clone(&passed));
                    thread::spawn(move || pass_on(ends, &mode, &passed));
                }
            }
        });
        relay
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn pass_on((mut from, mut to): (TcpStream, TcpStream), mode: &Mutex<Mode>, passed: &AtomicU64) {
    from.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    to.set_nodelay(true).unwrap();
    let mode = || *mode.lock().unwrap();
    let mut bytes = vec![0; 64 << 10];
    loop {
        match mode() {
            Mode::Cut => break,
            Mode::Hold => thread::sleep(Duration::from_millis(5)),
            now => {
                let drips = now == Mode::Drip;
                let room = if drips { 1 } else { bytes.len() };
                match from.read(&mut bytes[..room]) {
                    Ok(0) => break,
                    Ok(count) => {
                        // What came before it was told to hold is held too.
                        while mode() == Mode::Hold {
                            thread::sleep(Duration::from_millis(5));
                        }
                        if to.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                        passed.fetch_add(count as u64, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(if drips { 60 } else { 0 }));
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => break,
                }
            }
        }
    }
    // Both sides see the end; the other direction's thread too.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A server, a client that is linked to it through a relay, and memory of both.
struct Rig {
    server: Node,
    client: Node,
    relay: Relay,
    peer: Peer,
    ours: Memory,
    theirs: Memory,
}

impl Rig {
    fn new() -> Self {
        let open = |name| {
            open_with(name, |config| {
                config.keep_alive = Duration::from_millis(200);
                config.down_after = BOUND;
            })
        };
        let (server, client) = (open("server"), open("client"));
        let relay = Relay::to(server.endpoint.local_address().unwrap());
        let peer = client.endpoint.connect(relay.address).unwrap();
        assert_eq!(server.sees(), Seen::Connected("client".into()));
        let ours = Memory::arena(&client.endpoint, LENGTH, Access::READ_WRITE);
        let theirs = Memory::arena(&server.endpoint, LENGTH, Access::READ_WRITE);
        ours.fill(9);
        Self { server, client, relay, peer, ours, theirs }
    }

    fn work(&self) -> Arc<pmd_host::transfer::WorkList> {
        list(Direction::Write, 1 << 20, [(self.ours.piece(0, LENGTH), self.theirs.remote(0))])
    }

    /// Links again, and moves bytes.
    fn links_anew(&self) {
        self.relay.set(Mode::Forward);
        let again = self.client.endpoint.connect(self.relay.address).unwrap();
        assert_ne!(again.choice().link, self.peer.choice().link, "another link");
        assert_eq!(again.identity().incarnation, self.peer.identity().incarnation, "of the same process");
        self.theirs.fill(0);
        carry_out(again.route(), &self.work()).unwrap();
        assert!(self.theirs.holds_only(&[9]));
        assert_eq!(self.client.endpoint.peers().len(), 1, "the link before is forgotten");
    }
}

#[test]
fn a_link_that_is_only_slow_lives() {
    let rig = Rig::new();
    rig.relay.set(Mode::Drip);
    let before = rig.relay.passed.load(Ordering::Relaxed);
    // At 60 ms a byte and direction that takes longer than the bound, and no frame comes at once.
    within(|| (rig.relay.passed.load(Ordering::Relaxed) >= before + 120).then_some(()));
    assert_eq!((rig.peer.down_reason(), rig.server.peer("client").down_reason()), (None, None));
    carry_out(rig.peer.route(), &rig.work()).unwrap();
    rig.relay.set(Mode::Forward);
    assert_eq!(rig.peer.request(1, vec![1, 2], PATIENCE), Ok(vec![2, 1]));
}

#[test]
fn silence_beyond_the_bound_reaches_whatever_waits_by_its_own_name() {
    let rig = Rig::new();
    rig.relay.set(Mode::Hold);
    let (peer, work) = (&rig.peer, rig.work());
    let (end, asked) = thread::scope(|scope| {
        let asks = scope.spawn(|| peer.request(1, vec![1], PATIENCE));
        let moves = scope.spawn(|| until_failure(peer.route(), &work));
        (moves.join().unwrap().1, asks.join().unwrap())
    });
    let silent = |reason: &DownReason| matches!(reason, DownReason::Silent(silence) if *silence > BOUND);
    assert!(matches!(&asked, Err(RequestError::Down(reason)) if silent(reason)), "{asked:?}");
    let silence = match end {
        End::Submit(SubmitError::RouteFailed(RouteFault::PeerSilent { silence })) => silence,
        End::Transfer(TransferError::PeerSilent { silence }) => silence,
        // The other side found the silence first, and its queue pair ended with its route.
        End::Transfer(TransferError::Failed { .. } | TransferError::Flushed { .. })
        | End::Submit(SubmitError::RouteFailed(_)) => BOUND * 2,
        end => panic!("{end:?}"),
    };
    assert!(silence > BOUND, "{silence:?}");
    for (node, other) in [(&rig.client, "server"), (&rig.server, "client")] {
        let reason = node.sees_down(other);
        assert!(silent(&reason) || reason == DownReason::Closed, "{reason:?}");
    }
    rig.links_anew();
}

#[test]
fn a_control_connection_that_is_cut_ends_the_link_and_nothing_else() {
    let rig = Rig::new();
    rig.theirs.fill(0);
    let (peer, work) = (&rig.peer, rig.work());
    let end = thread::scope(|scope| {
        let moves = scope.spawn(|| until_failure(peer.route(), &work));
        within(|| rig.theirs.holds_only(&[9]).then_some(()));
        rig.relay.set(Mode::Cut);
        moves.join().unwrap()
    });
    assert!(end.0 > 0, "bytes moved until then");
    for (node, other) in [(&rig.client, "server"), (&rig.server, "client")] {
        assert_eq!(node.sees_down(other), DownReason::Closed);
    }
    let refused = rig.peer.request(1, vec![1], PATIENCE);
    assert_eq!(refused, Err(RequestError::Down(DownReason::Closed)));
    rig.links_anew();
}
