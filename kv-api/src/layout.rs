//! How a cache lies in memory, locally and at a peer.
//!
//! A cache is `layers x tensors_per_layer` tensors; a tensor is `blocks` blocks of `block_bytes` bytes, one
//! `block_stride` after the other. Tensors that follow each other at one distance are described by one
//! [`TensorRun`], so that a description stays small however many blocks there are.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Number of layers, tensors and blocks of a cache, and the size of a block. Always valid: at least one of each, and
/// the total fits 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawLayout", into = "RawLayout")]
pub struct CacheLayout {
    layers: u32,
    tensors_per_layer: u32,
    blocks: u32,
    block_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct RawLayout(u32, u32, u32, u64);

impl TryFrom<RawLayout> for CacheLayout {
    type Error = LayoutError;

    fn try_from(raw: RawLayout) -> Result<Self, LayoutError> {
        Self::new(raw.0, raw.1, raw.2, raw.3)
    }
}

impl From<CacheLayout> for RawLayout {
    fn from(layout: CacheLayout) -> Self {
        Self(layout.layers, layout.tensors_per_layer, layout.blocks, layout.block_bytes)
    }
}

impl CacheLayout {
    /// A layout of `layers` layers of `tensors_per_layer` tensors of `blocks` blocks of `block_bytes` bytes.
    ///
    /// # Errors
    /// [`LayoutError::Zero`] names the number that is zero; [`LayoutError::TooLarge`] when the product does not fit
    /// 63 bits.
    pub fn new(
        layers: u32,
        tensors_per_layer: u32,
        blocks: u32,
        block_bytes: u64,
    ) -> Result<Self, LayoutError> {
        let sizes = [
            ("layers", u64::from(layers)),
            ("tensors per layer", u64::from(tensors_per_layer)),
            ("blocks", u64::from(blocks)),
            ("bytes per block", block_bytes),
        ];
        if let Some((what, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(LayoutError::Zero { what });
        }
        let tensors = layers.checked_mul(tensors_per_layer).ok_or(LayoutError::TooLarge)?;
        u64::from(tensors)
            .checked_mul(u64::from(blocks))
            .and_then(|total| total.checked_mul(block_bytes))
            .filter(|total| *total < 1 << 63)
            .ok_or(LayoutError::TooLarge)?;
        Ok(Self { layers, tensors_per_layer, blocks, block_bytes })
    }

    /// Transformer layers.
    #[must_use]
    pub const fn layers(&self) -> u32 {
        self.layers
    }

    /// Tensors of one layer: 2 where K and V are apart, 1 where they are joined or latent.
    #[must_use]
    pub const fn tensors_per_layer(&self) -> u32 {
        self.tensors_per_layer
    }

    /// All tensors.
    #[must_use]
    pub const fn tensors(&self) -> u32 {
        self.layers * self.tensors_per_layer
    }

    /// Blocks of one tensor.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Bytes of one block of one tensor.
    #[must_use]
    pub const fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// Bytes of one tensor whose blocks follow each other without gaps.
    #[must_use]
    pub const fn tensor_bytes(&self) -> u64 {
        self.blocks as u64 * self.block_bytes
    }

    /// Bytes of all blocks of all tensors.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.tensors() as u64 * self.tensor_bytes()
    }
}

/// Tensors that follow each other at one distance in one memory region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TensorRun {
    /// Address of block 0 of the run's first tensor.
    pub first: u64,
    /// Bytes from one tensor to the next.
    pub tensor_stride: u64,
    /// Bytes from one block to the next within a tensor; at least the block's size.
    pub block_stride: u64,
    /// Tensors in the run.
    pub count: u32,
    /// Key of the region: lkey where the description stays in its process, rkey where it is given to peers.
    pub key: u32,
}

/// Where all tensors of a cache lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    runs: Vec<TensorRun>,
}

