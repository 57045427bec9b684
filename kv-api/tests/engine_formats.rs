//! Engines whose caches are cut differently exchange them.
#![allow(unsafe_code)] // looks at caches between transfers

mod engine_support;

use engine_support::{PATIENCE, arena, block, connect, engine, fill, filled, read, soon};
use kv_api::{
    engine::{Cache, PostOptions},
    geometry::Geometry,
    layout::{BlockOrder, CacheLayout, Heads, RunSeries, TensorRun, TokenFormat},
    planner::{BlockMap, LayerMap, Selection, TokenSpan},
};
use pmd_host::transfer::Priority;

const HEAD_BYTES: u32 = 32;

/// The bytes of one head of one token.
fn element(cache: &Cache, tensor: u32, number: u32, token: u32, head: u32) -> Vec<u8> {
    let format = cache.layout().format().unwrap();
    let at = u64::from(token) * format.token_stride()
        + u64::from(head - format.heads().first) * format.head_stride();
    // SAFETY: every transfer has ended.
    let bytes = unsafe { &*block(cache, tensor, number) };
    bytes[at as usize..at as usize + format.head_bytes() as usize].to_vec()
}

#[test]
fn two_prefill_ranks_fill_a_decode_of_one_rank_with_other_blocks() {
    let decode = engine("decode");
    // Decode: 3 layers, all 8 heads, blocks of 8 tokens, heads first.
    let all = TokenFormat::new(8, Heads::all(8), HEAD_BYTES, BlockOrder::HeadsFirst).unwrap();
    let target = arena(&decode, "target", CacheLayout::of_tokens(3, 2, 10, all).unwrap());
    let (tokens, mine, theirs) = (37_u64, [2, 0, 1], [9, 3, 5, 7, 1]);
    let ranks: Vec<_> = (0..2)
        .map(|rank| {
            let prefill = engine("prefill");
            let (peer, _) = connect(&prefill, &decode);
            // Prefill: half of the heads, blocks of 16 tokens; its layers 1 and 2 are decode's 0 and 1.
            let heads = Heads::of_rank(rank, 2, 8).unwrap();
            let format = TokenFormat::new(16, heads, HEAD_BYTES, BlockOrder::TokensFirst).unwrap();
            let source = arena(&prefill, "source", CacheLayout::of_tokens(4, 2, 3, format).unwrap());
            fill(&source, rank as u8);
            let remote = prefill.remote_cache(&peer, "target", PATIENCE).unwrap();
            let blocks = BlockMap::Tokens {
                source: TokenSpan { blocks: &mine, first: 0 },
                destination: TokenSpan { blocks: &theirs, first: 3 },
                count: tokens,
            };
            let layers = LayerMap { source: 1..3, destination: 0 };
            let push = remote.push(&source, Selection::new(layers, blocks)).unwrap();
            let bytes = tokens * 2 * 2 * 4 * u64::from(HEAD_BYTES);
            assert_eq!(push.bytes(), bytes);
            let urgent = PostOptions { priority: Priority::High, ..PostOptions::default() };
            let mut transfer = push.post_with(urgent).unwrap();
            assert_eq!(transfer.wait(soon()).unwrap().bytes, bytes);
            assert!(transfer.unproven().is_empty());
            (source, heads, prefill)
        })
        .collect();
    for (token, tensor) in (0..tokens).flat_map(|token| (0..4).map(move |tensor| (token, tensor))) {
        let (from, from_token) = (mine[(token / 16) as usize], (token % 16) as u32);
        let (to, to_token) = (theirs[((token + 3) / 8) as usize], ((token + 3) % 8) as u32);
        for (source, heads, _) in &ranks {
            for head in heads.range() {
                let sent = element(source, tensor + 2, from, from_token, head);
                assert_eq!(element(&target, tensor, to, to_token, head), sent, "token {token}, head {head}");
            }
        }
    }
    // Nothing else was touched: the third layer, other blocks, the three tokens before the first.
    let untouched = |tensor: u32, number: u32| read(&target, tensor, number).iter().all(|byte| *byte == 0);
    assert!((4..6).all(|tensor| (0..10).all(|number| untouched(tensor, number))));
    assert!((0..4).all(|tensor| [0, 2, 4, 6, 8].into_iter().all(|number| untouched(tensor, number))));
    let before = |token, head| element(&target, 0, 9, token, head).iter().all(|byte| *byte == 0);
    assert!((0..3).all(|token| (0..8).all(|head| before(token, head))));
}

