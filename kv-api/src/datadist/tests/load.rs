//! Many caches, many threads, many operations, and ends in the middle of them.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
};

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use pmd_host::transfer::{RouteFault, TransferError};

use super::*;
use crate::datadist::transfer::Patience;

#[test]
fn ten_thousand_caches_are_registered_found_and_ended() {
    const CACHES: usize = 10_000;
    let (prompt, decoder) = pair();
    let memory = vec![7_u8; CACHES * 4096];
    let one = CacheDesc::new(CachePlacement::Host, 2, DataType::Uint8, &[4, 512]);
    let place = |number: usize| memory.as_ptr() as u64 + (number * 4096) as u64;
    for number in 0..CACHES {
        let key = CacheKeys::Rows(vec![CacheKey::of_request(0, number as u64, 0)]);
        // SAFETY: the memory outlives the process.
        let cache_id = unsafe {
            prompt.register_kv_cache(&one, &[place(number), place(number) + 2048], &key).expect("registered")
        };
        assert_eq!(cache_id, number as i64 + 1);
    }
    let ours = decoder.allocate_cache(&one, &CacheKeys::None).expect("allocated");
    let all = KvCacheExtParam::default();
    for number in (0..CACHES).step_by(100) {
        let by_number = index(0, number as i64 + 1, 3);
        decoder.pull_kv_cache(by_number, ours.cache_id, 0, -1, &all).expect("pulled by number");
        let by_key = CacheKey::of_request(0, number as u64, 0);
        decoder.pull_kv_cache(by_key, ours.cache_id, 0, -1, &all).expect("pulled by key");
    }
    for number in 0..CACHES {
        prompt.unregister_kv_cache(number as i64 + 1).expect("unregistered");
    }
    assert_eq!(prompt.running().expect("initialised").service.caches.ids(), [0_i64; 0]);
    let gone = decoder.pull_kv_cache(index(0, 1, 0), ours.cache_id, 0, -1, &all);
    assert_eq!(status(gone), Status::KvCacheNotExist);
    // Allocated ones share descriptors.
    let caches: Vec<Cache> =
        (0..2000).map(|_| prompt.allocate_cache(&one, &CacheKeys::None).expect("allocated")).collect();
    caches.iter().for_each(|cache| prompt.deallocate_cache(cache.cache_id).expect("freed"));
    drop((prompt, decoder));
    drop(memory);
}

#[test]
fn a_million_blocks_are_one_call() {
    const BLOCKS: u64 = 1_000_000;
    let (prompt, decoder) = pair();
    let small = CacheDesc::new(CachePlacement::Host, 1, DataType::Uint64, &[BLOCKS as i64, 1]);
    let [theirs, ours] =
        [&prompt, &decoder].map(|side| side.allocate_cache(&small, &CacheKeys::None).expect("space"));
    let at = |cache: &Cache, block: u64| (cache.tensor_addrs[0] + 8 * block) as *mut u64;
    // SAFETY: the block is allocated, and nothing moves while the test writes.
    (0..BLOCKS).for_each(|block| unsafe { at(&theirs, block).write_volatile(block) });
    let (up, down): (Vec<u64>, Vec<u64>) = ((0..BLOCKS).collect(), (0..BLOCKS).rev().collect());
    let all = KvCacheExtParam::default();
    decoder.pull_kv_blocks(index(0, 1, 0), 1, &up, &down, &all).expect("pulled");
    // SAFETY: as above, for reading.
    let turned = (0..BLOCKS).all(|block| unsafe { at(&ours, block).read_volatile() } == BLOCKS - 1 - block);
    assert!(turned);
    let mut twice = down;
    twice[999_999] = 500_000;
    let error =
        decoder.pull_kv_blocks(index(0, 1, 0), 1, &up, &twice, &all).expect_err("one is written twice");
    assert!(
        matches!(error, DataDistError::Argument(ArgumentError::BlockTwice { block: 500_000 })),
        "{error}"
    );
}

#[test]
fn threads_share_a_handle_and_a_link() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 64, 0), cache(&decoder, 4, 64, 500_000));
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let decoder = decoder.clone();
            scope.spawn(move || {
                let all = KvCacheExtParam::default();
                for round in 0..100 {
                    let block = 16 * number + round % 16;
                    decoder.pull_kv_blocks(index(0, 1, 0), 1, &[block], &[block], &all).expect("pulled");
                    decoder
                        .push_kv_cache(1, index(0, 1, block as u32), block as u32, -1, &all)
                        .expect("pushed");
                }
            });
        }
    });
    for tensor in 0..4 {
        for row in 0..64 {
            assert_eq!(ours.row(tensor, row), filled(0, tensor as i32, row as i32));
            assert_eq!(theirs.row(tensor, row), filled(0, tensor as i32, row as i32));
        }
    }
    drop((prompt, decoder));
    drop((theirs, ours));
}

