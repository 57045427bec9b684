//! Caches that are cut differently: what the planner's pieces move is what a copy of every single byte moves.

use std::{collections::HashSet, ops::Range};

use kv_api::{
    layout::{BlockOrder, CacheLayout, Heads, LayoutError, Placement, TensorRun, TokenFormat},
    planner::{BlockMap, BlockRun, Direction, End, LayerMap, Plan, PlanError, Selection, Side, TokenSpan},
};
use pmd_host::transfer::{self, LocalPiece, WorkListBuilder, WorkListLimits};
use proptest::prelude::*;

/// A cache in a byte vector: addresses are offsets.
#[derive(Clone, Debug)]
struct Cache {
    layout: CacheLayout,
    placement: Placement,
    bytes: Vec<u8>,
}

/// How one side cuts the cache.
#[derive(Clone, Debug)]
struct Cutting {
    layers: u32,
    block_tokens: u32,
    blocks: u32,
    rank: u32,
    heads_first: bool,
    /// Bytes that belong to nobody, after each head and after each token.
    padding: (u64, u64),
    joined: bool,
}

/// The heads of rank `rank` when each of the model's heads is held by `copies` ranks or each rank holds `held` heads.
fn heads_of(total: u32, degree: u32, rank: u32) -> Heads {
    Heads::of_rank(rank % degree, degree, total).unwrap()
}

impl Cutting {
    fn format(&self, heads: Heads, head_bytes: u32) -> TokenFormat {
        let order = if self.heads_first { BlockOrder::HeadsFirst } else { BlockOrder::TokensFirst };
        let dense = TokenFormat::new(self.block_tokens, heads, head_bytes, order).unwrap();
        let (first, second) = self.padding;
        let element = u64::from(head_bytes);
        let (token_stride, head_stride) = if self.heads_first {
            let token_stride = element + first;
            (token_stride, token_stride * u64::from(self.block_tokens) + second)
        } else {
            let head_stride = element + first;
            (head_stride * u64::from(heads.count) + second, head_stride)
        };
        dense.with_strides(token_stride, head_stride).unwrap()
    }

    fn cache(&self, per_layer: u32, heads: Heads, head_bytes: u32, key: u32, fill: u8) -> Cache {
        let format = self.format(heads, head_bytes);
        let layout = CacheLayout::of_tokens(self.layers, per_layer, self.blocks, format).unwrap();
        let placement = if self.joined {
            Placement::joined(&layout, 0, key).unwrap()
        } else {
            Placement::contiguous(&layout, 0, key).unwrap()
        };
        let bytes = (0..layout.total_bytes()).map(|index| fill ^ (index % 251) as u8).collect();
        Cache { layout, placement, bytes }
    }
}

impl Cache {
    fn side(&self) -> Side<'_> {
        Side { layout: &self.layout, placement: &self.placement }
    }

    /// Where the bytes of one head of one token are.
    fn element(&self, joined: bool, tensor: u32, block: u32, token: u32, head: u32) -> Range<usize> {
        let format = self.layout.format().unwrap();
        let (blocks, extent) = (u64::from(self.layout.blocks()), format.extent());
        let (layer, within) =
            (tensor / self.layout.tensors_per_layer(), tensor % self.layout.tensors_per_layer());
        let per_layer = u64::from(self.layout.tensors_per_layer());
        let block_at = if joined {
            ((u64::from(layer) * blocks + u64::from(block)) * per_layer + u64::from(within)) * extent
        } else {
            (u64::from(tensor) * blocks + u64::from(block)) * extent
        };
        let at = block_at
            + u64::from(token) * format.token_stride()
            + u64::from(head - format.heads().first) * format.head_stride();
        at as usize..at as usize + format.head_bytes() as usize
    }
}

impl Cache {
    /// Layer and block that an address belongs to.
    fn block_at(&self, joined: bool, address: u64) -> (u32, u32) {
        let (blocks, per_layer) =
            (u64::from(self.layout.blocks()), u64::from(self.layout.tensors_per_layer()));
        let index = address / self.layout.block_extent();
        let (layer, within) = (index / (blocks * per_layer), index % (blocks * per_layer));
        let block = if joined { within / per_layer } else { within % blocks };
        (layer as u32, block as u32)
    }
}

