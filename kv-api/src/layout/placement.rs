//! Where the tensors of a cache lie.

use serde::{Deserialize, Serialize};

use super::{CacheLayout, LayoutError};

/// Tensors that follow each other at one distance in one memory region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorRun {
    /// Address of block 0 of the run's first tensor.
    pub first: u64,
    /// Bytes from one tensor to the next.
    pub tensor_stride: u64,
    /// Bytes from one block to the next within a tensor; at least the block's extent.
    pub block_stride: u64,
    /// Tensors in the run.
    pub count: u32,
    /// Key of the region: lkey where the description stays in its process, rkey where it is given to peers.
    pub key: u32,
}

/// Equal runs that follow each other at one distance: what a cache with K and V side by side in each layer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunSeries {
    /// The first of them.
    pub run: TensorRun,
    /// How many.
    pub times: u32,
    /// Bytes from one to the next.
    pub step: u64,
}

/// Where all tensors of a cache lie. Takes a few dozen bytes for each stretch of equal distances, however many tensors
/// and blocks it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    series: Vec<RunSeries>,
}

/// Where one tensor lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    /// Address of block 0.
    pub address: u64,
    /// Bytes from one block to the next.
    pub block_stride: u64,
    /// Key of the region.
    pub key: u32,
}

impl Placement {
    /// Checks that `runs` place exactly the tensors of `layout`.
    ///
    /// # Errors
    /// [`LayoutError`]: a wrong number of tensors, a stride smaller than a block, an address range that wraps.
    pub fn new(layout: &CacheLayout, runs: impl IntoIterator<Item = TensorRun>) -> Result<Self, LayoutError> {
        let mut series = Vec::<RunSeries>::new();
        for run in runs {
            if !series.last_mut().is_some_and(|last| last.take(run)) {
                series.push(RunSeries { run, times: 1, step: 0 });
            }
        }
        Self::of_series(layout, series)
    }

    /// As [`Placement::new`], of runs that are described together.
    ///
    /// # Errors
    /// As [`Placement::new`].
    pub fn of_series(layout: &CacheLayout, series: Vec<RunSeries>) -> Result<Self, LayoutError> {
        let placed = series.iter().map(RunSeries::tensors).fold(0, u64::saturating_add);
        if placed != u64::from(layout.tensors()) {
            return Err(LayoutError::TensorCount { wanted: layout.tensors(), placed });
        }
        series.iter().try_for_each(|series| series.check(layout))?;
        Ok(Self { series })
    }

    /// One run: every tensor behind the other from `address` on, without gaps: `[layer][K, V][block]`.
    ///
    /// # Errors
    /// [`LayoutError::Wraps`].
    pub fn contiguous(layout: &CacheLayout, address: u64, key: u32) -> Result<Self, LayoutError> {
        let run = TensorRun {
            first: address,
            tensor_stride: layout.tensor_bytes(),
            block_stride: layout.block_extent(),
            count: layout.tensors(),
            key,
        };
        Self::new(layout, [run])
    }

    /// The tensors of a layer joined block by block, layer after layer: `[layer][block][K, V]`.
    ///
    /// # Errors
    /// [`LayoutError::Wraps`].
    pub fn joined(layout: &CacheLayout, address: u64, key: u32) -> Result<Self, LayoutError> {
        let joined = layout.block_extent() * u64::from(layout.tensors_per_layer());
        let run = TensorRun {
            first: address,
            tensor_stride: layout.block_extent(),
            block_stride: joined,
            count: layout.tensors_per_layer(),
            key,
        };
        let step = joined * u64::from(layout.blocks());
        Self::of_series(layout, vec![RunSeries { run, times: layout.layers(), step }])
    }

    /// The runs, in tensor order, as they are described.
    #[must_use]
    pub fn series(&self) -> &[RunSeries] {
        &self.series
    }

    /// The runs, in tensor order, one by one.
    pub fn runs(&self) -> impl Iterator<Item = TensorRun> + '_ {
        self.series.iter().flat_map(|series| (0..series.times).map(|number| series.number(number)))
    }

    /// Where tensor `index` (layer x tensors per layer + tensor) lies.
    #[must_use]
    pub fn tensor(&self, index: u32) -> Option<TensorPlace> {
        let mut left = u64::from(index);
        for series in &self.series {
            let tensors = series.tensors();
            if left < tensors {
                let count = u64::from(series.run.count);
                let run = series.number((left / count) as u32);
                let address = run.first + left % count * run.tensor_stride;
                return Some(TensorPlace { address, block_stride: run.block_stride, key: run.key });
            }
            left -= tensors;
        }
        None
    }

    /// The same places under other keys; `None` as soon as `key` knows none.
    pub(crate) fn with_keys(&self, key: impl Fn(u32) -> Option<u32>) -> Option<Self> {
        let keyed = |series: &RunSeries| {
            let run = TensorRun { key: key(series.run.key)?, ..series.run };
            Some(RunSeries { run, ..*series })
        };
        Some(Self { series: self.series.iter().map(keyed).collect::<Option<_>>()? })
    }
}

impl TensorPlace {
    /// Address of a block. The caller has checked that the tensor has it.
    #[must_use]
    pub const fn block(&self, block: u32) -> u64 {
        self.address + block as u64 * self.block_stride
    }
}

impl TensorRun {
    /// Bytes from the first tensor's first block to the end of the last tensor's last block.
    ///
    /// # Errors
    /// [`LayoutError::Wraps`] when that is beyond the address space.
    pub fn span(&self, layout: &CacheLayout) -> Result<u64, LayoutError> {
        let last_block = u64::from(layout.blocks() - 1).checked_mul(self.block_stride);
        let last_tensor = u64::from(self.count.saturating_sub(1)).checked_mul(self.tensor_stride);
        last_block
            .zip(last_tensor)
            .and_then(|(block, tensor)| block.checked_add(tensor)?.checked_add(layout.block_extent()))
            .ok_or(LayoutError::Wraps { address: self.first })
    }
}

impl RunSeries {
    fn tensors(&self) -> u64 {
        u64::from(self.run.count) * u64::from(self.times)
    }

    fn number(&self, number: u32) -> TensorRun {
        TensorRun { first: self.run.first + u64::from(number) * self.step, ..self.run }
    }

    /// Takes the run in if it is the next of the series.
    fn take(&mut self, run: TensorRun) -> bool {
        let Some(distance) = run.first.checked_sub(self.run.first) else { return false };
        let step = if self.times == 1 { distance } else { self.step };
        let continues = step.checked_mul(u64::from(self.times)) == Some(distance);
        if !continues || (TensorRun { first: self.run.first, ..run }) != self.run || self.times == u32::MAX {
            return false;
        }
        (self.step, self.times) = (step, self.times + 1);
        true
    }

    fn check(&self, layout: &CacheLayout) -> Result<(), LayoutError> {
        let run = &self.run;
        if run.block_stride < layout.block_extent() {
            return Err(LayoutError::Stride { stride: run.block_stride, block_bytes: layout.block_extent() });
        }
        let wraps = LayoutError::Wraps { address: run.first };
        let last = u64::from(self.times.saturating_sub(1)).checked_mul(self.step);
        last.and_then(|last| run.first.checked_add(last)?.checked_add(run.span(layout).ok()?))
            .ok_or(wraps)?;
        Ok(())
    }
}
