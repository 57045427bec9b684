use super::*;

#[test]
fn an_engine_says_where_it_listens_and_how_long_that_is() {
    let engine = open(&options(Some(c"127.0.0.1:0")));
    let address = address_of(engine);
    let text = address.to_str().expect("text");
    assert!(text.starts_with("127.0.0.1:") && !text.ends_with(":0"), "{text}");
    let (mut room, mut length) = ([7_u8; 10], 0);
    // SAFETY: room for 10 bytes, and a place for the length.
    let status = unsafe { pmd_kv_engine_address(engine, room.as_mut_ptr().cast(), 10, &mut length) };
    assert_eq!((status, length), (pmd_kv_status::BufferTooSmall, text.len()));
    assert_eq!(room, [7; 10]);
    assert_eq!(pmd_kv_engine_close(engine), pmd_kv_status::Ok);

    let silent = open(&options(None));
    // SAFETY: no room.
    let status = unsafe { pmd_kv_engine_address(silent, null_mut(), 0, null_mut()) };
    assert_eq!(status, pmd_kv_status::NotFound);
    assert!(last_error().contains("options.listen"), "{}", last_error());
    assert_eq!(pmd_kv_engine_close(silent), pmd_kv_status::Ok);
}

#[test]
fn handles_that_are_no_more_or_of_another_kind_are_refused() {
    let engine = open(&options(None));
    assert_eq!(pmd_kv_engine_close(engine), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_engine_close(engine), pmd_kv_status::InvalidHandle);
    assert!(last_error().contains("engine"), "{}", last_error());
    let other = open(&options(None));
    let cache = allocate(other, c"cache", LAYOUT);
    assert_eq!(pmd_kv_peer_release(cache.cast()), pmd_kv_status::InvalidHandle);
    assert_eq!(pmd_kv_cache_release(cache), pmd_kv_status::Ok);
    // SAFETY: places for results.
    let refused = unsafe {
        [
            pmd_kv_cache_block(cache, 0, 0, &mut null_mut()),
            pmd_kv_cache_allocate(engine, c"x".as_ptr(), &LAYOUT, &mut null_mut()),
            pmd_kv_engine_accept(engine, 0, &mut null_mut()),
            pmd_kv_engine_wait_down(engine, 0, &mut null_mut()),
            pmd_kv_engine_connect(engine, c"127.0.0.1:1".as_ptr(), &mut null_mut()),
            pmd_kv_engine_wait_notification(engine, 0, null_mut(), 0, null_mut(), null_mut()),
            pmd_kv_remote_cache_open(
                other,
                null_mut::<pmd_kv_peer>().wrapping_byte_add(64),
                c"x".as_ptr(),
                0,
                &mut null_mut(),
            ),
            pmd_kv_remote_cache_layout(cache.cast(), &mut LAYOUT.clone()),
            pmd_kv_remote_cache_release(cache.cast()),
            pmd_kv_transfer_poll(cache.cast(), null_mut()),
            pmd_kv_transfer_wait(cache.cast(), 0, null_mut()),
            pmd_kv_transfer_cancel(cache.cast()),
            pmd_kv_transfer_release(cache.cast()),
            pmd_kv_peer_check(cache.cast()),
            pmd_kv_peer_close(cache.cast()),
            pmd_kv_pull(cache.cast(), cache, null(), null(), &mut null_mut()),
            pmd_kv_push(cache.cast(), cache, null(), null(), &mut null_mut()),
        ]
    };
    assert_eq!(refused, [pmd_kv_status::InvalidHandle; 17]);
    assert_eq!(pmd_kv_engine_close(other), pmd_kv_status::Ok);
}

