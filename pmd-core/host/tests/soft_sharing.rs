//! Queue pairs that share: a receive queue, a word, a device, a thread; and order within one of them.

mod soft_support;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::Sge,
    provider::{
        Completion, CompletionKind, Operation, Payload, Provider, ReceiveRequest, SendFlags, SendRequest,
    },
    queue::QueuePairState,
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairConfig},
    soft::{Device, DeviceConfig, Tuning},
};
use soft_support::*;

#[test]
fn a_fenced_request_waits_for_reads_before_it() {
    const SIZE: usize = 1 << 20;
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, SIZE), Memory::of(path, &two, SIZE));
        for round in 0..10u64 {
            let bytes = pattern(round, SIZE);
            theirs.write(0, &bytes);
            mine.fill(0);
            b.receive(1, &[theirs.sge(0, SIZE)]);
            a.post_flagged(1, read(theirs.remote(0), &[mine.sge(0, SIZE)]), SendFlags::empty());
            // Sends back what the read fetched: without the fence it could be what was there before.
            let local = [mine.sge(SIZE - 64, 64)];
            a.post_flagged(2, send(&local), SendFlags::SIGNALED | SendFlags::FENCE);
            let (_, received) = drive(&mut a, &mut b, (1, 1));
            assert_eq!(received[0].byte_length, 64);
            assert_eq!(theirs.read(0, 64), bytes[SIZE - 64..], "{path:?}");
        }
    }
}

#[test]
fn operations_on_the_same_bytes_keep_their_order() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 1 << 16), Memory::of(path, &two, 1 << 16));
        for round in 0..50u64 {
            let (first, second) = (pattern(round, 20_000), pattern(round + 1000, 20_000));
            mine.write(0, &first);
            mine.write(20_000, &second);
            mine.write(60_016, &(round + 500).to_ne_bytes());
            let (word, result) = (theirs.remote(32_000), mine.sge(60_000, 8));
            let before = theirs.read_u64(32_000);
            let flags = SendFlags::empty();
            a.post_flagged(1, write(theirs.remote(0), &[mine.sge(0, 20_000)]), flags);
            a.post_flagged(2, Operation::FetchAdd { remote: word, local: result, add: 3 }, flags);
            a.post_flagged(3, write(theirs.remote(0), &[mine.sge(20_000, 20_000)]), flags);
            a.post_flagged(4, read(theirs.remote(0), &[mine.sge(40_000, 20_000)]), flags);
            a.post_flagged(
                5,
                Operation::FetchAdd { remote: word, local: mine.sge(60_008, 8), add: 0 },
                flags,
            );
            a.post_flagged(6, write(word, &[mine.sge(60_016, 8)]), SendFlags::SIGNALED);
            drive(&mut a, &mut b, (1, 0));
            assert!(theirs.read(0, 20_000) == second, "{path:?}");
            assert!(mine.read(40_000, 20_000) == second, "{path:?}");
            assert_eq!((mine.read_u64(60_000), mine.read_u64(60_008)), (before, before + 3), "{path:?}");
            assert_eq!(theirs.read_u64(32_000), round + 500, "{path:?}");
        }
    }
}

/// Two sides between which arenas are mapped and other memory goes in packets: direct and packet-borne requests of one
/// queue pair.
fn connected_both_ways() -> (Side, Side, Device, Device) {
    let config = DeviceConfig { same_process: false, process_memory: false, ..DeviceConfig::default() };
    let (one, two) = (Device::open(config.clone()).unwrap(), Device::open(config).unwrap());
    let (mut a, mut b) = (Side::new(&one), Side::new(&two));
    a.connect(&b, &ConnectOptions::default());
    b.connect(&a, &ConnectOptions::default());
    (a, b, one, two)
}

