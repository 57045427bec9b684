//! Layer-wise streams: each layer lands when it was released, and whoever waits hears of it.

mod engine_support;

use std::{
    pin::pin,
    sync::{Arc, mpsc},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use engine_support::{A_WHILE, PATIENCE, arena, connect, engine, fill, filled, read};
use kv_api::{
    engine::{
        Cache, Engine, EngineError, FailureReason, LayerArrivals, LayerError, LayerStream, RemoteCache,
        StreamError, StreamOptions,
    },
    layout::CacheLayout,
    planner::{BlockMap, LayerMap, PlanError, Selection},
};
use pmd_host::endpoint::Peer;

const TAG: u64 = 77;
const LAYERS: u32 = 5;

struct Pair {
    prefill: Engine,
    decode: Engine,
    back: Peer,
    computed: Cache,
    room: Cache,
    remote: RemoteCache,
}

impl Pair {
    fn new() -> Self {
        let (prefill, decode) = (engine("prefill"), engine("decode"));
        let (peer, back) = connect(&prefill, &decode);
        let computed = arena(&prefill, "computed", CacheLayout::new(LAYERS, 2, 4, 4096).unwrap());
        let room = arena(&decode, "room", CacheLayout::new(LAYERS + 2, 2, 8, 4096).unwrap());
        fill(&computed, 1);
        let remote = prefill.remote_cache(&peer, "room", PATIENCE).unwrap();
        Self { prefill, decode, back, computed, room, remote }
    }

    /// Blocks 0, 1, 2 to 7, 3, 5; layer `l` becomes layer `l + 2`.
    fn stream(&self, options: StreamOptions) -> LayerStream {
        let blocks = BlockMap::Table { source: &[0, 1, 2], destination: &[7, 3, 5] };
        let layers = LayerMap { source: 0..LAYERS, destination: 2 };
        self.remote.stream(&self.computed, Selection::new(layers, blocks), options).unwrap()
    }

    fn tagged(&self) -> LayerStream {
        self.stream(StreamOptions { tag: TAG, ..StreamOptions::default() })
    }

    fn expect(&self) -> LayerArrivals {
        self.decode.expect_layers(TAG, std::slice::from_ref(&self.back)).unwrap()
    }

    fn check_layer(&self, source: u32) {
        for (from, to) in [(0, 7), (1, 3), (2, 5)] {
            for tensor in 0..2 {
                let sent = filled(&self.computed, source * 2 + tensor, from, 1);
                assert_eq!(read(&self.room, (source + 2) * 2 + tensor, to), sent, "layer {source}");
            }
        }
    }
}

#[test]
fn layers_land_in_the_order_of_their_release() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    for layer in [3, 0, 4, 2, 1] {
        assert!(!arrivals.is_landed(layer + 2));
        let early = arrivals.wait(layer + 2, Duration::ZERO).unwrap_err();
        assert!(matches!(early, LayerError::Timeout { .. }), "{early}");
        stream.release(layer).unwrap();
        arrivals.wait(layer + 2, PATIENCE).unwrap();
        assert!(arrivals.is_landed(layer + 2));
        pair.check_layer(layer);
        assert_eq!(stream.wait_layer(layer, PATIENCE).unwrap().bytes, 2 * 3 * 4096);
    }
    assert_eq!(stream.wait(PATIENCE).unwrap().bytes, u64::from(LAYERS) * 2 * 3 * 4096);
    // Layers are not notifications of the application.
    assert!(matches!(pair.decode.wait_notification(Duration::ZERO), Err(EngineError::Timeout { .. })));
}

#[test]
fn a_synchroniser_releases_while_the_receiver_goes_on() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    let (computed, ready) = mpsc::channel::<u32>();
    stream.drive(move |layer| ready.recv() == Ok(layer)).unwrap();
    for layer in 0..LAYERS {
        computed.send(layer).unwrap();
        arrivals.wait(layer + 2, PATIENCE).unwrap();
        pair.check_layer(layer);
        assert!((layer + 1..LAYERS).all(|later| !arrivals.is_landed(later + 2)), "none before its time");
    }
    stream.wait(PATIENCE).unwrap();
}

