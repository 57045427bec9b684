//! The kernel's side of verbs: what opening, commanding, mapping and closing the device's descriptor does.
//!
//! ```text
//!   shim: open      close      write        ioctl          mmap
//!          |          |          |             |              |
//!       registry  (contexts)   write         ioctl       register_page ─→ uar
//!                                \─ command ─/
//!        query   context   region   completion_queue   queue_pair   shared_receive_queue   address   events
//!                                |
//!                    objects (handles)      state (numbers)      device (what runs)
//! ```
//! A command's bytes are cut into parts (`write`, `ioctl`), its module parses them into values, makes or changes objects
//! in [`crate::state`], and answers. Every malformed command is an error number ([`CommandError`]), never a panic.
//!
//! Called by [`crate::shim`] with descriptors that are the device's, and by the service thread ([`events`]).
//!
//! What this kernel does not have is refused: DEVX, on-demand paging, memory windows, memory of the device itself,
//! multicast, XRC, work queues and flow steering, signatures, resizing of completion queues. Memory of accelerators it
//! reaches as [`crate::config::DeviceMemory`] says.

mod abi;
mod address;
mod channel;
mod command;
mod completion_queue;
mod context;
mod descriptors;
mod device_memory;
mod error;
pub mod events;
mod ioctl;
mod memory;
mod objects;
mod query;
mod queue_pair;
mod region;
mod register_page;
mod registry;
mod shared_receive_queue;
#[cfg(test)]
mod tests;
mod write;

use std::ffi::{c_int, c_void};

use self::{context::Context, memory::UserBuffer, registry::Registry};
use crate::{config::Config, errno::Errno, uar::MmapRequest};

pub use error::CommandError;

/// Whether a descriptor is a context or an event file of the device. Locks nothing.
#[must_use]
pub fn owns(descriptor: c_int) -> bool {
    descriptors::contains(descriptor)
}

/// Whether a descriptor is a context: takes commands.
#[must_use]
pub fn is_context(descriptor: c_int) -> bool {
    owns(descriptor) && find(descriptor).is_some()
}

/// Makes a descriptor, which the caller opened, a context of the device.
///
/// # Errors
/// What the system says to the state file or to the watch of registers; `ENOMEM` when there are too many.
pub fn open(config: &Config, descriptor: c_int) -> Result<(), Errno> {
    let open = || Registry::open(config)?.add_context(descriptor);
    open().map_err(CommandError::errno)
}

/// A descriptor of the device is about to be closed.
pub fn close(descriptor: c_int) {
    if descriptors::remove(descriptor)
        && let Some(registry) = Registry::current()
    {
        registry.close(descriptor);
    }
}

/// A command by `write()`: `count` bytes at an address.
///
/// # Errors
/// That of [`CommandError::errno`].
pub fn write(descriptor: c_int, address: u64, count: usize) -> Result<(), Errno> {
    let run = || {
        let context = find(descriptor).ok_or(CommandError::NotOwner)?;
        command::execute(&context, &write::parse(UserBuffer { address, length: count })?)
    };
    run().map_err(CommandError::errno)
}

/// A command by `ioctl`, whose argument is an address.
///
/// # Errors
/// `ENOTTY` for requests that are not `RDMA_VERBS_IOCTL`, or where the configuration has only `write()`; else that
/// of [`CommandError::errno`].
pub fn ioctl(descriptor: c_int, request: u64, address: u64) -> Result<(), Errno> {
    let context = find(descriptor).ok_or(CommandError::NotOwner.errno())?;
    if request != abi::method::VERBS_IOCTL || !context.device().config.ioctl {
        return Err(Errno(libc::ENOTTY));
    }
    let run = || ioctl::execute(&context, &ioctl::parse(address)?);
    run().map_err(CommandError::errno)
}

/// `mmap` of a context's descriptor: only register pages can be mapped.
///
/// # Errors
/// `EINVAL` for an offset at which no page is; else what [`crate::uar::map`] says.
pub fn map(descriptor: c_int, offset: u64, request: &MmapRequest) -> Result<*mut c_void, Errno> {
    let run = || {
        let context = find(descriptor).ok_or(CommandError::NotOwner)?;
        register_page::map(&context, offset, request)
    };
    run().map_err(CommandError::errno)
}

fn find(descriptor: c_int) -> Option<std::sync::Arc<Context>> {
    Registry::current()?.context(descriptor)
}
