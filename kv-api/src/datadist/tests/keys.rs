//! Caches that are found by keys, and caches that are allocated here.

use super::*;

fn rows(keys: &[u64]) -> CacheKeys {
    CacheKeys::Rows(keys.iter().map(|req_id| CacheKey::of_request(0, *req_id, 0)).collect())
}

fn batches(tensors: u32, rows: i64) -> CacheDesc {
    CacheDesc { kind: CacheKind::Batches, ..desc(tensors, rows) }
}

/// The numbers of an allocated cache.
fn numbers(cache: &Cache, tensor: usize) -> Vec<i32> {
    let bytes = cache.cache_desc.shape.iter().product::<i64>() as usize;
    let first = cache.tensor_addrs[tensor] as *const i32;
    // SAFETY: the cache is allocated, and nothing moves while the tests look.
    (0..bytes).map(|place| unsafe { first.add(place).read_volatile() }).collect()
}

fn fill(cache: &Cache, tensor: usize, value: i32) {
    let numbers = cache.cache_desc.shape.iter().product::<i64>() as usize;
    let first = cache.tensor_addrs[tensor] as *mut i32;
    // SAFETY: the cache is allocated, and nothing moves while the tests write.
    (0..numbers).for_each(|place| unsafe { first.add(place).write_volatile(value + place as i32) });
}

