//! Pulls a KV cache from one engine into another, as decode does from prefill. Both are in this process here.
#![allow(unsafe_code)] // looks at memory that the device writes
use kv_api::{engine::*, environment::endpoint_config, geometry::Geometry, planner::Selection};
use pmd_host::{endpoint::EndpointConfig, soft::ArenaOptions};
use std::{error::Error, ptr, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let patience = Duration::from_secs(10);
    // Prefill listens, and has a cache of 256 tokens that peers find by its name.
    let listen = Some(([127, 0, 0, 1], 0).into());
    let prefill = Engine::open(EndpointConfig { listen, ..endpoint_config()? })?;
    let layout = Geometry::named("deepseek-v3")?.layout(256)?;
    let source = prefill.allocate_cache("request-7", layout, ArenaOptions::default())?;
    // SAFETY: no transfer touches the cache yet.
    unsafe { &mut *block(&source, 60, 3) }.fill(0x5a);

    // Decode connects, looks the cache up, and pulls all of it; prefill is told when it may reuse its blocks.
    let decode = Engine::open(endpoint_config()?)?;
    let peer = decode.connect(prefill.local_address().ok_or("prefill does not listen")?)?;
    let remote = decode.remote_cache(&peer, "request-7", patience)?;
    let target = decode.allocate_cache("request-7", remote.descriptor().layout, ArenaOptions::default())?;
    let pull = remote.pull(&target, Selection::whole(&layout))?.notifying(b"request-7 was read".to_vec());
    let moved = pull.post(None)?.wait(None)?;
    assert_eq!(prefill.wait_notification(patience)?.bytes, b"request-7 was read");
    // SAFETY: the transfer is done.
    assert!(unsafe { &*block(&target, 60, 3) }.iter().all(|byte| *byte == 0x5a));
    println!("{} blocks, {} bytes over {}", pull.blocks(), moved.bytes, peer.transport().name());
    Ok(())
}

/// One block of a cache, as memory.
fn block(cache: &Cache, tensor: u32, block: u32) -> *mut [u8] {
    let first = cache.block_address(tensor, block).expect("the cache has such a block") as *mut u8;
    ptr::slice_from_raw_parts_mut(first, cache.layout().block_bytes() as usize)
}
