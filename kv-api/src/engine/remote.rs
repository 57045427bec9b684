//! A peer's cache: looked up by name over the control connection, then a source or a target of transfers.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use pmd_host::{
    control::{Refusal, RequestError},
    endpoint::Peer,
    region::PathRefusal,
    soft::Accelerators,
};

use super::{
    Cache, EngineError, Estimate, LayerStream, LinkFigures, PlanSpares, Prepared, Shared, StreamOptions,
    metrics::PeerRecord, outline::OwnedBlocks,
};
use crate::{
    layout::{CacheDescriptor, CacheDevice},
    planner::{BlockMap, Direction, LayerMap, PlanError, Selection},
};

/// Kinds of the engine's requests and events, and numbers beside its messages.
pub(super) mod request {
    /// Name of a cache, answered by its descriptor.
    pub(in crate::engine) const CACHE: u16 = 1;
    /// Whatever the application above says.
    pub(in crate::engine) const APPLICATION: u16 = 2;
    /// Event: a transfer with a cache of the receiver has failed.
    pub(in crate::engine) const FAILED: u16 = 1;
    /// Beside a message: it says that a layer of a stream has landed. Other messages have no number.
    pub(in crate::engine) const LAYER_LANDED: u32 = 1;
}

/// Refusal code: no cache of that name.
const NO_SUCH_CACHE: u16 = 1;
/// Refusal code: peers do not reach the memory of the cache.
const KEPT_IN: u16 = 2;

/// A cache of a peer.
#[derive(Clone, Debug)]
pub struct RemoteCache {
    peer: Peer,
    descriptor: Arc<CacheDescriptor>,
    record: Arc<PeerRecord>,
    engine: Weak<Shared>,
    /// Runtime of a device of the cache that the engine does not drive.
    undriven: Option<String>,
}

impl RemoteCache {
    pub(super) fn look_up(
        engine: &Arc<Shared>,
        peer: &Peer,
        name: &str,
        patience: Duration,
    ) -> Result<Self, EngineError> {
        let answer =
            peer.request(request::CACHE, name.as_bytes().to_vec(), patience).map_err(
                |error| match error {
                    RequestError::Refused(Refusal { code: NO_SUCH_CACHE, .. }) => {
                        EngineError::NoSuchCache { name: name.to_owned() }
                    }
                    RequestError::Refused(Refusal { code: KEPT_IN, detail }) => {
                        let transport = peer.transport();
                        EngineError::KeptIn { name: name.to_owned(), transport, reasons: detail }
                    }
                    other => other.into(),
                },
            )?;
        let malformed = |_| EngineError::Malformed { length: answer.len() };
        let descriptor: CacheDescriptor = postcard::from_bytes(&answer).map_err(malformed)?;
        let descriptor = Arc::new(descriptor.validated()?);
        let undriven = descriptor.devices.iter().find(|device| !is_driven(&engine.accelerators, device));
        let undriven = undriven.map(|device| device.kind.clone());
        let (record, engine) = (engine.record(peer), Arc::downgrade(engine));
        Ok(Self { peer: peer.clone(), descriptor, record, engine, undriven })
    }

    /// Refuses a transfer that would reach memory of a device that nobody here drives.
    pub(super) fn check_driven(&self) -> Result<(), EngineError> {
        match &self.undriven {
            None => Ok(()),
            Some(kind) => {
                let name = self.descriptor.name.clone();
                Err(EngineError::NotDriven { name, kind: kind.clone() })
            }
        }
    }

    /// Whose cache it is.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Shape, addresses and keys.
    #[must_use]
    pub fn descriptor(&self) -> &CacheDescriptor {
        &self.descriptor
    }

    /// Plans moving the selected blocks of this cache into `local`.
    ///
    /// # Errors
    /// [`EngineError::Plan`], [`EngineError::NotDriven`].
    pub fn pull(&self, local: &Cache, selection: Selection<'_>) -> Result<Prepared, EngineError> {
        let Selection { layers, blocks } = selection;
        Prepared::plan(Direction::Pull, local, self, layers, Arc::new(self.owned(blocks)))
    }

