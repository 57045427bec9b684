//! Peers that do not keep to the protocol: each speaks the control plane's, and nothing or nonsense beyond.

use std::sync::mpsc::{Sender, channel};

use pmd_host::{
    control::Refusal,
    endpoint::{EndpointConfig, Peer},
};

use super::*;
use crate::fabric::{Fabric, Handler};

/// Takes questions in and does not answer them.
struct Mute(std::sync::Mutex<Sender<(Peer, u16, Vec<u8>)>>);

impl Handler for Mute {
    fn request(&self, _: &Peer, kind: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") })
    }

    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        let _ = self.0.lock().expect("not poisoned").send((peer.clone(), kind, body.to_vec()));
    }
}

struct Stranger {
    fabric: Fabric,
    name: String,
    heard: std::sync::mpsc::Receiver<(Peer, u16, Vec<u8>)>,
}

fn stranger() -> Stranger {
    let (sender, heard) = channel();
    let listen = Some(([127, 0, 0, 1], 0).into());
    let config = EndpointConfig { listen, ..EndpointConfig::default() };
    let fabric = Fabric::open(config, Arc::new(Mute(std::sync::Mutex::new(sender)))).expect("a fabric");
    let name = fabric.local_address().expect("it listens").to_string();
    Stranger { fabric, name, heard }
}

const SHORT: Duration = Duration::from_millis(30);

/// Transfers until the peer has been asked, which takes a busy machine longer than another, and has not answered in time.
fn ask_in_vain(transfer: impl Fn(Duration) -> Result<(), HixlError>) {
    let mut patience = SHORT;
    loop {
        match transfer(patience) {
            Err(HixlError::Timeout { what: "the peer's staging" }) => return,
            outcome => assert_eq!(status(outcome), Status::Timeout),
        }
        patience = 2 * patience;
        assert!(patience < PATIENCE, "not asked within {patience:?}");
    }
}

#[test]
fn a_notification_that_is_refused_has_failed() {
    let Stranger { fabric: _fabric, name, .. } = stranger();
    let client = client(&direct());
    client.connect(&name, PATIENCE).expect("connected");
    let refused = client.send_notify(&name, &NotifyDesc::new("a", "b"), PATIENCE);
    assert_eq!(status(refused), Status::NotifyFailed);
}

/// A buffer that a peer has been told of is lent to nobody until the peer has answered or its link is down.
#[test]
fn a_question_without_an_answer_is_over_in_time_and_keeps_its_buffer() {
    let Stranger { fabric: _fabric, name, heard } = stranger();
    let given = options(&[(OPTION_BUFFER_POOL, "1:1")]);
    let (client, server_engine, other) = pair(&given);
    client.connect(&name, PATIENCE).expect("connected");
    let (mut near, mut far) = (Memory::new(64, |_| 1), Memory::new(64, |_| 2));
    let piece = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 64 };
    let read = |name: &str, timeout| transfer(&client, name, TransferOp::Read, &[piece], timeout);
    ask_in_vain(|timeout| read(&name, timeout));
    assert_eq!(status(read(&other, SHORT)), Status::Timeout, "the one buffer may still be written");
    let (peer, ask, question) = heard.recv_timeout(PATIENCE).expect("asked");
    let (_, cancel, _) = heard.recv_timeout(PATIENCE).expect("cancelled");
    assert_eq!((ask, cancel), (staging::ASK, staging::CANCEL));
    assert_eq!(near.bytes(), [1; 64]);

    // Nonsense is not an answer, nor is one of another number.
    for nonsense in [vec![], vec![0xff; 30], question] {
        peer.connection().event(staging::ANSWER, nonsense).expect("sent");
    }
    peer.connection().event(staging::ANSWER, staging::answer_of(999)).expect("sent");
    client.disconnect(&name, PATIENCE).expect("disconnected");
    read(&other, PATIENCE).expect("the buffer was replaced");
    assert_eq!(near.bytes(), [2; 64]);
    drop(server_engine);
}

#[test]
fn a_late_answer_gives_the_buffer_back() {
    let Stranger { fabric: _fabric, name, heard } = stranger();
    let given = options(&[(OPTION_BUFFER_POOL, "1:1")]);
    let (client, server_engine, other) = pair(&given);
    client.connect(&name, PATIENCE).expect("connected");
    let (mut near, mut far) = (Memory::new(64, |_| 1), Memory::new(64, |_| 2));
    let piece = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 64 };
    let read = |name: &str, timeout| transfer(&client, name, TransferOp::Read, &[piece], timeout);
    ask_in_vain(|timeout| read(&name, timeout));
    let (peer, _, _) = heard.recv_timeout(PATIENCE).expect("asked");
    peer.connection().event(staging::ANSWER, staging::answer_of(1)).expect("sent");
    read(&other, PATIENCE).expect("lent again");
    assert_eq!(near.bytes(), [2; 64]);
    drop(server_engine);
}

/// What arrives at an engine from a peer that has it all wrong: nothing happens, and others are served.
#[test]
fn nonsense_is_taken_calmly() {
    let (server_engine, name) = server(&options(&[(OPTION_BUFFER_POOL, "1:1")]));
    let Stranger { fabric, heard, .. } = stranger();
    let peer = fabric.connect(name.parse().expect("an address")).expect("connected");
    for kind in [0, 1, 2, 3, 4, 5, 99] {
        for body in [vec![], vec![0xff; 100], vec![0; 3]] {
            peer.connection().event(kind, body.clone()).expect("sent");
            assert!(peer.request(kind, body, PATIENCE).is_err());
        }
    }
    // A question about a buffer that is not there, and one about more bytes than there are numbers.
    peer.connection().event(staging::ASK, staging::question_of(7, 4096, &[(8, 64)])).expect("sent");
    peer.connection()
        .event(staging::ASK, staging::question_of(8, 4096, &[(8, u64::MAX), (8, 8)]))
        .expect("sent");
    let mut answers = [(); 2].map(|()| heard.recv_timeout(PATIENCE).expect("answered").1);
    answers.sort_unstable();
    assert_eq!(answers, [staging::ANSWER; 2]);
    let client = client(&options(&[(OPTION_BUFFER_POOL, "1:1")]));
    client.connect(&name, PATIENCE).expect("connected");
    let (mut near, mut far) = (Memory::zeroed(8), Memory::new(8, |_| 2));
    let piece = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 8 };
    transfer(&client, &name, TransferOp::Read, &[piece], PATIENCE).expect("staged");
    assert_eq!(near.bytes(), [2; 8]);
    drop(server_engine);
}
