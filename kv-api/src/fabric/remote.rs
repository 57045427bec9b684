//! A peer's segments: asked for when an address is met that is not known, forgotten when the peer says so.

use std::{
    collections::BTreeSet,
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
    /// Look-ups that have asked the peer and not yet learned from its answer.
    asking: usize,
    /// Numbers that were told gone meanwhile: an answer that was on its way may still list them.
    gone: BTreeSet<u64>,
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
        let after = self.known().ask();
        let news = news(peer, after, patience);
        let mut known = self.known();
        known.hear(news)?;
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

    /// The number after which there may be news. What the peer says from here on is to be [heard](Known::hear).
    fn ask(&mut self) -> u64 {
        self.asking += 1;
        self.newest
    }

    /// Learns from an answer, or that there is none.
    fn hear(&mut self, news: Result<Vec<Facts>, FabricError>) -> Result<(), FabricError> {
        let learned = news.map(|news| news.into_iter().for_each(|facts| self.learn(&facts)));
        self.asking -= 1;
        if self.asking == 0 {
            self.gone.clear();
        }
        learned
    }

    fn learn(&mut self, Facts(number, address, length, key): &Facts) {
        self.newest = self.newest.max(*number);
        if !self.gone.contains(number) {
            self.segments.insert(*number, *address, *length, RemoteKey(*key));
        }
    }

    /// An answer that is asked for later does not list it any more.
    fn forget(&mut self, number: u64) {
        self.segments.remove(number);
        if self.asking > 0 {
            self.gone.insert(number);
        }
    }
}

/// What the peer registered after the number.
fn news(peer: &Peer, after: u64, patience: Duration) -> Result<Vec<Facts>, FabricError> {
    let answer = peer.request(SEGMENTS, after.to_le_bytes().to_vec(), patience)?;
    postcard::from_bytes(&answer).map_err(|_| FabricError::Malformed { length: answer.len() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(number: u64) -> Facts {
        Facts(number, 4096 * number, 4096, number as u32)
    }

    fn knows(known: &Known, number: u64) -> bool {
        known.find(4096 * number, 4096).is_some()
    }

    #[test]
    fn what_went_while_its_answer_was_on_the_way_is_not_learned() {
        let mut known = Known::default();
        assert_eq!(known.ask(), 0);
        known.forget(2);
        known.hear(Ok(vec![facts(1), facts(2)])).expect("an answer");
        assert!(knows(&known, 1) && !knows(&known, 2));
        assert_eq!(known.ask(), 2);
    }

    #[test]
    fn an_answer_that_comes_after_anothers_brings_nothing_back() {
        let mut known = Known::default();
        let both = [known.ask(), known.ask()];
        assert_eq!(both, [0, 0]);
        known.hear(Ok(vec![facts(1)])).expect("an answer");
        known.forget(1);
        known.hear(Ok(vec![facts(1)])).expect("an answer");
        assert!(!knows(&known, 1));
    }

    #[test]
    fn nothing_is_kept_of_what_comes_and_goes() {
        let mut known = Known::default();
        (0..1000).for_each(|number| known.forget(number));
        assert!(known.gone.is_empty());
        known.ask();
        (0..1000).for_each(|number| known.forget(number));
        assert_eq!(known.gone.len(), 1000);
        let error = known.hear(Err(FabricError::Malformed { length: 1 })).expect_err("no answer");
        assert!(matches!(error, FabricError::Malformed { length: 1 }));
        assert!(known.gone.is_empty());
    }
}
