//! The kernel's copy between two processes, by how many blocks go in a call: the limit of transfers between memory that is
//! not shared, such as a heap's.
#![allow(unsafe_code)] // forks, and copies between addresses

use nix::{
    libc,
    sys::{
        signal::{Signal, kill},
        uio::{RemoteIoVec, process_vm_readv, process_vm_writev},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use std::io::{IoSlice, IoSliceMut};

use super::{
    Effort, TrialError,
    figure::{Figure, nanoseconds},
    kernel::{Kernel, Move},
    region::{Backing, Region, is_block},
};
use crate::perf::copy::permutation;

/// Entries of each list of a call; the kernel takes 1024.
const ENTRIES: [usize; 6] = [1, 16, 64, 256, 512, 1024];

/// The driver's.
const DEFAULT: usize = 512;

/// Seconds after which the other process ends by itself.
const LONGEST: libc::c_uint = 120;

/// A process that has what this one had when it was made, and does nothing.
#[derive(Debug)]
struct Other(Pid);

impl Other {
    fn start() -> Result<Self, TrialError> {
        // SAFETY: the child calls nothing but what is safe behind fork in a process with threads.
        match unsafe { fork() }.map_err(TrialError::system("fork"))? {
            ForkResult::Parent { child } => Ok(Self(child)),
            ForkResult::Child => rest(),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It has not been waited for, so that the number is still its.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// The other process: lets go of what it has open, and waits to be killed, by its parent or the clock.
fn rest() -> ! {
    // SAFETY: system calls without memory.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::alarm(LONGEST);
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        loop {
            libc::pause();
        }
    }
}

/// Nanoseconds of a permuted block, by the entries of a call, and of a copy of as much that is mapped here.
pub(super) fn batches(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut figures = Vec::new();
    for (bytes, size) in [(4 << 10, "4 KiB"), (16 << 10, "16 KiB")] {
        let mut there = Region::map(Backing::Anonymous, effort.bytes)?;
        there.number(bytes);
        let other = Other::start()?;
        // From here on the numbered blocks are the other process's alone: these pages are copied for being written.
        there.bytes().fill(0xff);
        let mut here = Region::map(Backing::Anonymous, effort.bytes)?;
        here.bytes().fill(0xee);
        let way = |variant: &str, value: f64| {
            let total = value * (effort.bytes / bytes) as f64 / 1e6;
            let note = format!("{total:.1} ms for {} MiB", effort.bytes >> 20);
            Figure::new(&format!("blocks of {size}, two processes"), variant, value, "ns").noting(note)
        };
        for entries in ENTRIES {
            let value = read(effort, (&other, &there), &mut here, (bytes, entries))?;
            let variant = format!("process_vm_readv of {entries}");
            figures.push(way(&variant, value).default_if(entries == DEFAULT));
        }
        let value = write(effort, (&other, &there), &mut here, (bytes, DEFAULT))?;
        figures.push(way(&format!("process_vm_writev of {DEFAULT}"), value));
        figures.push(way("memcpy, mapped here", copied(effort, &mut there, &mut here, bytes)?));
    }
    Ok(figures)
}

/// Where a permutation's blocks are in the other process: the same addresses as here.
fn remote(region: &Region, blocks: usize, bytes: usize) -> Vec<RemoteIoVec> {
    let base = region.base().addr();
    permutation(blocks)
        .into_iter()
        .map(|place| RemoteIoVec { base: base + place * bytes, len: bytes })
        .collect()
}

/// Nanoseconds of a block that is read; `here` has the other's blocks in a permutation's order afterwards.
fn read(
    effort: Effort,
    (other, there): (&Other, &Region),
    here: &mut Region,
    (bytes, entries): (usize, usize),
) -> Result<f64, TrialError> {
    let blocks = effort.bytes / bytes;
    let remote = remote(there, blocks, bytes);
    here.bytes().fill(0xee);
    let mut local: Vec<IoSliceMut<'_>> = here.bytes().chunks_exact_mut(bytes).map(IoSliceMut::new).collect();
    let value = nanoseconds(effort, || {
        for (local, remote) in local.chunks_mut(entries).zip(remote.chunks(entries)) {
            let moved = process_vm_readv(other.0, local, remote);
            whole(moved.map_err(TrialError::system("process_vm_readv"))?, remote)?;
        }
        Ok(())
    })?;
    drop(local);
    let order = permutation(blocks);
    let mut arrived = here.bytes().chunks_exact(bytes).zip(&order);
    if !arrived.all(|(block, number)| is_block(block, *number)) {
        return Err(TrialError::Corrupt { what: format!("process_vm_readv of {entries}") });
    }
    Ok(value / blocks as f64)
}

/// Nanoseconds of a block that is written. The other's memory is read back and compared.
fn write(
    effort: Effort,
    (other, there): (&Other, &Region),
    here: &mut Region,
    (bytes, entries): (usize, usize),
) -> Result<f64, TrialError> {
    let blocks = effort.bytes / bytes;
    let remote = remote(there, blocks, bytes);
    let order = permutation(blocks);
    here.number(bytes);
    let base = here.bytes();
    let local: Vec<IoSlice<'_>> = base.chunks_exact(bytes).map(IoSlice::new).collect();
    let value = nanoseconds(effort, || {
        for (local, remote) in local.chunks(entries).zip(remote.chunks(entries)) {
            let moved = process_vm_writev(other.0, local, remote);
            whole(moved.map_err(TrialError::system("process_vm_writev"))?, remote)?;
        }
        Ok(())
    })?;
    let mut block = vec![0; bytes];
    for (number, place) in order.into_iter().enumerate() {
        let from = [RemoteIoVec { base: there.base().addr() + place * bytes, len: bytes }];
        let moved = process_vm_readv(other.0, &mut [IoSliceMut::new(&mut block)], &from);
        whole(moved.map_err(TrialError::system("process_vm_readv"))?, &from)?;
        if !is_block(&block, number) {
            return Err(TrialError::Corrupt { what: format!("process_vm_writev of {entries}") });
        }
    }
    Ok(value / blocks as f64)
}

/// Nanoseconds of a block that a memcpy reads from a permutation's places in `there`.
fn copied(effort: Effort, there: &mut Region, here: &mut Region, bytes: usize) -> Result<f64, TrialError> {
    there.number(bytes);
    let order = permutation(effort.bytes / bytes);
    let each = |(place, number): (usize, &usize)| Move {
        from: there.base().wrapping_add(number * bytes).cast_const(),
        to: here.base().wrapping_add(place * bytes),
    };
    let moves: Vec<Move> = order.iter().enumerate().map(each).collect();
    // SAFETY: every processor has memcpy; blocks lie within two mappings of whole pages.
    let value = nanoseconds(effort, || unsafe {
        Kernel::Memcpy.copy(&moves, bytes);
        Ok(())
    })?;
    if !here.bytes().chunks_exact(bytes).zip(&order).all(|(block, number)| is_block(block, *number)) {
        return Err(TrialError::Corrupt { what: "memcpy".to_owned() });
    }
    Ok(value / order.len() as f64)
}

/// A call that moved less than it was asked to has met an address that is not mapped.
fn whole(moved: usize, asked: &[RemoteIoVec]) -> Result<(), TrialError> {
    if moved == asked.iter().map(|entry| entry.len).sum::<usize>() {
        return Ok(());
    }
    Err(TrialError::Corrupt { what: "a call that moved less than asked".to_owned() })
}