/// Wakes a thread that polls a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, deadline) = (pin!(future), Instant::now() + PATIENCE);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "nobody wakes it");
        thread::park_timeout(left);
    }
}

#[test]
fn tasks_await_layers() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    // Given up without a trace.
    drop(arrivals.landing(2));
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..LAYERS)
            .map(|layer| {
                scope.spawn({
                    let arrivals = &arrivals;
                    move || block_on(arrivals.landing(layer + 2))
                })
            })
            .collect();
        (0..LAYERS).for_each(|layer| stream.release(layer).unwrap());
        for landed in waiting {
            landed.join().expect("no panic").unwrap();
        }
    });
    block_on(arrivals.landing(3)).expect("it is there");
    (0..LAYERS).for_each(|layer| pair.check_layer(layer));
}

#[test]
fn senders_await_layers_too() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    assert_eq!(stream.layers(), 0..LAYERS);
    let beyond = block_on(stream.sent(LAYERS)).expect_err("no such layer");
    assert!(matches!(beyond, StreamError::NoSuchLayer { layer: LAYERS, .. }), "{beyond}");
    // Given up without a trace.
    drop(stream.sent(0));
    thread::scope(|scope| {
        let stream = &stream;
        let waiting: Vec<_> =
            (0..LAYERS).map(|layer| scope.spawn(move || block_on(stream.sent(layer)))).collect();
        (1..LAYERS).for_each(|layer| stream.release(layer).unwrap());
        block_on(stream.sent(1)).expect("it is sent");
        stream.end();
        let ends: Vec<_> = waiting.into_iter().map(|sent| sent.join().expect("no panic")).collect();
        assert!(matches!(ends[0], Err(StreamError::Ended { layer: 0 })), "{:?}", ends[0]);
        assert!(ends[1..].iter().all(|end| end.as_ref().is_ok_and(|outcome| outcome.bytes > 0)), "{ends:?}");
    });
    (1..LAYERS).for_each(|layer| {
        arrivals.wait(layer + 2, PATIENCE).unwrap();
        pair.check_layer(layer);
    });
    let lost = arrivals.wait(2, PATIENCE).expect_err("it was never released");
    assert!(matches!(lost, LayerError::Lost { layer: 2, reason: FailureReason::NotPosted, .. }), "{lost}");
}

#[test]
fn tasks_hear_of_layers_that_never_come() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    drop(stream);
    let lost = block_on(arrivals.landing(2)).expect_err("it was never released");
    assert!(matches!(lost, LayerError::Lost { layer: 2, .. }), "{lost}");
    drop(arrivals);
    let arrivals = pair.expect();
    let Pair { prefill, computed, remote, decode, .. } = pair;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(arrivals.landing(2)));
        drop((prefill, computed, remote));
        let gone = waiting.join().expect("no panic").expect_err("nobody sends it");
        assert!(matches!(gone, LayerError::SenderDown { layer: 2, .. }), "{gone}");
    });
    drop(decode);
}

#[test]
fn layers_that_land_before_they_are_expected_are_not_lost() {
    let pair = Pair::new();
    let stream = pair.tagged();
    (0..LAYERS).for_each(|layer| stream.release(layer).unwrap());
    stream.wait(PATIENCE).unwrap();
    let arrivals = pair.expect();
    (0..LAYERS).for_each(|layer| arrivals.wait(layer + 2, PATIENCE).unwrap());
}

#[test]
fn a_sender_that_leaves_at_once_leaves_its_layers_behind() {
    for _ in 0..4 {
        let pair = Pair::new();
        let (stream, arrivals) = (pair.tagged(), pair.expect());
        (0..LAYERS).for_each(|layer| stream.release(layer).unwrap());
        stream.wait(PATIENCE).unwrap();
        let Pair { prefill, remote, computed, decode, .. } = pair;
        drop((stream, remote, computed, prefill));
        (0..LAYERS).for_each(|layer| arrivals.wait(layer + 2, PATIENCE).unwrap());
        decode.wait_down(PATIENCE).unwrap();
        let none = arrivals.wait(0, PATIENCE).unwrap_err();
        assert!(matches!(none, LayerError::SenderDown { layer: 0, .. }), "{none}");
    }
}