impl Placement {
    /// Checks that `runs` place exactly the tensors of `layout`.
    ///
    /// # Errors
    /// [`LayoutError`]: a wrong number of tensors, a stride smaller than a block, an address range that wraps.
    pub fn new(layout: &CacheLayout, runs: Vec<TensorRun>) -> Result<Self, LayoutError> {
        let placed = runs.iter().map(|run| u64::from(run.count)).sum();
        if placed != u64::from(layout.tensors()) {
            return Err(LayoutError::TensorCount { wanted: layout.tensors(), placed });
        }
        runs.iter().try_for_each(|run| run.check(layout))?;
        Ok(Self { runs })
    }

    /// One run: every tensor behind the other from `address` on, without gaps.
    ///
    /// # Errors
    /// [`LayoutError::Wraps`].
    pub fn contiguous(layout: &CacheLayout, address: u64, key: u32) -> Result<Self, LayoutError> {
        let run = TensorRun {
            first: address,
            tensor_stride: layout.tensor_bytes(),
            block_stride: layout.block_bytes(),
            count: layout.tensors(),
            key,
        };
        Self::new(layout, vec![run])
    }

    /// The runs, in tensor order.
    #[must_use]
    pub fn runs(&self) -> &[TensorRun] {
        &self.runs
    }

    /// Where tensor `index` (layer x tensors per layer + tensor) lies.
    #[must_use]
    pub fn tensor(&self, index: u32) -> Option<TensorPlace> {
        let mut before = 0;
        for run in &self.runs {
            if index - before < run.count {
                let address = run.first + u64::from(index - before) * run.tensor_stride;
                return Some(TensorPlace { address, block_stride: run.block_stride, key: run.key });
            }
            before += run.count;
        }
        None
    }
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
            .and_then(|(block, tensor)| block.checked_add(tensor)?.checked_add(layout.block_bytes()))
            .ok_or(LayoutError::Wraps { address: self.first })
    }

    fn check(&self, layout: &CacheLayout) -> Result<(), LayoutError> {
        if self.block_stride < layout.block_bytes() {
            return Err(LayoutError::Stride { stride: self.block_stride, block_bytes: layout.block_bytes() });
        }
        let span = self.span(layout)?;
        self.first.checked_add(span).ok_or(LayoutError::Wraps { address: self.first })?;
        Ok(())
    }
}

/// What a peer must know to pull from a cache or push into it. Travels in control frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheDescriptor {
    /// Number of the cache in its engine, from 1.
    pub id: u64,
    /// Name under which peers look it up.
    pub name: String,
    /// Shape.
    pub layout: CacheLayout,
    /// Addresses and rkeys in the owner's process.
    pub placement: Placement,
}

impl CacheDescriptor {
    /// Checks a descriptor that came from a peer.
    ///
    /// # Errors
    /// As [`Placement::new`].
    pub fn validated(self) -> Result<Self, LayoutError> {
        let placement = Placement::new(&self.layout, self.placement.runs)?;
        Ok(Self { placement, ..self })
    }
}

/// Why a cache cannot look like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A size is zero.
    #[error("a cache with zero {what}")]
    Zero {
        /// Which size.
        what: &'static str,
    },
    /// The whole cache would not fit 63 bits.
    #[error("the cache's total size does not fit the address space")]
    TooLarge,
    /// The placement does not place each tensor once.
    #[error("the layout has {wanted} tensors, the placement {placed}")]
    TensorCount {
        /// Tensors of the layout.
        wanted: u32,
        /// Tensors placed.
        placed: u64,
    },
    /// Blocks would overlap.
    #[error("block stride {stride} is smaller than a block of {block_bytes} bytes")]
    Stride {
        /// Stride given.
        stride: u64,
        /// Size of a block.
        block_bytes: u64,
    },
    /// An address range runs past the end of the address space.
    #[error("the tensors at {address:#x} run past the end of the address space")]
    Wraps {
        /// First address of the run.
        address: u64,
    },
}
