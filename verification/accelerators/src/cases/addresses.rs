//! Pointers of other libraries: right ones, wrong ranges, freed, the host's, another device's.
#![allow(unsafe_code)] // adopts addresses

use pmd_core::accelerator::{Accelerator, AcceleratorError, DeviceMemory};

use super::{Case, case};
use crate::{
    bench::Name,
    context::{Context, Outcome, address, pattern},
};

pub(super) const CASES: &[Case] = &[
    case("addresses::a_pointer_into_an_allocation_is_adopted", adopted),
    case("addresses::ranges_that_are_none_are_refused", ranges),
    case("addresses::freed_memory_is_refused", freed),
    case("addresses::the_hosts_memory_is_refused", host),
    case("addresses::another_devices_memory_is_refused", wrong_device),
];

fn adopt(
    accelerator: &dyn Accelerator,
    address: u64,
    length: u64,
) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
    // SAFETY: the case keeps what it adopts, or expects to be refused.
    unsafe { accelerator.adopt(address, length) }
}

fn adopted(context: &Context) -> Outcome {
    let memory = context.uploaded(&pattern(1, 10_000));
    let part = adopt(&*context.accelerator, address(&*memory) + 1001, 5000).expect("adopting");
    let (description, whole) = (part.description(), memory.description());
    assert_eq!((description.address, description.length), (whole.address + 1001, 5000));
    assert_eq!(description.kind, whole.kind);
    assert!(context.download(&*part, 0, 5000) == pattern(1, 10_000)[1001..6001]);
    context.upload(&*part, 7, &pattern(2, 100));
    // Dropping it frees nothing.
    drop(part);
    let mut wanted = pattern(1, 10_000);
    wanted[1008..1108].copy_from_slice(&pattern(2, 100));
    assert!(context.download(&*memory, 0, 10_000) == wanted);
    adopt(&*context.accelerator, address(&*memory), 10_000).expect("all of it");
    Ok(())
}

fn ranges(context: &Context) -> Outcome {
    let memory = context.allocate(10_000);
    let base = address(&*memory);
    for (address, length) in [(base, 0), (base, u64::MAX), (base, 1 << 40)] {
        let refused = adopt(&*context.accelerator, address, length).expect_err("no range");
        assert!(matches!(refused, AcceleratorError::Range { .. }), "{length} bytes: {refused}");
    }
    // What is mapped goes on to the end of the page, as some devices' other allocations do.
    if context.counts().is_ok() && context.name != Name::CudaMapped {
        let refused = adopt(&*context.accelerator, base + 9000, 1001).expect_err("a byte too many");
        let wanted = AcceleratorError::Range { address: base + 9000, length: 1001, available: Some(1000) };
        assert_eq!(refused, wanted);
    }
    Ok(())
}

fn freed(context: &Context) -> Outcome {
    let memory = context.uploaded(&pattern(1, 5000));
    let base = address(&*memory);
    drop(memory);
    let kind = context.accelerator.identity().kind;
    let wanted = AcceleratorError::NotDeviceMemory { kind, address: base };
    // Freeing may be put off until a later call.
    context.until("the memory to be freed", || {
        context.finish(&*context.stream());
        adopt(&*context.accelerator, base, 5000).is_err_and(|refused| refused == wanted)
    });
    Ok(())
}

fn host(context: &Context) -> Outcome {
    let (local, heap) = ([0_u8; 64], vec![0_u8; 100_000]);
    let pinned = context.pinned(&[0; 4096]);
    let kind = context.accelerator.identity().kind;
    for address in [local.as_ptr() as u64, heap.as_ptr() as u64, pinned.address(), 8] {
        let refused = adopt(&*context.accelerator, address, 64).expect_err("the host's memory");
        assert_eq!(refused, AcceleratorError::NotDeviceMemory { kind, address });
    }
    Ok(())
}

fn wrong_device(context: &Context) -> Outcome {
    let second = context.second()?;
    let memory = second.allocate(4096).expect("allocating");
    let base = address(&*memory);
    let refused = adopt(&*context.accelerator, base, 4096).expect_err("device 1's memory");
    assert_eq!(refused, AcceleratorError::WrongDevice { address: base, found: 1, wanted: 0 });
    adopt(&*second, base, 4096).expect("its own memory");
    Ok(())
}
