//! Pulls and pushes: both sides' caches are looked up, the bytes to move are worked out and checked, and the fabric moves
//! them.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::wire::Syndrome;
use pmd_host::{
    control::RequestError,
    transfer::{Direction, RouteFault, SubmitError, TransferError, WaitError},
};

use super::{
    ArgumentError, DataDistError, RemoteCache,
    caches::LocalCache,
    error::LinkFault,
    links::Link,
    protocol::{CONSUMED, Consumed, Description, Found, LOOK_UP, NO_SUCH_CACHE, Wanted, decode, encode},
    running::Running,
    selection::{Span, Tensors},
    shape::CacheShape,
    types::{BlocksCacheKey, CacheIndex, CacheKey, INVALID_ID, KeyName},
};
use crate::fabric::{Descriptor, FabricError, PostOptions};

/// How long one operation may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) given: Duration,
    pub(super) deadline: Instant,
}

/// The peer's end of an operation.
pub(super) struct Remote {
    /// Row that the key stands for.
    pub(super) batch_index: u32,
    pub(super) description: Arc<Description>,
}

/// What is to move.
pub(super) struct Selected {
    pub(super) tensors: Tensors,
    pub(super) spans: Vec<Span>,
}

impl Patience {
    pub(super) fn new(given: Duration) -> Self {
        Self { given, deadline: Instant::now() + given }
    }

    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.given.as_millis()).unwrap_or(u64::MAX)
    }
}

impl RemoteCache {
    fn wanted(&self) -> Result<Wanted, ArgumentError> {
        Ok(match self {
            Self::Index(CacheIndex { cache_id, .. }) => Wanted::Id(*cache_id),
            Self::Key(CacheKey { req_id, prefix_id, .. })
                if *req_id != INVALID_ID && *prefix_id != INVALID_ID =>
            {
                return Err(ArgumentError::Key);
            }
            Self::Key(key) => Wanted::Name(key.name().ok_or(ArgumentError::Key)?),
            Self::Blocks(BlocksCacheKey { model_id, .. }) => {
                Wanted::Name(KeyName::Blocks { model_id: *model_id })
            }
        })
    }
}

impl Running {
    /// Reads from a cluster's cache into one of ours. `select` says what, from both caches' shapes and the row that the
    /// key stands for.
    pub(super) fn pull(
        &self,
        source: &RemoteCache,
        destination: &LocalCache,
        select: impl Fn(&CacheShape, u32) -> Result<Selected, ArgumentError>,
    ) -> Result<(), DataDistError> {
        let patience = Patience::new(self.settings.wait_time);
        let link = self.link(source.cluster_id())?;
        let _operation = link.enter(self.settings.operation_limit)?;
        let select = |remote: &Remote| select(&remote.description.shape, remote.batch_index);
        let selected = self.carry_out(&link, source, destination, Direction::Read, patience, select)?;
        Self::consume(&link, source, &selected, patience);
        Ok(())
    }

    /// Writes from one of our caches into a cluster's.
    pub(super) fn push(
        &self,
        source: &LocalCache,
        destination: &RemoteCache,
        select: impl Fn(&CacheShape, u32) -> Result<Selected, ArgumentError>,
    ) -> Result<(), DataDistError> {
        let patience = Patience::new(self.settings.wait_time);
        let link = self.link(destination.cluster_id())?;
        let _operation = link.enter(self.settings.operation_limit)?;
        let select = |remote: &Remote| select(&remote.description.shape, remote.batch_index);
        self.carry_out(&link, destination, source, Direction::Write, patience, select)?;
        Ok(())
    }

    /// Writes from one of our caches to addresses of a cluster.
    pub(super) fn push_to_addresses(
        &self,
        cluster_id: u64,
        source: &LocalCache,
        selected: &Selected,
        addresses: &[u64],
    ) -> Result<(), DataDistError> {
        let patience = Patience::new(self.settings.wait_time);
        let link = self.link(cluster_id)?;
        let _operation = link.enter(self.settings.operation_limit)?;
        let moves = descriptors(selected, &source.addresses, addresses, Direction::Write);
        self.move_bytes(&link, Direction::Write, &moves, patience)
    }

