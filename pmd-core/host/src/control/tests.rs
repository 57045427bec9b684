//! The control plane against good peers, bad peers and no peers. Raw sockets play the bad ones.

mod keep_alive;
mod keys;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use super::{
    frame::{Frame, FrameReader, encode, preamble},
    *,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Echoes requests of kind 1, sleeps on 2, panics on 3, refuses the rest; reports what happens.
struct Echo(Mutex<mpsc::Sender<Seen>>);

#[derive(Debug, PartialEq)]
enum Seen {
    Connected(String),
    Event(u16, Vec<u8>),
    Down(String, DownReason),
    Refused(DownReason),
}

impl Echo {
    fn saw(&self, seen: Seen) {
        let _ = self.0.lock().unwrap().send(seen);
    }
}

fn name(connection: &Connection) -> String {
    connection.identity().map_or_else(|_| "?".into(), |identity| identity.name.clone())
}

impl Service for Echo {
    fn connected(&self, connection: &Connection) {
        self.saw(Seen::Connected(name(connection)));
    }

    fn request(&self, _: &Connection, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            1 => Ok(body.to_vec()),
            2 => {
                std::thread::sleep(Duration::from_millis(300));
                Ok(Vec::new())
            }
            3 => panic!("a service may be wrong"),
            _ => Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("kind {kind}") }),
        }
    }

    fn event(&self, _: &Connection, kind: u16, body: &[u8]) {
        self.saw(Seen::Event(kind, body.to_vec()));
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        self.saw(Seen::Down(name(connection), reason.clone()));
    }

    fn refused(&self, _: SocketAddr, reason: &DownReason) {
        self.saw(Seen::Refused(reason.clone()));
    }
}

fn identity(name: &str) -> PeerIdentity {
    PeerIdentity {
        incarnation: DeviceId::random().unwrap(),
        name: name.into(),
        host: HostId::current().unwrap(),
    }
}

fn start(name: &str, adjust: impl FnOnce(&mut ControlConfig)) -> (ControlPlane, mpsc::Receiver<Seen>) {
    let mut config = ControlConfig::new(identity(name), Some(SocketAddr::from(([127, 0, 0, 1], 0))));
    adjust(&mut config);
    let (sender, receiver) = mpsc::channel();
    (ControlPlane::start(config, Arc::new(Echo(Mutex::new(sender)))).unwrap(), receiver)
}

/// A raw connection to `plane`, with a read time-out so that no test hangs.
fn raw(plane: &ControlPlane) -> TcpStream {
    let stream = TcpStream::connect(plane.local_address().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the peer closes; what came before.
fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("the plane did not close: {error}"),
    }
}

/// Terms that work with those of every plane here.
const LIVELY: KeepAlive = KeepAlive { interval: Duration::from_millis(10), timeout: PATIENCE };

fn hello_frame(name: &str) -> Frame {
    Frame::Hello { identity: identity(name), keep_alive: LIVELY }
}

fn hello(name: &str) -> Vec<u8> {
    hello_on(name, LIVELY)
}

fn hello_on(name: &str, keep_alive: KeepAlive) -> Vec<u8> {
    let mut bytes = preamble().to_vec();
    encode(&Frame::Hello { identity: identity(name), keep_alive }, &mut bytes).unwrap();
    bytes
}

#[test]
fn peers_learn_who_the_other_is_and_ask_each_other() {
    let (server, server_saw) = start("server", |_| ());
    let (client, client_saw) = start("client", |config| config.listen = None);
    assert_eq!(client.local_address(), None);
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    assert_eq!(connection.identity().unwrap().name, "server");
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
    assert_eq!(client_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("server".into())));

    let body: Vec<u8> = (0..1_000_000_u32).map(|index| index as u8).collect();
    assert_eq!(connection.request(1, body.clone(), PATIENCE), Ok(body));
    let refused = connection.request(9, vec![], PATIENCE).unwrap_err();
    let refusal = Refusal { code: Refusal::UNKNOWN_KIND, detail: "kind 9".into() };
    assert_eq!(refused, RequestError::Refused(refusal));
    connection.event(7, vec![1, 2, 3]).unwrap();
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Event(7, vec![1, 2, 3])));

    drop(client);
    assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Down("client".into(), DownReason::Goodbye)));
    assert_eq!(client_saw.recv_timeout(PATIENCE), Ok(Seen::Down("server".into(), DownReason::Local)));
    assert_eq!(connection.request(1, vec![], PATIENCE), Err(RequestError::Down(DownReason::Local)));
}

#[test]
fn a_late_answer_is_a_time_out_and_the_connection_lives() {
    let (server, _saw) = start("server", |_| ());
    let (client, _saw) = start("client", |_| ());
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    let patience = Duration::from_millis(20);
    assert_eq!(connection.request(2, vec![], patience), Err(RequestError::Timeout { patience }));
    assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
}

