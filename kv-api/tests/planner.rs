//! The planner against a naive copy, and its refusals.

use std::ops::Range;

use kv_api::{
    layout::{CacheDescriptor, CacheLayout, LayoutError, Placement, TensorRun},
    planner::{BlockMap, Direction, LayerMap, Piece, Plan, PlanError, Selection, Side},
};
use pmd_host::transfer::{self, LocalPiece, Spares, WorkList, WorkListBuilder, WorkListLimits};
use proptest::prelude::*;

/// A cache in a byte vector: addresses are offsets, tensors lie as the placement says.
#[derive(Clone)]
struct Cache {
    layout: CacheLayout,
    interleaved: bool,
    placement: Placement,
    bytes: Vec<u8>,
}

impl Cache {
    fn new(layout: CacheLayout, interleaved: bool, key: u32, fill: u8) -> Self {
        let placement = if interleaved {
            // [block][tensor]: one block of every tensor side by side.
            let run = TensorRun {
                first: 0,
                tensor_stride: layout.block_bytes(),
                block_stride: layout.block_bytes() * u64::from(layout.tensors()),
                count: layout.tensors(),
                key,
            };
            Placement::new(&layout, vec![run]).unwrap()
        } else {
            Placement::contiguous(&layout, 0, key).unwrap()
        };
        let bytes = (0..layout.total_bytes()).map(|index| fill ^ (index % 251) as u8).collect();
        Self { layout, interleaved, placement, bytes }
    }

    fn side(&self) -> Side<'_> {
        Side { layout: &self.layout, placement: &self.placement }
    }

    /// Bytes of one block, found by plain index arithmetic.
    fn block(&self, tensor: u32, block: u32) -> &[u8] {
        let (tensors, blocks) = (self.layout.tensors() as usize, self.layout.blocks() as usize);
        let (tensor, block) = (tensor as usize, block as usize);
        let index = if self.interleaved { block * tensors + tensor } else { tensor * blocks + block };
        let size = self.layout.block_bytes() as usize;
        &self.bytes[index * size..(index + 1) * size]
    }
}

fn one_by_one(pieces: &[Piece]) -> WorkList {
    let mut list = WorkListBuilder::new(transfer::Direction::Read, WorkListLimits::default());
    for piece in pieces {
        let local = LocalPiece { address: piece.local, length: piece.length, key: piece.local_key };
        list.push(local, piece.remote);
    }
    list.finish()
}

fn copy(direction: Direction, local: &mut Cache, remote: &mut Cache, pieces: &[Piece]) {
    for piece in pieces {
        assert_eq!((piece.local_key.0, piece.remote.key.0), (7, 9), "keys belong to their sides");
        let at_local = piece.local as usize..(piece.local + piece.length) as usize;
        let at_remote = piece.remote.address as usize..(piece.remote.address + piece.length) as usize;
        match direction {
            Direction::Pull => local.bytes[at_local].copy_from_slice(&remote.bytes[at_remote]),
            Direction::Push => remote.bytes[at_remote].copy_from_slice(&local.bytes[at_local]),
        }
    }
}

prop_compose! {
    fn table(blocks: u32)(
        source in proptest::collection::vec(0..blocks, blocks as usize),
        destination in Just((0..blocks).collect::<Vec<_>>()).prop_shuffle(),
        count in 0..=blocks as usize,
    ) -> (Vec<u32>, Vec<u32>) {
        (source[..count].to_vec(), destination[..count].to_vec())
    }
}

proptest! {
    #[test]
    fn moves_what_a_naive_copy_moves(
        (layers, per_layer, blocks, block_bytes) in (1_u32..4, 1_u32..3, 1_u32..12, 1_u64..20),
        (from, more) in (0_u32..4, 1_u32..4),
        pull in any::<bool>(),
        (local_interleaved, remote_interleaved) in any::<(bool, bool)>(),
        tables in table(12),
    ) {
        let layout = CacheLayout::new(layers, per_layer, blocks, block_bytes).unwrap();
        let direction = if pull { Direction::Pull } else { Direction::Push };
        let mut local = Cache::new(layout, local_interleaved, 7, 0x00);
        let mut remote = Cache::new(layout, remote_interleaved, 9, 0xff);
        let untouched = if pull { local.clone() } else { remote.clone() };
        let first = from.min(layers - 1);
        let selected_layers = first..(first + more).min(layers);
        let pairs = tables.0.iter().map(|source| source % blocks).zip(tables.1).filter(|(_, to)| *to < blocks);
        let (source, destination): (Vec<u32>, Vec<u32>) = pairs.unzip();

        let mut pieces = Vec::new();
        {
            let blocks = BlockMap::Table { source: &source, destination: &destination };
            let selection = Selection::new(selected_layers.clone(), blocks);
            let plan = Plan::new(direction, local.side(), remote.side(), selection).unwrap();
            plan.for_each_piece(|piece| pieces.push(piece));
            prop_assert_eq!(plan.pieces(), pieces.len() as u64);
            prop_assert_eq!(plan.bytes(), pieces.iter().map(|piece| piece.length).sum::<u64>());
            let mut list = WorkListBuilder::new(transfer::Direction::Read, WorkListLimits::default());
            plan.add_to(&mut list);
            prop_assert_eq!(list.finish(), one_by_one(&pieces));
        }
        copy(direction, &mut local, &mut remote, &pieces);

        let (sender, receiver) = if pull { (&remote, &local) } else { (&local, &remote) };
        for tensor in 0..layout.tensors() {
            let selected = selected_layers.contains(&(tensor / per_layer));
            for block in 0..blocks {
                let entry = destination.iter().position(|to| *to == block).filter(|_| selected);
                let expected = match entry {
                    Some(index) => sender.block(tensor, source[index]),
                    None => untouched.block(tensor, block),
                };
                prop_assert_eq!(receiver.block(tensor, block), expected);
            }
        }
    }
}

