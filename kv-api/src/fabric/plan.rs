//! From descriptors to work requests, and from those to a transfer.

use std::{sync::Arc, time::Instant};

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::{
    endpoint::Peer,
    transfer::{
        Direction, KeepAlive, LocalPiece, Notification, Transfer, TransferOptions, WorkList, WorkListBuilder,
    },
};

use super::{Fabric, FabricError, Segment};

/// One contiguous piece of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// First byte in this process.
    pub local: u64,
    /// First byte in the peer's.
    pub remote: u64,
    /// Bytes; zero is skipped.
    pub length: u64,
}

/// A planned transfer: addresses have become keys and work requests. Posting it costs nothing per descriptor before the
/// lane takes it, and each posting is a transfer of its own. It holds the segments of this process that it uses.
#[derive(Clone, Debug)]
pub struct Plan {
    peer: Peer,
    work: Arc<WorkList>,
    segments: Arc<[Segment]>,
}

/// How a plan is posted.
#[derive(Clone, Debug, Default)]
pub struct PostOptions {
    /// Sent to the peer's [`Handler::message`](super::Handler::message) once every byte is in place (write) or read.
    pub notify: Option<Vec<u8>>,
    /// Number beside the notification.
    pub immediate: Option<u32>,
    /// The transfer is given up when it is not done by then.
    pub deadline: Option<Instant>,
}

impl Plan {
    pub(super) fn new(
        fabric: &Fabric,
        peer: &Peer,
        direction: Direction,
        descriptors: &[Descriptor],
        mut remote_segment: impl FnMut(u64, u64) -> Result<Option<(u64, u64, RemoteKey)>, FabricError>,
    ) -> Result<Self, FabricError> {
        let mut local_side = LocalSide { fabric, peer, segments: Vec::new(), last: None };
        let mut remote_side: Option<(u64, u64, RemoteKey)> = None;
        let limits = peer.route().limits();
        let mut work = WorkListBuilder::with_capacity(direction, limits, descriptors.len());
        for (index, descriptor) in descriptors.iter().enumerate().filter(|(_, piece)| piece.length > 0) {
            let Descriptor { local, remote, length } = *descriptor;
            let local_key = local_side.key(index, local, length)?;
            // Neighbours in a list are neighbours in memory more often than not.
            let found = match remote_side {
                Some((start, end, key)) if holds(start, end, remote, length) => Some((start, end, key)),
                _ => remote_segment(remote, length)?,
            };
            let Some((_, _, key)) = found else {
                return Err(FabricError::Remote { index, address: remote, length });
            };
            remote_side = found;
            let piece = LocalPiece { address: local, length, key: local_key };
            work.push(piece, RemoteAddress { address: remote, key });
        }
        Ok(Self { peer: peer.clone(), work: Arc::new(work.finish()), segments: local_side.into_segments() })
    }

    /// Hands the transfer to the lane and returns at once; waits only while the lane's ring is full.
    ///
    /// # Errors
    /// [`FabricError::Submit`].
    pub fn post(&self, options: PostOptions) -> Result<Transfer, FabricError> {
        let PostOptions { notify, immediate, deadline } = options;
        let notify = notify.map(|bytes| Notification { bytes, immediate });
        let keep_alive = Some(KeepAlive(Arc::new(Arc::clone(&self.segments))));
        let options = TransferOptions { notify, deadline, keep_alive, ..TransferOptions::default() };
        Ok(self.peer.route().submit_waiting(&self.work, options, deadline)?)
    }

    /// The peer that it goes to or comes from.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Bytes that it moves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.work.bytes()
    }

    /// Work requests that the descriptors were merged into.
    #[must_use]
    pub fn work_requests(&self) -> usize {
        self.work.entries().len()
    }
}

/// Finds this process's keys, and keeps the segments that they belong to.
struct LocalSide<'a> {
    fabric: &'a Fabric,
    peer: &'a Peer,
    segments: Vec<Segment>,
    last: Option<(u64, u64, LocalKey)>,
}

impl LocalSide<'_> {
    fn key(&mut self, index: usize, address: u64, length: u64) -> Result<LocalKey, FabricError> {
        if let Some((start, end, key)) = self.last
            && holds(start, end, address, length)
        {
            return Ok(key);
        }
        let segment = self.fabric.segment(address, length);
        let segment = segment.ok_or(FabricError::Local { index, address, length })?;
        let transport = self.peer.transport();
        let missing = FabricError::NotRegistered { index, address: segment.address(), transport };
        let key = segment.local_key(transport).ok_or(missing)?;
        self.last = Some((segment.address(), segment.address() + segment.length(), key));
        self.segments.push(segment);
        Ok(key)
    }

    fn into_segments(mut self) -> Arc<[Segment]> {
        self.segments.sort_unstable_by_key(Segment::id);
        self.segments.dedup_by_key(|segment| segment.id());
        self.segments.into()
    }
}

fn holds(start: u64, end: u64, address: u64, length: u64) -> bool {
    start <= address && address.checked_add(length).is_some_and(|last| last <= end)
}
