//! Every status, produced: what is refused, and that nothing moves then.

use super::*;

#[test]
fn nothing_works_before_initialize_and_after_finalize() {
    let datadist = LlmDataDist::new(7, LlmRole::Prompt);
    let all = KvCacheExtParam::default();
    let check = |datadist: &LlmDataDist| {
        let failures = [
            datadist.set_role(LlmRole::Mix, &Options::new()),
            datadist.link_llm_clusters(&[], 1).map(drop),
            datadist.unlink_llm_clusters(&[], 1, true).map(drop),
            datadist.check_link_status(1),
            datadist.local_address().map(drop),
            datadist.transport(1).map(drop),
            // SAFETY: it is refused.
            unsafe { datadist.register_kv_cache(&desc(1, 1), &[8], &CacheKeys::None) }.map(drop),
            datadist.unregister_kv_cache(1),
            datadist.allocate_cache(&desc(1, 1), &CacheKeys::None).map(drop),
            datadist.deallocate_cache(1),
            datadist.remove_cache_key(&CacheKey::of_request(0, 1, 0)),
            datadist.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all),
            datadist.pull_kv_blocks(index(0, 1, 0), 1, &[0], &[0], &all),
            datadist.push_kv_cache(1, index(0, 1, 0), 0, -1, &all),
            datadist.push_kv_blocks(1, index(0, 1, 0), &[0], &[0], &all),
            datadist.copy_kv_cache(1, 1, 0, 0, 0, -1),
            datadist.copy_kv_blocks(1, 1, &[0], &[vec![0]]),
            datadist.transfer_cache_async(1, |_, _| true, &[], TransferBlocks::default()).map(drop),
        ];
        for failure in failures {
            assert!(matches!(failure, Err(DataDistError::NotInitialised)), "{failure:?}");
        }
    };
    check(&datadist);
    datadist.finalize();
    datadist.initialize(&client()).expect("initialised");
    datadist.initialize(&Options::new()).expect("once is enough");
    assert!(datadist.is_initialized());
    let cache = cache(&datadist, 1, 2, 0);
    assert_eq!(cache.cache_id, 1);
    datadist.finalize();
    datadist.finalize();
    check(&datadist);
    assert_eq!(status(datadist.unregister_kv_cache(1)), Status::Failed);
}