/// A request in one piece takes another way through the engine than one of several.
#[test]
fn direct_requests_wait_for_packets_before_them() {
    for pieces in [1, 2] {
        let (mut a, mut b, one, two) = connected_both_ways();
        let mine = Memory::heap(&one, 64, all());
        let (heap, arena) = (Memory::heap(&two, 64, all()), Memory::arena(&two, 64, all()));
        let length = 16 / pieces;
        let gather = |at: usize| (0..pieces).map(|piece| mine.sge(at + piece * length, length)).collect();
        let (source, target): (Vec<Sge>, Vec<Sge>) = (gather(0), gather(32));
        // So that the link is complete.
        a.post(1, write(arena.remote(0), &source));
        drive(&mut a, &mut b, (1, 0));
        mine.fill(7);
        arena.write(32, &[9; 16]);
        for (id, direct) in [(3, write(arena.remote(0), &source)), (5, read(arena.remote(32), &target))] {
            a.post(id - 1, write(heap.remote(0), &[mine.sge(0, 16)]));
            a.post(id, direct);
            // The peer has not run: it cannot have taken in what came before.
            (0..50).for_each(|_| a.poll());
            let (written, fetched) = (arena.read(0, 16), mine.read(32, 16));
            let untouched = if id == 3 { written == [0; 16] } else { fetched == [7; 16] };
            assert!(untouched, "request {id} of {pieces} pieces overtook a packet");
            drive(&mut a, &mut b, (2, 0));
        }
        assert_eq!((arena.read(0, 16), mine.read(32, 16)), (vec![7; 16], vec![9; 16]));
        assert_eq!(heap.read(0, 16), [7; 16]);
    }
}

#[test]
fn a_message_comes_after_the_writes_before_it() {
    const SIZE: usize = 48 << 10;
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, SIZE), Memory::of(path, &two, SIZE));
        let (remote, rounds) = (theirs.remote(0), 200u8);
        let checked = Arc::new(AtomicU64::new(0));
        let checks = checked.clone();
        let reader = thread::spawn(move || {
            let start = Instant::now();
            for round in 1..=rounds {
                b.receive(round.into(), &[]);
                while b.polled.is_empty() {
                    b.poll();
                    assert!(start.elapsed() < DEADLINE);
                }
                succeeded(&b.polled.remove(0), round.into(), CompletionKind::Receive);
                assert!(theirs.read(0, SIZE).iter().all(|byte| *byte == round), "{path:?} {round}");
                checks.store(round.into(), Ordering::Release);
            }
            b
        });
        let start = Instant::now();
        for round in 1..=rounds {
            mine.fill(round);
            let local = [mine.sge(0, SIZE)];
            for (operation, flags) in
                [(write(remote, &local), SendFlags::empty()), (send(&[]), SendFlags::SIGNALED)]
            {
                let request = SendRequest { id: round.into(), operation, flags };
                a.backend.post_send(a.queue_pair, &request).unwrap();
            }
            a.backend.ring_send(a.queue_pair);
            while checked.load(Ordering::Acquire) < round.into() {
                a.poll();
                assert!(start.elapsed() < DEADLINE);
            }
        }
        let mut b = reader.join().unwrap();
        let (sent, _) = drive(&mut a, &mut b, (rounds.into(), 0));
        assert!(sent.iter().all(|completion| completion.result.is_ok()));
    }
}

#[test]
fn atomics_of_two_threads_add_up() {
    const ROUNDS: u64 = 5000;
    for path in PATHS {
        let home = path.device();
        let word = Memory::of(path, &home, 64);
        let stop = AtomicBool::new(false);
        let mut homes = [Side::new(&home), Side::new(&home)];
        let devices = [path.device(), path.device()];
        thread::scope(|scope| {
            let mut workers = Vec::new();
            for (index, side) in homes.iter_mut().enumerate() {
                let mut a = Side::new(&devices[index]);
                a.connect(side, &ConnectOptions::default());
                side.connect(&a, &ConnectOptions::default());
                let (device, remote) = (&devices[index], word.remote(8));
                workers.push(scope.spawn(move || add_many(&mut a, device, path, remote, ROUNDS)));
            }
            let start = Instant::now();
            while workers.iter().any(|worker| !worker.is_finished()) && !stop.load(Ordering::Relaxed) {
                homes.iter_mut().for_each(Side::poll);
                assert!(start.elapsed() < DEADLINE);
                thread::yield_now();
            }
            for worker in workers {
                worker.join().unwrap();
            }
        });
        assert_eq!(word.read_u64(8), 2 * ROUNDS, "{path:?}");
    }
}

