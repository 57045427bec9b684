//! Bytes: block tables, formats and layers by chance, beside a model that copies element by element.
#![allow(unsafe_code)] // adopts a part of an allocation

use std::{ops::Range, sync::Arc};

use kv_api::{
    engine::{Cache, Engine, EngineError, RemoteCache, StreamOptions},
    layout::{BlockOrder, CacheLayout, Heads, TensorRun, TokenFormat},
    planner::{BlockMap, LayerMap, Selection, TokenSpan},
};
use pmd_core::accelerator::{DeviceMemory, Event};
use pmd_host::{
    accelerator::wait_for,
    endpoint::{Peer, RegisterError},
    region::RegionPath,
    soft::{self, ArenaOptions, DeviceConfig},
};

use super::stage::{PLACES, Place, cache, connect, done, engine, engine_with, patience, read};
use crate::{
    cases::{Case, case},
    context::{Context, Outcome, Random, address, copy, pattern, within},
};

pub(super) const CASES: &[Case] = &[
    case("kv::block_tables_move_what_a_copy_by_blocks_does", tables),
    case("kv::other_block_sizes_and_ranks_get_every_head_of_every_token", reslicing),
    case("kv::layers_arrive_behind_the_stream_that_computes_them", layers),
    case("kv::tensors_in_memories_of_their_own", tensors),
    case("kv::arenas_are_page_locked_where_that_is_asked_for", pins),
    case("kv::memory_that_cannot_be_a_cache_is_refused", refusals),
];

/// Two engines that are connected.
struct Pair {
    prefill: Engine,
    decode: Engine,
    /// Prefill, as decode knows it.
    peer: Peer,
    /// Decode, as prefill knows it.
    back: Peer,
}

impl Pair {
    fn new(context: &Context) -> Self {
        let (prefill, decode) = (engine(context, "prefill"), engine(context, "decode"));
        let (peer, back) = connect(context, &decode, &prefill);
        Self { prefill, decode, peer, back }
    }

    /// The cache of prefill's as decode knows it.
    fn remote(&self, context: &Context, cache: &Cache) -> RemoteCache {
        self.decode.remote_cache(&self.peer, cache.name(), patience(context)).expect("a cache")
    }
}

/// A cache beside a model of what it holds.
struct Modelled {
    cache: Cache,
    bytes: Vec<u8>,
}

impl Modelled {
    fn new(
        context: &Context,
        engine: &Engine,
        layout: CacheLayout,
        place: Place,
        random: &mut Random,
    ) -> Self {
        let bytes = pattern(random.draw(), layout.total_bytes() as usize);
        let name = format!("cache {}", random.draw());
        Self { cache: cache(context, engine, &name, layout, place, &bytes), bytes }
    }

    fn check(&self, context: &Context, what: &str) {
        let (found, layout) = (read(context, &self.cache), self.cache.layout());
        let wrong = found.iter().zip(&self.bytes).position(|(found, wanted)| found != wanted);
        assert_eq!(wrong, None, "{what}: first wrong byte, {layout:?}");
    }
}

fn tables(context: &Context) -> Outcome {
    let mut random = Random::new(41);
    for places in PLACES {
        let pair = Pair::new(context);
        for _ in 0..6 {
            table(context, &pair, places, &mut random);
        }
    }
    Ok(())
}

