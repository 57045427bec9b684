//! Engines whose peers are wrong, go, or are killed.

mod faults_support;

use std::{
    thread,
    time::{Duration, Instant},
};

use faults_support::{PATIENCE, Prefill, decode_verifies, engine, within};
use kv_api::{
    engine::{EngineError, Prepared},
    layout::{CacheLayout, TensorRun},
    planner::Selection,
};
use pmd_core::wire::Syndrome;
use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::Peer,
    soft::{AllocateError, ArenaOptions},
    transfer::{RouteFault, SubmitError, TransferError, WaitError},
};

fn layout(blocks: u32) -> CacheLayout {
    CacheLayout::new(2, 1, blocks, 4096).unwrap()
}

/// Carries it out; why not.
fn carry_out(prepared: &Prepared) -> Result<u64, TransferError> {
    let mut transfer = prepared.post(None).unwrap();
    match transfer.wait(Some(Instant::now() + PATIENCE)) {
        Ok(outcome) => Ok(outcome.bytes),
        Err(WaitError::Failed(error)) => Err(error),
        Err(WaitError::Timeout) => panic!("not over within {PATIENCE:?}"),
    }
}

#[test]
fn a_cache_that_its_owner_dropped_is_not_reached_any_more() {
    let (owner, reader, other) = (engine("owner"), engine("reader"), engine("other"));
    let offered = owner.allocate_cache("offered", layout(16), ArenaOptions::default()).unwrap();
    let _kept = owner.allocate_cache("kept", layout(16), ArenaOptions::default()).unwrap();
    let address = owner.local_address().unwrap();
    let (peer, other_peer) = (reader.connect(address).unwrap(), other.connect(address).unwrap());
    let mine = reader.allocate_cache("mine", layout(16), ArenaOptions::default()).unwrap();
    let theirs = other.allocate_cache("theirs", layout(16), ArenaOptions::default()).unwrap();
    let offer = reader.remote_cache(&peer, "offered", PATIENCE).unwrap();
    let (pull, push) = (
        offer.pull(&mine, Selection::whole(&layout(16))).unwrap(),
        offer.push(&mine, Selection::whole(&layout(16))).unwrap(),
    );
    assert_eq!((carry_out(&pull), carry_out(&push)), (Ok(pull.bytes()), Ok(push.bytes())));
    drop(offered);
    let error = carry_out(&push).unwrap_err();
    assert!(
        matches!(error, TransferError::Failed { syndrome: Syndrome::RemoteAccess, entry: 0, .. }),
        "{error}"
    );
    let refused = pull.post(None).unwrap_err();
    assert!(matches!(refused, EngineError::Submit(SubmitError::RouteFailed(_))), "{refused}");
    let missing = reader.remote_cache(&peer, "offered", PATIENCE).unwrap_err();
    assert!(matches!(&missing, EngineError::NoSuchCache { name } if name == "offered"), "{missing}");

    let kept = other.remote_cache(&other_peer, "kept", PATIENCE).unwrap();
    let pull = kept.pull(&theirs, Selection::whole(&layout(16))).unwrap();
    assert_eq!(carry_out(&pull), Ok(pull.bytes()), "another peer goes on");
    peer.close();
    let peer = reader.connect(address).unwrap();
    let kept = reader.remote_cache(&peer, "kept", PATIENCE).unwrap();
    let pull = kept.pull(&mine, Selection::whole(&layout(16))).unwrap();
    assert_eq!(carry_out(&pull), Ok(pull.bytes()), "and so does this one, connected anew");
}

#[test]
fn a_peer_that_leaves_in_between_is_reported_everywhere() {
    let (owner, reader) = (engine("owner"), engine("reader"));
    let _offered = owner.allocate_cache("offered", layout(16), ArenaOptions::default()).unwrap();
    let peer = reader.connect(owner.local_address().unwrap()).unwrap();
    let mine = reader.allocate_cache("mine", layout(16), ArenaOptions::default()).unwrap();
    let offer = reader.remote_cache(&peer, "offered", PATIENCE).unwrap();
    let pull = offer.pull(&mine, Selection::whole(&layout(16))).unwrap();
    drop(owner);
    assert_eq!(reader.wait_down(PATIENCE).unwrap(), (peer.clone(), DownReason::Goodbye));
    let refused = pull.post(None).unwrap_err();
    assert!(
        matches!(refused, EngineError::Submit(SubmitError::RouteFailed(RouteFault::PeerDown))),
        "{refused}"
    );
    let refused = reader.remote_cache(&peer, "offered", PATIENCE).unwrap_err();
    assert!(matches!(refused, EngineError::Request(RequestError::Down(DownReason::Goodbye))), "{refused}");
    let refused = reader.ask(&peer, vec![], PATIENCE).unwrap_err();
    assert!(matches!(refused, EngineError::Request(RequestError::Down(_))), "{refused}");
}