fn add_many(a: &mut Side, device: &Device, path: Path, remote: pmd_core::memory::RemoteAddress, rounds: u64) {
    let mine = Memory::of(path, device, 64);
    let (mut posted, mut done) = (0, 0);
    let start = Instant::now();
    while done < rounds {
        let operation = Operation::FetchAdd { remote, local: mine.sge(0, 8), add: 1 };
        let request = SendRequest { id: posted, operation, flags: SendFlags::SIGNALED };
        if posted < rounds && posted < done + 64 && a.backend.post_send(a.queue_pair, &request).is_ok() {
            a.backend.ring_send(a.queue_pair);
            posted += 1;
        }
        a.poll();
        for completion in a.polled.drain(..) {
            succeeded(&completion, done, CompletionKind::FetchAdd);
            done += 1;
        }
        assert!(start.elapsed() < DEADLINE, "{done} of {rounds} done");
        if posted == rounds || posted >= done + 64 {
            thread::yield_now();
        }
    }
}

#[test]
fn three_peers_share_a_receive_queue() {
    const MESSAGES: usize = 300;
    for path in [Path::SameProcess, Path::Packets] {
        let home = path.device();
        let mut server = Side::new(&home);
        let shared = server.backend.create_shared_receive_queue(64, 4).unwrap();
        let memory = Memory::of(path, &home, 64 * 128);
        let config = QueuePairConfig { shared_receive: Some(shared), ..QueuePairConfig::default() };
        let devices: Vec<Device> = (0..3).map(|_| path.device()).collect();
        let mut clients: Vec<Side> = devices.iter().map(Side::new).collect();
        for client in &mut clients {
            server.queue_pair = server.backend.create_queue_pair(&config).unwrap();
            server.connect(client, &ConnectOptions::default());
            client.connect(&server, &ConnectOptions::default());
        }
        let post = |server: &mut Side, slot: u64| {
            let scatter = [memory.sge(slot as usize * 128, 100), memory.sge(slot as usize * 128 + 100, 28)];
            server
                .backend
                .post_shared_receive(shared, &ReceiveRequest { id: slot, scatter: &scatter })
                .unwrap();
            server.backend.ring_shared_receive(shared);
        };
        (0..16).for_each(|slot| post(&mut server, slot));
        let sources: Vec<Memory> = devices.iter().map(|device| Memory::of(path, device, 128)).collect();
        let (mut sent, mut acknowledged, mut received) = ([0usize; 3], [0usize; 3], [0usize; 3]);
        let start = Instant::now();
        while received.iter().sum::<usize>() < 3 * MESSAGES
            || acknowledged.iter().sum::<usize>() < 3 * MESSAGES
        {
            for (index, client) in clients.iter_mut().enumerate() {
                if sent[index] < MESSAGES && sent[index] == acknowledged[index] {
                    sources[index].write(0, &message(index, sent[index]));
                    client.post(0, send(&[sources[index].sge(0, 128)]));
                    sent[index] += 1;
                }
                client.poll();
                acknowledged[index] += client.polled.drain(..).filter(|done| done.result.is_ok()).count();
            }
            server.poll();
            for done in std::mem::take(&mut server.polled) {
                succeeded(&done, done.id, CompletionKind::Receive);
                let bytes = memory.read(done.id as usize * 128, 128);
                let index = usize::from(bytes[0]);
                assert_eq!(bytes, message(index, received[index]));
                received[index] += 1;
                post(&mut server, done.id);
            }
            assert!(start.elapsed() < DEADLINE, "{sent:?} {acknowledged:?} {received:?}");
        }
        assert_eq!(received, [MESSAGES; 3]);
    }
}

fn message(client: usize, number: usize) -> Vec<u8> {
    let mut bytes = pattern((client * 1000 + number) as u64, 128);
    bytes[0] = client as u8;
    bytes
}

#[test]
fn a_queue_pair_connects_to_itself_and_to_its_neighbour() {
    for path in PATHS {
        let device = path.device();
        let mut a = Side::new(&device);
        let memory = Memory::of(path, &device, 8192);
        memory.write(0, &pattern(1, 4096));
        let own = a.backend.address(a.queue_pair).unwrap();
        a.backend.connect(a.queue_pair, &own, &ConnectOptions::default()).unwrap();
        let first = a.queue_pair;
        let mut neighbours = Vec::new();
        for _ in 0..2 {
            neighbours.push(a.backend.create_queue_pair(&QueuePairConfig::default()).unwrap());
        }
        let addresses: Vec<_> = neighbours.iter().map(|pair| a.backend.address(*pair).unwrap()).collect();
        a.backend.connect(neighbours[0], &addresses[1], &ConnectOptions::default()).unwrap();
        a.backend.connect(neighbours[1], &addresses[0], &ConnectOptions::default()).unwrap();
        for (from, to) in [(first, first), (neighbours[0], neighbours[1])] {
            memory.write(4096, &[0; 4096]);
            a.queue_pair = to;
            a.receive(9, &[memory.sge(4096 + 2048, 64)]);
            a.queue_pair = from;
            a.post(1, write(memory.remote(4096), &[memory.sge(0, 2048)]));
            a.post(2, send(&[memory.sge(0, 64)]));
            let start = Instant::now();
            while a.polled.len() < 3 {
                a.poll();
                assert!(start.elapsed() < DEADLINE, "{path:?} {:?}", a.polled);
            }
            assert!(a.polled.drain(..).all(|completion| completion.result.is_ok()));
            assert_eq!(memory.read(4096, 2048), pattern(1, 4096)[..2048]);
            assert_eq!(memory.read(4096 + 2048, 64), pattern(1, 64));
        }
    }
}