    /// Plans moving the selected blocks of `local` into this cache.
    ///
    /// # Errors
    /// [`EngineError::Plan`], [`EngineError::NotDriven`].
    pub fn push(&self, local: &Cache, selection: Selection<'_>) -> Result<Prepared, EngineError> {
        let Selection { layers, blocks } = selection;
        Prepared::plan(Direction::Push, local, self, layers, Arc::new(self.owned(blocks)))
    }

    /// Plans pushing the selected blocks of `local` into this cache layer by layer, each when it is released. The peer
    /// waits for them with [`Engine::expect_layers`](super::Engine::expect_layers) and the tag of the options.
    ///
    /// # Errors
    /// [`EngineError::Plan`], [`EngineError::NotDriven`].
    pub fn stream(
        &self,
        local: &Cache,
        selection: Selection<'_>,
        options: StreamOptions,
    ) -> Result<LayerStream, EngineError> {
        let Selection { layers, blocks } = selection;
        let (first, count) = (layers.source.start, layers.count());
        if count == 0 {
            let (end, layers) = (layers.source.end, local.layout().layers());
            return Err(PlanError::Layers { side: "source", start: first, end, layers }.into());
        }
        let blocks = Arc::new(self.owned(blocks));
        let plan = |number: u32| {
            let (source, destination) =
                (first.saturating_add(number), layers.destination.saturating_add(number));
            let layer = LayerMap { source: source..source.saturating_add(1), destination };
            let prepared = Prepared::plan(Direction::Push, local, self, layer, Arc::clone(&blocks))?;
            Ok((prepared, destination))
        };
        let planned = (0..count).map(plan).collect::<Result<_, EngineError>>()?;
        Ok(LayerStream::new(first, planned, options))
    }

    /// How long a transfer of so many bytes and work requests will take, judged by those to the same peer so far.
    #[must_use]
    pub fn estimate(&self, bytes: u64, work_requests: u64) -> Estimate {
        self.link().estimate(bytes, work_requests)
    }

    /// What transfers to the same peer were found to cost.
    #[must_use]
    pub fn link(&self) -> LinkFigures {
        self.record.figures()
    }

    fn owned(&self, blocks: BlockMap<'_>) -> OwnedBlocks {
        OwnedBlocks::of(blocks, &self.spares().tables)
    }

    /// Memory for plans; none to use again where the engine is gone.
    pub(super) fn spares(&self) -> PlanSpares {
        self.engine.upgrade().map(|engine| engine.spares.clone()).unwrap_or_default()
    }

    pub(super) const fn shared_descriptor(&self) -> &Arc<CacheDescriptor> {
        &self.descriptor
    }

    pub(super) const fn record(&self) -> &Arc<PeerRecord> {
        &self.record
    }

    pub(super) const fn engine(&self) -> &Weak<Shared> {
        &self.engine
    }
}

/// Answers a look-up.
pub(super) fn describe(
    peer: &Peer,
    name: &[u8],
    find: impl FnOnce(&str) -> Option<Cache>,
) -> Result<Vec<u8>, Refusal> {
    let name = String::from_utf8_lossy(name);
    let transport = peer.transport();
    let missing = || Refusal { code: NO_SUCH_CACHE, detail: format!("no cache named {name:?}") };
    let cache = find(&name).ok_or_else(missing)?;
    let kept_in = || {
        let refusals: Vec<String> = cache.refusals(transport).iter().map(PathRefusal::to_string).collect();
        Refusal { code: KEPT_IN, detail: refusals.join("; ") }
    };
    let descriptor = cache.descriptor(transport).ok_or_else(kept_in)?;
    postcard::to_allocvec(&descriptor).map_err(|_| missing())
}

fn is_driven(accelerators: &Accelerators, device: &CacheDevice) -> bool {
    accelerators.iter().any(|accelerator| {
        let identity = accelerator.identity();
        identity.kind.name() == device.kind && identity.unique == device.unique
    })
}