fn argument(result: Result<(), DataDistError>) -> ArgumentError {
    match result {
        Err(DataDistError::Argument(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn caches_that_cannot_be_are_refused() {
    let datadist = start(0, &client());
    let memory = [0_i32; 256];
    let place = memory.as_ptr() as u64;
    let register = |desc: &CacheDesc, addresses: &[u64]| {
        // SAFETY: the memory outlives the process, and what is not there is refused.
        argument(unsafe { datadist.register_kv_cache(desc, addresses, &CacheKeys::None) }.map(drop))
    };
    let shaped = |shape: &[i64]| CacheDesc::new(CachePlacement::Host, 1, DataType::Int32, shape);
    assert_eq!(register(&shaped(&[]), &[place]), ArgumentError::Dimensions { given: 0 });
    assert_eq!(register(&shaped(&[1; 33]), &[place]), ArgumentError::Dimensions { given: 33 });
    assert_eq!(register(&shaped(&[2, 0]), &[place]), ArgumentError::Dimension { index: 1, value: 0 });
    assert_eq!(register(&shaped(&[-2, 1]), &[place]), ArgumentError::Dimension { index: 0, value: -2 });
    assert_eq!(register(&shaped(&[i64::MAX, 2]), &[place]), ArgumentError::TooLarge);
    let undefined = CacheDesc { data_type: DataType::Undefined, ..shaped(&[1]) };
    assert_eq!(register(&undefined, &[place]), ArgumentError::DataType { data_type: DataType::Undefined });
    let bits = CacheDesc { data_type: DataType::Uint1, ..shaped(&[9]) };
    assert_eq!(register(&bits, &[place]), ArgumentError::EmptyRows { bytes: 2, rows: 9 });
    assert_eq!(register(&desc(0, 1), &[]), ArgumentError::NoTensors);
    assert_eq!(register(&desc(2, 1), &[place]), ArgumentError::AddressCount { given: 1, wanted: 2 });
    assert_eq!(register(&desc(2, 1), &[place, 0]), ArgumentError::Address { index: 1, address: 0 });
    let end = u64::MAX - 10;
    assert_eq!(register(&desc(1, 1), &[end]), ArgumentError::Address { index: 0, address: end });
    // SAFETY: nobody maps the page; it is refused.
    let unmapped =
        unsafe { datadist.register_kv_cache(&desc(1, 1), &[4096], &CacheKeys::None) }.expect_err("unmapped");
    assert!(matches!(unmapped, DataDistError::Register { address: 4096, .. }), "{unmapped}");
    assert_eq!(unmapped.status(), Status::Failed);
    // SAFETY: as above.
    let first = unsafe { datadist.register_kv_cache(&shaped(&[1; 32]), &[place], &CacheKeys::None) };
    assert_eq!(first.expect("32 dimensions"), 1, "none of the others took a number");
    drop(datadist);
}

#[test]
fn pulls_that_cannot_be_are_refused_before_a_byte_moves() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 8, 0), cache(&decoder, 4, 6, 50_000));
    let all = KvCacheExtParam::default();
    let (source, destination) = (Side::Source, Side::Destination);
    let pull = |row, to, size, layers: &KvCacheExtParam| {
        argument(decoder.pull_kv_cache(index(0, 1, row), 1, to, size, layers))
    };
    assert_eq!(pull(8, 0, -1, &all), ArgumentError::BatchIndex { side: source, index: 8, rows: 8 });
    assert_eq!(pull(0, 6, -1, &all), ArgumentError::BatchIndex { side: destination, index: 6, rows: 6 });
    for size in [0, -2, i64::MIN] {
        assert_eq!(pull(0, 0, size, &all), ArgumentError::Size { size });
    }
    let beyond = ArgumentError::BeyondRow { side: destination, offset: 0, size: 65, stride: 64 };
    assert_eq!(pull(0, 0, 65, &all), beyond);
    let layers = |src_layer_range, dst_layer_range, tensor_num_per_layer| KvCacheExtParam {
        src_layer_range,
        dst_layer_range,
        tensor_num_per_layer,
    };
    let default = (-1, -1);
    assert_eq!(pull(0, 0, -1, &layers(default, default, 0)), ArgumentError::EmptyLayer);
    let wrong = ArgumentError::Layers { side: destination, first: 1, last: 0 };
    assert_eq!(pull(0, 0, -1, &layers(default, (1, 0), 2)), wrong);
    let wrong = ArgumentError::Layers { side: source, first: -1, last: 0 };
    assert_eq!(pull(0, 0, -1, &layers((-1, 0), (0, 0), 2)), wrong);
    let uneven = ArgumentError::UnevenLayers { side: destination, tensors: 4, per_layer: 3 };
    assert_eq!(pull(0, 0, -1, &layers((0, 0), (0, 0), 3)), uneven);
    let last = ArgumentError::LayersBeyond { side: source, last: 2, layers: 2 };
    assert_eq!(pull(0, 0, -1, &layers((2, 2), (0, 0), 2)), last);
    let counts = ArgumentError::TensorCount { source_tensors: 2, destination_tensors: 4 };
    assert_eq!(pull(0, 0, -1, &layers((0, 0), (0, 1), 2)), counts);

    let blocks =
        |from: &[u64], to: &[u64]| argument(decoder.pull_kv_blocks(index(0, 1, 0), 1, from, to, &all));
    assert_eq!(blocks(&[1], &[]), ArgumentError::NoBlocks { side: destination });
    assert_eq!(blocks(&[8], &[0]), ArgumentError::Block { side: source, block: 8, blocks: 8 });
    assert_eq!(blocks(&[0], &[6]), ArgumentError::Block { side: destination, block: 6, blocks: 6 });
    assert_eq!(blocks(&[u64::MAX], &[0]), ArgumentError::Block { side: source, block: u64::MAX, blocks: 8 });
    assert_eq!(blocks(&[0, 1], &[0]), ArgumentError::BlockCount { source_blocks: 2, destination_blocks: 1 });
    assert_eq!(blocks(&[0, 1, 2], &[3, 4, 3]), ArgumentError::BlockTwice { block: 3 });
    let row = argument(decoder.pull_kv_blocks(index(0, 1, 1), 1, &[0], &[0], &all));
    assert_eq!(row, ArgumentError::BatchIndexWithBlocks { index: 1 });
    let own = argument(decoder.pull_kv_cache(index(1, 1, 0), 1, 0, -1, &all));
    assert_eq!(own, ArgumentError::OwnCluster { cluster_id: 1 });

    for (cluster_id, remote, local, wanted) in [
        (0, 9, 1, Status::KvCacheNotExist),
        (0, 1, 9, Status::KvCacheNotExist),
        (5, 1, 1, Status::NotYetLink),
    ] {
        assert_eq!(status(decoder.pull_kv_cache(index(cluster_id, remote, 0), local, 0, -1, &all)), wanted);
        assert_eq!(status(decoder.push_kv_cache(local, index(cluster_id, remote, 0), 0, -1, &all)), wanted);
        assert_eq!(
            status(decoder.pull_kv_blocks(index(cluster_id, remote, 0), local, &[0], &[0], &all)),
            wanted
        );
        assert_eq!(
            status(decoder.push_kv_blocks(local, index(cluster_id, remote, 0), &[0], &[0], &all)),
            wanted
        );
    }
    for tensor in 0..4 {
        (0..6).for_each(|row| assert_eq!(ours.row(tensor, row), filled(50_000, tensor as i32, row as i32)));
    }
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn pushes_that_cannot_be_are_refused_before_a_byte_moves() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 8, 0), cache(&decoder, 4, 6, 50_000));
    let hidden = CacheDesc { remote_accessible: false, ..desc(4, 8) };
    let hidden = cache_with(&prompt, &hidden, 0, &CacheKeys::None);
    let wide = cache_with(&prompt, &CacheDesc { shape: vec![4, 32], ..desc(4, 8) }, 0, &CacheKeys::None);
    let all = KvCacheExtParam::default();
    let (source, destination) = (Side::Source, Side::Destination);
    let push = |to: CacheIndex, row, size| argument(decoder.push_kv_cache(1, to, row, size, &all));
    assert_eq!(push(index(0, 1, 0), 0, 64), ArgumentError::PushSize { size: 64 });
    assert_eq!(push(index(0, 1, 0), 6, -1), ArgumentError::BatchIndex { side: source, index: 6, rows: 6 });
    assert_eq!(
        push(index(0, 1, 8), 0, -1),
        ArgumentError::BatchIndex { side: destination, index: 8, rows: 8 }
    );
    assert_eq!(push(index(0, hidden.cache_id, 0), 0, -1), ArgumentError::NotAccessible);
    let blocks = |cache_id, from: &[u64], to: &[u64]| {
        argument(decoder.push_kv_blocks(1, index(0, cache_id, 0), from, to, &all))
    };
    assert_eq!(blocks(1, &[], &[]), ArgumentError::NoBlocks { side: source });
    assert_eq!(blocks(1, &[0], &[]), ArgumentError::BlockCount { source_blocks: 1, destination_blocks: 0 });
    assert_eq!(blocks(1, &[6], &[0]), ArgumentError::Block { side: source, block: 6, blocks: 6 });
    assert_eq!(blocks(1, &[0], &[8]), ArgumentError::Block { side: destination, block: 8, blocks: 8 });
    assert_eq!(blocks(1, &[0, 1], &[2, 2]), ArgumentError::BlockTwice { block: 2 });
    let sizes = ArgumentError::BlockSize { source_bytes: 64, destination_bytes: 128 };
    assert_eq!(blocks(wide.cache_id, &[0], &[0]), sizes);
    let row = argument(decoder.push_kv_blocks(1, index(0, 1, 1), &[0], &[0], &all));
    assert_eq!(row, ArgumentError::BatchIndexWithBlocks { index: 1 });
    for tensor in 0..4 {
        (0..8).for_each(|row| assert_eq!(theirs.row(tensor, row), filled(0, tensor as i32, row as i32)));
    }
    drop((prompt, decoder));
    drop((theirs, ours, hidden, wide));
}

