//! Caches of `kv-api` over a NIC.

use std::sync::Arc;

use kv_api::{
    engine::{Cache, Engine, EngineError, RemoteCache},
    layout::CacheLayout,
    planner::{BlockMap, LayerMap, Selection},
};
use pmd_core::accelerator::DeviceMemory;
use pmd_host::{
    backend::Transport,
    endpoint::Peer,
    region::RegionPath,
    transfer::{DeviceFault, TransferError, WaitError},
};

use super::{in_a_process, staged};
use crate::{
    bench::Name,
    cases::{
        Case, case,
        kv::{
            nothing_left,
            stage::{Place, cache, connect, done, engine, outcome, patience, read, write},
        },
    },
    context::{Context, Outcome, Random, Skip, pattern},
    way::Way,
};

pub(super) const CASES: &[Case] = &[
    case("nic::kv_caches_go_both_ways", both_ways),
    case("nic::kv_peers_are_told_why_they_are_kept_out", kept_out),
    case("nic::kv_what_the_nic_wrote_is_flushed_before_it_is_told", flushed),
    case("nic::kv_without_room_for_staging_transfers_fail_until_there_is", no_room),
    case("nic::kv_a_copy_that_fails_in_the_middle_fails_its_transfer_and_no_other", middle),
];

/// Prefill, decode, and each as the other knows it.
struct Pair {
    prefill: Engine,
    decode: Engine,
    peer: Peer,
    back: Peer,
}

impl Pair {
    fn new(context: &Context) -> Self {
        let (prefill, decode) = (engine(context, "prefill"), engine(context, "decode"));
        let (peer, back) = connect(context, &decode, &prefill);
        assert_eq!(peer.transport(), Transport::Mlx5);
        Self { prefill, decode, peer, back }
    }

    /// Prefill's cache as decode knows it.
    fn source(&self, context: &Context, cache: &Cache) -> Result<RemoteCache, EngineError> {
        self.decode.remote_cache(&self.peer, cache.name(), patience(context))
    }

    /// Decode's cache as prefill knows it.
    fn room(&self, context: &Context, cache: &Cache) -> Result<RemoteCache, EngineError> {
        self.prefill.remote_cache(&self.back, cache.name(), patience(context))
    }
}

/// More than one slot of staging, and blocks that no slot is a multiple of.
fn layout() -> CacheLayout {
    CacheLayout::new(2, 2, 24, 9000).expect("a layout")
}

fn content(seed: u64) -> Vec<u8> {
    pattern(seed, layout().total_bytes() as usize)
}

/// The bytes of a cache after all of its blocks went to others.
fn permuted(bytes: &[u8], destination: &[u32]) -> Vec<u8> {
    let (tensor, block) = (layout().tensor_bytes() as usize, layout().block_bytes() as usize);
    let mut result = vec![0; bytes.len()];
    for (from, to) in bytes.chunks_exact(tensor).zip(result.chunks_exact_mut(tensor)) {
        for (number, bytes) in destination.iter().zip(from.chunks_exact(block)) {
            to[*number as usize * block..][..block].copy_from_slice(bytes);
        }
    }
    result
}

/// Who posts the transfer from prefill to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poster {
    Decode,
    Prefill,
}

fn both_ways(context: &Context) -> Outcome {
    let before = context.counts().ok();
    let way = context.nic.ok_or_else(|| Skip("no NIC".to_owned()))?;
    let mut random = Random::new(71);
    use Place::{Device, Host};
    for (from, to) in [(Device, Device), (Device, Host), (Host, Device)] {
        for poster in [Poster::Decode, Poster::Prefill] {
            // One-sided transfers stage this side's memory, not the peer's.
            let peers = if poster == Poster::Decode { from } else { to };
            if way == Way::Staged && peers == Device {
                continue;
            }
            let pair = Pair::new(context);
            let source = cache(context, &pair.prefill, "source", layout(), from, &content(1));
            let room = cache(context, &pair.decode, "room", layout(), to, &content(2));
            for (cache, place) in [(&source, from), (&room, to)] {
                let expected = if place == Device { way.path() } else { RegionPath::Pinned };
                assert_eq!(cache.path(Transport::Mlx5), Some(expected));
            }
            let blocks = random.permutation(layout().blocks() as usize);
            let numbers: Vec<u32> = (0..layout().blocks()).collect();
            let map = LayerMap { source: 0..layout().layers(), destination: 0 };
            let table = BlockMap::Table { source: &numbers, destination: &blocks };
            let prepared = match poster {
                Poster::Decode => {
                    pair.source(context, &source).expect("a cache").pull(&room, Selection::new(map, table))
                }
                Poster::Prefill => {
                    pair.room(context, &room).expect("a cache").push(&source, Selection::new(map, table))
                }
            };
            done(context, &prepared.expect("a plan"));
            let what = format!("{way:?}: {from:?} to {to:?}, by {poster:?}");
            assert!(read(context, &room) == permuted(&content(1), &blocks), "{what}");
            assert!(read(context, &source) == content(1), "{what}: the source");
        }
    }
    nothing_left(context, before, layout().total_bytes());
    Ok(())
}

