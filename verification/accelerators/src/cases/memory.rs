//! Who a device is, and memory of it and of the host.
#![allow(unsafe_code)] // pins memory

use pmd_core::{
    accelerator::{AcceleratorError, CopyDirection, CopyRange},
    memory::MemoryKind,
};

use super::{Case, case};
use crate::{
    context::{Context, Outcome, Skip, address, copies, copy, pattern, to_device},
    selected::Selected,
};

pub(super) const CASES: &[Case] = &[
    case("memory::a_device_says_who_it_is_and_stays_the_same", identity),
    case("memory::allocations_are_aligned_and_apart", allocations),
    case("memory::nothing_cannot_be_allocated", nothing),
    case("memory::fresh_memory_is_poisoned_on_a_stand_in", poison)
        .on_stand_ins("a device's fresh memory holds anything"),
    case("memory::pinned_memory_is_the_hosts", pinned),
    case("memory::ordinary_memory_is_pinned_and_let_go", pin),
    case("memory::more_than_there_is_is_out_of_memory", out_of_memory),
    case("memory::the_threads_device_is_as_it_was_after_every_call", selected),
    case("memory::memory_may_go_while_copies_use_it", dropped_under_copies),
];

fn identity(context: &Context) -> Outcome {
    let identity = context.accelerator.identity();
    assert_eq!((identity.kind, identity.ordinal), (context.name.kind(), 0));
    assert!(!identity.name.is_empty());
    let again = context.name.open(0).expect("opening it again");
    assert_eq!(again.identity(), identity);
    assert_eq!(context.allocate(8).accelerator().identity(), identity);
    context.accelerator.flush_remote_writes().expect("flushing");
    let second = context.second()?;
    assert_eq!(second.identity().ordinal, 1);
    assert_ne!(second.identity().unique, identity.unique);
    Ok(())
}

fn allocations(context: &Context) -> Outcome {
    let lengths = [1_usize, 7, 255, 256, 4095, 4097, 1 << 20, (3 << 20) + 5];
    let all: Vec<_> = lengths.iter().map(|length| context.allocate(*length)).collect();
    let mut ranges = Vec::new();
    for (memory, length) in all.iter().zip(lengths) {
        let description = memory.description();
        assert_eq!((description.length, description.kind), (length as u64, MemoryKind::Device));
        assert_eq!(description.address % 256, 0, "{length} bytes");
        let explained = description.descriptor.is_some() || memory.without_descriptor().is_some();
        assert!(explained, "neither a descriptor nor a reason");
        ranges.push((description.address, description.address + description.length));
    }
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:x?}");
    for (seed, (memory, length)) in all.iter().zip(lengths).enumerate() {
        context.upload(&**memory, 0, &pattern(seed as u64, length));
    }
    for (seed, (memory, length)) in all.iter().zip(lengths).enumerate() {
        assert!(context.download(&**memory, 0, length) == pattern(seed as u64, length), "{length} bytes");
    }
    Ok(())
}

fn nothing(context: &Context) -> Outcome {
    let refused = [context.accelerator.allocate(0), context.accelerator.allocate_pinned(0)];
    for refused in refused {
        let error = refused.expect_err("memory of no bytes");
        assert!(matches!(error, AcceleratorError::Range { length: 0, .. }), "{error}");
    }
    Ok(())
}

fn poison(context: &Context) -> Outcome {
    let memory = context.allocate(5000);
    assert!(context.download(&*memory, 0, 5000).iter().all(|byte| *byte == 0xa5));
    Ok(())
}

fn pinned(context: &Context) -> Outcome {
    let bytes = pattern(5, 70_001);
    let pinned = context.pinned(&bytes);
    assert_eq!(pinned.memory().description().kind, MemoryKind::Host);
    assert_eq!(pinned.memory().description().length, 70_001);
    assert!(pinned.read() == bytes);
    assert!(pinned.memory().without_descriptor().is_none());
    Ok(())
}

