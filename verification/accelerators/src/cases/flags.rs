//! Flags: words that host and streams write and wait for.

use super::{Case, case};
use crate::context::{Context, Outcome, address, copy, pattern, to_device, to_host};

pub(super) const CASES: &[Case] = &[
    case("flags::the_host_holds_and_lets_go_of_a_stream", host_to_stream),
    case("flags::a_stream_tells_the_host_in_its_turn", stream_to_host),
    case("flags::a_larger_value_lets_go_too", larger),
    case("flags::the_largest_value_lets_everyone_go", largest),
    case("flags::streams_pass_a_value_to_each_other", between_streams),
    case("flags::a_dropped_flag_is_not_anothers_while_a_stream_uses_it", dropped),
    case("flags::a_new_flag_is_zero_and_its_own", fresh),
];

fn host_to_stream(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let (source, memory) = (context.pinned(&[0; 3000]), context.allocate(3000));
    for turn in 1..=20 {
        stream.wait_value(&flag, turn).expect("waiting");
        copy(&*stream, to_device(source.address(), address(&*memory), 3000));
        let event = stream.record().expect("recording");
        assert_eq!(event.query(), Ok(false));
        // Written before the flag is, so the copy reads it.
        source.write(&pattern(turn, 3000));
        flag.store(turn);
        context.wait(&*event);
        assert!(context.download(&*memory, 0, 3000) == pattern(turn, 3000), "turn {turn}");
    }
    Ok(())
}

fn stream_to_host(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let memory = context.uploaded(&pattern(5, 3000));
    let target = context.pinned(&[0; 3000]);
    for turn in 1..=20 {
        target.write(&[0; 3000]);
        copy(&*stream, to_host(address(&*memory), target.address(), 3000));
        stream.signal(&flag, turn).expect("signalling");
        context.until("the flag", || flag.load() == turn);
        // Copied before the flag was written.
        assert!(target.read() == pattern(5, 3000), "turn {turn}");
    }
    Ok(())
}

fn larger(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    stream.wait_value(&flag, 7).expect("waiting");
    stream.wait_value(&flag, (1 << 40) + 1).expect("waiting");
    let event = stream.record().expect("recording");
    flag.store(1 << 40);
    assert_eq!(event.query(), Ok(false));
    flag.store(1 << 41);
    context.wait(&*event);
    stream.wait_value(&flag, 3).expect("waiting for what has long been");
    context.finish(&*stream);
    Ok(())
}

fn largest(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    for value in [1, 1 << 62, u64::MAX >> 1, u64::MAX] {
        stream.wait_value(&flag, value).expect("waiting");
    }
    let event = stream.record().expect("recording");
    flag.store(u64::MAX);
    context.wait(&*event);
    assert_eq!(flag.load(), u64::MAX);
    flag.store(0);
    stream.signal(&flag, u64::MAX).expect("signalling");
    context.until("the flag", || flag.load() == u64::MAX);
    Ok(())
}

fn between_streams(context: &Context) -> Outcome {
    let streams: Vec<_> = (0..4).map(|_| context.stream()).collect();
    let flags: Vec<_> = (0..4).map(|_| context.accelerator.flag().expect("a flag")).collect();
    for turn in 1..=10 {
        for (place, stream) in streams.iter().enumerate() {
            stream.wait_value(&flags[place], turn).expect("waiting");
            if let Some(next) = flags.get(place + 1) {
                stream.signal(next, turn).expect("signalling");
            }
        }
        let last = streams[3].record().expect("recording");
        assert_eq!(last.query(), Ok(false));
        flags[0].store(turn);
        context.wait(&*last);
    }
    assert!(flags.iter().all(|flag| flag.load() == 10));
    Ok(())
}

fn dropped(context: &Context) -> Outcome {
    let (stream, gate) = (context.stream(), context.accelerator.flag().expect("a flag"));
    stream.wait_value(&gate, 1).expect("waiting");
    for value in 1..=50 {
        // Written when the stream comes to it, long after the flag is gone.
        stream.signal(&context.accelerator.flag().expect("a flag"), 1000 + value).expect("signalling");
    }
    let others: Vec<_> = (0..100).map(|_| context.accelerator.flag().expect("a flag")).collect();
    let event = stream.record().expect("recording");
    gate.store(1);
    context.wait(&*event);
    assert!(others.iter().all(|flag| flag.load() == 0), "a flag has another's value");
    Ok(())
}

fn fresh(context: &Context) -> Outcome {
    let mut addresses = Vec::new();
    for value in 1..=3 {
        let flags: Vec<_> = (0..100).map(|_| context.accelerator.flag().expect("a flag")).collect();
        assert!(flags.iter().all(|flag| flag.load() == 0), "{value}");
        flags.iter().for_each(|flag| flag.store(value));
        addresses = flags.iter().map(|flag| flag.address()).collect();
        assert!(addresses.iter().all(|address| address % 8 == 0));
    }
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 100);
    Ok(())
}
