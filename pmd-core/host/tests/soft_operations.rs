//! Every operation of the soft HCA over every way of moving bytes, with contents checked.

mod soft_support;

use pmd_core::{
    memory::Sge,
    provider::{CompletionKind, Operation, Payload, Provider, SendFlags, SendRequest},
};
use soft_support::*;

const SIZES: [usize; 11] = [0, 1, 7, 8, 44, 45, 60, 64, 4095, (64 << 10) + 1, 3 << 20];
const LARGEST: usize = SIZES[SIZES.len() - 1];

#[test]
fn write_puts_the_bytes_there_and_nowhere_else() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (source, target) = (Memory::of(path, &one, LARGEST), Memory::of(path, &two, LARGEST + 32));
        for (round, size) in SIZES.into_iter().enumerate() {
            let bytes = pattern(round as u64, size);
            source.write(0, &bytes);
            target.fill(0xee);
            let local = if size == 0 { vec![] } else { vec![source.sge(0, size)] };
            a.post(round as u64, write(target.remote(16), &local));
            let (done, _) = drive(&mut a, &mut b, (1, 0));
            succeeded(&done[0], round as u64, CompletionKind::Write);
            assert_eq!(target.read(16, size), bytes, "{path:?} {size}");
            assert_eq!((target.read(0, 16), target.read(16 + size, 16)), (vec![0xee; 16], vec![0xee; 16]));
        }
        quiet(&mut a, &mut b);
    }
}

#[test]
fn read_fetches_the_bytes() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (target, source) = (Memory::of(path, &one, LARGEST + 32), Memory::of(path, &two, LARGEST));
        for (round, size) in SIZES.into_iter().enumerate() {
            let bytes = pattern(round as u64, size);
            source.write(0, &bytes);
            target.fill(0xee);
            let local = if size == 0 { vec![] } else { vec![target.sge(16, size)] };
            a.post(round as u64, read(source.remote(0), &local));
            let (done, _) = drive(&mut a, &mut b, (1, 0));
            succeeded(&done[0], round as u64, CompletionKind::Read);
            assert_eq!(done[0].byte_length as usize, size);
            assert_eq!(target.read(16, size), bytes, "{path:?} {size}");
            assert_eq!((target.read(0, 16), target.read(16 + size, 16)), (vec![0xee; 16], vec![0xee; 16]));
        }
        quiet(&mut a, &mut b);
    }
}

#[test]
fn send_fills_a_receive() {
    for path in [Path::SameProcess, Path::Packets] {
        let (mut a, mut b, one, two) = connected(path);
        let (source, target) = (Memory::of(path, &one, LARGEST), Memory::of(path, &two, LARGEST));
        for (round, size) in SIZES.into_iter().enumerate() {
            let bytes = pattern(round as u64, size);
            source.write(0, &bytes);
            target.fill(0xee);
            b.receive(100, &[target.sge(0, LARGEST)]);
            let local = if size == 0 { vec![] } else { vec![source.sge(0, size)] };
            let immediate = (round % 2 == 1).then_some(0x1234_5678);
            a.post(round as u64, Operation::Send { local: Payload::Gather(&local), immediate });
            let (sent, received) = drive(&mut a, &mut b, (1, 1));
            succeeded(&sent[0], round as u64, CompletionKind::Send);
            succeeded(&received[0], 100, CompletionKind::Receive);
            assert_eq!((received[0].byte_length as usize, received[0].immediate), (size, immediate));
            assert_eq!(target.read(0, size), bytes, "{path:?} {size}");
            assert!(target.read(size, LARGEST - size).iter().all(|byte| *byte == 0xee));
        }
        quiet(&mut a, &mut b);
    }
}

#[test]
fn write_with_immediate_arrives_behind_its_bytes() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (source, target) = (Memory::of(path, &one, LARGEST), Memory::of(path, &two, LARGEST));
        for (round, size) in SIZES.into_iter().enumerate() {
            let bytes = pattern(round as u64, size);
            source.write(0, &bytes);
            b.receive(100, &[]);
            let local = if size == 0 { vec![] } else { vec![source.sge(0, size)] };
            let (remote, local) = (target.remote(0), Payload::Gather(&local));
            a.post(round as u64, Operation::WriteImmediate { remote, local, immediate: round as u32 });
            let (sent, received) = drive(&mut a, &mut b, (1, 1));
            succeeded(&sent[0], round as u64, CompletionKind::Write);
            succeeded(&received[0], 100, CompletionKind::ReceiveWriteImmediate);
            assert_eq!(received[0].immediate, Some(round as u32));
            assert_eq!(received[0].byte_length as usize, size);
            assert_eq!(target.read(0, size), bytes, "{path:?} {size}");
        }
        quiet(&mut a, &mut b);
    }
}

