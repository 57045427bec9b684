//! User-mode instructions of this thread, where the kernel lets it count (perf_event_open(2)).
#![allow(unsafe_code)] // the C library has no wrapper for the call

use std::{
    fs::File,
    io::Read,
    os::fd::{FromRawFd, RawFd},
};

/// `PERF_TYPE_HARDWARE`.
const HARDWARE: u32 = 0;
/// `PERF_COUNT_HW_INSTRUCTIONS`.
const COUNT_INSTRUCTIONS: u64 = 1;
/// Bits of `struct perf_event_attr`: neither kernel nor hypervisor.
const EXCLUDE_KERNEL_AND_HYPERVISOR: u64 = 1 << 5 | 1 << 6;

/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 1 << 3;

/// The first published version of `struct perf_event_attr` (64 bytes), which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wake_up: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

const _: () = assert!(size_of::<Attributes>() == 64);

/// A counter that runs from when it is opened.
#[derive(Debug)]
pub(super) struct Instructions(File);

impl Instructions {
    /// Opens the counter; `None` where it is not permitted or the machine has none.
    pub(super) fn open() -> Option<Self> {
        let attributes = Attributes {
            kind: HARDWARE,
            size: size_of::<Attributes>() as u32,
            config: COUNT_INSTRUCTIONS,
            flags: EXCLUDE_KERNEL_AND_HYPERVISOR,
            ..Attributes::default()
        };
        let (this_thread, any_core, no_group) = (0, -1, -1);
        // SAFETY: the kernel reads the 64 bytes whose size they state, and writes nothing.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                this_thread,
                any_core,
                no_group,
                CLOSE_ON_EXEC,
            )
        };
        let descriptor = RawFd::try_from(opened).ok().filter(|descriptor| *descriptor >= 0)?;
        // SAFETY: the kernel has just given this descriptor to us and to nobody else.
        Some(Self(unsafe { File::from_raw_fd(descriptor) }))
    }

    /// Instructions so far.
    pub(super) fn count(&self) -> Option<u64> {
        let mut value = [0; 8];
        (&self.0).read_exact(&mut value).ok()?;
        Some(u64::from_ne_bytes(value))
    }
}
