//! Keep-alive terms: those that work, those that do not, and those of nobody's configuration.

use std::net::TcpListener;

use super::{super::wire_socket::WireSocket, *};
use crate::backend::Waker;

/// As long as a Duration of microseconds gets on the wire.
const LONGEST: Duration = Duration::from_micros(u64::MAX);

const fn terms(interval: Duration, timeout: Duration) -> KeepAlive {
    KeepAlive { interval, timeout }
}

fn on(terms: KeepAlive) -> impl FnOnce(&mut ControlConfig) {
    move |config| {
        (config.interval, config.timeout) = (terms.interval, terms.timeout);
        // A loaded machine may keep a Hello from coming sooner.
        config.hello_timeout = PATIENCE;
    }
}

/// What the connecting side hears.
fn told(error: ConnectError) -> KeepAliveError {
    match error {
        ConnectError::Down(DownReason::KeepAlive(fault)) => fault,
        other => panic!("{other}"),
    }
}

/// What the service of the other side hears; it never hears of a peer.
fn refused(saw: &mpsc::Receiver<Seen>) -> KeepAliveError {
    match saw.recv_timeout(PATIENCE) {
        Ok(Seen::Refused(DownReason::KeepAlive(fault))) => fault,
        other => panic!("{other:?}"),
    }
}

/// What a plane makes of a peer with these terms; the peer is hung up on.
fn verdict(server: &ControlPlane, saw: &mpsc::Receiver<Seen>, peer: KeepAlive) -> KeepAliveError {
    let mut stream = raw(server);
    stream.write_all(&hello_on("hostile", peer)).unwrap();
    until_closed(&mut stream);
    refused(saw)
}

#[test]
fn equal_and_unequal_terms_that_work_are_taken() {
    let often = terms(Duration::from_millis(10), PATIENCE * 3);
    let rarely = terms(Duration::from_secs(2), PATIENCE * 5);
    let hasty = terms(Duration::from_millis(10), PATIENCE);
    // Its own interval is longer than its bound: what counts is what the peer has.
    let odd = terms(PATIENCE * 2, PATIENCE);
    for (one, other) in [(often, often), (often, rarely), (rarely, hasty), (odd, often)] {
        for (here, there) in [(one, other), (other, one)] {
            for key in [None, Some(crate::security::tests::key(1))] {
                let keyed = |terms: KeepAlive| {
                    let key = key.clone();
                    move |config: &mut ControlConfig| {
                        on(terms)(config);
                        config.key = key;
                    }
                };
                let (server, saw) = start("server", keyed(there));
                let (client, _client_saw) = start("client", keyed(here));
                let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
                assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
                assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
            }
        }
    }
}

#[test]
fn terms_that_cannot_work_are_refused_by_both_with_what_to_set() {
    let (second, bound) = (Duration::from_secs(1), Duration::from_secs(5));
    for is_keyed in [false, true] {
        let start = |name, terms: KeepAlive| {
            start(name, |config| {
                on(terms)(config);
                config.key = is_keyed.then(|| crate::security::tests::key(1));
            })
        };
        // Not below the bound: the bound itself is too rare.
        for interval in [bound, bound * 2] {
            let (rare, usual) = (terms(interval, bound * 10), terms(second, bound));
            for rare_connects in [true, false] {
                let (here, there) = if rare_connects { (rare, usual) } else { (usual, rare) };
                let (server, saw) = start("server", there);
                let (client, client_saw) = start("client", here);
                let error = client.connect(server.local_address().unwrap(), PATIENCE).unwrap_err();
                let too_rare = |here| KeepAliveError::TooRare { here, interval, timeout: bound };
                assert_eq!(told(error), too_rare(rare_connects));
                assert_eq!(refused(&saw), too_rare(!rare_connects));
                assert!(client_saw.try_recv().is_err(), "nobody was connected");
            }
        }
    }
    let said = KeepAliveError::TooRare { here: true, interval: bound, timeout: second }.to_string();
    let expected = "this side's keep-alive each 5s is too rare for the peer, which gives up after 1s of silence: \
        set keep_alive here below 1s, or down_after there above 5s";
    assert_eq!(said, expected);
}

