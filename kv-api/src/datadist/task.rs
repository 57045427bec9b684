//! Layers that are sent while they are computed: a thread waits for each layer with the caller's synchroniser and pushes
//! it to every destination.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    ArgumentError, BlocksCacheKey, CacheIndex, DataDistError, LlmDataDist, RemoteCache, Status,
    argument::Side,
    caches::LocalCache,
    running::Running,
    selection::{Span, Tensors, blocks, cut, none_twice, row},
    shape::CacheShape,
    transfer::{Selected, explain_address},
};

/// Tensors of a layer, as upstream fixes it for these tasks.
const TENSORS_PER_LAYER: u64 = 2;

/// Says when a layer is computed. Called on a thread of the task, before the layer is read.
pub trait LayerSynchronizer: Send {
    /// Waits until layer `layer_index` is computed, at most `timeout_in_millis`. `false` gives the task up.
    fn synchronize_layer(&self, layer_index: u32, timeout_in_millis: Option<u32>) -> bool;
}

impl<F: Fn(u32, Option<u32>) -> bool + Send> LayerSynchronizer for F {
    fn synchronize_layer(&self, layer_index: u32, timeout_in_millis: Option<u32>) -> bool {
        self(layer_index, timeout_in_millis)
    }
}

/// Where the layers of a task go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferDestination {
    /// To addresses of a cluster: two tensors for each layer that is sent. Upstream's `TransferConfig`.
    Addresses {
        /// The cluster.
        cluster_id: u64,
        /// First byte of each tensor there.
        dst_addrs: Vec<u64>,
    },
    /// To a cluster's cache. Upstream's `TransferWithCacheKeyConfig`.
    Cache(CacheIndex),
    /// To a cluster's cache of blocks. Upstream's `TransferWithCacheKeyConfig`.
    Blocks(BlocksCacheKey),
}

/// One destination of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferConfig {
    /// Where to.
    pub destination: TransferDestination,
    /// Layers of the source; all for `None`.
    pub src_layer_range: Option<Range<u32>>,
    /// Layers of the destination, as many; those of the source for `None`. Not looked at for addresses.
    pub dst_layer_range: Option<Range<u32>>,
    /// Row of the source; 0 with blocks.
    pub src_batch_index: u32,
}

/// Blocks of a task: none for a row to a row; those of the destination for a contiguous source; both for blocks to
/// blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferBlocks {
    /// Blocks of the source.
    pub src_block_indices: Vec<u64>,
    /// Blocks of the destination.
    pub dst_block_indices: Vec<u64>,
    /// Bytes of a block of the destination; needed for a contiguous source, 0 otherwise.
    pub dst_block_memory_size: u64,
}

/// A task that runs. Dropping it does not stop the task.
#[derive(Clone)]
pub struct CacheTask(Arc<Outcomes>);

struct Outcomes {
    /// Of each destination; `None` while it is not known.
    results: Mutex<Vec<Option<Status>>>,
    changed: Condvar,
}

impl CacheTask {
    /// Whether every destination has its outcome. Never waits.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.0.lock().iter().all(Option::is_some)
    }

    /// Waits until every destination has its outcome. The first failure, or success; [`Status::Timeout`] when that takes
    /// longer than `timeout`, and the task goes on.
    #[must_use]
    pub fn synchronize(&self, timeout: Option<Duration>) -> Status {
        let failed = |status: &Status| !status.is_success();
        self.get_results(timeout).into_iter().find(failed).unwrap_or(Status::Success)
    }

    /// As [`CacheTask::synchronize`], the outcome of each destination. When it takes longer all are
    /// [`Status::Timeout`].
    #[must_use]
    pub fn get_results(&self, timeout: Option<Duration>) -> Vec<Status> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut results = self.0.lock();
        while results.iter().any(Option::is_none) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            results = match left {
                Some(Duration::ZERO) => return vec![Status::Timeout; results.len()],
                Some(left) => {
                    let woken = self.0.changed.wait_timeout(results, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.0.changed.wait(results).unwrap_or_else(PoisonError::into_inner),
            };
        }
        results.iter().copied().flatten().collect()
    }
}

impl Outcomes {
    fn settle(&self, index: usize, status: Status) {
        self.lock()[index].get_or_insert(status);
        self.changed.notify_all();
    }