#[test]
fn null_is_refused_wherever_something_must_be() {
    let engine = open(&options(None));
    let cache = allocate(engine, c"cache", LAYOUT);
    let name = c"x".as_ptr();
    let run = pmd_kv_tensor_run { first: null_mut(), tensor_stride: 1, block_stride: 4096, count: 4 };
    // SAFETY: null where something must be, places for results elsewhere.
    let refused = unsafe {
        [
            pmd_kv_engine_open(null(), null_mut()),
            pmd_kv_engine_address(null(), null_mut(), 0, null_mut()),
            pmd_kv_engine_connect(engine, null(), &mut null_mut()),
            pmd_kv_engine_connect(engine, name, null_mut()),
            pmd_kv_engine_accept(engine, 0, null_mut()),
            pmd_kv_engine_wait_down(engine, 0, null_mut()),
            pmd_kv_cache_allocate(engine, null(), &LAYOUT, &mut null_mut()),
            pmd_kv_cache_allocate(engine, name, null(), &mut null_mut()),
            pmd_kv_cache_allocate(engine, name, &LAYOUT, null_mut()),
            pmd_kv_cache_register(engine, name, &LAYOUT, null(), 1, &mut null_mut()),
            pmd_kv_cache_register(engine, name, &LAYOUT, &run, 1, &mut null_mut()),
            pmd_kv_cache_block(cache, 0, 0, null_mut()),
            pmd_kv_remote_cache_open(engine, null(), name, 0, &mut null_mut()),
            pmd_kv_remote_cache_layout(null(), null_mut()),
            pmd_kv_pull(null(), cache, null(), null(), &mut null_mut()),
            pmd_kv_push(null(), cache, null(), null(), null_mut()),
        ]
    };
    assert_eq!(refused, [pmd_kv_status::NullPointer; 16]);
    assert_eq!(
        (pmd_kv_cache_release(cache), pmd_kv_engine_close(engine)),
        (pmd_kv_status::Ok, pmd_kv_status::Ok)
    );
}

#[test]
fn options_that_cannot_be_are_named() {
    let refuse = |options: pmd_kv_engine_options| {
        // SAFETY: options, and a place for the engine.
        let status = made(null_mut(), |engine| unsafe { pmd_kv_engine_open(&options, engine) });
        (status.expect_err("refused"), last_error())
    };
    let invalid = [
        (pmd_kv_engine_options { listen: c"here".as_ptr(), ..options(None) }, "options.listen is \"here\""),
        (
            pmd_kv_engine_options { transport: c"ship".as_ptr(), ..options(None) },
            "options.transport is \"ship\"",
        ),
        (pmd_kv_engine_options { idle: c"SPIN".as_ptr(), ..options(None) }, "options.idle is \"SPIN\""),
        (pmd_kv_engine_options { key_file: c"/nowhere/key".as_ptr(), ..options(None) }, "PMD_KEY_FILE"),
        (pmd_kv_engine_options { data_encryption: c"perhaps".as_ptr(), ..options(None) }, "on or off"),
        (pmd_kv_engine_options { name: c"\xff".as_ptr(), ..options(None) }, "options.name is not UTF-8"),
    ];
    for (options, text) in invalid {
        let (status, error) = refuse(options);
        assert_eq!(status, pmd_kv_status::InvalidArgument);
        assert!(error.contains(text), "{error}");
    }
    // An address of nobody (documentation's network).
    assert_eq!(refuse(options(Some(c"192.0.2.1:0"))).0, pmd_kv_status::Unavailable);
    let nic = pmd_kv_engine_options {
        transport: c"verbs".as_ptr(),
        device: c"no_such_0".as_ptr(),
        ..options(None)
    };
    assert_eq!(refuse(nic).0, pmd_kv_status::Unavailable);
    let gpu = pmd_kv_engine_options { accelerators: c"cpu:1,gpu:7".as_ptr(), ..options(None) };
    let (status, error) = refuse(gpu);
    assert_eq!(status, pmd_kv_status::Unavailable);
    assert!(error.contains("gpu:7") && error.contains("names no device"), "{error}");

    let all = pmd_kv_engine_options {
        name: c"decode".as_ptr(),
        idle: c"yield".as_ptr(),
        queue_pairs: 2,
        message_bytes: 64,
        patience_ms: 5000,
        down_after_ms: 2000,
        accelerators: c"cpu:0".as_ptr(),
        ..options(None)
    };
    assert_eq!(pmd_kv_engine_close(open(&all)), pmd_kv_status::Ok);
}

