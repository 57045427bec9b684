//! A transfer as its bundle has it: its chunks, its notification, and what it owes.

use std::collections::VecDeque;

use super::{RailId, RailSet, Request};
use crate::transfer::{Direction, Priority};

/// A transfer that has not ended.
#[derive(Debug)]
pub(super) struct Progress<F> {
    pub(super) direction: Direction,
    pub(super) priority: Priority,
    pub(super) near: RailSet,
    pub(super) notice: Notice,
    /// Times that the notification came back.
    pub(super) doubts: u32,
    /// Why it is to end without all of its bytes.
    pub(super) failure: Option<F>,
    chunks: Vec<Chunk>,
    /// First chunk that was never posted.
    fresh: u32,
    /// Chunks that came back and go again, before fresh ones.
    again: VecDeque<u32>,
    /// Bytes of chunks that wait.
    waiting: u64,
    /// Chunks that are on rails.
    in_hand: u32,
    landed: u32,
    landed_bytes: u64,
    /// Chunks from the first on that have landed.
    prefix: u32,
    /// Rails that may hold stragglers at the peer.
    owed: Vec<RailId>,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    bytes: u64,
    place: Place,
    returns: u32,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    On(RailId),
    Landed,
}

/// Where a notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// There is none.
    None,
    /// It waits for the chunks.
    Wanted,
    /// It is on its way.
    Sent { rail: RailId, sequence: u64 },
    /// The rail that it was on is lost; whether the peer has it is not known.
    Unsure { sequence: u64 },
    /// The peer's device has it.
    Done,
}

impl<F> Progress<F> {
    pub(super) fn new(request: &Request<'_>) -> Self {
        let chunk = |bytes: &u64| Chunk { bytes: *bytes, place: Place::Waiting, returns: 0 };
        Self {
            direction: request.direction,
            priority: request.priority,
            near: request.near,
            notice: if request.notify { Notice::Wanted } else { Notice::None },
            doubts: 0,
            failure: None,
            chunks: request.chunks.iter().map(chunk).collect(),
            fresh: 0,
            again: VecDeque::new(),
            waiting: request.chunks.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)),
            in_hand: 0,
            landed: 0,
            landed_bytes: 0,
            prefix: 0,
            owed: Vec::new(),
        }
    }

    /// The chunk that goes next, and its bytes.
    pub(super) fn next(&self) -> Option<(u32, u64)> {
        if self.failure.is_some() {
            return None;
        }
        let index = self.again.front().copied().unwrap_or(self.fresh);
        self.chunks.get(index as usize).map(|chunk| (index, chunk.bytes))
    }

    /// The chunk that goes next is on a rail now.
    pub(super) fn post(&mut self, rail: RailId) {
        let index = self.again.pop_front().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        });
        if let Some(chunk) = self.chunks.get_mut(index as usize) {
            chunk.place = Place::On(rail);
            self.waiting = self.waiting.saturating_sub(chunk.bytes);
            self.in_hand += 1;
        }
    }

    /// A chunk has landed. Returns its bytes, or nothing if it was not on this rail.
    pub(super) fn land(&mut self, index: u32, rail: RailId) -> Option<u64> {
        let bytes = self.take_off(index, rail, Place::Landed)?;
        self.landed += 1;
        self.landed_bytes += bytes;
        let landed = |chunk: &Chunk| chunk.place == Place::Landed;
        while self.chunks.get(self.prefix as usize).is_some_and(landed) {
            self.prefix += 1;
        }
        Some(bytes)
    }

    /// A chunk came back unfinished and waits again. Returns its bytes and how often it came back, or nothing if it was not
    /// on this rail.
    pub(super) fn come_back(&mut self, index: u32, rail: RailId) -> Option<(u64, u32)> {
        let bytes = self.take_off(index, rail, Place::Waiting)?;
        let chunk = &mut self.chunks[index as usize];
        chunk.returns += 1;
        self.again.push_back(index);
        Some((bytes, chunk.returns))
    }

    /// A chunk was not posted after all. Returns its bytes, or nothing if it was not on this rail.
    pub(super) fn take_back(&mut self, index: u32, rail: RailId) -> Option<u64> {
        let bytes = self.take_off(index, rail, Place::Waiting)?;
        self.again.push_front(index);
        Some(bytes)
    }

    fn take_off(&mut self, index: u32, rail: RailId, place: Place) -> Option<u64> {
        let chunk = self.chunks.get_mut(index as usize).filter(|chunk| chunk.place == Place::On(rail))?;
        chunk.place = place;
        self.in_hand -= 1;
        if place == Place::Waiting {
            self.waiting = self.waiting.saturating_add(chunk.bytes);
        }
        Some(chunk.bytes)
    }

    /// Bytes that are still to be posted.
    pub(super) const fn waiting(&self) -> u64 {
        if self.failure.is_some() { 0 } else { self.waiting }
    }

    /// The peer's end of the rail may hold a straggler.
    pub(super) fn owe(&mut self, rail: RailId) {
        if !self.owed.contains(&rail) {
            self.owed.push(rail);
        }
    }

    /// The peer's end of the rail is quiet.
    pub(super) fn settle(&mut self, rail: RailId) {
        self.owed.retain(|owed| *owed != rail);
    }

    /// The peer is gone.
    pub(super) fn settle_all(&mut self) {
        self.owed.clear();
    }

    /// Chunks from the first on that have landed.
    pub(super) const fn landed_prefix(&self) -> u32 {
        self.prefix
    }

    /// What became of it, now that it has ended. A peer that was told that all is there keeps it, whatever came after.
    pub(super) fn outcome(self) -> Result<u64, F> {
        let is_told = self.is_complete() && self.notice == Notice::Done;
        self.failure.filter(|_| !is_told).map_or(Ok(self.landed_bytes), Err)
    }

    /// Whether every chunk has landed.
    pub(super) fn is_complete(&self) -> bool {
        self.landed as usize == self.chunks.len()
    }

    /// Whether nothing of it is anywhere, at either end.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_hand == 0 && self.owed.is_empty() && !matches!(self.notice, Notice::Sent { .. })
    }

    /// Whether something of it was never posted, or came back and is to be posted again.
    pub(super) fn has_unposted(&self) -> bool {
        let chunks = !self.again.is_empty() || (self.fresh as usize) < self.chunks.len();
        chunks || matches!(self.notice, Notice::Wanted | Notice::Unsure { .. })
    }

    /// Whether chunks are on rails.
    pub(super) const fn is_in_hand(&self) -> bool {
        self.in_hand > 0
    }

    /// Whether each chunk is counted where it is.
    #[cfg(test)]
    pub(super) fn adds_up(&self) -> bool {
        let bytes = |is: fn(Place) -> bool| -> u64 {
            self.chunks.iter().filter(|chunk| is(chunk.place)).map(|chunk| chunk.bytes).sum()
        };
        let on = self.on_rails().count();
        bytes(|place| place == Place::Waiting) == self.waiting
            && bytes(|place| place == Place::Landed) == self.landed_bytes
            && on == self.in_hand as usize
    }

    /// Every chunk that is on a rail, and which.
    #[cfg(test)]
    pub(super) fn on_rails(&self) -> impl Iterator<Item = (RailId, u64)> + '_ {
        self.chunks.iter().filter_map(|chunk| match chunk.place {
            Place::On(rail) => Some((rail, chunk.bytes)),
            _ => None,
        })
    }
}
