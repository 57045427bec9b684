//! With a key: who has it, who does not, and somebody in between.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    control::{channel::RECORD, frame::preamble_of},
    security::{
        Asking, Cipher, FIRST, SECOND, TAG,
        tests::{
            key,
            relay::{Relay, Way},
        },
    },
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn keyed(number: u8) -> impl FnOnce(&mut ControlConfig) {
    move |config| config.key = Some(key(number))
}

fn fault(error: ConnectError) -> FrameError {
    match error {
        ConnectError::Down(DownReason::Protocol(fault)) => fault,
        other => panic!("{other}"),
    }
}

/// What the service hears of those who were refused.
fn refused(saw: &mpsc::Receiver<Seen>) -> FrameError {
    match saw.recv_timeout(PATIENCE) {
        Ok(Seen::Refused(DownReason::Protocol(fault))) => fault,
        other => panic!("{other:?}"),
    }
}

/// A peer by hand that has shaken hands.
fn shaken(plane: &ControlPlane) -> (TcpStream, Cipher) {
    let mut stream = raw(plane);
    let (asking, first) = Asking::begin(&key(1), &preamble_of(true)).unwrap();
    stream.write_all(&[&preamble_of(true)[..], &first].concat()).unwrap();
    let mut answer = [0; 12 + SECOND];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..12], preamble_of(true));
    let cipher = asking.finish(&answer[12..], &mut []).unwrap();
    (stream, cipher)
}

fn record(cipher: &mut Cipher, plain: &[u8]) -> Vec<u8> {
    let mut bytes = ((plain.len() + TAG) as u16).to_le_bytes().to_vec();
    bytes.resize(2 + plain.len() + TAG, 0);
    cipher.seal(plain, &mut bytes[2..]).unwrap();
    bytes
}

fn framed(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes).unwrap();
    bytes
}

#[test]
fn peers_with_the_key_talk_and_nobody_else_reads_it() {
    const SECRET: &[u8] = b"nobody else may read this";
    for is_keyed in [true, false] {
        let adjust = |config: &mut ControlConfig| config.key = is_keyed.then(|| key(1));
        let (server, server_saw) = start("server", adjust);
        let (client, _client_saw) = start("client", adjust);
        let relay = Relay::to(server.local_address().unwrap());
        let connection = client.connect(relay.address, PATIENCE).unwrap();
        assert_eq!(connection.identity().unwrap().name, "server");
        assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
        let long: Vec<u8> = (0..1_000_000_u32).map(|index| index as u8).collect();
        for body in [SECRET.to_vec(), Vec::new(), long, vec![9; RECORD]] {
            assert_eq!(connection.request(1, body.clone(), PATIENCE), Ok(body));
        }
        connection.event(7, SECRET.to_vec()).unwrap();
        assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Event(7, SECRET.to_vec())));
        assert_eq!(relay.has_seen(SECRET), !is_keyed);
        assert_eq!(relay.has_seen(b"server"), !is_keyed);
        drop(client);
        assert_eq!(server_saw.recv_timeout(PATIENCE), Ok(Seen::Down("client".into(), DownReason::Goodbye)));
    }
}

#[test]
fn one_key_alone_is_told_to_both() {
    for server_has_one in [true, false] {
        let (server, saw) = start("server", |config| config.key = server_has_one.then(|| key(1)));
        let (client, _client_saw) = start("client", |config| config.key = (!server_has_one).then(|| key(1)));
        let error = client.connect(server.local_address().unwrap(), PATIENCE).unwrap_err();
        assert_eq!(fault(error), FrameError::OnlyOneKey { here: !server_has_one });
        assert_eq!(refused(&saw), FrameError::OnlyOneKey { here: server_has_one });
        let said = FrameError::OnlyOneKey { here: true }.to_string();
        assert!(said.starts_with("this side has a pre-shared key and the peer has none"), "{said}");
    }
}

