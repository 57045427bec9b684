//! The sending side of a stream.

use std::{
    mem,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

use pmd_host::transfer::{Outcome, Priority, TransferError};
use thiserror::Error;

use super::sent::Sent;
use crate::engine::{
    CacheTransfer, EngineError, PostOptions, Prepared, TransferId,
    failure::{FailureReason, LayerNote},
    transfer::Failed,
};

/// Tells a stream when a layer may be sent.
pub trait LayerSynchronizer: Send {
    /// Returns once the layer, by its number on the sending side, has been computed: true to send it, false to end the
    /// stream. Called for each layer in turn, on a thread of the stream's own; a panic ends the stream.
    fn synchronize_layer(&mut self, layer: u32) -> bool;
}

impl<F: FnMut(u32) -> bool + Send> LayerSynchronizer for F {
    fn synchronize_layer(&mut self, layer: u32) -> bool {
        self(layer)
    }
}

/// How a stream is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// By which the receiver knows it.
    pub tag: u64,
    /// By when each layer has to be there.
    pub deadline: Option<Instant>,
    /// The turns of its layers among the transfers to the same peer.
    pub priority: Priority,
}

/// Layers that are pushed one by one, each as soon as it is released. Clones are handles to the same stream; when the
/// last one goes, the stream ends: the peer is told of layers that were not released. What is in flight goes on.
#[derive(Clone, Debug)]
pub struct LayerStream(Arc<Handle>);

/// Why a layer was not sent, or not all of them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream has no such layer.
    #[error("the stream has layers {first}..{end}, not {layer}")]
    NoSuchLayer {
        /// Layer asked for.
        layer: u32,
        /// First layer of the stream.
        first: u32,
        /// One past its last.
        end: u32,
    },
    /// The layer was released before.
    #[error("layer {layer} was released before")]
    AlreadyReleased {
        /// The layer.
        layer: u32,
    },
    /// The stream ended before the layer was released.
    #[error("the stream ended before layer {layer} was released")]
    Ended {
        /// The layer.
        layer: u32,
    },
    /// The layer could not be posted.
    #[error("layer {layer} could not be posted")]
    Post {
        /// The layer.
        layer: u32,
        /// Why.
        source: EngineError,
    },
    /// The layer's transfer failed.
    #[error("layer {layer} failed: {error}")]
    Failed {
        /// The layer.
        layer: u32,
        /// Why.
        error: TransferError,
    },
    /// It is not done yet.
    #[error("layer {layer} is not done within {patience:?}; the stream goes on")]
    Timeout {
        /// The first layer that is not.
        layer: u32,
        /// For how long was waited.
        patience: Duration,
    },
    /// The thread that waits for the synchroniser did not start.
    #[error("cannot start the stream's thread")]
    Thread(#[source] std::io::Error),
}

#[derive(Debug)]
struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Layer on the sending side of the first of `layers`.
    first: u32,
    /// Each layer's transfer and its number on the receiving side.
    layers: Vec<(Prepared, u32)>,
    options: StreamOptions,
    progress: Arc<Progress>,
}

/// Apart from the rest, so that a lane or a thread that notes something here holds no cache meanwhile.
#[derive(Debug)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    layers: Vec<Layer>,
    /// Threads that release a layer for a synchroniser now, and hold the stream for that long.
    releasing: u32,
    /// The last handle is going.
    closed: bool,
    /// Of tasks that wait for a layer: all look again whenever something changes.
    wakers: Vec<Waker>,
}

/// Where a layer stands.
#[derive(Debug)]
enum Layer {
    /// Not released.
    Held,
    /// Released; its handle is on the way, and whether it is to be cancelled then.
    Posting {
        cancelled: bool,
    },
    InFlight(CacheTransfer),
    Done(Outcome),
    Failed(TransferError),
    /// It could not be posted, or the stream ended before.
    NotSent,
}

/// A transfer's end of the stream that it belongs to.
pub(in crate::engine) struct StreamEnd {
    progress: Weak<Progress>,
    layer: usize,
}

impl LayerStream {
    /// A stream of layers that were planned one by one, the first of them being `first` on the sending side.
    pub(in crate::engine) fn new(first: u32, layers: Vec<(Prepared, u32)>, options: StreamOptions) -> Self {
        let held = layers.iter().map(|_| Layer::Held).collect();
        let state = Mutex::new(State { layers: held, releasing: 0, closed: false, wakers: Vec::new() });
        let progress = Arc::new(Progress { state, changed: Condvar::new() });
        Self(Arc::new(Handle(Arc::new(Inner { first, layers, options, progress }))))
    }