/// One transfer of a table by chance, one way or the other.
fn table(context: &Context, pair: &Pair, places: (Place, Place), random: &mut Random) {
    const SIZES: [u64; 6] = [1, 13, 64, 1000, 4096, 20_000];
    let (per_layer, size) = (1 + random.below(2) as u32, SIZES[random.below(SIZES.len())]);
    let mut layout = || {
        let (layers, blocks) = (1 + random.below(3) as u32, 1 + random.below(90) as u32);
        CacheLayout::new(layers, per_layer, blocks, size).expect("a layout")
    };
    let (far, near) = (layout(), layout());
    let mut far = Modelled::new(context, &pair.prefill, far, places.0, random);
    let mut near = Modelled::new(context, &pair.decode, near, places.1, random);
    let remote = pair.remote(context, &far.cache);
    let pulls = random.below(2) == 0;
    let (from, to) = if pulls { (&far, &mut near) } else { (&near, &mut far) };
    let (sent, received) = (*from.cache.layout(), *to.cache.layout());

    let moved = 1 + random.below(received.blocks() as usize);
    let destination = random.permutation(received.blocks() as usize)[..moved].to_vec();
    // In runs, as allocators give them, and by chance.
    let first = random.below(sent.blocks() as usize) as u32;
    let step = random.below(2) as u32;
    let source: Vec<u32> = (0..moved as u32)
        .map(|at| {
            if step == 1 { (first + at) % sent.blocks() } else { random.below(sent.blocks() as usize) as u32 }
        })
        .collect();
    let layers = sent.layers().min(received.layers());
    let map =
        LayerMap { source: sent.layers() - layers..sent.layers(), destination: received.layers() - layers };
    for (layer, tensor) in (0..layers).flat_map(|layer| (0..per_layer).map(move |tensor| (layer, tensor))) {
        let place = |layout: &CacheLayout, first: u32, block: u32| {
            let tensor = (first + layer) * per_layer + tensor;
            let start = ((u64::from(tensor) * u64::from(layout.blocks()) + u64::from(block)) * size) as usize;
            start..start + size as usize
        };
        for (from_block, to_block) in source.iter().zip(&destination) {
            let bytes = from.bytes[place(&sent, map.source.start, *from_block)].to_vec();
            to.bytes[place(&received, map.destination, *to_block)].copy_from_slice(&bytes);
        }
    }
    let blocks = BlockMap::Table { source: &source, destination: &destination };
    let selection = Selection::new(map, blocks);
    let prepared =
        if pulls { remote.pull(&near.cache, selection) } else { remote.push(&near.cache, selection) };
    done(context, &prepared.expect("a plan"));
    let what = format!("{places:?}, {}, {moved} blocks", if pulls { "pull" } else { "push" });
    far.check(context, &what);
    near.check(context, &what);
}

fn reslicing(context: &Context) -> Outcome {
    let mut random = Random::new(42);
    for places in PLACES {
        let pair = Pair::new(context);
        for _ in 0..4 {
            reslice(context, &pair, places, &mut random);
        }
    }
    Ok(())
}

/// The heads of one of `degree` ranks of 4 heads of 24 bytes, in blocks of a few tokens.
fn format(random: &mut Random) -> TokenFormat {
    let degree = 1 << random.below(3);
    let heads = Heads::of_rank(random.below(degree) as u32, degree as u32, 4).expect("a rank");
    let order = if random.below(2) == 0 { BlockOrder::TokensFirst } else { BlockOrder::HeadsFirst };
    TokenFormat::new(1 + random.below(9) as u32, heads, 24, order).expect("a format")
}

fn reslice(context: &Context, pair: &Pair, places: (Place, Place), random: &mut Random) {
    let mut layout = |heads: Option<Heads>| loop {
        let format = format(random);
        let common = heads.is_none_or(|heads| {
            let (one, two) = (heads.range(), format.heads().range());
            one.start.max(two.start) < one.end.min(two.end)
        });
        if common {
            return CacheLayout::of_tokens(2, 2, 2 + random.below(9) as u32, format).expect("a layout");
        }
    };
    let far = layout(None);
    let near = layout(far.format().map(TokenFormat::heads));
    let far = Modelled::new(context, &pair.prefill, far, places.0, random);
    let mut near = Modelled::new(context, &pair.decode, near, places.1, random);
    let (sent, received) = (*far.cache.layout(), *near.cache.layout());
    let source = random.permutation(sent.blocks() as usize);
    let destination = random.permutation(received.blocks() as usize);
    let held = |layout: &CacheLayout| u64::from(layout.blocks()) * u64::from(tokens(layout));
    let (first, second) = (random.draw() % held(&sent), random.draw() % held(&received));
    let count = 1 + random.draw() % (held(&sent) - first).min(held(&received) - second);
    for tensor in 0..4 {
        for token in 0..count {
            for head in 0..4 {
                let from = element(&sent, tensor, &source, first + token, head);
                let to = element(&received, tensor, &destination, second + token, head);
                if let (Some(from), Some(to)) = (from, to) {
                    let bytes = far.bytes[from].to_vec();
                    near.bytes[to].copy_from_slice(&bytes);
                }
            }
        }
    }
    let blocks = BlockMap::Tokens {
        source: TokenSpan { blocks: &source, first },
        destination: TokenSpan { blocks: &destination, first: second },
        count,
    };
    let remote = pair.remote(context, &far.cache);
    done(context, &remote.pull(&near.cache, Selection::new(0..2, blocks)).expect("a plan"));
    near.check(context, &format!("{places:?}, {count} tokens from {sent:?}"));
    far.check(context, "the source");
}