#[test]
fn another_key_is_told_to_both_and_others_go_on() {
    let (server, saw) = start("server", keyed(1));
    let (stranger, _stranger_saw) = start("stranger", keyed(2));
    let error = stranger.connect(server.local_address().unwrap(), PATIENCE).unwrap_err();
    assert_eq!(fault(error), FrameError::WrongKey);
    assert_eq!(refused(&saw), FrameError::WrongKey);
    let (client, _client_saw) = start("client", keyed(1));
    let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
    assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
}

#[test]
fn a_recorded_connection_that_is_sent_again_gets_nowhere() {
    let (server, saw) = start("server", keyed(1));
    let (client, _client_saw) = start("client", keyed(1));
    let relay = Relay::to(server.local_address().unwrap());
    let connection = client.connect(relay.address, PATIENCE).unwrap();
    connection.event(7, vec![1]).unwrap();
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Event(7, vec![1])));
    let [there, _] = relay.recordings().remove(0);
    let mut again = raw(&server);
    again.write_all(&there).unwrap();
    let answer = until_closed(&mut again);
    // What it is answered is sealed with keys that the recording does not have.
    assert!(answer.len() >= 12 + SECOND && !answer.windows(6).any(|window| window == b"server"));
    assert_eq!(refused(&saw), FrameError::Forged);
    connection.event(7, vec![2]).unwrap();
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Event(7, vec![2])));
}

#[test]
fn what_is_sent_back_is_not_taken_for_a_peer() {
    let listener = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mirror = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut said = [0; 12 + FIRST];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(&said).unwrap();
        until_closed(&mut stream);
    });
    let (client, _saw) = start("client", keyed(1));
    assert_eq!(fault(client.connect(address, PATIENCE).unwrap_err()), FrameError::WrongKey);
    drop(client);
    mirror.join().unwrap();
}

#[test]
fn a_process_that_is_led_back_to_itself_notices() {
    let (plane, _saw) = start("plane", keyed(1));
    let own = plane.local_address().unwrap();
    // Within a host it may be meant.
    plane.connect(own, PATIENCE).unwrap();
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
    let relay = Relay::changing(elsewhere, own, |_, _, _| ());
    assert_ne!(relay.address.ip(), LOOPBACK);
    assert_eq!(fault(plane.connect(relay.address, PATIENCE).unwrap_err()), FrameError::Reflected);
}

#[test]
fn changed_bits_end_the_connection_wherever_they_are() {
    // In the preamble, the handshake, the length of a record, and inside of it.
    for (position, expected) in [
        (10, FrameError::OnlyOneKey { here: true }),
        (12 + 3, FrameError::WrongKey),
        (12 + FIRST + 1, FrameError::Forged),
        (12 + FIRST + 9, FrameError::Forged),
    ] {
        let (server, saw) = start("server", keyed(1));
        let (client, _client_saw) = start("client", keyed(1));
        let flip = move |way, before: usize, bytes: &mut [u8]| {
            let here = position.checked_sub(before).and_then(|index: usize| bytes.get_mut(index));
            if let Some(byte) = here.filter(|_| way == Way::There) {
                // The length becomes one that is too long.
                *byte ^= 0x80;
            }
        };
        let relay = Relay::changing((LOOPBACK, 0).into(), server.local_address().unwrap(), flip);
        // The server's hello may have come before it hung up.
        let _ = client.connect(relay.address, PATIENCE);
        assert_eq!(refused(&saw), expected, "bit of byte {position}");
    }
}

