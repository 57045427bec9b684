//! LLM-DataDist's caches by keys, layer tasks, and blocks between host and device.

use std::ffi::c_void;

use kv_api::datadist::Status;

use super::{datadist::*, *};
use crate::datadist::*;

const fn key(kind: u32, id: u64) -> pmd_datadist_key {
    pmd_datadist_key { kind, id, model_id: 1 }
}

/// A cache of a cluster's memory, of one kind, under keys.
fn register(cluster: &mut Cluster, kind: u32, keys: &[pmd_datadist_key]) -> Result<i64, u32> {
    let addresses: Vec<u64> = cluster.memory.iter_mut().map(|tensor| tensor.as_mut_ptr() as u64).collect();
    let desc = pmd_datadist_cache_desc { kind, keys: keys.as_ptr(), key_count: keys.len(), ..desc() };
    // SAFETY: memory that outlives the cache.
    made_by(-1, |place| unsafe {
        pmd_datadist_register_cache(cluster.handle, &desc, addresses.as_ptr(), TENSORS, place)
    })
}

fn by_key(cluster_id: u64, key: &pmd_datadist_key) -> pmd_datadist_cache_index {
    pmd_datadist_cache_index { cluster_id, cache_id: -1, batch_index: 9, key }
}

/// Cluster 0, which listens and is filled with 7, and cluster 1, filled with 1, which has linked to it.
fn pair() -> (Cluster, Cluster) {
    let (listen, port) = free_address();
    let (prompt, decoder) = (Cluster::new(0, Some(&listen), 7), Cluster::new(1, None, 1));
    let addresses = [address(port)];
    // SAFETY: one cluster, and no statuses.
    let linked =
        unsafe { pmd_datadist_link(decoder.handle, &remote(0, &addresses), 1, null_mut(), TIMEOUT_MS) };
    assert_eq!(linked, 0, "{}", last_error());
    (prompt, decoder)
}

#[test]
fn caches_are_found_by_keys_until_those_are_removed() {
    let (mut prompt, mut decoder) = pair();
    prompt.memory.iter_mut().for_each(|tensor| tensor[16..32].fill(8));
    let keys =
        [key(PMD_DATADIST_KEY_NONE, 0), key(PMD_DATADIST_KEY_REQUEST, 70), key(PMD_DATADIST_KEY_PREFIX, 70)];
    let rows = register(&mut prompt, 1, &keys).expect("registered");
    let blocks_key = key(PMD_DATADIST_KEY_BLOCKS, 0);
    register(&mut prompt, 2, &[blocks_key]).expect("registered");
    let ours = register(&mut decoder, 2, &[]).expect("registered");
    let pull = |source: &pmd_datadist_cache_index, row| {
        // SAFETY: a key that lives, and no range.
        unsafe { pmd_datadist_pull_cache(decoder.handle, source, decoder.cache, row, -1, null()) }
    };
    assert_eq!(pull(&by_key(0, &keys[1]), 3), 0, "{}", last_error());
    assert_eq!(pull(&by_key(0, &keys[2]), 4), 0, "{}", last_error());
    let found = by_key(0, &blocks_key);
    // SAFETY: lists of their counts.
    let blocks =
        unsafe { pmd_datadist_pull_blocks(decoder.handle, &found, ours, blocks(&[1]), blocks(&[6]), null()) };
    assert_eq!(blocks, 0, "{}", last_error());
    assert_eq!((0..8).map(|at| row(&decoder, at)).collect::<Vec<_>>(), [1, 1, 1, 8, 7, 1, 8, 1]);

    // SAFETY: a key, or none.
    let remove = |key: *const pmd_datadist_key| unsafe { pmd_datadist_remove_cache_key(prompt.handle, key) };
    assert_eq!((remove(&keys[1]), remove(&keys[1])), (0, 0));
    assert_eq!(pull(&by_key(0, &keys[1]), 3), Status::KvCacheNotExist.code());
    let invalid = Status::ParamInvalid.code();
    let wrong = key(9, 0);
    assert_eq!((remove(null()), remove(&blocks_key), remove(&wrong)), (invalid, invalid, invalid));
    assert_eq!(pull(&by_key(0, &wrong), 3), invalid);
    assert_eq!(register(&mut prompt, 1, &[wrong]), Err(invalid));
    assert_eq!(register(&mut prompt, 3, &[]), Err(invalid));
    assert_eq!(pmd_datadist_unregister_cache(prompt.handle, rows), 0);
}

/// Lets every layer go, and counts them.
unsafe extern "C" fn computed(context: *mut c_void, layer: u32, timeout_ms: i64) -> bool {
    // SAFETY: the tests give a number that outlives their tasks.
    let asked = unsafe { &mut *context.cast::<u32>() };
    let in_turn = layer == *asked && timeout_ms < 0;
    *asked += 1;
    in_turn
}

unsafe extern "C" fn refused(_: *mut c_void, _: u32, _: i64) -> bool {
    false
}

fn destination(to: pmd_datadist_cache_index) -> pmd_datadist_destination {
    pmd_datadist_destination {
        to,
        addresses: null(),
        address_count: 0,
        source_first: 0,
        source_end: 0,
        destination_first: 0,
        destination_end: 0,
        source_batch_index: 0,
    }
}

