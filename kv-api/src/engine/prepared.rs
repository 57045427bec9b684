//! A planned transfer, ready to be posted any number of times.

use std::{sync::Arc, time::Instant};

use pmd_host::{
    lane::Route,
    transfer::{
        self, KeepAlive, LocalPiece, Transfer, TransferOptions, WorkList, WorkListBuilder, WorkListLimits,
    },
};

use super::{Cache, EngineError, RemoteCache};
use crate::planner::{Direction, Plan, Selection, Side};

/// A planned transfer: keys and block tables have become work requests. Posting it costs nothing per block before the
/// lane takes it, and nothing forbids posting it while an earlier posting is in flight: each posting is a transfer of
/// its own.
#[derive(Clone, Debug)]
pub struct Prepared {
    route: Route,
    work: Arc<WorkList>,
    notification: Option<Vec<u8>>,
    local: Cache,
    blocks: u64,
}

impl Prepared {
    pub(super) fn plan(
        direction: Direction,
        local: &Cache,
        remote: &RemoteCache,
        selection: Selection<'_>,
    ) -> Result<Self, EngineError> {
        let peer = remote.peer();
        let transport = peer.transport();
        let placement = local.local_placement(transport).ok_or(EngineError::NotRegistered { transport })?;
        let descriptor = remote.descriptor();
        let theirs = Side { layout: &descriptor.layout, placement: &descriptor.placement };
        let plan = Plan::new(direction, local.side(&placement), theirs, selection)?;
        let work = Arc::new(work_list(direction, &plan, peer.route().limits()));
        Ok(Self {
            route: peer.route().clone(),
            work,
            notification: None,
            local: local.clone(),
            blocks: plan.pieces(),
        })
    }

    /// The same transfer, and the peer gets `bytes` as a notification once all of them are in place (after a push), or
    /// read (after a pull: the peer may reuse the blocks).
    #[must_use]
    pub fn notifying(self, bytes: Vec<u8>) -> Self {
        Self { notification: Some(bytes), ..self }
    }

    /// Hands the transfer to the lane and returns at once; waits only while the lane's ring is full.
    ///
    /// # Errors
    /// [`EngineError::Submit`].
    pub fn post(&self, deadline: Option<Instant>) -> Result<Transfer, EngineError> {
        let notify = self.notification.clone();
        let notify = notify.map(|bytes| transfer::Notification { bytes, immediate: None });
        let keep_alive = Some(KeepAlive(self.local.keep_alive()));
        let options = TransferOptions { notify, deadline, keep_alive, ..TransferOptions::default() };
        Ok(self.route.submit_waiting(&self.work, options, deadline)?)
    }

    /// Blocks that it moves, each tensor's counted.
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
}

fn work_list(direction: Direction, plan: &Plan<'_>, limits: WorkListLimits) -> WorkList {
    let direction = match direction {
        Direction::Pull => transfer::Direction::Read,
        Direction::Push => transfer::Direction::Write,
    };
    let pieces = usize::try_from(plan.pieces()).unwrap_or(usize::MAX);
    let mut builder = WorkListBuilder::with_capacity(direction, limits, pieces);
    plan.for_each_piece(|piece| {
        let local = LocalPiece { address: piece.local, length: piece.length, key: piece.local_key };
        builder.push(local, piece.remote);
    });
    builder.finish()
}