#[test]
fn inline_payload_is_free_at_once() {
    for path in PATHS {
        let (mut a, mut b, _one, two) = connected(path);
        let target = Memory::of(path, &two, 4096);
        for round in 0..2000u64 {
            let size = (round % 100) as usize;
            let mut bytes = pattern(round, size);
            let (remote, local) = (target.remote(0), Payload::Inline(&bytes));
            let operation = Operation::Write { remote, local };
            a.backend
                .post_send(a.queue_pair, &SendRequest { id: round, operation, flags: SendFlags::SIGNALED })
                .unwrap();
            let expected = bytes.clone();
            bytes.fill(0);
            a.backend.ring_send(a.queue_pair);
            drive(&mut a, &mut b, (1, 0));
            assert_eq!(target.read(0, size), expected, "{path:?} {size}");
        }
    }
}

#[test]
fn thirty_entries_gather_and_scatter() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 1 << 18), Memory::of(path, &two, 1 << 18));
        let lengths: Vec<usize> = (0..30).map(|entry| 1 + entry * entry * 9).collect();
        let total: usize = lengths.iter().sum();
        mine.write(0, &pattern(1, 1 << 18));
        let mut offset = 1 << 18;
        let list: Vec<Sge> = lengths
            .iter()
            .map(|length| {
                offset -= length;
                mine.sge(offset, *length)
            })
            .collect();
        let gathered: Vec<u8> = list
            .iter()
            .flat_map(|sge| mine.read((sge.address - mine.region.address()) as usize, sge.length as usize))
            .collect();
        a.post(1, write(theirs.remote(5), &list));
        drive(&mut a, &mut b, (1, 0));
        assert_eq!(theirs.read(5, total), gathered, "{path:?} write");

        b.receive(7, &[theirs.sge(100_000, 1), theirs.sge(100_001, total)]);
        a.post(2, send(&list));
        let (_, received) = drive(&mut a, &mut b, (1, 1));
        assert_eq!((received[0].id, received[0].byte_length as usize), (7, total));
        assert_eq!(theirs.read(100_000, total), gathered, "{path:?} send");

        mine.fill(0);
        a.post(3, read(theirs.remote(5), &list));
        drive(&mut a, &mut b, (1, 0));
        let scattered: Vec<u8> = list
            .iter()
            .flat_map(|sge| mine.read((sge.address - mine.region.address()) as usize, sge.length as usize))
            .collect();
        assert_eq!(scattered, gathered, "{path:?} read");
    }
}

#[test]
fn atomics_change_the_word_and_give_the_old_value() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 64), Memory::of(path, &two, 64));
        theirs.write(8, &100u64.to_ne_bytes());
        let (remote, local) = (theirs.remote(8), mine.sge(16, 8));
        let operations = [
            (Operation::FetchAdd { remote, local, add: 5 }, CompletionKind::FetchAdd, 100, 105),
            (
                Operation::CompareSwap { remote, local, compare: 1, swap: 2 },
                CompletionKind::CompareSwap,
                105,
                105,
            ),
            (
                Operation::CompareSwap { remote, local, compare: 105, swap: 7 },
                CompletionKind::CompareSwap,
                105,
                7,
            ),
            (Operation::FetchAdd { remote, local, add: u64::MAX }, CompletionKind::FetchAdd, 7, 6),
        ];
        for (id, (operation, kind, old, new)) in operations.into_iter().enumerate() {
            a.post(id as u64, operation);
            let (done, _) = drive(&mut a, &mut b, (1, 0));
            succeeded(&done[0], id as u64, kind);
            assert_eq!(done[0].byte_length, 8);
            assert_eq!((mine.read_u64(16), theirs.read_u64(8)), (old, new), "{path:?} {id}");
        }
    }
}

#[test]
fn unsignalled_requests_retire_with_the_next_signalled_one() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (source, target) = (Memory::of(path, &one, 8192), Memory::of(path, &two, 8192));
        source.write(0, &pattern(3, 8192));
        for round in 0..500u64 {
            let offset = (round as usize % 16) * 512;
            let flags = if round % 10 == 9 { SendFlags::SIGNALED } else { SendFlags::empty() };
            let local = [source.sge(offset, 512)];
            a.post_flagged(round, write(target.remote(offset), &local), flags);
            if round % 10 == 9 {
                let (done, _) = drive(&mut a, &mut b, (1, 0));
                succeeded(&done[0], round, CompletionKind::Write);
            }
        }
        assert_eq!(a.backend.send_room(a.queue_pair), 1024);
        assert_eq!(target.read(0, 8192), source.read(0, 8192), "{path:?}");
        quiet(&mut a, &mut b);
    }
}
