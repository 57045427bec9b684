//! A peer's segments: asked for when an address is met that is not known, forgotten when the peer says so.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pmd_core::memory::RemoteKey;
use pmd_host::{control::Refusal, endpoint::Peer};

use super::{
    AddressMap, FabricError, SEGMENTS,
    segment::{Facts, Listed},
};

/// What is known of one peer's segments. Numbers grow, so that only news is asked for.
#[derive(Default)]
pub(super) struct RemoteSegments(Mutex<Known>);

#[derive(Default)]
struct Known {
    segments: AddressMap<RemoteKey>,
    /// The highest number heard of.
    newest: u64,
    /// Numbers that were told gone while the answer that lists them was on its way.
    gone: Vec<u64>,
}

impl RemoteSegments {
    /// The segment that holds the range: its first address, its end and its key. Asks the peer for news if there is
    /// none, once.
    pub(super) fn key(
        &self,
        peer: &Peer,
        address: u64,
        length: u64,
        patience: Duration,
    ) -> Result<Option<(u64, u64, RemoteKey)>, FabricError> {
        self.look_up(peer, patience, |known| known.find(address, length))
    }

    /// The segment with this number, as [`RemoteSegments::key`].
    pub(super) fn numbered(
        &self,
        peer: &Peer,
        number: u64,
        patience: Duration,
    ) -> Result<Option<(u64, u64, RemoteKey)>, FabricError> {
        self.look_up(peer, patience, |known| {
            known.segments.get(number).map(|(start, end, key)| (start, end, *key))
        })
    }

    fn look_up<T>(
        &self,
        peer: &Peer,
        patience: Duration,
        find: impl Fn(&Known) -> Option<T>,
    ) -> Result<Option<T>, FabricError> {
        if let Some(found) = find(&self.known()) {
            return Ok(Some(found));
        }
        let after = self.known().newest;
        let answer = peer.request(SEGMENTS, after.to_le_bytes().to_vec(), patience)?;
        let malformed = |_| FabricError::Malformed { length: answer.len() };
        let news: Vec<Facts> = postcard::from_bytes(&answer).map_err(malformed)?;
        let mut known = self.known();
        news.into_iter().for_each(|facts| known.learn(facts));
        Ok(find(&known))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&self, address: u64, length: u64) -> Option<(u64, u64, RemoteKey)> {
        self.segments.covering(address, length).map(|(start, end, key)| (start, end, *key))
    }

    fn learn(&mut self, Facts(number, address, length, key): Facts) {
        self.newest = self.newest.max(number);
        match self.gone.iter().position(|gone| *gone == number) {
            Some(index) => drop(self.gone.swap_remove(index)),
            None => self.segments.insert(number, address, length, RemoteKey(key)),
        }
    }

    fn forget(&mut self, number: u64) {
        if self.segments.remove(number).is_none() && number > self.newest {
            self.gone.push(number);
        }
    }
}

/// Answers [`SEGMENTS`]: what was registered after the number in `body`.
pub(super) fn answer(segments: &AddressMap<Listed>, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let malformed =
        || Refusal { code: MALFORMED, detail: format!("{} bytes instead of a number", body.len()) };
    let after = u64::from_le_bytes(body.try_into().map_err(|_| malformed())?);
    let transport = peer.transport();
    let news: Vec<Facts> = segments
        .iter()
        .filter(|(number, .., listed)| *number > after && listed.is_live())
        .filter_map(|(.., listed)| listed.facts(transport))
        .collect();
    postcard::to_allocvec(&news).map_err(|_| malformed())
}

/// Takes note of [`FORGET`](super::FORGET).
pub(super) fn forget(remote: &RemoteSegments, body: &[u8]) {
    if let Ok(number) = body.try_into() {
        remote.known().forget(u64::from_le_bytes(number));
    }
}

/// Refusal code: the request does not parse.
const MALFORMED: u16 = 1;
