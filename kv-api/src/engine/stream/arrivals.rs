//! The receiving side of streams: which layers have landed, and which never will.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use pmd_host::{control::DownReason, endpoint::Peer};
use thiserror::Error;

use crate::{
    engine::{
        EngineError, Shared,
        failure::{FailureReason, LayerNote},
    },
    planner::BlockSet,
};

/// Layers of streams that nobody expects yet, kept until somebody does; beyond that the oldest are forgotten.
const UNCLAIMED: usize = 1 << 16;

/// What a peer sent right before it went may still be on its way through this side's lane for that long.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Waits for the layers of one stream. Dropping it frees the tag.
pub struct LayerArrivals {
    shared: Arc<Shared>,
    tag: u64,
    peers: Vec<Peer>,
}

/// Why a layer will not land, or has not in time.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A sender's transfer failed: these blocks of the layer are not valid.
    #[error("layer {layer} did not land: {reason}")]
    Lost {
        /// The layer.
        layer: u32,
        /// Whose transfer it was.
        peer: Peer,
        /// Why it failed.
        reason: FailureReason,
        /// Blocks of this side's cache that are not valid.
        blocks: BlockSet,
    },
    /// A sender went down before the layer had landed: none of its blocks is known to be valid.
    #[error("layer {layer} did not land: a sender went down ({reason})")]
    SenderDown {
        /// The layer.
        layer: u32,
        /// Who.
        peer: Peer,
        /// Why it is down.
        reason: DownReason,
    },
    /// It has not landed yet.
    #[error("layer {layer} has not landed within {patience:?}")]
    Timeout {
        /// The layer.
        layer: u32,
        /// For how long was waited.
        patience: Duration,
    },
}

/// What one sender did with one layer.
#[derive(Clone, Debug)]
enum Part {
    Landed,
    Lost(FailureReason, BlockSet),
}

/// Number of a sender's connection, and a layer.
type PartKey = (u64, u32);

/// All streams into one engine.
#[derive(Default)]
pub(in crate::engine) struct Incoming {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    expected: HashMap<u64, HashMap<PartKey, Part>>,
    unclaimed: VecDeque<(u64, PartKey, Part)>,
    /// Of tasks that wait for a layer: all look again whenever something happens.
    wakers: Vec<Waker>,
}

impl Incoming {
    /// A layer has landed. Runs on a lane.
    pub(in crate::engine) fn landed(&self, peer: &Peer, note: LayerNote) {
        self.note(peer, note, Part::Landed);
    }

    /// A layer will not land.
    pub(in crate::engine) fn lost(
        &self,
        peer: &Peer,
        note: LayerNote,
        reason: FailureReason,
        blocks: BlockSet,
    ) {
        // A transfer can be cancelled, or its notification lost, when every byte has moved: then the layer is whole.
        let landed = blocks.is_empty();
        self.note(peer, note, if landed { Part::Landed } else { Part::Lost(reason, blocks) });
    }

