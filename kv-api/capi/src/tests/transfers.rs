use super::*;

/// So many bytes take a lane longer than it takes to look.
const LARGE: pmd_kv_layout =
    pmd_kv_layout { layers: 1, tensors_per_layer: 1, blocks: 64, block_bytes: 1 << 20, format: null() };

/// How often something is tried that may be over before it is looked at.
const ATTEMPTS: usize = 200;

pub(super) type Move = unsafe extern "C" fn(
    *const pmd_kv_remote_cache,
    *const pmd_kv_cache,
    *const pmd_kv_selection,
    *const pmd_kv_post_options,
    *mut *mut pmd_kv_transfer,
) -> pmd_kv_status;

pub(super) fn post(
    pair: &Pair,
    direction: Move,
    selection: Option<&pmd_kv_selection>,
    options: Option<&pmd_kv_post_options>,
) -> Result<*mut pmd_kv_transfer, pmd_kv_status> {
    let pointer = |options: &pmd_kv_post_options| -> *const pmd_kv_post_options { options };
    let selection = selection.map_or(null(), |selection| selection as *const pmd_kv_selection);
    // SAFETY: tables of their counts, and a place for the transfer.
    made(null_mut(), |place| unsafe {
        direction(pair.remote, pair.near, selection, options.map_or(null(), pointer), place)
    })
}

pub(super) fn wait(transfer: *mut pmd_kv_transfer) -> Result<u64, pmd_kv_status> {
    // SAFETY: a place for the bytes.
    let waited = made(0, |bytes| unsafe { pmd_kv_transfer_wait(transfer, PATIENCE, bytes) });
    assert_eq!(pmd_kv_transfer_release(transfer), pmd_kv_status::Ok);
    waited
}

pub(super) fn table(source: &[u32], destination: &[u32]) -> pmd_kv_selection {
    pmd_kv_selection {
        first_layer: 0,
        end_layer: 0,
        layer_shift: 0,
        source: source.as_ptr(),
        destination: destination.as_ptr(),
        count: source.len(),
        runs: null(),
        tokens: null(),
    }
}

fn notification(bytes: &[u8]) -> pmd_kv_post_options {
    pmd_kv_post_options {
        notification: bytes.as_ptr(),
        notification_bytes: bytes.len(),
        deadline_ms: PATIENCE,
        high_priority: true,
    }
}

/// Fills every block of a cache with a byte of its own.
pub(super) fn fill(cache: *const pmd_kv_cache, first: u8) {
    for tensor in 0..4 {
        for number in 0..8 {
            block(cache, tensor, number).fill(first + (8 * tensor + number) as u8);
        }
    }
}

#[test]
fn blocks_are_pushed_layer_by_layer_and_the_peer_is_told() {
    let pair = Pair::new(LAYOUT);
    fill(pair.near, 1);
    let selection = table(&[0, 1, 2], &[7, 2, 5]);
    for layer in 0..2_u32 {
        let selection = pmd_kv_selection { first_layer: layer, end_layer: layer + 1, ..selection };
        let told = [layer as u8, 9];
        let transfer =
            post(&pair, pmd_kv_push, Some(&selection), Some(&notification(&told))).expect("posted");
        assert_eq!(wait(transfer), Ok(2 * 3 * 4096));
        let (mut room, mut length, mut from) = ([0_u8; 2], 0, null_mut());
        // SAFETY: room for so many bytes, and places for results.
        let mut next = |capacity| unsafe {
            let room = room.as_mut_ptr();
            pmd_kv_engine_wait_notification(pair.there, PATIENCE, room, capacity, &mut length, &mut from)
        };
        // It stays until there is room for it.
        assert_eq!(next(1), pmd_kv_status::BufferTooSmall);
        assert_eq!(next(2), pmd_kv_status::Ok);
        assert_eq!((room, length), (told, 2));
        assert_eq!(
            (pmd_kv_peer_check(from), pmd_kv_peer_release(from)),
            (pmd_kv_status::Ok, pmd_kv_status::Ok)
        );
    }
    for tensor in 0..4 {
        for number in 0..8 {
            let from = [7, 2, 5].iter().position(|to| *to == number);
            let wanted = from.map_or(0, |from| 1 + 8 * tensor as u8 + from as u8);
            assert!(block(pair.far, tensor, number).iter().all(|byte| *byte == wanted), "{tensor} {number}");
        }
    }
}