#[test]
fn a_transfer_that_takes_too_long_is_a_timeout_and_quiet() {
    // 4 GiB in a few milliseconds: every tensor is the same memory.
    let options = with(server(), OPTION_SYNC_CACHE_WAIT_TIME, "10");
    let (prompt, decoder) = (start(0, &options), start(1, &options));
    let many = CacheDesc::new(CachePlacement::Host, 1024, DataType::Uint8, &[1, 4 << 20]);
    let mut source = vec![7_u8; 4 << 20];
    let mut destination = vec![0_u8; 4 << 20];
    for (side, memory) in [(&prompt, &mut source), (&decoder, &mut destination)] {
        // SAFETY: the memory outlives the processes.
        unsafe { side.register_kv_cache(&many, &[memory.as_mut_ptr() as u64; 1024], &CacheKeys::None) }
            .expect("registered");
    }
    link(&decoder, &prompt);
    let deadline = std::time::Instant::now() + PATIENCE;
    // The first may find the look-up too slow instead.
    let error = loop {
        let error = decoder
            .pull_kv_cache(index(0, 1, 0), 1, 0, -1, &KvCacheExtParam::default())
            .expect_err("too slow");
        if !matches!(error, DataDistError::NoAnswer { .. }) {
            break error;
        }
        assert!(std::time::Instant::now() < deadline, "never an answer");
    };
    assert!(matches!(error, DataDistError::Timeout { millis: 10 }), "{error}");
    assert_eq!(error.status(), Status::Timeout);
    // Quiet: what is written now stays.
    let last = destination.len() - 1;
    for place in [0, last] {
        let pointer = &raw mut destination[place];
        // SAFETY: the place is there.
        unsafe { pointer.write_volatile(9) };
    }
    std::thread::sleep(Duration::from_millis(30));
    for place in [0, last] {
        let pointer = &raw const destination[place];
        // SAFETY: the place is there.
        assert_eq!(unsafe { pointer.read_volatile() }, 9);
    }
    drop((prompt, decoder));
    drop((source, destination));
}

