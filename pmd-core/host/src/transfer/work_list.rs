//! The plan of a transfer: which bytes go where, in the fewest work requests.
//!
//! Built once by the planner above (keys and block tables become pieces), then posted any number of times by lanes.

use std::ops::Range;

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey, Sge};

use super::{Lent, Spare};

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer's memory into this process (RDMA READ).
    Read,
    /// From this process into the peer's memory (RDMA WRITE).
    Write,
}

/// One contiguous piece of this process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalPiece {
    /// First byte.
    pub address: u64,
    /// Bytes; any number, zero is skipped.
    pub length: u64,
    /// Key of the region that holds all of them.
    pub key: LocalKey,
}

/// One work request of a list: `length` bytes at `remote`, gathered from or scattered to `sge_count` local pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte in the peer.
    pub remote: u64,
    /// Key of the peer's region.
    pub rkey: RemoteKey,
    /// Index of the first local piece in [`WorkList::sges`].
    pub first_sge: u32,
    /// Bytes of all pieces together.
    pub length: u32,
    /// Local pieces.
    pub sge_count: u16,
}

/// Limits of a work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkListLimits {
    /// Local pieces per work request; at least 1, what the queue pair was created with.
    pub max_sges: u16,
    /// Bytes per work request, 1 to 2^31. The default of 8 MiB, the largest message of soft-RoCE, costs nothing in
    /// speed, lets a large piece spread over several queue pairs and lets a cancel take effect between two of its
    /// parts.
    pub max_message: u32,
}

impl WorkListLimits {
    /// Largest message of InfiniBand and RoCE: 2^31 bytes.
    pub const LARGEST_MESSAGE: u32 = 1 << 31;
}

impl Default for WorkListLimits {
    fn default() -> Self {
        Self { max_sges: 30, max_message: 8 << 20 }
    }
}

/// The planned one-sided work of a transfer. Immutable: shared by [`Arc`](std::sync::Arc), it can be submitted
/// any number of times, to several routes at once if the keys allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkList {
    direction: Direction,
    buffers: Lent<WorkBuffers>,
    bytes: u64,
    widest: u16,
}

/// Memory of a work list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkBuffers {
    pub(super) entries: Vec<Entry>,
    pub(super) sges: Vec<Sge>,
}

impl WorkList {
    pub(super) const fn new(
        direction: Direction,
        buffers: Lent<WorkBuffers>,
        bytes: u64,
        widest: u16,
    ) -> Self {
        Self { direction, buffers, bytes, widest }
    }

    /// Which way the bytes go.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The work requests, in the order of the pieces they were made of.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.buffers.entries
    }

    /// The local pieces of all entries.
    #[must_use]
    pub fn sges(&self) -> &[Sge] {
        &self.buffers.sges
    }

    /// Bytes that the whole list moves.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Local pieces of the entry that has most of them.
    #[must_use]
    pub const fn widest(&self) -> u16 {
        self.widest
    }

    /// The plan of some of its entries, by their places.
    pub(crate) fn part(&self, places: Range<usize>) -> Self {
        let entries = &self.entries()[places];
        let first = entries.first().map_or(0, |entry| entry.first_sge);
        let end = entries.last().map_or(0, |entry| entry.first_sge + u32::from(entry.sge_count));
        let moved = entries.iter().map(|entry| Entry { first_sge: entry.first_sge - first, ..*entry });
        let buffers = WorkBuffers {
            entries: moved.collect(),
            sges: self.sges()[first as usize..end as usize].to_vec(),
        };
        let bytes = entries.iter().map(|entry| u64::from(entry.length)).sum();
        let widest = entries.iter().map(|entry| entry.sge_count).max().unwrap_or(0);
        Self { direction: self.direction, buffers: Lent::own(buffers), bytes, widest }
    }

    /// The same work under other keys, where there is one for each.
    pub(crate) fn with_keys(
        mut self,
        local: impl Fn(LocalKey) -> Option<LocalKey>,
        remote: impl Fn(RemoteKey) -> Option<RemoteKey>,
    ) -> Option<Self> {
        let WorkBuffers { entries, sges } = &mut *self.buffers;
        for entry in entries {
            entry.rkey = remote(entry.rkey)?;
        }
        for sge in sges {
            sge.key = local(sge.key)?;
        }
        Some(self)
    }

    /// The local pieces of one entry of this list.
    #[inline]
    #[must_use]
    pub fn local(&self, entry: &Entry) -> &[Sge] {
        let first = entry.first_sge as usize;
        &self.buffers.sges[first..first + usize::from(entry.sge_count)]
    }
}

impl Entry {
    /// Where the entry lands in the peer.
    #[must_use]
    pub const fn remote_address(&self) -> RemoteAddress {
        RemoteAddress { address: self.remote, key: self.rkey }
    }
}

impl Spare for WorkBuffers {
    fn empty(&mut self) {
        self.entries.clear();
        self.sges.clear();
    }

    fn bytes(&self) -> usize {
        self.entries.bytes() + self.sges.bytes()
    }
}
