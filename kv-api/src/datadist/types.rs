//! What callers hand in and get back: roles, clusters, caches, keys, ranges. Fields and defaults are upstream's.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{DataDistError, DataType};

/// What a process calls itself. Changes nothing about what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum LlmRole {
    /// Computes caches.
    Prompt = 1,
    /// Uses caches.
    Decoder = 2,
    /// Both.
    Mix = 3,
}

impl LlmRole {
    /// The role of a number.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Prompt),
            2 => Some(Self::Decoder),
            3 => Some(Self::Mix),
            _ => None,
        }
    }
}

/// Where a cache lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum CachePlacement {
    /// In memory of the host.
    Host = 0,
    /// In memory of an accelerator that the process was opened with; in one without, in memory that stands for it.
    Device = 1,
}

/// Where a cluster listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpInfo {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
}

impl IpInfo {
    /// An address as text.
    ///
    /// # Errors
    /// [`DataDistError::Address`].
    pub fn parse(ip: &str, port: u16) -> Result<Self, DataDistError> {
        let address = ip.parse().map_err(|_| DataDistError::Address { text: ip.to_owned() })?;
        Ok(Self { ip: address, port })
    }
}

/// A cluster to link with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Number of the cluster.
    pub remote_cluster_id: u64,
    /// 0 for prompt, 1 for decoder; a label.
    pub remote_role_type: i32,
    /// Addresses of this side; not needed.
    pub local_ip_infos: Vec<IpInfo>,
    /// Where the cluster listens: one entry.
    pub remote_ip_infos: Vec<IpInfo>,
}

/// What a cache is indexed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u32)]
pub enum CacheKind {
    /// Rows of a batch and blocks alike: what the C++ interface registers.
    #[default]
    Mixed = 0,
    /// Rows of a batch.
    Batches = 1,
    /// Blocks.
    Blocks = 2,
}

/// Shape of a cache: `num_tensors` tensors, all alike. The first dimension counts rows of a batch, or blocks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheDesc {
    /// Where it lies.
    pub placement: CachePlacement,
    /// Number of tensors.
    pub num_tensors: u32,
    /// What they are made of.
    pub data_type: DataType,
    /// Dimensions of one tensor, all positive; at most [`CacheDesc::MOST_DIMENSIONS`].
    pub shape: Vec<i64>,
    /// What it is indexed by.
    pub kind: CacheKind,
    /// Whether peers may reach it.
    pub remote_accessible: bool,
}

impl CacheDesc {
    /// Most dimensions of a shape.
    pub const MOST_DIMENSIONS: usize = 32;

    /// A cache as the C++ interface knows it: rows and blocks alike, reachable.
    #[must_use]
    pub fn new(placement: CachePlacement, num_tensors: u32, data_type: DataType, shape: &[i64]) -> Self {
        let (shape, kind) = (shape.to_vec(), CacheKind::default());
        Self { placement, num_tensors, data_type, shape, kind, remote_accessible: true }
    }
}

/// A cache with its memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cache {
    /// Its number, from 1; -1 for memory that is only described.
    pub cache_id: i64,
    /// First byte of each tensor.
    pub tensor_addrs: Vec<u64>,
    /// Its shape.
    pub cache_desc: CacheDesc,
}

/// A row of a cache of some cluster, by the cache's number. `CacheKeyByIdAndIndex` in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheIndex {
    /// The cluster.
    pub cluster_id: u64,
    /// The cache's number there.
    pub cache_id: i64,
    /// Row of the batch.
    pub batch_index: u32,
}

/// Not an id: the absence of one in [`CacheKey`].
pub const INVALID_ID: u64 = u64::MAX;

/// A row of a cache of some cluster, by the request or the prefix that it was computed for. One of the two is
/// [`INVALID_ID`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    /// The cluster; not looked at when a cache is registered under the key.
    pub cluster_id: u64,
    /// The request.
    pub req_id: u64,
    /// The model.
    pub model_id: u64,
    /// The prefix.
    pub prefix_id: u64,
}

impl CacheKey {
    /// The key of a request.
    #[must_use]
    pub const fn of_request(cluster_id: u64, req_id: u64, model_id: u64) -> Self {
        Self { cluster_id, req_id, model_id, prefix_id: INVALID_ID }
    }

    /// The key of a prefix.
    #[must_use]
    pub const fn of_prefix(cluster_id: u64, prefix_id: u64, model_id: u64) -> Self {
        Self { cluster_id, req_id: INVALID_ID, model_id, prefix_id }
    }

    /// What it is looked up by; `None` for a key that only holds a place.
    pub(super) const fn name(self) -> Option<KeyName> {
        let Self { req_id, model_id, prefix_id, .. } = self;
        match (req_id, prefix_id) {
            (INVALID_ID, INVALID_ID) => None,
            (req_id, INVALID_ID) => Some(KeyName::Request { req_id, model_id }),
            (_, prefix_id) => Some(KeyName::Prefix { prefix_id, model_id }),
        }
    }
}

/// The cache of blocks of some cluster and model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlocksCacheKey {
    /// The cluster; not looked at when a cache is registered under the key.
    pub cluster_id: u64,
    /// The model.
    pub model_id: u64,
}

/// What a key is looked up by at the cluster that has the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum KeyName {
    Request { req_id: u64, model_id: u64 },
    Prefix { prefix_id: u64, model_id: u64 },
    Blocks { model_id: u64 },
}

/// A cache of another cluster, named in any of the ways there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RemoteCache {
    /// By number and row.
    Index(CacheIndex),
    /// By request or prefix.
    Key(CacheKey),
    /// The cache of blocks of a model.
    Blocks(BlocksCacheKey),
}

impl RemoteCache {
    /// The cluster that has it.
    #[must_use]
    pub const fn cluster_id(&self) -> u64 {
        match self {
            Self::Index(CacheIndex { cluster_id, .. })
            | Self::Key(CacheKey { cluster_id, .. })
            | Self::Blocks(BlocksCacheKey { cluster_id, .. }) => *cluster_id,
        }
    }
}

impl From<CacheIndex> for RemoteCache {
    fn from(index: CacheIndex) -> Self {
        Self::Index(index)
    }
}

impl From<CacheKey> for RemoteCache {
    fn from(key: CacheKey) -> Self {
        Self::Key(key)
    }
}

impl From<BlocksCacheKey> for RemoteCache {
    fn from(key: BlocksCacheKey) -> Self {
        Self::Blocks(key)
    }
}

/// Which layers of a cache to move; a layer is `tensor_num_per_layer` tensors that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvCacheExtParam {
    /// First and last layer at the source; (-1, -1) for all tensors.
    pub src_layer_range: (i32, i32),
    /// First and last layer at the destination; (-1, -1) for all tensors.
    pub dst_layer_range: (i32, i32),
    /// Tensors of a layer, at least 1.
    pub tensor_num_per_layer: u32,
}

impl Default for KvCacheExtParam {
    fn default() -> Self {
        Self { src_layer_range: (-1, -1), dst_layer_range: (-1, -1), tensor_num_per_layer: 2 }
    }
}
