//! Arguments that cannot be, each with the values that explain it.

use std::fmt;

use thiserror::Error;

use super::{CachePlacement, DataType};

/// Which side of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where bytes come from.
    Source,
    /// Where bytes go.
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// An argument that cannot be. Nothing has moved.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// A time that is none.
    #[error("a time-out of {millis} ms: give more than 0")]
    Timeout {
        /// Given.
        millis: i32,
    },
    /// No cluster to link or unlink.
    #[error("no cluster given")]
    NoClusters,
    /// A cluster with no address or several.
    #[error("{given} addresses of cluster {cluster_id}: give one")]
    RemoteAddresses {
        /// The cluster.
        cluster_id: u64,
        /// Addresses given.
        given: usize,
    },
    /// The cluster is this one.
    #[error("cluster {cluster_id} is this one")]
    OwnCluster {
        /// The cluster.
        cluster_id: u64,
    },
    /// A shape with no or too many dimensions.
    #[error("a shape of {given} dimensions: 1 to 32 are allowed")]
    Dimensions {
        /// Dimensions given.
        given: usize,
    },
    /// A dimension that is not positive.
    #[error("dimension {index} of the shape is {value}: give more than 0")]
    Dimension {
        /// Which.
        index: usize,
        /// Its value.
        value: i64,
    },
    /// A type whose elements have no size.
    #[error("elements of type {data_type:?} have no size")]
    DataType {
        /// The type.
        data_type: DataType,
    },
    /// A tensor that no address space holds.
    #[error("a tensor of more than 2^63 bytes")]
    TooLarge,
    /// A tensor whose rows are less than a byte.
    #[error("a tensor of {bytes} bytes cannot have {rows} rows")]
    EmptyRows {
        /// Bytes of the tensor.
        bytes: u64,
        /// Its rows.
        rows: u64,
    },
    /// A cache without tensors.
    #[error("a cache without tensors")]
    NoTensors,
    /// Addresses and tensors differ in number.
    #[error("{given} addresses for {wanted} tensors")]
    AddressCount {
        /// Addresses given.
        given: usize,
        /// Tensors of the cache, or of the layers that are sent.
        wanted: usize,
    },
    /// An address that is null, or whose tensor would wrap around.
    #[error("address {index} is {address:#x}, which cannot hold the tensor")]
    Address {
        /// Which.
        index: usize,
        /// Its value.
        address: u64,
    },
    /// An address that the peer has not registered.
    #[error("{length} bytes at {address:#x} of the peer are not registered there")]
    RemoteAddress {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// More keys than rows.
    #[error("{given} keys for {rows} rows")]
    KeyCount {
        /// Keys given.
        given: usize,
        /// Rows of the cache.
        rows: u64,
    },
    /// A key that names nothing, or a request and a prefix at once.
    #[error("a key names either a request or a prefix")]
    Key,
    /// A key that leads to another cache.
    #[error("the key leads to cache {cache_id} already: remove it there first")]
    KeyTaken {
        /// The other cache.
        cache_id: i64,
    },
    /// A key given twice.
    #[error("a key is given twice")]
    KeyTwice,
    /// A size that is none.
    #[error("a size of {size} bytes: give -1 or more than 0")]
    Size {
        /// Given.
        size: i64,
    },
    /// A push moves whole rows.
    #[error("a push of {size} bytes: give -1")]
    PushSize {
        /// Given.
        size: i64,
    },
    /// More bytes than a row has.
    #[error("{size} bytes from offset {offset} of a row of {stride} bytes at the {side}")]
    BeyondRow {
        /// Where.
        side: Side,
        /// First byte.
        offset: u64,
        /// Bytes.
        size: u64,
        /// Bytes of a row.
        stride: u64,
    },
    /// No such row.
    #[error("row {index} of {rows} at the {side}")]
    BatchIndex {
        /// Where.
        side: Side,
        /// Given.
        index: u64,
        /// Rows there.
        rows: u64,
    },
    /// Blocks have no row.
    #[error("batch index {index} with blocks: give 0")]
    BatchIndexWithBlocks {
        /// Given.
        index: u32,
    },
    /// No such block.
    #[error("block {block} of {blocks} at the {side}")]
    Block {
        /// Where.
        side: Side,
        /// Given.
        block: u64,
        /// Blocks there.
        blocks: u64,
    },
    /// No blocks to move.
    #[error("no blocks given at the {side}")]
    NoBlocks {
        /// Where.
        side: Side,
    },
    /// The lists of blocks differ in length.
    #[error("{source_blocks} blocks at the source, {destination_blocks} at the destination")]
    BlockCount {
        /// Blocks at the source.
        source_blocks: usize,
        /// Blocks at the destination.
        destination_blocks: usize,
    },
    /// A block is written twice.
    #[error("block {block} is named twice at the destination")]
    BlockTwice {
        /// The block.
        block: u64,
    },
    /// The cache has rows, not blocks.
    #[error("the cache at the {side} has no blocks")]
    NotBlocks {
        /// Where.
        side: Side,
    },
    /// The cache has blocks, not rows.
    #[error("the cache at the {side} has no rows")]
    NotBatches {
        /// Where.
        side: Side,
    },
    /// The blocks differ in size.
    #[error("blocks of {source_bytes} bytes at the source, of {destination_bytes} at the destination")]
    BlockSize {
        /// At the source.
        source_bytes: u64,
        /// At the destination.
        destination_bytes: u64,
    },
    /// A block size that the contiguous source cannot be cut by.
    #[error("blocks of {block_bytes} bytes from a tensor of {tensor_bytes}")]
    BlockMemorySize {
        /// Given.
        block_bytes: u64,
        /// Bytes of the tensor.
        tensor_bytes: u64,
    },
    /// More blocks than a contiguous source has.
    #[error("{given} blocks are to be filled from {available} bytes of the source, {block_bytes} bytes each")]
    SourceTooShort {
        /// Blocks.
        given: usize,
        /// Bytes of the source from the row on.
        available: u64,
        /// Bytes of a block.
        block_bytes: u64,
    },
    /// A range of layers that is none.
    #[error("layers {first} to {last} of the {side}: give (-1, -1), or 0 <= first <= last")]
    Layers {
        /// Where.
        side: Side,
        /// Given.
        first: i32,
        /// Given.
        last: i32,
    },
    /// Layers that the cache has not.
    #[error("layer {last} of {layers} at the {side}")]
    LayersBeyond {
        /// Where.
        side: Side,
        /// The last one asked for.
        last: u64,
        /// Layers there.
        layers: u64,
    },
    /// A layer without tensors.
    #[error("a layer of 0 tensors: tensor_num_per_layer is at least 1")]
    EmptyLayer,
    /// Tensors that are no whole number of layers.
    #[error("{tensors} tensors at the {side} are no whole number of layers of {per_layer}")]
    UnevenLayers {
        /// Where.
        side: Side,
        /// Tensors there.
        tensors: u64,
        /// Tensors of a layer.
        per_layer: u64,
    },
    /// The two sides differ in tensors.
    #[error("{source_tensors} tensors at the source, {destination_tensors} at the destination")]
    TensorCount {
        /// At the source.
        source_tensors: u64,
        /// At the destination.
        destination_tensors: u64,
    },
    /// The cache was registered for its owner only.
    #[error("the cache was registered with remote_accessible off")]
    NotAccessible,
    /// Blocks are swapped between host and device.
    #[error(
        "blocks are swapped between host and device, not {source_placement:?} and {destination_placement:?}"
    )]
    SwapPlacement {
        /// At the source.
        source_placement: CachePlacement,
        /// At the destination.
        destination_placement: CachePlacement,
    },
}
