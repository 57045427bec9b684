//! LLM-DataDist's caches in C, and what moves between them.

use super::{
    find, pmd_datadist, run,
    types::{
        cache_at, desc_at, key_at, keys_at, pmd_datadist_block_pair, pmd_datadist_blocks, pmd_datadist_cache,
        pmd_datadist_cache_desc, pmd_datadist_cache_index, pmd_datadist_key, pmd_datadist_range, range_at,
        remote_at,
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
        let (described, keys) = unsafe { (desc_at(desc)?, keys_at(desc)?) };
        // SAFETY: the caller's promise.
        let addresses = unsafe { array(addresses, count, "the array of addresses")? };
        // SAFETY: the caller's promise.
        place.put(unsafe { find(cluster)?.register_kv_cache(&described, addresses, &keys)? });
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
        let (desc, keys) = unsafe { (desc_at(desc)?, keys_at(desc)?) };
        if (addresses.is_null() && count > 0) || desc.num_tensors as usize != count {
            let text = format!("room for {count} addresses of {} tensors", desc.num_tensors);
            return Err(Failure::argument(text).into());
        }
        let cache = find(cluster)?.allocate_cache(&desc, &keys)?;
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

/// Takes a key of a row away: peers do not find the cache by it any more. A key that is not there is no error.
///
/// # Safety
/// `key` points to a key.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_remove_cache_key(
    cluster: *const pmd_datadist,
    key: *const pmd_datadist_key,
) -> u32 {
    // SAFETY: the caller's promise.
    run(|| Ok(find(cluster)?.remove_cache_key(&unsafe { key_at(key)? })?))
}

/// `swap_blocks`: copies blocks between a cache on the host and one on the device, each pair's source to its destination.
///
/// # Safety
/// The caches' arrays and the pairs have their counts; the tensors of a cache with number -1 are mapped, and nothing else
/// uses the blocks that are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_swap_blocks(
    cluster: *const pmd_datadist,
    source: *const pmd_datadist_cache,
    destination: *const pmd_datadist_cache,
    pairs: *const pmd_datadist_block_pair,
    count: usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (from, to) = unsafe { (cache_at(source)?, cache_at(destination)?) };
        // SAFETY: the caller's promise.
        let pairs = unsafe { array(pairs, count, "the array of pairs of blocks")? };
        let pairs: Vec<_> = pairs.iter().map(|pair| (pair.source, pair.destination)).collect();
        // SAFETY: the caller's promise.
        unsafe { find(cluster)?.swap_blocks(&from, &to, &pairs)? };
        Ok(())
    })
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
        let (source, range) = unsafe { (remote_at(source)?, range_at(range)) };
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
        let (source, range) = unsafe { (remote_at(source)?, range_at(range)) };
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
        let (destination, range) = unsafe { (remote_at(destination)?, range_at(range)) };
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
        let (destination, range) = unsafe { (remote_at(destination)?, range_at(range)) };
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
pub(super) unsafe fn blocks<'a>(list: &pmd_datadist_blocks) -> Result<&'a [u64], Failure> {
    // SAFETY: the caller's promise.
    Ok(unsafe { array(list.blocks, list.count, "a list of blocks")? })
}