fn start(
    cluster: &Cluster,
    synchronizer: pmd_datadist_synchronizer,
    asked: &mut u32,
    destinations: &[pmd_datadist_destination],
    blocks: Option<&pmd_datadist_task_blocks>,
) -> Result<*mut pmd_datadist_task, u32> {
    let (asked, blocks) = ((&raw mut *asked).cast(), blocks.map_or(null(), |blocks| &raw const *blocks));
    let (handle, cache, count) = (cluster.handle, cluster.cache, destinations.len());
    // SAFETY: destinations of their count, and a number that the tests keep until the task is done.
    made_by(null_mut(), |place| unsafe {
        pmd_datadist_transfer_async(
            handle,
            cache,
            synchronizer,
            asked,
            destinations.as_ptr(),
            count,
            blocks,
            place,
        )
    })
}

#[test]
fn layers_are_sent_by_a_task() {
    let (prompt, mut decoder) = pair();
    let row_5 =
        pmd_datadist_cache_index { cluster_id: 1, cache_id: decoder.cache, batch_index: 5, key: null() };
    // Rows to a row of the cache, and the second layer's tensors to addresses.
    let addresses: Vec<u64> =
        decoder.memory[2..].iter_mut().map(|tensor| tensor.as_mut_ptr() as u64).collect();
    let to_addresses = pmd_datadist_destination {
        addresses: addresses.as_ptr(),
        address_count: 2,
        source_first: 1,
        source_end: 2,
        ..destination(row_5)
    };
    let mut asked = 0;
    let task = start(&prompt, Some(computed), &mut asked, &[destination(row_5), to_addresses], None);
    let task = task.unwrap_or_else(|code| panic!("{code:#x}: {}", last_error()));
    assert_eq!(pmd_datadist_task_wait(task, -1), 0, "{}", last_error());
    let (mut statuses, mut count, mut done) = ([9; 2], 0, false);
    // SAFETY: room for two statuses, and places for results.
    unsafe {
        assert_eq!(pmd_datadist_task_is_done(task, &mut done), 0);
        let short = pmd_datadist_task_results(task, 0, statuses.as_mut_ptr(), 1, &mut count);
        assert_eq!((short, count), (Status::ParamInvalid.code(), 2));
        assert_eq!(pmd_datadist_task_results(task, 0, statuses.as_mut_ptr(), 2, &mut count), 0);
    }
    assert_eq!((statuses, count, done, asked), ([0, 0], 2, true, 2));
    assert_eq!(
        (pmd_datadist_task_release(task), pmd_datadist_task_release(task)),
        (0, Status::ParamInvalid.code())
    );
    for (tensor, memory) in decoder.memory.iter().enumerate() {
        assert!(memory[5 * 16..6 * 16].iter().all(|word| *word == 7), "tensor {tensor}");
        let wanted = if tensor < 2 { 1 } else { 7 };
        assert!(memory[..16].iter().all(|word| *word == wanted), "tensor {tensor}");
    }
}

#[test]
fn tasks_that_cannot_be_are_refused_and_given_up() {
    let (prompt, decoder) = pair();
    let to = pmd_datadist_cache_index { cluster_id: 1, cache_id: decoder.cache, batch_index: 0, key: null() };
    let (mut asked, invalid) = (0, Status::ParamInvalid.code());
    assert_eq!(start(&prompt, None, &mut asked, &[destination(to)], None), Err(invalid));
    let request = key(PMD_DATADIST_KEY_REQUEST, 1);
    assert_eq!(
        start(&prompt, Some(computed), &mut asked, &[destination(by_key(1, &request))], None),
        Err(invalid)
    );
    let uneven = pmd_datadist_task_blocks {
        source: blocks(&[0, 1]),
        destination: blocks(&[0]),
        destination_block_bytes: 0,
    };
    assert_eq!(start(&prompt, Some(computed), &mut asked, &[destination(to)], Some(&uneven)), Err(invalid));
    let task = start(&prompt, Some(refused), &mut asked, &[destination(to)], None).expect("started");
    assert_ne!(pmd_datadist_task_wait(task, -1), 0);
    assert_eq!((pmd_datadist_task_release(task), asked), (0, 0));
    assert_eq!(row(&decoder, 0), 1);
    assert_eq!(pmd_datadist_task_wait(null(), 0), invalid);
}

#[test]
fn blocks_are_swapped_between_host_and_device() {
    let mut cluster = Cluster::new(1, None, 1);
    let mut device = vec![vec![5_i32; 8 * 16]; TENSORS];
    let described = |tensors: &mut [Vec<i32>], placement, addresses: &mut Vec<u64>| {
        *addresses = tensors.iter_mut().map(|tensor| tensor.as_mut_ptr() as u64).collect();
        pmd_datadist_cache {
            cache_id: -1,
            desc: pmd_datadist_cache_desc { placement, ..desc() },
            addresses: addresses.as_ptr(),
            address_count: TENSORS,
        }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let host = described(&mut cluster.memory, 0, &mut ours);
    let device_cache = described(&mut device, 1, &mut theirs);
    let pairs = [pmd_datadist_block_pair { source: 0, destination: 3 }];
    let swap = |from: *const pmd_datadist_cache, to: *const pmd_datadist_cache| {
        // SAFETY: described memory that is there, and one pair.
        unsafe { pmd_datadist_swap_blocks(cluster.handle, from, to, pairs.as_ptr(), 1) }
    };
    assert_eq!(swap(&device_cache, &host), 0, "{}", last_error());
    let invalid = Status::ParamInvalid.code();
    assert_eq!((swap(&host, &host), swap(null(), &host)), (invalid, invalid));
    assert_eq!((0..8).map(|at| row(&cluster, at)).collect::<Vec<_>>(), [1, 1, 1, 5, 1, 1, 1, 1]);
}