    /// Sends a layer, by its number on the sending side: its bytes are computed. In any order, from any thread, once
    /// for each layer. Does not wait for the transfer.
    ///
    /// # Errors
    /// [`StreamError`]. When the layer could not be posted the receiver is told.
    pub fn release(&self, layer: u32) -> Result<(), StreamError> {
        self.inner().release(layer)
    }

    /// Releases each layer, in order, when `synchronizer` says so. Returns at once: a thread asks it. The thread does not
    /// keep the stream: hold a handle until it is done.
    ///
    /// # Errors
    /// [`StreamError::Thread`].
    pub fn drive(&self, synchronizer: impl LayerSynchronizer + 'static) -> Result<(), StreamError> {
        let (stream, progress) = (Arc::downgrade(self.inner()), Arc::clone(&self.inner().progress));
        let range = self.inner().range();
        let run = move || drive(&stream, &progress, range, synchronizer);
        thread::Builder::new().name("pmd-kv-layers".into()).spawn(run).map_err(StreamError::Thread)?;
        Ok(())
    }

    /// Waits until a layer has landed and its receiver was notified.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn wait_layer(&self, layer: u32, patience: Duration) -> Result<Outcome, StreamError> {
        let inner = self.inner();
        inner.wait(inner.index(layer)?, Instant::now(), patience)
    }

    /// Waits until every layer has landed; bytes of all of them.
    ///
    /// # Errors
    /// [`StreamError`] of the first layer that failed or is not done.
    pub fn wait(&self, patience: Duration) -> Result<Outcome, StreamError> {
        let (inner, begun) = (self.inner(), Instant::now());
        let mut bytes = 0;
        for index in 0..inner.layers.len() {
            bytes += inner.wait(index, begun, patience)?.bytes;
        }
        Ok(Outcome { bytes })
    }

    /// The same for tasks: resolves when [`LayerStream::wait_layer`] would return. Who gives up drops it; the stream goes
    /// on.
    pub const fn sent(&self, layer: u32) -> Sent<'_> {
        Sent::new(self, layer)
    }

    /// Layers of the stream, by their numbers on the sending side.
    #[must_use]
    pub fn layers(&self) -> Range<u32> {
        self.inner().range()
    }

    /// Ends the stream as the last handle's going does: no layer is sent any more that was not released, and the receiver
    /// is told. What is in flight goes on.
    pub fn end(&self) {
        self.inner().abandon();
    }

    /// Ends the stream: no layer is sent any more, what is in flight is cancelled, and the receiver is told which layers
    /// will not come. When this returns nothing writes the receiver's memory on the stream's behalf.
    pub fn cancel(&self) {
        self.inner().cancel();
    }

    /// Where a layer stands: its outcome, or nothing yet, and then the waker is kept for the next change.
    pub(super) fn look(&self, layer: u32, waker: &Waker) -> Option<Result<Outcome, StreamError>> {
        let inner = self.inner();
        let index = match inner.index(layer) {
            Ok(index) => index,
            Err(error) => return Some(Err(error)),
        };
        let mut state = inner.progress.state();
        let outcome = state.outcome(index, layer);
        if outcome.is_none() && !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        outcome
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }
}

/// The thread of a synchroniser. While it waits for that, it holds nothing of the stream.
fn drive(
    stream: &Weak<Inner>,
    progress: &Progress,
    layers: Range<u32>,
    mut synchronizer: impl LayerSynchronizer,
) {
    for layer in layers {
        let asked = catch_unwind(AssertUnwindSafe(|| synchronizer.synchronize_layer(layer)));
        let computed = asked.unwrap_or(false);
        let goes_on = progress.while_releasing(|| {
            stream.upgrade().is_some_and(|inner| {
                // Released by hand before: as good.
                let released = !computed
                    || matches!(inner.release(layer), Ok(()) | Err(StreamError::AlreadyReleased { .. }));
                if !computed || !released {
                    inner.abandon();
                }
                computed && released
            })
        });
        if !goes_on {
            return;
        }
    }
}

impl Inner {
    fn release(&self, layer: u32) -> Result<(), StreamError> {
        let index = self.index(layer)?;
        match &mut self.progress.state().layers[index] {
            held @ Layer::Held => *held = Layer::Posting { cancelled: false },
            Layer::NotSent => return Err(StreamError::Ended { layer }),
            _ => return Err(StreamError::AlreadyReleased { layer }),
        }
        let (prepared, destination) = &self.layers[index];
        let options = PostOptions { deadline: self.options.deadline, priority: self.options.priority };
        let end = StreamEnd { progress: Arc::downgrade(&self.progress), layer: index };
        let note = LayerNote { tag: self.options.tag, layer: *destination };
        match prepared.post_layer(options, note, end) {
            Ok(transfer) => {
                self.progress.posted(index, transfer);
                Ok(())
            }
            Err(source) => {
                self.progress.set(index, Layer::NotSent);
                self.tell_not_sent(&[index]);
                Err(StreamError::Post { layer, source })
            }
        }
    }

