//! Completion entries of 128 bytes, and payload that the device leaves in the entry.

mod queue_device;

use pmd_core::provider::{Operation, Payload, SendFlags};
use queue_device::setup::Plan;

const SIGNALED: SendFlags = SendFlags::SIGNALED;

fn plan(cqe_size: u32, shared: bool, scatter_to_completion: bool) -> Plan {
    Plan { cqe_size, shared, scatter_to_completion, cqe_count: 16, send_slots: 8, ..Plan::default() }
}

#[test]
fn entries_of_128_bytes_wrap() {
    let mut setup = plan(128, false, false).build();
    for id in 0..100 {
        setup.receive(1000 + id, &[]);
        setup.send(id, Operation::Send { local: Payload::EMPTY, immediate: Some(id as u32) }, SIGNALED);
        let completions = setup.poll();
        assert_eq!((completions[0].id, completions[0].immediate), (1000 + id, Some(id as u32)));
        assert_eq!((completions[1].id, completions.len()), (id, 2));
    }
}

#[test]
fn received_payload_is_copied_out_of_the_entry() {
    for (cqe_size, shared) in [(64, false), (64, true), (128, false), (128, true)] {
        let mut setup = plan(cqe_size, shared, true).build();
        let bytes: Vec<u8> = (1..=100).collect();
        for length in 0..=100usize {
            setup.buffer.write(0, &[0; 512]);
            // Three pieces with an empty one between them.
            let target = [setup.sge(0, 5), setup.sge(9, 0), setup.sge(100, 40)];
            let target = if shared { [target[0], target[2], setup.sge(300, 55)] } else { target };
            let all = if shared { target.to_vec() } else { [&target[..], &[setup.sge(300, 55)]].concat() };
            setup.receive(7, &all);
            let local = Payload::Inline(&bytes[..length]);
            setup.send(8, Operation::Send { local, immediate: None }, SIGNALED);
            let completions = setup.poll();
            assert_eq!((completions[0].id, completions[0].byte_length), (7, length as u32));
            assert_eq!((completions[1].id, completions.len()), (8, 2));
            let arrived = [(0, 5), (100, 40), (300, 55)];
            let arrived: Vec<u8> =
                arrived.into_iter().flat_map(|(at, length)| setup.buffer.read(at, length)).collect();
            assert_eq!(arrived[..length], bytes[..length], "{length} bytes, entries of {cqe_size}");
            assert!(arrived[length..].iter().all(|byte| *byte == 0));
            assert_eq!((setup.buffer.read(5, 1), setup.buffer.read(140, 1)), (vec![0], vec![0]));
        }
    }
}

#[test]
fn read_results_are_copied_out_of_the_entry_at_every_offset() {
    for cqe_size in [64, 128] {
        let mut setup = plan(cqe_size, false, true).build();
        let bytes: Vec<u8> = (1..=100).collect();
        setup.buffer.write(4096, &bytes);
        for length in 1..=100u32 {
            setup.buffer.write(0, &[0; 256]);
            let remote = setup.remote(4096);
            let first = length.div_ceil(2);
            let local = [setup.sge(0, first), setup.sge(0, 0), setup.sge(128, length - first)];
            // One to three slots, so that lists wrap in every way.
            let one = [setup.sge(0, length)];
            let list: &[_] = if length % 3 == 0 { &one } else { &local };
            setup.send(u64::from(length), Operation::Read { remote, local: list }, SIGNALED);
            let completions = setup.poll();
            assert_eq!((completions[0].id, completions[0].byte_length), (u64::from(length), length));
            let (length, first) = (length as usize, first as usize);
            let arrived = if length.is_multiple_of(3) {
                setup.buffer.read(0, length)
            } else {
                [setup.buffer.read(0, first), setup.buffer.read(128, length - first)].concat()
            };
            assert_eq!(arrived, bytes[..length]);
        }
    }
}

#[test]
fn long_lists_wrap_in_their_shadow() {
    let mut setup = plan(64, false, true).build();
    setup.buffer.write(4096, b"thirty different single bytes!");
    for _ in 0..20 {
        setup.send(1, Operation::Nop, SIGNALED);
        setup.buffer.write(0, &[0; 256]);
        let local: Vec<_> = (0..23).map(|piece| setup.sge(piece * 7, 1)).collect();
        let remote = setup.remote(4096);
        assert_eq!(setup.ids(), [1]);
        setup.send(2, Operation::Read { remote, local: &local }, SIGNALED);
        assert_eq!(setup.ids(), [2]);
        let arrived: Vec<u8> = (0..23).flat_map(|piece| setup.buffer.read(piece * 7, 1)).collect();
        assert_eq!(arrived, b"thirty different single bytes!"[..23]);
    }
}

#[test]
fn atomic_results_are_copied_out_of_the_entry() {
    let mut setup = plan(64, false, true).build();
    setup.buffer.write(64, &5u64.to_ne_bytes());
    let (remote, local) = (setup.remote(64), setup.sge(8, 8));
    setup.send(1, Operation::FetchAdd { remote, local, add: 3 }, SIGNALED);
    assert_eq!(setup.ids(), [1]);
    assert_eq!(setup.buffer.read(8, 8), 5u64.to_ne_bytes());
    setup.send(2, Operation::CompareSwap { remote, local, compare: 8, swap: 1 }, SIGNALED);
    assert_eq!(setup.ids(), [2]);
    assert_eq!((setup.buffer.read(8, 8), setup.buffer.read(64, 1)), (8u64.to_ne_bytes().to_vec(), vec![1]));
}
