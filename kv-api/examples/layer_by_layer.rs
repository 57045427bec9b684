//! Prefill computes layer after layer and sends each as soon as it is there; decode goes on with each as it lands. Both
//! are in this process here.
//!
//! Prefill runs on two tensor-parallel ranks with blocks of 16 tokens, decode on one with blocks of 64: heads and blocks
//! are re-sliced on the way.
#![allow(unsafe_code)] // looks at memory that the device writes
use kv_api::{engine::*, environment::endpoint_config, geometry::Geometry, layout::*, planner::*};
use pmd_host::{endpoint::EndpointConfig, soft::ArenaOptions};
use std::{error::Error, ptr, thread, time::Duration};

const REQUEST: u64 = 7;
const TOKENS: u32 = 256;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let model = Geometry { layers: 8, ..Geometry::named("llama-3-8b")? };
    let listen = Some(([127, 0, 0, 1], 0).into());
    let decode = Engine::open(EndpointConfig { listen, ..endpoint_config()? })?;
    let format = Geometry { block_tokens: 64, ..model };
    let layout = format.layout_of_rank(TOKENS, 0, 1, BlockOrder::HeadsFirst)?;
    let room = decode.allocate_cache("room", layout, ArenaOptions::default())?;
    let address = decode.local_address().ok_or("decode does not listen")?;

    thread::scope(|scope| {
        let ranks: Vec<_> = (0..2).map(|rank| scope.spawn(move || prefill(model, rank, address))).collect();
        // Every layer comes in two parts, one of each rank.
        let peers = [decode.accept(PATIENCE)?, decode.accept(PATIENCE)?];
        let arrivals = decode.expect_layers(REQUEST, &peers)?;
        for layer in 0..model.layers {
            arrivals.wait(layer, PATIENCE)?;
            check(&room, layer);
            println!("layer {layer} is here");
        }
        // The ranks stay until all has arrived.
        peers.iter().for_each(pmd_host::endpoint::Peer::close);
        ranks.into_iter().try_for_each(|rank| rank.join().map_err(|_| "a rank panicked")?.map_err(Into::into))
    })
}

/// One rank: computes its half of the heads, layer after layer.
fn prefill(model: Geometry, rank: u32, address: std::net::SocketAddr) -> Result<(), String> {
    let run = || -> Result<(), Box<dyn Error>> {
        let engine = Engine::open(endpoint_config()?)?;
        let layout = model.layout_of_rank(TOKENS, rank, 2, BlockOrder::TokensFirst)?;
        let computed = engine.allocate_cache("computed", layout, ArenaOptions::default())?;
        let peer = engine.connect(address)?;
        let room = engine.remote_cache(&peer, "room", PATIENCE)?;
        let here: Vec<u32> = (0..layout.blocks()).collect();
        let there: Vec<u32> = (0..room.descriptor().layout.blocks()).collect();
        let tokens = BlockMap::Tokens {
            source: TokenSpan { blocks: &here, first: 0 },
            destination: TokenSpan { blocks: &there, first: 0 },
            count: u64::from(TOKENS),
        };
        let options = StreamOptions { tag: REQUEST, ..StreamOptions::default() };
        let stream = room.stream(&computed, Selection::new(0..model.layers, tokens), options)?;
        let cache = computed.clone();
        // Runs on the stream's thread; with an accelerator it would wait for an event of the layer.
        stream.drive(move |layer| {
            compute(&cache, layer);
            true
        })?;
        stream.wait(PATIENCE)?;
        engine.wait_down(PATIENCE)?;
        Ok(())
    };
    run().map_err(|error| error.to_string())
}

fn compute(cache: &Cache, layer: u32) {
    for tensor in [2 * layer, 2 * layer + 1] {
        (0..cache.layout().blocks()).for_each(|number| {
            // SAFETY: the layer has not been released.
            unsafe { &mut *block(cache, tensor, number) }.fill(tensor as u8 + 1);
        });
    }
}

fn check(cache: &Cache, layer: u32) {
    for tensor in [2 * layer, 2 * layer + 1] {
        for number in 0..cache.layout().blocks() {
            // SAFETY: both parts of the layer have landed.
            let bytes = unsafe { &*block(cache, tensor, number) };
            assert!(bytes.iter().all(|byte| *byte == tensor as u8 + 1), "block {number} of tensor {tensor}");
        }
    }
}

/// One block of a cache, as memory.
fn block(cache: &Cache, tensor: u32, block: u32) -> *mut [u8] {
    let first = cache.block_address(tensor, block).expect("the cache has such a block") as *mut u8;
    ptr::slice_from_raw_parts_mut(first, cache.layout().block_bytes() as usize)
}