fn tokens(layout: &CacheLayout) -> u32 {
    layout.format().map_or(0, TokenFormat::tokens)
}

/// Where the bytes of a head of a token are, if this side has the head.
fn element(layout: &CacheLayout, tensor: u32, blocks: &[u32], token: u64, head: u32) -> Option<Range<usize>> {
    let format = layout.format()?;
    let within = u64::from(head.checked_sub(format.heads().first)?);
    let per_block = u64::from(format.tokens());
    let block =
        u64::from(tensor) * u64::from(layout.blocks()) + u64::from(blocks[(token / per_block) as usize]);
    let start = block * layout.block_extent()
        + token % per_block * format.token_stride()
        + within * format.head_stride();
    let here = head < format.heads().range().end;
    here.then(|| start as usize..start as usize + format.head_bytes() as usize)
}

fn layers(context: &Context) -> Outcome {
    const LAYERS: u32 = 4;
    const TAG: u64 = 7;
    let layout = CacheLayout::new(LAYERS, 2, 6, 10_000).expect("a layout");
    let layer_bytes = (layout.total_bytes() / u64::from(LAYERS)) as usize;
    let results = pattern(5, layout.total_bytes() as usize);
    for places in [(Place::Device, Place::Device), (Place::Device, Place::Host)] {
        let pair = Pair::new(context);
        let source = cache(context, &pair.prefill, "computed", layout, places.0, &vec![1; results.len()]);
        let room = cache(context, &pair.decode, "room", layout, places.1, &vec![2; results.len()]);
        let remote = pair.prefill.remote_cache(&pair.back, "room", patience(context)).expect("a cache");
        let arrivals = pair.decode.expect_layers(TAG, std::slice::from_ref(&pair.peer)).expect("a tag");
        let options = StreamOptions { tag: TAG, ..StreamOptions::default() };
        let stream = remote.stream(&source, Selection::whole(&layout), options).expect("a stream");
        let (ready, events) = std::sync::mpsc::channel::<Arc<dyn Event>>();
        let computed = move |_| events.recv().is_ok_and(|event| matches!(wait_for(&*event, None), Ok(true)));
        stream.drive(computed).expect("a synchroniser");
        // What would be kernels: copies from elsewhere on the device into the layer.
        let (compute, values) = (context.stream(), context.uploaded(&results));
        let first = source.block_address(0, 0).expect("a block");
        for layer in 0..LAYERS {
            assert!(!arrivals.is_landed(layer), "layer {layer} is not computed yet");
            let offset = u64::from(layer) * layer_bytes as u64;
            copy(&*compute, within(address(&*values) + offset, first + offset, layer_bytes));
            ready.send(compute.record().expect("an event")).expect("the stream waits for it");
            arrivals.wait(layer, patience(context)).expect("a layer");
            let (found, end) = (read(context, &room), (layer as usize + 1) * layer_bytes);
            assert!(found[..end] == results[..end], "layer {layer} {places:?}");
            assert!(found[end..].iter().all(|byte| *byte == 2), "what comes after layer {layer}");
        }
        assert_eq!(stream.wait(patience(context)).expect("all layers").bytes, layout.total_bytes());
    }
    Ok(())
}

