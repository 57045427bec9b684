//! Our back end and the verbs peer in C move data both ways; contents are checked on both sides.
//!
//! | check | who starts | what |
//! |---|---|---|
//! | `we_write`, `we_read`, `we_send` | we | WRITE, WRITE with immediate, READ, SEND, gathered, scattered, inline, 0 bytes to 1 MiB |
//! | `peer_writes`, `peer_reads`, `peer_sends` | the peer | the same into and out of our memory |
//! | `atomics_both_ways` | both | compare-and-swap, fetch-and-add |
//! | `shared_receives_both_ways` | both | receives from a shared receive queue |
//! | `late_receives` | both | messages that come before their receive |
//! | `wrong_keys_both_ways` | both | the one that starts is told, the other one's memory is untouched |
//!
//! SEND with invalidate is not among them: a key that a peer may invalidate needs a memory window, and our driver
//! offers neither.

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    provider::{Completion, CompletionKind, Operation, Payload, SendFlags},
    wire::Syndrome,
};
use pmd_host::{backend::Backend, nic::Device};

use crate::{
    harness::Harness,
    peer::{Peer, PeerOptions, Received, opcode, status},
    side::{INLINE, Side},
};

/// Lengths of one message: around inline, MTU and page sizes.
const LENGTHS: [usize; 12] = [0, 1, 7, 64, 65, 1023, 1024, 1025, 4096, 65_536, 100_001, 1 << 20];
/// Path MTU: small, so that many packets make a message.
const MTU: u16 = 1024;
/// Where messages start in our memory: not aligned, so that nothing depends on it.
const OURS: usize = 4096 + 3;
/// Where they start in the peer's.
const THEIRS: usize = 8192 + 5;

/// Both sides, connected.
struct Meeting<B> {
    side: Side<B>,
    peer: Peer,
}

/// What is done in one of them.
type Case<B> = fn(&mut Meeting<B>);

/// Runs all checks of a transport.
pub fn check<B: Backend>(
    harness: &mut Harness,
    transport: &str,
    device: &Device,
    options: &PeerOptions,
    backend: impl Fn() -> B,
) {
    let cases: [(&str, Case<B>); 11] = [
        ("we_write", we_write),
        ("we_write_with_immediate", we_write_with_immediate),
        ("we_read", we_read),
        ("we_send", we_send),
        ("peer_writes", peer_writes),
        ("peer_reads", peer_reads),
        ("peer_sends", peer_sends),
        ("atomics_both_ways", atomics),
        ("shared_receives_both_ways", shared_receives),
        ("late_receives", late_receives),
        ("a_batch_in_order", batch),
    ];
    for (name, case) in cases {
        harness.check(&format!("exchange::{transport}::{name}"), || {
            let mut meeting = Meeting::new(device, options, backend(), name.starts_with("shared"));
            case(&mut meeting);
            meeting.side.quiet();
            meeting.peer.quit();
        });
    }
    // These leave queue pairs in the error state.
    let cases: [(&str, Case<B>); 2] =
        [("we_use_a_wrong_key", we_use_a_wrong_key), ("peer_uses_a_wrong_key", peer_uses_a_wrong_key)];
    for (name, case) in cases {
        harness.check(&format!("exchange::{transport}::{name}"), || {
            case(&mut Meeting::new(device, options, backend(), false));
        });
    }
}

impl<B: Backend> Meeting<B> {
    fn new(device: &Device, options: &PeerOptions, backend: B, shared_receives: bool) -> Self {
        let mut peer = Peer::start(options, shared_receives);
        let side = Side::connect(backend, device, &mut peer, shared_receives, MTU);
        Self { side, peer }
    }

    /// Runs one of our requests, which must succeed as `kind`.
    fn ours(&mut self, operation: Operation<'_>, kind: CompletionKind) -> Completion {
        let completion = self.side.run(operation);
        assert_eq!(completion.result, Ok(kind), "{operation:?}");
        completion
    }

    /// The peer's last request must have succeeded.
    fn theirs(&mut self, command: &str, length: usize, remote: RemoteAddress, immediate: Option<u32>) {
        let status = self.peer.transfer(command, (THEIRS, length), remote, immediate);
        assert_eq!(status, status::SUCCESS, "{command} of {length} bytes");
    }