    fn link(&self, cluster_id: u64) -> Result<Arc<Link>, DataDistError> {
        if cluster_id == self.service.cluster_id {
            return Err(ArgumentError::OwnCluster { cluster_id }.into());
        }
        self.service.links.find(cluster_id)
    }

    fn carry_out(
        &self,
        link: &Link,
        remote: &RemoteCache,
        local: &LocalCache,
        direction: Direction,
        patience: Patience,
        select: impl Fn(&Remote) -> Result<Selected, ArgumentError>,
    ) -> Result<Selected, DataDistError> {
        let wanted = remote.wanted()?;
        let mut found = look_up(link, remote, &wanted, patience)?;
        // What was known of the peer's cache may be of yesterday: then it is asked for, once.
        for attempt in 0..2 {
            let selected = select(&found)?;
            let moves = descriptors(&selected, &local.addresses, &found.description.addresses, direction);
            match self.move_bytes(link, direction, &moves, patience) {
                Err(DataDistError::Fabric(FabricError::Remote { .. })) if attempt == 0 => {
                    if let Wanted::Id(cache_id) = &wanted {
                        link.forget(*cache_id);
                    }
                    found = look_up(link, remote, &wanted, patience)?;
                }
                Err(DataDistError::Fabric(FabricError::Remote { .. })) => break,
                // Its keys ended while the bytes moved.
                Err(DataDistError::Transfer(TransferError::Failed {
                    syndrome: Syndrome::RemoteAccess,
                    ..
                })) => break,
                outcome => return outcome.map(|()| selected),
            }
        }
        Err(DataDistError::NoSuchRemoteCache { cache: *remote })
    }

    /// Moves bytes and waits until they have moved. When this returns the transfer is quiet.
    pub(super) fn move_bytes(
        &self,
        link: &Link,
        direction: Direction,
        moves: &[Descriptor],
        patience: Patience,
    ) -> Result<(), DataDistError> {
        let plan = self.fabric.plan(&link.peer, direction, moves, patience.left());
        let plan = plan.map_err(|error| link.explain(error, patience))?;
        let deadline = Some(patience.deadline);
        let posted = plan.post(PostOptions { deadline, ..PostOptions::default() });
        let mut transfer = posted.map_err(|error| link.explain(error, patience))?;
        loop {
            match transfer.wait(None) {
                Ok(_) => return Ok(()),
                Err(WaitError::Failed(error)) => return Err(link.explain_transfer(error, patience)),
                Err(WaitError::Timeout) => {}
            }
        }
    }

    /// Tells the cluster that a key's row was pulled.
    fn consume(link: &Link, source: &RemoteCache, selected: &Selected, patience: Patience) {
        if let RemoteCache::Key(key) = source
            && let Some(name) = key.name()
        {
            let Tensors { source, count, .. } = selected.tensors;
            let consumed = Consumed { name, first_tensor: source as u64, tensors: count as u64 };
            // The bytes are here; a cluster that does not hear of it keeps the key until it is removed there.
            let _ = link.peer.request(CONSUMED, encode(&consumed), patience.left());
        }
    }
}

fn look_up(
    link: &Link,
    remote: &RemoteCache,
    wanted: &Wanted,
    patience: Patience,
) -> Result<Remote, DataDistError> {
    let row = match remote {
        RemoteCache::Index(CacheIndex { batch_index, .. }) => Some(*batch_index),
        RemoteCache::Key(_) | RemoteCache::Blocks(_) => None,
    };
    let (found_row, description) = match link.recall(wanted) {
        Some((_, description)) => (0, description),
        None => ask(link, remote, wanted, patience)?,
    };
    if !description.accessible {
        return Err(ArgumentError::NotAccessible.into());
    }
    Ok(Remote { batch_index: row.unwrap_or(found_row), description })
}

