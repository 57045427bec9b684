//! Transfers that fail: both ends hear of it, and which blocks are not valid.

mod engine_support;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use engine_support::{A_WHILE, PATIENCE, arena, config, connect, engine, error, fill, filled, read, soon};
use kv_api::{
    engine::{Application, Engine, EngineError, Event, FailureReason, PostOptions},
    layout::CacheLayout,
    planner::{BlockMap, Direction, LayerMap, Selection},
};
use pmd_host::{
    control::{DownReason, Refusal, RequestError},
    endpoint::Peer,
    transfer::{CancelOutcome, TransferError},
};

fn overdue() -> PostOptions {
    PostOptions { deadline: Some(Instant::now() - Duration::from_secs(1)), ..PostOptions::default() }
}

#[test]
fn both_ends_learn_which_blocks_an_overdue_transfer_leaves_invalid() {
    let (prefill, decode) = (engine("prefill"), engine("decode"));
    let (peer, back) = connect(&prefill, &decode);
    let computed = arena(&prefill, "computed", CacheLayout::new(4, 2, 8, 4096).unwrap());
    let room = arena(&decode, "room", CacheLayout::new(6, 2, 16, 4096).unwrap());
    fill(&computed, 1);
    let remote = prefill.remote_cache(&peer, "room", PATIENCE).unwrap();
    let blocks = BlockMap::Table { source: &[0, 1, 5, 7], destination: &[9, 8, 2, 12] };
    let layers = LayerMap { source: 1..3, destination: 4 };
    let push = remote.push(&computed, Selection::new(layers, blocks)).unwrap().notifying(b"seven".to_vec());
    let mut transfer = push.post_with(overdue()).unwrap();
    assert_eq!(error(transfer.wait(soon())), TransferError::DeadlineExceeded);
    let unproven = transfer.unproven();
    assert_eq!(unproven.count(), 2 * 4);
    assert!([0, 1, 5, 7].into_iter().all(|block| unproven.contains(1, block) && unproven.contains(2, block)));
    assert!(!unproven.contains(3, 0) && !unproven.contains(1, 2));

    let failure = decode.wait_failure(PATIENCE).unwrap();
    assert_eq!((&failure.peer, failure.transfer), (&back, transfer.id()));
    assert_eq!((failure.direction, failure.cache.as_str()), (Direction::Push, "room"));
    assert_eq!(failure.reason, FailureReason::DeadlineExceeded);
    assert_eq!(failure.notification.as_deref(), Some(&b"seven"[..]));
    assert_eq!(failure.detail, TransferError::DeadlineExceeded.to_string());
    let [extent] = failure.blocks.extents() else { panic!("{failure:?}") };
    assert_eq!((&extent.layers, &extent.blocks[..]), (&(4..6), &[2..3, 8..10, 12..13][..]));
    // The notification does not come, and the blocks were not touched.
    assert!(matches!(decode.wait_notification(A_WHILE), Err(EngineError::Timeout { .. })));
    assert!(read(&room, 8, 9).iter().all(|byte| *byte == 0));

    // The route goes on, and what is repeated arrives.
    let mut transfer = push.post_with(PostOptions::default()).unwrap();
    transfer.wait(soon()).unwrap();
    assert_eq!(decode.wait_notification(PATIENCE).unwrap().bytes, b"seven");
    assert_eq!(read(&room, 8, 9), filled(&computed, 2, 0, 1));
    assert!(matches!(decode.wait_failure(A_WHILE), Err(EngineError::Timeout { .. })));
}

#[test]
fn the_source_of_a_pull_learns_that_its_blocks_were_not_read() {
    let (prefill, decode) = (engine("prefill"), engine("decode"));
    let (peer, _) = connect(&decode, &prefill);
    let layout = CacheLayout::new(2, 1, 8, 64).unwrap();
    let _source = arena(&prefill, "source", layout);
    let target = arena(&decode, "target", layout);
    let remote = decode.remote_cache(&peer, "source", PATIENCE).unwrap();
    let pull = remote.pull(&target, Selection::whole(&layout)).unwrap();
    // Nobody holds the handle: the peer is told all the same.
    drop(pull.post_with(overdue()).unwrap());
    let failure = prefill.wait_failure(PATIENCE).unwrap();
    assert_eq!((failure.direction, failure.cache.as_str()), (Direction::Pull, "source"));
    assert_eq!((failure.blocks.count(), failure.notification), (16, None));
}

