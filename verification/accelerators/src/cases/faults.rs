//! What breaks on the device: a stream's work, the device's memory. In processes of their own, since a stand-in reads from
//! its environment what shall fail.

use pmd_core::accelerator::AcceleratorError;

use super::{Case, case};
use crate::{
    child::{Child, answer, order},
    context::{Context, Outcome, address, copies, copy, pattern, to_device, within},
};

pub(super) const CASES: &[Case] = &[
    case("faults::a_stream_in_error_fails_its_events_and_nothing_else", stream)
        .on_stand_ins("no device fails on demand and goes on for other streams"),
    case("faults::a_full_device_takes_more_once_something_is_freed", full)
        .on_stand_ins("a device's memory is too much to fill, and others use it"),
];

/// What the process of a case does.
pub(super) fn play(context: &Context, part: &str) {
    match part {
        "stream" => stream_in_error(context),
        "full" => full_device(context),
        part if part.starts_with("nic-") => return super::nic::play(context, part),
        part if part.starts_with("af-") => return super::af::play(context, part),
        part => return super::kv::play(context, part),
    }
    answer("as it should be");
    while order().is_some_and(|order| order != "end") {}
}

fn stream(context: &Context) -> Outcome {
    // The third piece of work of all streams.
    let fault = format!("stream@3={}", context.name.stream_fault());
    in_a_process(context, "stream", "FAKE_DEVICE_FAULTS", fault);
    Ok(())
}

fn full(context: &Context) -> Outcome {
    in_a_process(context, "full", "FAKE_DEVICE_MEMORY", (4 << 20).to_string());
    Ok(())
}

fn in_a_process(context: &Context, part: &str, name: &str, value: String) {
    let child = Child::start(context, part, &[(name, value)]);
    assert_eq!(child.hear(), "as it should be");
    child.succeeds();
}

fn stream_in_error(context: &Context) {
    let (broken, well) = (context.stream(), context.stream());
    let source = context.pinned(&pattern(1, 4096));
    let (first, second) = (context.allocate(4096), context.allocate(4096));
    copy(&*broken, to_device(source.address(), address(&*first), 4096));
    copy(&*broken, within(address(&*first), address(&*second), 2048));
    let before = broken.record().expect("recording");
    context.wait(&*before);
    copy(&*broken, within(address(&*first) + 2048, address(&*second) + 2048, 2048));
    let behind = broken.record();
    let failure = match &behind {
        Ok(event) => context.wait_for_failure(&**event),
        Err(error) => error.clone(),
    };
    expect(context, &failure);
    assert_eq!(before.query(), Ok(true), "what was done stays so");
    // It stays broken: what is put in now fails at once or with its event.
    let later =
        copies(&*broken, &[within(address(&*first), address(&*second), 8)]).and_then(|()| broken.record());
    expect(context, &later.map_or_else(|error| error, |event| context.wait_for_failure(&*event)));

    // Other streams go on.
    copy(&*well, to_device(source.address(), address(&*second), 4096));
    context.finish(&*well);
    assert!(context.download(&*second, 0, 4096) == pattern(1, 4096));

    // Dropping all of it neither hangs nor leaks.
    drop((broken, behind, before, first));
    let left = context.counts().expect("a stand-in").allocations;
    drop(second);
    context.until("everything to be freed", || {
        context.finish(&*context.stream());
        context.counts().is_ok_and(|counts| counts.allocations < left)
    });
}

/// The failure of the stream's work, by the runtime's own code.
fn expect(context: &Context, failure: &AcceleratorError) {
    let AcceleratorError::Runtime { kind, code, .. } = failure else { panic!("{failure}") };
    assert_eq!((*kind, *code), (context.accelerator.identity().kind, context.name.stream_fault()));
}

fn full_device(context: &Context) {
    let kind = context.accelerator.identity().kind;
    let (length, wanted) = (256 << 10, 256 << 10);
    let content = |seed: usize| pattern(seed as u64, length);
    // What a crate keeps for itself is there after the first use.
    drop(context.uploaded(&content(0)));
    let own = context.counts().expect("a stand-in").allocations;
    for _ in 0..3 {
        let mut held = Vec::new();
        let refused = loop {
            match context.accelerator.allocate(wanted) {
                Ok(memory) => {
                    context.upload(&*memory, 0, &content(held.len()));
                    held.push(memory);
                }
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, AcceleratorError::OutOfMemory { kind, wanted });
        assert!(held.len() >= 4, "{} allocations", held.len());
        drop(held.remove(1));
        let mut more = None;
        // Freeing may be put off until a later call.
        context.until("room", || {
            more = context.accelerator.allocate(wanted).ok();
            more.is_some()
        });
        for (place, memory) in held.iter().enumerate() {
            let seed = if place == 0 { 0 } else { place + 1 };
            assert!(context.download(&**memory, 0, length) == content(seed), "{seed}");
        }
        drop((held, more));
        context.until("everything to be freed", || {
            context.finish(&*context.stream());
            context.counts().is_ok_and(|counts| counts.allocations <= own)
        });
    }
}