    /// Some peer went down: whoever waits for it looks again.
    pub(in crate::engine) fn look_again(&self) {
        // Whoever looked before it was down waits by the time that this has the lock.
        self.wake(self.state());
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(in crate::engine) fn expect(
        shared: &Arc<Shared>,
        tag: u64,
        peers: &[Peer],
    ) -> Result<LayerArrivals, EngineError> {
        let mut state = shared.incoming.state();
        if state.expected.contains_key(&tag) {
            return Err(EngineError::TagTaken { tag });
        }
        let State { expected, unclaimed, .. } = &mut *state;
        let parts = expected.entry(tag).or_default();
        unclaimed.retain(|(of, key, part)| {
            if *of == tag {
                parts.insert(*key, part.clone());
            }
            *of != tag
        });
        drop(state);
        Ok(LayerArrivals { shared: Arc::clone(shared), tag, peers: peers.to_vec() })
    }

    fn note(&self, peer: &Peer, note: LayerNote, part: Part) {
        let key = (peer.connection().number(), note.layer);
        let mut state = self.state();
        match state.expected.get_mut(&note.tag) {
            Some(parts) => {
                parts.insert(key, part);
            }
            None => {
                if state.unclaimed.len() == UNCLAIMED {
                    state.unclaimed.pop_front();
                }
                state.unclaimed.push_back((note.tag, key, part));
            }
        }
        self.wake(state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LayerArrivals {
    /// The stream's tag.
    #[must_use]
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// Whether every sender's part of a layer has landed.
    #[must_use]
    pub fn is_landed(&self, layer: u32) -> bool {
        matches!(self.look(&self.shared.incoming.state(), layer), Ok(true))
    }

    /// Waits until every sender's part of a layer, by its number on this side, has landed.
    ///
    /// # Errors
    /// [`LayerError`]: it never will, or has not within `patience`.
    pub fn wait(&self, layer: u32, patience: Duration) -> Result<(), LayerError> {
        let (begun, mut gone_since) = (Instant::now(), None);
        let mut state = self.shared.incoming.state();
        loop {
            let mut left = patience.saturating_sub(begun.elapsed());
            match self.look(&state, layer) {
                Ok(true) => return Ok(()),
                Ok(false) if left.is_zero() => return Err(LayerError::Timeout { layer, patience }),
                Ok(false) => {}
                Err(error @ LayerError::SenderDown { .. }) => {
                    let since = *gone_since.get_or_insert_with(Instant::now);
                    left = left.min(LAST_WORDS.saturating_sub(since.elapsed()));
                    if left.is_zero() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            let waited = self.shared.incoming.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same for tasks: resolves when [`LayerArrivals::wait`] would return. Who gives up drops it.
    pub const fn landing(&self, layer: u32) -> Landing<'_> {
        Landing { arrivals: self, layer, gone_since: None }
    }

    fn look(&self, state: &State, layer: u32) -> Result<bool, LayerError> {
        let parts = state.expected.get(&self.tag);
        let mut landed = true;
        for peer in &self.peers {
            match parts.and_then(|parts| parts.get(&(peer.connection().number(), layer))) {
                Some(Part::Landed) => {}
                Some(Part::Lost(reason, blocks)) => {
                    let (peer, blocks) = (peer.clone(), blocks.clone());
                    return Err(LayerError::Lost { layer, peer, reason: *reason, blocks });
                }
                None => {
                    landed = false;
                    if let Some(reason) = peer.down_reason() {
                        return Err(LayerError::SenderDown { layer, peer: peer.clone(), reason });
                    }
                }
            }
        }
        Ok(landed)
    }
}

/// Resolves when a layer has landed, or never will: of [`LayerArrivals::landing`].
#[derive(Debug)]
#[must_use = "nothing waits unless it is awaited"]
pub struct Landing<'a> {
    arrivals: &'a LayerArrivals,
    layer: u32,
    /// When a sender was found to be down.
    gone_since: Option<Instant>,
}

impl Future for Landing<'_> {
    type Output = Result<(), LayerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { arrivals, layer, gone_since } = *self;
        let mut state = arrivals.shared.incoming.state();
        match arrivals.look(&state, layer) {
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => {}
            Err(error @ LayerError::SenderDown { .. }) => match gone_since {
                Some(since) if since.elapsed() >= LAST_WORDS => return Poll::Ready(Err(error)),
                Some(_) => {}
                None if look_later(&arrivals.shared).is_ok() => self.gone_since = Some(Instant::now()),
                None => return Poll::Ready(Err(error)),
            },
            Err(error) => return Poll::Ready(Err(error)),
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// Lets tasks look again when a sender's last words are over. That a sender goes is rare enough for a thread.
fn look_later(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    let look = move || {
        // A little longer, so that it is over for all who look.
        thread::sleep(2 * LAST_WORDS);
        if let Some(shared) = shared.upgrade() {
            shared.incoming.look_again();
        }
    };
    thread::Builder::new().name("pmd-last-words".to_owned()).spawn(look).map(drop)
}

impl Drop for LayerArrivals {
    fn drop(&mut self) {
        self.shared.incoming.state().expected.remove(&self.tag);
    }
}

impl fmt::Debug for LayerArrivals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LayerArrivals")
            .field("tag", &self.tag)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}