/// Addresses at the peer of the pieces of one tensor of `blocks` blocks of one byte, `stride` apart.
fn order_at_peer(direction: Direction, blocks: u32, stride: u64, table: (&[u32], &[u32])) -> Vec<u64> {
    let layout = CacheLayout::new(1, 1, blocks, 1).unwrap();
    let run = TensorRun { first: 0, tensor_stride: 0, block_stride: stride, count: 1, key: 9 };
    let placement = Placement::new(&layout, vec![run]).unwrap();
    let side = Side { layout: &layout, placement: &placement };
    let blocks = BlockMap::Table { source: table.0, destination: table.1 };
    let plan = Plan::new(direction, side, side, Selection::new(0..1, blocks)).unwrap();
    let mut addresses = Vec::new();
    plan.for_each_piece(|piece| addresses.push(piece.remote.address));
    addresses
}

#[test]
fn pieces_come_in_the_order_of_the_peers_blocks_where_that_merges_more() {
    let (straight, shuffled) = ([0, 1, 2, 3, 4], [3, 0, 4, 1, 2]);
    let (pull, push) = (Direction::Pull, Direction::Push);
    assert_eq!(order_at_peer(push, 5, 1, (&straight, &shuffled)), [0, 1, 2, 3, 4]);
    assert_eq!(order_at_peer(pull, 5, 1, (&shuffled, &straight)), [0, 1, 2, 3, 4]);
    assert_eq!(order_at_peer(pull, 5, 1, (&straight, &shuffled)), [0, 1, 2, 3, 4]);
    // Nothing merges with gaps between blocks, and a block that is read twice keeps what merges with it together.
    assert_eq!(order_at_peer(push, 5, 2, (&straight, &shuffled)), [6, 0, 8, 2, 4]);
    assert_eq!(order_at_peer(pull, 5, 1, (&[2, 3, 2, 3], &[0, 1, 3, 4])), [2, 3, 2, 3]);
    // Five of a hundred blocks are rarely neighbours.
    assert_eq!(order_at_peer(push, 100, 1, (&straight, &shuffled)), [3, 0, 4, 1, 2]);
}

#[test]
fn a_hundred_thousand_shuffled_blocks_take_one_table_and_the_fewest_work_requests() {
    let blocks: u32 = 100_000;
    let layout = CacheLayout::new(1, 1, blocks, 64).unwrap();
    let placement = Placement::contiguous(&layout, 0, 9).unwrap();
    let side = Side { layout: &layout, placement: &placement };
    let straight: Vec<u32> = (0..blocks).collect();
    // 7919 is prime to the number of blocks: each of them once, no two neighbours.
    let shuffled: Vec<u32> = (0..blocks).map(|block| (u64::from(block) * 7919 % 100_000) as u32).collect();
    let (tables, lists) = (Spares::default(), Spares::default());
    for round in 0..3 {
        let map = BlockMap::Table { source: &straight, destination: &shuffled };
        let selection = Selection::new(0..1, map);
        let plan = Plan::reusing(&tables, Direction::Push, side, side, selection).unwrap();
        let mut list = WorkListBuilder::reusing(
            &lists,
            transfer::Direction::Write,
            WorkListLimits::default(),
            plan.pieces() as usize,
        );
        assert_eq!((tables.count(), lists.count()), (0, 0), "what round {round} uses is not spare");
        plan.add_to(&mut list);
        let list = list.finish();
        assert_eq!((list.sges().len(), list.entries().len()), (100_000, 100_000_usize.div_ceil(30)));
        drop((plan, list));
        assert_eq!((tables.count(), lists.count()), (1, 1), "round {round} leaves its memory to the next");
    }
}

fn refusal(local: CacheLayout, remote: CacheLayout, selection: Selection<'_>) -> PlanError {
    let local_placement = Placement::contiguous(&local, 0, 7).unwrap();
    let remote_placement = Placement::contiguous(&remote, 0, 9).unwrap();
    let local = Side { layout: &local, placement: &local_placement };
    let remote = Side { layout: &remote, placement: &remote_placement };
    Plan::new(Direction::Pull, local, remote, selection).unwrap_err()
}