#[test]
fn a_panicking_service_answers_and_lives() {
    let (server, _saw) = start("server", |_| ());
    let (client, _saw) = start("client", |_| ());
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    let answer = connection.request(3, vec![], PATIENCE);
    assert!(
        matches!(answer, Err(RequestError::Refused(Refusal { code: Refusal::PANICKED, .. }))),
        "{answer:?}"
    );
    assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
}

#[test]
fn a_request_beyond_the_frame_limit_is_refused_here() {
    let (server, _saw) = start("server", |_| ());
    let (client, _saw) = start("client", |_| ());
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    let answer = connection.request(1, vec![0; FRAME_LIMIT as usize + 1], PATIENCE);
    assert!(matches!(answer, Err(RequestError::Frame(FrameError::TooLong { limit: FRAME_LIMIT, .. }))));
    assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
}

#[test]
fn a_peer_of_another_version_is_told_ours_and_closed() {
    let (server, saw) = start("server", |_| ());
    let mut stream = raw(&server);
    let mut bytes = hello("future");
    bytes[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
    stream.write_all(&bytes).unwrap();
    assert_eq!(until_closed(&mut stream)[..12], preamble());
    let version = FrameError::Version { theirs: VERSION + 1 };
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Refused(DownReason::Protocol(version))));
}

#[test]
fn connecting_to_another_version_says_which() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = hello("future");
        bytes[8..10].copy_from_slice(&(VERSION + 1).to_le_bytes());
        stream.write_all(&bytes).unwrap();
        until_closed(&mut stream);
    });
    let (client, _saw) = start("client", |_| ());
    let error = client.connect(address, PATIENCE).unwrap_err();
    let ConnectError::Down(DownReason::Protocol(FrameError::Version { theirs })) = error else {
        panic!("unexpected: {error}")
    };
    assert_eq!(theirs, VERSION + 1);
    drop(client);
    peer.join().unwrap();
}

#[test]
fn garbage_is_closed_and_others_go_on() {
    let (server, _saw) = start("server", |_| ());
    let (client, _client_saw) = start("client", |_| ());
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();

    let mut http = raw(&server);
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    until_closed(&mut http);

    let mut oversized = raw(&server);
    oversized.write_all(&preamble()).unwrap();
    oversized.write_all(&u32::MAX.to_le_bytes()).unwrap();
    until_closed(&mut oversized);

    let mut malformed = raw(&server);
    malformed.write_all(&preamble()).unwrap();
    malformed.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap();
    until_closed(&mut malformed);

    let mut eager = raw(&server);
    let mut bytes = preamble().to_vec();
    encode(&Frame::Request { number: 1, kind: 1, body: vec![] }, &mut bytes).unwrap();
    eager.write_all(&bytes).unwrap();
    until_closed(&mut eager);

    assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
}

#[test]
fn a_connection_that_says_nothing_is_closed_and_their_number_is_bounded() {
    let (server, _saw) = start("server", |config| {
        config.anonymous_limit = 4;
        config.hello_timeout = Duration::from_millis(200);
    });
    let mut silent: Vec<TcpStream> = (0..32).map(|_| raw(&server)).collect();
    silent.iter_mut().for_each(|stream| drop(until_closed(stream)));
    let (client, _client_saw) = start("client", |_| ());
    // On a loaded machine one that speaks may take longer than it has.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let connection = client.connect(server.local_address().unwrap(), PATIENCE);
        match connection.map(|connection| connection.request(1, vec![5], PATIENCE)) {
            Ok(Ok(answer)) => return assert_eq!(answer, [5]),
            failed => assert!(Instant::now() < deadline, "{failed:?}"),
        }
    }
}

#[test]
fn a_peer_that_falls_silent_is_down_and_requests_fail() {
    let (server, saw) = start("server", |config| {
        config.interval = Duration::from_millis(20);
        config.timeout = Duration::from_millis(200);
    });
    let mut stream = raw(&server);
    stream.write_all(&hello("sleeper")).unwrap();
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("sleeper".into())));
    let down = saw.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&down, Seen::Down(name, DownReason::Silent(_)) if name == "sleeper"), "{down:?}");
}

#[test]
fn keep_alives_hold_an_idle_connection() {
    let fast = |config: &mut ControlConfig| {
        config.interval = Duration::from_millis(20);
        config.timeout = Duration::from_millis(400);
    };
    // On a loaded machine a side may be kept from speaking for longer than the bound: then once more.
    let deadline = Instant::now() + PATIENCE * 3;
    loop {
        let (server, saw) = start("server", fast);
        let (client, _client_saw) = start("client", fast);
        let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
        assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
        let down = saw.recv_timeout(Duration::from_millis(1200));
        if down.is_err() && connection.request(1, vec![5], PATIENCE) == Ok(vec![5]) {
            return;
        }
        assert!(Instant::now() < deadline, "{down:?}");
    }
}

