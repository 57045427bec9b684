//! Registered memory as both seams see it: keys, access rights, scatter-gather entries, and how an accelerator
//! describes memory to the registrar.
//!
//! Accelerator crates *describe* (implement [`RegionSource`]), `pmd-host` *registers* (turns a description into
//! keys), queue pairs *use* (put the keys into work-queue entries). Nothing here owns memory.

mod source;

pub use source::{MemoryKind, RegionDescription, RegionSource};

use bitflags::bitflags;

bitflags! {
    /// What a registered region may be used for. Bit values are those of `enum ibv_access_flags`.
    ///
    /// Local reading is always allowed. Remote writing and atomics need [`Access::LOCAL_WRITE`] as well
    /// (InfiniBand architecture 10.6.3.1), which registration checks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Access: u32 {
        /// The device may write here on behalf of its own process: receives, the results of reads and atomics.
        const LOCAL_WRITE = 1;
        /// A peer may write here.
        const REMOTE_WRITE = 1 << 1;
        /// A peer may read here.
        const REMOTE_READ = 1 << 2;
        /// A peer may run 8-byte atomics here.
        const REMOTE_ATOMIC = 1 << 3;
    }
}

impl Access {
    /// Everything but atomics: what a cache that is pulled from and pushed into needs.
    pub const READ_WRITE: Self = Self::LOCAL_WRITE.union(Self::REMOTE_WRITE).union(Self::REMOTE_READ);

    /// Whether the combination may be registered: a peer may only change what the device may write.
    #[must_use]
    pub const fn is_consistent(self) -> bool {
        let changed_by_peer = self.intersects(Self::REMOTE_WRITE.union(Self::REMOTE_ATOMIC));
        !changed_by_peer || self.contains(Self::LOCAL_WRITE)
    }
}

/// Key that this process puts beside its own addresses (lkey). Means nothing to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct LocalKey(pub u32);

/// Key that a peer puts beside addresses of this process (rkey). Grants what the region's [`Access`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct RemoteKey(pub u32);

/// Scatter-gather entry: `length` bytes at `address` of this process, under `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct Sge {
    /// Virtual address in this process.
    pub address: u64,
    /// Bytes; at most 2^31. Zero-length entries are skipped (on the wire zero would mean 2 GiB).
    pub length: u32,
    /// Key of the region that holds the bytes.
    pub key: LocalKey,
}

/// Where a one-sided operation lands in the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct RemoteAddress {
    /// Virtual address in the peer's process.
    pub address: u64,
    /// Key that the peer handed out for the region.
    pub key: RemoteKey,
}