/// What ends while another thread pulls all the time; the pulling thread's statuses.
fn pull_while(end: impl FnOnce(&LlmDataDist, &LlmDataDist)) -> Vec<Status> {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 64, 0), cache(&decoder, 4, 64, 500_000));
    let (sender, statuses) = mpsc::channel();
    let puller = decoder.clone();
    let thread = thread::spawn(move || {
        loop {
            let all = KvCacheExtParam::default();
            let status = status(puller.pull_kv_blocks(index(0, 1, 0), 1, &[5, 9], &[5, 9], &all));
            if sender.send(status).is_err() || status != Status::Success {
                return;
            }
        }
    });
    (0..20).for_each(|_| assert_eq!(statuses.recv_timeout(PATIENCE), Ok(Status::Success)));
    end(&prompt, &decoder);
    let mut seen = Vec::new();
    loop {
        match statuses.recv_timeout(PATIENCE) {
            Ok(status) => seen.push(status),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        }
    }
    thread.join().expect("no panic");
    drop((prompt, decoder));
    drop((theirs, ours));
    seen
}

#[test]
fn ends_in_the_middle_of_pulls_are_told() {
    let last = |statuses: Vec<Status>| *statuses.last().expect("a failure");
    let finalized = last(pull_while(|_, decoder| decoder.finalize()));
    assert!(
        matches!(finalized, Status::Failed | Status::NotYetLink | Status::KvCacheNotExist),
        "{finalized}"
    );
    let gone = last(pull_while(|prompt, _| prompt.finalize()));
    assert!(matches!(gone, Status::NotYetLink | Status::KvCacheNotExist), "{gone}");
    let unlinked = last(pull_while(|prompt, decoder| {
        let results = decoder.unlink_llm_clusters(&[cluster(prompt)], TIMEOUT, false).expect("taken");
        assert_eq!(results.status(), Status::Success);
    }));
    assert_eq!(unlinked, Status::NotYetLink);
    let unregistered = last(pull_while(|_, decoder| decoder.unregister_kv_cache(1).expect("unregistered")));
    assert_eq!(unregistered, Status::KvCacheNotExist);
    let remote = last(pull_while(|prompt, _| prompt.unregister_kv_cache(1).expect("unregistered")));
    assert!(matches!(remote, Status::KvCacheNotExist | Status::NotYetLink), "{remote}");
}

/// Devices may see that a connection broke before the control plane says why.
#[test]
fn a_route_that_breaks_before_the_control_plane_speaks_is_a_link_that_is_down() {
    let mut reasons = Vec::new();
    let broken = pull_while(|prompt, decoder| {
        let links = [prompt, decoder].map(|side| side.running().expect("initialised").service.links.all());
        let [theirs, ours] = links.map(|links| Arc::clone(&links[0]));
        theirs.peer.route().fail(RouteFault::Closed);
        within(|| matches!(decoder.check_link_status(0), Err(DataDistError::LinkDown { .. })));
        reasons.extend([theirs.peer.down_reason(), ours.peer.down_reason()]);
    });
    assert_eq!(broken.last(), Some(&Status::NotYetLink));
    assert_eq!(reasons, [None, None], "the control plane knows nothing of it");
}

#[test]
fn every_word_of_a_device_for_a_broken_route_is_a_link_that_is_down() {
    let (_prompt, decoder) = pair();
    let link = Arc::clone(&decoder.running().expect("initialised").service.links.all()[0]);
    let remote = RemoteAddress { address: 64, key: RemoteKey(7) };
    let failed = |syndrome| TransferError::Failed { syndrome, vendor: 0, entry: 0, remote };
    let cases = [
        (failed(Syndrome::RetryExceeded), Status::NotYetLink),
        (failed(Syndrome::Flushed), Status::NotYetLink),
        (RouteFault::Disconnected.transfer_error(), Status::NotYetLink),
        (TransferError::PeerDown, Status::NotYetLink),
        (TransferError::RouteClosed, Status::NotYetLink),
        (TransferError::DeadlineExceeded, Status::Timeout),
        (failed(Syndrome::LocalProtection), Status::Failed),
    ];
    for (error, wanted) in cases {
        let told = link.explain_transfer(error, Patience::new(PATIENCE));
        assert_eq!(told.status(), wanted, "{told}");
    }
}