    fn expect_received(&mut self, id: u64, opcode: u32, length: usize, immediate: Option<u32>) {
        let expected = Received { id, status: status::SUCCESS, opcode, length: length as u32, immediate };
        assert_eq!(self.peer.received(), expected);
    }

    fn expect_completion(&mut self, id: u64, kind: CompletionKind, length: usize, immediate: Option<u32>) {
        let Completion { queue_pair, .. } = Completion::EMPTY;
        let found = Completion { queue_pair, ..self.side.wait() };
        let expected = Completion { id, queue_pair, byte_length: length as u32, immediate, result: Ok(kind) };
        assert_eq!(found, expected);
    }
}

fn we_write<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(LENGTHS) {
        meeting.side.memory().fill(seed, OURS, length);
        let entries = [meeting.side.memory().sge(OURS, length)];
        let remote = meeting.peer.remote(THEIRS);
        let local = Payload::Gather(&entries);
        meeting.ours(Operation::Write { remote, local }, CompletionKind::Write);
        meeting.peer.check(seed, THEIRS, length);
    }
    let bytes: Vec<u8> = (0..INLINE as usize).map(|index| crate::peer::pattern(99, index)).collect();
    for length in [1, 12, 28, 44, 60, 64] {
        meeting.peer.fill(0, THEIRS, 128);
        let remote = meeting.peer.remote(THEIRS);
        let local = Payload::Inline(&bytes[..length]);
        meeting.ours(Operation::Write { remote, local }, CompletionKind::Write);
        meeting.peer.check(99, THEIRS, length);
    }
    gathered(meeting);
}

/// Four pieces, one of them empty, arrive as one.
fn gathered<B: Backend>(meeting: &mut Meeting<B>) {
    let memory = meeting.side.memory();
    memory.fill(50, OURS, 9000);
    let entries =
        [memory.sge(OURS, 1), memory.sge(OURS + 1, 4998), memory.sge(0, 0), memory.sge(OURS + 4999, 4001)];
    let remote = meeting.peer.remote(THEIRS);
    meeting.ours(Operation::Write { remote, local: Payload::Gather(&entries) }, CompletionKind::Write);
    meeting.peer.check(50, THEIRS, 9000);
}

fn we_write_with_immediate<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(LENGTHS) {
        meeting.peer.receive(u64::from(seed), 0, 16);
        meeting.side.memory().fill(seed, OURS, length);
        let entries = [meeting.side.memory().sge(OURS, length)];
        let (remote, local) = (meeting.peer.remote(THEIRS), Payload::Gather(&entries));
        let immediate = 0xfedc_0000 | u32::from(seed);
        meeting.ours(Operation::WriteImmediate { remote, local, immediate }, CompletionKind::Write);
        meeting.expect_received(seed.into(), opcode::RECEIVE_WRITE_IMMEDIATE, length, Some(immediate));
        meeting.peer.check(seed, THEIRS, length);
    }
}

fn we_read<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(&LENGTHS[1..]) {
        let length = *length;
        meeting.peer.fill(seed, THEIRS, length);
        // Into two pieces, the first of them of one byte.
        let memory = meeting.side.memory();
        memory.fill(0, OURS, length + 200);
        let entries = [memory.sge(OURS, 1), memory.sge(OURS + 100, length - 1)];
        let remote = meeting.peer.remote(THEIRS);
        let completion = meeting.ours(Operation::Read { remote, local: &entries }, CompletionKind::Read);
        assert_eq!(completion.byte_length as usize, length);
        let memory = meeting.side.memory();
        memory.check(seed, OURS, 1, 0);
        memory.check(seed, OURS + 100, length - 1, 1);
        memory.check(0, OURS + 1, 99, 1);
        memory.check(0, OURS + 99 + length, 100, 99 + length);
    }
}

