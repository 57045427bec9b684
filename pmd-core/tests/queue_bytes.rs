//! The exact bytes of WQEs: those that libmlx5 writes for the same requests.

#![allow(unsafe_code)] // Attaches queues by hand.

mod queue_device;

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        Operation, Payload, Provider, QueuePairHandle, QueuePairNumber, ReceiveRequest, SendFlags,
        SendRequest, SharedReceiveHandle,
    },
    queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
};
use queue_device::{Device, setup::Plan};

const REMOTE: RemoteAddress = RemoteAddress { address: 0x7fff_dead_beef_0000, key: RemoteKey(0x00be_ef07) };
const LOCAL: Sge = Sge { address: 0x1122_3344_5566_7788, length: 0x1000, key: LocalKey(0x00ca_fe01) };

/// A queue pair 0xabcdef whose device executes nothing.
fn provider() -> (QueueProvider<Device>, QueuePairHandle) {
    let mut device = Device::new(16, 64);
    device.budget = Some(0);
    device.create(0x00ab_cdef, 16, 0);
    let (entries, send) = (device.completion_memory(), device.send_memory(0));
    let limits = QueuePairLimits { inline: 64, ..QueuePairLimits::default() };
    // SAFETY: the device owns the memory, and is owned by the provider.
    let mut provider = unsafe { QueueProvider::new(device, entries) }.expect("a completion queue");
    // SAFETY: as above.
    let handle = unsafe { provider.attach(QueuePairNumber(0x00ab_cdef), send, ReceiveSource::None, limits) };
    let handle = handle.expect("a queue pair");
    for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
        provider.set_state(handle, state).expect("allowed");
    }
    (provider, handle)
}

fn hex(bytes: &[u8]) -> String {
    let words = bytes.chunks(4).map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    words.collect::<Vec<_>>().join(" ")
}

fn slot(provider: &QueueProvider<Device>, slot: usize, bytes: usize) -> String {
    hex(&provider.hardware().queue_pairs[0].send.read(slot * 64, bytes))
}

fn post(provider: &mut QueueProvider<Device>, operation: Operation<'_>, flags: SendFlags) {
    let handle = QueuePairHandle(0);
    provider.post_send(handle, &SendRequest { id: 0, operation, flags }).expect("room");
}

#[test]
fn samples_of_libmlx5() {
    let (mut provider, handle) = provider();
    let signaled = SendFlags::SIGNALED;
    let local = Payload::Gather(&[LOCAL]);
    post(&mut provider, Operation::Write { remote: REMOTE, local }, signaled);
    let flags = SendFlags::all();
    let local = Payload::Inline(b"twenty-five inline bytes!");
    post(&mut provider, Operation::WriteImmediate { remote: REMOTE, local, immediate: 0x0102_0304 }, flags);
    let result = Sge { length: 8, ..LOCAL };
    let swap = Operation::CompareSwap { remote: REMOTE, local: result, compare: 0x1111, swap: 0x2222 };
    post(&mut provider, swap, signaled);
    post(&mut provider, Operation::FetchAdd { remote: REMOTE, local: result, add: 0x33 }, signaled);
    provider.ring_send(handle);

    let raddr = "7fffdead beef0000 00beef07 00000000";
    assert_eq!(
        slot(&provider, 0, 64),
        format!(
            "00000008 abcdef03 00000008 00000000 {raddr} 00001000 00cafe01 11223344 55667788 \
             00000000 00000000 00000000 00000000"
        )
    );
    let inline = hex(b"twenty-five inline bytes!");
    // Fence, completion and solicited: 0x80 + 0x08 + 0x02.
    let expected = format!("00000109 abcdef04 0000008a 01020304 {raddr} 80000019 {inline}");
    assert_eq!(slot(&provider, 1, 36 + 25), expected);
    let result = "00000008 00cafe01 11223344 55667788";
    let swap = "00000000 00002222 00000000 00001111";
    assert_eq!(
        slot(&provider, 2, 64),
        format!("00000211 abcdef04 00000008 00000000 {raddr} {swap} {result}")
    );
    let add = "00000000 00000033 00000000 00000000";
    assert_eq!(slot(&provider, 3, 64), format!("00000312 abcdef04 00000008 00000000 {raddr} {add} {result}"));
}

