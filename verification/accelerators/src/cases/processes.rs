//! Memory between processes: shared, opened, and what becomes of it when one of them is killed.
#![allow(unsafe_code)] // adopts a part of an allocation

use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, DeviceMemory, ShareHandle};

use super::{Case, case, faults};
use crate::{
    child::{Child, answer, handle_of, line_of, order},
    context::{Context, Outcome, Skip, address, copy, pattern, to_host},
    measure,
};

pub(super) const CASES: &[Case] = &[
    case("processes::what_is_shared_is_read_and_written_from_both_sides", both_ways),
    case("processes::a_part_of_an_allocation_is_shared_as_a_part", part),
    case("processes::opened_twice_it_closes_once_at_a_time", twice),
    case("processes::memory_is_closed_by_who_lets_a_stream_go_on_that_copies_it", closed_while_waiting),
    case("processes::handles_of_others_are_foreign", foreign),
    case("processes::a_killed_owners_memory_is_gone_for_who_comes_later", killed_owner),
    case("processes::freed_memory_is_gone_for_who_comes_later", freed),
    case("processes::a_killed_importer_takes_nothing_along", killed_importer),
];

const LENGTH: usize = 100_003;
/// What the owner writes, and what the importer does.
const OWNERS: u64 = 100;
const IMPORTERS: u64 = 200;

/// What the other process does.
pub(crate) fn play(context: &Context, part: &str) {
    match part {
        "owner" => own(context),
        "importer" => import(context),
        "target" => measure::play(context),
        part => faults::play(context, part),
    }
}

/// Shares memory, and tells of it what it is asked.
fn own(context: &Context) {
    let mut memory = Some(context.uploaded(&pattern(OWNERS, LENGTH)));
    let shared = memory.as_ref().map(|memory| memory.share());
    match shared.expect("just allocated") {
        Ok(handle) => answer(&line_of(&handle)),
        Err(error) => return answer(&format!("cannot: {error}")),
    }
    while let Some(order) = order() {
        match (order.as_str(), &memory) {
            ("read", Some(memory)) => {
                let found = context.download(&**memory, 0, LENGTH);
                answer(if found == pattern(IMPORTERS, LENGTH) { "written" } else { "not written" });
            }
            ("free", _) => {
                let allocations = || context.counts().map_or(0, |counts| counts.allocations);
                let before = allocations();
                memory = None;
                // Freeing may be put off until a later call.
                context.until("the memory to be freed", || {
                    context.finish(&*context.stream());
                    before == 0 || allocations() < before
                });
                answer("freed");
            }
            _ => return,
        }
    }
}

/// Opens memory of the process that started this one, checks it and writes it.
fn import(context: &Context) {
    let handle = handle_of(&order().expect("a handle"), context.accelerator.identity().kind);
    let memory = context.accelerator.import(&handle).expect("opening");
    let found = context.download(&*memory, 0, handle.length as usize);
    context.upload(&*memory, 0, &pattern(IMPORTERS, handle.length as usize));
    answer(if found == pattern(OWNERS, handle.length as usize) { "right" } else { "wrong" });
    while order().is_some_and(|order| order != "end") {}
}

fn kind(context: &Context) -> AcceleratorKind {
    context.accelerator.identity().kind
}

/// An owner and its handle.
fn owner(context: &Context) -> Result<(Child, ShareHandle), Skip> {
    let child = Child::start(context, "owner", &[]);
    let line = child.hear();
    match line.strip_prefix("cannot: ") {
        Some(reason) => Err(Skip(reason.to_owned())),
        None => Ok((child, handle_of(&line, kind(context)))),
    }
}

fn shared(memory: &dyn DeviceMemory) -> Result<ShareHandle, Skip> {
    let handle = memory.share().map_err(|error| Skip(error.to_string()))?;
    assert!(!handle.opaque.is_empty() && handle.opaque.len() <= ShareHandle::LONGEST);
    assert_eq!(handle.length, memory.description().length);
    Ok(handle)
}

fn both_ways(context: &Context) -> Outcome {
    let (mut child, handle) = owner(context)?;
    let memory = context.accelerator.import(&handle).expect("opening");
    assert_eq!(memory.description().length, LENGTH as u64);
    assert!(context.download(&*memory, 0, LENGTH) == pattern(OWNERS, LENGTH), "the owner's bytes");
    context.upload(&*memory, 0, &pattern(IMPORTERS, LENGTH));
    child.tell("read");
    assert_eq!(child.hear(), "written");
    drop(memory);
    child.succeeds();
    Ok(())
}