#[test]
fn a_cache_without_space_takes_no_name() {
    let engine = engine("engine");
    let huge = CacheLayout::new(1000, 2, 1 << 20, 1 << 20).unwrap();
    let refused = engine.allocate_cache("cache", huge, ArenaOptions::default()).unwrap_err();
    assert!(matches!(refused, EngineError::Allocate(AllocateError::NoSpace { .. })), "{refused}");
    let cache = engine.allocate_cache("cache", layout(1), ArenaOptions::default()).unwrap();
    let refused = engine.allocate_cache("cache", layout(1), ArenaOptions::default()).unwrap_err();
    assert!(matches!(refused, EngineError::NameTaken { .. }), "{refused}");
    drop(cache);
    engine.allocate_cache("cache", layout(1), ArenaOptions::default()).unwrap();
}

#[test]
#[expect(unsafe_code, reason = "describes memory that cannot be registered")]
fn memory_that_is_not_mapped_is_no_cache() {
    let engine = engine("engine");
    let run = TensorRun { first: 4096, tensor_stride: 4096, block_stride: 4096, count: 2, key: 0 };
    // SAFETY: the registration is refused, so nothing touches the range.
    let refused = unsafe { engine.register_cache("cache", layout(1), vec![run]) }.unwrap_err();
    assert!(matches!(refused, EngineError::Register(_)), "{refused}");
    engine.allocate_cache("cache", layout(1), ArenaOptions::default()).unwrap();
}

#[test]
fn a_prefill_process_that_is_killed_fails_the_pull_and_nothing_else() {
    let steady = Prefill::start("64");
    let reader = engine("reader");
    let steady_peer = reader.connect(steady.address).unwrap();
    let cache_of = |peer: &Peer| reader.remote_cache(peer, "prefill", PATIENCE).unwrap();
    let small = cache_of(&steady_peer).descriptor().layout;
    let mine = reader.allocate_cache("small", small, ArenaOptions::default()).unwrap();
    let steady_pull = cache_of(&steady_peer).pull(&mine, Selection::whole(&small)).unwrap();
    for round in 0..5 {
        // 64 MiB.
        let victim = Prefill::start("512");
        let peer = reader.connect(victim.address).unwrap();
        let remote = cache_of(&peer);
        let large = remote.descriptor().layout;
        let target = reader.allocate_cache("large", large, ArenaOptions::default()).unwrap();
        let pull = remote.pull(&target, Selection::whole(&large)).unwrap();
        thread::scope(|scope| {
            let stream = scope.spawn(|| until_failure(&pull));
            thread::sleep(Duration::from_millis(3 * round));
            victim.kill();
            stream.join().unwrap();
        });
        let (gone, reason) = reader.wait_down(PATIENCE).unwrap();
        assert_eq!((gone, reason), (peer, DownReason::Closed));
        assert_eq!(carry_out(&steady_pull), Ok(small.total_bytes()));
        // The transfers are over, so the cache's memory and name are free.
        drop((target, pull));
        within(|| reader.allocate_cache("large", layout(1), ArenaOptions::default()).ok());
    }
    decode_verifies(steady.address);
}

/// Pulls again and again until it fails as it does when the peer is gone.
fn until_failure(pull: &Prepared) {
    let deadline = Instant::now() + PATIENCE;
    let lost = |fault: &RouteFault| match fault {
        RouteFault::PeerDown | RouteFault::Disconnected => true,
        RouteFault::WorkRequest { syndrome, .. } => *syndrome == Syndrome::RetryExceeded,
        _ => false,
    };
    while Instant::now() < deadline {
        let mut transfer = match pull.post(None) {
            Ok(transfer) => transfer,
            Err(EngineError::Submit(SubmitError::RouteFailed(fault))) => {
                return assert!(lost(&fault), "{fault}");
            }
            Err(error) => panic!("{error}"),
        };
        match transfer.wait(Some(deadline)) {
            Ok(_) => {}
            Err(WaitError::Failed(TransferError::PeerDown)) => return,
            Err(WaitError::Failed(TransferError::Flushed { cause })) => {
                return assert!(lost(&cause), "{cause}");
            }
            Err(WaitError::Failed(TransferError::Failed { syndrome, .. })) => {
                return assert_eq!(syndrome, Syndrome::RetryExceeded);
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the pull never failed");
}