#[test]
fn a_decode_rank_pulls_its_heads_and_a_latent_cache_is_the_same_for_all() {
    let (prefill, decode) = (engine("prefill"), engine("decode"));
    let (peer, _) = connect(&decode, &prefill);
    let model = Geometry::named("llama-3-8b").unwrap();
    let theirs = model.layout_of_rank(64, 0, 1, BlockOrder::TokensFirst).unwrap();
    let source = arena(&prefill, "whole", theirs);
    fill(&source, 3);
    let mine = model.layout_of_rank(64, 5, 8, BlockOrder::TokensFirst).unwrap();
    assert_eq!(mine.total_bytes() * 8, theirs.total_bytes());
    let target = arena(&decode, "part", mine);
    let remote = decode.remote_cache(&peer, "whole", PATIENCE).unwrap();
    let pull = remote.pull(&target, Selection::whole(&mine)).unwrap();
    assert_eq!(pull.post(None).unwrap().wait(soon()).unwrap().bytes, mine.total_bytes());
    for (tensor, number) in engine_support::blocks(&target) {
        for token in [0, 7, 15] {
            assert_eq!(
                element(&target, tensor, number, token, 5),
                element(&source, tensor, number, token, 5)
            );
        }
    }

    let model = Geometry::named("deepseek-v3").unwrap();
    let latent = model.layout_of_rank(128, 3, 16, BlockOrder::TokensFirst).unwrap();
    assert_eq!(latent.total_bytes(), model.layout(128).unwrap().total_bytes());
}

#[test]
fn joined_and_separate_tensors_exchange_blocks() {
    let (ours, theirs) = (engine("ours"), engine("theirs"));
    let (peer, _) = connect(&ours, &theirs);
    let layout = CacheLayout::new(3, 2, 4, 256).unwrap();
    let separate = arena(&theirs, "separate", layout);
    fill(&separate, 9);
    // [layer][block][K, V], in memory of the caller; the runs touch, so that they are one registration.
    let mut memory = vec![0_u8; layout.total_bytes() as usize];
    let run = TensorRun {
        first: memory.as_mut_ptr() as u64,
        tensor_stride: 256,
        block_stride: 512,
        count: 2,
        key: 0,
    };
    let layer = |layer: u64| TensorRun { first: run.first + layer * 2048, ..run };
    // SAFETY: the memory outlives the cache and is looked at between transfers only.
    let joined = unsafe { ours.register_cache("joined", layout, (0..3).map(layer).collect()) }.unwrap();
    let described = joined.descriptor(peer.transport()).unwrap().placement;
    let [RunSeries { times: 3, step: 2048, .. }] = described.series() else { panic!("{described:?}") };
    let remote = ours.remote_cache(&peer, "separate", PATIENCE).unwrap();
    let pull = remote.pull(&joined, Selection::whole(&layout)).unwrap();
    pull.post(None).unwrap().wait(soon()).unwrap();
    for (tensor, number) in engine_support::blocks(&joined) {
        assert_eq!(read(&joined, tensor, number), filled(&separate, tensor, number, 9));
    }
    drop((pull, joined));
    let second_of_first = 512 * 2 + 256;
    assert_eq!(memory[second_of_first..second_of_first + 256], filled(&separate, 1, 2, 9));
}
