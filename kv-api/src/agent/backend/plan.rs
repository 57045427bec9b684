//! From pairs of descriptors to work requests: checked against both sides' registrations, one pass.

use std::{collections::HashMap, ptr, sync::Arc, time::Duration};

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::{
    endpoint::Peer,
    transfer::{Direction, LocalPiece, WorkList},
};

use super::{Registration, RemoteRegistration, connection::Remote};
use crate::{
    agent::{
        AgentError, Side,
        prepared::{Ranks, Scratch},
    },
    fabric::{
        Fabric, FabricError, SegmentId,
        order::{Numbers, Order, Piece, Places, gather},
    },
};

/// One piece of this process's memory in a transfer.
#[derive(Clone, Copy, Debug)]
pub struct LocalDescriptor<'a> {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// The registration that holds all of them.
    pub registration: &'a Registration,
}

/// One piece of a remote agent's memory in a transfer.
#[derive(Clone, Copy, Debug)]
pub struct RemoteDescriptor<'a> {
    /// First byte, in that agent's process.
    pub address: u64,
    /// Bytes; as many as in the local descriptor of the pair.
    pub length: u64,
    /// The registration that holds all of them.
    pub registration: &'a RemoteRegistration,
}

/// Pairs of descriptors, each by its number, the same whenever it is asked for.
pub trait Pairs<'a> {
    /// How many there are.
    fn count(&self) -> usize;

    /// A pair, by a number below [`Pairs::count`].
    fn pair(&self, index: usize) -> (LocalDescriptor<'a>, RemoteDescriptor<'a>);

    /// The remote half's address and bytes alone.
    #[inline]
    fn place(&self, index: usize) -> (u64, u64) {
        let (_, RemoteDescriptor { address, length, .. }) = self.pair(index);
        (address, length)
    }

    /// Calls `visit` with each of the pairs that have these numbers, and its position among them; ends at the first error.
    ///
    /// # Errors
    /// What `visit` says.
    #[inline]
    fn each(
        &self,
        numbers: &Numbers<'_>,
        _scratch: &mut Scratch,
        mut visit: impl FnMut(usize, &LocalDescriptor<'a>, &RemoteDescriptor<'a>) -> Result<(), AgentError>,
    ) -> Result<(), AgentError> {
        (0..numbers.count()).try_for_each(|position| {
            let (local, remote) = self.pair(numbers.at(position));
            visit(position, &local, &remote)
        })
    }

    /// Ranks of the remote halves, where they are known without sorting.
    fn ranks(&self) -> Option<Ranks<'_>> {
        None
    }
}

impl<'a, F: Fn(usize) -> (LocalDescriptor<'a>, RemoteDescriptor<'a>)> Pairs<'a> for (usize, F) {
    fn count(&self) -> usize {
        self.0
    }

    #[inline]
    fn pair(&self, index: usize) -> (LocalDescriptor<'a>, RemoteDescriptor<'a>) {
        self.1(index)
    }
}

/// What is posted, any number of times.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) work: Arc<WorkList>,
    /// Each once.
    pub(super) registrations: Box<[Registration]>,
    pub(super) extents: Extents,
    /// Descriptors in the order of the work requests, where that is not their own.
    order: Option<Order>,
}

/// Bytes of each descriptor, in the order of the work requests.
#[derive(Debug)]
pub(super) enum Extents {
    /// All the same.
    Uniform { length: u64, count: usize },
    /// Where each one ends when they are laid end to end.
    Ends(Vec<u64>),
}

