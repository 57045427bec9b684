//! Upstream's Python values as the driver's. The package has checked their types; ranges are checked by the driver.

use kv_api::datadist::{
    ArgumentError, BlocksCacheKey, Cache, CacheDesc, CacheIndex, CacheKey, CacheKeys, CacheKind,
    CachePlacement, ClusterInfo, DataDistError, DataType, IpInfo, KvCacheExtParam, RemoteCache,
    TransferConfig, TransferDestination,
};
use pyo3::prelude::*;

/// A cluster: number, role, addresses of this side, addresses of the other.
#[derive(FromPyObject)]
pub(super) struct Cluster(u64, i32, Vec<(String, u16)>, Vec<(String, u16)>);

impl Cluster {
    pub(super) fn parse(self) -> Result<ClusterInfo, DataDistError> {
        let Self(remote_cluster_id, remote_role_type, local, remote) = self;
        let addresses = |infos: Vec<(String, u16)>| -> Result<Vec<IpInfo>, DataDistError> {
            infos.into_iter().map(|(ip, port)| IpInfo::parse(&ip, port)).collect()
        };
        let (local_ip_infos, remote_ip_infos) = (addresses(local)?, addresses(remote)?);
        Ok(ClusterInfo { remote_cluster_id, remote_role_type, local_ip_infos, remote_ip_infos })
    }
}

/// A cache's description: tensors, type, shape, placement, whether it is of blocks, whether peers reach it.
#[derive(FromPyObject)]
pub(super) struct Description(u32, i32, Vec<i64>, i32, bool, bool);

impl Description {
    pub(super) fn parse(self) -> Result<CacheDesc, DataDistError> {
        let Self(num_tensors, data_type, shape, placement, is_blocks, remote_accessible) = self;
        let data_type = DataType::from_number(data_type)
            .ok_or(ArgumentError::DataType { data_type: DataType::Undefined })?;
        let placement = match placement {
            0 => CachePlacement::Host,
            _ => CachePlacement::Device,
        };
        let kind = if is_blocks { CacheKind::Blocks } else { CacheKind::Batches };
        Ok(CacheDesc { placement, num_tensors, data_type, shape, kind, remote_accessible })
    }
}

/// A cache by number, description and addresses; the number is -1 for memory that is only described.
#[derive(FromPyObject)]
pub(super) struct Tensors(i64, Description, Vec<u64>);

impl Tensors {
    pub(super) fn parse(self) -> Result<Cache, DataDistError> {
        let Self(cache_id, description, tensor_addrs) = self;
        Ok(Cache { cache_id, tensor_addrs, cache_desc: description.parse()? })
    }
}

/// `CacheKey`: a row by request or prefix.
#[derive(FromPyObject)]
pub(super) struct KeyOfRow {
    cluster_id: u64,
    req_id: u64,
    model_id: u64,
    prefix_id: u64,
}

impl From<KeyOfRow> for CacheKey {
    fn from(KeyOfRow { cluster_id, req_id, model_id, prefix_id }: KeyOfRow) -> Self {
        Self { cluster_id, req_id, model_id, prefix_id }
    }
}

/// Any of the three key classes, told apart by their attributes.
#[derive(FromPyObject)]
pub(super) enum Key {
    /// `CacheKeyByIdAndIndex`.
    Index { cluster_id: u64, cache_id: i64, batch_index: u32 },
    /// `CacheKey`.
    #[pyo3(transparent)]
    Row(KeyOfRow),
    /// `BlocksCacheKey`.
    Blocks { cluster_id: u64, model_id: u64 },
}

impl From<Key> for RemoteCache {
    fn from(key: Key) -> Self {
        match key {
            Key::Index { cluster_id, cache_id, batch_index } => {
                Self::Index(CacheIndex { cluster_id, cache_id, batch_index })
            }
            Key::Row(key) => Self::Key(key.into()),
            Key::Blocks { cluster_id, model_id } => Self::Blocks(BlocksCacheKey { cluster_id, model_id }),
        }
    }
}

/// The keys that a cache is registered under.
pub(super) fn keys(keys: &[Key]) -> CacheKeys {
    if let [Key::Blocks { cluster_id, model_id }] = keys {
        return CacheKeys::Blocks(BlocksCacheKey { cluster_id: *cluster_id, model_id: *model_id });
    }
    let row = |key: &Key| match *key {
        Key::Row(KeyOfRow { cluster_id, req_id, model_id, prefix_id }) => {
            Some(CacheKey { cluster_id, req_id, model_id, prefix_id })
        }
        _ => None,
    };
    let rows: Vec<CacheKey> = keys.iter().filter_map(row).collect();
    if rows.is_empty() { CacheKeys::None } else { CacheKeys::Rows(rows) }
}

/// Half-open layer ranges of both sides, or none for all, and tensors of a layer.
#[derive(FromPyObject)]
pub(super) struct Layers(Option<(i64, i64)>, Option<(i64, i64)>, u32);

impl Layers {
    pub(super) fn parse(self) -> Result<KvCacheExtParam, DataDistError> {
        let Self(source, destination, tensor_num_per_layer) = self;
        // The driver's ranges name the last layer, and (-1, -1) is all of them.
        let bound = |layer: i64| i32::try_from(layer).unwrap_or(i32::MAX);
        let inclusive =
            |range: Option<(i64, i64)>| range.map_or((-1, -1), |(first, end)| (bound(first), bound(end - 1)));
        let (src_layer_range, dst_layer_range) = (inclusive(source), inclusive(destination));
        Ok(KvCacheExtParam { src_layer_range, dst_layer_range, tensor_num_per_layer })
    }
}

/// One destination of a task: key or (cluster, addresses), layers of both sides, row of the source.
#[derive(FromPyObject)]
pub(crate) struct Config(Destination, Option<(u32, u32)>, Option<(u32, u32)>, u32);

#[derive(FromPyObject)]
enum Destination {
    #[pyo3(transparent)]
    Addresses((u64, Vec<u64>)),
    Index {
        cluster_id: u64,
        cache_id: i64,
        batch_index: u32,
    },
    Blocks {
        cluster_id: u64,
        model_id: u64,
    },
}

impl Config {
    pub(super) fn parse(self) -> TransferConfig {
        let Self(destination, source, target, src_batch_index) = self;
        let destination = match destination {
            Destination::Addresses((cluster_id, dst_addrs)) => {
                TransferDestination::Addresses { cluster_id, dst_addrs }
            }
            Destination::Index { cluster_id, cache_id, batch_index } => {
                TransferDestination::Cache(CacheIndex { cluster_id, cache_id, batch_index })
            }
            Destination::Blocks { cluster_id, model_id } => {
                TransferDestination::Blocks(BlocksCacheKey { cluster_id, model_id })
            }
        };
        let (src_layer_range, dst_layer_range) = (source.map(|(a, b)| a..b), target.map(|(a, b)| a..b));
        TransferConfig { destination, src_layer_range, dst_layer_range, src_batch_index }
    }
}