#[test]
fn a_parked_side_is_woken_by_a_message_and_by_its_waker() {
    for path in [Path::SameProcess, Path::Packets] {
        let (mut a, mut b, one, _two) = connected(path);
        let mine = Memory::of(path, &one, 64);
        a.post(0, Operation::Nop);
        drive(&mut a, &mut b, (1, 0));
        let waker = b.backend.waker();
        let barrier = Arc::new(Barrier::new(2));
        let asleep = barrier.clone();
        let sleeper = thread::spawn(move || {
            b.receive(1, &[]);
            b.poll();
            asleep.wait();
            let start = Instant::now();
            while b.polled.is_empty() {
                b.backend.park(Duration::from_secs(15));
                b.poll();
                assert!(start.elapsed() < Duration::from_secs(10), "slept through the message");
            }
            succeeded(&b.polled[0], 1, CompletionKind::Receive);
            asleep.wait();
            b.backend.park(Duration::from_secs(15));
            assert!(start.elapsed() < Duration::from_secs(10), "slept through the waker");
            b
        });
        barrier.wait();
        thread::sleep(Duration::from_millis(20));
        a.post(1, Operation::Send { local: Payload::Gather(&[mine.sge(0, 0)]), immediate: Some(1) });
        barrier.wait();
        thread::sleep(Duration::from_millis(20));
        waker.wake();
        let mut b = sleeper.join().unwrap();
        drive(&mut a, &mut b, (1, 0));
    }
}

#[test]
fn a_send_that_waits_for_its_acknowledgement_wakes_a_parked_sender() {
    let (mut a, mut b, one, two) = connected(Path::SameProcess);
    let (mine, theirs) = (Memory::heap(&one, 64, all()), Memory::heap(&two, 64, all()));
    a.post(0, Operation::Nop);
    drive(&mut a, &mut b, (1, 0));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let receiver = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        b.receive(1, &[theirs.sge(0, 64)]);
        while !stopped.load(Ordering::Relaxed) {
            b.poll();
            b.backend.park(Duration::from_millis(5));
        }
        (b.polled.len(), theirs.read(0, 5))
    });
    mine.write(0, b"hello");
    a.post(1, send(&[mine.sge(0, 5)]));
    let start = Instant::now();
    while a.polled.is_empty() {
        a.backend.park(Duration::from_secs(15));
        a.poll();
        assert!(start.elapsed() < Duration::from_secs(10), "nobody woke the sender");
    }
    succeeded(&a.polled[0], 1, CompletionKind::Send);
    stop.store(true, Ordering::Relaxed);
    assert_eq!(receiver.join().unwrap(), (1, b"hello".to_vec()));
}

#[test]
fn a_budget_bounds_what_one_call_moves() {
    const SIZE: usize = 1 << 20;
    let mut tuning = Tuning::default();
    (tuning.doorbell_budget, tuning.poll_budget) = (64 << 10, 256 << 10);
    for path in [Path::SameProcess, Path::Arena, Path::ProcessMemory] {
        let (mut a, mut b, one, two) =
            connected_with(path, tuning, &QueuePairConfig::default(), &ConnectOptions::default());
        let (mine, theirs) = (Memory::of(path, &one, SIZE), Memory::of(path, &two, SIZE));
        mine.fill(1);
        a.post(0, Operation::Nop);
        drive(&mut a, &mut b, (1, 0));
        a.post(1, write(theirs.remote(0), &[mine.sge(0, SIZE)]));
        let moved = |theirs: &Memory| theirs.read(0, SIZE).iter().filter(|byte| **byte == 1).count();
        assert_eq!(moved(&theirs), 64 << 10, "{path:?}");
        assert!(a.backend.is_unfinished(), "a lane that idles now idles in the middle of a transfer");
        a.poll();
        assert_eq!(moved(&theirs), 320 << 10, "{path:?}");
        assert!(a.backend.is_unfinished());
        drive(&mut a, &mut b, (1, 0));
        assert_eq!(moved(&theirs), SIZE);
        a.poll();
        assert!(!a.backend.is_unfinished(), "there is nothing left");
        assert_eq!(a.backend.state(a.queue_pair), QueuePairState::ReadyToSend);
    }
}

