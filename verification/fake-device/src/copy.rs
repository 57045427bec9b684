//! Copies, fills and words: checked when they are asked for, done at once or by a stream.
#![allow(unsafe_code)] // copies between plain addresses

use std::{
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use crate::memory::{Owner, Place};

/// Which way a copy goes, where the program says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Within the host.
    HostToHost,
    /// From the host to a device.
    HostToDevice,
    /// From a device to the host.
    DeviceToHost,
    /// Between devices or within one.
    DeviceToDevice,
}

impl Direction {
    /// Whether an address of this owner may be at this end.
    pub(crate) fn allows(self, writes: bool, owner: Option<Owner>) -> bool {
        let device = match self {
            Self::HostToHost => false,
            Self::HostToDevice => writes,
            Self::DeviceToHost => !writes,
            Self::DeviceToDevice => true,
        };
        match owner {
            Some(Owner::Device(_) | Owner::Imported(_) | Owner::Mapped(_)) => device,
            Some(Owner::Managed(_)) => true,
            Some(Owner::Pinned | Owner::Registered) | None => !device,
        }
    }
}

/// A copy that was checked; its memory stays mapped until it has run or is dropped.
#[derive(Debug)]
pub struct PreparedCopy {
    pub(crate) to: Place,
    pub(crate) from: Place,
    pub(crate) length: u64,
}

impl PreparedCopy {
    /// Copies. The program has promised that its own memory is mapped until then.
    pub fn run(self) {
        let (from, to) = (self.from.pointer as *const u8, self.to.pointer as *mut u8);
        // SAFETY: both ranges were checked where they are known here and are held; the rest is the program's promise.
        unsafe { ptr::copy(from, to, self.length as usize) };
    }
}

/// A fill that was checked.
#[derive(Debug)]
pub struct PreparedFill {
    pub(crate) to: Place,
    pub(crate) pattern: Vec<u8>,
    pub(crate) times: u64,
}

impl PreparedFill {
    /// Writes the pattern again and again.
    pub fn run(self) {
        let width = self.pattern.len();
        for index in 0..self.times as usize {
            let to = (self.to.pointer + index * width) as *mut u8;
            // SAFETY: as for a copy.
            unsafe { ptr::copy_nonoverlapping(self.pattern.as_ptr(), to, width) };
        }
    }
}

/// A word of 32 or 64 bits that streams write and wait for.
#[derive(Debug)]
pub struct Word {
    pub(crate) place: Place,
    pub(crate) wide: bool,
}

impl Word {
    /// Its value now.
    #[must_use]
    pub fn load(&self) -> u64 {
        if self.wide {
            // SAFETY: checked to be mapped and aligned, and held.
            unsafe { AtomicU64::from_ptr(self.place.pointer as *mut u64) }.load(Ordering::Acquire)
        } else {
            // SAFETY: checked to be mapped and aligned, and held.
            unsafe { AtomicU32::from_ptr(self.place.pointer as *mut u32) }.load(Ordering::Acquire).into()
        }
    }

    /// Sets its value; of a 32-bit word the lower half.
    pub fn store(&self, value: u64) {
        if self.wide {
            // SAFETY: checked to be mapped and aligned, and held.
            unsafe { AtomicU64::from_ptr(self.place.pointer as *mut u64) }.store(value, Ordering::Release);
        } else {
            // SAFETY: checked to be mapped and aligned, and held.
            unsafe { AtomicU32::from_ptr(self.place.pointer as *mut u32) }
                .store(value as u32, Ordering::Release);
        }
    }
}