#[test]
fn caches_that_cannot_be_are_refused() {
    let engine = open(&options(None));
    let refuse = |name: &CStr, layout: pmd_kv_layout| {
        // SAFETY: a name, a layout, and a place for the cache.
        made(null_mut(), |cache| unsafe { pmd_kv_cache_allocate(engine, name.as_ptr(), &layout, cache) })
            .expect_err("refused")
    };
    let cache = allocate(engine, c"taken", LAYOUT);
    assert_eq!(refuse(c"taken", LAYOUT), pmd_kv_status::NameTaken);
    assert_eq!(refuse(c"none", pmd_kv_layout { layers: 0, ..LAYOUT }), pmd_kv_status::InvalidArgument);
    assert_eq!(refuse(c"huge", pmd_kv_layout { block_bytes: 1 << 55, ..LAYOUT }), pmd_kv_status::Memory);
    for (tensor, block) in [(4, 0), (0, 8), (u32::MAX, u32::MAX)] {
        // SAFETY: a place for the address.
        let status = made(null_mut(), |place| unsafe { pmd_kv_cache_block(cache, tensor, block, place) });
        assert_eq!(status, Err(pmd_kv_status::InvalidArgument));
    }
    let mut memory = vec![0_u8; 8192];
    let run = pmd_kv_tensor_run {
        first: memory.as_mut_ptr().cast(),
        tensor_stride: 4096,
        block_stride: 4096,
        count: 3,
    };
    // SAFETY: the layout has four tensors, the run three: nothing is registered.
    let status = made(null_mut(), |cache| unsafe {
        pmd_kv_cache_register(engine, c"short".as_ptr(), &LAYOUT, &run, 1, cache)
    });
    assert_eq!(status, Err(pmd_kv_status::InvalidArgument));
    assert!(last_error().contains("4 tensors, the placement 3"), "{}", last_error());
    assert_eq!(pmd_kv_cache_release(cache), pmd_kv_status::Ok);
    // The name is free again.
    assert_eq!(pmd_kv_cache_release(allocate(engine, c"taken", LAYOUT)), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_engine_close(engine), pmd_kv_status::Ok);
}

#[test]
fn nobody_comes_and_nobody_answers() {
    let engine = open(&options(Some(c"127.0.0.1:0")));
    // SAFETY: places for results.
    let statuses = unsafe {
        [
            pmd_kv_engine_accept(engine, 1, &mut null_mut()),
            pmd_kv_engine_wait_down(engine, 1, &mut null_mut()),
            pmd_kv_engine_wait_notification(engine, 1, null_mut(), 0, null_mut(), null_mut()),
        ]
    };
    assert_eq!(statuses, [pmd_kv_status::Timeout; 3]);
    let connect = |address: &CStr| {
        // SAFETY: an address, and a place for the peer.
        made(null_mut(), |place| unsafe { pmd_kv_engine_connect(engine, address.as_ptr(), place) })
    };
    assert_eq!(connect(c"127.0.0.1:1"), Err(pmd_kv_status::ConnectFailed));
    assert_eq!(connect(c"localhost"), Err(pmd_kv_status::InvalidArgument));
    assert_eq!(pmd_kv_engine_close(engine), pmd_kv_status::Ok);
}

#[test]
fn a_peer_that_says_goodbye_is_seen_to_be_down() {
    let pair = Pair::new(LAYOUT);
    assert_eq!(pmd_kv_peer_check(pair.peer), pmd_kv_status::Ok);
    let mut name = [0_u8; 8];
    // SAFETY: room for 8 bytes.
    let status = unsafe { pmd_kv_peer_transport(pair.peer, name.as_mut_ptr().cast(), 8, null_mut()) };
    assert_eq!((status, &name[..4]), (pmd_kv_status::Ok, b"shm\0".as_slice()));
    assert_eq!(pmd_kv_peer_close(pair.back), pmd_kv_status::Ok);
    // SAFETY: a place for the peer.
    let down = made(null_mut(), |place| unsafe { pmd_kv_engine_wait_down(pair.here, PATIENCE, place) });
    let down = down.expect("the peer is seen to go");
    assert_eq!(pmd_kv_peer_check(down), pmd_kv_status::PeerDown);
    assert!(last_error().starts_with("the peer is down: "), "{}", last_error());
    assert_eq!(look_up(pair.here, pair.peer, c"far"), Err(pmd_kv_status::PeerDown));
    assert_eq!(pmd_kv_peer_release(down), pmd_kv_status::Ok);
}
