//! Copies between a staging piece and memory of the host, this process's or a peer's.
#![allow(unsafe_code)] // copies between addresses

use std::io::{IoSlice, IoSliceMut};

use nix::{
    errno::Errno,
    sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev},
    unistd::Pid,
};
use pmd_core::wire::Syndrome;

/// Memory of the host that was checked in this round.
#[derive(Clone, Copy, Debug)]
pub(super) enum HostBytes {
    /// Of this process, or mapped here.
    Here(u64),
    /// The same, page-locked for every accelerator of the device, so that streams copy from and to it themselves.
    Pinned(u64),
    /// Of another process.
    Process {
        /// Whose.
        pid: i32,
        /// First byte there.
        address: u64,
    },
}

impl HostBytes {
    /// The bytes from `offset` on.
    pub(super) fn at(self, offset: u64) -> Self {
        match self {
            Self::Here(address) => Self::Here(address.wrapping_add(offset)),
            Self::Pinned(address) => Self::Pinned(address.wrapping_add(offset)),
            Self::Process { pid, address } => Self::Process { pid, address: address.wrapping_add(offset) },
        }
    }

    /// Copies `length` bytes from here to `piece`.
    ///
    /// # Safety
    /// Both were checked for `length` bytes in this round; `piece` is the caller's alone.
    pub(super) unsafe fn gather(self, piece: *mut u8, length: usize) -> Result<(), Syndrome> {
        match self {
            Self::Here(address) | Self::Pinned(address) => {
                // SAFETY: the caller's promise.
                unsafe { piece.copy_from(address as *const u8, length) };
                Ok(())
            }
            Self::Process { pid, address } => {
                // SAFETY: the caller's promise: nobody else has a reference to the piece.
                let piece = unsafe { std::slice::from_raw_parts_mut(piece, length) };
                whole(length, |done| {
                    let there = [RemoteIoVec { base: address as usize + done, len: length - done }];
                    process_vm_readv(Pid::from_raw(pid), &mut [IoSliceMut::new(&mut piece[done..])], &there)
                })
            }
        }
    }

    /// Copies `length` bytes from `piece` to here.
    ///
    /// # Safety
    /// As [`HostBytes::gather`].
    pub(super) unsafe fn scatter(self, piece: *const u8, length: usize) -> Result<(), Syndrome> {
        match self {
            Self::Here(address) | Self::Pinned(address) => {
                // SAFETY: the caller's promise.
                unsafe { piece.copy_to(address as *mut u8, length) };
                Ok(())
            }
            Self::Process { pid, address } => {
                // SAFETY: the caller's promise: nobody writes the piece meanwhile.
                let piece = unsafe { std::slice::from_raw_parts(piece, length) };
                whole(length, |done| {
                    let there = [RemoteIoVec { base: address as usize + done, len: length - done }];
                    process_vm_writev(Pid::from_raw(pid), &[IoSlice::new(&piece[done..])], &there)
                })
            }
        }
    }
}

/// Calls the kernel until all bytes are moved.
fn whole(length: usize, mut call: impl FnMut(usize) -> Result<usize, Errno>) -> Result<(), Syndrome> {
    let mut done = 0;
    while done < length {
        match call(done) {
            Ok(0) | Err(Errno::EFAULT | Errno::ENOMEM) => return Err(Syndrome::RemoteAccess),
            Ok(count) => done += count,
            Err(Errno::EINTR) => {}
            Err(Errno::ESRCH) => return Err(Syndrome::RetryExceeded),
            Err(_) => return Err(Syndrome::RemoteOperation),
        }
    }
    Ok(())
}
