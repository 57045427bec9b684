//! Why something was refused. The stand-ins translate it into codes of their runtimes.

use thiserror::Error;

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FakeError {
    /// The device has no room.
    #[error("no room for {wanted} bytes, {left} are left")]
    OutOfMemory {
        /// What was asked for.
        wanted: u64,
        /// What there is.
        left: u64,
    },
    /// An argument that cannot be: no bytes, an address beyond the last, a null pointer.
    #[error("{what} cannot be")]
    Invalid {
        /// Which.
        what: &'static str,
    },
    /// No such device.
    #[error("there is no device {device}")]
    NoDevice {
        /// Its number.
        device: u32,
    },
    /// Nothing is known at the address.
    #[error("{address:#x} was not allocated here")]
    Unknown {
        /// The address.
        address: u64,
    },
    /// Memory that was freed. Misuse.
    #[error("{address:#x} was freed")]
    Freed {
        /// The address.
        address: u64,
    },
    /// Memory of another kind or another device than the call is for.
    #[error("{address:#x} is not the memory that it is taken for")]
    WrongOwner {
        /// The address.
        address: u64,
    },
    /// A range that goes on beyond its allocation. Misuse.
    #[error("{length} bytes at {address:#x}, where {left} are left of the allocation")]
    OutOfBounds {
        /// First byte.
        address: u64,
        /// Bytes of the range.
        length: u64,
        /// Bytes that the allocation has from there.
        left: u64,
    },
    /// A stream or an event that is not there. Misuse if it was there once.
    #[error("there is no {what} {handle:#x}")]
    NoHandle {
        /// `stream` or `event`.
        what: &'static str,
        /// What was passed.
        handle: usize,
    },
    /// The process that shares the memory has ended or freed it.
    #[error("what is shared is there no more")]
    Gone,
    /// Memory that was mapped and that no device may touch yet. Misuse.
    #[error("{address:#x} was mapped, and no device has access to it")]
    NoAccess {
        /// The address.
        address: u64,
    },
    /// The range is page-locked already.
    #[error("{address:#x} is registered already")]
    Registered {
        /// First byte.
        address: u64,
    },
}

impl FakeError {
    /// Whether a device would have gone on and done harm.
    #[must_use]
    pub const fn is_misuse(&self) -> bool {
        matches!(self, Self::Freed { .. } | Self::OutOfBounds { .. } | Self::NoAccess { .. })
    }
}