#[test]
fn records_that_cannot_be_are_refused_whoever_sends_them() {
    type Case = (&'static str, fn(&mut Cipher) -> Vec<u8>, FrameError);
    let too_long = FrameError::TooLong { length: HELLO_LIMIT + 1, limit: HELLO_LIMIT };
    let cases: [Case; 7] = [
        ("of no bytes", |_| vec![0, 0, 1, 2, 3], FrameError::Forged),
        ("of a tag alone", |_| vec![TAG as u8, 0], FrameError::Forged),
        ("too long", |_| ((RECORD + TAG + 1) as u16).to_le_bytes().to_vec(), FrameError::Forged),
        ("longest", |_| vec![0xff; 70_000], FrameError::Forged),
        ("invented", |_| [&[40, 0][..], &[7; 40]].concat(), FrameError::Forged),
        ("a long frame inside", |cipher| record(cipher, &(HELLO_LIMIT + 1).to_le_bytes()), too_long),
        (
            "no frame inside",
            |cipher| record(cipher, &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            FrameError::Malformed { length: 4 },
        ),
    ];
    let (server, saw) = start("server", keyed(1));
    for (name, make, expected) in cases {
        let (mut stream, mut cipher) = shaken(&server);
        stream.write_all(&make(&mut cipher)).unwrap();
        until_closed(&mut stream);
        assert_eq!(refused(&saw), expected, "{name}");
    }
}

#[test]
fn a_record_that_is_cut_by_the_end_is_an_end() {
    let (server, saw) = start("server", keyed(1));
    let (mut stream, mut cipher) = shaken(&server);
    let whole = record(&mut cipher, &framed(&hello_frame("cut")));
    stream.write_all(&whole[..whole.len() - 1]).unwrap();
    drop(stream);
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Refused(DownReason::Closed)));
    // The same, whole: the peer is known.
    let (mut stream, mut cipher) = shaken(&server);
    stream.write_all(&record(&mut cipher, &framed(&hello_frame("whole")))).unwrap();
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("whole".into())));
}

#[test]
fn frames_in_the_clear_are_not_looked_at_where_there_is_a_key() {
    let (server, saw) = start("server", keyed(1));
    let mut stream = raw(&server);
    let mut bytes = preamble_of(true).to_vec();
    // Longer than a handshake's first message.
    bytes.extend(framed(&hello_frame("somebody with a rather long name")));
    assert!(bytes.len() > 12 + FIRST);
    stream.write_all(&bytes).unwrap();
    until_closed(&mut stream);
    assert_eq!(refused(&saw), FrameError::WrongKey);
}

/// Ten thousand connections in waves: one wave is hung up on when the next has come.
#[test]
fn ten_thousand_connections_that_say_nothing_are_bounded_and_service_goes_on() {
    const WAVE: usize = 50;
    const LIMIT: usize = 32;
    for is_keyed in [true, false] {
        let (server, saw) = start("server", |config| {
            config.key = is_keyed.then(|| key(1));
            config.anonymous_limit = LIMIT;
            // None goes because its time is over.
            config.hello_timeout = PATIENCE * 10;
        });
        let (client, _client_saw) = start("client", |config| config.key = is_keyed.then(|| key(1)));
        let connection = client.connect(server.local_address().unwrap(), PATIENCE).unwrap();
        assert_eq!(saw.recv_timeout(PATIENCE), Ok(Seen::Connected("client".into())));
        let mut before: Vec<TcpStream> = Vec::new();
        for _ in 0..5_000 / WAVE {
            let wave: Vec<TcpStream> = (0..WAVE).map(|_| raw(&server)).collect();
            before.iter_mut().for_each(|stream| drop(until_closed(stream)));
            before = wave;
        }
        assert_eq!(connection.request(1, vec![5], PATIENCE), Ok(vec![5]));
        // While as many as there may be are still there.
        let (late, _late_saw) = start("late", |config| config.key = is_keyed.then(|| key(1)));
        let connection = late.connect(server.local_address().unwrap(), PATIENCE).unwrap();
        assert_eq!(connection.request(1, vec![6], PATIENCE), Ok(vec![6]));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn any_bytes_end_in_an_error_or_wait(bytes: Vec<u8>, with_preamble: bool, connects: bool, step in 1_usize..100) {
        use crate::control::channel::Channel;
        let mut channel = Channel::begin(&key(1), connects, &mut Vec::new()).unwrap();
        let mut input = if with_preamble { preamble_of(true).to_vec() } else { Vec::new() };
        input.extend(bytes);
        let (mut reader, mut out) = (FrameReader::greeted(), Vec::new());
        for mut piece in input.chunks(step) {
            while !piece.is_empty() {
                channel.fill(&mut piece).unwrap();
            }
            if channel.take(&mut reader, &mut out).is_err() {
                break;
            }
            proptest::prop_assert!(!channel.is_agreed());
        }
    }
}