impl Plan {
    pub(super) fn new<'a>(
        side: &RemoteSide<'_>,
        direction: Direction,
        pairs: &impl Pairs<'a>,
    ) -> Result<Self, AgentError> {
        let count = pairs.count();
        if count == 0 {
            return Err(AgentError::Empty);
        }
        let kind = (direction, side.peer.route().limits());
        let mut keys = Keys::new(side);
        let mut scratch = Scratch::default();
        let pieces = |numbers: Numbers<'_>, into: &mut Vec<Piece>| {
            pairs.each(&numbers, &mut scratch, |position, local, remote| {
                let (piece, there) = keys.piece(|| numbers.at(position), local, remote)?;
                into.push(Piece::new(piece, there));
                Ok(())
            })
        };
        let mut extents = Extents::Uniform { length: 0, count: 0 };
        let note = |length, times| extents.add(length, times);
        let ranks = pairs.ranks().map(|ranks| (move |index| ranks.of(index), ranks.below()));
        let places = Places { count, place: |index| pairs.place(index), ranks };
        let (work, order) = gather(side.fabric.spares(), kind, &places, pieces, note)?;
        let registrations = keys.local.into_registrations();
        Ok(Self { work: Arc::new(work), registrations, extents, order })
    }

    /// Places of the descriptors behind the first so many of the work requests' order, in their own order.
    pub(super) fn behind(&self, count: usize) -> Vec<usize> {
        let all = self.extents.count();
        match &self.order {
            None => (count.min(all)..all).collect(),
            Some(order) => {
                let mut behind: Vec<usize> = order.iter().skip(count).map(|index| *index as usize).collect();
                behind.sort_unstable();
                behind
            }
        }
    }
}

/// Whose memory the remote descriptors are in.
pub(super) struct RemoteSide<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) remote: &'a Arc<Remote>,
    pub(super) peer: &'a Peer,
    pub(super) patience: Duration,
}

/// The keys of both sides.
struct Keys<'a, 'b> {
    local: LocalKeys<'a, 'b>,
    remote: RemoteKeys<'a, 'b>,
}

impl<'a, 'b> Keys<'a, 'b> {
    fn new(side: &'b RemoteSide<'b>) -> Self {
        let local = LocalKeys { side, used: Vec::new(), last: None };
        Self { local, remote: RemoteKeys { side, last: None, recent: [None; RECENT], known: HashMap::new() } }
    }

    /// `index` is the pair's, for errors.
    #[inline]
    fn piece(
        &mut self,
        index: impl Fn() -> usize + Copy,
        local: &LocalDescriptor<'a>,
        remote: &RemoteDescriptor<'a>,
    ) -> Result<(LocalPiece, RemoteAddress), AgentError> {
        let LocalDescriptor { address, length, .. } = *local;
        if length != remote.length {
            return Err(AgentError::LengthMismatch { index: index(), local: length, remote: remote.length });
        }
        let piece = LocalPiece { address, length, key: self.local.key(index, local)? };
        let key = self.remote.key(index, remote)?;
        Ok((piece, RemoteAddress { address: remote.address, key }))
    }
}

/// This process's keys, and which registrations they came from.
struct LocalKeys<'a, 'b> {
    side: &'b RemoteSide<'b>,
    used: Vec<&'a Registration>,
    last: Option<(&'a Registration, LocalKey)>,
}

impl<'a> LocalKeys<'a, '_> {
    #[inline]
    fn key(
        &mut self,
        index: impl Fn() -> usize,
        descriptor: &LocalDescriptor<'a>,
    ) -> Result<LocalKey, AgentError> {
        let LocalDescriptor { address, length, registration } = *descriptor;
        if !registration.holds(address, length) {
            return Err(AgentError::NotRegistered { side: Side::Local, index: index(), address, length });
        }
        match self.last {
            Some((last, key)) if ptr::eq(last, registration) => Ok(key),
            _ => self.look_up(index(), registration),
        }
    }

    fn look_up(&mut self, index: usize, registration: &'a Registration) -> Result<LocalKey, AgentError> {
        let transport = self.side.peer.transport();
        let address = registration.address();
        let missing = || FabricError::NotRegistered { index, address, transport };
        let key = registration.key(transport).ok_or_else(missing)?;
        self.last = Some((registration, key));
        self.used.push(registration);
        Ok(key)
    }

    fn into_registrations(mut self) -> Box<[Registration]> {
        self.used.sort_unstable_by_key(|registration| registration.id());
        self.used.dedup_by(|one, other| one.is(other));
        self.used.into_iter().cloned().collect()
    }
}

