//! Against sockets that behave like ibv_rc_pingpong, and like something else.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use super::{Exchange, PingpongError, listen};
use crate::pingpong::address::{Address, LENGTH};

const PATIENCE: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(50);

fn address(queue_pair: u32) -> Address {
    Address { lid: 1, queue_pair, packet_sequence: 3, gid: Ipv6Addr::UNSPECIFIED }
}

/// A server's end and a client's end of one connection.
fn pair(patience: Duration) -> (Exchange, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Exchange::accept(&listener, patience).unwrap(), client)
}

fn step(error: &PingpongError) -> (&'static str, ErrorKind) {
    match error {
        PingpongError::Exchange { step, source } => (step, source.kind()),
        other => panic!("{other}"),
    }
}

#[test]
fn both_sides_of_ours_understand_each_other() {
    let listener = listen(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = thread::spawn(move || {
        let mut exchange = Exchange::connect("localhost", port, PATIENCE).unwrap();
        exchange.tell(&address(7)).unwrap();
        let remote = exchange.hear().unwrap();
        exchange.finish().unwrap();
        remote
    });
    let mut exchange = Exchange::accept(&listener, PATIENCE).unwrap();
    assert_eq!(exchange.hear().unwrap(), address(7));
    exchange.tell(&address(8)).unwrap();
    exchange.finished().unwrap();
    assert_eq!(client.join().unwrap(), address(8));
}

#[test]
fn addresses_may_come_in_pieces() {
    let (mut exchange, mut client) = pair(PATIENCE);
    let sender = thread::spawn(move || {
        for byte in address(9).emit() {
            client.write_all(&[byte]).unwrap();
        }
        client
    });
    assert_eq!(exchange.hear().unwrap(), address(9));
    exchange.tell(&address(10)).unwrap();
    let mut client = sender.join().unwrap();
    let mut bytes = [0; LENGTH];
    client.read_exact(&mut bytes).unwrap();
    assert_eq!(Address::parse(&bytes), Ok(address(10)));
}

#[test]
fn a_client_that_goes_is_noticed() {
    let (mut exchange, mut client) = pair(PATIENCE);
    client.write_all(&address(9).emit()[..LENGTH - 1]).unwrap();
    drop(client);
    let error = exchange.hear().unwrap_err();
    assert_eq!(step(&error), ("receiving the peer's address", ErrorKind::UnexpectedEof));

    let (mut exchange, mut client) = pair(PATIENCE);
    client.write_all(&address(9).emit()).unwrap();
    exchange.hear().unwrap();
    drop(client);
    let error = exchange.finished().unwrap_err();
    assert_eq!(step(&error).0, "waiting for the client's acknowledgement");
}

#[test]
fn a_silent_client_is_given_up() {
    let (mut exchange, client) = pair(SHORT);
    let error = exchange.hear().unwrap_err();
    assert_eq!(step(&error), ("receiving the peer's address", ErrorKind::WouldBlock));
    drop(client);
}

#[test]
fn other_words_are_refused() {
    let (mut exchange, mut client) = pair(PATIENCE);
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.host.of.some.network.somewhere\r\n\r\n").unwrap();
    assert!(matches!(exchange.hear(), Err(PingpongError::Address(_))));

    let (exchange, mut client) = pair(PATIENCE);
    client.write_all(b"dones").unwrap();
    assert!(matches!(exchange.finished(), Err(PingpongError::Acknowledgement)));
}

#[test]
fn a_client_waits_for_a_server_that_starts_late() {
    // A port of this host that is free, and stays so until the listener below takes it.
    let port = listen(0).unwrap().local_addr().unwrap().port();
    let client = thread::spawn(move || Exchange::connect("127.0.0.1", port, PATIENCE).map(|_| ()));
    thread::sleep(SHORT);
    let listener = listen(port).unwrap();
    Exchange::accept(&listener, PATIENCE).unwrap();
    client.join().unwrap().unwrap();

    drop(listener);
    let refused = Exchange::connect("127.0.0.1", port, SHORT).unwrap_err();
    assert!(matches!(refused, PingpongError::Connect { .. }), "{refused}");
    assert!(Exchange::connect("no host has this name", 1, SHORT).is_err());
}

#[test]
fn a_taken_port_is_named() {
    let listener = listen(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = listen(port).unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}
