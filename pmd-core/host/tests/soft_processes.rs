//! Two processes: every operation over every path, and peers that are killed in the middle.

mod soft_support;

use std::time::{Duration, Instant};

use pmd_core::{
    provider::{CompletionKind, Operation, Provider, SendFlags, SendRequest},
    queue::QueuePairState,
    wire::Syndrome,
};
use soft_support::{
    child::{LENGTH, Peer, digest, run},
    *,
};

const OWN_PATHS: [Path; 3] = [Path::Arena, Path::ProcessMemory, Path::Packets];

/// What the other process runs.
#[test]
fn peer_process() {
    run();
}

fn finish(side: &mut Side, count: usize) -> Vec<pmd_core::provider::Completion> {
    let start = Instant::now();
    while side.polled.len() < count {
        side.poll();
        assert!(start.elapsed() < DEADLINE, "{:?}", side.polled);
    }
    side.polled.drain(..).collect()
}

#[test]
fn writes_and_reads_reach_the_other_process() {
    for path in OWN_PATHS {
        let device = path.device();
        let mut side = Side::new(&device);
        let mine = Memory::of(path, &device, LENGTH);
        let mut peer = Peer::start(path, &mut side);
        for arena in [true, false] {
            for (round, size) in [1, 8, 4095, (64 << 10) + 1, 3 << 20].into_iter().enumerate() {
                let bytes = pattern(round as u64 + 10, size);
                mine.write(0, &bytes);
                side.post(1, write(peer.remote(arena, 100), &[mine.sge(0, size)]));
                succeeded(&finish(&mut side, 1)[0], 1, CompletionKind::Write);
                assert_eq!(
                    peer.digest(&mut side, arena, 100, size),
                    digest(&bytes),
                    "{path:?} {arena} {size}"
                );
                mine.fill(0);
                side.post(2, read(peer.remote(arena, 100), &[mine.sge(64, size)]));
                succeeded(&finish(&mut side, 1)[0], 2, CompletionKind::Read);
                assert!(mine.read(64, size) == bytes, "{path:?} {arena} {size}");
            }
            side.post(1, write(peer.remote(arena, 0), &[mine.sge(0, 8)]));
            let add = Operation::FetchAdd { remote: peer.remote(arena, 0), local: mine.sge(8, 8), add: 41 };
            mine.write(0, &1u64.to_ne_bytes());
            side.post(2, write(peer.remote(arena, 0), &[mine.sge(0, 8)]));
            side.post(3, add);
            side.post(4, read(peer.remote(arena, 0), &[mine.sge(16, 8)]));
            assert!(finish(&mut side, 4).iter().all(|done| done.result.is_ok()));
            assert_eq!((mine.read_u64(8), mine.read_u64(16)), (1, 42), "{path:?} {arena}");
        }
    }
}

#[test]
fn many_small_blocks_arrive_in_their_places() {
    const BLOCK: usize = 4096;
    const BLOCKS: usize = LENGTH / BLOCK;
    for path in OWN_PATHS {
        let device = path.device();
        let mut side = Side::new(&device);
        let mine = Memory::of(path, &device, LENGTH);
        mine.write(0, &pattern(77, LENGTH));
        let mut peer = Peer::start(path, &mut side);
        let place = |block: usize| block * 389 % BLOCKS;
        for arena in [true, false] {
            let mut expected = vec![0; LENGTH];
            for block in 0..BLOCKS {
                let from = block * BLOCK;
                let local = [mine.sge(from, BLOCK / 2), mine.sge(from + BLOCK / 2, BLOCK / 2)];
                let last = block == BLOCKS - 1;
                let flags = if last { SendFlags::SIGNALED } else { SendFlags::empty() };
                let operation = write(peer.remote(arena, place(block) * BLOCK), &local);
                let request = SendRequest { id: block as u64, operation, flags };
                // Two SGEs make a WQE of one block: the queue holds all of them but needs retiring to know.
                side.backend.post_send(side.queue_pair, &request).unwrap();
                expected[place(block) * BLOCK..][..BLOCK].copy_from_slice(&mine.read(from, BLOCK));
            }
            side.backend.ring_send(side.queue_pair);
            succeeded(&finish(&mut side, 1)[0], BLOCKS as u64 - 1, CompletionKind::Write);
            assert_eq!(peer.digest(&mut side, arena, 0, LENGTH), digest(&expected), "{path:?} {arena}");
        }
    }
}