#[test]
fn more_operations_than_the_limit_find_the_link_busy() {
    let prompt = start(0, &server());
    let decoder = start(1, &with(client(), OPTION_OPERATION_LIMIT, "2"));
    link(&decoder, &prompt);
    let caches = (cache(&prompt, 2, 2, 0), cache(&decoder, 2, 2, 500));
    let running = decoder.running().expect("initialised");
    let link = running.service.links.find(0).expect("linked");
    let first = link.enter(Some(2)).expect("room");
    let second = link.enter(Some(2)).expect("room");
    let all = KvCacheExtParam::default();
    let error = decoder.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all).expect_err("full");
    assert!(matches!(error, DataDistError::Busy { cluster_id: 0, limit: 2 }), "{error}");
    assert_eq!(error.status(), Status::LinkBusy);
    assert_eq!(status(decoder.push_kv_cache(1, index(0, 1, 0), 0, -1, &all)), Status::LinkBusy);
    drop(first);
    decoder.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all).expect("room again");
    drop((second, link, running));
    drop((prompt, decoder));
    drop(caches);
}

#[test]
fn copies_that_cannot_be_are_refused() {
    let datadist = start(0, &client());
    let (small, large) = (cache(&datadist, 2, 2, 0), cache(&datadist, 2, 4, 500));
    let three = cache(&datadist, 3, 2, 900);
    let copy =
        |to, row, to_row, offset, size| argument(datadist.copy_kv_cache(1, to, row, to_row, offset, size));
    let (source, destination) = (Side::Source, Side::Destination);
    assert_eq!(copy(2, 2, 0, 0, -1), ArgumentError::BatchIndex { side: source, index: 2, rows: 2 });
    assert_eq!(copy(2, 0, 4, 0, -1), ArgumentError::BatchIndex { side: destination, index: 4, rows: 4 });
    let beyond = |offset, size| ArgumentError::BeyondRow { side: source, offset, size, stride: 64 };
    assert_eq!(copy(2, 0, 0, 64, -1), beyond(64, 1));
    assert_eq!(copy(2, 0, 0, u64::MAX, -1), beyond(u64::MAX, 1));
    assert_eq!(copy(2, 0, 0, 1, 64), beyond(1, 64));
    assert_eq!(copy(2, 0, 0, 0, 0), ArgumentError::Size { size: 0 });
    let counts = ArgumentError::TensorCount { source_tensors: 2, destination_tensors: 3 };
    assert_eq!(copy(3, 0, 0, 0, -1), counts);
    assert_eq!(status(datadist.copy_kv_cache(9, 1, 0, 0, 0, -1)), Status::KvCacheNotExist);
    assert_eq!(status(datadist.copy_kv_blocks(1, 9, &[0], &[vec![0]])), Status::KvCacheNotExist);
    let blocks = |from: &[u64], to: &[Vec<u64>]| argument(datadist.copy_kv_blocks(1, 2, from, to));
    assert_eq!(blocks(&[0], &[]), ArgumentError::NoBlocks { side: destination });
    assert_eq!(
        blocks(&[0], &[vec![3], vec![4]]),
        ArgumentError::Block { side: destination, block: 4, blocks: 4 }
    );
    assert_eq!(blocks(&[2], &[vec![0]]), ArgumentError::Block { side: source, block: 2, blocks: 2 });
    assert_eq!(
        blocks(&[0, 1], &[vec![0]]),
        ArgumentError::BlockCount { source_blocks: 2, destination_blocks: 1 }
    );
    (0..4).for_each(|row| assert_eq!(large.row(0, row), filled(500, 0, row as i32)));
    drop(datadist);
    drop((small, large, three));
}
