//! What was allocated on devices and as pinned host memory, and whether a copy may be. Called by `api`.
#![allow(unsafe_code)] // allocates and frees

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    collections::BTreeMap,
    ffi::c_void,
    ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::error::{AclError, Code};

/// Device memory starts at such addresses.
const ALIGNMENT: usize = 4096;

/// Whose memory an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Device,
    Host,
}

/// Which way a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    HostToHost,
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
    /// Either side may be anything.
    Default,
}

/// A copy that was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    destination: usize,
    source: usize,
    count: usize,
}

struct Allocation {
    layout: Layout,
    owner: Owner,
}

/// By first address.
static ALLOCATIONS: Mutex<BTreeMap<usize, Allocation>> = Mutex::new(BTreeMap::new());

pub(crate) fn allocate(size: usize, owner: Owner) -> Result<*mut c_void, AclError> {
    let layout = Layout::from_size_align(size, ALIGNMENT).ok().filter(|_| size > 0);
    let layout = layout.ok_or_else(|| {
        AclError::new(Code::InvalidParameter, format!("an allocation of {size} bytes cannot be"))
    })?;
    // SAFETY: the layout is not empty.
    let memory = unsafe { alloc_zeroed(layout) };
    if memory.is_null() {
        return Err(AclError::new(Code::MemoryAllocation, format!("no memory for {size} bytes")));
    }
    allocations().insert(memory as usize, Allocation { layout, owner });
    Ok(memory.cast())
}

pub(crate) fn free(memory: *mut c_void, owner: Owner) -> Result<(), AclError> {
    let mut allocations = allocations();
    let found = allocations.get(&(memory as usize)).map(|found| found.owner);
    match found {
        Some(found) if found == owner => {}
        Some(found) => {
            let detail = format!("{memory:p} is memory of kind {found:?}, not {owner:?}");
            return Err(AclError::new(Code::MemoryType, detail));
        }
        None => return Err(AclError::new(Code::RuntimeParameter, format!("{memory:p} was not allocated"))),
    }
    if let Some(allocation) = allocations.remove(&(memory as usize)) {
        // SAFETY: allocated with this layout, and out of the table exactly once.
        unsafe { dealloc(memory.cast(), allocation.layout) };
    }
    Ok(())
}

/// Whether `count` bytes may be set at `memory`, where the caller says that there is room for `room`.
pub(crate) fn check_set(memory: *mut c_void, room: usize, count: usize) -> Result<(), AclError> {
    check_room(memory as usize, room, count)?;
    check_end(&allocations(), memory as usize, count)
}

/// Checks a copy: both addresses, room, kind, and the ends of device memory.
pub(crate) fn check_copy(
    destination: *mut c_void,
    room: usize,
    source: *const c_void,
    count: usize,
    kind: Kind,
) -> Result<Copy, AclError> {
    let copy = Copy { destination: destination as usize, source: source as usize, count };
    if source.is_null() {
        return Err(AclError::new(Code::InvalidParameter, "the source of a copy is NULL"));
    }
    check_room(copy.destination, room, count)?;
    let allocations = allocations();
    let wanted = match kind {
        Kind::HostToHost => Some((Owner::Host, Owner::Host)),
        Kind::HostToDevice => Some((Owner::Host, Owner::Device)),
        Kind::DeviceToHost => Some((Owner::Device, Owner::Host)),
        Kind::DeviceToDevice => Some((Owner::Device, Owner::Device)),
        Kind::Default => None,
    };
    let found = (owner(&allocations, copy.source), owner(&allocations, copy.destination));
    if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
        let detail = format!("a copy of kind {kind:?} goes {wanted:?}, the addresses are {found:?}");
        return Err(AclError::new(Code::MemoryType, detail));
    }
    check_end(&allocations, copy.source, count)?;
    check_end(&allocations, copy.destination, count)?;
    Ok(copy)
}

impl Copy {
    /// # Safety
    /// Host addresses of the copy are mapped for its bytes; device memory has not been freed since the check. Nothing
    /// else touches the destination meanwhile.
    pub(crate) unsafe fn run(self) {
        // SAFETY: the ranges were checked where this library knows them; the rest is the caller's promise.
        unsafe { ptr::copy(self.source as *const u8, self.destination as *mut u8, self.count) };
    }
}

fn check_room(destination: usize, room: usize, count: usize) -> Result<(), AclError> {
    if destination == 0 {
        return Err(AclError::new(Code::InvalidParameter, "the destination is NULL"));
    }
    if count > room {
        return Err(AclError::new(Code::RuntimeParameter, format!("{count} bytes into room for {room}")));
    }
    Ok(())
}

/// Whose memory an address is: what this library did not allocate is the host's.
fn owner(allocations: &BTreeMap<usize, Allocation>, address: usize) -> Owner {
    holding(allocations, address).map_or(Owner::Host, |(_, allocation)| allocation.owner)
}

fn check_end(
    allocations: &BTreeMap<usize, Allocation>,
    address: usize,
    count: usize,
) -> Result<(), AclError> {
    let Some((first, allocation)) = holding(allocations, address) else { return Ok(()) };
    let left = first + allocation.layout.size() - address;
    if count > left {
        let detail = format!("{count} bytes at {address:#x}, where {left} are left of the allocation");
        return Err(AclError::new(Code::RuntimeParameter, detail));
    }
    Ok(())
}

fn holding(allocations: &BTreeMap<usize, Allocation>, address: usize) -> Option<(usize, &Allocation)> {
    let (first, allocation) = allocations.range(..=address).next_back()?;
    (address - first < allocation.layout.size()).then_some((*first, allocation))
}

fn allocations() -> MutexGuard<'static, BTreeMap<usize, Allocation>> {
    ALLOCATIONS.lock().unwrap_or_else(PoisonError::into_inner)
}