/// Executes a plan in the two byte vectors.
fn execute(direction: Direction, local: &Cache, remote: &Cache, selection: Selection<'_>) -> (Vec<u8>, u64) {
    let plan = Plan::new(direction, local.side(), remote.side(), selection).unwrap();
    let (from, to) = match direction {
        Direction::Pull => (remote, local),
        Direction::Push => (local, remote),
    };
    let mut result = to.bytes.clone();
    let (mut pieces, mut bytes) = (0, 0);
    plan.for_each_piece(|piece| {
        assert_eq!((piece.local_key.0, piece.remote.key.0), (7, 9), "keys belong to their sides");
        let here = piece.local as usize..(piece.local + piece.length) as usize;
        let there = piece.remote.address as usize..(piece.remote.address + piece.length) as usize;
        let (source, target) = match direction {
            Direction::Pull => (there, here),
            Direction::Push => (here, there),
        };
        result[target].copy_from_slice(&from.bytes[source]);
        pieces += 1;
        bytes += piece.length;
    });
    assert_eq!((plan.pieces(), plan.bytes()), (pieces, bytes));
    (result, pieces)
}

prop_compose! {
    fn cutting()(
        layers in 1_u32..4,
        block_tokens in 1_u32..7,
        blocks in 1_u32..9,
        rank in 0_u32..8,
        heads_first in any::<bool>(),
        padding in prop_oneof![Just((0, 0)), (0_u64..3, 0_u64..5)],
        joined in any::<bool>(),
    ) -> Cutting {
        Cutting { layers, block_tokens, blocks, rank, heads_first, padding, joined }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_same_tokens_and_heads_arrive(
        (ours, theirs) in (cutting(), cutting()),
        (heads, degrees) in (0_u32..4, (0_u32..4, 0_u32..4)),
        (per_layer, head_bytes) in (1_u32..3, 1_u32..6),
        pull in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let direction = if pull { Direction::Pull } else { Direction::Push };
        // 1, 2, 4 or 8 heads over as many ranks: heads are shared out, or held by several.
        let total = 1 << heads;
        let (mine, yours) =
            (heads_of(total, 1 << degrees.0, ours.rank), heads_of(total, 1 << degrees.1, theirs.rank));
        let local = ours.cache(per_layer, mine, head_bytes, 7, 0x00);
        let remote = theirs.cache(per_layer, yours, head_bytes, 9, 0xff);
        let ((from, from_cutting), (to, to_cutting)) = match direction {
            Direction::Pull => ((&remote, &theirs), (&local, &ours)),
            Direction::Push => ((&local, &ours), (&remote, &theirs)),
        };
        // Some of the blocks of either side, in some order.
        let shuffled = |blocks: u32, salt: u64| {
            let mut numbers: Vec<u32> = (0..blocks).collect();
            numbers.sort_by_key(|number| (u64::from(*number) + 1).wrapping_mul(seed ^ salt) >> 7);
            numbers
        };
        let (source, destination) = (shuffled(from_cutting.blocks, 1), shuffled(to_cutting.blocks, 2));
        let held = |table: &[u32], tokens: u32| table.len() as u64 * u64::from(tokens);
        let (holds, fits) =
            (held(&source, from_cutting.block_tokens), held(&destination, to_cutting.block_tokens));
        let (first, second) = (seed % holds, (seed >> 8) % fits);
        let count = ((seed >> 16) % (holds + 1)).min(holds - first).min(fits - second);
        let layers = LayerMap {
            source: (seed as u32 >> 24) % from_cutting.layers..from_cutting.layers,
            destination: (seed as u32 >> 28) % to_cutting.layers,
        };
        let span = layers.count().min(to_cutting.layers - layers.destination);
        let layers = LayerMap { source: layers.source.start..layers.source.start + span, ..layers };
        let blocks = BlockMap::Tokens {
            source: TokenSpan { blocks: &source, first },
            destination: TokenSpan { blocks: &destination, first: second },
            count,
        };
        let common = mine.first.max(yours.first)..mine.range().end.min(yours.range().end);
        let selection = Selection::new(layers.clone(), blocks);
        if common.is_empty() {
            let refused = Plan::new(direction, local.side(), remote.side(), selection).unwrap_err();
            let none = PlanError::NoCommonHeads { local_first: mine.first, remote_first: yours.first };
            prop_assert_eq!(refused, none);
            return Ok(());
        }
        let (found, _) = execute(direction, &local, &remote, selection);

        let mut wanted = to.bytes.clone();
        for (layer, tensor) in (0..span).flat_map(|layer| (0..per_layer).map(move |tensor| (layer, tensor))) {
            for token in 0..count {
                let place = |table: &[u32], at: u64, tokens: u32| {
                    let tokens = u64::from(tokens);
                    (table[(at / tokens) as usize], (at % tokens) as u32)
                };
                let (from_block, from_token) = place(&source, first + token, from_cutting.block_tokens);
                let (to_block, to_token) = place(&destination, second + token, to_cutting.block_tokens);
                for head in common.clone() {
                    let from_tensor = (layers.source.start + layer) * per_layer + tensor;
                    let to_tensor = (layers.destination + layer) * per_layer + tensor;
                    let read = from.element(from_cutting.joined, from_tensor, from_block, from_token, head);
                    let written = to.element(to_cutting.joined, to_tensor, to_block, to_token, head);
                    wanted[written].copy_from_slice(&from.bytes[read]);
                }
            }
        }
        prop_assert!(found == wanted, "differs from a copy of every byte");
    }

    /// Whole blocks, by all ways to name them.
    #[test]
    fn tables_runs_and_identity_name_the_same_blocks(
        (mut ours, theirs) in (cutting(), cutting()),
        (first, step) in (0_u32..3, 1_u32..3),
        pull in any::<bool>(),
    ) {
        let direction = if pull { Direction::Pull } else { Direction::Push };
        (ours.block_tokens, ours.blocks, ours.layers) = (theirs.block_tokens, theirs.blocks, theirs.layers);
        let local = ours.cache(2, heads_of(4, 4, ours.rank), 3, 7, 0x00);
        let remote = theirs.cache(2, Heads::all(4), 3, 9, 0xff);
        let moved = |blocks: BlockMap<'_>| {
            execute(direction, &local, &remote, Selection::new(0..ours.layers, blocks)).0
        };
        let all: Vec<u32> = (0..ours.blocks).collect();
        let sequence = TokenSpan { blocks: &all, first: 0 };
        let count = u64::from(ours.blocks) * u64::from(ours.block_tokens);
        let whole = moved(BlockMap::Identity);
        let named = moved(BlockMap::Table { source: &all, destination: &all });
        prop_assert!(whole == named);
        let named = moved(BlockMap::Tokens { source: sequence, destination: sequence, count });
        prop_assert!(whole == named);
        let count = ours.blocks.saturating_sub(first).div_ceil(step);
        let strided = BlockRun { first, step, count };
        let packed = BlockRun { first: 0, step: 1, count };
        let table: Vec<u32> = (0..count).map(|place| strided.number(place)).collect();
        let runs = moved(BlockMap::Strided { source: strided, destination: packed });
        let packed: Vec<u32> = (0..count).collect();
        let named = moved(BlockMap::Table { source: &table, destination: &packed });
        prop_assert!(runs == named);
    }
}

