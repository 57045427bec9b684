//! From descriptors to work requests, and from those to a transfer.

use std::{sync::Arc, time::Instant};

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::{
    endpoint::Peer,
    transfer::{Direction, KeepAlive, LocalPiece, Notification, Transfer, TransferOptions, WorkList},
};

use super::{
    Fabric, FabricError, Segment,
    found::Found,
    order::{NoRanks, Numbers, Piece, Places, gather},
};

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
        remote_segment: impl FnMut(u64, u64) -> Result<Option<(u64, u64, RemoteKey)>, FabricError>,
    ) -> Result<Self, FabricError> {
        let spares = &fabric.shared.spares;
        let mut local = LocalSide { fabric, peer, segments: Vec::new(), found: Found::default() };
        let mut remote = RemoteSide { segment: remote_segment, found: Found::default() };
        let kind = (direction, peer.route().limits());
        let place = |index: usize| (descriptors[index].remote, descriptors[index].length);
        let places = Places { count: descriptors.len(), place, ranks: None::<(NoRanks, usize)> };
        let mut piece = |index: usize| {
            let Descriptor { local: address, remote: there, length } = descriptors[index];
            // No bytes have no keys, and no place in the list.
            let (lkey, rkey) = match length {
                0 => (LocalKey(0), RemoteKey(0)),
                _ => (local.key(index, address, length)?, remote.key(index, there, length)?),
            };
            let there = RemoteAddress { address: there, key: rkey };
            Ok::<_, FabricError>(Piece::new(LocalPiece { address, length, key: lkey }, there))
        };
        let pieces = |numbers: Numbers<'_>, into: &mut Vec<Piece>| {
            (0..numbers.count()).try_for_each(|position| {
                into.push(piece(numbers.at(position))?);
                Ok::<_, FabricError>(())
            })
        };
        let (work, _) = gather(spares, kind, &places, pieces, |_, _| {})?;
        Ok(Self { peer: peer.clone(), work: Arc::new(work), segments: local.into_segments() })
    }

    /// Hands the transfer to the lane, or to the rails to the peer where it is large and there are some, and returns at once;
    /// waits only while the lane's ring is full.
    ///
    /// # Errors
    /// [`FabricError::Submit`].
    pub fn post(&self, options: PostOptions) -> Result<Transfer, FabricError> {
        let PostOptions { notify, immediate, deadline } = options;
        let notify = notify.map(|bytes| Notification { bytes, immediate });
        let keep_alive = Some(KeepAlive(Arc::new(Arc::clone(&self.segments))));
        let options = TransferOptions { notify, deadline, keep_alive, ..TransferOptions::default() };
        Ok(self.peer.submit(&self.work, options, deadline)?)
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
    found: Found<LocalKey>,
}

impl LocalSide<'_> {
    #[inline]
    fn key(&mut self, index: usize, address: u64, length: u64) -> Result<LocalKey, FabricError> {
        match self.found.value(address, length) {
            Some(key) => Ok(key),
            None => self.look_up(index, address, length),
        }
    }

    #[cold]
    fn look_up(&mut self, index: usize, address: u64, length: u64) -> Result<LocalKey, FabricError> {
        let segment = self.fabric.segment(address, length);
        let segment = segment.ok_or(FabricError::Local { index, address, length })?;
        let transport = self.peer.transport();
        let missing = FabricError::NotRegistered { index, address: segment.address(), transport };
        let key = segment.local_key(transport).ok_or(missing)?;
        self.found.insert(segment.address(), segment.address() + segment.length(), key);
        self.segments.push(segment);
        Ok(key)
    }

    fn into_segments(mut self) -> Arc<[Segment]> {
        self.segments.sort_unstable_by_key(Segment::id);
        self.segments.dedup_by_key(|segment| segment.id());
        self.segments.into()
    }
}

/// Finds the peer's keys.
struct RemoteSide<F> {
    segment: F,
    found: Found<RemoteKey>,
}

impl<F: FnMut(u64, u64) -> Result<Option<(u64, u64, RemoteKey)>, FabricError>> RemoteSide<F> {
    #[inline]
    fn key(&mut self, index: usize, address: u64, length: u64) -> Result<RemoteKey, FabricError> {
        match self.found.value(address, length) {
            Some(key) => Ok(key),
            None => self.look_up(index, address, length),
        }
    }

    #[cold]
    fn look_up(&mut self, index: usize, address: u64, length: u64) -> Result<RemoteKey, FabricError> {
        let found = (self.segment)(address, length)?;
        let (start, end, key) = found.ok_or(FabricError::Remote { index, address, length })?;
        self.found.insert(start, end, key);
        Ok(key)
    }
}
