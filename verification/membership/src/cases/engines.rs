//! Engines of `kv-api` that find each other by name, and what becomes of their transfers while etcd is gone.
#![allow(unsafe_code)] // fills caches and looks at them between transfers

use std::time::{Duration, Instant};

use kv_api::{
    engine::{Cache, Engine, EngineError},
    layout::CacheLayout,
    planner::Selection,
};
use pmd_host::{
    endpoint::EndpointConfig,
    metadata::{MetadataError, Standing},
    soft::ArenaOptions,
};

use super::{PATIENCE, until_standing};
use crate::server::Server;

/// Transfers of each time: etcd there, gone, and there again.
const TRANSFERS: u8 = 20;

fn engine(name: &str) -> Engine {
    let listen = Some(([127, 0, 0, 1], 0).into());
    Engine::open(EndpointConfig { name: name.to_owned(), listen, ..EndpointConfig::default() })
        .expect("an engine")
}

fn fill(cache: &Cache, byte: u8) {
    for_each_block(cache, |bytes| bytes.fill(byte));
}

fn for_each_block(cache: &Cache, mut look: impl FnMut(&mut [u8])) {
    let (tensors, blocks) = (cache.layout().tensors(), cache.layout().blocks());
    for (tensor, block) in (0..tensors).flat_map(|tensor| (0..blocks).map(move |block| (tensor, block))) {
        let first = cache.block_address(tensor, block).expect("there is such a block") as *mut u8;
        let length = cache.layout().block_extent() as usize;
        // SAFETY: the block is of a cache that lives, and no transfer is in flight.
        look(unsafe { std::slice::from_raw_parts_mut(first, length) });
    }
}

pub(super) fn transfers_go_on() {
    let mut server = Server::start();
    let (ours, theirs) = (server.directory(), server.directory());
    let (decode, prefill) = (engine("decode"), engine("prefill"));
    let layout = CacheLayout::new(2, 2, 8, 4096).expect("a layout");
    let room = decode.allocate_cache("room", layout, ArenaOptions::default()).expect("room");
    let computed = prefill.allocate_cache("computed", layout, ArenaOptions::default()).expect("room");
    let published = decode.publish(&theirs, "decode-0", PATIENCE).expect("a free name");
    let peer = prefill.connect_to(&ours, "decode-0", PATIENCE).expect("it is found");
    let remote = prefill.remote_cache(&peer, "room", PATIENCE).expect("a cache");
    let mut salt = 0;
    let mut transfers = || {
        for _ in 0..TRANSFERS {
            salt += 1;
            fill(&computed, salt);
            let push = remote.push(&computed, Selection::whole(&layout)).expect("a plan");
            let moved =
                push.post(Some(Instant::now() + PATIENCE)).expect("posted").wait(None).expect("moved");
            assert_eq!(moved.bytes, layout.total_bytes());
            for_each_block(&room, |bytes| assert!(bytes.iter().all(|byte| *byte == salt), "transfer {salt}"));
        }
    };
    transfers();
    server.kill();
    until_standing(published.as_ref(), &Standing::Away);
    transfers();
    server.start_again();
    transfers();
    until_standing(published.as_ref(), &Standing::Published);
    transfers();
    // Whoever comes now finds who was there before.
    let late = engine("late");
    late.connect_to(&ours, "decode-0", PATIENCE).expect("it is found");
    refusals(&decode, &ours);
}

fn refusals(decode: &Engine, directory: &pmd_etcd::Etcd) {
    let short = Duration::from_millis(20);
    let taken = decode.publish(directory, "decode-0", short).expect_err("it has the name already");
    assert!(matches!(taken, EngineError::Metadata(MetadataError::Taken { .. })), "{taken}");
    let nobody = decode.connect_to(directory, "decode-9", short).expect_err("there is none");
    assert!(matches!(nobody, EngineError::Metadata(MetadataError::Missing { .. })), "{nobody}");
    let deaf = Engine::open(EndpointConfig::default()).expect("an engine");
    let unreachable = deaf.publish(directory, "deaf", short).expect_err("it does not listen");
    assert!(matches!(unreachable, EngineError::Unreachable { address: None }), "{unreachable}");
    let _wrong =
        pmd_host::metadata::Metadata::publish(directory, "kv/wrong", "somewhere").expect("a free name");
    let address = decode.connect_to(directory, "wrong", short).expect_err("no address");
    assert!(matches!(address, EngineError::PublishedAddress { .. }), "{address}");
}