proptest! {
    /// Against the addresses that the first work requests cover.
    #[test]
    fn unproven_blocks_are_those_with_a_byte_beyond_what_landed(
        (ours, theirs) in (cutting(), cutting()),
        (ranks, pull) in ((0_u32..2, 0_u32..2), any::<bool>()),
        (max_sges, max_message) in (1_u16..4, 1_u32..40),
        landed in 0_usize..60,
    ) {
        let direction = if pull { Direction::Pull } else { Direction::Push };
        let (mine, yours) = (heads_of(4, ranks.0 + 1, ours.rank), heads_of(4, ranks.1 + 1, theirs.rank));
        prop_assume!(mine.first < yours.range().end && yours.first < mine.range().end);
        let (local, remote) = (ours.cache(2, mine, 3, 7, 0), theirs.cache(2, yours, 3, 9, 0));
        let (source, destination) = if pull { (&theirs, &ours) } else { (&ours, &theirs) };
        let (from, to): (Vec<u32>, Vec<u32>) =
            ((0..source.blocks).rev().collect(), (0..destination.blocks).collect());
        let held = |cutting: &Cutting| u64::from(cutting.blocks) * u64::from(cutting.block_tokens);
        let blocks = BlockMap::Tokens {
            source: TokenSpan { blocks: &from, first: 0 },
            destination: TokenSpan { blocks: &to, first: 0 },
            count: held(source).min(held(destination)),
        };
        let layers = 0..ours.layers.min(theirs.layers);
        let plan = Plan::new(direction, local.side(), remote.side(), Selection::new(layers, blocks)).unwrap();
        let limits = WorkListLimits { max_sges, max_message };
        let mut builder = WorkListBuilder::new(transfer::Direction::Read, limits);
        let mut pieces = Vec::new();
        plan.for_each_piece(|piece| {
            let here = LocalPiece { address: piece.local, length: piece.length, key: piece.local_key };
            builder.push(here, piece.remote);
            pieces.push(piece);
        });
        let list = builder.finish();
        let entries = &list.entries()[..landed.min(list.entries().len())];
        let covered: HashSet<u64> =
            entries.iter().flat_map(|entry| entry.remote..entry.remote + u64::from(entry.length)).collect();
        for (end, cutting, cache) in [(End::Local, &ours, &local), (End::Remote, &theirs, &remote)] {
            let set = plan.unproven(limits, landed, end);
            let mut wanted = HashSet::new();
            for piece in &pieces {
                let there = piece.remote.address..piece.remote.address + piece.length;
                if there.into_iter().all(|byte| covered.contains(&byte)) {
                    continue;
                }
                let at = if end == End::Local { piece.local } else { piece.remote.address };
                wanted.insert(cache.block_at(cutting.joined, at));
            }
            for (layer, block) in &wanted {
                prop_assert!(set.contains(*layer, *block), "block {block} of layer {layer} of {end:?}");
            }
            prop_assert_eq!(set.count(), wanted.len() as u64);
            prop_assert_eq!(set.is_empty(), wanted.is_empty());
        }
    }
}

