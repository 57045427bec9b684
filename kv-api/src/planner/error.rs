//! Why a selection does not fit two caches.

use thiserror::Error;

/// Why a selection does not fit the two caches. Nothing was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The two caches differ in shape.
    #[error("the caches differ in {what}: {local} here, {remote} at the peer")]
    Mismatch {
        /// Which number.
        what: &'static str,
        /// Local value.
        local: u64,
        /// Peer's value.
        remote: u64,
    },
    /// One side does not say what is in its blocks, or neither does and tokens were selected.
    #[error("the {side} cache does not say what is in a block: make its layout with CacheLayout::of_tokens")]
    NoFormat {
        /// `local` or `remote`.
        side: &'static str,
    },
    /// The two sides hold different heads.
    #[error("heads {local_first}.. here and {remote_first}.. at the peer: the two have none in common")]
    NoCommonHeads {
        /// First head held here.
        local_first: u32,
        /// First head held by the peer.
        remote_first: u32,
    },
    /// The layer range is empty or beyond the cache.
    #[error("{side} layers {start}..{end} of a cache of {layers} layers: give a non-empty range within it")]
    Layers {
        /// `source` or `destination`.
        side: &'static str,
        /// First layer.
        start: u32,
        /// One past the last.
        end: u32,
        /// Layers there are.
        layers: u32,
    },
    /// Sources and destinations cannot be paired.
    #[error(
        "{source_blocks} source blocks and {destination} destination blocks: each source needs one destination"
    )]
    BlockCounts {
        /// Sources.
        source_blocks: usize,
        /// Destinations.
        destination: usize,
    },
    /// A block number is beyond its cache.
    #[error("{side} block {block} (entry {index} of the table) of a cache of {blocks} blocks")]
    BlockRange {
        /// `source` or `destination`.
        side: &'static str,
        /// Position in the table.
        index: usize,
        /// Block number.
        block: u32,
        /// Blocks there are.
        blocks: u32,
    },
    /// Two sources would be written into one block.
    #[error("destination block {block} is named twice (again at entry {index} of the table)")]
    DuplicateDestination {
        /// Position of the second naming.
        index: usize,
        /// Block number.
        block: u32,
    },
    /// More tokens than the blocks of one side hold.
    #[error("{side} tokens from {first} on, {count} of them, in blocks that hold {held}: name more blocks")]
    TokenRange {
        /// `source` or `destination`.
        side: &'static str,
        /// First token.
        first: u64,
        /// Tokens.
        count: u64,
        /// Tokens that the blocks hold.
        held: u64,
    },
}