fn tensors(context: &Context) -> Outcome {
    let pair = Pair::new(context);
    let layout = CacheLayout::new(3, 2, 5, 2048).expect("a layout");
    let layer = (2 * layout.tensor_bytes()) as usize;
    // A tensor of K and V for each layer, each in memory of its own, behind other bytes.
    let tensors: Vec<Arc<dyn DeviceMemory>> = (0..3).map(|_| context.allocate(layer + 512).into()).collect();
    let run = |memory: &Arc<dyn DeviceMemory>| TensorRun {
        first: address(&**memory) + 512,
        tensor_stride: layout.tensor_bytes(),
        block_stride: layout.block_bytes(),
        count: 2,
        key: 0,
    };
    let runs = tensors.iter().map(run).collect();
    let room = pair.decode.register_device_tensors("room", layout, runs, tensors.clone()).expect("a cache");
    assert_eq!(room.path(pair.peer.transport()), Some(RegionPath::DeviceCopy));
    let mut random = Random::new(43);
    let source = Modelled::new(context, &pair.prefill, layout, Place::Device, &mut random);
    for memory in &tensors {
        context.upload(&**memory, 0, &vec![7; layer + 512]);
    }
    let remote = pair.remote(context, &source.cache);
    done(context, &remote.pull(&room, Selection::whole(&layout)).expect("a plan"));
    for (memory, wanted) in tensors.iter().zip(source.bytes.chunks_exact(layer)) {
        assert!(context.download(&**memory, 512, layer) == wanted);
        assert_eq!(context.download(&**memory, 0, 512), [7; 512]);
    }
    Ok(())
}

fn pins(context: &Context) -> Outcome {
    context.counts()?;
    let locked = || context.counts().map_or(0, |counts| counts.registered);
    for pin_arenas in [false, true] {
        let soft = DeviceConfig { pin_arenas, ..DeviceConfig::default() };
        let engine = engine_with(context, "pins", soft);
        let before = locked();
        let layout = CacheLayout::new(1, 1, 4, 4096).expect("a layout");
        let caches: Vec<Cache> = (0..3)
            .map(|number| engine.allocate_cache(&number.to_string(), layout, ArenaOptions::default()))
            .collect::<Result<_, _>>()
            .expect("caches");
        assert_eq!(locked() - before, if pin_arenas { 3 } else { 0 });
        drop(caches);
        context.until("arenas to be unlocked", || locked() == before);
    }
    Ok(())
}

fn refusals(context: &Context) -> Outcome {
    let driven = engine(context, "driven");
    let layout = CacheLayout::new(1, 1, 4, 4096).expect("a layout");
    let needed = layout.total_bytes();
    let memory = || -> Arc<dyn DeviceMemory> { context.allocate(needed as usize).into() };
    let whole = memory();
    let first = address(&*whole);
    // SAFETY: the memory outlives the value.
    let part = unsafe { context.accelerator.adopt(first, needed - 1) }.expect("a part");
    match driven.register_device_cache("cache", layout, part.into()) {
        Err(EngineError::TooSmall { length, needed: wanted }) => {
            assert_eq!((length, wanted), (needed - 1, needed))
        }
        other => panic!("{other:?}"),
    }
    let run = TensorRun { first: first + 1, tensor_stride: 0, block_stride: 4096, count: 1, key: 0 };
    match driven.register_device_tensors("cache", layout, vec![run], vec![Arc::clone(&whole)]) {
        Err(EngineError::OutsideMemory { address, length }) => {
            assert_eq!((address, length), (first + 1, needed))
        }
        other => panic!("{other:?}"),
    }
    let plain = Engine::open(pmd_host::endpoint::EndpointConfig::default()).expect("an engine");
    not_driven(plain.register_device_cache("cache", layout, Arc::clone(&whole)));
    if let Ok(second) = context.second() {
        let other: Arc<dyn DeviceMemory> = second.allocate(needed).expect("memory").into();
        not_driven(driven.register_device_cache("cache", layout, other));
    }
    let cache = driven.register_device_cache("cache", layout, memory()).expect("a cache");
    let taken = driven.register_device_cache("cache", layout, whole);
    assert!(matches!(taken, Err(EngineError::NameTaken { .. })), "{taken:?}");
    drop(cache);
    driven.register_device_cache("cache", layout, memory()).expect("the name is free again");
    Ok(())
}

fn not_driven(refused: Result<Cache, EngineError>) {
    let Err(EngineError::Register(RegisterError::Soft(reason))) = refused else { panic!("{refused:?}") };
    assert!(matches!(reason, soft::RegisterError::NoAccelerator { .. }), "{reason}");
}