fn we_send<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(LENGTHS) {
        meeting.peer.receive(u64::from(seed), THEIRS, length + 10);
        meeting.side.memory().fill(seed, OURS, length);
        let entries = [meeting.side.memory().sge(OURS, length)];
        let immediate = (seed % 2 == 0).then_some(u32::from(seed) << 20);
        let send = Operation::Send { local: Payload::Gather(&entries), immediate };
        meeting.ours(send, CompletionKind::Send);
        meeting.expect_received(seed.into(), opcode::RECEIVE, length, immediate);
        meeting.peer.check(seed, THEIRS, length);
    }
    meeting.peer.receive(77, THEIRS, 64);
    let bytes: Vec<u8> = (0..40).map(|index| crate::peer::pattern(98, index)).collect();
    let send = Operation::Send { local: Payload::Inline(&bytes), immediate: Some(1) };
    meeting.ours(send, CompletionKind::Send);
    meeting.expect_received(77, opcode::RECEIVE, 40, Some(1));
    meeting.peer.check(98, THEIRS, 40);
}

fn peer_writes<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(LENGTHS) {
        meeting.peer.fill(seed, THEIRS, length);
        let remote = meeting.side.memory().remote(OURS);
        meeting.theirs("write", length, remote, None);
        meeting.side.memory().check(seed, OURS, length, 0);
    }
    for (seed, length) in (101..).zip(LENGTHS) {
        meeting.side.receive(u64::from(seed), &[]);
        meeting.peer.fill(seed, THEIRS, length);
        let remote = meeting.side.memory().remote(OURS);
        let immediate = Some(u32::from(seed) << 24 | 0x0a_0b0c);
        meeting.theirs("write_imm", length, remote, immediate);
        let kind = CompletionKind::ReceiveWriteImmediate;
        meeting.expect_completion(seed.into(), kind, length, immediate);
        meeting.side.memory().check(seed, OURS, length, 0);
    }
}

fn peer_reads<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(LENGTHS) {
        meeting.side.memory().fill(seed, OURS, length);
        let remote = meeting.side.memory().remote(OURS);
        meeting.theirs("read", length, remote, None);
        meeting.peer.check(seed, THEIRS, length);
    }
}

fn peer_sends<B: Backend>(meeting: &mut Meeting<B>) {
    for (seed, length) in (1..).zip(LENGTHS) {
        let memory = meeting.side.memory();
        let entries = [memory.sge(OURS, 1), memory.sge(OURS + 1, length + 10)];
        meeting.side.receive(u64::from(seed), &entries);
        meeting.peer.fill(seed, THEIRS, length);
        let immediate = (seed % 2 == 0).then_some(u32::from(seed) << 16);
        let command = if immediate.is_some() { "send_imm" } else { "send" };
        meeting.theirs(command, length, RemoteAddress::default(), immediate);
        meeting.expect_completion(seed.into(), CompletionKind::Receive, length, immediate);
        meeting.side.memory().check(seed, OURS, length, 0);
    }
}

fn atomics<B: Backend>(meeting: &mut Meeting<B>) {
    const WORD: usize = 4096;
    meeting.peer.set_word(WORD, 40);
    let remote = meeting.peer.remote(WORD);
    let local = meeting.side.memory().sge(0, 8);
    meeting.ours(Operation::FetchAdd { remote, local, add: 2 }, CompletionKind::FetchAdd);
    assert_eq!((meeting.side.memory().word(0), meeting.peer.word(WORD)), (40, 42));
    for (compare, after) in [(41, 42), (42, u64::MAX - 7)] {
        let swap = Operation::CompareSwap { remote, local, compare, swap: u64::MAX - 7 };
        meeting.ours(swap, CompletionKind::CompareSwap);
        assert_eq!((meeting.side.memory().word(0), meeting.peer.word(WORD)), (42, after));
    }

    meeting.side.memory().set_word(WORD, 1 << 40);
    let remote = meeting.side.memory().remote(WORD);
    assert_eq!(meeting.peer.add(0, remote, 3), status::SUCCESS);
    assert_eq!((meeting.peer.word(0), meeting.side.memory().word(WORD)), (1 << 40, (1 << 40) + 3));
    assert_eq!(meeting.peer.swap(0, remote, (1 << 40) + 3, 7), status::SUCCESS);
    assert_eq!((meeting.peer.word(0), meeting.side.memory().word(WORD)), ((1 << 40) + 3, 7));
}

