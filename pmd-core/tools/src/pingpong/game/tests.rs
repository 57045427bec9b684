//! Games between two soft HCAs of this process, also with an opponent that cheats.

use std::{thread, time::Duration};

use pmd_core::provider::{CompletionError, Provider};
use pmd_host::{
    backend::{ConnectOptions, QueuePairAddress, QueuePairConfig},
    soft::{Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
};

use super::*;
use crate::perf::{fabric::Fabric, plan::MemoryChoice};

const RULES: Rules = Rules {
    side: Side::Client,
    size: 5000,
    turns: 40,
    receives: 6,
    events: false,
    patience: Duration::from_secs(10),
};

/// A side before it is connected.
struct Seat {
    device: Device,
    backend: SoftBackend,
    queue_pair: QueuePairHandle,
}

impl Seat {
    fn new() -> Self {
        let device = Device::open(DeviceConfig::default()).unwrap();
        let mut backend = SoftBackend::new(&device, ProtectionDomain::default(), Tuning::default()).unwrap();
        let config = QueuePairConfig { send_slots: 16, receives: 64, sges: 1, ..QueuePairConfig::default() };
        let queue_pair = backend.create_queue_pair(&config).unwrap();
        Self { device, backend, queue_pair }
    }

    fn address(&self) -> QueuePairAddress {
        self.backend.address(self.queue_pair).unwrap()
    }

    fn game(mut self, rules: Rules, remote: &QueuePairAddress) -> Game<SoftBackend> {
        self.backend.connect(self.queue_pair, remote, &ConnectOptions::default()).unwrap();
        let memory = self.device.memory(rules.memory(), MemoryChoice::Heap).unwrap();
        Game::new(rules, self.backend, self.queue_pair, memory).unwrap()
    }
}

/// Both sides, connected, with their receives posted.
fn pair(rules: Rules) -> (Game<SoftBackend>, Game<SoftBackend>) {
    let (client, server) = (Seat::new(), Seat::new());
    let (near, far) = (client.address(), server.address());
    let server = server.game(Rules { side: Side::Server, ..rules }, &near);
    (client.game(rules, &far), server)
}

/// Plays the server on a thread, and gives what both came to. A side that is done goes on polling for the other one.
fn play(rules: Rules) -> (usize, usize) {
    let (mut client, mut server) = pair(rules);
    let opponent = thread::spawn(move || {
        let played = server.play().unwrap();
        (played.exchanges.len(), server)
    });
    let own = client.play().unwrap().exchanges.len();
    let mut completions = [Completion::EMPTY; 1];
    while !opponent.is_finished() {
        assert_eq!(client.backend.poll(&mut completions), Ok(0));
        thread::yield_now();
    }
    (own, opponent.join().unwrap().0)
}

#[test]
fn every_turn_is_played() {
    for size in [1, 2, 100, INLINE, INLINE + 1, 4096, 5000, 100_000] {
        assert_eq!(play(Rules { size, ..RULES }), (40, 40), "{size} bytes");
    }
}

#[test]
fn receives_are_posted_anew() {
    for receives in [2, 3, 64] {
        assert_eq!(play(Rules { receives, turns: 150, ..RULES }), (150, 150));
    }
}

#[test]
fn sides_sleep_when_asked_to() {
    assert_eq!(play(Rules { events: true, ..RULES }), (40, 40));
}

#[test]
fn an_opponent_that_goes_ends_the_game() {
    let (mut client, server) = pair(Rules { patience: Duration::from_millis(200), ..RULES });
    drop(server);
    let error = client.play().unwrap_err();
    assert!(
        matches!(error, PingpongError::Completion { .. } | PingpongError::Stalled { received: 0, .. }),
        "{error}"
    );
}

#[test]
fn an_opponent_that_is_silent_is_given_up() {
    let (mut client, _server) = pair(Rules { patience: Duration::from_millis(100), ..RULES });
    let error = client.play().unwrap_err();
    assert!(matches!(error, PingpongError::Stalled { received: 0, of: 40, .. }), "{error}");
}

/// Sends `message` as ibv_rc_pingpong's client does.
fn send(client: &mut Game<SoftBackend>, message: &[u8]) {
    for (index, byte) in message.iter().enumerate() {
        client.memory.stamp(index, *byte);
    }
    let entries = [client.memory.sge(0, message.len() as u32).unwrap()];
    let operation = Operation::Send { local: Payload::Gather(&entries), immediate: None };
    let request = SendRequest { id: SEND, operation, flags: SendFlags::SIGNALED };
    client.backend.post_send(client.queue_pair, &request).unwrap();
    client.backend.ring_send(client.queue_pair);
}

/// What a server says to a client that begins with `first` and sends back whatever it gets.
fn served(rules: Rules, first: &[u8]) -> Result<usize, PingpongError> {
    let (mut client, mut server) = pair(rules);
    let opponent = thread::spawn(move || server.play().map(|played| played.exchanges.len()));
    send(&mut client, first);
    let mut sent = 1;
    let mut completions = [Completion::EMPTY; 1];
    while !opponent.is_finished() {
        let count = client.backend.poll(&mut completions).unwrap();
        if count == 1 && completions[0].id < SEND && completions[0].result.is_ok() && sent < rules.turns {
            let place = rules.place(completions[0].id) as usize;
            let answer: Vec<u8> = (0..first.len()).map(|index| client.memory.byte(place + index)).collect();
            send(&mut client, &answer);
            sent += 1;
        }
        thread::yield_now();
    }
    opponent.join().unwrap()
}

#[test]
fn a_server_leads_a_client_that_echoes() {
    let rules = Rules { turns: 5, ..RULES };
    let mut first = [0x7b; 5000];
    assert_eq!(served(rules, &first).unwrap(), 5);
    (first[0], first[4096]) = (0, 0);
    assert_eq!(served(rules, &first).unwrap(), 5);
}

#[test]
fn contents_are_checked() {
    let mut first = [0x7b; 5000];
    first[4999] = 0x7c;
    let error = served(RULES, &first).unwrap_err();
    assert!(matches!(error, PingpongError::Contents { message: 0, .. }), "{error}");
}

#[test]
fn lengths_are_checked() {
    let error = served(RULES, &[0x7b; 4999]).unwrap_err();
    assert!(matches!(error, PingpongError::Length { message: 0, found: 4999, expected: 5000 }), "{error}");
}

/// Only a server's last answer, and only where nobody answered any more.
#[test]
fn a_client_may_leave_after_its_last_message() {
    let cases = [
        (Side::Server, 40, Syndrome::RetryExceeded, true),
        (Side::Server, 39, Syndrome::RetryExceeded, false),
        (Side::Server, 40, Syndrome::RemoteAccess, false),
        (Side::Client, 40, Syndrome::RetryExceeded, false),
    ];
    for (side, received, syndrome, may_leave) in cases {
        let (client, server) = pair(RULES);
        let mut game = if side == Side::Server { server } else { client };
        (game.received, game.sent, game.sending) = (received, received - 1, true);
        let error = CompletionError { syndrome, vendor: 0, is_receive: false };
        let failed = Completion { id: SEND, result: Err(error), ..Completion::EMPTY };
        assert_eq!(game.take(&failed).is_ok(), may_leave, "{side:?} {received} {syndrome:?}");
        assert_eq!(game.is_acknowledged, !may_leave);
    }
}
