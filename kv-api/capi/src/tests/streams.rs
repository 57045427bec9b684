//! Layers that move one by one, and what is said when they do not.

use std::ffi::c_void;

use super::{transfers::fill, *};

const TAG: u64 = 5;

const TAGGED: pmd_kv_stream_options =
    pmd_kv_stream_options { tag: TAG, deadline_ms: PATIENCE, high_priority: true };

fn stream(pair: &Pair, options: &pmd_kv_stream_options) -> Result<*mut pmd_kv_stream, pmd_kv_status> {
    // SAFETY: no selection, options, and a place for the stream.
    made(null_mut(), |place| unsafe { pmd_kv_stream_open(pair.remote, pair.near, null(), options, place) })
}

fn arrivals(pair: &Pair) -> Result<*mut pmd_kv_arrivals, pmd_kv_status> {
    let peers = [pair.back.cast_const()];
    // SAFETY: one peer, and a place for the expectation.
    made(null_mut(), |place| unsafe { pmd_kv_expect_layers(pair.there, TAG, peers.as_ptr(), 1, place) })
}

#[test]
fn layers_are_released_and_waited_for_one_by_one() {
    let pair = Pair::new(LAYOUT);
    fill(pair.near, 1);
    let (stream, arrivals) = (stream(&pair, &TAGGED).expect("open"), arrivals(&pair).expect("expected"));
    assert_eq!(pmd_kv_arrivals_wait(arrivals, 1, 0), pmd_kv_status::Timeout);
    assert_eq!(pmd_kv_stream_release(stream, 1), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_arrivals_wait(arrivals, 1, PATIENCE), pmd_kv_status::Ok, "{}", last_error());
    assert!(block(pair.far, 2, 0).iter().all(|byte| *byte == 17));
    assert!(block(pair.far, 0, 0).iter().all(|byte| *byte == 0), "layer 0 was not released");
    let wait = |layer, patience| {
        // SAFETY: a place for the bytes.
        made(0, |bytes| unsafe { pmd_kv_stream_wait_layer(stream, layer, patience, bytes) })
    };
    assert_eq!((wait(1, PATIENCE), wait(0, 0)), (Ok(2 * 8 * 4096), Err(pmd_kv_status::Timeout)));
    assert_eq!(pmd_kv_stream_release(stream, 1), pmd_kv_status::InvalidArgument);
    assert_eq!(pmd_kv_stream_release(stream, 2), pmd_kv_status::InvalidArgument);
    assert_eq!(pmd_kv_stream_release(stream, 0), pmd_kv_status::Ok);
    // SAFETY: a place for the bytes.
    let all = made(0, |bytes| unsafe { pmd_kv_stream_wait(stream, PATIENCE, bytes) });
    assert_eq!(all, Ok(4 * 8 * 4096));
    assert_eq!(pmd_kv_arrivals_wait(arrivals, 0, PATIENCE), pmd_kv_status::Ok);
    assert_eq!(
        (pmd_kv_stream_close(stream), pmd_kv_arrivals_close(arrivals)),
        (pmd_kv_status::Ok, pmd_kv_status::Ok)
    );
    assert_eq!(pmd_kv_stream_close(stream), pmd_kv_status::InvalidHandle);
    assert_eq!(pmd_kv_arrivals_close(arrivals), pmd_kv_status::InvalidHandle);
}

/// Counts the layers that it is asked for, and refuses those from the second on.
unsafe extern "C" fn first_only(context: *mut c_void, layer: u32) -> bool {
    // SAFETY: the test gives a number that outlives the stream's thread.
    unsafe { *context.cast::<u32>() += 1 };
    layer == 0
}