fn shared_receives<B: Backend>(meeting: &mut Meeting<B>) {
    for seed in 1..40u8 {
        let length = 100 * usize::from(seed);
        meeting.peer.receive(seed.into(), THEIRS, length);
        meeting.side.memory().fill(seed, OURS, length);
        let entries = [meeting.side.memory().sge(OURS, length)];
        let immediate = Some(u32::from(seed));
        let local = Payload::Gather(&entries);
        meeting.ours(Operation::Send { local, immediate }, CompletionKind::Send);
        meeting.expect_received(seed.into(), opcode::RECEIVE, length, immediate);
        meeting.peer.check(seed, THEIRS, length);

        let entries = [meeting.side.memory().sge(0, 7), meeting.side.memory().sge(7, length)];
        meeting.side.receive(u64::from(seed) + 1000, &entries);
        meeting.theirs("send", length, RemoteAddress::default(), None);
        meeting.expect_completion(u64::from(seed) + 1000, CompletionKind::Receive, length, None);
        meeting.side.memory().check(seed, 0, length, 0);
    }
}

/// The receive is posted after the message was: it is repeated until there is one.
fn late_receives<B: Backend>(meeting: &mut Meeting<B>) {
    meeting.side.memory().fill(5, OURS, 3000);
    let entries = [meeting.side.memory().sge(OURS, 3000)];
    let send = Operation::Send { local: Payload::Gather(&entries), immediate: None };
    meeting.side.post(8, send, SendFlags::SIGNALED);
    meeting.side.ring();
    meeting.side.quiet();
    meeting.peer.receive(3, THEIRS, 4000);
    meeting.expect_completion(8, CompletionKind::Send, 0, None);
    meeting.expect_received(3, opcode::RECEIVE, 3000, None);
    meeting.peer.check(5, THEIRS, 3000);
}

/// One doorbell, one completion: what comes later is seen later.
fn batch<B: Backend>(meeting: &mut Meeting<B>) {
    for round in 0..20u8 {
        meeting.side.memory().fill(round, 0, 8 * 512);
        for part in 0..8 {
            let entries = [meeting.side.memory().sge(part * 512, 512)];
            let remote = meeting.peer.remote(THEIRS + part * 512);
            let flags = if part == 7 { SendFlags::SIGNALED } else { SendFlags::empty() };
            let id = u64::from(round) * 8 + part as u64;
            meeting.side.post(id, Operation::Write { remote, local: Payload::Gather(&entries) }, flags);
        }
        meeting.side.ring();
        meeting.expect_completion(u64::from(round) * 8 + 7, CompletionKind::Write, 0, None);
        meeting.peer.check(round, THEIRS, 8 * 512);
    }
}

fn we_use_a_wrong_key<B: Backend>(meeting: &mut Meeting<B>) {
    meeting.peer.fill(1, THEIRS, 64);
    meeting.side.memory().fill(2, OURS, 64);
    let entries = [meeting.side.memory().sge(OURS, 64)];
    let remote = wrong(meeting.peer.remote(THEIRS));
    let completion = meeting.side.run(Operation::Write { remote, local: Payload::Gather(&entries) });
    let error = completion.result.expect_err("a key of nothing is refused");
    assert_eq!(error.syndrome, Syndrome::RemoteAccess);
    assert!(!error.is_receive);
    meeting.peer.check(1, THEIRS, 64);
}

fn peer_uses_a_wrong_key<B: Backend>(meeting: &mut Meeting<B>) {
    meeting.side.memory().fill(1, OURS, 64);
    meeting.peer.fill(2, THEIRS, 64);
    let remote = wrong(meeting.side.memory().remote(OURS));
    let status = meeting.peer.transfer("write", (THEIRS, 64), remote, None);
    assert_eq!(status, status::REMOTE_ACCESS);
    meeting.side.memory().check(1, OURS, 64, 0);
}

/// The same place under a key that nobody has.
fn wrong(remote: RemoteAddress) -> RemoteAddress {
    RemoteAddress { key: RemoteKey(remote.key.0 ^ 0x00ff_ff00), ..remote }
}
