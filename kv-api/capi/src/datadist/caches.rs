//! LLM-DataDist's caches in C, and what moves between them.

use kv_api::datadist::CacheKeys;

use super::{
    find, pmd_datadist, run,
    types::{
        desc_at, index_at, pmd_datadist_blocks, pmd_datadist_cache_desc, pmd_datadist_cache_index,
        pmd_datadist_range, range_at,
    },
};
use crate::{
    boundary::{Place, array},
    status::Failure,
};

/// `RegisterKvCache`: `addresses` has one for each tensor.
///
/// # Safety
/// The tensors' memory stays mapped until the cache is unregistered, and is not touched while a transfer may; `desc` and
/// `addresses` have their counts; `cache_id` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_register_cache(
    cluster: *const pmd_datadist,
    desc: *const pmd_datadist_cache_desc,
    addresses: *const u64,
    count: usize,
    cache_id: *mut i64,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(cache_id, "the place for the cache's number")? };
        // SAFETY: the caller's promise.
        let (desc, addresses) =
            unsafe { (desc_at(desc)?, array(addresses, count, "the array of addresses")?) };
        // SAFETY: the caller's promise.
        place.put(unsafe { find(cluster)?.register_kv_cache(&desc, addresses, &CacheKeys::default())? });
        Ok(())
    })
}

/// `UnregisterKvCache`: when it returns, nothing touches the memory any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_unregister_cache(cluster: *const pmd_datadist, cache_id: i64) -> u32 {
    run(|| Ok(find(cluster)?.unregister_kv_cache(cache_id)?))
}

/// `AllocateCache`: in memory that peers of this host can map. `addresses` has room for `count`, one for each tensor.
///
/// # Safety
/// `desc` has its counts; `cache_id` may be written, and `addresses` for `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_allocate_cache(
    cluster: *const pmd_datadist,
    desc: *const pmd_datadist_cache_desc,
    cache_id: *mut i64,
    addresses: *mut u64,
    count: usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(cache_id, "the place for the cache's number")? };
        // SAFETY: the caller's promise.
        let desc = unsafe { desc_at(desc)? };
        if (addresses.is_null() && count > 0) || desc.num_tensors as usize != count {
            let text = format!("room for {count} addresses of {} tensors", desc.num_tensors);
            return Err(Failure::argument(text).into());
        }
        let cache = find(cluster)?.allocate_cache(&desc, &CacheKeys::default())?;
        for (index, address) in cache.tensor_addrs.iter().enumerate() {
            // SAFETY: there is room for as many as there are tensors.
            unsafe { Place::optional(addresses.add(index)) }.put(*address);
        }
        place.put(cache.cache_id);
        Ok(())
    })
}

/// `DeallocateCache`.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_deallocate_cache(cluster: *const pmd_datadist, cache_id: i64) -> u32 {
    run(|| Ok(find(cluster)?.deallocate_cache(cache_id)?))
}

/// `PullKvCache`: `size` bytes of one row of every tensor, or all with -1. `range` NULL: all layers.
///
/// # Safety
/// `source` points to an index; `range` is NULL or points to a range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_pull_cache(
    cluster: *const pmd_datadist,
    source: *const pmd_datadist_cache_index,
    destination: i64,
    batch_index: u32,
    size: i64,
    range: *const pmd_datadist_range,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (source, range) = unsafe { (index_at(source)?, range_at(range)) };
        Ok(find(cluster)?.pull_kv_cache(source, destination, batch_index, size, &range)?)
    })
}

/// `PullKvBlocks`: block `source_blocks.blocks[i]` to block `destination_blocks.blocks[i]` of every tensor. Without
/// source blocks the source is contiguous.
///
/// # Safety
/// As `pmd_datadist_pull_cache`; the lists have their counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_pull_blocks(
    cluster: *const pmd_datadist,
    source: *const pmd_datadist_cache_index,
    destination: i64,
    source_blocks: pmd_datadist_blocks,
    destination_blocks: pmd_datadist_blocks,
    range: *const pmd_datadist_range,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (source, range) = unsafe { (index_at(source)?, range_at(range)) };
        // SAFETY: the caller's promise.
        let (from, to) = unsafe { (blocks(&source_blocks)?, blocks(&destination_blocks)?) };
        Ok(find(cluster)?.pull_kv_blocks(source, destination, from, to, &range)?)
    })
}

/// `PushKvCache`: one row of every tensor; `size` is -1. `range` NULL: all layers.
///
/// # Safety
/// `destination` points to an index; `range` is NULL or points to a range.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_push_cache(
    cluster: *const pmd_datadist,
    source: i64,
    destination: *const pmd_datadist_cache_index,
    batch_index: u32,
    size: i64,
    range: *const pmd_datadist_range,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (destination, range) = unsafe { (index_at(destination)?, range_at(range)) };
        Ok(find(cluster)?.push_kv_cache(source, destination, batch_index, size, &range)?)
    })
}

/// `PushKvBlocks`.
///
/// # Safety
/// As `pmd_datadist_push_cache`; the lists have their counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_push_blocks(
    cluster: *const pmd_datadist,
    source: i64,
    destination: *const pmd_datadist_cache_index,
    source_blocks: pmd_datadist_blocks,
    destination_blocks: pmd_datadist_blocks,
    range: *const pmd_datadist_range,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (destination, range) = unsafe { (index_at(destination)?, range_at(range)) };
        // SAFETY: the caller's promise.
        let (from, to) = unsafe { (blocks(&source_blocks)?, blocks(&destination_blocks)?) };
        Ok(find(cluster)?.push_kv_blocks(source, destination, from, to, &range)?)
    })
}

/// `CopyKvCache`: within this process, `size` bytes at `offset` of one row, or all with -1.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_copy_cache(
    cluster: *const pmd_datadist,
    source: i64,
    destination: i64,
    source_batch_index: u32,
    destination_batch_index: u32,
    offset: u64,
    size: i64,
) -> u32 {
    run(|| {
        let (from, to) = (source_batch_index, destination_batch_index);
        Ok(find(cluster)?.copy_kv_cache(source, destination, from, to, offset, size)?)
    })
}

/// `CopyKvBlocks`: within this process, to each of `count` lists of blocks.
///
/// # Safety
/// The lists have their counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_copy_blocks(
    cluster: *const pmd_datadist,
    source: i64,
    destination: i64,
    source_blocks: pmd_datadist_blocks,
    destination_lists: *const pmd_datadist_blocks,
    count: usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (from, lists) = unsafe {
            (blocks(&source_blocks)?, array(destination_lists, count, "the array of lists of blocks")?)
        };
        // SAFETY: the caller's promise.
        let list = |list| unsafe { blocks(list) }.map(<[u64]>::to_vec);
        let lists = lists.iter().map(list).collect::<Result<Vec<_>, Failure>>()?;
        Ok(find(cluster)?.copy_kv_blocks(source, destination, from, &lists)?)
    })
}

/// # Safety
/// The list has its count.
unsafe fn blocks<'a>(list: &pmd_datadist_blocks) -> Result<&'a [u64], Failure> {
    // SAFETY: the caller's promise.
    unsafe { array(list.blocks, list.count, "a list of blocks") }
}