#[test]
fn a_synchronizer_releases_layers_until_it_refuses_one() {
    let pair = Pair::new(LAYOUT);
    fill(pair.near, 1);
    let (stream, arrivals) = (stream(&pair, &TAGGED).expect("open"), arrivals(&pair).expect("expected"));
    let asked = Box::leak(Box::new(0_u32));
    // SAFETY: the number lives for ever.
    let driven = unsafe { pmd_kv_stream_drive(stream, Some(first_only), (&raw mut *asked).cast()) };
    assert_eq!(driven, pmd_kv_status::Ok);
    assert_eq!(pmd_kv_arrivals_wait(arrivals, 0, PATIENCE), pmd_kv_status::Ok);
    // The receiver is told of the layer that does not come, and which blocks are not valid.
    assert_eq!(pmd_kv_arrivals_wait(arrivals, 1, PATIENCE), pmd_kv_status::Failed);
    let (mut extents, mut count) = ([pmd_kv_extent::default(); 2], 9);
    let mut lost = |layer, capacity| {
        // SAFETY: room for two extents, and a place for their number.
        let status =
            unsafe { pmd_kv_arrivals_lost(arrivals, layer, extents.as_mut_ptr(), capacity, &mut count) };
        (status, count, extents[0])
    };
    let whole = pmd_kv_extent { first_layer: 1, end_layer: 2, first_block: 0, end_block: 8 };
    assert_eq!(lost(0, 2), (pmd_kv_status::Ok, 0, pmd_kv_extent::default()));
    assert_eq!(lost(1, 0), (pmd_kv_status::BufferTooSmall, 1, pmd_kv_extent::default()));
    assert_eq!(lost(1, 2), (pmd_kv_status::Ok, 1, whole));
    // SAFETY: a place for the bytes.
    let ended = made(0, |bytes| unsafe { pmd_kv_stream_wait(stream, PATIENCE, bytes) });
    assert_eq!(ended, Err(pmd_kv_status::Cancelled));
    // SAFETY: no function.
    assert_eq!(unsafe { pmd_kv_stream_drive(stream, None, null_mut()) }, pmd_kv_status::NullPointer);
    let _ = (pmd_kv_stream_close(stream), pmd_kv_arrivals_close(arrivals));
}

#[test]
fn a_stream_that_ends_is_seen_at_both_ends() {
    let pair = Pair::new(LAYOUT);
    let (stream, arrivals) = (stream(&pair, &TAGGED).expect("open"), arrivals(&pair).expect("expected"));
    assert_eq!(self::arrivals(&pair), Err(pmd_kv_status::NameTaken));
    assert_eq!(pmd_kv_stream_cancel(stream), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_stream_release(stream, 0), pmd_kv_status::Cancelled);
    for layer in 0..2 {
        assert_eq!(pmd_kv_arrivals_wait(arrivals, layer, PATIENCE), pmd_kv_status::Failed);
    }
    assert_eq!(pmd_kv_stream_close(stream), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_arrivals_close(arrivals), pmd_kv_status::Ok);
    // The tag is free again, and a sender that goes is told of.
    let again = self::arrivals(&pair).expect("expected");
    assert_eq!(pmd_kv_peer_close(pair.peer), pmd_kv_status::Ok);
    assert_eq!(pmd_kv_arrivals_wait(again, 1, PATIENCE), pmd_kv_status::PeerDown);
    assert_eq!(pmd_kv_arrivals_close(again), pmd_kv_status::Ok);
    let nobody = [null::<pmd_kv_peer>()];
    // SAFETY: one peer, and a place for the expectation.
    let refused =
        made(null_mut(), |place| unsafe { pmd_kv_expect_layers(pair.there, TAG, nobody.as_ptr(), 1, place) });
    assert_eq!(refused, Err(pmd_kv_status::NullPointer));
}

#[test]
fn a_layer_that_is_late_is_given_up() {
    // So many bytes take a lane longer than a millisecond.
    let large =
        pmd_kv_layout { layers: 1, tensors_per_layer: 1, blocks: 64, block_bytes: 4 << 20, format: null() };
    let pair = Pair::new(large);
    let hurried = pmd_kv_stream_options { deadline_ms: 1, ..TAGGED };
    let stream = stream(&pair, &hurried).expect("open");
    assert_eq!(pmd_kv_stream_release(stream, 0), pmd_kv_status::Ok);
    // SAFETY: a place for the bytes.
    let late = made(0, |bytes| unsafe { pmd_kv_stream_wait_layer(stream, 0, PATIENCE, bytes) });
    assert_eq!(late, Err(pmd_kv_status::DeadlineExceeded));
    assert_eq!(pmd_kv_stream_close(stream), pmd_kv_status::Ok);
}
