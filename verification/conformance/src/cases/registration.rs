//! Memory that is registered and taken back while transfers run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use pmd_core::{
    memory::Access,
    provider::{CompletionKind, Operation},
};

use super::{Case, case, lifetime::works};
use crate::{
    bed::{Device, Place},
    context::{Context, pattern},
    stage::{Stage, all, write},
};

pub(super) const CASES: &[Case] = &[
    case("registration::fresh_memory_is_usable_at_once", fresh),
    case("registration::many_regions_at_once", many),
    case("registration::others_register_while_transfers_run", under_load),
    case("registration::memory_is_not_written_after_it_was_taken_back", quiet_target),
    case("registration::memory_is_not_read_after_it_was_taken_back", quiet_source),
];

fn fresh(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let mut random = context.random(30);
    for round in 0..context.scale(10, 200) {
        let length = 1 + random.below(20_000);
        let (here, there) = stage.memories(length);
        here.write(0, &pattern(round, length));
        let done =
            stage.done(link.left, 1, write(there.remote(0), &[here.sge(0, length)]), CompletionKind::Write);
        assert!(done.byte_length == 0 && there.read(0, length) == pattern(round, length));
    }
    stage.nothing_more();
}

fn many(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let count = context.scale(20, 300);
    let regions: Vec<_> = (0..count).map(|_| stage.memories(64)).collect();
    for (id, (here, there)) in (0..).zip(&regions) {
        here.write(0, &pattern(id, 64));
        stage.done(link.left, id, write(there.remote(0), &[here.sge(0, 64)]), CompletionKind::Write);
    }
    for (id, (_, there)) in (0..).zip(&regions) {
        assert_eq!(there.read(0, 64), pattern(id, 64));
    }
    stage.nothing_more();
}

/// Registers and takes back until told to stop, and counts how often.
fn churn(device: &Arc<dyn Device>, stop: &AtomicBool, rounds: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let mut memories: Vec<_> = [1, 4096, 70_000].map(|length| device.memory(length, all())).into();
        memories.push(device.memory(64, Access::empty()));
        drop(memories);
        rounds.fetch_add(1, Ordering::Relaxed);
        thread::yield_now();
    }
}

fn under_load(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let length = 50_000;
    let (here, there) = stage.memories(2 * length);
    let stop = Arc::new(AtomicBool::new(false));
    let rounds = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let churners = Place::BOTH.map(|place| {
        let (device, stop) = (Arc::clone(stage.device(place)), Arc::clone(&stop));
        let rounds = Arc::clone(&rounds[place as usize]);
        thread::spawn(move || churn(&device, &stop, &rounds))
    });
    let wanted = context.scale(20, 300);
    let mut round = 0;
    // Goes on until both have registered some, however the threads are scheduled.
    while round < wanted || rounds.iter().any(|rounds| rounds.load(Ordering::Relaxed) < wanted / 10) {
        here.write(0, &pattern(round, length));
        let written = [here.sge(0, length)];
        stage.post(link.left, 1, write(there.remote(length), &written));
        let read = [here.sge(length, length)];
        stage.post(link.left, 2, Operation::Read { remote: there.remote(length), local: &read });
        stage.ring(link.left);
        let ids: Vec<_> = stage.wait(link.left, 2).iter().map(|one| (one.id, one.result)).collect();
        assert_eq!(ids, [(1, Ok(CompletionKind::Write)), (2, Ok(CompletionKind::Read))]);
        assert!(here.read(length, length) == pattern(round, length));
        round += 1;
    }
    stop.store(true, Ordering::Relaxed);
    stage.until("the registering threads", |_| {
        churners.iter().all(thread::JoinHandle::is_finished).then_some(())
    });
    churners.into_iter().for_each(|churner| churner.join().expect("registering"));
    stage.nothing_more();
}

/// The owner takes its memory back in the middle of a large write.
fn quiet_target(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let length = context.scale(1 << 20, 6 << 20);
    let here = stage.memory(Place::Left, length);
    here.fill(0xaa);
    let (small, other) = stage.memories(64);
    let mut random = context.random(31);
    for round in 0..context.scale(3, 12) {
        let mut there = stage.memory(Place::Right, length);
        stage.start(link.left, 1, write(there.remote(0), &[here.sge(0, length)]));
        stage.poll_times(random.below(6) as u64);
        there.deregister();
        there.fill(0x11);
        let done = stage.wait(link.left, 1)[0];
        assert!(there.read(0, length).iter().all(|byte| *byte == 0x11), "written after deregistration");
        if done.result.is_err() {
            link = stage.renew(link);
        }
        works(&mut stage, link, (&small, &other), round);
        assert!(there.read(0, length).iter().all(|byte| *byte == 0x11), "written after deregistration");
    }
    stage.nothing_more();
}

/// The owner takes its memory back in the middle of a large read, and uses it for something else.
fn quiet_source(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let length = context.scale(1 << 20, 6 << 20);
    let here = stage.memory(Place::Left, length);
    let (small, other) = stage.memories(64);
    let mut random = context.random(32);
    for round in 0..context.scale(3, 12) {
        let mut there = stage.memory(Place::Right, length);
        there.fill(1);
        here.fill(0);
        stage.start(link.left, 1, Operation::Read { remote: there.remote(0), local: &[here.sge(0, length)] });
        stage.poll_times(random.below(6) as u64);
        there.deregister();
        there.fill(2);
        if stage.wait(link.left, 1)[0].result.is_err() {
            link = stage.renew(link);
        }
        assert!(here.read(0, length).iter().all(|byte| *byte < 2), "read after deregistration");
        works(&mut stage, link, (&small, &other), round);
    }
    stage.nothing_more();
}