#[test]
fn completions_of_a_busy_pair_never_get_lost() {
    let (mut a, mut b, one, two) = connected(Path::Packets);
    let (mine, theirs) = (Memory::heap(&one, 4096, all()), Memory::heap(&two, 4096, all()));
    let mut completions = [Completion::EMPTY; 7];
    let (mut posted, mut done) = (0u64, 0u64);
    let start = Instant::now();
    while done < 20_000 {
        let local = [mine.sge((posted % 400) as usize * 8, 8)];
        let operation = write(theirs.remote((posted % 400) as usize * 8), &local);
        let request = SendRequest { id: posted, operation, flags: SendFlags::SIGNALED };
        if a.backend.post_send(a.queue_pair, &request).is_ok() {
            posted += 1;
            if posted % 5 == 0 {
                a.backend.ring_send(a.queue_pair);
            }
            continue;
        }
        a.backend.ring_send(a.queue_pair);
        b.poll();
        let count = a.backend.poll(&mut completions).unwrap();
        for completion in &completions[..count] {
            succeeded(completion, done, CompletionKind::Write);
            done += 1;
        }
        assert!(start.elapsed() < DEADLINE);
    }
}

#[test]
fn nothing_is_written_after_the_flush() {
    const SIZE: usize = 1 << 20;
    for path in [Path::SameProcess, Path::Arena, Path::ProcessMemory] {
        for round in 0..10u64 {
            let (mut a, mut b, one, two) = connected(path);
            let (mine, theirs) = (Memory::of(path, &one, SIZE), Memory::of(path, &two, SIZE));
            let remote = theirs.remote(0);
            b.receive(1, &[]);
            let writer = thread::spawn(move || {
                let start = Instant::now();
                for fill in (1..=u8::MAX).cycle() {
                    mine.fill(fill);
                    a.post(fill.into(), write(remote, &[mine.sge(0, SIZE)]));
                    while a.polled.is_empty() {
                        a.poll();
                        assert!(start.elapsed() < DEADLINE);
                    }
                    if a.polled.drain(..).any(|done| done.result.is_err()) {
                        break;
                    }
                }
            });
            let start = Instant::now();
            while theirs.read(SIZE - 1, 1) == [0] {
                b.poll();
                assert!(start.elapsed() < DEADLINE);
            }
            thread::sleep(Duration::from_micros(round * 100));
            b.backend.fail(b.queue_pair).unwrap();
            while b.polled.is_empty() {
                b.poll();
                assert!(start.elapsed() < DEADLINE);
            }
            let before = theirs.read(0, SIZE);
            // Long enough for a writer that a busy machine had stopped in the middle of a copy.
            thread::sleep(Duration::from_millis(15));
            assert!(theirs.read(0, SIZE) == before, "{path:?} {round}: written after the flush");
            // It ends when it hears of the failure.
            writer.join().unwrap();
        }
    }
}

#[test]
fn a_side_that_cannot_go_on_still_acknowledges() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 64), Memory::of(path, &two, 64));
        // This waits for a receive, and a direct read behind it for this.
        b.post(1, send(&[theirs.sge(0, 8)]));
        b.post(2, read(mine.remote(0), &[theirs.sge(8, 8)]));
        b.receive(3, &[theirs.sge(16, 8)]);
        a.post(4, send(&[mine.sge(0, 8)]));
        let (sent, received) = drive(&mut a, &mut b, (1, 1));
        succeeded(&sent[0], 4, CompletionKind::Send);
        succeeded(&received[0], 3, CompletionKind::Receive);
        a.receive(5, &[mine.sge(8, 8)]);
        let (received, sent) = drive(&mut a, &mut b, (1, 2));
        succeeded(&received[0], 5, CompletionKind::Receive);
        succeeded(&sent[1], 2, CompletionKind::Read);
    }
}
