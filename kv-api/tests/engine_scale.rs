//! Many caches, many blocks, and what the engine counts of it.
#![allow(unsafe_code)] // registers memory of the test

mod engine_support;

use std::time::Duration;

use engine_support::{PATIENCE, arena, block, connect, engine, read, soon};
use kv_api::{
    engine::{Engine, EngineError, PostOptions},
    layout::{CacheLayout, TensorRun},
    planner::{BlockMap, BlockRun, Selection},
};
use pmd_host::transfer::Priority;

/// A cache of one tensor in the middle of someone's memory.
fn in_memory(engine: &Engine, name: &str, layout: CacheLayout, first: u64) -> kv_api::engine::Cache {
    let stride = layout.block_bytes();
    let run = TensorRun { first, tensor_stride: 0, block_stride: stride, count: 1, key: 0 };
    // SAFETY: the tests keep the memory until the caches and the transfers are gone, and do not borrow it before.
    unsafe { engine.register_cache(name, layout, vec![run]) }.unwrap()
}

#[test]
fn ten_thousand_caches_are_found_and_forgotten() {
    const CACHES: usize = 10_000;
    let (owner, reader) = (engine("owner"), engine("reader"));
    let (peer, _) = connect(&reader, &owner);
    let layout = CacheLayout::new(1, 1, 2, 32).unwrap();
    let size = layout.total_bytes() as usize;
    let memory: Vec<u8> =
        (0..CACHES * size).map(|index| (index / size) as u8 ^ ((index / size) >> 8) as u8).collect();
    let first = memory.as_ptr() as u64;
    let caches: Vec<_> = (0..CACHES)
        .map(|number| in_memory(&owner, &format!("cache {number}"), layout, first + (number * size) as u64))
        .collect();
    assert_eq!(owner.metrics().caches, CACHES as u64);
    let mine = arena(&reader, "mine", layout);
    for number in [0, 1, 4_999, CACHES - 1] {
        let remote = reader.remote_cache(&peer, &format!("cache {number}"), PATIENCE).unwrap();
        assert_eq!(remote.descriptor().id, number as u64 + 1);
        let pull = remote.pull(&mine, Selection::whole(&layout)).unwrap();
        pull.post(None).unwrap().wait(soon()).unwrap();
        assert_eq!(read(&mine, 0, 1), memory[number * size + 32..][..32]);
    }
    let taken = owner.allocate_cache("cache 77", layout, pmd_host::soft::ArenaOptions::default());
    assert!(matches!(taken, Err(EngineError::NameTaken { .. })));
    drop(caches);
    assert_eq!(owner.metrics().caches, 0);
    let gone = reader.remote_cache(&peer, "cache 77", PATIENCE).unwrap_err();
    assert!(matches!(gone, EngineError::NoSuchCache { .. }), "{gone}");
    arena(&owner, "cache 77", layout);
}