#[test]
fn hostile_terms_are_refused_and_others_go_on() {
    let usual = ControlConfig::new(identity("usual"), None).keep_alive();
    let (server, saw) = start("server", on(usual));
    let nothing = |interval, timeout| KeepAliveError::Nothing { here: false, interval, timeout };
    for (interval, timeout) in
        [(Duration::ZERO, usual.timeout), (usual.interval, Duration::ZERO), (Duration::ZERO, LONGEST)]
    {
        assert_eq!(verdict(&server, &saw, terms(interval, timeout)), nothing(interval, timeout));
    }
    for timeout in [usual.timeout, LONGEST] {
        let too_rare = KeepAliveError::TooRare { here: false, interval: LONGEST, timeout: usual.timeout };
        assert_eq!(verdict(&server, &saw, terms(LONGEST, timeout)), too_rare);
    }
    let hasty = terms(usual.interval, Duration::from_micros(1));
    let too_rare = KeepAliveError::TooRare { here: true, interval: usual.interval, timeout: hasty.timeout };
    assert_eq!(verdict(&server, &saw, hasty), too_rare);
    // One that never gives up is welcome.
    let mut stream = raw(&server);
    stream.write_all(&hello_on("patient", terms(usual.interval, LONGEST))).unwrap();
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("patient".into())));
    let (client, _client_saw) = start("client", on(usual));
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
}

#[test]
fn terms_that_work_with_nobody_do_not_start() {
    for (interval, timeout) in [(Duration::ZERO, PATIENCE), (PATIENCE, Duration::ZERO)] {
        let mut config = ControlConfig::new(identity("nobody"), None);
        on(terms(interval, timeout))(&mut config);
        let (sender, _receiver) = mpsc::channel();
        let error = ControlPlane::start(config, Arc::new(Echo(Mutex::new(sender)))).unwrap_err();
        let ControlError::KeepAlive(fault) = error else { panic!("{error}") };
        assert_eq!(fault, KeepAliveError::Nothing { here: true, interval, timeout });
    }
}

#[test]
fn the_wire_has_whole_microseconds_and_never_makes_nothing_of_something() {
    let told = |time| <[u64; 2]>::from(terms(time, time));
    assert_eq!(told(Duration::from_nanos(1)), [1; 2]);
    assert_eq!(told(Duration::from_nanos(1001)), [2; 2]);
    assert_eq!(told(Duration::MAX), [u64::MAX; 2]);
    for raw in [0, 1, 1_000_000, u64::MAX] {
        assert_eq!(<[u64; 2]>::from(KeepAlive::from([raw, raw])), [raw, raw]);
    }
}

#[test]
fn no_keep_alive_is_queued_behind_bytes_that_the_socket_does_not_take() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, remote) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut config = ControlConfig::new(identity("stuck"), None);
    on(terms(Duration::from_nanos(1), PATIENCE))(&mut config);
    let connection =
        Connection::new(1, remote, Waker::new().unwrap(), (&hello_frame("stuck"), false)).unwrap();
    connection.introduce(identity("peer")).unwrap();
    let mut socket = WireSocket::new((stream, false), connection.clone(), None).unwrap();
    // More than the system keeps for a socket.
    connection.event(1, vec![7; FRAME_LIMIT as usize / 2]).unwrap();
    connection.event(2, vec![7; FRAME_LIMIT as usize / 2]).unwrap();
    socket.write().unwrap();
    for _ in 0..100 {
        assert!(socket.wants_to_write());
        socket.check_silence(&config).unwrap();
        socket.write().unwrap();
    }
    let reads = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).unwrap();
        bytes
    });
    while socket.wants_to_write() {
        socket.write().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    // Nothing waits any more.
    socket.check_silence(&config).unwrap();
    socket.write().unwrap();
    drop(socket);
    let (bytes, mut reader, mut frames) = (reads.join().unwrap(), FrameReader::new(), Vec::new());
    reader.raise_limit();
    let mut bytes = &bytes[..];
    while reader.fill(&mut bytes).unwrap() > 0 {
        while let Some(frame) = reader.next().unwrap() {
            frames.push(frame);
        }
    }
    assert!(
        matches!(
            frames[..],
            [
                Frame::Hello { .. },
                Frame::Event { kind: 1, .. },
                Frame::Event { kind: 2, .. },
                Frame::KeepAlive
            ]
        ),
        "{} frames",
        frames.len()
    );
}
