//! What kept a work request from memory of an accelerator: what is missing, and where.
//!
//! The soft HCA tells it in the vendor's byte of the completion, beside the syndrome that a NIC would give; lanes make
//! [`TransferError::Device`](super::TransferError::Device) and
//! [`RouteFault::Device`](super::RouteFault::Device) of it.

use pmd_core::accelerator::AcceleratorKind;
use thiserror::Error;

/// Why a work request with memory of an accelerator on a side was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum DeviceFault {
    /// The peer's memory is of a device that this process has not opened, or not told its endpoint of.
    #[error(
        "the peer's memory is on a {kind} device that this endpoint does not drive: open that device here and name it in \
         soft::DeviceConfig::accelerators"
    )]
    NoAccelerator {
        /// The runtime that it takes.
        kind: AcceleratorKind,
    },
    /// The accelerator of this process did not open what the peer shares.
    #[error(
        "{kind} did not open the memory that the peer shares: the peer has freed it, or the runtime lets this process \
         not in (both must see the device, in one IPC namespace)"
    )]
    NotOpened {
        /// The runtime that was asked.
        kind: AcceleratorKind,
    },
    /// The peer takes the memory back, or never said how it is opened.
    #[error("the peer does not share the memory any more, or runs another version")]
    NotShared,
    /// Memory of two runtimes, between which no stream copies.
    #[error(
        "this side's memory is {here}'s, the peer's {there}'s: no stream copies between them, go through the host"
    )]
    OtherRuntime {
        /// This side's runtime.
        here: AcceleratorKind,
        /// The peer's.
        there: AcceleratorKind,
    },
    /// The memory of the host on the other side can be reached by packets only, which streams do not fill.
    #[error(
        "the peer's host memory cannot be copied from here: take it from an arena, or permit process_vm_readv between the \
         processes (kernel.yama.ptrace_scope, one user)"
    )]
    HostOutOfReach,
    /// The stream or its runtime failed, or the device's context is gone; the next request gets a new stream.
    #[error("the accelerator's stream failed: look for an earlier error of a kernel or copy on that device")]
    Stream,
    /// There is no pinned memory of the host to go through.
    #[error(
        "no pinned memory to stage in: raise the limit of locked memory (ulimit -l), or free some of the host's"
    )]
    NoStaging,
    /// The memory was deregistered while the request was on its way.
    #[error("the device memory was deregistered before the request was done")]
    Deregistered,
}

const KINDS: [AcceleratorKind; 4] =
    [AcceleratorKind::Cpu, AcceleratorKind::Cuda, AcceleratorKind::Rocm, AcceleratorKind::Ascend];

/// First of the vendor's bytes that stand for a fault; 16 more are pairs of runtimes.
mod code {
    pub(super) const NO_ACCELERATOR: u8 = 0x80;
    pub(super) const NOT_OPENED: u8 = 0x84;
    pub(super) const OTHER_RUNTIME: u8 = 0x90;
    pub(super) const NOT_SHARED: u8 = 0xa0;
    pub(super) const HOST_OUT_OF_REACH: u8 = 0xa1;
    pub(super) const STREAM: u8 = 0xa2;
    pub(super) const NO_STAGING: u8 = 0xa3;
    pub(super) const DEREGISTERED: u8 = 0xa4;
}

impl DeviceFault {
    /// As the soft HCA's vendor byte has it.
    #[must_use]
    pub const fn to_vendor(self) -> u8 {
        match self {
            Self::NoAccelerator { kind } => code::NO_ACCELERATOR + index(kind),
            Self::NotOpened { kind } => code::NOT_OPENED + index(kind),
            Self::OtherRuntime { here, there } => code::OTHER_RUNTIME + 4 * index(here) + index(there),
            Self::NotShared => code::NOT_SHARED,
            Self::HostOutOfReach => code::HOST_OUT_OF_REACH,
            Self::Stream => code::STREAM,
            Self::NoStaging => code::NO_STAGING,
            Self::Deregistered => code::DEREGISTERED,
        }
    }

    /// What a vendor's byte of the soft HCA stands for; `None` for every other.
    #[must_use]
    pub const fn from_vendor(vendor: u8) -> Option<Self> {
        let kind = KINDS[(vendor & 3) as usize];
        match vendor {
            0x80..=0x83 => Some(Self::NoAccelerator { kind }),
            0x84..=0x87 => Some(Self::NotOpened { kind }),
            0x90..=0x9f => {
                let here = KINDS[(vendor >> 2 & 3) as usize];
                Some(Self::OtherRuntime { here, there: kind })
            }
            code::NOT_SHARED => Some(Self::NotShared),
            code::HOST_OUT_OF_REACH => Some(Self::HostOutOfReach),
            code::STREAM => Some(Self::Stream),
            code::NO_STAGING => Some(Self::NoStaging),
            code::DEREGISTERED => Some(Self::Deregistered),
            _ => None,
        }
    }
}

const fn index(kind: AcceleratorKind) -> u8 {
    match kind {
        AcceleratorKind::Cuda => 1,
        AcceleratorKind::Rocm => 2,
        AcceleratorKind::Ascend => 3,
        // The only one left; a later one would be told as this.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendors_byte_is_one_fault_or_none() {
        let mut found = 0;
        for vendor in 0..=u8::MAX {
            let Some(fault) = DeviceFault::from_vendor(vendor) else { continue };
            assert_eq!(fault.to_vendor(), vendor, "{fault:?}");
            found += 1;
        }
        assert_eq!(found, 4 + 4 + 16 + 5);
        assert_eq!(DeviceFault::from_vendor(0), None);
    }
}
