//! Queue pairs that are failed, reset, destroyed and used again.

use pmd_core::{
    provider::{Completion, CompletionKind, Operation, PostError, SendFlags},
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_host::backend::{Backend, ConnectOptions, QueuePairAddress, SetupError};

use super::{Case, case, errors::failed};
use crate::{
    bed::Place,
    context::{Context, pattern},
    memory::Memory,
    stage::{End, Link, Stage, config, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("lifetime::failing_flushes_everything_in_order", flush_all),
    case("lifetime::failing_in_the_middle_of_a_stream_loses_nothing", flush_stream),
    case("lifetime::what_is_posted_and_not_rung_is_flushed_once_rung", flush_unrung),
    case("lifetime::nothing_is_written_after_the_flush", quiet_after_flush),
    case("lifetime::a_reset_is_silent", reset_is_silent),
    case("lifetime::a_queue_pair_is_used_again_and_again", reuse),
    case("lifetime::a_nic_draws_new_sequence_numbers_for_each_life", new_sequence),
    case("lifetime::a_destroyed_queue_pair_is_gone", destroyed),
    case("lifetime::a_peer_that_goes_fails_what_is_outstanding", peer_goes),
    case("lifetime::queue_pairs_come_and_go_beside_others", come_and_go),
    case("lifetime::a_connected_queue_pair_is_not_connected_again", connected_twice),
    case("lifetime::requests_wait_for_a_peer_that_connects_later", late_peer),
];

/// Bytes go over a link.
pub(super) fn works(stage: &mut Stage, link: Link, (here, there): (&Memory, &Memory), seed: u64) {
    let bytes = pattern(seed, 64);
    here.write(0, &bytes);
    there.write(0, &[0; 64]);
    let done = stage.done(link.left, 4711, write(there.remote(0), &[here.sge(0, 64)]), CompletionKind::Write);
    assert_eq!((done.byte_length, there.read(0, 64)), (0, bytes));
}

/// Each of these is flushed.
fn all_flushed(completions: &[Completion], expected: &[u64], is_receive: bool) {
    let told: Vec<_> = completions
        .iter()
        .map(|one| (one.id, one.result.map_err(|error| (error.syndrome, error.is_receive))))
        .collect();
    let flushed = |id: &u64| (*id, Err((Syndrome::Flushed, is_receive)));
    assert_eq!(told, expected.iter().map(flushed).collect::<Vec<_>>());
}

/// Sends and receives of an end, by whether they name receives; ids of receives begin at 1000.
fn split(completions: Vec<Completion>) -> (Vec<Completion>, Vec<Completion>) {
    completions.into_iter().partition(|one| one.id < 1000)
}

fn refuses_posts(stage: &mut Stage, end: End, operation: Operation<'_>) {
    assert_eq!(stage.state(end), QueuePairState::Error);
    let refused = stage.try_post(end, 3, operation, SendFlags::SIGNALED);
    assert_eq!(refused, Err(PostError::WrongState { state: QueuePairState::Error }));
}

/// Messages that find no receive, signalled or not, and receives that no message finds.
fn flush_all(context: &Context) {
    let mut stage = Stage::new(context);
    let options = ConnectOptions { rnr_retry: 7, ..context.bed.options() };
    let mut link = stage.link_with([&config(), &config()], &options);
    let (here, there) = stage.memories(4096);
    for round in 0..context.scale(3, 10) {
        let local = [here.sge(0, 8)];
        for id in 0..20 {
            let flags = if id % 3 == 0 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, id, send(&local), flags);
        }
        stage.ring(link.left);
        (1000..1010).for_each(|id| stage.receive(link.left, id, &[here.sge(64, 8)]));
        stage.poll_times(round);
        stage.backend(Place::Left).fail(link.left.handle).expect("failing");
        let (sends, receives) = split(stage.wait(link.left, 30));
        all_flushed(&sends, &(0..20).collect::<Vec<_>>(), false);
        all_flushed(&receives, &(1000..1010).collect::<Vec<_>>(), true);
        refuses_posts(&mut stage, link.left, send(&local));
        assert!(stage.room(link.left) >= config().send_slots, "all slots are free");
        link = stage.renew_with(link, &options);
        works(&mut stage, link, (&here, &there), round);
    }
    stage.nothing_more();
}

/// Writes that are partly done when the queue pair is failed: the first part succeeds, the rest is flushed, and the
/// bytes of what succeeded are there.
fn flush_stream(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let length = 8192;
    let (here, there) = stage.memories(64 * length);
    let mut random = context.random(6);
    for round in 0..context.scale(5, 40) {
        here.write(0, &pattern(round, 64 * length));
        there.fill(0);
        for id in 0..60 {
            let local = [here.sge(id * length, length)];
            stage.post(link.left, id as u64, write(there.remote(id * length), &local));
        }
        stage.ring(link.left);
        stage.poll_times(random.below(12) as u64);
        stage.backend(Place::Left).fail(link.left.handle).expect("failing");
        let done = stage.wait(link.left, 60);
        assert_eq!(done.iter().map(|one| one.id).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
        let succeeded = done.iter().take_while(|one| one.result.is_ok()).count();
        let rest: Vec<u64> = (succeeded as u64..60).collect();
        all_flushed(&done[succeeded..], &rest, false);
        assert!(
            there.read(0, succeeded * length) == here.read(0, succeeded * length),
            "{succeeded} were done"
        );
        link = stage.renew(link);
    }
    works(&mut stage, link, (&here, &there), 99);
    stage.nothing_more();
}

fn flush_unrung(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = stage.memories(64);
    let local = [here.sge(0, 8)];
    stage.post(link.left, 1, write(there.remote(0), &local));
    stage.post_flagged(link.left, 2, write(there.remote(0), &local), SendFlags::empty());
    stage.backend(Place::Left).fail(link.left.handle).expect("failing");
    stage.ring(link.left);
    let flushed = stage.wait(link.left, 2);
    all_flushed(&flushed, &[1, 2], false);
    stage.nothing_more();
    link = stage.renew(link);
    works(&mut stage, link, (&here, &there), 1);
    stage.nothing_more();
}

/// Once the flush of reads was polled, the memory they were to fill stays as it is.
fn quiet_after_flush(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let length = context.scale(200_000, 2 << 20);
    let (here, there) = stage.memories(length);
    there.fill(0x77);
    let mut random = context.random(7);
    for _ in 0..context.scale(4, 30) {
        let quarter = length / 4;
        for part in 0..4 {
            let local = [here.sge(part * quarter, quarter)];
            let read = Operation::Read { remote: there.remote(part * quarter), local: &local };
            stage.post(link.left, part as u64, read);
        }
        stage.ring(link.left);
        stage.poll_times(random.below(8) as u64);
        stage.backend(Place::Left).fail(link.left.handle).expect("failing");
        assert_eq!(stage.wait(link.left, 4).len(), 4);
        here.fill(0x11);
        stage.poll_times(500);
        assert!(here.read(0, length).iter().all(|byte| *byte == 0x11), "written after the flush");
        link = stage.renew(link);
    }
    works(&mut stage, link, (&here, &there), 2);
    stage.nothing_more();
}

fn reset_is_silent(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = stage.memories(1 << 16);
    for round in 0..context.scale(5, 30) {
        (0..8).for_each(|id| stage.receive(link.right, 1000 + id, &[there.sge(1024, 64)]));
        for id in 0..16 {
            let local = [here.sge(0, 4096)];
            let operation = if id % 4 == 3 { send(&local[..0]) } else { write(there.remote(2048), &local) };
            stage.post(link.left, id, operation);
        }
        if round % 2 == 0 {
            stage.ring(link.left);
        }
        stage.poll_times(round % 5);
        link = stage.renew(link);
        stage.nothing_more();
        works(&mut stage, link, (&here, &there), round);
    }
}

/// Through many lives, with work left behind in each.
fn reuse(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = stage.memories(4096);
    for life in 0..context.scale(10, 100) {
        works(&mut stage, link, (&here, &there), life);
        stage.receive(link.right, 1000, &[there.sge(512, 8)]);
        stage.done(link.left, 1, send(&[here.sge(0, 8)]), CompletionKind::Send);
        assert_eq!(stage.wait(link.right, 1)[0].id, 1000);
        // Left behind: a receive, and sometimes an error state.
        stage.receive(link.right, 1001, &[there.sge(512, 8)]);
        if life % 3 == 1 {
            stage.backend(Place::Left).fail(link.left.handle).expect("failing");
        }
        if life % 4 == 2 {
            stage.backend(Place::Right).fail(link.right.handle).expect("failing");
        }
        link = stage.renew(link);
    }
    stage.nothing_more();
}

/// A packet of an earlier life must not fit into a later one. Software back ends have no such packets.
fn new_sequence(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = stage.memories(64);
    let mut earlier = Vec::new();
    for life in 0..8 {
        let address = stage.backend(Place::Right).address(link.right.handle).expect("an address");
        if let QueuePairAddress::Fabric(address) = address {
            assert!(!earlier.contains(&address.packet_sequence), "{address:?} after {earlier:?}");
            earlier.push(address.packet_sequence);
        }
        works(&mut stage, link, (&here, &there), life);
        link = stage.renew(link);
    }
    stage.nothing_more();
}

fn destroyed(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(64);
    stage.receive(link.right, 1000, &[there.sge(0, 8)]);
    for end in [link.left, link.right] {
        stage.backend(end.place).destroy_queue_pair(end.handle).expect("destroying");
        let again = stage.backend(end.place).destroy_queue_pair(end.handle);
        assert!(
            matches!(again, Err(SetupError::UnknownQueuePair(handle)) if handle == end.handle),
            "{again:?}"
        );
        let refused = stage.try_post(end, 1, send(&[]), SendFlags::SIGNALED);
        assert_eq!(refused, Err(PostError::UnknownQueuePair { handle: end.handle.0 }));
        assert_eq!((stage.state(end), stage.room(end)), (QueuePairState::Reset, 0));
    }
    let link = stage.link(&config());
    works(&mut stage, link, (&here, &there), 3);
    stage.nothing_more();
}

/// The peer destroys its queue pair, while a message waits for a receive there and afterwards.
fn peer_goes(context: &Context) {
    let mut stage = Stage::new(context);
    // A limit of retries, whatever the bed does otherwise.
    let options = ConnectOptions { retry_count: 3, rnr_retry: 7, ..context.bed.options() };
    for waiting in [true, false] {
        let link = stage.link_with([&config(), &config()], &options);
        let (here, there) = stage.memories(64);
        works(&mut stage, link, (&here, &there), 1);
        stage.receive(link.left, 1000, &[here.sge(0, 8)]);
        let local = [here.sge(0, 8)];
        if waiting {
            stage.start(link.left, 1, send(&local));
            stage.poll_times(20);
        }
        stage.backend(Place::Right).destroy_queue_pair(link.right.handle).expect("destroying");
        if !waiting {
            stage.start(link.left, 1, write(there.remote(0), &local));
        }
        let mut done = stage.wait(link.left, 2);
        done.sort_by_key(|one| one.id);
        failed(context, &done[0], 1, Syndrome::RetryExceeded);
        all_flushed(&done[1..], &[1000], true);
        refuses_posts(&mut stage, link.left, send(&local));
    }
    stage.nothing_more();
}

fn come_and_go(context: &Context) {
    let (mut stage, lasting) = Stage::connected(context);
    let (here, there) = stage.memories(4096);
    let mut links = Vec::new();
    let mut random = context.random(8);
    for round in 0..context.scale(15, 150) {
        let link = stage.link(&config());
        works(&mut stage, link, (&here, &there), round);
        stage.receive(link.right, 1000, &[there.sge(0, 8)]);
        links.push(link);
        if links.len() > 5 {
            let gone: Link = links.swap_remove(random.below(links.len()));
            stage.start(gone.left, 1, write(there.remote(64), &[here.sge(64, 64)]));
            stage.backend(Place::Left).destroy_queue_pair(gone.left.handle).expect("destroying");
            stage.backend(Place::Right).destroy_queue_pair(gone.right.handle).expect("destroying");
            stage.take(gone.left);
            stage.take(gone.right);
        }
        works(&mut stage, lasting, (&here, &there), round);
    }
    for link in links {
        works(&mut stage, link, (&here, &there), 5);
    }
    stage.nothing_more();
}

fn connected_twice(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let address = stage.backend(Place::Right).address(link.right.handle).expect("an address");
    let refused = stage.backend(Place::Left).connect(link.left.handle, &address, &context.bed.options());
    assert!(
        matches!(refused, Err(SetupError::Transition { from: QueuePairState::ReadyToSend, .. })),
        "{refused:?}"
    );
    let (here, there) = stage.memories(64);
    works(&mut stage, link, (&here, &there), 4);
    stage.nothing_more();
}

/// One side connects and posts; the other one connects afterwards.
fn late_peer(context: &Context) {
    let mut stage = Stage::new(context);
    let (left, right) = (stage.create(Place::Left, &config()), stage.create(Place::Right, &config()));
    let (here, there) = stage.memories(64);
    // Seconds of retries, so that a slow machine decides nothing.
    let options = ConnectOptions { timeout: 18, retry_count: 7, ..context.bed.options() };
    let addresses =
        [left, right].map(|end| stage.backend(end.place).address(end.handle).expect("an address"));
    stage.backend(Place::Left).connect(left.handle, &addresses[1], &options).expect("connecting");
    here.write(0, b"patience");
    stage.start(left, 1, write(there.remote(0), &[here.sge(0, 8)]));
    stage.poll_times(3);
    stage.backend(Place::Right).connect(right.handle, &addresses[0], &options).expect("connecting");
    let done = stage.wait(left, 1)[0];
    assert_eq!(
        (done.id, done.result, there.read(0, 8)),
        (1, Ok(CompletionKind::Write), b"patience".to_vec())
    );
    stage.nothing_more();
}