#[test]
fn rows_are_found_by_request_and_by_prefix() {
    let (prompt, decoder) = pair();
    let keys = vec![
        CacheKey::of_request(9, 70, 1),
        CacheKey { req_id: INVALID_ID, ..CacheKey::of_request(0, 0, 0) },
        CacheKey::of_prefix(9, 70, 1),
    ];
    let theirs = cache_with(&prompt, &batches(2, 4), 0, &CacheKeys::Rows(keys));
    let ours = cache_with(&decoder, &batches(2, 2), 50_000, &CacheKeys::None);
    let all = KvCacheExtParam::default();
    let by_request = CacheKey::of_request(0, 70, 1);
    decoder.pull_kv_cache(by_request, ours.cache_id, 0, -1, &all).expect("pulled");
    decoder.pull_kv_cache(CacheKey::of_prefix(0, 70, 1), ours.cache_id, 1, -1, &all).expect("pulled");
    for tensor in 0..2 {
        assert_eq!(ours.row(tensor, 0), filled(0, tensor as i32, 0));
        assert_eq!(ours.row(tensor, 1), filled(0, tensor as i32, 2));
    }
    // A key of a registered cache can be used again, until it is removed.
    decoder.pull_kv_cache(by_request, ours.cache_id, 1, -1, &all).expect("pulled");
    assert_eq!(ours.row(0, 1), filled(0, 0, 0));
    prompt.remove_cache_key(&by_request).expect("removed");
    prompt.remove_cache_key(&by_request).expect("removed before");
    let gone = decoder.pull_kv_cache(by_request, ours.cache_id, 1, -1, &all).expect_err("removed");
    assert!(
        matches!(gone, DataDistError::NoSuchRemoteCache { cache } if cache == by_request.into()),
        "{gone}"
    );
    assert_eq!(gone.status(), Status::KvCacheNotExist);
    let neither = CacheKey::of_request(0, INVALID_ID, 0);
    let both = CacheKey { prefix_id: 1, ..by_request };
    for key in [neither, both] {
        let refused = decoder.pull_kv_cache(key, ours.cache_id, 1, -1, &all).expect_err("no key");
        assert!(matches!(refused, DataDistError::Argument(ArgumentError::Key)), "{refused}");
    }
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn blocks_are_found_by_model() {
    let (prompt, decoder) = pair();
    let blocks_desc = CacheDesc { kind: CacheKind::Blocks, ..desc(2, 8) };
    let key = |cluster_id, model_id| BlocksCacheKey { cluster_id, model_id };
    let theirs = cache_with(&prompt, &blocks_desc, 0, &CacheKeys::Blocks(key(0, 3)));
    let other = cache_with(&prompt, &blocks_desc, 30_000, &CacheKeys::Blocks(key(0, 4)));
    let ours = cache_with(&decoder, &blocks_desc, 50_000, &CacheKeys::Blocks(key(1, 3)));
    let all = KvCacheExtParam::default();
    decoder.pull_kv_blocks(key(0, 3), ours.cache_id, &[1, 2, 7], &[0, 1, 2], &all).expect("pulled");
    decoder.pull_kv_blocks(key(0, 4), ours.cache_id, &[5], &[5], &all).expect("pulled");
    prompt.push_kv_blocks(theirs.cache_id, key(1, 3), &[6], &[7], &all).expect("pushed");
    for tensor in 0..2 {
        let number = tensor as i32;
        for (to, from) in [(0, 1), (1, 2), (2, 7), (7, 6)] {
            assert_eq!(ours.row(tensor, to), filled(0, number, from));
        }
        assert_eq!(ours.row(tensor, 5), filled(30_000, number, 5));
        assert_eq!(ours.row(tensor, 3), filled(50_000, number, 3));
    }
    let missing = decoder.pull_kv_blocks(key(0, 5), ours.cache_id, &[1], &[1], &all);
    assert_eq!(status(missing), Status::KvCacheNotExist);
    // Its own kind of index only.
    let refused = decoder.pull_kv_cache(index(0, 1, 0), ours.cache_id, 0, -1, &all).expect_err("blocks");
    assert!(matches!(refused, DataDistError::Argument(ArgumentError::NotBatches { .. })), "{refused}");
    drop((prompt, decoder));
    drop((theirs, other, ours));
}

#[test]
fn keys_that_cannot_be_are_refused_and_leave_no_cache() {
    let prompt = start(0, &client());
    let first = prompt.allocate_cache(&batches(1, 2), &rows(&[1, 2])).expect("allocated");
    let refuse = |keys: &CacheKeys| match prompt.allocate_cache(&batches(1, 2), keys) {
        Err(DataDistError::Argument(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refuse(&rows(&[3, 2])), ArgumentError::KeyTaken { cache_id: first.cache_id });
    assert_eq!(refuse(&rows(&[3, 3])), ArgumentError::KeyTwice);
    assert_eq!(refuse(&rows(&[3, 4, 5])), ArgumentError::KeyCount { given: 3, rows: 2 });
    let next = prompt.allocate_cache(&batches(1, 2), &rows(&[3])).expect("allocated");
    assert_eq!(next.cache_id, first.cache_id + 1, "none of the others was made");
}

#[test]
fn an_allocated_row_is_pulled_once_and_the_cache_goes_with_its_last_row() {
    let (prompt, decoder) = pair();
    let theirs = prompt.allocate_cache(&batches(4, 3), &rows(&[10, 11, 12])).expect("allocated");
    (0..4).for_each(|tensor| fill(&theirs, tensor, 100 * tensor as i32));
    let ours = decoder.allocate_cache(&batches(4, 1), &CacheKeys::None).expect("allocated");
    let key = |req_id| CacheKey::of_request(0, req_id, 0);
    let all = KvCacheExtParam::default();
    prompt.deallocate_cache(theirs.cache_id).expect("released");
    decoder.pull_kv_cache(key(11), ours.cache_id, 0, -1, &all).expect("kept for its keys");
    for tensor in 0..4 {
        assert_eq!(
            numbers(&ours, tensor),
            (16..32).map(|place| 100 * tensor as i32 + place).collect::<Vec<_>>()
        );
    }
    let again = decoder.pull_kv_cache(key(11), ours.cache_id, 0, -1, &all);
    assert_eq!(status(again), Status::KvCacheNotExist, "pulled before");
    // Layer by layer: the key goes with the last.
    for layer in 0..2 {
        let layers =
            KvCacheExtParam { src_layer_range: (layer, layer), dst_layer_range: (layer, layer), ..all };
        decoder.pull_kv_cache(key(10), ours.cache_id, 0, -1, &layers).expect("pulled");
    }
    assert_eq!(numbers(&ours, 3), (0..16).map(|place| 300 + place).collect::<Vec<_>>());
    assert_eq!(status(decoder.pull_kv_cache(key(10), ours.cache_id, 0, -1, &all)), Status::KvCacheNotExist);
    let by_number = index(0, theirs.cache_id, 2);
    decoder.pull_kv_cache(by_number, ours.cache_id, 0, -1, &all).expect("still there");
    prompt.remove_cache_key(&key(12)).expect("removed");
    assert_eq!(status(decoder.pull_kv_cache(by_number, ours.cache_id, 0, -1, &all)), Status::KvCacheNotExist);
    // What is no longer there is no error.
    prompt.deallocate_cache(theirs.cache_id).expect("gone");
    prompt.deallocate_cache(999).expect("never there");
}

#[test]
fn deallocate_leaves_registered_caches_and_frees_blocks_at_once() {
    let (prompt, decoder) = pair();
    let registered = cache(&prompt, 2, 2, 0);
    let ours = cache(&decoder, 2, 2, 500);
    prompt.deallocate_cache(registered.cache_id).expect("nothing to do");
    let all = KvCacheExtParam::default();
    decoder.pull_kv_cache(index(0, registered.cache_id, 1), ours.cache_id, 1, -1, &all).expect("still there");
    let blocks_desc = CacheDesc { kind: CacheKind::Blocks, ..desc(2, 2) };
    let key = BlocksCacheKey { cluster_id: 0, model_id: 0 };
    let blocks = prompt.allocate_cache(&blocks_desc, &CacheKeys::Blocks(key)).expect("allocated");
    decoder.pull_kv_blocks(key, ours.cache_id, &[0], &[0], &all).expect("pulled");
    prompt.deallocate_cache(blocks.cache_id).expect("freed");
    assert_eq!(status(decoder.pull_kv_blocks(key, ours.cache_id, &[0], &[0], &all)), Status::KvCacheNotExist);
    let by_number = decoder.pull_kv_blocks(index(0, blocks.cache_id, 0), ours.cache_id, &[0], &[0], &all);
    assert_eq!(status(by_number), Status::KvCacheNotExist);
    drop((prompt, decoder));
    drop((registered, ours));
}

#[test]
fn pools_bound_what_is_allocated_and_take_it_back() {
    let mebibyte =
        |placement| CacheDesc { placement, ..CacheDesc::new(placement, 1, DataType::Uint8, &[16, 65536]) };
    let pool = "{\"memory_size\": 4194304}";
    let options = with(with(client(), OPTION_MEMORY_POOL, pool), OPTION_HOST_MEMORY_POOL, pool);
    let datadist = start(0, &options);
    for (placement, full) in
        [(CachePlacement::Device, Status::DeviceOutOfMemory), (CachePlacement::Host, Status::OutOfMemory)]
    {
        for _ in 0..3 {
            let allocate = || datadist.allocate_cache(&mebibyte(placement), &CacheKeys::None);
            let caches: Vec<Cache> = (0..4).map(|_| allocate().expect("there is room")).collect();
            let error = allocate().expect_err("full");
            assert_eq!(error.status(), full, "{error}");
            let mut starts: Vec<u64> = caches.iter().map(|cache| cache.tensor_addrs[0]).collect();
            starts.sort_unstable();
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 1 << 20), "{starts:?}");
            caches.iter().for_each(|cache| datadist.deallocate_cache(cache.cache_id).expect("freed"));
        }
    }
    // Without a bound it is the system that says no.
    let datadist = start(0, &client());
    for (placement, full) in
        [(CachePlacement::Device, Status::DeviceOutOfMemory), (CachePlacement::Host, Status::OutOfMemory)]
    {
        let huge = CacheDesc::new(placement, 1000, DataType::Uint8, &[1 << 20, 1 << 20]);
        let error = datadist.allocate_cache(&huge, &CacheKeys::None).expect_err("no such machine");
        assert_eq!(error.status(), full, "{error}");
        datadist.allocate_cache(&mebibyte(placement), &CacheKeys::None).expect("a small one is there");
    }
}
