//! An engine whose peer does not keep to the protocol: the queue pair fails, nothing else happens.

use std::time::{Duration, Instant};

use pmd_core::{
    provider::{Completion, Operation, Provider, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest},
    wire::Syndrome,
};
use proptest::prelude::*;

use super::{
    packet::{HEADER, Header, Kind, Operands, PacketFlags, REMOTE, RemoteHeader},
    *,
};
use crate::{
    backend::{Backend, QueuePairAddress, SoftAddress},
    soft::{DeviceConfig, Link, SoftBackend},
};

/// A real back end with one queue pair, and the other end of its link in the hands of the test.
struct Victim {
    backend: SoftBackend,
    queue_pair: QueuePairHandle,
    link: Link,
    _device: Device,
}

impl Victim {
    fn new() -> Self {
        let config = DeviceConfig { ring_bytes: 4096, ..DeviceConfig::default() };
        let (one, two) = (Device::open(config.clone()).unwrap(), Device::open(config).unwrap());
        let mut backend = SoftBackend::new(&one, ProtectionDomain::default(), Tuning::default()).unwrap();
        let queue_pair = backend.create_queue_pair(&QueuePairConfig::default()).unwrap();
        let remote = SoftAddress { host: two.host(), device: two.id(), queue_pair: 7 };
        backend.connect(queue_pair, &QueuePairAddress::Soft(remote), &ConnectOptions::default()).unwrap();
        let waker = Waker::new().unwrap();
        let protection_domain = ProtectionDomain::default();
        let endpoint = Endpoint { queue_pair: 7, protection_domain, waker, may_park: false };
        let QueuePairAddress::Soft(address) = backend.address(queue_pair).unwrap() else { unreachable!() };
        let mut pending = two.connect(&endpoint, &address).unwrap();
        let start = Instant::now();
        let link = loop {
            two.service();
            backend.poll(&mut [Completion::EMPTY]).unwrap();
            if let Some(link) = pending.poll().unwrap() {
                break link;
            }
            assert!(start.elapsed() < Duration::from_secs(10));
        };
        // Completes the victim's side too.
        (0..64).for_each(|_| assert_eq!(backend.poll(&mut [Completion::EMPTY]), Ok(0)));
        Self { backend, queue_pair, link, _device: two }
    }

    /// Posts a receive and a send, which nothing but a failure completes.
    fn post(&mut self) {
        let receive = ReceiveRequest { id: 1, scatter: &[] };
        self.backend.post_receive(self.queue_pair, &receive).unwrap();
        self.backend.ring_receive(self.queue_pair);
        let operation = Operation::Send { local: pmd_core::provider::Payload::Inline(b"x"), immediate: None };
        let request = SendRequest { id: 2, operation, flags: SendFlags::SIGNALED };
        self.backend.post_send(self.queue_pair, &request).unwrap();
        self.backend.ring_send(self.queue_pair);
    }

    fn poll(&mut self) -> Vec<Completion> {
        let mut completions = [Completion::EMPTY; 8];
        let mut all = Vec::new();
        for _ in 0..20 {
            let count = self.backend.poll(&mut completions).unwrap();
            all.extend_from_slice(&completions[..count]);
        }
        all
    }
}

fn syndromes(completions: &[Completion]) -> Vec<(u64, Syndrome)> {
    completions.iter().filter_map(|done| Some((done.id, done.result.err()?.syndrome))).collect()
}

fn header(kind: Kind) -> Header {
    Header { kind, flags: PacketFlags::ONLY, detail: 0, acknowledged: 0, word: 0, length: 0 }
}

#[test]
fn packets_out_of_place_fail_the_queue_pair() {
    let failed = [(2, Syndrome::BadResponse), (1, Syndrome::Flushed)];
    let middle = Header { flags: PacketFlags::empty(), length: 9, ..header(Kind::Send) };
    let bad_end = Header { flags: PacketFlags::ONLY, length: 9, ..header(Kind::Send) };
    let ahead = Header { acknowledged: 99, ..header(Kind::Send) };
    for request in [middle, bad_end, ahead, header(Kind::Nak), header(Kind::ReadResponse)] {
        let mut victim = Victim::new();
        victim.post();
        victim.link.requests_out.push(&request.to_bytes()).unwrap();
        assert_eq!(syndromes(&victim.poll()), failed, "{request:?}");
    }
    let bad_nak = Header { word: 99, ..header(Kind::Nak) };
    for response in [header(Kind::Send), header(Kind::ReadResponse), bad_nak, header(Kind::Fatal)] {
        let mut victim = Victim::new();
        victim.post();
        victim.link.responses_out.push(&response.to_bytes()).unwrap();
        assert_eq!(syndromes(&victim.poll()), failed, "{response:?}");
    }
}

