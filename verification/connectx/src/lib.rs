//! A simulated ConnectX: preloaded into a process, it shows Debian's unmodified libibverbs and libmlx5 (and with
//! them every verbs program, and our own driver) a device `mlx5_0` that is not there.
//!
//! ```text
//!   verbs program, perftest, pmd-host's mlx5 and verbs back ends
//!        |  libibverbs + libmlx5, as Debian ships them
//!        |        open, ioctl, write, mmap, close           stores to a UAR page
//!   shim/     the C library's functions, interposed              |
//!   kernel/   uverbs commands: contexts, PDs, MRs, CQs, QPs      |
//!        |                                                    uar/    TRAP, STEP or a thread: sees the stores
//!   state/    tables of all objects, one file, one robust mutex  |
//!        +-----------------------+-------------------------------+
//!                             device/   reads WQEs, moves bytes, writes CQEs, raises events
//!                               |  lint/    what a driver must never do: reported loudly, fatal
//!                               |  fault/   what a fabric may do: dropped, delayed, refused
//!                             dma       own memory, or another process's
//! ```
//! The state is a file shared by all processes that open the device: any of them runs the device when it rings a
//! doorbell, for all of them. WQEs and CQEs are decoded and encoded with [`pmd_core::wire`], the driver's own module;
//! what keeps that honest is the byte comparison with libmlx5, whose WQEs this device executes as well.
//!
//! Called by: `connectx-preload`, a library of its own that gives [`shim`]'s functions their C names, and that
//! `verification -- connectx` preloads. Where no state file is named in the environment every interposed function passes
//! through.
#![warn(missing_docs)]

pub mod config;
pub mod device;
pub mod dma;
pub mod errno;
pub mod fault;
pub mod kernel;
pub mod lint;
pub mod port;
pub mod shim;
pub mod state;
pub mod uar;
