//! Engines that drive the accelerator, caches in its memory and the host's, and their bytes.
#![allow(unsafe_code)] // looks at memory of the host between transfers

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use kv_api::{
    engine::{Cache, CacheMemory, Engine, Prepared},
    layout::CacheLayout,
};
use pmd_core::accelerator::DeviceMemory;
use pmd_host::{
    endpoint::{EndpointConfig, Peer},
    soft::{Accelerators, ArenaOptions, DeviceConfig},
    transfer::{Outcome, WaitError},
};

use crate::context::Context;

/// Which side's memory a cache is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cases) enum Place {
    Device,
    Host,
}

/// Every pair of places of which one at least is the device's: prefill, decode.
pub(super) const PLACES: [(Place, Place); 3] =
    [(Place::Device, Place::Device), (Place::Device, Place::Host), (Place::Host, Place::Device)];

/// An engine that listens and drives the accelerator.
pub(in crate::cases) fn engine(context: &Context, name: &str) -> Engine {
    engine_with(context, name, DeviceConfig::default())
}

/// The same, whose soft HCA is configured otherwise.
pub(super) fn engine_with(context: &Context, name: &str, soft: DeviceConfig) -> Engine {
    let accelerators = Accelerators::new(vec![Arc::clone(&context.accelerator)]);
    Engine::open(EndpointConfig {
        name: name.to_owned(),
        listen: Some(([127, 0, 0, 1], 0).into()),
        // A loaded machine is silent for long; a process that ends closes its connection.
        down_after: context.patience,
        patience: context.patience,
        transport: context.transport(),
        soft: DeviceConfig { accelerators, ..soft },
        ..EndpointConfig::default()
    })
    .expect("an engine")
}

/// Where an engine listens.
pub(in crate::cases) fn address(engine: &Engine) -> SocketAddr {
    engine.local_address().expect("it listens")
}

/// Connects two engines of this process: each as the other knows it.
pub(in crate::cases) fn connect(context: &Context, from: &Engine, to: &Engine) -> (Peer, Peer) {
    let peer = from.connect(address(to)).expect("connecting");
    (peer, to.accept(context.patience).expect("the other side"))
}

/// A cache full of these bytes, its tensors one behind the other.
pub(in crate::cases) fn cache(
    context: &Context,
    engine: &Engine,
    name: &str,
    layout: CacheLayout,
    place: Place,
    bytes: &[u8],
) -> Cache {
    let cache = match place {
        Place::Device => {
            let memory: Arc<dyn DeviceMemory> = context.allocate(layout.total_bytes() as usize).into();
            engine.register_device_cache(name, layout, memory).expect("a cache on the device")
        }
        Place::Host => engine.allocate_cache(name, layout, ArenaOptions::default()).expect("a cache"),
    };
    write(context, &cache, bytes);
    cache
}

/// Overwrites a cache that no transfer touches.
pub(in crate::cases) fn write(context: &Context, cache: &Cache, bytes: &[u8]) {
    assert_eq!(bytes.len() as u64, cache.layout().total_bytes());
    match cache.memory() {
        CacheMemory::Device(memories) => context.upload(&*memories[0], 0, bytes),
        // SAFETY: an arena of as many bytes; nothing moves now.
        _ => unsafe { host(cache).copy_from(bytes.as_ptr(), bytes.len()) },
    }
}

/// Everything in a cache that no transfer writes.
pub(in crate::cases) fn read(context: &Context, cache: &Cache) -> Vec<u8> {
    let length = cache.layout().total_bytes() as usize;
    match cache.memory() {
        CacheMemory::Device(memories) => context.download(&*memories[0], 0, length),
        _ => {
            let mut bytes = vec![0; length];
            // SAFETY: an arena of as many bytes; nothing writes it now.
            unsafe { host(cache).copy_to(bytes.as_mut_ptr(), length) };
            bytes
        }
    }
}

fn host(cache: &Cache) -> *mut u8 {
    cache.block_address(0, 0).expect("a cache has a block") as *mut u8
}

/// Posts a transfer and waits for its end.
pub(in crate::cases) fn outcome(context: &Context, prepared: &Prepared) -> Result<Outcome, WaitError> {
    prepared.post(None).expect("posting").wait(Some(Instant::now() + context.patience))
}

/// Posts a transfer, which must do what it should.
pub(in crate::cases) fn done(context: &Context, prepared: &Prepared) {
    let outcome = outcome(context, prepared).expect("the transfer");
    assert_eq!(outcome.bytes, prepared.bytes());
}

/// How long a step of another engine's control thread may take.
pub(in crate::cases) fn patience(context: &Context) -> Duration {
    context.patience
}
