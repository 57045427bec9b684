//! Registers the tensors of a cache with the fabric, and allocates them where the caller has none.
#![allow(unsafe_code)] // registers memory on the caller's word

use pmd_core::{
    accelerator::AcceleratorError,
    memory::{MemoryKind, RegionDescription},
};

use super::{
    ArgumentError, CacheDesc, CachePlacement, DataDistError, caches::Memory, pool::Pool, shape::CacheShape,
};
use crate::fabric::{Fabric, FabricError, Segment};

/// Where tensors that are allocated here begin: at a multiple of this.
const ALIGNMENT: u64 = 512;

/// Where tensors of a placement are: a process without accelerators simulates the device by memory of its own.
pub(super) fn kind(fabric: &Fabric, placement: CachePlacement) -> MemoryKind {
    match placement {
        CachePlacement::Device if !fabric.accelerators().is_empty() => MemoryKind::Device,
        _ => MemoryKind::Host,
    }
}

/// Registers tensors at the caller's addresses. Those that touch are registered as one, unless an accelerator knows them
/// as several allocations.
///
/// # Safety
/// As [`Fabric::register`], for `shape.tensor_bytes` bytes at each address.
pub(super) unsafe fn register(
    fabric: &Fabric,
    placement: CachePlacement,
    shape: &CacheShape,
    addresses: &[u64],
) -> Result<Memory, DataDistError> {
    if addresses.len() as u64 != shape.tensors {
        let (given, wanted) = (addresses.len(), shape.tensors as usize);
        return Err(ArgumentError::AddressCount { given, wanted }.into());
    }
    let bytes = shape.tensor_bytes;
    let cannot = |address: &u64| *address == 0 || address.checked_add(bytes).is_none();
    if let Some(index) = addresses.iter().position(cannot) {
        return Err(ArgumentError::Address { index, address: addresses[index] }.into());
    }
    let kind = kind(fabric, placement);
    let register = |(address, length): &(u64, u64)| {
        // SAFETY: the range is made of tensors, and passed on to the caller.
        unsafe { register_range(fabric, kind, *address, *length) }
    };
    let mut segments = runs(addresses, bytes).iter().map(register).collect::<Result<Vec<_>, _>>();
    if matches!(
        &segments,
        Err(DataDistError::Fabric(FabricError::Accelerator(AcceleratorError::Range { .. })))
    ) {
        segments = addresses.iter().map(|address| register(&(*address, bytes))).collect();
    }
    Ok(Memory { addresses: addresses.to_vec(), segments: segments?, piece: None })
}

/// Allocates all tensors of a cache in one piece.
pub(super) fn allocate(fabric: &Fabric, pool: &Pool, desc: &CacheDesc) -> Result<Memory, DataDistError> {
    let shape = CacheShape::of(desc)?;
    let distance = shape.tensor_bytes.checked_next_multiple_of(ALIGNMENT).ok_or(ArgumentError::TooLarge)?;
    let bytes = distance.checked_mul(shape.tensors).ok_or(ArgumentError::TooLarge)?;
    let piece = pool.allocate(fabric, bytes)?;
    let kind = kind(fabric, desc.placement);
    // SAFETY: the piece stays allocated until the segment is gone: see the order in `LocalCache`. Nobody borrows it.
    let segment = unsafe { register_range(fabric, kind, piece.address(), piece.bytes()) }?;
    let addresses = (0..shape.tensors).map(|tensor| piece.address() + tensor * distance).collect();
    Ok(Memory { addresses, segments: vec![segment], piece: Some(piece) })
}

/// # Safety
/// As [`Fabric::register`].
unsafe fn register_range(
    fabric: &Fabric,
    kind: MemoryKind,
    address: u64,
    length: u64,
) -> Result<Segment, DataDistError> {
    let memory = RegionDescription { address, length, kind, descriptor: None };
    // SAFETY: passed on to the caller.
    unsafe { fabric.register(&memory) }.map_err(|error| match error {
        FabricError::Register(source) | FabricError::Unreachable(source) => {
            DataDistError::Register { address, source: Box::new(source) }
        }
        other => other.into(),
    })
}

/// Ranges that hold all tensors, touching and overlapping ones merged: first byte and length of each.
pub(super) fn runs(addresses: &[u64], bytes: u64) -> Vec<(u64, u64)> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for address in sorted {
        match runs.last_mut() {
            Some((start, length)) if *start + *length >= address => {
                *length = (*length).max(address + bytes - *start);
            }
            _ => runs.push((address, bytes)),
        }
    }
    runs
}
