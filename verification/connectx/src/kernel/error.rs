//! Why a command is refused, and the error number that says so to the library.

use crate::{dma::DmaFault, errno::Errno};

/// A command that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The request ends before its structure does.
    #[error("request of {found} bytes where {wanted} are needed")]
    Truncated {
        /// Bytes that the structure has.
        wanted: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The words that the header announces are not the bytes that were written.
    #[error("header announces {announced} bytes, {written} were written")]
    WrongLength {
        /// By the header.
        announced: usize,
        /// By the caller.
        written: usize,
    },
    /// A number that this kernel has no command for.
    #[error("no command {number:#x}")]
    UnknownCommand {
        /// The number.
        number: u32,
    },
    /// An object and method that this kernel does not have; the library then tries an older way.
    #[error("no method {method:#x} of object {object:#x}")]
    UnknownMethod {
        /// Object.
        object: u16,
        /// Method.
        method: u16,
    },
    /// An attribute that the method cannot do without.
    #[error("attribute {0:#x} is missing")]
    MissingAttribute(u16),
    /// Something that this device does not do.
    #[error("{0} is not supported by the simulated device")]
    Unsupported(&'static str),
    /// A value out of its range.
    #[error("{what} is invalid: {value:#x}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: u64,
    },
    /// A handle of nothing.
    #[error("no {kind} has handle {handle}")]
    NoObject {
        /// Which kind of object.
        kind: &'static str,
        /// The handle.
        handle: u32,
    },
    /// Other objects need this one.
    #[error("{kind} {handle} is in use")]
    Busy {
        /// Which kind of object.
        kind: &'static str,
        /// Its handle.
        handle: u32,
    },
    /// A table is full.
    #[error("no room for another {0}")]
    Full(&'static str),
    /// The context was made by another process: after fork, children do not own it.
    #[error("the device was opened by another process")]
    NotOwner,
    /// No context was allocated on this descriptor yet, or one was already.
    #[error("not before a context is allocated, nor twice")]
    NoContext,
    /// An address of the caller that is not there.
    #[error(transparent)]
    Fault(#[from] DmaFault),
    /// What the system said.
    #[error(transparent)]
    System(#[from] Errno),
}

impl CommandError {
    /// What `errno` becomes.
    #[must_use]
    pub fn errno(self) -> Errno {
        Errno(match self {
            Self::Truncated { .. } => libc::ENOSPC,
            Self::WrongLength { .. }
            | Self::MissingAttribute(_)
            | Self::Invalid { .. }
            | Self::NoObject { .. }
            | Self::NoContext => libc::EINVAL,
            Self::UnknownCommand { .. } | Self::Unsupported(_) => libc::EOPNOTSUPP,
            Self::UnknownMethod { .. } => libc::EPROTONOSUPPORT,
            Self::Busy { .. } => libc::EBUSY,
            Self::Full(_) => libc::ENOMEM,
            Self::NotOwner => libc::EACCES,
            Self::Fault(_) => libc::EFAULT,
            Self::System(errno) => errno.0,
        })
    }
}