#[test]
fn a_million_blocks_move_in_one_transfer() {
    const BLOCKS: u32 = 1_000_000;
    const SIZE: u64 = 16;
    let (owner, reader) = (engine("owner"), engine("reader"));
    let (peer, _) = connect(&reader, &owner);
    let layout = CacheLayout::new(1, 1, BLOCKS, SIZE).unwrap();
    let (source, target) = (arena(&owner, "source", layout), arena(&reader, "target", layout));
    let whole = |cache: &kv_api::engine::Cache| {
        std::ptr::slice_from_raw_parts_mut(block(cache, 0, 0).cast::<u8>(), layout.total_bytes() as usize)
    };
    // SAFETY: nothing moves yet.
    for (number, bytes) in unsafe { &mut *whole(&source) }.chunks_exact_mut(SIZE as usize).enumerate() {
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    // A permutation without neighbours: 7 and a million have no divisor in common.
    let from: Vec<u32> = (0..BLOCKS).collect();
    let to: Vec<u32> = (0..BLOCKS).map(|number| (number as u64 * 7 % u64::from(BLOCKS)) as u32).collect();
    let remote = reader.remote_cache(&peer, "source", PATIENCE).unwrap();
    let blocks = BlockMap::Table { source: &from, destination: &to };
    let pull = remote.pull(&target, Selection::new(0..1, blocks)).unwrap();
    assert_eq!((pull.blocks(), pull.bytes()), (u64::from(BLOCKS), layout.total_bytes()));
    assert!(
        pull.work_requests() <= (BLOCKS as usize).div_ceil(30),
        "gathered, {} requests",
        pull.work_requests()
    );
    let mut transfer = pull.post_with(PostOptions::default()).unwrap();
    assert_eq!(transfer.wait(soon()).unwrap().bytes, layout.total_bytes());
    assert!(transfer.unproven().is_empty());
    // SAFETY: the only transfer has ended.
    let arrived = unsafe { &*whole(&target) };
    for (number, place) in to.iter().enumerate() {
        let at = *place as usize * SIZE as usize;
        assert_eq!(arrived[at..at + 8], (number as u64).to_le_bytes(), "block {number}");
    }

    // The same, overdue: a million invalid blocks are one range, here and at the peer.
    let deadline = Some(std::time::Instant::now());
    let mut transfer = pull.post_with(PostOptions { deadline, ..PostOptions::default() }).unwrap();
    engine_support::error(transfer.wait(soon()));
    let unproven = transfer.unproven();
    assert_eq!((unproven.count(), unproven.extents()[0].blocks.len()), (u64::from(BLOCKS), 1));
    assert_eq!(owner.wait_failure(PATIENCE).unwrap().blocks, unproven);
    // Every second block: half a million ranges still reach the peer.
    let odd = BlockRun { first: 1, step: 2, count: BLOCKS / 2 };
    let blocks = BlockMap::Strided { source: odd, destination: odd };
    let pull = remote.pull(&target, Selection::new(0..1, blocks)).unwrap();
    drop(pull.post_with(PostOptions { deadline, ..PostOptions::default() }).unwrap());
    let failure = owner.wait_failure(PATIENCE).unwrap();
    assert_eq!((failure.blocks.count(), failure.blocks.contains(0, 3)), (u64::from(BLOCKS / 2), true));
}

#[test]
fn everything_is_counted_and_rendered() {
    let (ours, theirs) = (engine("ours"), engine("the \"other\" one"));
    let (peer, back) = connect(&ours, &theirs);
    let layout = CacheLayout::new(1, 2, 8, 4096).unwrap();
    let (mine, _room) = (arena(&ours, "mine", layout), arena(&theirs, "room", layout));
    let remote = ours.remote_cache(&peer, "room", PATIENCE).unwrap();
    let push = remote.push(&mine, Selection::whole(&layout)).unwrap();
    let guess = push.estimate();
    assert!(!guess.measured && guess.duration > Duration::ZERO, "{guess:?}");
    assert_eq!(remote.link().observations, 0);
    for _ in 0..5 {
        push.clone().notifying(b"told".to_vec()).post(None).unwrap().wait(soon()).unwrap();
    }
    let urgent = PostOptions { priority: Priority::High, deadline: None };
    push.post_with(urgent).unwrap().wait(soon()).unwrap();
    let overdue = PostOptions { deadline: Some(std::time::Instant::now()), ..urgent };
    engine_support::error(push.post_with(overdue).unwrap().wait(soon()));
    theirs.wait_failure(PATIENCE).unwrap();
    (0..5).for_each(|_| drop(theirs.wait_notification(PATIENCE).unwrap()));

    let found = ours.metrics();
    let requests = 6 * push.work_requests() as u64;
    let total = found.total;
    assert_eq!((total.posted, total.completed, total.overdue), (7, 6, 1));
    assert_eq!((total.bytes, total.work_requests), (6 * layout.total_bytes(), requests));
    assert_eq!((total.failed, total.cancelled, total.notifications, total.reported), (0, 0, 0, 0));
    assert_eq!(found.peers.len(), 1);
    assert_eq!(found.peers[0].counters, total);
    assert_eq!((found.peers[0].name.as_str(), found.caches), ("the \"other\" one", 1));
    assert!(found.peers[0].link.observations > 0 && push.estimate().measured);
    assert_eq!(remote.estimate(push.bytes(), push.work_requests() as u64), push.estimate());
    let there = theirs.metrics().total;
    assert_eq!((there.notifications, there.reported), (5, 1));

    let text = found.prometheus();
    let line = |wanted: &str| assert!(text.lines().any(|line| line == wanted), "{wanted} in\n{text}");
    line("# TYPE pmd_kv_completed_transfers_total counter");
    line("pmd_kv_completed_transfers_total 6");
    line("pmd_kv_caches 1");
    let (incarnation, connection) = (&found.peers[0].incarnation, found.peers[0].connection);
    line(&format!(
        "pmd_kv_peer_bytes_total{{peer=\"the \\\"other\\\" one\",incarnation=\"{incarnation}\",connection=\"{connection}\",transport=\"shm\"}} {}",
        total.bytes
    ));
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    // Every family is described once, before its values.
    let described = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(described, 9 + 1 + 9 + 2);

    // A peer that is gone is not listed any more; what was done with it stays in the total.
    peer.close();
    ours.wait_down(PATIENCE).unwrap();
    let after = ours.metrics();
    assert!(after.peers.is_empty());
    assert_eq!(after.total, total);
    drop(back);
}
