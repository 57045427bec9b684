use std::{net::Ipv4Addr, time::Duration};

use super::{Message, PATIENCE, Peer, Waiting};
use crate::perf::error::PerfError;

fn pair() -> (Peer, Peer) {
    let server = Waiting::start("server".into(), Some((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
    let address = server.address().unwrap();
    let client = Waiting::start("client".into(), None).unwrap().connect(address).unwrap();
    let server = server.accept(PATIENCE, |identity| identity.name == "client").unwrap();
    (client, server.unwrap())
}

#[test]
fn messages_arrive_in_order() {
    let (client, mut server) = pair();
    let round = Message::Round { size: 8, warm_up: 1, iterations: 2 };
    client.send(&round).unwrap();
    client.send(&Message::Finish).unwrap();
    assert_eq!(server.receive().unwrap(), round);
    assert_eq!(server.receive().unwrap(), Message::Finish);
}

#[test]
fn a_peer_that_fails_or_goes_is_told_from_one_that_answers() {
    let (client, mut server) = pair();
    client.send(&Message::Failed { code: 3, text: "no device".into() }).unwrap();
    assert!(matches!(server.receive(), Err(PerfError::Peer { code: 3, .. })));
    drop(client);
    assert!(matches!(server.receive(), Err(PerfError::Down(_))));
}

#[test]
fn strangers_are_not_accepted() {
    let server = Waiting::start("server".into(), Some((Ipv4Addr::LOCALHOST, 0).into())).unwrap();
    let address = server.address().unwrap();
    let mut stranger = Waiting::start("stranger".into(), None).unwrap().connect(address).unwrap();
    let accepted = server.accept(Duration::from_millis(300), |identity| identity.name == "friend").unwrap();
    assert!(accepted.is_err());
    assert!(matches!(stranger.receive(), Err(PerfError::Down(_))));
}