#[test]
fn a_failed_work_request_is_told_to_who_is_still_there() {
    let (owner, writer) = (engine("owner"), engine("writer"));
    let (peer, _) = connect(&writer, &owner);
    let layout = CacheLayout::new(1, 1, 4, 4096).unwrap();
    let offered = arena(&owner, "offered", layout);
    let mine = arena(&writer, "mine", layout);
    let remote = writer.remote_cache(&peer, "offered", PATIENCE).unwrap();
    let push = remote.push(&mine, Selection::whole(&layout)).unwrap();
    drop(offered);
    let mut transfer = push.post_with(PostOptions::default()).unwrap();
    assert!(matches!(error(transfer.wait(soon())), TransferError::Failed { entry: 0, .. }));
    assert_eq!(transfer.unproven().count(), 4);
    let failure = owner.wait_failure(PATIENCE).unwrap();
    assert_eq!((failure.reason, failure.blocks.count()), (FailureReason::WorkRequest, 4));
}

#[test]
fn cancel_is_quiet_and_told() {
    let (owner, writer) = (engine("owner"), engine("writer"));
    let (peer, _) = connect(&writer, &owner);
    let layout = CacheLayout::new(4, 1, 64, 1 << 18).unwrap();
    let (room, mine) = (arena(&owner, "room", layout), arena(&writer, "mine", layout));
    fill(&mine, 5);
    let remote = writer.remote_cache(&peer, "room", PATIENCE).unwrap();
    let push = remote.push(&mine, Selection::whole(&layout)).unwrap();
    let mut transfer = push.post_with(PostOptions::default()).unwrap();
    match transfer.cancel() {
        CancelOutcome::Cancelled => {
            let failure = owner.wait_failure(PATIENCE).unwrap();
            assert_eq!(failure.reason, FailureReason::Cancelled);
            assert_eq!(failure.blocks, transfer.unproven(), "the same blocks on both sides");
            for (tensor, block) in engine_support::blocks(&room) {
                if !failure.blocks.contains(tensor, block) {
                    assert_eq!(read(&room, tensor, block), filled(&mine, tensor, block, 5));
                }
            }
        }
        // It was faster.
        CancelOutcome::Completed(outcome) => assert_eq!(outcome.bytes, layout.total_bytes()),
        CancelOutcome::Failed(error) => panic!("{error}"),
    }
    // Quiet: what is overwritten now stays.
    for (tensor, number) in engine_support::blocks(&room) {
        #[expect(unsafe_code, reason = "overwrites what nothing writes any more")]
        // SAFETY: the only transfer has ended.
        unsafe { &mut *engine_support::block(&room, tensor, number) }.fill(0xaa);
    }
    thread::sleep(A_WHILE);
    let kept = |(tensor, block)| read(&room, tensor, block).iter().all(|byte| *byte == 0xaa);
    assert!(engine_support::blocks(&room).all(kept));
}

#[test]
fn events_come_in_their_order() {
    let (ours, theirs) = (engine("ours"), engine("theirs"));
    let (peer, back) = connect(&ours, &theirs);
    let layout = CacheLayout::new(1, 1, 4, 64).unwrap();
    let (mine, room) = (arena(&ours, "mine", layout), arena(&theirs, "room", layout));
    let remote = ours.remote_cache(&peer, "room", PATIENCE).unwrap();
    let push = remote.push(&mine, Selection::whole(&layout)).unwrap();
    let told = |bytes: &[u8]| push.clone().notifying(bytes.to_vec());
    told(b"one").post(None).unwrap().wait(soon()).unwrap();
    let Event::Notification(first) = theirs.wait_event(PATIENCE).unwrap() else { panic!("no notification") };
    assert_eq!((&first.peer, &first.bytes[..]), (&back, &b"one"[..]));
    drop(told(b"two").post_with(overdue()).unwrap());
    let Event::Failed(failed) = theirs.wait_event(PATIENCE).unwrap() else { panic!("no failure") };
    assert_eq!(failed.notification.as_deref(), Some(&b"two"[..]));
    peer.close();
    let Event::Down(gone, reason) = theirs.wait_event(PATIENCE).unwrap() else { panic!("not down") };
    assert_eq!((gone, reason), (back, DownReason::Goodbye));
    assert!(matches!(theirs.wait_event(A_WHILE), Err(EngineError::Timeout { .. })));
    drop(room);
}

