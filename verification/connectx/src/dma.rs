//! Reads and writes memory as the device does: by address, of this process or of another one.
#![allow(unsafe_code)] // copies between addresses that a driver gave

use std::process;

/// An address that the device could not reach: not mapped, or its process is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("process {pid} has no {length} bytes at {address:#x} (errno {errno})")]
pub struct DmaFault {
    /// Whose memory.
    pub pid: u32,
    /// Where.
    pub address: u64,
    /// How much was wanted.
    pub length: usize,
    /// What the kernel said.
    pub errno: i32,
}

/// Reads `into.len()` bytes.
///
/// # Errors
/// [`DmaFault`]; `into` may have been filled in part.
pub fn read(pid: u32, address: u64, into: &mut [u8]) -> Result<(), DmaFault> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    transfer(pid, address, local, libc::SYS_process_vm_readv)
}

/// Writes `from`.
///
/// # Errors
/// [`DmaFault`]; a part may have been written.
pub fn write(pid: u32, address: u64, from: &[u8]) -> Result<(), DmaFault> {
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    transfer(pid, address, local, libc::SYS_process_vm_writev)
}

/// A copy that did not come to its end: which side could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyFault {
    /// Where the bytes come from.
    #[error("source: {0}")]
    Source(DmaFault),
    /// Where they go.
    #[error("target: {0}")]
    Target(DmaFault),
}

/// Bytes that a copy holds at a time where it cannot go straight.
const BOUNCE: u64 = 256 * 1024;

/// Copies between two processes: with one system call where one of them is this one.
///
/// # Errors
/// [`CopyFault`]; a part may have been copied.
pub fn copy(from: (u32, u64), to: (u32, u64), length: u64) -> Result<(), CopyFault> {
    let own = own_pid();
    let straight = if from.0 == own {
        transfer(to.0, to.1, local(from.1, length), libc::SYS_process_vm_writev).is_ok()
    } else {
        to.0 == own && transfer(from.0, from.1, local(to.1, length), libc::SYS_process_vm_readv).is_ok()
    };
    // A fault of a straight copy does not say whose it was.
    if straight { Ok(()) } else { copy_through(from, to, length) }
}

fn copy_through(from: (u32, u64), to: (u32, u64), length: u64) -> Result<(), CopyFault> {
    let mut bounce = vec![0; length.min(BOUNCE) as usize];
    let mut done = 0;
    while done < length {
        let piece = &mut bounce[..(length - done).min(BOUNCE) as usize];
        read(from.0, from.1.wrapping_add(done), piece).map_err(CopyFault::Source)?;
        write(to.0, to.1.wrapping_add(done), piece).map_err(CopyFault::Target)?;
        done += piece.len() as u64;
    }
    Ok(())
}

/// An address of this process as the system call takes it; the kernel checks it.
fn local(address: u64, length: u64) -> libc::iovec {
    libc::iovec { iov_base: address as *mut libc::c_void, iov_len: length as usize }
}

/// The system call is used for this process too: a wrong address is an error then, not a crash.
fn transfer(pid: u32, address: u64, local: libc::iovec, call: libc::c_long) -> Result<(), DmaFault> {
    if local.iov_len == 0 {
        return Ok(());
    }
    let length = local.iov_len;
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: length };
    // SAFETY: `local` describes a slice that outlives the call, or an address that the kernel checks, as it does
    // the remote one.
    let moved =
        unsafe { libc::syscall(call, pid, &raw const local, 1usize, &raw const remote, 1usize, 0usize) };
    if usize::try_from(moved) == Ok(length) {
        return Ok(());
    }
    let errno = if moved < 0 { last_errno() } else { libc::EFAULT };
    Err(DmaFault { pid, address, length, errno })
}

/// An eight-byte atomic on memory of this or another process, under the device's lock: other *device* atomics are
/// excluded, the CPU's are not (as on hardware with `IBV_ATOMIC_HCA`). Gives the earlier value.
///
/// # Errors
/// [`DmaFault`].
pub fn update(pid: u32, address: u64, change: impl FnOnce(u64) -> u64) -> Result<u64, DmaFault> {
    let mut word = [0; 8];
    read(pid, address, &mut word)?;
    let earlier = u64::from_ne_bytes(word);
    write(pid, address, &change(earlier).to_ne_bytes())?;
    Ok(earlier)
}

/// This process.
#[must_use]
pub fn own_pid() -> u32 {
    process::id()
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways() {
        let mut memory = [0u8; 32];
        let address = memory.as_mut_ptr() as u64;
        write(own_pid(), address + 8, b"content!").expect("own memory");
        let mut back = [0; 8];
        read(own_pid(), address + 8, &mut back).expect("own memory");
        assert_eq!(&back, b"content!");
        assert_eq!(memory[..8], [0; 8]);
    }

    #[test]
    fn a_copy_says_which_side_failed() {
        let (from, mut to) = ([7u8; 64], [0u8; 64]);
        let (source, target) = (from.as_ptr() as u64, to.as_mut_ptr() as u64);
        assert_eq!(copy((own_pid(), source), (own_pid(), target), 64), Ok(()));
        assert_eq!(to, from);
        assert!(matches!(copy((own_pid(), 8), (own_pid(), target), 64), Err(CopyFault::Source(_))));
        assert!(matches!(copy((own_pid(), source), (own_pid(), 8), 64), Err(CopyFault::Target(_))));
        let gone = copy((0, source), (own_pid(), target), 64).expect_err("there is no process 0");
        assert!(matches!(gone, CopyFault::Source(DmaFault { errno: libc::ESRCH, .. })), "{gone}");
    }

    #[test]
    fn an_atomic_gives_the_earlier_value() {
        let mut word = 40u64;
        let address = &raw mut word as u64;
        assert_eq!(update(own_pid(), address, |value| value + 2), Ok(40));
        assert_eq!(word, 42);
    }

    #[test]
    fn a_wrong_address_is_an_error() {
        let fault = read(own_pid(), 8, &mut [0; 4]).expect_err("nothing is mapped there");
        assert_eq!((fault.address, fault.length, fault.errno), (8, 4, libc::EFAULT));
    }
}