#[test]
fn messages_reach_the_other_process() {
    for path in OWN_PATHS {
        let device = path.device();
        let mut side = Side::new(&device);
        let mine = Memory::of(path, &device, LENGTH);
        let mut peer = Peer::start(path, &mut side);
        for (round, size) in [0, 44, 45, 5000, 1 << 20].into_iter().enumerate() {
            let bytes = pattern(round as u64, size);
            mine.write(0, &bytes);
            peer.ask(&mut side, &format!("receive {} 0 {}", round + 5, LENGTH));
            let local = if size == 0 { vec![] } else { vec![mine.sge(0, size)] };
            side.post(9, send(&local));
            succeeded(&finish(&mut side, 1)[0], 9, CompletionKind::Send);
            assert_eq!(peer.ask(&mut side, "received"), format!("{}:{size} ", round + 5));
            assert_eq!(peer.digest(&mut side, false, 0, size), digest(&bytes), "{path:?} {size}");
        }
    }
}

#[test]
fn a_key_that_is_wrong_is_found_without_the_other_process() {
    let device = Path::Arena.device();
    let mut side = Side::new(&device);
    let mine = Memory::arena(&device, 64, all());
    let peer = Peer::start(Path::Arena, &mut side);
    side.post(1, write(peer.remote(true, LENGTH - 4), &[mine.sge(0, 8)]));
    failed(&finish(&mut side, 1)[0], 1, Syndrome::RemoteAccess);
}

/// Nothing but a look at the process tells: the peer says no goodbye, and its memory is not asked for.
#[test]
fn a_message_to_a_killed_peer_fails() {
    for path in OWN_PATHS {
        let device = path.device();
        let mut side = Side::new(&device);
        let mine = Memory::of(path, &device, 64);
        let mut victim = Peer::start(path, &mut side);
        // So that both sides are connected.
        side.post(1, read(victim.remote(false, 0), &[mine.sge(0, 8)]));
        succeeded(&finish(&mut side, 1)[0], 1, CompletionKind::Read);
        victim.kill();
        side.post(2, send(&[mine.sge(0, 8)]));
        failed(&finish(&mut side, 1)[0], 2, Syndrome::RetryExceeded);
    }
}

#[test]
fn a_killed_peer_fails_its_requests_and_no_others() {
    let device = Path::Arena.device();
    let heap_device = Path::ProcessMemory.device();
    let packet_device = Path::Packets.device();
    let mut survivor_side = Side::new(&device);
    let mine = Memory::arena(&device, LENGTH, all());
    mine.write(0, &pattern(5, LENGTH));
    let mut survivor = Peer::start(Path::Arena, &mut survivor_side);
    for round in 0..20u64 {
        let (path, own) =
            [(Path::Arena, &device), (Path::ProcessMemory, &heap_device), (Path::Packets, &packet_device)]
                [round as usize % 3];
        let memory = Memory::heap(own, LENGTH, all());
        let mut side = Side::new(own);
        let mut victim = Peer::start(path, &mut side);
        let moment = Duration::from_micros(pattern(round, 2).iter().map(|byte| u64::from(*byte) * 8).sum());
        let arena = path == Path::Arena;
        let start = Instant::now();
        let mut killed = None;
        let mut id = 0;
        let error = loop {
            assert!(
                start.elapsed() < DEADLINE,
                "round {round}: {:?} after the kill",
                killed.map(|at: Instant| at.elapsed())
            );
            let (offset, size) =
                ((id as usize * 4099) % (LENGTH / 2), 1 + (id as usize * 7919) % (LENGTH / 2));
            let local = [memory.sge(offset, size)];
            let operation = match id % 3 {
                0 => write(victim.remote(arena, offset), &local),
                1 => read(victim.remote(arena, offset), &local),
                _ => Operation::FetchAdd { remote: victim.remote(arena, 0), local: memory.sge(0, 8), add: 1 },
            };
            let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
            if side.backend.post_send(side.queue_pair, &request).is_ok() {
                side.backend.ring_send(side.queue_pair);
                id += 1;
            }
            side.poll();
            if killed.is_none() && start.elapsed() >= moment {
                victim.kill();
                killed = Some(Instant::now());
            }
            if let Some(failure) = side.polled.iter().find_map(|done| done.result.err()) {
                break failure;
            }
            side.polled.clear();
        };
        assert!(killed.is_some(), "round {round}: failed with the peer alive: {error}");
        assert_eq!(error.syndrome, Syndrome::RetryExceeded, "round {round}");
        assert_eq!(side.backend.state(side.queue_pair), QueuePairState::Error);
        survivor_side.post(round, write(survivor.remote(true, 0), &[mine.sge(0, LENGTH)]));
        succeeded(&finish(&mut survivor_side, 1)[0], round, CompletionKind::Write);
    }
    assert_eq!(survivor.digest(&mut survivor_side, true, 0, LENGTH), digest(&pattern(5, LENGTH)));
}
