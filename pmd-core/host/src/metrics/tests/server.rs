//! The server: what it answers, and that clients who are slow, long-winded or many are bounded and hinder nobody.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use crate::metrics::{MetricsAddress, Server, ServerError, ServerLimits};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(limits: ServerLimits, page: impl Fn() -> String + Send + 'static) -> Server {
    Server::start("0".parse().expect("any port"), limits, page).expect("a server")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    stream
}

/// Everything that comes until the other end closes; a reset ends it too.
fn rest(mut stream: &TcpStream) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {bytes:?}"),
        }
    }
    String::from_utf8(bytes).expect("text")
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("written");
    rest(&stream)
}

/// Asks until there is an answer: where the server's patience is short, a slow machine may lose some.
fn ask_again_and_again(address: SocketAddr, request: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = connect(address);
        let answer = stream.write_all(request.as_bytes()).map_or(String::new(), |()| rest(&stream));
        if !answer.is_empty() || Instant::now() > deadline {
            return answer;
        }
    }
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n";

#[test]
fn a_get_is_answered_with_the_page_and_an_end() {
    let server = server(ServerLimits::default(), || "a 1\n".into());
    let wanted = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 4\r\n\
                  Connection: close\r\n\r\na 1\n";
    assert_eq!(ask(server.local_address(), GET), wanted);
    assert_eq!(ask(server.local_address(), "GET /metrics?x=y HTTP/1.0\r\n\r\n"), wanted);
    let head = ask(server.local_address(), "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(head, wanted.strip_suffix("a 1\n").expect("a body"));
}

#[test]
fn everything_else_is_refused_by_its_status() {
    let server = server(ServerLimits::default(), || "a 1\n".into());
    for (line, status) in [
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/ HTTP/1.1", "404"),
        ("GET http://other/metrics HTTP/1.1", "400"),
        ("POST /metrics HTTP/1.1", "405"),
        ("get /metrics HTTP/1.1", "400"),
        ("GET  /metrics HTTP/1.1", "400"),
        ("GET /metrics", "400"),
        ("GET /metrics HTTP/2", "505"),
        ("\u{1}\u{2}", "400"),
        ("", "400"),
    ] {
        let answer = ask(server.local_address(), &format!("{line}\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{line:?}: {answer}");
        assert_eq!(answer.contains("Allow: GET, HEAD\r\n"), status == "405");
    }
}

#[test]
fn a_request_that_is_too_long_is_refused_when_it_is() {
    let limits = ServerLimits { request_bytes: 2048, ..ServerLimits::default() };
    let server = server(limits, || "a 1\n".into());
    let exact = |length: usize| {
        let start = "GET /metrics HTTP/1.1\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    assert!(ask(server.local_address(), &exact(2048)).starts_with("HTTP/1.1 200 "));
    assert!(ask(server.local_address(), &exact(2049)).starts_with("HTTP/1.1 431 "));
    // One that never ends is answered too, and what follows is taken and dropped.
    let mut endless = connect(server.local_address());
    for _ in 0..64 {
        if endless.write_all(&[b'x'; 1024]).is_err() {
            break;
        }
    }
    assert!(rest(&endless).starts_with("HTTP/1.1 431 "));
}

#[test]
fn a_slow_client_is_dropped_and_hinders_nobody() {
    let limits = ServerLimits { patience: Duration::from_millis(300), ..ServerLimits::default() };
    let server = server(limits, || "a 1\n".into());
    let mut slow = connect(server.local_address());
    // One that is dropped before it has said so much is slow, too.
    let _ = slow.write_all(b"GET /met");
    assert!(ask_again_and_again(server.local_address(), GET).starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&slow), "", "closed without an answer");
}

#[test]
fn one_that_reads_nothing_is_dropped() {
    let limits = ServerLimits { patience: Duration::from_millis(300), ..ServerLimits::default() };
    let long = || "x".repeat(32 << 20);
    let server = server(limits, long);
    let mut deaf = connect(server.local_address());
    let _ = deaf.write_all(GET.as_bytes());
    // By the time that the connection is reset the answer cannot be out: it is larger than what the system keeps.
    let deadline = Instant::now() + PATIENCE;
    while deaf.write_all(b"x").is_ok() {
        assert!(Instant::now() < deadline, "the connection stays");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = ask_again_and_again(server.local_address(), "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.contains(&format!("Content-Length: {}\r\n", 32 << 20)), "{answer}");
}

#[test]
fn many_silent_clients_make_room_for_one_that_asks() {
    let limits = ServerLimits { connections: 4, patience: PATIENCE, ..ServerLimits::default() };
    let server = server(limits, || "a 1\n".into());
    let silent: Vec<_> = (0..64).map(|_| connect(server.local_address())).collect();
    assert!(ask(server.local_address(), GET).starts_with("HTTP/1.1 200 "));
    // All but the bound were closed, long before their time was up.
    for stream in &silent[..silent.len() - 4] {
        assert_eq!(rest(stream), "");
    }
}

#[test]
fn a_page_that_panics_is_an_error_of_the_server() {
    let server = server(ServerLimits::default(), || panic!("no page"));
    assert!(ask(server.local_address(), GET).starts_with("HTTP/1.1 500 "));
    assert!(ask(server.local_address(), GET).starts_with("HTTP/1.1 500 "), "it goes on");
}

#[test]
fn a_port_that_is_taken_gives_way_to_the_next() {
    let first = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = first.local_addr().expect("its address");
    let limits = ServerLimits::default();
    // Whether the ones after it are free is not known here; some of them are.
    let server = Server::start(MetricsAddress(taken), limits, String::new).expect("another port");
    assert_eq!(server.local_address().ip(), taken.ip());
    assert!(server.local_address().port() > taken.port());
    let elsewhere = "192.0.2.1:9490".parse().expect("an address that is nobody's");
    let refused = Server::start(elsewhere, limits, String::new).expect_err("not this host's");
    assert!(matches!(refused, ServerError::Listen { address, .. } if address == elsewhere));
}

#[test]
fn nobody_is_answered_once_it_is_dropped() {
    let server = server(ServerLimits::default(), String::new);
    let address = server.local_address();
    let open = connect(address);
    drop(server);
    assert_eq!(rest(&open), "");
    assert!(TcpStream::connect_timeout(&address, PATIENCE).is_err());
}