    fn is_settled(&self, index: usize) -> bool {
        self.lock()[index].is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Status>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LlmDataDist {
    /// Sends layers of a cache to clusters while they are computed: before each layer, `synchronizer` is asked once, on
    /// the task's thread, and then the layer is pushed to every destination whose range holds it. A layer is two
    /// tensors. What fails for one destination does not stop the others.
    ///
    /// # Errors
    /// [`DataDistError::NoSuchCache`], [`ArgumentError`], [`DataDistError::Thread`]. What happens later is the outcome
    /// of the task.
    pub fn transfer_cache_async(
        &self,
        source: i64,
        synchronizer: impl LayerSynchronizer + 'static,
        configs: &[TransferConfig],
        blocks: TransferBlocks,
    ) -> Result<CacheTask, DataDistError> {
        let shape = self.running()?.service.caches.find(source)?.shape;
        let layers = check(&shape, configs, &blocks)?;
        let outcomes =
            Arc::new(Outcomes { results: Mutex::new(vec![None; configs.len()]), changed: Condvar::new() });
        let task = Task {
            datadist: self.clone(),
            source,
            configs: configs.to_vec(),
            blocks,
            layers,
            outcomes: Arc::clone(&outcomes),
        };
        let spawned =
            thread::Builder::new().name("datadist-task".into()).spawn(move || task.run(&synchronizer));
        spawned.map_err(|source| DataDistError::Thread { source })?;
        Ok(CacheTask(outcomes))
    }
}

/// Checks all that can be before anything is sent; the number of layers.
fn check(
    shape: &CacheShape,
    configs: &[TransferConfig],
    blocks: &TransferBlocks,
) -> Result<u32, ArgumentError> {
    if !shape.tensors.is_multiple_of(TENSORS_PER_LAYER) {
        let (tensors, per_layer) = (shape.tensors, TENSORS_PER_LAYER);
        return Err(ArgumentError::UnevenLayers { side: Side::Source, tensors, per_layer });
    }
    let layers = (shape.tensors / TENSORS_PER_LAYER) as u32;
    check_block_lists(shape, blocks)?;
    configs.iter().try_for_each(|config| check_config(shape, layers, config, blocks))?;
    Ok(layers)
}

fn check_block_lists(shape: &CacheShape, blocks: &TransferBlocks) -> Result<(), ArgumentError> {
    let TransferBlocks { src_block_indices, dst_block_indices, dst_block_memory_size } = blocks;
    let (source_blocks, destination_blocks) = (src_block_indices.len(), dst_block_indices.len());
    let wrong_size = ArgumentError::BlockMemorySize {
        block_bytes: *dst_block_memory_size,
        tensor_bytes: shape.tensor_bytes,
    };
    match (source_blocks, destination_blocks) {
        (0, 0) if *dst_block_memory_size != 0 => return Err(wrong_size),
        (0, 0) => return Ok(()),
        (0, _) if !(1..shape.tensor_bytes).contains(dst_block_memory_size) => return Err(wrong_size),
        (0, _) => {}
        _ if source_blocks != destination_blocks => {
            return Err(ArgumentError::BlockCount { source_blocks, destination_blocks });
        }
        _ if !matches!(*dst_block_memory_size, 0) && *dst_block_memory_size != shape.stride => {
            return Err(wrong_size);
        }
        _ => shape.check_blocks(src_block_indices, Side::Source)?,
    }
    none_twice(dst_block_indices)
}

fn check_config(
    shape: &CacheShape,
    layers: u32,
    config: &TransferConfig,
    blocks: &TransferBlocks,
) -> Result<(), ArgumentError> {
    let from = config.source_layers(layers);
    if from.start >= from.end || from.end > layers {
        let (last, layers) = (u64::from(from.end.saturating_sub(1)), layers.into());
        return Err(ArgumentError::LayersBeyond { side: Side::Source, last, layers });
    }
    let tensors = |range: &Range<u32>| u64::from(range.end.saturating_sub(range.start)) * TENSORS_PER_LAYER;
    let (source_tensors, index) = (tensors(&from), config.src_batch_index);
    if let Some(to) = &config.dst_layer_range
        && tensors(to) != source_tensors
    {
        return Err(ArgumentError::TensorCount { source_tensors, destination_tensors: tensors(to) });
    }
    if let TransferDestination::Addresses { dst_addrs, .. } = &config.destination
        && dst_addrs.len() as u64 != source_tensors
    {
        return Err(ArgumentError::AddressCount { given: dst_addrs.len(), wanted: source_tensors as usize });
    }
    if !blocks.src_block_indices.is_empty() && index != 0 {
        return Err(ArgumentError::BatchIndexWithBlocks { index });
    }
    shape.batch_offset(index, Side::Source).map(drop)
}

impl TransferConfig {
    fn source_layers(&self, layers: u32) -> Range<u32> {
        self.src_layer_range.clone().unwrap_or(0..layers)
    }
}

/// What runs on the task's thread. It holds the caches of a layer only while it sends that layer.
struct Task {
    datadist: LlmDataDist,
    source: i64,
    configs: Vec<TransferConfig>,
    blocks: TransferBlocks,
    layers: u32,
    outcomes: Arc<Outcomes>,
}

impl Task {
    fn run(self, synchronizer: &dyn LayerSynchronizer) {
        for layer in 0..self.layers {
            let wants = |index: &usize| {
                self.configs[*index].source_layers(self.layers).contains(&layer)
                    && !self.outcomes.is_settled(*index)
            };
            let wanting: Vec<usize> = (0..self.configs.len()).filter(wants).collect();
            if wanting.is_empty() {
                continue;
            }
            if let Err(error) = synchronize(synchronizer, layer) {
                // No later layer is computed either.
                (0..self.configs.len()).for_each(|index| self.outcomes.settle(index, error.status()));
                return;
            }
            wanting.into_iter().for_each(|index| self.send(index, layer));
        }
    }

    /// Sends a layer to one destination. A panic would leave those who wait without an answer.
    fn send(&self, index: usize, layer: u32) {
        let config = &self.configs[index];
        let sent = catch_unwind(AssertUnwindSafe(|| self.push(config, layer)));
        let status = match sent {
            Ok(Ok(())) if layer + 1 < config.source_layers(self.layers).end => return,
            Ok(Ok(())) => Status::Success,
            Ok(Err(error)) => error.status(),
            Err(_) => Status::Failed,
        };
        self.outcomes.settle(index, status);
    }

    fn push(&self, config: &TransferConfig, layer: u32) -> Result<(), DataDistError> {
        let running = self.datadist.running()?;
        let source = running.service.caches.find(self.source)?;
        let from = config.source_layers(self.layers);
        let place = layer - from.start;
        match &config.destination {
            TransferDestination::Addresses { cluster_id, dst_addrs } => {
                let first = u64::from(place) * TENSORS_PER_LAYER;
                let addresses = &dst_addrs[first as usize..(first + TENSORS_PER_LAYER) as usize];
                self.push_to_addresses(&running, &source, config, layer, (*cluster_id, addresses))
            }
            TransferDestination::Cache(index) => {
                self.push_to_cache(&running, &source, config, layer, &RemoteCache::Index(*index))
            }
            TransferDestination::Blocks(key) => {
                self.push_to_cache(&running, &source, config, layer, &RemoteCache::Blocks(*key))
            }
        }
    }

    fn push_to_addresses(
        &self,
        running: &Running,
        source: &LocalCache,
        config: &TransferConfig,
        layer: u32,
        (cluster_id, addresses): (u64, &[u64]),
    ) -> Result<(), DataDistError> {
        let shape = &source.shape;
        let from = shape.batch_offset(config.src_batch_index, Side::Source)?;
        let TransferBlocks { src_block_indices, dst_block_indices, dst_block_memory_size } = &self.blocks;
        let spans = match (&src_block_indices[..], &dst_block_indices[..]) {
            (_, []) => vec![Span { source: from, destination: 0, length: shape.stride }],
            ([], to) => cut(from, shape.tensor_bytes, *dst_block_memory_size, to)?,
            (blocks, to) => pairs(blocks, to, shape.stride),
        };
        let count = TENSORS_PER_LAYER as usize;
        let tensors = Tensors { source: layer as usize * count, destination: 0, count };
        running
            .push_to_addresses(cluster_id, source, &Selected { tensors, spans }, addresses)
            .map_err(explain_address)
    }

    fn push_to_cache(
        &self,
        running: &Running,
        source: &LocalCache,
        config: &TransferConfig,
        layer: u32,
        destination: &RemoteCache,
    ) -> Result<(), DataDistError> {
        let ours = &source.shape;
        let from = config.source_layers(self.layers);
        let to = config.dst_layer_range.as_ref().map_or(layer, |range| range.start + (layer - from.start));
        let layers = super::KvCacheExtParam {
            src_layer_range: (layer as i32, layer as i32),
            dst_layer_range: (to as i32, to as i32),
            tensor_num_per_layer: TENSORS_PER_LAYER as u32,
        };
        let TransferBlocks { src_block_indices, dst_block_indices, dst_block_memory_size } = &self.blocks;
        running.push(source, destination, |theirs, their_row| {
            let tensors = Tensors::select(ours, theirs, &layers)?;
            let spans = match (&src_block_indices[..], &dst_block_indices[..]) {
                (_, []) => vec![row((ours, config.src_batch_index), (theirs, their_row), -1)?],
                ([], to) => {
                    theirs.check_blocks(to, Side::Destination)?;
                    theirs.check_block_bytes(*dst_block_memory_size)?;
                    let start = ours.batch_offset(config.src_batch_index, Side::Source)?;
                    cut(start, ours.tensor_bytes, theirs.stride, to)?
                }
                (from, to) => blocks(ours, from, theirs, to)?,
            };
            Ok(Selected { tensors, spans })
        })
    }
}

/// One span for each pair of blocks; the fabric merges neighbours.
fn pairs(source: &[u64], destination: &[u64], stride: u64) -> Vec<Span> {
    let span = |(from, to): (&u64, &u64)| Span {
        source: from * stride,
        destination: to.saturating_mul(stride),
        length: stride,
    };
    source.iter().zip(destination).map(span).collect()
}

fn synchronize(synchronizer: &dyn LayerSynchronizer, layer: u32) -> Result<(), DataDistError> {
    match catch_unwind(AssertUnwindSafe(|| synchronizer.synchronize_layer(layer, None))) {
        Ok(true) => Ok(()),
        Ok(false) => Err(DataDistError::NotSynchronised { layer }),
        Err(_) => Err(DataDistError::SynchroniserPanicked { layer }),
    }
}
