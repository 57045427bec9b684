//! What LLM-DataDist's functions take, as C programs say it.

use std::ffi::c_char;

use kv_api::datadist::{
    BlocksCacheKey, Cache, CacheDesc, CacheIndex, CacheKey, CacheKeys, CacheKind, CachePlacement,
    ClusterInfo, DataType, INVALID_ID, IpInfo, KvCacheExtParam, RemoteCache,
};

use super::Fault;
use crate::{
    boundary::{array, reference, text},
    status::Failure,
};

/// Where a cluster listens (`IpInfo`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_address {
    /// IPv4 or IPv6, as text.
    pub ip: *const c_char,
    /// Its port.
    pub port: u16,
}

/// A cluster to link with (`ClusterInfo`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_cluster {
    /// Number of the cluster.
    pub remote_cluster_id: u64,
    /// 0 for prompt, 1 for decoder; a label.
    pub remote_role: i32,
    /// Addresses of this side; not needed.
    pub local: *const pmd_datadist_address,
    /// How many.
    pub local_count: usize,
    /// Where the cluster listens: one.
    pub remote: *const pmd_datadist_address,
    /// How many.
    pub remote_count: usize,
}

/// What a cache is found by, beside its number (`CacheKey`, `BlocksCacheKey` of the Python interface).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_key {
    /// `PMD_DATADIST_KEY_NONE`, `_REQUEST`, `_PREFIX` or `_BLOCKS`.
    pub kind: u32,
    /// The request or the prefix.
    pub id: u64,
    /// The model.
    pub model_id: u64,
}

/// Leaves a row without a key.
pub const PMD_DATADIST_KEY_NONE: u32 = 0;
/// A row, by the request that it was computed for.
pub const PMD_DATADIST_KEY_REQUEST: u32 = 1;
/// A row, by the prefix that it was computed for.
pub const PMD_DATADIST_KEY_PREFIX: u32 = 2;
/// The cache of blocks of a model.
pub const PMD_DATADIST_KEY_BLOCKS: u32 = 3;

/// The shape of a cache (`CacheDesc`). Write `pmd_datadist_cache_desc desc = {0};` and then what you want.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_cache_desc {
    /// 0 for the host's memory, 1 for a device's: that of accelerators which PMD_ACCELERATORS names, or memory of this
    /// process in its place.
    pub placement: u32,
    /// Number of tensors.
    pub num_tensors: u32,
    /// What they are made of: `ge::DataType` of `external/ge_common/api_error_codes.h`.
    pub data_type: i32,
    /// Dimensions of one tensor; the first counts batches, or blocks.
    pub shape: *const i64,
    /// How many.
    pub shape_length: usize,
    /// What it is indexed by: 0 rows of a batch and blocks alike, 1 rows, 2 blocks.
    pub kind: u32,
    /// Peers may not reach it.
    pub hidden: bool,
    /// What it is found by: one for each row, or one of blocks.
    pub keys: *const pmd_datadist_key,
    /// How many; 0 for none.
    pub key_count: usize,
}

/// A cache of this process (`Cache`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_cache {
    /// Its number; -1 for memory that is only described.
    pub cache_id: i64,
    /// Its shape.
    pub desc: pmd_datadist_cache_desc,
    /// First byte of each tensor; not looked at for a cache with a number.
    pub addresses: *const u64,
    /// How many.
    pub address_count: usize,
}

/// A block, and the block that it is copied to.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_block_pair {
    /// Of the source.
    pub source: u64,
    /// Of the destination.
    pub destination: u64,
}

/// A row of a cache of some cluster (`CacheIndex`), or the cache that has a key.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_cache_index {
    /// The cluster.
    pub cluster_id: u64,
    /// The cache's number there.
    pub cache_id: i64,
    /// Row of the batch.
    pub batch_index: u32,
    /// In place of number and row; NULL: by these.
    pub key: *const pmd_datadist_key,
}

/// Which layers move (`KvCacheExtParam`). Both ends are in a range; -1 and -1 for all.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_range {
    /// First layer at the source.
    pub source_first: i32,
    /// Last layer at the source.
    pub source_last: i32,
    /// First layer at the destination.
    pub destination_first: i32,
    /// Last layer at the destination.
    pub destination_last: i32,
    /// Tensors of a layer, at least 1.
    pub tensors_per_layer: u8,
}

/// A list of blocks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_blocks {
    /// Their numbers.
    pub blocks: *const u64,
    /// How many.
    pub count: usize,
}

/// # Safety
/// `clusters` is null or points to `count` clusters, whose arrays have their counts.
pub(super) unsafe fn clusters_at(
    clusters: *const pmd_datadist_cluster,
    count: usize,
) -> Result<Vec<ClusterInfo>, Fault> {
    // SAFETY: the caller's promise.
    let clusters = unsafe { array(clusters, count, "the array of clusters")? };
    let cluster = |given: &pmd_datadist_cluster| {
        Ok(ClusterInfo {
            remote_cluster_id: given.remote_cluster_id,
            remote_role_type: given.remote_role,
            // SAFETY: the caller's promise.
            local_ip_infos: unsafe { addresses_at(given.local, given.local_count)? },
            // SAFETY: the caller's promise.
            remote_ip_infos: unsafe { addresses_at(given.remote, given.remote_count)? },
        })
    };
    clusters.iter().map(cluster).collect()
}