#[test]
fn layers_go_to_layers_of_other_numbers() {
    let pair = Pair::new(LAYOUT);
    fill(pair.far, 1);
    let none = pmd_kv_selection { source: null(), destination: null(), ..table(&[], &[]) };
    let up = pmd_kv_selection { end_layer: 1, layer_shift: 1, ..none };
    assert_eq!(post(&pair, pmd_kv_pull, Some(&up), None).and_then(wait), Ok(2 * 8 * 4096));
    for (tensor, number) in (0..4).flat_map(|tensor| (0..8).map(move |number| (tensor, number))) {
        let wanted = if tensor < 2 { 0 } else { 1 + 8 * (tensor - 2) + number };
        let found = block(pair.near, tensor, number);
        assert!(found.iter().all(|byte| u32::from(*byte) == wanted), "{tensor} {number}");
    }
}

#[test]
fn a_whole_cache_is_pulled_into_the_callers_memory() {
    let mut pair = Pair::new(LAYOUT);
    fill(pair.far, 100);
    let mut memory = vec![0_u8; 4 * 8 * 4096];
    let run = pmd_kv_tensor_run {
        first: memory.as_mut_ptr().cast(),
        tensor_stride: 8 * 4096,
        block_stride: 4096,
        count: 4,
    };
    // SAFETY: memory for four tensors of eight blocks, which outlives the cache.
    let ours = made(null_mut(), |cache| unsafe {
        pmd_kv_cache_register(pair.here, c"ours".as_ptr(), &LAYOUT, &run, 1, cache)
    });
    let ours = ours.expect("registered");
    let arena = std::mem::replace(&mut pair.near, ours);
    let transfer = post(&pair, pmd_kv_pull, None, None).expect("posted");
    assert_eq!(wait(transfer), Ok(4 * 8 * 4096));
    assert_eq!(
        (pmd_kv_cache_release(ours), pmd_kv_cache_release(arena)),
        (pmd_kv_status::Ok, pmd_kv_status::Ok)
    );
    let wrong = memory.iter().enumerate().find(|(at, byte)| usize::from(**byte) != 100 + at / 4096);
    assert_eq!(wrong, None);
}

#[test]
fn selections_that_do_not_fit_are_refused() {
    let pair = Pair::new(LAYOUT);
    let refuse =
        |selection: &pmd_kv_selection| post(&pair, pmd_kv_push, Some(selection), None).expect_err("refused");
    assert_eq!(refuse(&table(&[8], &[0])), pmd_kv_status::InvalidArgument);
    assert_eq!(refuse(&table(&[0], &[8])), pmd_kv_status::InvalidArgument);
    assert_eq!(refuse(&table(&[0, 1], &[3, 3])), pmd_kv_status::InvalidArgument);
    let whole = pmd_kv_selection { source: null(), destination: null(), ..table(&[], &[]) };
    for (first_layer, end_layer) in [(0, 3), (2, 0), (1, 1)] {
        let layers = pmd_kv_selection { first_layer, end_layer, ..whole };
        assert_eq!(refuse(&layers), pmd_kv_status::InvalidArgument, "{first_layer}..{end_layer}");
    }
    for layer_shift in [1, -1] {
        let shifted = pmd_kv_selection { layer_shift, ..whole };
        assert_eq!(refuse(&shifted), pmd_kv_status::InvalidArgument, "{layer_shift}");
    }
    let one_sided = pmd_kv_selection { destination: null(), ..table(&[1], &[1]) };
    assert_eq!(refuse(&one_sided), pmd_kv_status::NullPointer);
    let long = notification(&[0; 4096]);
    assert_eq!(
        post(&pair, pmd_kv_push, None, Some(&long)).expect_err("refused"),
        pmd_kv_status::InvalidArgument
    );

    assert_eq!(look_up(pair.here, pair.peer, c"nowhere"), Err(pmd_kv_status::NotFound));
    let other = allocate(pair.there, c"other", pmd_kv_layout { tensors_per_layer: 1, ..LAYOUT });
    let remote = look_up(pair.here, pair.peer, c"other").expect("there");
    // SAFETY: places for results.
    let shape = made(LAYOUT, |place| unsafe { pmd_kv_remote_cache_layout(remote, place) });
    assert_eq!(shape, Ok(pmd_kv_layout { tensors_per_layer: 1, ..LAYOUT }));
    // SAFETY: a place for the transfer.
    let status = made(null_mut(), |place| unsafe { pmd_kv_pull(remote, pair.near, null(), null(), place) });
    assert_eq!(status, Err(pmd_kv_status::Mismatch));
    assert_eq!(
        (pmd_kv_remote_cache_release(remote), pmd_kv_cache_release(other)),
        (pmd_kv_status::Ok, pmd_kv_status::Ok)
    );
    // Nothing has arrived anywhere.
    assert!(
        (0..4)
            .all(|tensor| (0..8).all(|number| block(pair.far, tensor, number).iter().all(|byte| *byte == 0)))
    );
}