fn cache(format: TokenFormat, blocks: u32, key: u32) -> Cache {
    let layout = CacheLayout::of_tokens(1, 1, blocks, format).unwrap();
    let placement = Placement::contiguous(&layout, 0, key).unwrap();
    Cache { layout, placement, bytes: vec![0; layout.total_bytes() as usize] }
}

#[test]
fn pieces_are_as_long_as_both_sides_allow() {
    use BlockOrder::{HeadsFirst, TokensFirst};
    let format = |tokens, heads, order| TokenFormat::new(tokens, heads, 128, order).unwrap();
    let half = Heads::of_rank(1, 2, 8).unwrap();
    let pieces = |ours: TokenFormat, theirs: TokenFormat| {
        let tokens = u64::from(ours.tokens()) * 2;
        let blocks = (tokens / u64::from(theirs.tokens())) as u32;
        let (local, remote) = (cache(ours, 2, 7), cache(theirs, blocks, 9));
        let (here, there): (Vec<u32>, Vec<u32>) = ((0..2).collect(), (0..blocks).collect());
        let span = |blocks| TokenSpan { blocks, first: 0 };
        let blocks = BlockMap::Tokens { source: span(&there), destination: span(&here), count: tokens };
        execute(Direction::Pull, &local, &remote, Selection::new(0..1, blocks)).1
    };
    let all = Heads::all(8);
    // The same format: a piece a block. Blocks of half the tokens: two a block.
    assert_eq!(pieces(format(16, all, TokensFirst), format(16, all, TokensFirst)), 2);
    assert_eq!(pieces(format(16, all, TokensFirst), format(8, all, TokensFirst)), 4);
    // Half of the heads: a piece a token; with heads first, a piece a block, or a head where blocks differ too.
    assert_eq!(pieces(format(16, half, TokensFirst), format(16, all, TokensFirst)), 32);
    assert_eq!(pieces(format(16, half, HeadsFirst), format(16, all, HeadsFirst)), 2);
    assert_eq!(pieces(format(16, half, HeadsFirst), format(8, all, HeadsFirst)), 16);
    // Another order of dimensions: every head of every token.
    assert_eq!(pieces(format(16, all, HeadsFirst), format(16, all, TokensFirst)), 2 * 16 * 8);
    // A latent cache is the same on every rank.
    assert_eq!(pieces(format(64, Heads::latent(), TokensFirst), format(32, Heads::latent(), HeadsFirst)), 4);
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let format =
        |tokens, heads, bytes| TokenFormat::new(tokens, heads, bytes, BlockOrder::TokensFirst).unwrap();
    let refusal = |local: CacheLayout, remote: CacheLayout, blocks: BlockMap<'_>| {
        let (here, there) =
            (Placement::contiguous(&local, 0, 7).unwrap(), Placement::contiguous(&remote, 0, 9).unwrap());
        let local = Side { layout: &local, placement: &here };
        let remote = Side { layout: &remote, placement: &there };
        Plan::new(Direction::Pull, local, remote, Selection::new(0..1, blocks)).unwrap_err()
    };
    let layout = |format| CacheLayout::of_tokens(1, 1, 4, format).unwrap();
    let opaque = CacheLayout::new(1, 1, 4, 16 * 8 * 128).unwrap();
    let (all, identity) = (Heads::all(8), BlockMap::Identity);
    let mine = layout(format(16, all, 128));
    assert_eq!(refusal(mine, opaque, identity.clone()), PlanError::NoFormat { side: "remote" });
    assert_eq!(refusal(opaque, mine, identity.clone()), PlanError::NoFormat { side: "local" });
    let mismatch = |what, local, remote| PlanError::Mismatch { what, local, remote };
    let theirs = layout(format(16, all, 64));
    assert_eq!(refusal(mine, theirs, identity.clone()), mismatch("bytes per head", 128, 64));
    let theirs = layout(format(16, Heads::all(4), 128));
    assert_eq!(refusal(mine, theirs, identity.clone()), mismatch("heads of the model", 8, 4));
    let theirs = layout(format(32, all, 128));
    let tokens = "tokens per block (select them with BlockMap::Tokens)";
    assert_eq!(refusal(mine, theirs, identity), mismatch(tokens, 16, 32));

    let span = |blocks, first| TokenSpan { blocks, first };
    let moved = |source, destination, count| BlockMap::Tokens { source, destination, count };
    let few = moved(span(&[0], 1), span(&[0, 1], 0), 32);
    let beyond = |side, first, count, held| PlanError::TokenRange { side, first, count, held };
    assert_eq!(refusal(mine, theirs, few), beyond("source", 1, 32, 32));
    let full = moved(span(&[0], 0), span(&[0, 1], 1), 32);
    assert_eq!(refusal(mine, theirs, full), beyond("destination", 1, 32, 32));
    let endless = moved(span(&[0], u64::MAX), span(&[0], 0), 2);
    assert_eq!(refusal(mine, theirs, endless), beyond("source", u64::MAX, 2, 32));
    let twice = moved(span(&[0], 0), span(&[3, 3], 0), 32);
    assert_eq!(refusal(mine, theirs, twice), PlanError::DuplicateDestination { index: 1, block: 3 });
    let nowhere = moved(span(&[4], 0), span(&[0, 1], 0), 32);
    let range = |side, index, block| PlanError::BlockRange { side, index, block, blocks: 4 };
    assert_eq!(refusal(mine, theirs, nowhere), range("source", 0, 4));
    assert_eq!(
        refusal(opaque, opaque, moved(span(&[0], 0), span(&[0], 0), 1)),
        PlanError::NoFormat { side: "remote" }
    );

    let run = |first, step, count| BlockRun { first, step, count };
    let strided = |source, destination| BlockMap::Strided { source, destination };
    assert_eq!(refusal(mine, mine, strided(run(0, 2, 3), run(0, 1, 3))), range("source", 2, 4));
    assert_eq!(refusal(mine, mine, strided(run(0, 1, 2), run(9, 1, 2))), range("destination", 0, 9));
    assert_eq!(refusal(mine, mine, strided(run(1, u32::MAX, 3), run(0, 1, 3))), range("source", 1, u32::MAX));
    let duplicate = PlanError::DuplicateDestination { index: 1, block: 2 };
    assert_eq!(refusal(mine, mine, strided(run(0, 1, 2), run(2, 0, 2))), duplicate);
    let counts = PlanError::BlockCounts { source_blocks: 2, destination: 1 };
    assert_eq!(refusal(mine, mine, strided(run(0, 1, 2), run(0, 1, 1))), counts);
}

