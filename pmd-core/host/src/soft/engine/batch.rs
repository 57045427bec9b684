//! Transfers to and from memory of another process that is not mapped here: many entries in one system call.
//!
//! The requester collects neighbouring WQEs of one direction and flushes before anything that must come later.
#![allow(unsafe_code)] // process_vm_readv and process_vm_writev take addresses

use std::io;

use libc::{iovec, pid_t};

/// Entries of each list, well below the kernel's UIO_MAXIOV.
const ENTRIES: usize = 512;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the peer to this process.
    Read,
    /// From this process to the peer.
    Write,
}

/// Entries collected for one system call.
#[derive(Debug)]
pub(super) struct Batch {
    direction: Direction,
    pid: pid_t,
    local: Vec<iovec>,
    remote: Vec<iovec>,
    /// Sequence number of the WQE that each remote entry belongs to.
    owners: Vec<u32>,
    bytes: u64,
}

// SAFETY: the addresses mean something only to the thread that owns the back end, and move with it.
unsafe impl Send for Batch {}

/// Why a batch did not go through. WQEs before `owner` did, it and those behind it did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchFault {
    /// Sequence number of the first WQE that failed.
    pub(super) owner: u32,
    /// Why.
    pub(super) reason: Reason,
}

/// What the kernel said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// An address is not mapped.
    Unmapped,
    /// This process may not touch the other's memory: another path has to be taken.
    Forbidden,
    /// There is no such process any more.
    Gone,
}

impl Batch {
    /// An empty batch. Nothing is allocated afterwards.
    pub(super) fn new() -> Self {
        Self {
            direction: Direction::Read,
            pid: 0,
            local: Vec::with_capacity(ENTRIES),
            remote: Vec::with_capacity(ENTRIES),
            owners: Vec::with_capacity(ENTRIES),
            bytes: 0,
        }
    }

    /// Whether nothing is collected.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.remote.is_empty()
    }

    /// Which way the collected bytes go.
    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether a transfer can be added; otherwise flush first. `pieces` is its number of local entries, below 512.
    pub(super) fn takes(&self, direction: Direction, pid: pid_t, pieces: usize) -> bool {
        let same = self.direction == direction && self.pid == pid;
        self.is_empty() || same && self.remote.len() < ENTRIES && self.local.len() + pieces <= ENTRIES
    }

    /// Adds one local piece of the transfer that [`Batch::add_remote`] completes.
    #[inline]
    pub(super) fn add_local(&mut self, address: *mut u8, length: usize) {
        self.local.push(iovec { iov_base: address.cast(), iov_len: length });
    }

    /// Drops local pieces of a transfer that is not completed: back to `pieces` of them.
    pub(super) fn truncate_local(&mut self, pieces: usize) {
        self.local.truncate(pieces);
    }

    /// Local pieces collected.
    pub(super) fn local_pieces(&self) -> usize {
        self.local.len()
    }

    /// Adds the remote side of a transfer whose local pieces were added.
    #[inline]
    pub(super) fn add_remote(&mut self, to: (Direction, pid_t), owner: u32, address: u64, length: u64) {
        (self.direction, self.pid) = to;
        self.remote.push(iovec { iov_base: address as *mut libc::c_void, iov_len: length as usize });
        self.owners.push(owner);
        self.bytes += length;
    }

    /// Moves everything and empties the batch.
    ///
    /// # Safety
    /// Every local piece is memory of this process that may be read (write direction) or written (read direction)
    /// for its length.
    pub(super) unsafe fn flush(&mut self) -> Result<(), BatchFault> {
        if self.is_empty() {
            return Ok(());
        }
        // SAFETY: the caller's promise; the kernel checks the other process's addresses.
        let result = unsafe { self.call() };
        let result = if result == self.bytes as isize { Ok(()) } else { Err(self.fault(result)) };
        self.local.clear();
        self.remote.clear();
        self.owners.clear();
        self.bytes = 0;
        result
    }

    /// # Safety
    /// As [`Batch::flush`].
    unsafe fn call(&self) -> isize {
        let local = (self.local.as_ptr(), self.local.len() as libc::c_ulong);
        let remote = (self.remote.as_ptr(), self.remote.len() as libc::c_ulong);
        // SAFETY: both lists are as long as stated, local entries are the caller's promise.
        unsafe {
            match self.direction {
                Direction::Read => libc::process_vm_readv(self.pid, local.0, local.1, remote.0, remote.1, 0),
                Direction::Write => {
                    libc::process_vm_writev(self.pid, local.0, local.1, remote.0, remote.1, 0)
                }
            }
        }
    }

    /// What failed, from the return value: an error, or the bytes moved until the first address that is not mapped.
    fn fault(&self, result: isize) -> BatchFault {
        let reason = match (result, io::Error::last_os_error().raw_os_error()) {
            (-1, Some(libc::EPERM | libc::ENOSYS | libc::EACCES)) => Reason::Forbidden,
            (-1, Some(libc::ESRCH)) => Reason::Gone,
            _ => Reason::Unmapped,
        };
        let mut moved = result.max(0) as usize;
        for (entry, owner) in self.remote.iter().zip(&self.owners) {
            if moved < entry.iov_len {
                return BatchFault { owner: *owner, reason };
            }
            moved -= entry.iov_len;
        }
        BatchFault { owner: self.owners.last().copied().unwrap_or(0), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_entries_move_in_one_call() {
        let source: Vec<u8> = (0..4000u32).map(|byte| byte as u8).collect();
        let mut target = vec![0u8; 4000];
        let pid = std::process::id() as pid_t;
        let mut batch = Batch::new();
        for (owner, piece) in target.chunks_mut(10).enumerate() {
            assert!(batch.takes(Direction::Read, pid, 1));
            batch.add_local(piece.as_mut_ptr(), piece.len());
            batch.add_remote((Direction::Read, pid), owner as u32, source[owner * 10..].as_ptr() as u64, 10);
        }
        // SAFETY: the local pieces are those of `target`.
        assert_eq!(unsafe { batch.flush() }, Ok(()));
        assert_eq!(source, target);
        assert!(batch.is_empty() && batch.local_pieces() == 0);
    }

    #[test]
    fn the_first_unmapped_entry_is_named() {
        let mut bytes = [7u8; 64];
        let pid = std::process::id() as pid_t;
        let mut batch = Batch::new();
        for (owner, address) in [(5, bytes.as_ptr() as u64), (6, 8), (7, bytes.as_ptr() as u64)] {
            batch.add_local(bytes[32..].as_mut_ptr(), 8);
            batch.add_remote((Direction::Read, pid), owner, address, 8);
        }
        assert!(!batch.takes(Direction::Write, pid, 1));
        // SAFETY: the local pieces are those of `bytes`.
        let fault = unsafe { batch.flush() }.unwrap_err();
        assert_eq!(fault, BatchFault { owner: 6, reason: Reason::Unmapped });
    }

    #[test]
    fn a_process_that_is_gone_is_named() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let mut bytes = [0u8; 8];
        let mut batch = Batch::new();
        batch.add_local(bytes.as_mut_ptr(), 8);
        batch.add_remote((Direction::Write, child.id() as pid_t), 1, bytes.as_ptr() as u64, 8);
        // SAFETY: the local piece is `bytes`.
        let fault = unsafe { batch.flush() }.unwrap_err();
        assert_eq!(fault, BatchFault { owner: 1, reason: Reason::Gone });
    }
}