#[test]
fn memory_that_the_peer_has_released_fails_the_transfer() {
    let pair = Pair::new(LAYOUT);
    assert_eq!(pmd_kv_cache_release(pair.far), pmd_kv_status::Ok);
    let transfer = post(&pair, pmd_kv_pull, None, None).expect("posted");
    assert_eq!(wait(transfer), Err(pmd_kv_status::Failed));
    assert!(last_error().contains("entry 0"), "{}", last_error());
    assert!((0..4).all(|tensor| (0..8).all(|number| block(pair.near, tensor, number).iter().all(|byte| *byte == 0))));
}

#[test]
fn a_peer_that_is_gone_takes_no_transfer() {
    let pair = Pair::new(LAYOUT);
    assert_eq!(pmd_kv_engine_close(pair.there), pmd_kv_status::Ok);
    // SAFETY: a place for the peer.
    let down = made(null_mut(), |place| unsafe { pmd_kv_engine_wait_down(pair.here, PATIENCE, place) });
    assert_eq!(pmd_kv_peer_release(down.expect("it goes")), pmd_kv_status::Ok);
    let outcome = post(&pair, pmd_kv_pull, None, None).and_then(wait);
    assert_eq!(outcome, Err(pmd_kv_status::PeerDown));
}

#[test]
fn a_transfer_is_looked_at_waited_for_and_cancelled() {
    let pair = Pair::new(LARGE);
    let (mut pending, mut late, mut cancelled) = (0, 0, 0);
    for _ in 0..ATTEMPTS {
        let transfer = post(&pair, pmd_kv_pull, None, None).expect("posted");
        // SAFETY: nowhere to write to.
        pending +=
            usize::from(unsafe { pmd_kv_transfer_poll(transfer, null_mut()) } == pmd_kv_status::Pending);
        // SAFETY: nowhere to write to.
        late +=
            usize::from(unsafe { pmd_kv_transfer_wait(transfer, 0, null_mut()) } == pmd_kv_status::Timeout);
        let ended = pmd_kv_transfer_cancel(transfer);
        cancelled += usize::from(ended == pmd_kv_status::Cancelled);
        assert!(
            [pmd_kv_status::Ok, pmd_kv_status::Cancelled].contains(&ended),
            "{ended:?}: {}",
            last_error()
        );
        // Its outcome stays.
        assert_eq!(pmd_kv_transfer_cancel(transfer), ended);
        // SAFETY: nowhere to write to.
        assert_eq!(unsafe { pmd_kv_transfer_poll(transfer, null_mut()) }, ended);
        assert_eq!(pmd_kv_transfer_release(transfer), pmd_kv_status::Ok);
        if pending.min(late).min(cancelled) > 0 {
            return;
        }
    }
    panic!("of {ATTEMPTS}, {pending} were seen to be pending, {late} late, {cancelled} cancelled");
}

#[test]
fn a_deadline_ends_a_transfer() {
    let pair = Pair::new(LARGE);
    let options = pmd_kv_post_options {
        notification: null(),
        notification_bytes: 0,
        deadline_ms: 1,
        high_priority: false,
    };
    let ended = |_| match post(&pair, pmd_kv_pull, None, Some(&options)) {
        Ok(transfer) => wait(transfer) == Err(pmd_kv_status::DeadlineExceeded),
        Err(status) => panic!("{status:?}: {}", last_error()),
    };
    assert!((0..ATTEMPTS).any(ended), "{ATTEMPTS} transfers of 64 MiB were done in 1 ms each");
}

#[test]
fn two_threads_wait_for_one_transfer_while_a_third_cancels_it() {
    let pair = Pair::new(LARGE);
    let transfer = post(&pair, pmd_kv_pull, None, None).expect("posted");
    let handle = transfer.addr();
    let waiters = [(); 2].map(|()| {
        std::thread::spawn(move || {
            let transfer = std::ptr::without_provenance_mut(handle);
            // SAFETY: nowhere to write to.
            unsafe { pmd_kv_transfer_wait(transfer, PATIENCE, null_mut()) }
        })
    });
    let ended = pmd_kv_transfer_cancel(transfer);
    for waiter in waiters {
        assert_eq!(waiter.join().expect("a waiter"), ended);
    }
    assert_eq!(pmd_kv_transfer_release(transfer), pmd_kv_status::Ok);
}

