//! Streams: in order each, at once all together, shared by threads, and by their native handles.

use std::thread;

use pmd_core::accelerator::AcceleratorError;

use super::{Case, case};
use crate::context::{Context, Outcome, address, copies, copy, pattern, to_device, within};

pub(super) const CASES: &[Case] = &[
    case("streams::each_of_many_keeps_its_order", many_in_order),
    case("streams::two_threads_share_one", two_threads),
    case("streams::known_by_its_native_handle", native),
    case("streams::nothing_is_left_behind", no_leak)
        .on_stand_ins("a device does not tell what is alive on it"),
];

const BLOCK: usize = 1000;

/// Each stream moves a block from place to place; only in order does it arrive.
fn many_in_order(context: &Context) -> Outcome {
    const STREAMS: usize = 8;
    const PLACES: usize = 60;
    let memory = context.uploaded(&vec![0; STREAMS * PLACES * BLOCK]);
    let sources: Vec<_> = (0..STREAMS).map(|seed| context.pinned(&pattern(seed as u64, BLOCK))).collect();
    let streams: Vec<_> = sources.iter().map(|_| context.stream()).collect();
    let place = |stream: usize, place: usize| address(&*memory) + ((stream * PLACES + place) * BLOCK) as u64;
    for (index, stream) in streams.iter().enumerate() {
        copy(&**stream, to_device(sources[index].address(), place(index, 0), BLOCK));
    }
    for step in 1..PLACES {
        for (index, stream) in streams.iter().enumerate() {
            copy(&**stream, within(place(index, step - 1), place(index, step), BLOCK));
        }
    }
    streams.iter().for_each(|stream| context.finish(&**stream));
    let found = context.download(&*memory, 0, STREAMS * PLACES * BLOCK);
    for (index, blocks) in found.chunks(PLACES * BLOCK).enumerate() {
        let wanted = pattern(index as u64, BLOCK);
        assert!(blocks.chunks(BLOCK).all(|block| block == wanted), "stream {index}");
    }
    Ok(())
}

/// Each thread's own copies stay in order.
fn two_threads(context: &Context) -> Outcome {
    const PLACES: usize = 100;
    let stream = context.stream();
    let memories = [context.uploaded(&vec![0; PLACES * BLOCK]), context.uploaded(&vec![0; PLACES * BLOCK])];
    thread::scope(|scope| {
        for (seed, memory) in (70..).zip(&memories) {
            let stream = &stream;
            scope.spawn(move || {
                let source = context.pinned(&pattern(seed, BLOCK));
                let place = |place: usize| address(&**memory) + (place * BLOCK) as u64;
                copy(&**stream, to_device(source.address(), place(0), BLOCK));
                for step in 1..PLACES {
                    copies(&**stream, &[within(place(step - 1), place(step), BLOCK)]).expect("copying");
                    drop(stream.record().expect("recording"));
                }
                context.finish(&**stream);
            });
        }
    });
    for (seed, memory) in (70..).zip(&memories) {
        let (found, wanted) = (context.download(&**memory, 0, PLACES * BLOCK), pattern(seed, BLOCK));
        assert!(found.chunks(BLOCK).all(|block| block == wanted), "thread {seed}");
    }
    Ok(())
}

fn native(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let same = context.accelerator.stream(stream.native()).expect("a stream by its handle");
    assert_eq!(same.native(), stream.native());
    stream.wait_value(&flag, 1).expect("waiting");
    let behind = same.record().expect("recording");
    assert_eq!(behind.query(), Ok(false));
    // Dropping it closes nothing.
    drop(same);
    flag.store(1);
    context.wait(&*behind);
    context.finish(&*stream);
    if context.counts().is_ok() {
        let (kind, native) = (context.accelerator.identity().kind, 0xdead_0008);
        let refused = context.accelerator.stream(native).expect_err("no such stream");
        assert_eq!(refused, AcceleratorError::UnknownStream { kind, native });
    }
    Ok(())
}

/// The stand-in counts what is alive: after some rounds it is as much as after one.
fn no_leak(context: &Context) -> Outcome {
    round(context);
    let before = context.counts()?;
    for _ in 0..10 {
        round(context);
    }
    context.until("everything to be freed", || {
        // What was put off is freed by later calls.
        context.finish(&*context.stream());
        context.counts().is_ok_and(|now| {
            let fewer = now.streams <= before.streams && now.events <= before.events + 2;
            let same = now.allocations == before.allocations && now.pinned == before.pinned;
            fewer && same && now.registered == before.registered && now.others == before.others
        })
    });
    assert_eq!(context.counts()?.misuses, 0);
    Ok(())
}

/// Everything once, dropped in the middle of it.
fn round(context: &Context) {
    let (first, second) = (context.stream(), context.stream());
    let flag = context.accelerator.flag().expect("a flag");
    let memory = context.uploaded(&pattern(1, 10_000));
    let other = context.allocate(10_000);
    // A runtime may not share; that leaves nothing behind either.
    drop(memory.share());
    first.wait_value(&flag, 1).expect("waiting");
    copy(&*first, within(address(&*memory), address(&*other), 10_000));
    let event = first.record().expect("recording");
    second.wait(&event).expect("waiting");
    drop(second.record().expect("recording"));
    second.signal(&flag, 2).expect("signalling");
    flag.store(1);
    context.until("the second stream", || flag.load() == 2);
    drop(event);
}
