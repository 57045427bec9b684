//! Events: done once and for ever, waited for by streams.

use std::sync::Arc;

use pmd_core::accelerator::{AcceleratorError, Event};

use super::{Case, case};
use crate::context::{Context, Outcome, address, copy, pattern, to_device, to_host, within};

pub(super) const CASES: &[Case] = &[
    case("events::done_when_all_before_is_and_for_ever", done_once),
    case("events::an_event_of_an_idle_stream_is_done", idle),
    case("events::streams_wait_for_each_other", between_streams),
    case("events::an_event_outlives_its_stream", outlives),
    case("events::many_events_are_each_their_own", many),
    case("events::another_devices_event_is_foreign", foreign),
];

fn done_once(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let source = context.pinned(&pattern(1, 1000));
    let memory = context.allocate(1000);
    let before = stream.record().expect("recording");
    context.wait(&*before);
    stream.wait_value(&flag, 1).expect("waiting");
    copy(&*stream, to_device(source.address(), address(&*memory), 1000));
    let event = stream.record().expect("recording");
    for _ in 0..50 {
        assert_eq!(event.query(), Ok(false));
        assert_eq!(before.query(), Ok(true));
    }
    flag.store(1);
    context.wait(&*event);
    assert!(context.download(&*memory, 0, 1000) == pattern(1, 1000));
    // What is recorded later changes nothing for it.
    stream.wait_value(&flag, 2).expect("waiting");
    let later = stream.record().expect("recording");
    assert_eq!((event.query(), before.query(), later.query()), (Ok(true), Ok(true), Ok(false)));
    flag.store(2);
    context.wait(&*later);
    assert_eq!(event.query(), Ok(true));
    Ok(())
}

fn idle(context: &Context) -> Outcome {
    let stream = context.stream();
    for _ in 0..20 {
        context.finish(&*stream);
    }
    Ok(())
}

fn between_streams(context: &Context) -> Outcome {
    let (first, second, third) = (context.stream(), context.stream(), context.stream());
    let flag = context.accelerator.flag().expect("a flag");
    let (source, target) = (context.pinned(&pattern(2, 5000)), context.pinned(&[0; 5000]));
    let (left, right) = (context.allocate(5000), context.allocate(5000));
    first.wait_value(&flag, 1).expect("waiting");
    copy(&*first, to_device(source.address(), address(&*left), 5000));
    let uploaded = first.record().expect("recording");
    second.wait(&uploaded).expect("waiting for an event");
    // The stream waits for the recording, whatever becomes of the value.
    drop(uploaded);
    copy(&*second, within(address(&*left), address(&*right), 5000));
    let moved = second.record().expect("recording");
    third.wait(&moved).expect("waiting for an event");
    copy(&*third, to_host(address(&*right), target.address(), 5000));
    let read = third.record().expect("recording");
    for _ in 0..50 {
        assert_eq!((moved.query(), read.query()), (Ok(false), Ok(false)));
    }
    assert!(target.read() == [0; 5000], "copied before its turn");
    flag.store(1);
    context.wait(&*read);
    assert_eq!(moved.query(), Ok(true));
    assert!(target.read() == pattern(2, 5000));
    // An event that is done holds nobody.
    first.wait(&moved).expect("waiting for an event");
    context.finish(&*first);
    Ok(())
}

/// What is in a stream when it is dropped still happens.
fn outlives(context: &Context) -> Outcome {
    let (source, memory) = (context.pinned(&pattern(3, 5000)), context.allocate(5000));
    let events: Vec<Arc<dyn Event>> = (0..10)
        .map(|index| {
            let stream = context.stream();
            let (from, to) = (source.address() + index * 500, address(&*memory) + index * 500);
            copy(&*stream, to_device(from, to, 500));
            stream.record().expect("recording")
        })
        .collect();
    events.iter().for_each(|event| context.wait(&**event));
    assert!(context.download(&*memory, 0, 5000) == pattern(3, 5000));
    Ok(())
}

fn many(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let events: Vec<_> = (1..=200)
        .map(|value| {
            stream.wait_value(&flag, value).expect("waiting");
            stream.record().expect("recording")
        })
        .collect();
    for value in [50, 51, 199, 200] {
        flag.store(value as u64);
        context.wait(&*events[value - 1]);
        assert!(events[..value].iter().all(|event| event.query() == Ok(true)), "{value}");
        assert!(events[value..].iter().all(|event| event.query() == Ok(false)), "{value}");
    }
    Ok(())
}

fn foreign(context: &Context) -> Outcome {
    let second = context.second()?;
    let (here, there) = (context.stream(), second.open_stream().expect("a stream"));
    let wanted = Err(AcceleratorError::Foreign { of: context.accelerator.identity().clone() });
    assert_eq!(here.wait(&there.record().expect("recording")), wanted);
    let flag = second.flag().expect("a flag");
    assert_eq!((here.wait_value(&flag, 1), here.signal(&flag, 1)), (wanted.clone(), wanted));
    assert_eq!(flag.load(), 0);
    context.finish(&*here);
    Ok(())
}
