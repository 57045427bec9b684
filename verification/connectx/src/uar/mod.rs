//! UAR pages: the device's registers, as far as a driver may touch them. Everything that starts work passes here.
//!
//! ```text
//!   kernel: mmap of the device's descriptor        kernel: first open
//!        |  map                                         |  start
//!   pages   which addresses are registers          TRAP, STEP or THREAD: who notices a store to them
//! ```
//! A page is ordinary memory of this process. Called by: `kernel`, which maps pages and starts the watch; `shim`, which
//! reports what is unmapped.

mod handlers;
#[allow(dead_code, reason = "the device comes next")]
mod pages;
#[allow(dead_code, reason = "the device comes next")]
mod stores;
#[cfg(target_arch = "x86_64")]
#[allow(dead_code, reason = "the device comes next")]
mod trap;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_trap.rs"]
mod trap;

use std::io;

use crate::{config::Mode, device::Device, errno::Errno};

pub use handlers::{sigaction, signal};
pub use pages::PageKind;
pub use stores::Doorbells;

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
    pages::PAGES.forget(address as usize, length);
}

/// Starts to watch register pages, and whatever the device wants done later. Called at the first open; once more does
/// nothing.
///
/// # Errors
/// What the system says to signal handlers or threads.
pub fn start(device: &'static Device) -> io::Result<()> {
    let _ = device;
    Ok(())
}