fn ask(
    link: &Link,
    remote: &RemoteCache,
    wanted: &Wanted,
    patience: Patience,
) -> Result<(u32, Arc<Description>), DataDistError> {
    let answer =
        link.peer.request(LOOK_UP, encode(wanted), patience.left()).map_err(|error| match error {
            RequestError::Refused(refusal) if refusal.code == NO_SUCH_CACHE => {
                DataDistError::NoSuchRemoteCache { cache: *remote }
            }
            error => link.explain_request(error, patience),
        })?;
    let malformed = || FabricError::Malformed { length: answer.len() };
    let Found { cache_id, batch_index, description } = decode(&answer).map_err(|_| malformed())?;
    if !description.shape.is_consistent() || description.addresses.len() as u64 != description.shape.tensors {
        return Err(malformed().into());
    }
    let description = Arc::new(description);
    link.remember(cache_id, &description);
    Ok((batch_index, description))
}

/// Every span of every tensor, in the order in which they lie at the peer: those that are neighbours there can share a
/// work request wherever they lie here. No two spans write the same bytes, so their order is free.
pub(super) fn descriptors(
    selected: &Selected,
    local: &[u64],
    remote: &[u64],
    direction: Direction,
) -> Vec<Descriptor> {
    let Selected { tensors, spans } = selected;
    let (ours, theirs) = match direction {
        Direction::Read => (tensors.destination, tensors.source),
        Direction::Write => (tensors.source, tensors.destination),
    };
    let at_peer = |span: &Span| if direction == Direction::Read { span.source } else { span.destination };
    let spans = &sorted_by(spans, at_peer)[..];
    let pairs = local[ours..].iter().zip(&remote[theirs..]).take(tensors.count);
    let all = pairs.flat_map(|(local, remote)| {
        spans.iter().map(move |span| match direction {
            Direction::Read => (local + span.destination, remote.saturating_add(span.source), span.length),
            Direction::Write => (local + span.source, remote.saturating_add(span.destination), span.length),
        })
    });
    all.map(|(local, remote, length)| Descriptor { local, remote, length }).collect()
}

fn sorted_by(spans: &[Span], key: impl Fn(&Span) -> u64) -> Cow<'_, [Span]> {
    if spans.is_sorted_by_key(&key) {
        return Cow::Borrowed(spans);
    }
    let mut sorted = spans.to_vec();
    sorted.sort_unstable_by_key(&key);
    Cow::Owned(sorted)
}

/// What errors from below mean on a link.
impl Link {
    fn explain(&self, error: FabricError, patience: Patience) -> DataDistError {
        match error {
            FabricError::Request(error) => self.explain_request(error, patience),
            FabricError::Submit(SubmitError::RouteFailed(fault)) => self.is_down(LinkFault::Route(fault)),
            FabricError::Submit(SubmitError::Full(_)) => DataDistError::Timeout { millis: patience.millis() },
            error => error.into(),
        }
    }

    pub(super) fn explain_request(&self, error: RequestError, patience: Patience) -> DataDistError {
        match error {
            RequestError::Timeout { .. } => {
                DataDistError::NoAnswer { cluster_id: self.cluster_id, millis: patience.millis() }
            }
            RequestError::Down(reason) => self.is_down(LinkFault::Down(reason)),
            error => FabricError::Request(error).into(),
        }
    }

    pub(super) fn explain_transfer(&self, error: TransferError, patience: Patience) -> DataDistError {
        match error {
            TransferError::DeadlineExceeded => DataDistError::Timeout { millis: patience.millis() },
            error if error.is_route_down() => {
                let cause = || LinkFault::Route(RouteFault::PeerDown);
                self.is_down(self.fault().unwrap_or_else(cause))
            }
            error => DataDistError::Transfer(error),
        }
    }

    const fn is_down(&self, reason: LinkFault) -> DataDistError {
        DataDistError::LinkDown { cluster_id: self.cluster_id, reason }
    }
}

/// Checks that an address of the peer that a caller gave is registered there, in what the fabric said.
pub(super) fn explain_address(error: DataDistError) -> DataDistError {
    match error {
        DataDistError::Fabric(FabricError::Remote { address, length, .. }) => {
            ArgumentError::RemoteAddress { address, length }.into()
        }
        error => error,
    }
}