fn kept_out(context: &Context) -> Outcome {
    staged(context)?;
    let pair = Pair::new(context);
    let source = cache(context, &pair.prefill, "source", layout(), Place::Device, &content(1));
    let ways: Vec<RegionPath> = source.refusals(Transport::Mlx5).iter().map(|refusal| refusal.path).collect();
    assert_eq!(ways, [RegionPath::DmaBuf, RegionPath::PeerMemory]);
    assert!(source.descriptor(Transport::Mlx5).is_none());
    match pair.source(context, &source).map(drop) {
        Err(EngineError::KeptIn { name, transport, reasons }) => {
            assert_eq!((name.as_str(), transport), ("source", Transport::Mlx5));
            assert!(
                reasons.contains("not by dma-buf") && reasons.contains("not by peer memory"),
                "{reasons}"
            );
        }
        other => panic!("{other:?}"),
    }
    // The link lives, and the other way round it goes.
    let room = cache(context, &pair.decode, "room", layout(), Place::Host, &content(2));
    let push = pair.room(context, &room).expect("a cache").push(&source, Selection::whole(&layout()));
    done(context, &push.expect("a plan"));
    assert!(read(context, &room) == content(1));
    Ok(())
}

fn flushed(context: &Context) -> Outcome {
    match context.nic {
        Some(Way::DmaBuf | Way::Peer) => {}
        _ => return Err(Skip("the NIC does not write the accelerator's memory itself".to_owned())),
    }
    if context.name.kind() != Name::Cuda.kind() {
        return Err(Skip("the runtime has no call for it that could fail".to_owned()));
    }
    // CUDA_ERROR_UNKNOWN, at the second flush.
    in_a_process(context, "nic-flushed", "cuFlushGPUDirectRDMAWrites@2=999".to_owned())
}

fn no_room(context: &Context) -> Outcome {
    staged(context)?;
    in_a_process(context, "nic-no-room", context.name.pinned_fault().to_owned())
}

fn middle(context: &Context) -> Outcome {
    staged(context)?;
    in_a_process(context, "nic-middle", format!("stream@2={}", context.name.stream_fault()))
}

/// What the process of a case does.
pub(super) fn play(context: &Context, part: &str) {
    let before = context.counts().ok();
    match part {
        "nic-flushed" => flush_fails(context),
        "nic-no-room" => failing(context, DeviceFault::NoStaging),
        "nic-middle" => failing(context, DeviceFault::Stream),
        part => panic!("there is no part {part:?}"),
    }
    nothing_left(context, before, layout().total_bytes());
}

/// Device memory without the copy that would fill it.
fn untouched(context: &Context, engine: &Engine, name: &str) -> Cache {
    let memory: Arc<dyn DeviceMemory> = context.allocate(layout().total_bytes() as usize).into();
    engine.register_device_cache(name, layout(), memory).expect("a cache")
}

/// A transfer whose bytes come into the device is not told before they were flushed: the second one's flush fails, and with it
/// the transfer. One that writes no memory of the device needs none.
fn flush_fails(context: &Context) {
    let pair = Pair::new(context);
    let source = cache(context, &pair.prefill, "source", layout(), Place::Host, &content(1));
    let room = untouched(context, &pair.decode, "room");
    let pull = |pair: &Pair| {
        let remote = pair.source(context, &source).expect("a cache");
        remote.pull(&room, Selection::whole(&layout())).expect("a plan")
    };
    done(context, &pull(&pair));
    assert!(read(context, &room) == content(1));
    let failed = outcome(context, &pull(&pair));
    assert!(matches!(failed, Err(WaitError::Failed(_))), "{failed:?}");
    // A new link is a new queue pair; the device is as it was.
    let (peer, back) = connect(context, &pair.decode, &pair.prefill);
    let pair = Pair { peer, back, ..pair };
    write(context, &room, &content(3));
    done(context, &pull(&pair));
    assert!(read(context, &room) == content(1));
}

/// The first transfer out of the device fails; others go on, and so does the device.
fn failing(context: &Context, lacks: DeviceFault) {
    let pair = Pair::new(context);
    let source = untouched(context, &pair.prefill, "source");
    let calm = cache(context, &pair.prefill, "calm", layout(), Place::Host, &content(1));
    let room = cache(context, &pair.decode, "room", layout(), Place::Host, &content(0));
    let broken = pair.room(context, &room).expect("a cache").push(&source, Selection::whole(&layout()));
    match outcome(context, &broken.expect("a plan")) {
        Err(WaitError::Failed(TransferError::Device { fault, .. })) => assert_eq!(fault, lacks),
        other => panic!("{other:?}"),
    }
    // Over other links transfers go on; so does the device, on a new stream.
    let (peer, back) = connect(context, &pair.decode, &pair.prefill);
    let pair = Pair { peer, back, ..pair };
    let from_host = pair.source(context, &calm).expect("a cache").pull(&room, Selection::whole(&layout()));
    done(context, &from_host.expect("a plan"));
    assert!(read(context, &room) == content(1));
    write(context, &source, &content(2));
    let again = pair.room(context, &room).expect("a cache").push(&source, Selection::whole(&layout()));
    done(context, &again.expect("a plan"));
    assert!(read(context, &room) == content(2));
}
