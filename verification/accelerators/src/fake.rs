//! What a stand-in for a runtime tells of itself. Asked by cases that look for leaks and poison.
#![allow(unsafe_code)] // calls a function of a library

use libloading::Library;

use crate::bench::Name;

/// What is alive, as `fake_device_counts` writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) pinned: u64,
    pub(crate) registered: u64,
    pub(crate) imported: u64,
    pub(crate) streams: u64,
    pub(crate) events: u64,
    pub(crate) others: u64,
    pub(crate) misuses: u64,
}

/// What is alive in the stand-in that an accelerator runs on; `None` on a real runtime.
pub(crate) fn counts(name: Name) -> Option<Counts> {
    name.libraries().iter().find_map(|library| {
        // SAFETY: the library is loaded already, by the accelerator's crate.
        let library = unsafe { Library::new(library) }.ok()?;
        // SAFETY: the stand-ins share this function and its argument's layout.
        let ask = unsafe { library.get::<unsafe extern "C" fn(*mut Counts)>(b"fake_device_counts") }.ok()?;
        let mut counts = Counts::default();
        // SAFETY: a place for the answer.
        unsafe { ask(&mut counts) };
        Some(counts)
    })
}
