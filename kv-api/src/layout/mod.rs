//! How a cache lies in memory, locally and at a peer.
//!
//! A cache is `layers x tensors_per_layer` tensors; a tensor is `blocks` blocks of `block_bytes` bytes, one
//! `block_stride` after the other. Tensors that follow each other at one distance are described by one
//! [`TensorRun`], and equal runs at one distance by one [`RunSeries`], so that a description stays small however many
//! blocks there are. What is inside of a block says a [`TokenFormat`], where it has to be known.

mod format;
mod placement;

pub use format::{BlockOrder, Heads, TokenFormat};
pub use placement::{Placement, RunSeries, TensorPlace, TensorRun};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Number of layers, tensors and blocks of a cache, and what is in a block. Always valid: at least one of each, and the
/// total fits 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawLayout", into = "RawLayout")]
pub struct CacheLayout {
    layers: u32,
    tensors_per_layer: u32,
    blocks: u32,
    block: Block,
}

/// What is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Block {
    /// Bytes.
    Bytes(u64),
    /// Tokens and heads.
    Tokens(TokenFormat),
}

#[derive(Serialize, Deserialize)]
struct RawLayout(u32, u32, u32, Block);

impl TryFrom<RawLayout> for CacheLayout {
    type Error = LayoutError;

    fn try_from(raw: RawLayout) -> Result<Self, LayoutError> {
        let RawLayout(layers, tensors_per_layer, blocks, block) = raw;
        Self { layers, tensors_per_layer, blocks, block }.checked()
    }
}

impl From<CacheLayout> for RawLayout {
    fn from(layout: CacheLayout) -> Self {
        Self(layout.layers, layout.tensors_per_layer, layout.blocks, layout.block)
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
        Self { layers, tensors_per_layer, blocks, block: Block::Bytes(block_bytes) }.checked()
    }

    /// A layout whose blocks hold tokens and heads as `format` says, so that peers with other block sizes, other
    /// tensor-parallel degrees or another order of dimensions can exchange them.
    ///
    /// # Errors
    /// As [`CacheLayout::new`].
    pub fn of_tokens(
        layers: u32,
        tensors_per_layer: u32,
        blocks: u32,
        format: TokenFormat,
    ) -> Result<Self, LayoutError> {
        Self { layers, tensors_per_layer, blocks, block: Block::Tokens(format) }.checked()
    }

    fn checked(self) -> Result<Self, LayoutError> {
        let sizes = [
            ("layers", u64::from(self.layers)),
            ("tensors per layer", u64::from(self.tensors_per_layer)),
            ("blocks", u64::from(self.blocks)),
            ("bytes per block", self.block_bytes()),
        ];
        if let Some((what, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(LayoutError::Zero { what });
        }
        let tensors = self.layers.checked_mul(self.tensors_per_layer).ok_or(LayoutError::TooLarge)?;
        u64::from(tensors)
            .checked_mul(u64::from(self.blocks))
            .and_then(|total| total.checked_mul(self.block_extent()))
            .filter(|total| *total < 1 << 63)
            .ok_or(LayoutError::TooLarge)?;
        Ok(self)
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

    /// Bytes that one block of one tensor holds.
    #[must_use]
    pub const fn block_bytes(&self) -> u64 {
        match &self.block {
            Block::Bytes(bytes) => *bytes,
            Block::Tokens(format) => format.bytes(),
        }
    }

    /// Bytes from the beginning of a block to its end; more than [`CacheLayout::block_bytes`] where its format has gaps.
    #[must_use]
    pub const fn block_extent(&self) -> u64 {
        match &self.block {
            Block::Bytes(bytes) => *bytes,
            Block::Tokens(format) => format.extent(),
        }
    }

    /// What is in a block, where the layout says so.
    #[must_use]
    pub const fn format(&self) -> Option<&TokenFormat> {
        match &self.block {
            Block::Bytes(_) => None,
            Block::Tokens(format) => Some(format),
        }
    }

    /// Bytes of one tensor whose blocks follow each other without gaps.
    #[must_use]
    pub const fn tensor_bytes(&self) -> u64 {
        self.blocks as u64 * self.block_extent()
    }

    /// Bytes of all blocks of all tensors that follow each other without gaps.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.tensors() as u64 * self.tensor_bytes()
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
    /// The accelerators whose streams copy the bytes, which whoever posts a transfer must drive; none where peers or NICs
    /// reach them by themselves.
    pub devices: Vec<CacheDevice>,
}

/// An accelerator that has a part of a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheDevice {
    /// Name of its runtime: `cuda`, for instance.
    pub kind: String,
    /// The same in every process of the host: [`unique`](pmd_core::accelerator::DeviceIdentity::unique).
    pub unique: [u8; 16],
}

impl CacheDescriptor {
    /// Checks a descriptor that came from a peer.
    ///
    /// # Errors
    /// As [`Placement::new`].
    pub fn validated(self) -> Result<Self, LayoutError> {
        let placement = Placement::of_series(&self.layout, self.placement.series().to_vec())?;
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
    /// A block's elements would overlap.
    #[error(
        "tokens {token_stride} and heads {head_stride} bytes apart share bytes: one stride has to span the other dimension"
    )]
    Overlap {
        /// Bytes from one token to the next.
        token_stride: u64,
        /// Bytes from one head to the next.
        head_stride: u64,
    },
    /// Heads that the model does not have.
    #[error("heads {}..{} of a model of {} heads", heads.first, u64::from(heads.first) + u64::from(heads.count), heads.total)]
    Heads {
        /// What was given.
        heads: Heads,
    },
    /// The heads cannot be shared out among the ranks.
    #[error(
        "rank {rank} of {degree} and {heads} heads: one number has to divide the other, and the rank to exist"
    )]
    Ranks {
        /// Rank asked for.
        rank: u32,
        /// Ranks there are.
        degree: u32,
        /// Heads of the model.
        heads: u32,
    },
    /// An address range runs past the end of the address space.
    #[error("the tensors at {address:#x} run past the end of the address space")]
    Wraps {
        /// First address of the run.
        address: u64,
    },
}