#[test]
fn a_layer_has_landed_when_all_senders_have_sent_it() {
    let pair = Pair::new();
    let other = engine("other rank");
    let (peer, other_back) = connect(&other, &pair.decode);
    let theirs = arena(&other, "computed", *pair.computed.layout());
    let remote = other.remote_cache(&peer, "room", PATIENCE).unwrap();
    let arrivals = pair.decode.expect_layers(TAG, &[pair.back.clone(), other_back]).unwrap();
    let options = StreamOptions { tag: TAG, ..StreamOptions::default() };
    let blocks = BlockMap::Table { source: &[3], destination: &[0] };
    let layers = LayerMap { source: 0..LAYERS, destination: 2 };
    let second = remote.stream(&theirs, Selection::new(layers, blocks), options).unwrap();
    let first = pair.tagged();
    thread::scope(|scope| {
        scope.spawn(|| (0..LAYERS).for_each(|layer| first.release(layer).unwrap()));
        scope.spawn(|| (0..LAYERS - 1).rev().for_each(|layer| second.release(layer).unwrap()));
    });
    (0..LAYERS - 1).for_each(|layer| arrivals.wait(layer + 2, PATIENCE).unwrap());
    let last = LAYERS + 1;
    assert!(matches!(arrivals.wait(last, A_WHILE), Err(LayerError::Timeout { layer, .. }) if layer == last));
    first.wait(PATIENCE).unwrap();
    // The other one goes: its part of the last layer never comes, what has landed stays.
    drop((other, peer));
    let down = arrivals.wait(last, PATIENCE).unwrap_err();
    assert!(
        matches!(
            down,
            LayerError::Lost { reason: FailureReason::NotPosted, .. } | LayerError::SenderDown { .. }
        ),
        "{down}"
    );
    arrivals.wait(2, PATIENCE).unwrap();
}

/// What the receiver hears of layers from `first` on that will not come: the blocks that are not valid.
fn all_lost(pair: &Pair, arrivals: &LayerArrivals, first: u32) {
    for layer in first..LAYERS {
        match arrivals.wait(layer + 2, PATIENCE).unwrap_err() {
            LayerError::Lost { reason: FailureReason::NotPosted, blocks, peer, .. } => {
                assert_eq!((peer, blocks.count()), (pair.back.clone(), 3));
                assert!([7, 3, 5].into_iter().all(|block| blocks.contains(layer + 2, block)));
            }
            other => panic!("{other}"),
        }
    }
    let told: Vec<_> = (first..LAYERS).map(|_| pair.decode.wait_failure(PATIENCE).unwrap()).collect();
    assert!(told.iter().all(|failure| failure.cache == "room"));
}

#[test]
fn a_synchroniser_that_gives_up_or_panics_ends_the_stream() {
    for panics in [false, true] {
        let pair = Pair::new();
        let (stream, arrivals) = (pair.tagged(), pair.expect());
        stream
            .drive(move |layer| {
                assert!(layer < 2 || !panics, "planned panic");
                layer < 2
            })
            .unwrap();
        (0..2).for_each(|layer| arrivals.wait(layer + 2, PATIENCE).unwrap());
        all_lost(&pair, &arrivals, 2);
        assert!(matches!(stream.wait(PATIENCE), Err(StreamError::Ended { layer: 2 })));
        assert!(matches!(stream.release(3), Err(StreamError::Ended { layer: 3 })));
    }
}

#[test]
fn the_receiver_hears_of_layers_that_were_never_released() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    stream.release(0).unwrap();
    stream.wait_layer(0, PATIENCE).unwrap();
    drop(stream.clone());
    assert!(matches!(arrivals.wait(3, Duration::ZERO), Err(LayerError::Timeout { .. })), "a handle is left");
    drop(stream);
    all_lost(&pair, &arrivals, 1);
    arrivals.wait(2, PATIENCE).unwrap();
}