#[test]
fn every_combination_of_flags() {
    let byte = |flags: SendFlags| {
        let fence = if flags.contains(SendFlags::FENCE) { 0x80 } else { 0 };
        let completion = if flags.contains(SendFlags::SIGNALED) { 0x08 } else { 0 };
        let solicited = if flags.contains(SendFlags::SOLICITED) { 0x02 } else { 0 };
        fence | completion | solicited
    };
    for bits in 0..8 {
        let flags = SendFlags::from_bits_truncate(bits);
        let (mut provider, _) = provider();
        post(&mut provider, Operation::Write { remote: REMOTE, local: Payload::Gather(&[LOCAL]) }, flags);
        post(&mut provider, Operation::Read { remote: REMOTE, local: &[LOCAL] }, flags);
        post(&mut provider, Operation::Send { local: Payload::EMPTY, immediate: Some(5) }, flags);
        post(&mut provider, Operation::Nop, flags);
        let words = [("00000008", 3), ("00000110", 3), ("0000020a", 1), ("00000300", 1)];
        for (index, (first, units)) in words.into_iter().enumerate() {
            let (first, immediate) = if index == 2 { ("0000020b", 5) } else { (first, 0) };
            let expected = format!("{first} abcdef{units:02x} 000000{:02x} {immediate:08x}", byte(flags));
            assert_eq!(slot(&provider, index, 16), expected);
        }
    }
}

/// One entry on the short path and the same one beside an empty entry on the long path.
#[test]
fn both_posting_paths_write_the_same_bytes() {
    let empty = Sge { length: 0, ..LOCAL };
    for read in [false, true] {
        let write = |local: &[Sge]| {
            let (mut provider, _) = provider();
            let operation = if read {
                Operation::Read { remote: REMOTE, local }
            } else {
                Operation::Write { remote: REMOTE, local: Payload::Gather(local) }
            };
            post(&mut provider, operation, SendFlags::SIGNALED);
            slot(&provider, 0, 48)
        };
        assert_eq!(write(&[LOCAL]), write(&[empty, LOCAL]));
    }
}

/// Up to 28 bytes go the short way, more the long one; an immediate always goes the long one and differs in the opcode alone.
#[test]
fn inline_writes_have_the_same_bytes_either_way() {
    let bytes: Vec<u8> = (1..=64).collect();
    for length in 1..=bytes.len() {
        let local = Payload::Inline(&bytes[..length]);
        let written = |operation| {
            let (mut provider, _) = provider();
            post(&mut provider, operation, SendFlags::all());
            slot(&provider, 0, 36 + length)
        };
        let short = written(Operation::Write { remote: REMOTE, local });
        let long = written(Operation::WriteImmediate { remote: REMOTE, local, immediate: 0 });
        assert_eq!(short.strip_prefix("00000008"), long.strip_prefix("00000009"), "{length} bytes");
        assert!(short.ends_with(&hex(&[&[0x80, 0, 0, length as u8], &bytes[..length]].concat())), "{short}");
    }
}

#[test]
fn receives_end_with_the_terminator_unless_the_slot_is_full() {
    let mut setup = Plan::default().build();
    let full = [LOCAL; 4];
    setup.receive(1, &full[..1]);
    setup.receive(2, &full);
    let one = "00001000 00cafe01 11223344 55667788";
    let memory = &setup.provider.hardware().receives[1];
    assert_eq!(hex(&memory.memory.read(0, 32)), format!("{one} 00000000 00000100 00000000 00000000"));
    assert_eq!(hex(&memory.memory.read(64, 64)), [one; 4].join(" "));
    assert_eq!(hex(&memory.record.read(0, 4)), "00000002");
}

#[test]
fn shared_receives_link_to_the_next_slot() {
    let mut setup = Plan { shared: true, receive_slots: 4, ..Plan::default() }.build();
    let request = ReceiveRequest { id: 1, scatter: &[LOCAL] };
    setup.provider.post_shared_receive(SharedReceiveHandle(0), &request).expect("room");
    let memory = &setup.provider.hardware().receives[0];
    let link = |slot: usize| hex(&memory.memory.read(slot * 64, 16));
    assert_eq!(link(0), "00000001 00000000 00000000 00000000");
    assert_eq!(link(3), "00000000 00000000 00000000 00000000");
    let list = "00001000 00cafe01 11223344 55667788 00000000 00000100 00000000 00000000";
    assert_eq!(hex(&memory.memory.read(16, 32)), list);
    assert_eq!(hex(&memory.record.read(0, 4)), "00000000", "not rung");
    setup.provider.ring_shared_receive(SharedReceiveHandle(0));
    assert_eq!(hex(&setup.provider.hardware().receives[0].record.read(0, 4)), "00000001");
}

#[test]
fn arming_counts_events_and_entries() {
    let mut setup = Plan::default().build();
    setup.send(1, Operation::Nop, SendFlags::SIGNALED);
    setup.provider.arm(false);
    assert_eq!(setup.ids(), [1]);
    setup.provider.event_received();
    setup.provider.arm(true);
    // Sequence 0, any, index 0; then sequence 1, solicited only, index 1; completion queue 0x11.
    assert_eq!(
        setup.provider.hardware().armed,
        [[0, 0, 0, 0, 0, 0, 0, 0x11], [0x11, 0, 0, 1, 0, 0, 0, 0x11]]
    );
    assert_eq!(hex(&setup.provider.hardware().entries_record.read(0, 8)), "00000001 11000001");
}