#[test]
fn refuses_what_does_not_fit() {
    let layout = CacheLayout::new(2, 2, 8, 64).unwrap();
    let other = |layers, tensors, blocks, bytes| CacheLayout::new(layers, tensors, blocks, bytes).unwrap();
    let whole = Selection::whole(&layout);
    let layers = |layers: Range<u32>| Selection::new(layers, BlockMap::Identity);
    let with = |source, destination| Selection::new(0..2, BlockMap::Table { source, destination });

    let mismatch = |what, remote| PlanError::Mismatch { what, local: 2, remote };
    assert_eq!(refusal(layout, other(2, 1, 8, 64), whole.clone()), mismatch("tensors per layer", 1));
    let different_blocks = PlanError::Mismatch { what: "bytes per block", local: 64, remote: 32 };
    assert_eq!(refusal(layout, other(2, 2, 8, 32), whole.clone()), different_blocks);
    let counts = |source_blocks, destination| PlanError::BlockCounts { source_blocks, destination };
    assert_eq!(refusal(layout, other(2, 2, 9, 64), whole), counts(9, 8));
    assert_eq!(refusal(layout, layout, with(&[1, 2], &[0])), counts(2, 1));
    let beyond = |side, start, end| PlanError::Layers { side, start, end, layers: 2 };
    assert_eq!(refusal(layout, layout, layers(1..3)), beyond("source", 1, 3));
    assert_eq!(refusal(layout, layout, layers(1..1)), beyond("source", 1, 1));
    assert_eq!(refusal(layout, other(3, 2, 8, 64), layers(2..3)), beyond("destination", 2, 3));
    let moved = LayerMap { source: 0..2, destination: 1 };
    assert_eq!(
        refusal(layout, layout, Selection::new(moved, BlockMap::Identity)),
        beyond("destination", 1, 3)
    );
    let range = |side, index, block| PlanError::BlockRange { side, index, block, blocks: 8 };
    assert_eq!(refusal(layout, layout, with(&[1, 8], &[0, 1])), range("source", 1, 8));
    assert_eq!(refusal(layout, layout, with(&[1], &[9])), range("destination", 0, 9));
    let duplicate = PlanError::DuplicateDestination { index: 2, block: 0 };
    assert_eq!(refusal(layout, layout, with(&[1, 2, 3], &[0, 5, 0])), duplicate);
}

#[test]
fn refuses_impossible_layouts() {
    assert_eq!(CacheLayout::new(1, 1, 0, 1), Err(LayoutError::Zero { what: "blocks" }));
    assert_eq!(CacheLayout::new(u32::MAX, 2, 1, 1), Err(LayoutError::TooLarge));
    assert_eq!(CacheLayout::new(1 << 20, 1, 1 << 20, 1 << 40), Err(LayoutError::TooLarge));
    let layout = CacheLayout::new(2, 1, 4, 64).unwrap();
    let run = TensorRun { first: 0, tensor_stride: 256, block_stride: 64, count: 2, key: 0 };
    let placed = |run| Placement::new(&layout, vec![run]);
    assert_eq!(placed(TensorRun { count: 1, ..run }), Err(LayoutError::TensorCount { wanted: 2, placed: 1 }));
    let overlapping = LayoutError::Stride { stride: 63, block_bytes: 64 };
    assert_eq!(placed(TensorRun { block_stride: 63, ..run }), Err(overlapping));
    let address = u64::MAX - 100;
    assert_eq!(placed(TensorRun { first: address, ..run }), Err(LayoutError::Wraps { address }));
    assert_eq!(placed(TensorRun { tensor_stride: u64::MAX, ..run }), Err(LayoutError::Wraps { address: 0 }));
}

#[test]
fn a_descriptor_from_a_peer_is_checked_again() {
    let layout = CacheLayout::new(61, 1, 64, 1152).unwrap();
    let placement = Placement::contiguous(&layout, 0x7000_0000, 3).unwrap();
    let descriptor = CacheDescriptor { id: 1, name: "cache".into(), layout, placement, devices: Vec::new() };
    let bytes = postcard::to_allocvec(&descriptor).unwrap();
    assert!(bytes.len() < 64, "a contiguous cache is described in {} bytes", bytes.len());
    let parsed: CacheDescriptor = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(parsed.validated().unwrap(), descriptor);

    let smaller = CacheDescriptor { layout: CacheLayout::new(60, 1, 64, 1152).unwrap(), ..descriptor };
    assert_eq!(smaller.validated(), Err(LayoutError::TensorCount { wanted: 60, placed: 61 }));
    assert!(
        postcard::from_bytes::<CacheLayout>(&[1, 1, 0, 1]).is_err(),
        "zero blocks are refused while parsing"
    );
}