#[test]
fn formats_are_checked() {
    let new = |tokens, heads, bytes| TokenFormat::new(tokens, heads, bytes, BlockOrder::TokensFirst);
    assert_eq!(new(0, Heads::all(8), 128), Err(LayoutError::Zero { what: "tokens per block" }));
    assert_eq!(new(16, Heads { count: 0, ..Heads::all(8) }, 128), Err(LayoutError::Zero { what: "heads" }));
    assert_eq!(new(16, Heads::all(8), 0), Err(LayoutError::Zero { what: "bytes per head" }));
    let heads = Heads { first: 7, count: 2, total: 8 };
    assert_eq!(new(16, heads, 128), Err(LayoutError::Heads { heads }));
    assert_eq!(new(u32::MAX, Heads::all(u32::MAX), u32::MAX), Err(LayoutError::TooLarge));
    let format = new(16, Heads::all(8), 128).unwrap();
    let overlap = LayoutError::Overlap { token_stride: 1023, head_stride: 128 };
    assert_eq!(format.with_strides(1023, 128), Err(overlap));
    // K and V of one token side by side: twice the stride, and the layout takes twice the room.
    let interleaved = format.with_strides(2048, 128).unwrap();
    assert_eq!((interleaved.bytes(), interleaved.extent()), (16 * 1024, 15 * 2048 + 1024));
    let layout = CacheLayout::of_tokens(1, 2, 4, interleaved).unwrap();
    let run = TensorRun { first: 0, tensor_stride: 1024, block_stride: 16 * 2048, count: 2, key: 1 };
    assert_eq!(run.span(&layout), Ok(3 * 16 * 2048 + 1024 + interleaved.extent()));
    assert!(Placement::new(&layout, [run]).is_ok());

    let ranks = |rank, degree, heads| Err(LayoutError::Ranks { rank, degree, heads });
    assert_eq!(Heads::of_rank(2, 2, 8), ranks(2, 2, 8));
    assert_eq!(Heads::of_rank(0, 3, 8), ranks(0, 3, 8));
    assert_eq!(Heads::of_rank(0, 0, 8), ranks(0, 0, 8));
    assert_eq!(Heads::of_rank(0, 1, 0), ranks(0, 1, 0));
    assert_eq!(Heads::of_rank(3, 4, 8), Ok(Heads { first: 6, count: 2, total: 8 }));
    assert_eq!(Heads::of_rank(5, 16, 8), Ok(Heads { first: 2, count: 1, total: 8 }));
}

