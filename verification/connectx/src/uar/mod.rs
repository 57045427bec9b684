//! UAR pages: the device's registers, as far as a driver may touch them. Everything that starts work passes here.
//!
//! ```text
//!   kernel: mmap of the device's descriptor        kernel: first open
//!        |  map                                         |  start
//!   pages   which addresses are registers               |
//!        |                +-----------------------------+-------------------+
//!   trap   each store faults      polls   when the program polls      service   a thread, now and then
//!        |                               |                              |   also: what is due, events
//!   stores   what a store means      scan   what was stored since the last look
//!        +-------------------------------+------------------------------+
//!                               device::Device
//! ```
//! A page is ordinary memory of this process. Called by: `kernel`, which maps pages and starts the watch; `shim`, which
//! reports what is unmapped; `connectx-preload`, for the functions that are interposed here.
#![allow(unsafe_code)] // a pointer that is replaced after fork

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only TRAP needs all of it"))]
mod handlers;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only TRAP needs all of it"))]
mod pages;
mod polls;
mod scan;
mod service;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only TRAP needs all of it"))]
mod stores;
#[cfg(target_arch = "x86_64")]
mod trap;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_trap.rs"]
mod trap;

use std::{
    io, ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use crate::{config::Mode, device::Device, errno::Errno};

pub use handlers::{sigaction, signal};
pub use pages::PageKind;
pub use polls::open_device;
pub use stores::Doorbells;

/// What this process watches; null before the device is opened, and in children after fork.
static WATCH: AtomicPtr<Watch> = AtomicPtr::new(ptr::null_mut());

/// The device, and what was seen of its registers. Never freed: threads and signal handlers use it.
#[derive(Debug)]
struct Watch {
    device: &'static Device,
    scanner: scan::Scanner,
}

impl Watch {
    fn current() -> Option<&'static Self> {
        // SAFETY: null or leaked.
        unsafe { WATCH.load(Ordering::Acquire).as_ref() }
    }
}

/// What a driver asked `mmap` for.
#[derive(Clone, Copy, Debug)]
pub struct MmapRequest {
    /// Where it would like the mapping, or 0.
    pub address: usize,
    /// Bytes.
    pub length: usize,
    /// `MAP_*`.
    pub flags: libc::c_int,
}

/// Maps register pages for this process. Each page counts as one UAR; what is mapped twice is two UARs.
///
/// # Errors
/// `EINVAL` for a length that is no number of pages, `ENOMEM` when there are too many, else what the system says.
pub fn map(device: &Device, kind: PageKind, request: &MmapRequest) -> Result<*mut libc::c_void, Errno> {
    pages::map(device.config.mode == Mode::Trap, kind, request)
}

/// Forgets the register pages in a range which is about to be unmapped.
pub fn forget(address: *mut libc::c_void, length: usize) {
    // Everything that a process unmaps comes here.
    if pages::PAGES.any_in(address as usize, length) {
        let _no_scan = Watch::current().map(|watch| watch.scanner.exclude());
        pages::PAGES.forget(address as usize, length);
    }
}

/// In a child after fork: it has no register pages, and nothing is watched. Only stores to atomics.
pub fn forget_all() {
    WATCH.store(ptr::null_mut(), Ordering::Release);
    pages::PAGES.forget(0, usize::MAX);
}

/// Starts to watch register pages, and whatever the device wants done later. Called once by a process that opens the
/// device, before pages are mapped.
///
/// # Errors
/// What the system says to signal handlers or threads.
pub fn start(device: &'static Device) -> io::Result<()> {
    let watch: &'static Watch = Box::leak(Box::new(Watch { device, scanner: scan::Scanner::default() }));
    WATCH.store(ptr::from_ref(watch).cast_mut(), Ordering::Release);
    if device.config.mode == Mode::Trap {
        trap::install(&CurrentDevice)?;
    }
    service::spawn(watch)
}

/// Gives stores to the device that this process has open.
struct CurrentDevice;

impl trap::StoreSink for CurrentDevice {
    fn store(&self, page: &pages::Page, offset: usize, bytes: &[u8]) {
        if let Some(watch) = Watch::current() {
            stores::deliver(watch.device, page, offset, bytes);
        }
    }
}

impl Doorbells for Device {
    fn ring(&self, register: u64) {
        Device::ring(self, register);
    }

    fn blue_flame(&self, ringing: u64, word: usize, value: u64) {
        Device::blue_flame(self, ringing, word, value);
    }

    fn arm(&self, register: u64) {
        Device::arm(self, register);
    }

    fn stray_store(&self, offset: usize, bytes: usize) {
        Device::stray_store(self, offset, bytes);
    }
}
