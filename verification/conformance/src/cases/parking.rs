//! Parking ends with a completion, a message, a wake-up and with its time, and loses none of them. Every park is long,
//! so that what was lost shows as a hang and not as a delay.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pmd_core::provider::{
    Completion, CompletionKind, Operation, Payload, Provider, QueuePairHandle, ReceiveRequest, SendFlags,
    SendRequest,
};
use pmd_host::backend::{Backend, Waker};

use super::{Case, case};
use crate::{
    any::AnyBackend,
    bed::Place,
    context::Context,
    memory::Memory,
    stage::{all, config, write},
};

pub(super) const CASES: &[Case] = &[
    case("parking::completions_end_a_park", completions),
    case("parking::messages_wake_a_sleeping_peer", messages),
    case("parking::wake_ups_and_time_end_a_park", wake_ups),
    case("parking::two_sleepers_play_ping_pong", ping_pong),
];

/// A back end with a queue pair and memory, to be moved to a thread of its own.
struct Sleeper {
    backend: AnyBackend,
    handle: QueuePairHandle,
    memory: Memory,
    patience: Duration,
}

/// Two of them, connected.
fn sleepers(context: &Context) -> [Sleeper; 2] {
    let mut both = Place::BOTH.map(|place| {
        let device = context.bed.device(place);
        let mut backend = device.backend(256);
        let handle = backend.create_queue_pair(&config()).expect("a queue pair");
        Sleeper { backend, handle, memory: device.memory(4096, all()), patience: context.patience }
    });
    let addresses = both.each_ref().map(|one| one.backend.address(one.handle).expect("an address"));
    for (one, peer) in both.iter_mut().zip([addresses[1], addresses[0]]) {
        one.backend.connect(one.handle, &peer, &context.bed.options()).expect("connecting");
    }
    both
}

impl Sleeper {
    fn post(&mut self, id: u64, operation: Operation<'_>) {
        let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
        self.backend.post_send(self.handle, &request).expect("room");
        self.backend.ring_send(self.handle);
    }

    fn receive(&mut self, id: u64, offset: usize) {
        let request = ReceiveRequest { id, scatter: &[self.memory.sge(offset, 8)] };
        self.backend.post_receive(self.handle, &request).expect("room");
        self.backend.ring_receive(self.handle);
    }

    /// Sleeps until something completes.
    fn next(&mut self) -> Completion {
        let deadline = Instant::now() + self.patience;
        let mut place = [Completion::EMPTY];
        while self.backend.poll(&mut place).expect("polling") == 0 {
            self.backend.park(self.patience * 2);
            assert!(Instant::now() < deadline, "hanging: a wake-up was lost");
        }
        place[0]
    }

    /// Lives, asleep for most of the time, until told to stop; nothing may complete meanwhile.
    fn host(&mut self, stop: impl Fn() -> bool) {
        let mut place = [Completion::EMPTY];
        while !stop() {
            assert_eq!(self.backend.poll(&mut place), Ok(0), "{place:?}");
            self.backend.park(self.patience * 2);
        }
    }
}

fn completions(context: &Context) {
    let [mut near, mut far] = sleepers(context);
    let (remote, waker) = (far.memory.remote(0), far.backend.waker());
    let stop = Arc::new(AtomicBool::new(false));
    let peer = thread::spawn({
        let stop = Arc::clone(&stop);
        move || far.host(|| stop.load(Ordering::Acquire))
    });
    let local = [near.memory.sge(0, 64)];
    for id in 0..context.scale(20, 200) {
        let read = Operation::Read { remote, local: &local };
        let (operation, kind) = if id % 2 == 0 {
            (write(remote, &local), CompletionKind::Write)
        } else {
            (read, CompletionKind::Read)
        };
        near.post(id, operation);
        let done = near.next();
        assert_eq!((done.id, done.result), (id, Ok(kind)));
    }
    stop.store(true, Ordering::Release);
    waker.wake();
    peer.join().expect("the peer's thread");
}