/// Blocks that a call writes as extents.
fn extents(
    call: impl Fn(*mut pmd_kv_extent, usize, *mut usize) -> pmd_kv_status,
) -> Vec<(std::ops::Range<u32>, std::ops::Range<u32>)> {
    let (mut room, mut count) = ([pmd_kv_extent::default(); 8], 0);
    assert_eq!(call(room.as_mut_ptr(), 8, &mut count), pmd_kv_status::Ok, "{}", last_error());
    if count > 0 {
        let mut needed = 0;
        assert_eq!(call(room.as_mut_ptr(), count - 1, &mut needed), pmd_kv_status::BufferTooSmall);
        assert_eq!((call(null_mut(), 8, &mut needed), needed), (pmd_kv_status::BufferTooSmall, count));
    }
    let ranges = room[..count]
        .iter()
        .map(|extent| (extent.first_layer..extent.end_layer, extent.first_block..extent.end_block));
    ranges.collect()
}

#[test]
fn a_failure_names_its_blocks_on_both_sides() {
    let pair = Pair::new(LAYOUT);
    assert_eq!(pmd_kv_cache_release(pair.far), pmd_kv_status::Ok);
    let selection = pmd_kv_selection { first_layer: 1, ..table(&[1, 2, 4], &[0, 1, 6]) };
    let transfer = post(&pair, pmd_kv_push, Some(&selection), None).expect("posted");
    // SAFETY: nowhere to write to.
    assert_eq!(unsafe { pmd_kv_transfer_wait(transfer, PATIENCE, null_mut()) }, pmd_kv_status::Failed);
    // SAFETY: room for so many extents, and a place for their number.
    let local =
        extents(|room, capacity, count| unsafe { pmd_kv_transfer_unproven(transfer, room, capacity, count) });
    assert_eq!(local, [(1..2, 1..3), (1..2, 4..5)]);
    assert_eq!(pmd_kv_transfer_release(transfer), pmd_kv_status::Ok);

    let mut peer = null_mut();
    // SAFETY: places for handles.
    let failure = made(null_mut(), |place| unsafe {
        pmd_kv_engine_wait_failure(pair.there, PATIENCE, place, &mut peer)
    });
    let failure = failure.expect("the peer hears of it");
    // SAFETY: room for so many extents, and a place for their number.
    let remote =
        extents(|room, capacity, count| unsafe { pmd_kv_failure_blocks(failure, room, capacity, count) });
    assert_eq!(remote, [(1..2, 0..2), (1..2, 6..7)]);
    let empty =
        pmd_kv_failure_info { transfer: 0, is_push: false, cache: null(), reason: null(), detail: null() };
    // SAFETY: a place for what is known.
    let info = made(empty, |place| unsafe { pmd_kv_failure_read(failure, place) }).expect("known");
    // SAFETY: text that lives as long as the failure.
    let text = |text: *const c_char| unsafe { CStr::from_ptr(text) };
    assert_eq!((info.transfer, info.is_push, text(info.cache)), (1, true, c"far"));
    assert_eq!(text(info.reason), c"a work request failed");
    assert!(text(info.detail).to_str().is_ok_and(|detail| detail.contains("entry 0")));
    assert_eq!(pmd_kv_failure_release(failure), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_failure_release(failure), pmd_kv_status::InvalidHandle);
    assert_eq!(pmd_kv_peer_release(peer), pmd_kv_status::Ok);
    // SAFETY: a place for the handle.
    let none =
        made(null_mut(), |place| unsafe { pmd_kv_engine_wait_failure(pair.here, 1, place, null_mut()) });
    assert_eq!(none, Err(pmd_kv_status::Timeout));
}

#[test]
fn costs_are_learned_and_counted() {
    let pair = Pair::new(LAYOUT);
    let estimate = || {
        let mut measured = false;
        // SAFETY: places for results.
        let time = made(0, |place| unsafe {
            pmd_kv_remote_cache_estimate(pair.remote, 1 << 30, 100, place, &mut measured)
        });
        (time.expect("an estimate") > 0, measured)
    };
    assert_eq!(estimate(), (true, false));
    assert_eq!(post(&pair, pmd_kv_push, None, None).and_then(wait), Ok(4 * 8 * 4096));
    assert_eq!(estimate(), (true, true));
    let mut length = 0;
    // SAFETY: a place for the length.
    let status = unsafe { pmd_kv_engine_metrics(pair.here, null_mut(), 0, &mut length) };
    assert_eq!(status, pmd_kv_status::BufferTooSmall);
    let mut room = vec![0_u8; 2 * length];
    // SAFETY: room for so many bytes.
    let status =
        unsafe { pmd_kv_engine_metrics(pair.here, room.as_mut_ptr().cast(), room.len(), null_mut()) };
    assert_eq!(status, pmd_kv_status::Ok);
    let text = CStr::from_bytes_until_nul(&room).expect("a zero byte").to_str().expect("text");
    assert!(text.contains("131072"), "{text}");
}