#[test]
fn refusals_give_their_syndrome_and_fatal_ends_all() {
    let nak = Header { detail: 0x12, ..header(Kind::Nak) };
    let mut victim = Victim::new();
    victim.post();
    victim.link.responses_out.push(&nak.to_bytes()).unwrap();
    let found = syndromes(&victim.poll());
    assert_eq!(found, [(2, Syndrome::RemoteInvalidRequest), (1, Syndrome::Flushed)]);

    let mut victim = Victim::new();
    victim.post();
    victim.link.requests_out.push(&header(Kind::Fatal).to_bytes()).unwrap();
    assert_eq!(syndromes(&victim.poll()), [(2, Syndrome::RetryExceeded), (1, Syndrome::Flushed)]);
}

#[test]
fn forged_keys_reach_nothing() {
    let target = 0x5555_5555_5555_5555u64;
    let remote = RemoteHeader { address: (&raw const target) as u64 & !7, rkey: 0x1234_0001 };
    for kind in [Kind::Write, Kind::Read, Kind::FetchAdd, Kind::CompareSwap] {
        let mut victim = Victim::new();
        victim.post();
        let mut packet = Header { length: 8, ..header(kind) }.to_bytes().to_vec();
        packet.extend_from_slice(&remote.to_bytes());
        match kind {
            Kind::Write => packet.extend_from_slice(&[0; 8]),
            Kind::Read => {}
            _ => packet.extend_from_slice(&Operands { swap_or_add: 1, compare: target }.to_bytes()),
        }
        assert!(packet.len() >= HEADER + REMOTE);
        victim.link.requests_out.push(&packet).unwrap();
        assert_eq!(syndromes(&victim.poll()), [(2, Syndrome::Flushed), (1, Syndrome::Flushed)]);
        let nak = victim.link.responses_in.peek().unwrap().unwrap();
        let mut bytes = [0; HEADER];
        nak.read(0, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[2]), (Kind::Nak as u8, Syndrome::RemoteAccess.to_byte()));
    }
    assert_eq!(target, 0x5555_5555_5555_5555);
}

#[test]
fn a_queue_pair_is_quiet_once_its_peer_has_ended_the_round_that_it_was_in() {
    let mut victim = Victim::new();
    victim.post();
    let seat = victim._device.seat(Waker::new().unwrap()).unwrap();
    let round = seat.enter();
    // A process that is stopped in the middle of this one: nothing waits for it.
    for _ in 0..3 {
        assert!(!victim.backend.quiesce(victim.queue_pair));
        assert_eq!(syndromes(&victim.poll()), []);
    }
    drop(round);
    assert!(victim.backend.quiesce(victim.queue_pair));
    assert_eq!(syndromes(&victim.poll()), [(2, Syndrome::Flushed), (1, Syndrome::Flushed)]);
    victim.backend.reset(victim.queue_pair).unwrap();
    assert!(victim.backend.quiesce(victim.queue_pair));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_arrives_never_panics(
        packets in prop::collection::vec((any::<bool>(), 0..16u8, 0..32u8, prop::collection::vec(any::<u8>(), 0..80)), 1..12),
    ) {
        let mut victim = Victim::new();
        victim.post();
        for (response, kind, flags, mut bytes) in packets {
            if bytes.len() >= HEADER {
                // Mostly headers that look right at first.
                (bytes[0], bytes[1]) = (if response { 0x80 | kind & 7 } else { kind & 7 }, flags);
                bytes[4..8].fill(0);
                bytes[14..16].fill(0);
            }
            let ring = if response { &mut victim.link.responses_out } else { &mut victim.link.requests_out };
            let _ = ring.push(&bytes);
            victim.poll();
        }
        victim.backend.reset(victim.queue_pair).unwrap();
    }
}