fn part(context: &Context) -> Outcome {
    let (start, length) = (4097, 30_001);
    let memory = context.uploaded(&pattern(1, LENGTH));
    context.upload(&*memory, start, &pattern(OWNERS, length));
    // SAFETY: the memory outlives the value.
    let part = unsafe { context.accelerator.adopt(address(&*memory) + start as u64, length as u64) };
    let part = part.expect("adopting");
    let handle = shared(&*part)?;
    let mut child = Child::start(context, "importer", &[]);
    child.tell(&line_of(&handle));
    assert_eq!(child.hear(), "right");
    child.succeeds();
    let mut wanted = pattern(1, LENGTH);
    wanted[start..start + length].copy_from_slice(&pattern(IMPORTERS, length));
    assert!(context.download(&*memory, 0, LENGTH) == wanted, "only the part was written");
    Ok(())
}

fn twice(context: &Context) -> Outcome {
    let (child, handle) = owner(context)?;
    let first = context.accelerator.import(&handle).expect("opening");
    let second = context.accelerator.import(&handle).expect("opening it again");
    drop(first);
    assert!(context.download(&*second, 0, LENGTH) == pattern(OWNERS, LENGTH), "closed too early");
    drop(second);
    let third = context.accelerator.import(&handle).expect("opening it once more");
    assert!(context.download(&*third, 0, LENGTH) == pattern(OWNERS, LENGTH));
    drop(third);
    child.succeeds();
    Ok(())
}

fn closed_while_waiting(context: &Context) -> Outcome {
    let (child, handle) = owner(context)?;
    let memory = context.accelerator.import(&handle).expect("opening");
    let (stream, go) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let copied = context.pinned(&[0; LENGTH]);
    stream.wait_value(&go, 1).expect("a wait");
    copy(&*stream, to_host(address(&*memory), copied.address(), LENGTH));
    // What waited for the copy here would wait for ever.
    drop(memory);
    go.store(1);
    context.finish(&*stream);
    assert!(copied.read() == pattern(OWNERS, LENGTH), "closed too early");
    child.succeeds();
    Ok(())
}

fn foreign(context: &Context) -> Outcome {
    let memory = context.allocate(4096);
    let handle = shared(&*memory)?;
    let other =
        if kind(context) == AcceleratorKind::Cuda { AcceleratorKind::Rocm } else { AcceleratorKind::Cuda };
    let wanted = AcceleratorError::Foreign { of: context.accelerator.identity().clone() };
    let handles =
        [ShareHandle { kind: other, ..handle.clone() }, ShareHandle { device: [0x77; 16], ..handle.clone() }];
    for handle in handles {
        assert_eq!(context.accelerator.import(&handle).expect_err("not ours"), wanted);
    }
    for opaque in [vec![], vec![1; 3], vec![0xff; ShareHandle::LONGEST + 1]] {
        let broken = ShareHandle { opaque, ..handle.clone() };
        let refused = context.accelerator.import(&broken).expect_err("not a handle");
        let told = matches!(refused, AcceleratorError::Gone { .. } | AcceleratorError::Runtime { .. });
        assert!(told, "{refused}");
    }
    Ok(())
}

fn killed_owner(context: &Context) -> Outcome {
    let (mut child, handle) = owner(context)?;
    let memory = context.accelerator.import(&handle).expect("opening");
    child.kill();
    if context.counts().is_ok() {
        // It stays for as long as somebody has it open.
        assert!(context.download(&*memory, 0, LENGTH) == pattern(OWNERS, LENGTH), "an owner's death");
    }
    drop(memory);
    gone(context, &handle);
    Ok(())
}

fn freed(context: &Context) -> Outcome {
    let (mut child, handle) = owner(context)?;
    child.tell("free");
    assert_eq!(child.hear(), "freed");
    gone(context, &handle);
    child.succeeds();
    Ok(())
}

/// It cannot be opened any more, and that is told as it is where the runtime can tell.
fn gone(context: &Context, handle: &ShareHandle) {
    let refused = context.accelerator.import(handle).expect_err("it is gone");
    if context.counts().is_ok() {
        assert_eq!(refused, AcceleratorError::Gone { kind: kind(context) });
    }
}

fn killed_importer(context: &Context) -> Outcome {
    let memory = context.uploaded(&pattern(OWNERS, LENGTH));
    let handle = shared(&*memory)?;
    let mut child = Child::start(context, "importer", &[]);
    child.tell(&line_of(&handle));
    assert_eq!(child.hear(), "right");
    child.kill();
    assert!(context.download(&*memory, 0, LENGTH) == pattern(IMPORTERS, LENGTH), "the importer's bytes");
    let mut next = Child::start(context, "importer", &[]);
    context.upload(&*memory, 0, &pattern(OWNERS, LENGTH));
    next.tell(&line_of(&handle));
    assert_eq!(next.hear(), "right");
    next.succeeds();
    Ok(())
}
