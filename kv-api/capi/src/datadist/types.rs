//! What LLM-DataDist's functions take, as C programs say it.

use std::ffi::c_char;

use kv_api::datadist::{
    CacheDesc, CacheIndex, CachePlacement, ClusterInfo, DataType, IpInfo, KvCacheExtParam,
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

/// The shape of a cache (`CacheDesc`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_cache_desc {
    /// 0 for the host's memory, 1 for a device's.
    pub placement: u32,
    /// Number of tensors.
    pub num_tensors: u32,
    /// What they are made of: `ge::DataType` of `external/ge_common/api_error_codes.h`.
    pub data_type: i32,
    /// Dimensions of one tensor; the first counts batches, or blocks.
    pub shape: *const i64,
    /// How many.
    pub shape_length: usize,
}

/// A row of a cache of some cluster (`CacheIndex`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_cache_index {
    /// The cluster.
    pub cluster_id: u64,
    /// The cache's number there.
    pub cache_id: i64,
    /// Row of the batch.
    pub batch_index: u32,
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
    let unknown = || Failure::argument(format!("there is no data type {}", desc.data_type));
    let data_type = DataType::from_number(desc.data_type).ok_or_else(unknown)?;
    Ok(CacheDesc::new(placement, desc.num_tensors, data_type, shape))
}

/// # Safety
/// `index` is null or points to an index.
pub(super) unsafe fn index_at(index: *const pmd_datadist_cache_index) -> Result<CacheIndex, Failure> {
    // SAFETY: the caller's promise.
    let index = unsafe { reference(index, "the index of the remote cache")? };
    let pmd_datadist_cache_index { cluster_id, cache_id, batch_index } = *index;
    Ok(CacheIndex { cluster_id, cache_id, batch_index })
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
