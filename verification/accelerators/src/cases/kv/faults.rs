//! What breaks below a transfer: a stream, the room for staging, the memory itself. In processes of their own, since a
//! stand-in reads from its environment what shall fail.
#![allow(unsafe_code)] // frees memory that is in use

use std::sync::Arc;

use kv_api::{
    engine::{Cache, Engine, Prepared},
    layout::CacheLayout,
    planner::Selection,
};
use pmd_core::accelerator::{AcceleratorError, DeviceMemory};
use pmd_host::transfer::{DeviceFault, TransferError, WaitError};

use super::{
    peers::nothing_left,
    stage::{Place, cache, connect, done, engine, outcome, patience, read},
};
use crate::{
    bench::Name,
    cases::{Case, case},
    child::{Child, answer, order},
    context::{Context, Outcome, Skip, address, pattern},
};

pub(super) const CASES: &[Case] = &[
    case("kv::a_stream_in_error_fails_its_transfer_and_no_other", stream),
    case("kv::without_room_for_staging_transfers_fail_until_there_is", staging),
    case("kv::a_full_device_goes_on_with_the_caches_that_it_has", full),
    case("kv::freed_memory_fails_its_transfers_and_no_other", freed),
];

fn stream(context: &Context) -> Outcome {
    // The first work of all streams.
    let fault = format!("stream@1={}", context.name.stream_fault());
    in_a_process(context, "kv-failing", "FAKE_DEVICE_FAULTS", fault)
}

fn staging(context: &Context) -> Outcome {
    in_a_process(context, "kv-staging", "FAKE_DEVICE_FAULTS", context.name.pinned_fault().to_owned())
}

fn full(context: &Context) -> Outcome {
    in_a_process(context, "kv-full", "FAKE_DEVICE_MEMORY", (8 << 20).to_string())
}

fn freed(context: &Context) -> Outcome {
    if context.name == Name::CudaMapped {
        return Err(Skip(
            "what is shared of mapped memory stays allocated until it is taken back".to_owned(),
        ));
    }
    in_a_process(context, "kv-freed", "FAKE_DEVICE_MISUSE", "allow".to_owned())
}

fn in_a_process(context: &Context, part: &str, name: &str, value: String) -> Outcome {
    context.counts()?;
    let child = Child::start(context, part, &[(name, value)]);
    assert_eq!(child.hear(), "as it should be");
    child.succeeds();
    Ok(())
}

/// What the process of a case does.
pub(super) fn play(context: &Context, part: &str) {
    let before = context.counts().ok();
    match part {
        "kv-failing" => failing(context, Place::Device),
        "kv-staging" => failing(context, Place::Host),
        "kv-full" => full_device(context),
        "kv-freed" => freed_memory(context),
        part => panic!("there is no part {part:?}"),
    }
    nothing_left(context, before, layout().total_bytes());
    answer("as it should be");
    while order().is_some_and(|order| order != "end") {}
}

fn layout() -> CacheLayout {
    CacheLayout::new(2, 1, 8, 4096).expect("a layout")
}

fn content(seed: u64) -> Vec<u8> {
    pattern(seed, layout().total_bytes() as usize)
}

/// A pull of all of prefill's cache into that of an engine, over a route of its own.
fn pull(context: &Context, engine: &Engine, prefill: &Engine, name: &str, room: &Cache) -> Prepared {
    let (peer, _) = connect(context, engine, prefill);
    let remote = engine.remote_cache(&peer, name, patience(context)).expect("a cache");
    remote.pull(room, Selection::whole(&layout())).expect("a plan")
}

/// Device memory without the copy that would fill it.
fn untouched(context: &Context, engine: &Engine, name: &str) -> Cache {
    let memory: Arc<dyn DeviceMemory> = context.allocate(layout().total_bytes() as usize).into();
    engine.register_device_cache(name, layout(), memory).expect("a cache")
}

/// What a transfer lacks.
fn fault(context: &Context, prepared: &Prepared) -> DeviceFault {
    match outcome(context, prepared) {
        Err(WaitError::Failed(TransferError::Device { fault, .. })) => fault,
        other => panic!("{other:?}"),
    }
}

/// The first transfer out of the device, into memory of `place`, fails.
fn failing(context: &Context, place: Place) {
    let (prefill, decode, other) =
        (engine(context, "prefill"), engine(context, "decode"), engine(context, "other"));
    let source = untouched(context, &prefill, "source");
    let _calm = cache(context, &prefill, "calm", layout(), Place::Host, &content(1));
    let room = match place {
        Place::Device => untouched(context, &decode, "room"),
        Place::Host => cache(context, &decode, "room", layout(), place, &content(0)),
    };
    let aside = cache(context, &other, "aside", layout(), Place::Host, &content(0));
    let calm = pull(context, &other, &prefill, "calm", &aside);
    let broken = pull(context, &decode, &prefill, "source", &room);
    let lacks = if place == Place::Host { DeviceFault::NoStaging } else { DeviceFault::Stream };
    assert_eq!(fault(context, &broken), lacks);
    // Other routes go on.
    done(context, &calm);
    assert!(read(context, &aside) == content(1));
    // So does the device, on a new one.
    super::stage::write(context, &source, &content(2));
    super::stage::write(context, &room, &content(3));
    done(context, &pull(context, &decode, &prefill, "source", &room));
    assert!(read(context, &room) == content(2));
}

fn full_device(context: &Context) {
    let (prefill, decode) = (engine(context, "prefill"), engine(context, "decode"));
    let source = cache(context, &prefill, "source", layout(), Place::Device, &content(1));
    let room = cache(context, &decode, "room", layout(), Place::Device, &content(0));
    let wanted = 1 << 20;
    let mut held = Vec::new();
    let refused = loop {
        match context.accelerator.allocate(wanted) {
            Ok(memory) => held.push(memory),
            Err(refused) => break refused,
        }
    };
    let kind = context.accelerator.identity().kind;
    assert_eq!(refused, AcceleratorError::OutOfMemory { kind, wanted });
    done(context, &pull(context, &decode, &prefill, "source", &room));
    assert!(read(context, &room) == content(1));
    drop(source);
}

fn freed_memory(context: &Context) {
    let (prefill, decode) = (engine(context, "prefill"), engine(context, "decode"));
    let owned = context.allocate(layout().total_bytes() as usize);
    // SAFETY: it does not stay allocated, which is what the stand-in is to tell.
    let lent =
        unsafe { context.accelerator.adopt(address(&*owned), layout().total_bytes()) }.expect("memory");
    let source = prefill.register_device_cache("source", layout(), lent.into()).expect("a cache");
    let _well = cache(context, &prefill, "well", layout(), Place::Device, &content(1));
    let room = cache(context, &decode, "room", layout(), Place::Device, &content(0));
    let (from_freed, from_well) =
        (pull(context, &decode, &prefill, "source", &room), pull(context, &decode, &prefill, "well", &room));
    let (address, held) = (address(&*owned), context.counts().map_or(0, |counts| counts.allocations));
    drop(owned);
    context.until("the memory to be freed", || {
        context.finish(&*context.stream());
        context.counts().is_ok_and(|counts| counts.allocations < held)
    });
    assert_eq!(fault(context, &from_freed), DeviceFault::Stream);
    // SAFETY: nothing is made of it: it is gone.
    let gone = unsafe { context.accelerator.adopt(address, 1) }.expect_err("freed");
    assert!(matches!(gone, AcceleratorError::NotDeviceMemory { .. }), "{gone}");
    done(context, &from_well);
    assert!(read(context, &room) == content(1));
    drop(source);
}