/// # Safety
/// `addresses` is null or points to `count` addresses.
unsafe fn addresses_at(addresses: *const pmd_datadist_address, count: usize) -> Result<Vec<IpInfo>, Fault> {
    // SAFETY: the caller's promise.
    let addresses = unsafe { array(addresses, count, "a cluster's array of addresses")? };
    let parse = |address: &pmd_datadist_address| {
        // SAFETY: the caller's promise.
        let ip = unsafe { text(address.ip, "an address")? };
        Ok(IpInfo::parse(ip, address.port)?)
    };
    addresses.iter().map(parse).collect()
}

/// # Safety
/// `desc` is null or points to a description, whose shape has its length.
pub(super) unsafe fn desc_at(desc: *const pmd_datadist_cache_desc) -> Result<CacheDesc, Failure> {
    // SAFETY: the caller's promise.
    let desc = unsafe { reference(desc, "the description of the cache")? };
    // SAFETY: the caller's promise.
    let shape = unsafe { array(desc.shape, desc.shape_length, "the shape")? };
    let placement = match desc.placement {
        0 => CachePlacement::Host,
        1 => CachePlacement::Device,
        other => return Err(Failure::argument(format!("there is no placement {other}: give 0 or 1"))),
    };
    let kind = match desc.kind {
        0 => CacheKind::Mixed,
        1 => CacheKind::Batches,
        2 => CacheKind::Blocks,
        other => return Err(Failure::argument(format!("there is no kind {other} of cache: give 0, 1 or 2"))),
    };
    let unknown = || Failure::argument(format!("there is no data type {}", desc.data_type));
    let data_type = DataType::from_number(desc.data_type).ok_or_else(unknown)?;
    let plain = CacheDesc::new(placement, desc.num_tensors, data_type, shape);
    Ok(CacheDesc { kind, remote_accessible: !desc.hidden, ..plain })
}

/// # Safety
/// `desc` is null or points to a description, whose keys have their count.
pub(super) unsafe fn keys_at(desc: *const pmd_datadist_cache_desc) -> Result<CacheKeys, Failure> {
    // SAFETY: the caller's promise.
    let desc = unsafe { reference(desc, "the description of the cache")? };
    // SAFETY: the caller's promise.
    let keys = unsafe { array(desc.keys, desc.key_count, "the array of keys")? };
    match keys {
        [] => Ok(CacheKeys::None),
        [key] if key.kind == PMD_DATADIST_KEY_BLOCKS => Ok(CacheKeys::Blocks(blocks_key(0, key))),
        rows => Ok(CacheKeys::Rows(rows.iter().map(|key| row_key(0, key)).collect::<Result<_, _>>()?)),
    }
}

/// # Safety
/// `key` is null or points to a key.
pub(super) unsafe fn key_at(key: *const pmd_datadist_key) -> Result<CacheKey, Failure> {
    // SAFETY: the caller's promise.
    row_key(0, unsafe { reference(key, "the key")? })
}

const fn blocks_key(cluster_id: u64, key: &pmd_datadist_key) -> BlocksCacheKey {
    BlocksCacheKey { cluster_id, model_id: key.model_id }
}

fn row_key(cluster_id: u64, key: &pmd_datadist_key) -> Result<CacheKey, Failure> {
    let pmd_datadist_key { kind, id, model_id } = *key;
    match kind {
        PMD_DATADIST_KEY_NONE => Ok(CacheKey::of_request(cluster_id, INVALID_ID, model_id)),
        PMD_DATADIST_KEY_REQUEST => Ok(CacheKey::of_request(cluster_id, id, model_id)),
        PMD_DATADIST_KEY_PREFIX => Ok(CacheKey::of_prefix(cluster_id, id, model_id)),
        other => Err(Failure::argument(format!("a row has no key of kind {other}"))),
    }
}

/// # Safety
/// `index` is null or points to an index, whose key is null or there.
pub(super) unsafe fn remote_at(index: *const pmd_datadist_cache_index) -> Result<RemoteCache, Failure> {
    // SAFETY: the caller's promise.
    let index = unsafe { reference(index, "the index of the remote cache")? };
    let pmd_datadist_cache_index { cluster_id, cache_id, batch_index, key } = *index;
    // SAFETY: the caller's promise.
    match unsafe { key.as_ref() } {
        None => Ok(CacheIndex { cluster_id, cache_id, batch_index }.into()),
        Some(key) if key.kind == PMD_DATADIST_KEY_BLOCKS => Ok(blocks_key(cluster_id, key).into()),
        Some(key) => Ok(row_key(cluster_id, key)?.into()),
    }
}

/// # Safety
/// `cache` is null or points to a cache, whose shape and addresses have their counts.
pub(super) unsafe fn cache_at(cache: *const pmd_datadist_cache) -> Result<Cache, Failure> {
    // SAFETY: the caller's promise.
    let cache = unsafe { reference(cache, "the cache")? };
    // SAFETY: the caller's promise.
    let (cache_desc, addresses) = unsafe {
        (desc_at(&cache.desc)?, array(cache.addresses, cache.address_count, "the array of addresses")?)
    };
    Ok(Cache { cache_id: cache.cache_id, tensor_addrs: addresses.to_vec(), cache_desc })
}

/// All layers of two tensors where there is no range.
///
/// # Safety
/// `range` is null or points to a range.
pub(super) unsafe fn range_at(range: *const pmd_datadist_range) -> KvCacheExtParam {
    // SAFETY: the caller's promise.
    unsafe { range.as_ref() }.map_or_else(KvCacheExtParam::default, |range| KvCacheExtParam {
        src_layer_range: (range.source_first, range.source_last),
        dst_layer_range: (range.destination_first, range.destination_last),
        tensor_num_per_layer: range.tensors_per_layer.into(),
    })
}