    fn wait(&self, index: usize, begun: Instant, patience: Duration) -> Result<Outcome, StreamError> {
        let layer = self.first + index as u32;
        let mut state = self.progress.state();
        loop {
            if let Some(outcome) = state.outcome(index, layer) {
                return outcome;
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(StreamError::Timeout { layer, patience });
            }
            state = self.progress.wait(state, left);
        }
    }

    fn cancel(&self) {
        self.abandon();
        let mut state = self.progress.state();
        for layer in &mut state.layers {
            match layer {
                Layer::Posting { cancelled } => *cancelled = true,
                Layer::InFlight(transfer) => transfer.request_cancel(),
                _ => {}
            }
        }
        let busy = |layer: &Layer| matches!(layer, Layer::Posting { .. } | Layer::InFlight(_));
        // Bounded by the lane's grace period.
        while state.releasing > 0 || state.layers.iter().any(busy) {
            state = self.progress.wait(state, Duration::from_secs(1));
        }
    }

    /// Sends no layer any more that was not released, and tells the receiver.
    fn abandon(&self) {
        let mut held = Vec::new();
        for (index, layer) in self.progress.state().layers.iter_mut().enumerate() {
            if matches!(layer, Layer::Held) {
                *layer = Layer::NotSent;
                held.push(index);
            }
        }
        self.progress.wake();
        self.tell_not_sent(&held);
    }

    fn tell_not_sent(&self, layers: &[usize]) {
        for index in layers {
            let (prepared, destination) = &self.layers[*index];
            let failed = Failed {
                id: TransferId(0),
                outline: Arc::clone(prepared.outline()),
                landed: 0,
                reason: FailureReason::NotPosted,
                detail: FailureReason::NotPosted.to_string(),
                notification: None,
                layer: Some(LayerNote { tag: self.options.tag, layer: *destination }),
            };
            failed.tell(prepared.connection());
        }
    }

    fn index(&self, layer: u32) -> Result<usize, StreamError> {
        let range = self.range();
        if range.contains(&layer) {
            return Ok((layer - self.first) as usize);
        }
        Err(StreamError::NoSuchLayer { layer, first: range.start, end: range.end })
    }

    fn range(&self) -> Range<u32> {
        self.first..self.first + self.layers.len() as u32
    }
}

impl State {
    /// How a layer ended, if it has.
    fn outcome(&self, index: usize, layer: u32) -> Option<Result<Outcome, StreamError>> {
        match &self.layers[index] {
            // A thread that still holds the stream is about to let go.
            _ if self.releasing > 0 => None,
            Layer::Done(outcome) => Some(Ok(*outcome)),
            Layer::Failed(error) => Some(Err(StreamError::Failed { layer, error: *error })),
            Layer::NotSent => Some(Err(StreamError::Ended { layer })),
            Layer::Held | Layer::Posting { .. } | Layer::InFlight(_) => None,
        }
    }
}

impl Progress {
    /// Keeps the handle, unless the transfer has ended already.
    fn posted(&self, index: usize, transfer: CacheTransfer) {
        let mut state = self.state();
        if let Layer::Posting { cancelled } = &state.layers[index] {
            if *cancelled {
                transfer.request_cancel();
            }
            state.layers[index] = Layer::InFlight(transfer);
        }
    }

    fn set(&self, index: usize, layer: Layer) {
        let before = mem::replace(&mut self.state().layers[index], layer);
        self.wake();
        // Not under the lock: a handle may be the last of much.
        drop(before);
    }

    /// Runs `release` unless the last handle of the stream is going, which then waits for it.
    fn while_releasing(&self, release: impl FnOnce() -> bool) -> bool {
        {
            let mut state = self.state();
            if state.closed {
                return false;
            }
            state.releasing += 1;
        }
        let released = release();
        self.state().releasing -= 1;
        self.wake();
        released
    }

    /// Something has changed: whoever waits looks again.
    fn wake(&self) {
        let wakers = mem::take(&mut self.state().wakers);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, longest: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abandon();
        let mut state = self.0.progress.state();
        state.closed = true;
        // Bounded: they post one transfer. Afterwards the caches are this handle's to let go.
        while state.releasing > 0 {
            state = self.0.progress.wait(state, Duration::from_secs(1));
        }
    }
}

impl StreamEnd {
    /// The layer's transfer has ended. Runs on a lane.
    pub(in crate::engine) fn ended(&self, outcome: Result<Outcome, TransferError>) {
        if let Some(progress) = self.progress.upgrade() {
            progress.set(self.layer, outcome.map_or_else(Layer::Failed, Layer::Done));
        }
    }
}
