//! Bytes that move: rows, blocks, layers, both ways.

use super::*;

#[test]
fn rows_and_blocks_are_pulled_and_pushed() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 8, 0), cache(&decoder, 4, 8, 100_000));
    let all = KvCacheExtParam::default();
    decoder.pull_kv_blocks(index(0, 1, 0), 1, &[1, 2, 3], &[1, 2, 3], &all).expect("pulled");
    decoder.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all).expect("pulled");
    for tensor in 0..4 {
        (0..4).for_each(|row| assert_eq!(ours.row(tensor, row), filled(0, tensor as i32, row as i32)));
        (4..8).for_each(|row| assert_eq!(ours.row(tensor, row), filled(100_000, tensor as i32, row as i32)));
    }
    // The other way round over the same link, by the side that listened.
    prompt.push_kv_blocks(1, index(1, 1, 0), &[5, 7], &[7, 5], &all).expect("pushed");
    prompt.push_kv_cache(1, index(1, 1, 4), 6, -1, &all).expect("pushed");
    for tensor in 0..4 {
        for (to, from) in [(7, 5), (5, 7), (4, 6)] {
            assert_eq!(ours.row(tensor, to), filled(0, tensor as i32, from), "row {to}");
        }
        assert_eq!(ours.row(tensor, 6), filled(100_000, tensor as i32, 6));
    }
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn layers_sizes_and_rows_are_as_asked() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 6, 4, 0), cache(&decoder, 4, 3, 50_000));
    let layers =
        KvCacheExtParam { src_layer_range: (1, 2), dst_layer_range: (0, 1), tensor_num_per_layer: 2 };
    decoder.pull_kv_cache(index(0, 1, 3), 1, 2, 12, &layers).expect("pulled");
    for tensor in 0..4 {
        let (number, row) = (tensor as i32, ours.row(tensor, 2));
        assert_eq!(row[..3], filled(0, number + 2, 3)[..3], "tensor {tensor}");
        assert_eq!(row[3..], filled(50_000, number, 2)[3..], "only the bytes asked for");
    }
    // A side without a range is the whole cache.
    let whole = KvCacheExtParam { src_layer_range: (0, 1), ..KvCacheExtParam::default() };
    decoder.pull_kv_blocks(index(0, 1, 0), 1, &[3], &[0], &whole).expect("pulled");
    (0..4).for_each(|tensor| assert_eq!(ours.row(tensor, 0), filled(0, tensor as i32, 3)));
    let single =
        KvCacheExtParam { src_layer_range: (3, 3), dst_layer_range: (5, 5), tensor_num_per_layer: 1 };
    decoder.push_kv_blocks(1, index(0, 1, 0), &[1], &[2], &single).expect("pushed");
    assert_eq!(theirs.row(5, 2), filled(50_000, 3, 1));
    assert_eq!(theirs.row(4, 2), filled(0, 4, 2));
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn a_contiguous_row_is_pulled_into_blocks() {
    let (prompt, decoder) = pair();
    // Rows of 48 numbers: three blocks of 16.
    let wide = CacheDesc { shape: vec![2, 48], kind: CacheKind::Batches, ..desc(2, 2) };
    let theirs = cache_with(&prompt, &wide, 0, &CacheKeys::None);
    let ours = cache(&decoder, 2, 8, 50_000);
    let all = KvCacheExtParam::default();
    decoder.pull_kv_blocks(index(0, 1, 1), 1, &[], &[6, 2, 3], &all).expect("pulled");
    for tensor in 0..2 {
        for (to, from) in [(6, 3), (2, 4), (3, 5)] {
            assert_eq!(ours.row(tensor, to), filled(0, tensor as i32, from));
        }
    }
    let error = decoder.pull_kv_blocks(index(0, 1, 1), 1, &[], &[0, 1, 2, 3], &all).expect_err("three only");
    let wanted = ArgumentError::SourceTooShort { given: 4, available: 192, block_bytes: 64 };
    assert!(matches!(&error, DataDistError::Argument(found) if *found == wanted), "{error}");
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn each_side_keeps_its_own_stride() {
    let (prompt, decoder) = pair();
    // Rows of 32 numbers there, of 16 here: row 2 begins at a place that only its owner's stride tells.
    let wide = CacheDesc { shape: vec![4, 32], ..desc(2, 4) };
    let theirs = cache_with(&prompt, &wide, 0, &CacheKeys::None);
    let ours = cache(&decoder, 2, 4, 50_000);
    let all = KvCacheExtParam::default();
    decoder.pull_kv_cache(index(0, 1, 2), 1, 3, 64, &all).expect("pulled");
    (0..2).for_each(|tensor| assert_eq!(ours.row(tensor, 3), filled(0, tensor as i32, 4)));
    decoder.push_kv_cache(1, index(0, 1, 3), 1, -1, &all).expect("pushed");
    for tensor in 0..2 {
        assert_eq!(theirs.row(tensor, 6), filled(50_000, tensor as i32, 1));
        assert_eq!(theirs.row(tensor, 7), filled(0, tensor as i32, 7));
    }
    let error = decoder.pull_kv_cache(index(0, 1, 2), 1, 0, -1, &all).expect_err("a whole row is too long");
    let wanted = ArgumentError::BeyondRow { side: Side::Destination, offset: 0, size: 128, stride: 64 };
    assert!(matches!(&error, DataDistError::Argument(found) if *found == wanted), "{error}");
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn what_is_registered_after_linking_is_found_and_what_is_unregistered_is_not() {
    let (prompt, decoder) = pair();
    let ours = cache(&decoder, 2, 2, 50_000);
    let pull = |cache_id| {
        status(decoder.pull_kv_cache(
            index(0, cache_id, 0),
            ours.cache_id,
            0,
            -1,
            &KvCacheExtParam::default(),
        ))
    };
    let push = |cache_id| {
        status(decoder.push_kv_cache(
            ours.cache_id,
            index(0, cache_id, 1),
            1,
            -1,
            &KvCacheExtParam::default(),
        ))
    };
    for round in 1..30 {
        assert_eq!(pull(round), Status::KvCacheNotExist);
        let theirs = cache(&prompt, 2, 2, round as i32);
        assert_eq!((theirs.cache_id, pull(round), push(round)), (round, Status::Success, Status::Success));
        assert_eq!(ours.row(1, 0), filled(round as i32, 1, 0));
        assert_eq!(theirs.row(1, 1), filled(50_000, 1, 1));
        prompt.unregister_kv_cache(round).expect("unregistered");
        prompt.unregister_kv_cache(round).expect("twice is no error");
        assert_eq!((pull(round), push(round)), (Status::KvCacheNotExist, Status::KvCacheNotExist));
        assert!(decoder.check_link_status(0).is_ok(), "the link does not suffer");
    }
    drop((prompt, decoder));
    drop(ours);
}

#[test]
fn caches_are_copied_and_swapped_here() {
    let datadist = start(0, &client());
    let host = CacheDesc { placement: CachePlacement::Host, ..desc(2, 4) };
    let (device, host) = (cache(&datadist, 2, 4, 0), cache_with(&datadist, &host, 50_000, &CacheKeys::None));
    datadist.copy_kv_cache(1, 2, 3, 0, 0, -1).expect("copied");
    datadist.copy_kv_cache(1, 2, 2, 1, 4, 8).expect("copied");
    datadist.copy_kv_blocks(1, 2, &[0, 1], &[vec![2, 3]]).expect("copied");
    for tensor in 0..2 {
        let number = tensor as i32;
        assert_eq!(host.row(tensor, 0), filled(0, number, 3));
        let mut part = filled(50_000, number, 1);
        part[1..3].copy_from_slice(&filled(0, number, 2)[1..3]);
        assert_eq!(host.row(tensor, 1), part);
        assert_eq!((host.row(tensor, 2), host.row(tensor, 3)), (filled(0, number, 0), filled(0, number, 1)));
    }
    // Within one cache, to several places.
    datadist.copy_kv_blocks(1, 1, &[0], &[vec![2], vec![3]]).expect("copied");
    (2..4).for_each(|row| assert_eq!(device.row(1, row), filled(0, 1, 0)));

    let described = |tensors: &Tensors, cache_id, placement| Cache {
        cache_id,
        tensor_addrs: tensors.tensors.iter().map(|tensor| tensor.as_ptr() as u64).collect(),
        cache_desc: CacheDesc { placement, ..desc(2, 4) },
    };
    let on_host = described(&host, -1, CachePlacement::Host);
    let on_device = described(&device, -1, CachePlacement::Device);
    // SAFETY: the memory is there, and nothing else uses it.
    unsafe {
        datadist.swap_blocks(&on_host, &on_device, &[(3, 0), (2, 1)]).expect("in");
        let registered = Cache { cache_id: 1, ..on_device.clone() };
        datadist.swap_blocks(&registered, &Cache { cache_id: 2, ..on_host.clone() }, &[(0, 1)]).expect("out");
        let refused = datadist.swap_blocks(&on_host, &on_host, &[(0, 1)]).expect_err("one place");
        let placement = CachePlacement::Host;
        let wanted =
            ArgumentError::SwapPlacement { source_placement: placement, destination_placement: placement };
        assert!(matches!(&refused, DataDistError::Argument(found) if *found == wanted), "{refused}");
        let short = Cache { tensor_addrs: vec![8], ..on_host.clone() };
        let refused = datadist.swap_blocks(&short, &on_device, &[(0, 1)]);
        assert_eq!(status(refused), Status::ParamInvalid);
        let null = Cache { tensor_addrs: vec![0, 8], ..on_host.clone() };
        assert_eq!(status(datadist.swap_blocks(&null, &on_device, &[(0, 1)])), Status::ParamInvalid);
        assert_eq!(status(datadist.swap_blocks(&on_host, &on_device, &[(0, 4)])), Status::ParamInvalid);
    }
    for tensor in 0..2 {
        let number = tensor as i32;
        assert_eq!(
            (device.row(tensor, 0), device.row(tensor, 1)),
            (filled(0, number, 1), filled(0, number, 0))
        );
        assert_eq!(host.row(tensor, 1), filled(0, number, 1));
    }
    assert_eq!(datadist.cache_placement(2).expect("there"), CachePlacement::Host);
    drop(datadist);
    drop((device, host));
}