fn messages(context: &Context) {
    let count = context.scale(10, 100);
    let [mut near, mut far] = sleepers(context);
    (0..config().receives as usize).for_each(|slot| far.receive(slot as u64, slot * 8));
    let (stop, waker) = (Arc::new(AtomicBool::new(false)), far.backend.waker());
    let stopped = Arc::clone(&stop);
    let sleeper = thread::spawn(move || {
        for id in 0..count {
            let received = far.next();
            assert_eq!((received.id, received.result), (id, Ok(CompletionKind::Receive)));
            let slot = id as usize % config().receives as usize;
            assert_eq!(far.memory.word(slot * 8), id);
            far.receive(id + u64::from(config().receives), slot * 8);
        }
        far.host(|| stopped.load(Ordering::Acquire));
    });
    for id in 0..count {
        let bytes = id.to_ne_bytes();
        near.post(id, Operation::Send { local: Payload::Inline(&bytes), immediate: None });
        assert_eq!(near.next().result, Ok(CompletionKind::Send));
        // Lets the sleeper fall asleep, now and then.
        if id % 4 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    stop.store(true, Ordering::Release);
    waker.wake();
    sleeper.join().expect("the sleeping thread");
}

fn wake_ups(context: &Context) {
    let [mut near, _far] = sleepers(context);
    let (begin, waker) = (Instant::now(), near.backend.waker());
    // Before the park, and during it.
    waker.wake();
    near.backend.park(context.patience);
    let other = thread::spawn({
        let waker = waker.clone();
        move || {
            thread::sleep(Duration::from_millis(20));
            waker.wake();
        }
    });
    near.backend.park(context.patience);
    other.join().expect("the waking thread");
    assert!(begin.elapsed() < context.patience, "hanging: a wake-up was lost");
    near.backend.park(Duration::from_millis(5));
    assert!(begin.elapsed() < context.patience, "hanging: the time-out was lost");
    assert_eq!(near.backend.poll(&mut [Completion::EMPTY; 4]), Ok(0));
}

fn ping_pong(context: &Context) {
    let rounds = context.scale(20, 500_u64);
    let [mut near, mut far] = sleepers(context);
    near.receive(0, 0);
    far.receive(0, 0);
    let waker = far.backend.waker();
    let finished = Arc::new(AtomicU32::new(0));
    let other = thread::spawn({
        let (finished, waker) = (Arc::clone(&finished), near.backend.waker());
        move || play_and_stay(&mut far, 0, rounds, &finished, &waker)
    });
    near.post(0, Operation::Send { local: Payload::Inline(&0_u64.to_ne_bytes()), immediate: None });
    play_and_stay(&mut near, 1, rounds, &finished, &waker);
    other.join().expect("the other player");
}

/// Plays, and lives on until the other one has finished too: it may wait for an acknowledgement.
fn play_and_stay(player: &mut Sleeper, sent: u64, rounds: u64, finished: &AtomicU32, other: &Waker) {
    play(player, sent, rounds);
    finished.fetch_add(1, Ordering::AcqRel);
    other.wake();
    player.host(|| finished.load(Ordering::Acquire) == 2);
}

/// Answers each message by one of its own, until so many went both ways.
fn play(player: &mut Sleeper, mut sent: u64, rounds: u64) {
    let (mut confirmed, mut received) = (0, 0);
    while confirmed < rounds || received < rounds {
        let done = player.next();
        if done.result == Ok(CompletionKind::Send) {
            assert_eq!(done.id, confirmed);
            confirmed += 1;
            continue;
        }
        assert_eq!((done.id, done.result), (received, Ok(CompletionKind::Receive)));
        assert_eq!(player.memory.word(0), received);
        received += 1;
        player.receive(received, 0);
        if sent < rounds {
            let bytes = sent.to_ne_bytes();
            player.post(sent, Operation::Send { local: Payload::Inline(&bytes), immediate: None });
            sent += 1;
        }
    }
}