fn pin(context: &Context) -> Outcome {
    // Whole pages of its own, so that nothing else is on them.
    let mut bytes = vec![0_u8; 5 * 4096];
    let start = bytes.as_ptr().align_offset(4096);
    let length = 2 * 4096 + 100;
    bytes[start..start + length].copy_from_slice(&pattern(9, length));
    let base = bytes.as_mut_ptr().wrapping_add(start) as u64;
    let (memory, stream) = (context.allocate(length), context.stream());
    for _ in 0..3 {
        // SAFETY: the vector outlives the value.
        let pinned = unsafe { context.accelerator.pin(base, length as u64) }.expect("pinning");
        copy(&*stream, to_device(base, address(&*memory), length));
        context.finish(&*stream);
        drop(pinned);
    }
    assert!(context.download(&*memory, 0, length) == pattern(9, length));
    for (address, length) in [(base, 0), (u64::MAX - 10, 4096)] {
        // SAFETY: refused.
        let refused = unsafe { context.accelerator.pin(address, length) }.expect_err("no range");
        assert!(matches!(refused, AcceleratorError::Range { .. }), "{refused}");
    }
    Ok(())
}

fn out_of_memory(context: &Context) -> Outcome {
    let before = context.uploaded(&pattern(1, 4096));
    let wanted = 1 << 45;
    for _ in 0..3 {
        let error = context.accelerator.allocate(wanted).expect_err("32 TiB");
        let kind = context.accelerator.identity().kind;
        assert_eq!(error, AcceleratorError::OutOfMemory { kind, wanted });
    }
    assert!(context.download(&*before, 0, 4096) == pattern(1, 4096));
    Ok(())
}

/// A stream stands still with copies in it while their memory is dropped; whether they then copy or not, nothing breaks,
/// and other memory is untouched.
fn dropped_under_copies(context: &Context) -> Outcome {
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    let kept = context.uploaded(&pattern(3, 4096));
    let source = context.pinned(&pattern(4, 4096));
    let gone = context.allocate(4096);
    stream.wait_value(&flag, 1).expect("waiting");
    copy(&*stream, to_device(source.address(), address(&*gone), 4096));
    let range = CopyRange {
        from: address(&*gone),
        to: address(&*kept),
        length: 4096,
        direction: CopyDirection::DeviceToDevice,
    };
    copies(&*stream, &[range]).expect("copying");
    let done = stream.record().expect("recording");
    let releaser = {
        let (flag, patience) = (flag.clone(), std::time::Duration::from_millis(20));
        std::thread::spawn(move || {
            std::thread::sleep(patience);
            flag.store(1);
        })
    };
    // It waits for the copies, or is put off.
    drop(gone);
    releaser.join().expect("the other thread");
    context.wait(&*done);
    assert!(context.download(&*kept, 0, 4096) == pattern(4, 4096));
    Ok(())
}

/// The thread uses device 1, and device 0 through this driver.
fn selected(context: &Context) -> Outcome {
    context.second()?;
    let selected =
        Selected::of(context.name).ok_or_else(|| Skip("no device is a thread's here".to_owned()))?;
    selected.set(1);
    let check = |call: &str| assert_eq!(selected.get(), 1, "{call}");
    let memory = context.allocate(4096);
    check("allocate");
    let pinned = context.pinned(&pattern(1, 4096));
    check("allocate_pinned");
    let (stream, flag) = (context.stream(), context.accelerator.flag().expect("a flag"));
    check("open_stream, flag");
    copy(&*stream, to_device(pinned.address(), address(&*memory), 4096));
    check("copy");
    stream.signal(&flag, 1).and_then(|()| stream.wait_value(&flag, 1)).expect("a flag's value");
    check("signal, wait_value");
    let event = stream.record().expect("recording");
    stream.wait(&event).expect("waiting");
    check("record, wait");
    context.wait(&*event);
    check("query");
    drop(memory.share());
    check("share");
    // SAFETY: the memory outlives the value.
    drop(unsafe { context.accelerator.adopt(address(&*memory), 4096) }.expect("adopting"));
    check("adopt");
    drop(context.accelerator.stream(stream.native()).expect("a stream by its handle"));
    context.accelerator.flush_remote_writes().expect("flushing");
    check("stream, flush_remote_writes");
    drop((event, flag, stream, pinned, memory));
    check("dropping");
    drop(context.accelerator.allocate(1 << 45).expect_err("32 TiB"));
    check("a call that fails");
    Ok(())
}