#[test]
fn cancel_ends_a_stream_quietly() {
    let pair = Pair::new();
    let (stream, arrivals) = (pair.tagged(), pair.expect());
    stream.release(0).unwrap();
    stream.cancel();
    all_lost_or_cancelled(&arrivals);
    assert!(matches!(stream.release(1), Err(StreamError::Ended { .. })));
    assert!(matches!(stream.wait_layer(1, PATIENCE), Err(StreamError::Ended { layer: 1 })));
    // Layer 0 landed, or was cancelled: either way it has ended on both sides. Cancelled when every byte had moved, it
    // has landed all the same.
    let here = stream.wait_layer(0, Duration::ZERO);
    assert!(matches!(here, Ok(_) | Err(StreamError::Failed { .. })), "{here:?}");
    match arrivals.wait(2, PATIENCE) {
        Ok(()) => pair.check_layer(0),
        Err(LayerError::Lost { reason: FailureReason::Cancelled, .. }) => assert!(here.is_err()),
        Err(error) => panic!("{error}"),
    }
    stream.cancel();
}

fn all_lost_or_cancelled(arrivals: &LayerArrivals) {
    for layer in 1..LAYERS {
        assert!(matches!(arrivals.wait(layer + 2, PATIENCE), Err(LayerError::Lost { .. })));
    }
}

#[test]
fn an_overdue_layer_fails_on_both_sides() {
    let pair = Pair::new();
    let deadline = Some(std::time::Instant::now());
    let stream = pair.stream(StreamOptions { tag: TAG, deadline, ..StreamOptions::default() });
    let arrivals = pair.expect();
    stream.release(1).unwrap();
    assert!(matches!(stream.wait_layer(1, PATIENCE), Err(StreamError::Failed { layer: 1, .. })));
    let lost = arrivals.wait(3, PATIENCE).unwrap_err();
    assert!(
        matches!(&lost, LayerError::Lost { reason: FailureReason::DeadlineExceeded, blocks, .. } if blocks.count() == 3),
        "{lost}"
    );
}

#[test]
fn misuse_is_an_error() {
    let pair = Pair::new();
    let stream = pair.tagged();
    let beyond = stream.release(LAYERS).unwrap_err();
    assert!(matches!(beyond, StreamError::NoSuchLayer { layer: LAYERS, first: 0, end: LAYERS }), "{beyond}");
    stream.release(2).unwrap();
    assert!(matches!(stream.release(2), Err(StreamError::AlreadyReleased { layer: 2 })));
    let held = stream.wait(Duration::ZERO).unwrap_err();
    assert!(matches!(held, StreamError::Timeout { layer: 0, .. }), "{held}");
    let arrivals = pair.expect();
    let taken = pair.decode.expect_layers(TAG, &[]).unwrap_err();
    assert!(matches!(taken, EngineError::TagTaken { tag: TAG }), "{taken}");
    drop(arrivals);
    assert_eq!(pair.expect().tag(), TAG);

    let options = StreamOptions::default();
    let refused = |layers: LayerMap| {
        let selection = Selection::new(layers, BlockMap::Table { source: &[0], destination: &[0] });
        pair.remote.stream(&pair.computed, selection, options).unwrap_err()
    };
    for layers in [
        LayerMap { source: 1..1, destination: 0 },
        LayerMap { source: 0..LAYERS + 1, destination: 0 },
        LayerMap { source: 0..LAYERS, destination: 3 },
        LayerMap { source: u32::MAX - 1..u32::MAX, destination: u32::MAX },
    ] {
        let error = refused(layers);
        assert!(matches!(error, EngineError::Plan(PlanError::Layers { .. })), "{error}");
    }
    // A peer that is gone: posting fails, and says so.
    let stream = pair.tagged();
    drop(pair.decode);
    pair.prefill.wait_down(PATIENCE).unwrap();
    assert!(matches!(stream.release(0), Err(StreamError::Post { layer: 0, .. })));
}
