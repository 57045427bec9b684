//! A planned transfer, ready to be posted any number of times.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Instant,
};

use pmd_host::{
    control::Connection,
    endpoint::Peer,
    transfer::{
        self, KeepAlive, Notification, Observer, Spares, Transfer, TransferOptions, WorkBuffers, WorkList,
        WorkListBuilder, WorkListLimits,
    },
};

use super::{
    Cache, CacheTransfer, EngineError, Estimate, PostOptions, RemoteCache, Shared, TransferId,
    failure::LayerNote,
    metrics::{Count, PeerRecord},
    outline::{Outline, OwnedBlocks},
    remote::request::LAYER_LANDED,
    stream::StreamEnd,
    transfer::Record,
};
use crate::planner::{Direction, LayerMap, Plan};

/// A planned transfer: keys and block tables have become work requests. Posting it costs nothing per block before the
/// lane takes it, and nothing forbids posting it while an earlier posting is in flight: each posting is a transfer of
/// its own.
#[derive(Clone, Debug)]
pub struct Prepared {
    to: Peer,
    connection: Connection,
    work: Arc<WorkList>,
    outline: Arc<Outline>,
    notification: Option<Vec<u8>>,
    local: Cache,
    blocks: u64,
    peer: Arc<PeerRecord>,
    engine: Weak<Shared>,
}

impl Prepared {
    pub(super) fn plan(
        direction: Direction,
        local: &Cache,
        remote: &RemoteCache,
        layers: LayerMap,
        blocks: Arc<OwnedBlocks>,
    ) -> Result<Self, EngineError> {
        remote.check_driven()?;
        let peer = remote.peer();
        let transport = peer.transport();
        let placement = local.local_placement(transport).ok_or(EngineError::NotRegistered { transport })?;
        let limits = peer.route().limits();
        let outline = Arc::new(Outline {
            direction,
            layout: *local.layout(),
            placement,
            remote: Arc::clone(remote.shared_descriptor()),
            layers,
            blocks,
            limits,
        });
        let spares = remote.spares();
        let plan = outline.plan(&spares.tables)?;
        let work = Arc::new(work_list(&spares.lists, &plan, limits));
        let blocks = plan.pieces();
        Ok(Self {
            to: peer.clone(),
            connection: peer.connection().clone(),
            work,
            outline,
            notification: None,
            local: local.clone(),
            blocks,
            peer: Arc::clone(remote.record()),
            engine: remote.engine().clone(),
        })
    }

    /// The same transfer, and the peer gets `bytes` as a notification once all of them are in place (after a push), or
    /// read (after a pull: the peer may reuse the blocks).
    #[must_use]
    pub fn notifying(self, bytes: Vec<u8>) -> Self {
        Self { notification: Some(bytes), ..self }
    }

    /// Hands the transfer to the lane, or to the rails to the peer where it is large and there are some, and returns at once;
    /// waits only while the lane's ring is full.
    ///
    /// # Errors
    /// [`EngineError::Submit`].
    pub fn post(&self, deadline: Option<Instant>) -> Result<Transfer, EngineError> {
        let options = PostOptions { deadline, ..PostOptions::default() };
        Ok(self.submit(options, self.notification.clone(), None)?.0)
    }

    /// As [`Prepared::post`], with a priority, and a handle that names the blocks that a failure leaves invalid.
    ///
    /// # Errors
    /// [`EngineError::Submit`].
    pub fn post_with(&self, options: PostOptions) -> Result<CacheTransfer, EngineError> {
        let (transfer, record) = self.submit(options, self.notification.clone(), None)?;
        Ok(CacheTransfer::new(transfer, record))
    }

    /// Pieces that it moves, each tensor's counted: blocks, where both sides cut them alike.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Bytes that it moves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.work.bytes()
    }

    /// Work requests that the blocks were merged into.
    #[must_use]
    pub fn work_requests(&self) -> usize {
        self.work.entries().len()
    }

    /// How long it will take, judged by the transfers to the same peer so far.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.peer.figures().estimate(self.bytes(), self.work_requests() as u64)
    }

    /// Posts it as a layer of a stream.
    pub(super) fn post_layer(
        &self,
        options: PostOptions,
        note: LayerNote,
        end: StreamEnd,
    ) -> Result<CacheTransfer, EngineError> {
        let (transfer, record) = self.submit(options, None, Some((note, end)))?;
        Ok(CacheTransfer::new(transfer, record))
    }

    pub(super) const fn outline(&self) -> &Arc<Outline> {
        &self.outline
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    fn submit(
        &self,
        options: PostOptions,
        notification: Option<Vec<u8>>,
        layer: Option<(LayerNote, StreamEnd)>,
    ) -> Result<(Transfer, Arc<Record>), EngineError> {
        let PostOptions { deadline, priority } = options;
        let (note, stream) = layer.unzip();
        let notify = match note {
            // Only a failing writer makes this fail, and a vector does not.
            Some(note) => Some((postcard::to_allocvec(&note).unwrap_or_default(), Some(LAYER_LANDED))),
            None => notification.clone().map(|bytes| (bytes, None)),
        };
        let engine = self.engine.upgrade();
        let record = Arc::new(Record {
            id: engine.as_ref().map_or(TransferId(0), |engine| engine.next_transfer()),
            begun: Instant::now(),
            work_requests: self.work_requests() as u64,
            outline: Arc::clone(&self.outline),
            connection: self.connection.clone(),
            peer: Arc::clone(&self.peer),
            engine: self.engine.clone(),
            notification,
            layer: note,
            stream,
            end: OnceLock::new(),
        });
        let options = TransferOptions {
            notify: notify.map(|(bytes, immediate)| Notification { bytes, immediate }),
            deadline,
            keep_alive: Some(KeepAlive(self.local.keep_alive())),
            priority,
            observer: Some(Observer(Arc::clone(&record) as _)),
        };
        let transfer = self.to.submit(&self.work, options, deadline)?;
        if let Some(engine) = &engine {
            self.peer.count(&engine.counters, Count::Posted, 1);
        }
        Ok((transfer, record))
    }
}

fn work_list(spares: &Spares<WorkBuffers>, plan: &Plan<'_>, limits: WorkListLimits) -> WorkList {
    let direction = match plan.direction() {
        Direction::Pull => transfer::Direction::Read,
        Direction::Push => transfer::Direction::Write,
    };
    let pieces = usize::try_from(plan.pieces()).unwrap_or(usize::MAX);
    let mut builder = WorkListBuilder::reusing(spares, direction, limits, pieces);
    plan.add_to(&mut builder);
    builder.finish()
}