struct Touchy;

impl Application for Touchy {
    fn request(&self, _: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        assert!(body != b"panic", "planned panic");
        Ok(body.to_vec())
    }
}

#[test]
fn a_panic_in_the_application_is_a_refusal_and_nothing_else() {
    let server = Engine::open_with(config("server"), Some(Box::new(Touchy))).unwrap();
    let client = engine("client");
    let (peer, _) = connect(&client, &server);
    for _ in 0..3 {
        let refused = client.ask(&peer, b"panic".to_vec(), PATIENCE).unwrap_err();
        let EngineError::Request(RequestError::Refused(refusal)) = refused else { panic!("{refused}") };
        assert_eq!(refusal.code, Refusal::PANICKED);
        assert_eq!(client.ask(&peer, b"calm".to_vec(), PATIENCE).unwrap(), b"calm");
    }
    let layout = CacheLayout::new(1, 1, 4, 64).unwrap();
    let (mine, _room) = (arena(&client, "mine", layout), arena(&server, "room", layout));
    let remote = client.remote_cache(&peer, "room", PATIENCE).unwrap();
    let push = remote.push(&mine, Selection::whole(&layout)).unwrap();
    push.post(None).unwrap().wait(soon()).unwrap();
}

#[test]
fn two_threads_share_every_handle() {
    const EACH: usize = 100;
    let (ours, theirs) = (engine("ours"), engine("theirs"));
    let (peer, _) = connect(&ours, &theirs);
    let layout = CacheLayout::new(1, 1, 8, 512).unwrap();
    let (mine, room) = (arena(&ours, "mine", layout), arena(&theirs, "room", layout));
    fill(&mine, 7);
    let remote = ours.remote_cache(&peer, "room", PATIENCE).unwrap();
    let push = remote.push(&mine, Selection::whole(&layout)).unwrap().notifying(b"done".to_vec());
    let heard = thread::scope(|scope| {
        let posting = || {
            for _ in 0..EACH {
                assert_eq!(push.post(None).unwrap().wait(soon()).unwrap().bytes, layout.total_bytes());
            }
        };
        scope.spawn(posting);
        scope.spawn(posting);
        let hearing =
            || (0..EACH).map(|_| theirs.wait_notification(PATIENCE).unwrap().bytes.len()).sum::<usize>();
        let listeners = [scope.spawn(hearing), scope.spawn(hearing)];
        listeners.map(|listener| listener.join().unwrap()).iter().sum::<usize>()
    });
    assert_eq!(heard, 2 * EACH * b"done".len(), "each notification was taken once");
    assert!(matches!(theirs.wait_notification(Duration::ZERO), Err(EngineError::Timeout { .. })));
    assert_eq!(read(&room, 0, 3), filled(&mine, 0, 3, 7));

    // The same name from two threads: one of them gets it.
    let start = Arc::new(std::sync::Barrier::new(2));
    for _ in 0..20 {
        let racing = |start: Arc<std::sync::Barrier>| {
            start.wait();
            ours.allocate_cache("race", layout, pmd_host::soft::ArenaOptions::default())
        };
        let results = thread::scope(|scope| {
            let runners = [0, 1].map(|_| {
                let start = Arc::clone(&start);
                scope.spawn(move || racing(start))
            });
            runners.map(|runner| runner.join().unwrap())
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    }
}
