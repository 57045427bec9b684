//! From pairs of descriptors to work requests: checked against both sides' registrations, one pass.

use std::{collections::HashMap, ptr, sync::Arc, time::Duration};

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::{
    endpoint::Peer,
    transfer::{Direction, LocalPiece, WorkList, WorkListBuilder},
};

use super::{Registration, RemoteRegistration, connection::Remote};
use crate::{
    agent::{AgentError, Side},
    fabric::{Fabric, FabricError, SegmentId},
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

/// What is posted, any number of times.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) work: Arc<WorkList>,
    /// Each once.
    pub(super) registrations: Box<[Registration]>,
    pub(super) extents: Extents,
    /// Descriptors in the order of the work requests, where that is not their own.
    order: Option<Box<[u32]>>,
}

/// Fewer descriptors than these are not worth an order of their own.
const FEW: usize = 32;

/// Nor are descriptors that are longer than this on average: each is a work request worth having.
const LONG: u64 = 64 << 10;

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
        pairs: impl Iterator<Item = (LocalDescriptor<'a>, RemoteDescriptor<'a>)>,
    ) -> Result<Self, AgentError> {
        let mut pieces: Vec<Piece> = Vec::with_capacity(pairs.size_hint().0);
        let mut local_keys = LocalKeys { side, used: Vec::new(), last: None };
        let mut remote_keys = RemoteKeys { side, recent: [None; RECENT], known: HashMap::new() };
        for (index, (local, remote)) in pairs.enumerate() {
            if local.length != remote.length {
                return Err(AgentError::LengthMismatch { index, local: local.length, remote: remote.length });
            }
            let key = local_keys.key(index, &local)?;
            let key_there = remote_keys.key(index, &remote)?;
            let piece = LocalPiece { address: local.address, length: local.length, key };
            pieces.push((piece, RemoteAddress { address: remote.address, key: key_there }));
        }
        if pieces.is_empty() {
            return Err(AgentError::Empty);
        }
        let registrations = local_keys.into_registrations();
        let order = by_remote_address(&pieces);
        let mut list = WorkListBuilder::with_capacity(direction, side.peer.route().limits(), pieces.len());
        let mut extents = Extents::Uniform { length: 0, count: 0 };
        let mut push = |(piece, remote): Piece| {
            list.push(piece, remote);
            extents.add(piece.length);
        };
        match &order {
            Some(order) => order.iter().for_each(|index| push(pieces[*index as usize])),
            None => pieces.into_iter().for_each(push),
        }
        Ok(Self { work: Arc::new(list.finish()), registrations, extents, order })
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

/// What a descriptor's pair became.
type Piece = (LocalPiece, RemoteAddress);

/// The order of the remote agent's memory, if it differs from the one given and there is something to win: neighbours
/// there are gathered into one work request.
fn by_remote_address(pieces: &[Piece]) -> Option<Box<[u32]>> {
    let bytes: u64 = pieces.iter().map(|(piece, _)| piece.length).fold(0, u64::saturating_add);
    let count = u32::try_from(pieces.len()).ok()?;
    let ascends = || pieces.is_sorted_by_key(|(_, remote)| remote.address);
    if pieces.len() < FEW || bytes / u64::from(count) > LONG || ascends() {
        return None;
    }
    let mut order: Vec<(u64, u32)> = pieces.iter().map(|(_, remote)| remote.address).zip(0..count).collect();
    order.sort_unstable();
    Some(order.into_iter().map(|(_, index)| index).collect())
}

/// Whose memory the remote descriptors are in.
pub(super) struct RemoteSide<'a> {
    pub(super) fabric: &'a Fabric,
    pub(super) remote: &'a Arc<Remote>,
    pub(super) peer: &'a Peer,
    pub(super) patience: Duration,
}

/// This process's keys, and which registrations they came from.
struct LocalKeys<'a, 'b> {
    side: &'b RemoteSide<'b>,
    used: Vec<&'a Registration>,
    last: Option<(&'a Registration, LocalKey)>,
}

impl<'a> LocalKeys<'a, '_> {
    #[inline]
    fn key(&mut self, index: usize, descriptor: &LocalDescriptor<'a>) -> Result<LocalKey, AgentError> {
        let LocalDescriptor { address, length, registration } = *descriptor;
        if !registration.holds(address, length) {
            return Err(AgentError::NotRegistered { side: Side::Local, index, address, length });
        }
        match self.last {
            Some((last, key)) if ptr::eq(last, registration) => Ok(key),
            _ => self.look_up(index, registration),
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
struct RemoteKeys<'b> {
    side: &'b RemoteSide<'b>,
    recent: [Option<(SegmentId, RemoteKey)>; RECENT],
    known: HashMap<SegmentId, RemoteKey>,
}

impl RemoteKeys<'_> {
    #[inline]
    fn key(&mut self, index: usize, descriptor: &RemoteDescriptor<'_>) -> Result<RemoteKey, AgentError> {
        let RemoteDescriptor { address, length, registration } = *descriptor;
        if !registration.holds(address, length) {
            return Err(AgentError::NotRegistered { side: Side::Remote, index, address, length });
        }
        let id = registration.id;
        match self.recent[id.0 as usize % RECENT] {
            Some((recent, key)) if recent == id => Ok(key),
            _ => self.look_up(registration),
        }
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
    #[inline]
    fn add(&mut self, bytes: u64) {
        match self {
            Self::Uniform { count: 0, .. } => *self = Self::Uniform { length: bytes, count: 1 },
            Self::Uniform { length, count } if *length == bytes => *count += 1,
            Self::Uniform { length, count } => {
                let mut ends: Vec<u64> = (1..=*count as u64).map(|index| index * *length).collect();
                ends.push(*count as u64 * *length + bytes);
                *self = Self::Ends(ends);
            }
            Self::Ends(ends) => ends.push(ends.last().copied().unwrap_or(0) + bytes),
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