#[test]
fn a_peer_that_vanishes_fails_what_waits() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&hello("mortal")).unwrap();
        let mut reader = FrameReader::new();
        // Dies as soon as it is asked something.
        while !matches!(reader.next().unwrap(), Some(Frame::Request { .. })) {
            reader.fill(&mut stream).unwrap();
        }
    });
    let (client, saw) = start("client", |_| ());
    let connection = client.connect(address, PATIENCE).unwrap();
    assert_eq!(connection.request(1, vec![], PATIENCE), Err(RequestError::Down(DownReason::Closed)));
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("mortal".into())));
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Down("mortal".into(), DownReason::Closed)));
    assert_eq!(connection.down_reason(), Some(DownReason::Closed));
    peer.join().unwrap();
}

#[test]
fn nobody_listening_is_said_so() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, _saw) = start("client", |_| ());
    let error = client.connect(address, PATIENCE).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { remote, .. } if remote == address), "{error}");
}

#[test]
fn a_taken_port_is_said_so() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (sender, _receiver) = mpsc::channel();
    let config = ControlConfig::new(identity("late"), Some(holder.local_addr().unwrap()));
    let error = ControlPlane::start(config, Arc::new(Echo(Mutex::new(sender)))).unwrap_err();
    assert!(matches!(error, ControlError::Listen { .. }), "{error}");
}

proptest::proptest! {
    #[test]
    fn frames_survive_any_split(number: u64, kind: u16, body: Vec<u8>, cut in 0_usize..200) {
        let frames = [
            hello_frame("x"),
            Frame::KeepAlive,
            Frame::Request { number, kind, body: body.clone() },
            Frame::Response { number, result: Err(Refusal { code: kind, detail: "no".into() }) },
            Frame::Event { kind, body },
            Frame::Goodbye,
        ];
        let mut bytes = preamble().to_vec();
        frames.iter().for_each(|frame| encode(frame, &mut bytes).unwrap());
        let mut reader = FrameReader::new();
        reader.raise_limit();
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        let mut parsed = Vec::new();
        for mut part in [head, tail] {
            while reader.fill(&mut part).unwrap() > 0 {}
            while let Some(frame) = reader.next().unwrap() {
                parsed.push(frame);
            }
        }
        proptest::prop_assert_eq!(&parsed[..], &frames[..]);
    }

    #[test]
    fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>, with_preamble: bool) {
        let mut input = if with_preamble { preamble().to_vec() } else { Vec::new() };
        input.extend(bytes);
        let mut reader = FrameReader::new();
        let mut rest = &input[..];
        while reader.fill(&mut rest).unwrap() > 0 {}
        while let Ok(Some(_)) = reader.next() {}
    }
}

#[test]
fn a_plane_can_be_told_to_listen_elsewhere_and_no_more() {
    let (plane, _) = start("moves", |_| ());
    let (other, _) = start("other", |config| config.listen = None);
    let first = plane.local_address().unwrap();
    let early = other.connect(first, PATIENCE).unwrap();
    plane.listen(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
    let second = plane.local_address().unwrap();
    assert_ne!(first, second);
    let gone = other.connect(first, PATIENCE).unwrap_err();
    assert!(matches!(gone, ConnectError::Unreachable { remote, .. } if remote == first), "{gone}");
    let late = other.connect(second, PATIENCE).unwrap();

    // Its own address is not taken for another's, and the address before is free at once.
    plane.listen(Some(second)).unwrap();
    for _ in 0..20 {
        plane.listen(Some(first)).unwrap();
        plane.listen(Some(second)).unwrap();
    }
    let (taken, _) = start("taken", |_| ());
    let refused = plane.listen(taken.local_address()).unwrap_err();
    assert!(matches!(refused, ControlError::Listen { .. }), "{refused}");
    assert_eq!(plane.local_address(), Some(second), "nothing has changed");
    other.connect(second, PATIENCE).unwrap();

    plane.listen(None).unwrap();
    assert_eq!(plane.local_address(), None);
    let gone = other.connect(second, PATIENCE).unwrap_err();
    assert!(matches!(gone, ConnectError::Unreachable { .. }), "{gone}");
    for connection in [early, late] {
        assert_eq!(connection.request(1, b"still".to_vec(), PATIENCE).unwrap(), b"still");
    }
}

#[test]
fn sizes_are_those_of_what_is_sent() {
    let mut wire = preamble().to_vec();
    encode(&hello_frame("sizes"), &mut wire).unwrap();
    assert_eq!(sizes::greeting_bytes(&identity("sizes"), LIVELY), wire.len());
    wire.clear();
    encode(&Frame::Event { kind: 0xaf, body: vec![7; 300] }, &mut wire).unwrap();
    assert_eq!(sizes::event_bytes(0xaf, &[7; 300]), wire.len());
    assert_eq!(sizes::event_bytes(0xaf, &vec![7; FRAME_LIMIT as usize]), 0, "it is not sent");
    assert_eq!(sizes::keep_alive_bytes(), 5, "a length, and which frame");
}