#[test]
fn descriptions_of_equal_strides_stay_small() {
    // 61 layers of K and V joined block by block, a million blocks.
    let format = TokenFormat::new(16, Heads::all(8), 256, BlockOrder::TokensFirst).unwrap();
    let layout = CacheLayout::of_tokens(61, 2, 1_000_000, format).unwrap();
    let joined = Placement::joined(&layout, 0x7000_0000_0000, 3).unwrap();
    assert!(postcard::to_allocvec(&joined).unwrap().len() < 64);
    let apart: Vec<TensorRun> = joined.runs().collect();
    assert_eq!(apart.len(), 61);
    assert_eq!(
        Placement::new(&layout, apart.clone()).unwrap(),
        joined,
        "equal runs are found to be a series"
    );
    for tensor in 0..layout.tensors() {
        let run = apart[tensor as usize / 2];
        let place = joined.tensor(tensor).unwrap();
        assert_eq!(place.address, run.first + u64::from(tensor % 2) * run.tensor_stride);
        assert_eq!((place.block_stride, place.key), (run.block_stride, 3));
    }
    assert_eq!(joined.tensor(layout.tensors()), None);
    // A description from a peer that claims endlessly many runs is refused, not expanded.
    let parsed: Placement = postcard::from_bytes(&postcard::to_allocvec(&joined).unwrap()).unwrap();
    let mut series = parsed.series().to_vec();
    series[0].times = u32::MAX;
    let refused = Placement::of_series(&layout, series).unwrap_err();
    assert_eq!(refused, LayoutError::TensorCount { wanted: 122, placed: 2 * u64::from(u32::MAX) });
}