#[test]
fn a_soak_of_links_caches_and_operations_leaves_nothing() {
    let prompt = start(0, &server());
    let decoder = start(1, &client());
    let all = KvCacheExtParam::default();
    for round in 0..40 {
        link(&decoder, &prompt);
        let (theirs, ours) = (cache(&prompt, 4, 8, round), cache(&decoder, 4, 8, 500_000));
        let (from, to) = (index(0, theirs.cache_id, 0), ours.cache_id);
        for block in 0..50_u64 {
            decoder.pull_kv_blocks(from, to, &[block % 8], &[(block + 3) % 8], &all).expect("pulled");
        }
        decoder.push_kv_cache(to, index(0, theirs.cache_id, 1), 0, -1, &all).expect("pushed");
        assert_eq!(ours.row(2, 3), filled(round, 2, 0));
        prompt.unregister_kv_cache(theirs.cache_id).expect("unregistered");
        decoder.unregister_kv_cache(ours.cache_id).expect("unregistered");
        let force = round % 2 == 0;
        let results = decoder.unlink_llm_clusters(&[cluster(&prompt)], TIMEOUT, force).expect("taken");
        assert_eq!(results.status(), Status::Success);
    }
    let services = [&prompt, &decoder].map(|side| {
        let running = side.running().expect("initialised");
        assert_eq!(running.service.caches.ids(), [0_i64; 0]);
        Arc::downgrade(&running.service)
    });
    assert_eq!(decoder.running().expect("initialised").service.links.all().len(), 0);
    drop((prompt, decoder));
    let deadline = std::time::Instant::now() + PATIENCE;
    while services.iter().any(|service| service.strong_count() > 0) {
        assert!(std::time::Instant::now() < deadline, "something outlives its process");
        thread::yield_now();
    }
}

#[test]
fn links_caches_and_pulls_that_come_and_go_at_once_end_well() {
    let sides = [start(0, &server()), start(1, &server())];
    let clusters = [cluster(&sides[0]), cluster(&sides[1])];
    let memories: Vec<Vec<i32>> = (0..6).map(|_| vec![0; 64]).collect();
    thread::scope(|scope| {
        for side in [0, 1] {
            let (here, there) = (&sides[side], &clusters[1 - side]);
            let there = std::slice::from_ref(there);
            scope.spawn(move || {
                for round in 0..40 {
                    // Whatever comes of it: the other side does the same.
                    here.link_llm_clusters(there, TIMEOUT).expect("taken");
                    here.unlink_llm_clusters(there, TIMEOUT, round % 2 == 0).expect("taken");
                }
            });
            for memory in &memories[3 * side..3 * side + 2] {
                scope.spawn(move || {
                    for _ in 0..60 {
                        // SAFETY: the memory outlives the process.
                        let cache = unsafe {
                            here.register_kv_cache(&desc(1, 4), &[memory.as_ptr() as u64], &CacheKeys::None)
                        };
                        let cache = cache.expect("registered");
                        let all = KvCacheExtParam::default();
                        for number in 1..4 {
                            let from = index(1 - side as u64, number, 0);
                            let status = status(here.pull_kv_cache(from, cache, 1, -1, &all));
                            // A key that ends under a transfer is a failure of the link, which is made again.
                            let allowed = [
                                Status::Success,
                                Status::NotYetLink,
                                Status::KvCacheNotExist,
                                Status::Failed,
                            ];
                            assert!(allowed.contains(&status), "{status}");
                        }
                        here.unregister_kv_cache(cache).expect("unregistered");
                    }
                });
            }
        }
    });
    // All goes on as if nothing had been.
    for side in [0, 1] {
        let results =
            sides[side].unlink_llm_clusters(&clusters[1 - side..2 - side], TIMEOUT, true).expect("taken");
        assert_eq!(results.status(), Status::Success);
    }
    link(&sides[0], &sides[1]);
    let caches = (cache(&sides[0], 2, 2, 0), cache(&sides[1], 2, 2, 500));
    let from = index(1, caches.1.cache_id, 1);
    sides[0].pull_kv_cache(from, caches.0.cache_id, 0, -1, &KvCacheExtParam::default()).expect("pulled");
    assert_eq!(caches.0.row(1, 0), filled(500, 1, 1));
    drop(sides);
    drop((caches, memories));
}
