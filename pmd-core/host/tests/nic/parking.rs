//! Parking ends with a completion, with a wake-up and with its time, and loses none of them.

use std::time::{Duration, Instant};

use pmd_core::provider::{
    Completion, CompletionKind, Operation, Payload, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest,
};
use pmd_host::{
    backend::{Backend, QueuePairConfig},
    nic::Device,
};

use super::{Memory, PATIENCE, Pair, config, gather, options};

/// Every one of many completions ends a park or is there before it.
pub(crate) fn completions<B: Backend>(pair: &mut Pair<B>) {
    for id in 0..50 {
        let (entries, remote) = ([pair.here.sge(0, 64)], pair.there.remote(0));
        pair.post(id, Operation::Write { remote, local: gather(&entries) });
        pair.backend.ring_send(pair.left);
        let completion = parked(&mut pair.backend);
        assert_eq!((completion.id, completion.result), (id, Ok(CompletionKind::Write)));
    }
}

/// Parks until a completion is there; each park is long, so that a lost wake-up ends the test's patience.
fn parked<B: Backend>(backend: &mut B) -> Completion {
    let deadline = Instant::now() + PATIENCE;
    let mut place = [Completion::EMPTY];
    while backend.poll(&mut place).expect("polling") == 0 {
        assert!(Instant::now() < deadline, "no completion");
        backend.park(PATIENCE);
        assert!(Instant::now() < deadline, "a wake-up was lost");
    }
    place[0]
}

/// A wake-up before the park keeps it from sleeping; one during it ends it; time ends it too.
pub(crate) fn wake_ups<B: Backend>(pair: &mut Pair<B>) {
    let waker = pair.backend.waker();
    let begin = Instant::now();
    waker.wake();
    pair.backend.park(PATIENCE);
    let other = std::thread::spawn({
        let waker = waker.clone();
        move || {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        }
    });
    pair.backend.park(PATIENCE);
    other.join().expect("the waking thread");
    assert!(begin.elapsed() < PATIENCE, "a wake-up was lost");
    pair.backend.park(Duration::from_millis(5));
    assert!(begin.elapsed() < PATIENCE, "the time-out was lost");
}

/// A back end that sleeps in another thread hears of each message of its peer's back end on the same device.
pub(crate) fn messages_between<B: Backend + 'static>(device: &Device, mut near: B, mut far: B) {
    const MESSAGES: u64 = 20;
    let (sender, receiver) = connected(&mut near, &mut far);
    let there = Memory::new(device);
    for id in 0..MESSAGES {
        let scatter = [there.sge(id as usize * 8, 8)];
        far.post_receive(receiver, &ReceiveRequest { id, scatter: &scatter }).expect("posting a receive");
    }
    far.ring_receive(receiver);
    let sleeper = std::thread::spawn(move || {
        let ids: Vec<_> = (0..MESSAGES).map(|_| parked(&mut far)).map(|one| (one.id, one.result)).collect();
        (ids, far)
    });
    for id in 0..MESSAGES {
        let bytes = id.to_ne_bytes();
        let operation = Operation::Send { local: Payload::Inline(&bytes), immediate: None };
        near.post_send(sender, &SendRequest { id, operation, flags: SendFlags::SIGNALED }).expect("posting");
        near.ring_send(sender);
        assert_eq!(super::poll(&mut near, 1)[0].result, Ok(CompletionKind::Send));
        std::thread::sleep(Duration::from_millis(1));
    }
    let (heard, _far) = sleeper.join().expect("the sleeping thread");
    assert_eq!(heard, (0..MESSAGES).map(|id| (id, Ok(CompletionKind::Receive))).collect::<Vec<_>>());
    assert!((0..MESSAGES).all(|id| there.word(id as usize * 8) == id));
}

/// A queue pair of each back end, connected to each other.
fn connected<B: Backend>(near: &mut B, far: &mut B) -> (QueuePairHandle, QueuePairHandle) {
    let config = QueuePairConfig { receives: 32, ..config() };
    let sender = near.create_queue_pair(&config).expect("creating the sender");
    let receiver = far.create_queue_pair(&config).expect("creating the receiver");
    let (here, there) = (near.address(sender), far.address(receiver));
    near.connect(sender, &there.expect("address"), &options()).expect("connecting the sender");
    far.connect(receiver, &here.expect("address"), &options()).expect("connecting the receiver");
    (sender, receiver)
}
