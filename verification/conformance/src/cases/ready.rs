//! Messages that find no receive: they wait, and are given up when so many retries are used up.

use pmd_core::{
    provider::{CompletionKind, Operation, Payload},
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_host::backend::ConnectOptions;

use super::{Case, case, errors::failed, lifetime::works};
use crate::{
    context::{Context, pattern},
    stage::{Link, Stage, config, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("ready::a_message_waits_for_a_receive", waits),
    case("ready::an_immediate_waits_for_a_receive", immediate_waits),
    case("ready::what_follows_a_waiting_message_waits_too", followers_wait),
    case("ready::limited_retries_end", exhausted),
    case("ready::a_slow_receiver_gets_every_message_once", slow_receiver),
];

fn patient(stage: &mut Stage, rnr_retry: u8) -> Link {
    let options = ConnectOptions { rnr_retry, minimum_rnr_timer: 6, ..stage.context.bed.options() };
    stage.link_with([&config(), &config()], &options)
}

/// Gives the requests time to find no receive.
fn let_it_try(stage: &mut Stage, link: Link) {
    stage.poll_times(300);
    assert!(stage.take(link.left).is_empty() && stage.take(link.right).is_empty(), "there is no receive");
}

fn waits(context: &Context) {
    let mut stage = Stage::new(context);
    let link = patient(&mut stage, 7);
    let (here, there) = stage.memories(100_000);
    for (round, length) in [0, 1, 64, 5000, 100_000].into_iter().enumerate() {
        let bytes = pattern(round as u64, length);
        here.write(0, &bytes);
        stage.start(link.left, 1, send(&[here.sge(0, length)]));
        let_it_try(&mut stage, link);
        stage.receive(link.right, 2, &[there.sge(0, length)]);
        let (sent, received) = (stage.wait(link.left, 1)[0], stage.wait(link.right, 1)[0]);
        assert_eq!((sent.id, sent.result), (1, Ok(CompletionKind::Send)));
        assert_eq!((received.id, received.byte_length as usize), (2, length));
        assert!(there.read(0, length) == bytes);
    }
    stage.nothing_more();
}

fn immediate_waits(context: &Context) {
    let mut stage = Stage::new(context);
    let link = patient(&mut stage, 7);
    let (here, there) = stage.memories(5000);
    let entry = [here.sge(0, 5000)];
    for (immediate, local) in [(6, Payload::Gather(&entry)), (7, Payload::EMPTY)] {
        here.write(0, &pattern(immediate.into(), 5000));
        let operation = Operation::WriteImmediate { remote: there.remote(0), local, immediate };
        stage.start(link.left, 1, operation);
        let_it_try(&mut stage, link);
        stage.receive(link.right, 2, &[]);
        let received = stage.wait(link.right, 1)[0];
        let expected = Ok(CompletionKind::ReceiveWriteImmediate);
        assert_eq!((received.id, received.immediate, received.result), (2, Some(immediate), expected));
        assert_eq!(stage.wait(link.left, 1)[0].result, Ok(CompletionKind::Write));
    }
    assert!(there.read(0, 5000) == pattern(6, 5000));
    stage.nothing_more();
}

fn followers_wait(context: &Context) {
    let mut stage = Stage::new(context);
    let link = patient(&mut stage, 7);
    let (here, there) = stage.memories(64);
    here.write(0, b"eighteen");
    let local = [here.sge(0, 8)];
    stage.post(link.left, 1, send(&local));
    stage.post(link.left, 2, send(&local));
    stage.post(link.left, 3, Operation::FetchAdd { remote: there.remote(48), local: here.sge(8, 8), add: 5 });
    stage.ring(link.left);
    let_it_try(&mut stage, link);
    assert_eq!(there.word(48), 0, "an atomic overtook a message");
    stage.receive(link.right, 1001, &[there.sge(0, 8)]);
    assert_eq!((stage.wait(link.left, 1)[0].id, stage.wait(link.right, 1)[0].id), (1, 1001));
    let_it_try(&mut stage, link);
    assert_eq!(there.word(48), 0, "an atomic overtook a message");
    stage.receive(link.right, 1002, &[there.sge(16, 8)]);
    let ids: Vec<u64> = stage.wait(link.left, 2).iter().map(|one| one.id).collect();
    assert_eq!((ids, stage.wait(link.right, 1)[0].id), (vec![2, 3], 1002));
    assert_eq!(
        (there.read(0, 8), there.read(16, 8), there.word(48)),
        (b"eighteen".into(), b"eighteen".into(), 5)
    );
    stage.nothing_more();
}

fn exhausted(context: &Context) {
    for retries in [0, 1, 3] {
        let mut stage = Stage::new(context);
        let mut link = patient(&mut stage, retries);
        let (here, there) = stage.memories(64);
        let local = [here.sge(0, 8)];
        for attempt in 0..2 {
            let operation = if attempt == 0 {
                send(&local)
            } else {
                Operation::WriteImmediate { remote: there.remote(0), local: Payload::EMPTY, immediate: 1 }
            };
            stage.post(link.left, 1, operation);
            stage.post(link.left, 2, write(there.remote(0), &local));
            stage.ring(link.left);
            let done = stage.wait(link.left, 2);
            failed(context, &done[0], 1, Syndrome::ReceiverNotReadyExceeded);
            failed(context, &done[1], 2, Syndrome::Flushed);
            assert_eq!(stage.state(link.left), QueuePairState::Error);
            let options =
                ConnectOptions { rnr_retry: retries, minimum_rnr_timer: 6, ..context.bed.options() };
            link = stage.renew_with(link, &options);
            works(&mut stage, link, (&here, &there), attempt);
        }
        stage.nothing_more();
    }
}

/// The receiver posts one receive at a time, while the sender's queue is always full.
fn slow_receiver(context: &Context) {
    let mut stage = Stage::new(context);
    let link = patient(&mut stage, 7);
    let (here, there) = stage.memories(4096);
    let count = context.scale(40, 300_u64);
    let (mut sent, mut confirmed) = (0, 0);
    for id in 0..count {
        while sent < count && stage.room(link.left) > 0 && sent < confirmed + 32 {
            here.set_word((sent % 64) as usize * 8, sent);
            let local = [here.sge((sent % 64) as usize * 8, 8)];
            stage.start(link.left, sent, send(&local));
            sent += 1;
        }
        stage.receive(link.right, id, &[there.sge(0, 8)]);
        let received = stage.wait(link.right, 1)[0];
        assert_eq!((received.id, received.result, there.word(0)), (id, Ok(CompletionKind::Receive), id));
        for done in stage.take(link.left) {
            assert_eq!((done.id, done.result), (confirmed, Ok(CompletionKind::Send)));
            confirmed += 1;
        }
    }
    let rest = stage.wait(link.left, (count - confirmed) as usize);
    assert!(rest.iter().all(|one| one.result == Ok(CompletionKind::Send)));
    stage.nothing_more();
}