/// Keys that were met lately, by the number of their registration.
const RECENT: usize = 64;

/// The remote agent's keys, each asked for once.
struct RemoteKeys<'a, 'b> {
    side: &'b RemoteSide<'b>,
    last: Option<(&'a RemoteRegistration, RemoteKey)>,
    recent: [Option<(SegmentId, RemoteKey)>; RECENT],
    known: HashMap<SegmentId, RemoteKey>,
}

impl<'a> RemoteKeys<'a, '_> {
    #[inline]
    fn key(
        &mut self,
        index: impl Fn() -> usize,
        descriptor: &RemoteDescriptor<'a>,
    ) -> Result<RemoteKey, AgentError> {
        let RemoteDescriptor { address, length, registration } = *descriptor;
        if !registration.holds(address, length) {
            return Err(AgentError::NotRegistered { side: Side::Remote, index: index(), address, length });
        }
        match self.last {
            Some((last, key)) if ptr::eq(last, registration) => Ok(key),
            _ => self.met_before(registration),
        }
    }

    fn met_before(&mut self, registration: &'a RemoteRegistration) -> Result<RemoteKey, AgentError> {
        let id = registration.id;
        let key = match self.recent[id.0 as usize % RECENT] {
            Some((recent, key)) if recent == id => key,
            _ => self.look_up(registration)?,
        };
        self.last = Some((registration, key));
        Ok(key)
    }

    fn look_up(&mut self, registration: &RemoteRegistration) -> Result<RemoteKey, AgentError> {
        let id = registration.id;
        let key = match self.known.get(&id) {
            Some(key) => *key,
            None => self.ask(registration)?,
        };
        self.known.insert(id, key);
        self.recent[id.0 as usize % RECENT] = Some((id, key));
        Ok(key)
    }

    fn ask(&self, registration: &RemoteRegistration) -> Result<RemoteKey, AgentError> {
        let RemoteSide { fabric, remote, peer, patience } = *self.side;
        if !Arc::ptr_eq(remote, &registration.remote) {
            registration.remote.check()?;
            let (owner, agent) = (registration.agent().to_owned(), remote.agent().to_owned());
            return Err(AgentError::WrongAgent { owner, agent });
        }
        let RemoteRegistration { address, length, .. } = *registration;
        let found = fabric.remote_segment(peer, registration.id, patience)?;
        // Numbers are never used twice: a segment that has this one is this one.
        let key = found.filter(|(start, end, _)| *start == address && *end == address.saturating_add(length));
        key.map(|(_, _, key)| key).ok_or(AgentError::Deregistered { side: Side::Remote, address })
    }
}

impl Extents {
    /// Adds so many descriptors of so many bytes each.
    fn add(&mut self, bytes: u64, times: usize) {
        match self {
            Self::Uniform { length, count } if *length == bytes => *count += times,
            Self::Uniform { count: 0, .. } => *self = Self::Uniform { length: bytes, count: times },
            _ if times == 0 => {}
            Self::Uniform { length, count } => {
                let mut ends: Vec<u64> = (1..=*count as u64).map(|index| index * *length).collect();
                extend(&mut ends, bytes, times);
                *self = Self::Ends(ends);
            }
            Self::Ends(ends) => extend(ends, bytes, times),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Uniform { count, .. } => *count,
            Self::Ends(ends) => ends.len(),
        }
    }

    /// How many descriptors lie within the first so many bytes.
    pub(super) fn within(&self, bytes: u64) -> usize {
        match self {
            Self::Uniform { length: 0, count } => *count,
            Self::Uniform { length, count } => ((bytes / length) as usize).min(*count),
            Self::Ends(ends) => ends.partition_point(|end| *end <= bytes),
        }
    }
}

/// Where so many more end, of so many bytes each.
fn extend(ends: &mut Vec<u64>, bytes: u64, times: usize) {
    let last = ends.last().copied().unwrap_or(0);
    ends.extend((1..=times as u64).map(|index| last + index * bytes));
}
