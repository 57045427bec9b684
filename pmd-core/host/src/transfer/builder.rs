//! From pieces to work requests, in one pass and a few nanoseconds a piece. Called by the planners above.

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey, Sge};

use super::{Direction, Entry, Lent, LocalPiece, Spares, WorkList, WorkListLimits, work_list::WorkBuffers};

/// Makes a [`WorkList`] of pieces, merging neighbours as they come.
///
/// A piece that continues the one before it locally and remotely becomes part of it. One that continues remotely only
/// is gathered into the same work request, as far as the limits allow. Anything else starts a new work request.
///
/// Many pieces are added faster by [`Extend::extend`] than one by one.
#[derive(Debug)]
pub struct WorkListBuilder {
    buffers: Lent<WorkBuffers>,
    open: Open,
    bytes: u64,
    direction: Direction,
    widest: u16,
}

/// The last work request, which pieces may be added to still. A plain value, so that a loop has it in registers.
#[derive(Clone, Copy, Debug)]
struct Open {
    remote: u64,
    rkey: RemoteKey,
    first_sge: u32,
    length: u32,
    /// Bytes that can be added; 0 before the first piece.
    room: u32,
    /// Local pieces, the last of them included; 0 before the first.
    sge_count: u16,
    limits: WorkListLimits,
    /// The last local piece; the others are in the list.
    last: Sge,
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
        Self::with_buffers(Lent::own(WorkBuffers::default()), direction, limits, pieces)
    }

    /// As [`WorkListBuilder::with_capacity`], in memory of a list that was dropped. When this one's list is dropped, its
    /// memory goes back to `spares`.
    #[must_use]
    pub fn reusing(
        spares: &Spares<WorkBuffers>,
        direction: Direction,
        limits: WorkListLimits,
        pieces: usize,
    ) -> Self {
        Self::with_buffers(spares.take(), direction, limits, pieces)
    }

    fn with_buffers(
        mut buffers: Lent<WorkBuffers>,
        direction: Direction,
        limits: WorkListLimits,
        pieces: usize,
    ) -> Self {
        let limits = WorkListLimits {
            max_sges: limits.max_sges.max(1),
            max_message: limits.max_message.clamp(1, WorkListLimits::LARGEST_MESSAGE),
        };
        buffers.entries.reserve_exact(pieces);
        buffers.sges.reserve_exact(pieces);
        Self { buffers, open: Open::nothing(limits), bytes: 0, direction, widest: 0 }
    }

    /// Adds the bytes of `local`, which are to come from or go to the same number of bytes at `remote`.
    #[inline]
    pub fn push(&mut self, local: LocalPiece, remote: RemoteAddress) {
        self.extend([(local, remote)]);
    }

    /// Work requests so far.
    #[must_use]
    pub fn work_requests(&self) -> usize {
        self.buffers.entries.len() + usize::from(self.open.sge_count > 0)
    }

    /// The finished list.
    #[must_use]
    pub fn finish(mut self) -> WorkList {
        self.close(self.open);
        let Self { buffers, bytes, direction, widest, .. } = self;
        WorkList::new(direction, buffers, bytes, widest)
    }

    /// Adds a piece that does not go into the open work request as it is, or not whole. Returns what is open then.
    #[inline(never)]
    fn add(&mut self, mut open: Open, mut local: LocalPiece, mut remote: RemoteAddress) -> Open {
        while local.length > 0 {
            let continues = open.continues(&local, remote);
            let room = if continues { open.room } else { open.limits.max_message };
            let taken = local.length.min(u64::from(room)) as u32;
            let part = LocalPiece { length: u64::from(taken), ..local };
            if !continues {
                self.close(open);
                open = open.next(&part, remote, self.buffers.sges.len());
            } else {
                open.take(&part, remote, &mut self.buffers.sges);
            }
            local.address = local.address.wrapping_add(u64::from(taken));
            local.length -= u64::from(taken);
            remote.address = remote.address.wrapping_add(u64::from(taken));
        }
        open
    }

    fn close(&mut self, open: Open) {
        let Open { remote, rkey, first_sge, length, sge_count, last, .. } = open;
        if sge_count > 0 {
            self.widest = self.widest.max(sge_count);
            self.buffers.sges.push(last);
            self.buffers.entries.push(Entry { remote, rkey, first_sge, length, sge_count });
        }
    }
}

impl Extend<(LocalPiece, RemoteAddress)> for WorkListBuilder {
    #[inline]
    fn extend<I: IntoIterator<Item = (LocalPiece, RemoteAddress)>>(&mut self, pieces: I) {
        let (mut open, mut bytes) = (self.open, 0);
        pieces.into_iter().for_each(|(local, remote)| {
            bytes += local.length;
            if !open.take(&local, remote, &mut self.buffers.sges) {
                open = self.add(open, local, remote);
            }
        });
        self.open = open;
        self.bytes += bytes;
    }
}

impl Open {
    const fn nothing(limits: WorkListLimits) -> Self {
        let last = Sge { address: 0, length: 0, key: LocalKey(0) };
        let rkey = RemoteKey(0);
        Self { remote: 0, rkey, first_sge: 0, length: 0, room: 0, sge_count: 0, limits, last }
    }

    /// A work request of this piece, which fits.
    const fn next(&self, local: &LocalPiece, remote: RemoteAddress, first_sge: usize) -> Self {
        let length = local.length as u32;
        Self {
            remote: remote.address,
            rkey: remote.key,
            first_sge: first_sge as u32,
            length,
            room: self.limits.max_message - length,
            sge_count: 1,
            limits: self.limits,
            last: Sge { address: local.address, length, key: local.key },
        }
    }

    /// Adds a piece if all of it goes into this work request.
    #[inline]
    fn take(&mut self, local: &LocalPiece, remote: RemoteAddress, sges: &mut Vec<Sge>) -> bool {
        // No bytes at all wrap, and do not fit either.
        let fits = local.length.wrapping_sub(1) < u64::from(self.room);
        if !fits || !self.continues_remotely(remote) {
            return false;
        }
        let length = local.length as u32;
        if self.continues_locally(local) {
            self.last.length += length;
        } else if self.sge_count < self.limits.max_sges {
            sges.push(self.last);
            self.last = Sge { address: local.address, length, key: local.key };
            self.sge_count += 1;
        } else {
            return false;
        }
        self.length += length;
        self.room -= length;
        true
    }

    /// Whether the first bytes of a piece go into this work request.
    fn continues(&self, local: &LocalPiece, remote: RemoteAddress) -> bool {
        let takes = self.sge_count < self.limits.max_sges || self.continues_locally(local);
        self.room > 0 && takes && self.continues_remotely(remote)
    }

    #[inline]
    fn continues_remotely(&self, remote: RemoteAddress) -> bool {
        self.rkey == remote.key && self.remote.wrapping_add(u64::from(self.length)) == remote.address
    }

    #[inline]
    fn continues_locally(&self, local: &LocalPiece) -> bool {
        self.last.key == local.key
            && self.last.address.wrapping_add(u64::from(self.last.length)) == local.address
    }
}
