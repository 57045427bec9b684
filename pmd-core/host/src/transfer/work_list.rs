//! The plan of a transfer: which bytes go where, in the fewest work requests.
//!
//! Built once by the planner above (keys and block tables become pieces), then posted any number of times by lanes.

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey, Sge};

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
    entries: Vec<Entry>,
    sges: Vec<Sge>,
    bytes: u64,
    widest: u16,
}

impl WorkList {
    /// Which way the bytes go.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The work requests, in the order of the pieces they were made of.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The local pieces of all entries.
    #[must_use]
    pub fn sges(&self) -> &[Sge] {
        &self.sges
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

    /// The local pieces of one entry of this list.
    #[inline]
    #[must_use]
    pub fn local(&self, entry: &Entry) -> &[Sge] {
        let first = entry.first_sge as usize;
        &self.sges[first..first + usize::from(entry.sge_count)]
    }
}

impl Entry {
    /// Where the entry lands in the peer.
    #[must_use]
    pub const fn remote_address(&self) -> RemoteAddress {
        RemoteAddress { address: self.remote, key: self.rkey }
    }
}

/// Makes a [`WorkList`] of pieces, merging neighbours as they come.
///
/// A piece that continues the one before it locally and remotely becomes part of it. One that continues remotely only
/// is gathered into the same work request, as far as the limits allow. Anything else starts a new work request.
#[derive(Debug)]
pub struct WorkListBuilder {
    entries: Vec<Entry>,
    sges: Vec<Sge>,
    bytes: u64,
    limits: WorkListLimits,
    direction: Direction,
    widest: u16,
}

impl WorkListBuilder {
    /// An empty list. Limits outside of their range are brought into it.
    #[must_use]
    pub fn new(direction: Direction, limits: WorkListLimits) -> Self {
        Self::with_capacity(direction, limits, 0)
    }

    /// As [`WorkListBuilder::new`], with room for `pieces` pushes that do not merge: then no push allocates.
    #[must_use]
    pub fn with_capacity(direction: Direction, limits: WorkListLimits, pieces: usize) -> Self {
        let limits = WorkListLimits {
            max_sges: limits.max_sges.max(1),
            max_message: limits.max_message.clamp(1, WorkListLimits::LARGEST_MESSAGE),
        };
        Self {
            entries: Vec::with_capacity(pieces),
            sges: Vec::with_capacity(pieces),
            bytes: 0,
            limits,
            direction,
            widest: 0,
        }
    }

    /// Adds the bytes of `local`, which are to come from or go to the same number of bytes at `remote`.
    #[inline]
    pub fn push(&mut self, mut local: LocalPiece, mut remote: RemoteAddress) {
        self.bytes += local.length;
        while local.length > 0 {
            let room = self.room_after(&local, remote);
            let continues = room > 0;
            let limit = if continues { room } else { self.limits.max_message };
            let taken = local.length.min(u64::from(limit)) as u32;
            if continues {
                self.extend(&local, taken);
            } else {
                self.start(&local, remote, taken);
            }
            local.address = local.address.wrapping_add(u64::from(taken));
            local.length -= u64::from(taken);
            remote.address = remote.address.wrapping_add(u64::from(taken));
        }
    }

    /// Work requests so far.
    #[must_use]
    pub const fn work_requests(&self) -> usize {
        self.entries.len()
    }

    /// The finished list.
    #[must_use]
    pub fn finish(self) -> WorkList {
        let Self { entries, sges, bytes, direction, widest, .. } = self;
        WorkList { direction, entries, sges, bytes, widest }
    }

    /// Bytes that can go into the last work request because they continue it; 0 when they do not.
    #[inline]
    fn room_after(&self, local: &LocalPiece, remote: RemoteAddress) -> u32 {
        let Some(last) = self.entries.last() else { return 0 };
        let continues_remotely =
            last.rkey == remote.key && last.remote.wrapping_add(u64::from(last.length)) == remote.address;
        if !continues_remotely || last.sge_count == self.limits.max_sges && !self.continues_locally(local) {
            return 0;
        }
        self.limits.max_message - last.length
    }

    #[inline]
    fn continues_locally(&self, local: &LocalPiece) -> bool {
        self.sges.last().is_some_and(|last| {
            last.key == local.key && last.address.wrapping_add(u64::from(last.length)) == local.address
        })
    }

    /// Adds `taken` bytes to the last work request.
    #[inline]
    fn extend(&mut self, local: &LocalPiece, taken: u32) {
        let merges = self.continues_locally(local);
        let (Some(entry), Some(sge)) = (self.entries.last_mut(), self.sges.last_mut()) else { return };
        entry.length += taken;
        if merges {
            sge.length += taken;
        } else {
            entry.sge_count += 1;
            self.widest = self.widest.max(entry.sge_count);
            self.sges.push(Sge { address: local.address, length: taken, key: local.key });
        }
    }

    /// Starts a work request of `taken` bytes.
    #[inline]
    fn start(&mut self, local: &LocalPiece, remote: RemoteAddress, taken: u32) {
        self.entries.push(Entry {
            remote: remote.address,
            rkey: remote.key,
            first_sge: self.sges.len() as u32,
            length: taken,
            sge_count: 1,
        });
        self.widest = self.widest.max(1);
        self.sges.push(Sge { address: local.address, length: taken, key: local.key });
    }
}
