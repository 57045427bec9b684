//! The arithmetic against a copy that is written as simply as it can be.

use proptest::prelude::*;

use super::*;
use crate::datadist::{
    pool::FreeList,
    selection::{Span, part_of_row},
};

/// Tensors of bytes that tell which tensor and place they are of.
fn bytes(shape: &CacheShape, seed: u8) -> Vec<Vec<u8>> {
    let byte = |tensor: u64, place: u64| (seed as u64 + 31 * tensor + 7 * place + place / 256) as u8;
    (0..shape.tensors)
        .map(|tensor| (0..shape.tensor_bytes).map(|place| byte(tensor, place)).collect())
        .collect()
}

fn shape(tensors: u32, rows: u64, stride: u64, tail: u64, kind: CacheKind) -> CacheShape {
    CacheShape { tensors: tensors.into(), tensor_bytes: rows * stride + tail, rows, stride, kind }
}

fn apply(tensors: selection::Tensors, spans: &[Span], source: &[Vec<u8>], destination: &mut [Vec<u8>]) {
    for number in 0..tensors.count {
        for Span { source: from, destination: to, length } in spans {
            let (from, to, length) = (*from as usize, *to as usize, *length as usize);
            let bytes = source[tensors.source + number][from..from + length].to_vec();
            destination[tensors.destination + number][to..to + length].copy_from_slice(&bytes);
        }
    }
}

/// Byte by byte, block by block.
fn naive_blocks(stride: u64, pairs: &[(u64, u64)], source: &[u8], destination: &mut [u8]) {
    for (from, to) in pairs {
        for byte in 0..stride {
            destination[(to * stride + byte) as usize] = source[(from * stride + byte) as usize];
        }
    }
}

fn any_range(layers: u64) -> impl Strategy<Value = (i32, i32)> {
    prop_oneof![Just((-1, -1)), (-2..layers as i32 + 2, -2..layers as i32 + 2)]
}

/// What a range of layers comes to, one tensor at a time; `None` where it cannot be.
fn naive_tensors((first, last): (i32, i32), per_layer: u64, tensors: u64) -> Option<Vec<u64>> {
    if (first, last) == (-1, -1) {
        return Some((0..tensors).collect());
    }
    let allowed = first >= 0
        && first <= last
        && tensors.is_multiple_of(per_layer)
        && (last as u64) < tensors / per_layer;
    let wanted = |tensor: &u64| (first as u64..=last as u64).contains(&(tensor / per_layer));
    allowed.then(|| (0..tensors).filter(wanted).collect())
}

proptest! {
    #[test]
    fn layers_come_to_the_tensors_of_a_naive_count(
        per_layer in 1_u32..5,
        (source, destination) in (1_u32..25, 1_u32..25),
        src_layer_range in any_range(12),
        dst_layer_range in any_range(12),
    ) {
        let ours = shape(source, 1, 1, 0, CacheKind::Mixed);
        let theirs = shape(destination, 1, 1, 0, CacheKind::Mixed);
        let layers = KvCacheExtParam { src_layer_range, dst_layer_range, tensor_num_per_layer: per_layer };
        let found = selection::Tensors::select(&ours, &theirs, &layers);
        let from = naive_tensors(src_layer_range, per_layer.into(), source.into());
        let to = naive_tensors(dst_layer_range, per_layer.into(), destination.into());
        match (from, to) {
            (Some(from), Some(to)) if from.len() == to.len() => {
                let found = found.expect("both ranges are there");
                prop_assert_eq!((found.source as u64, found.destination as u64), (from[0], to[0]));
                prop_assert_eq!(found.count, from.len());
            }
            _ => prop_assert!(found.is_err(), "{found:?}"),
        }
    }

    #[test]
    fn blocks_land_where_a_naive_copy_puts_them(
        stride in 1_u64..9,
        (source_rows, destination_rows) in (1_u64..12, 1_u64..12),
        pairs in prop::collection::vec((0_u64..13, 0_u64..13), 0..14),
    ) {
        let ours = shape(2, source_rows, stride, 0, CacheKind::Mixed);
        let theirs = shape(2, destination_rows, stride, 1, CacheKind::Blocks);
        let (from, to): (Vec<u64>, Vec<u64>) = pairs.iter().copied().unzip();
        let found = blocks(&ours, &from, &theirs, &to);
        let twice = (1..to.len()).any(|place| to[..place].contains(&to[place]));
        let there = from.iter().all(|block| *block < source_rows) && to.iter().all(|block| *block < destination_rows);
        if to.is_empty() || twice || !there {
            prop_assert!(found.is_err());
            return Ok(());
        }
        let spans = found.expect("all blocks are there");
        let (source, mut destination) = (bytes(&ours, 1), bytes(&theirs, 99));
        let mut wanted = destination.clone();
        for tensor in 0..2 {
            naive_blocks(stride, &pairs, &source[tensor], &mut wanted[tensor]);
        }
        apply(selection::Tensors::all(&ours, &theirs).expect("as many"), &spans, &source, &mut destination);
        prop_assert_eq!(destination, wanted);
        // Runs that rise on both sides are one span.
        let runs = (1..pairs.len()).filter(|place| {
            pairs[*place].0 != pairs[*place - 1].0 + 1 || pairs[*place].1 != pairs[*place - 1].1 + 1
        });
        prop_assert_eq!(spans.len(), 1 + runs.count());
    }

    #[test]
    fn rows_land_where_a_naive_copy_puts_them(
        (source_stride, destination_stride) in (1_u64..20, 1_u64..20),
        (source_row, destination_row) in (0_u32..5, 0_u32..5),
        (offset, size) in (0_u64..20, -2_i64..22),
        kind in prop_oneof![Just(CacheKind::Mixed), Just(CacheKind::Batches), Just(CacheKind::Blocks)],
    ) {
        let ours = shape(1, 4, source_stride, 2, CacheKind::Batches);
        let theirs = shape(1, 4, destination_stride, 0, kind);
        let (source, before) = (bytes(&ours, 1), bytes(&theirs, 99));
        let rows = if kind == CacheKind::Blocks { 1 } else { 4 };
        for offset in [0, offset] {
            let whole = source_stride.saturating_sub(offset);
            let length = if size == -1 { whole } else { u64::try_from(size).unwrap_or(0) };
            let allowed = length > 0 && source_row < 4 && destination_row < rows
                && offset + length <= source_stride && offset + length <= destination_stride;
            let found = match offset {
                0 => row((&ours, source_row), (&theirs, destination_row), size),
                _ => part_of_row((&ours, source_row), (&theirs, destination_row), offset, size),
            };
            prop_assert_eq!(found.is_ok(), allowed, "{:?}", found);
            let Ok(span) = found else { continue };
            let (mut destination, mut wanted) = (before.clone(), before.clone());
            for byte in offset..offset + length {
                let from = u64::from(source_row) * source_stride + byte;
                let to = u64::from(destination_row) * destination_stride + byte;
                wanted[0][to as usize] = source[0][from as usize];
            }
            apply(selection::Tensors::all(&ours, &theirs).expect("one each"), &[span], &source, &mut destination);
            prop_assert_eq!(destination, wanted);
        }
    }

    #[test]
    fn a_contiguous_source_fills_block_after_block(
        (stride, rows, tail, start_row) in (1_u64..9, 1_u64..5, 0_u64..3, 0_u32..5),
        block_bytes in 1_u64..12,
        to in prop::collection::vec(0_u64..9, 0..9),
    ) {
        let ours = shape(1, rows, stride, tail, CacheKind::Batches);
        let theirs = shape(1, 8, block_bytes, 0, CacheKind::Blocks);
        let found = contiguous_to_blocks((&ours, start_row), &theirs, &to);
        let source = bytes(&ours, 1);
        let available: Vec<u8> = source[0].iter().copied().skip((u64::from(start_row) * stride) as usize).collect();
        let chunks: Vec<&[u8]> = available.chunks(block_bytes as usize).collect();
        let twice = (1..to.len()).any(|place| to[..place].contains(&to[place]));
        let allowed = u64::from(start_row) < rows && !to.is_empty() && !twice
            && to.iter().all(|block| *block < 8) && to.len() <= chunks.len();
        prop_assert_eq!(found.is_ok(), allowed, "{:?}", found);
        let Ok(spans) = found else { return Ok(()) };
        let mut destination = bytes(&theirs, 99);
        let mut wanted = destination.clone();
        for (block, chunk) in to.iter().zip(chunks) {
            let place = (block * block_bytes) as usize;
            wanted[0][place..place + chunk.len()].copy_from_slice(chunk);
        }
        apply(selection::Tensors::all(&ours, &theirs).expect("one each"), &spans, &source, &mut destination);
        prop_assert_eq!(destination, wanted);
    }

    #[test]
    fn shapes_come_to_what_a_wide_product_gives(
        dimensions in prop::collection::vec(prop_oneof![-1_i64..9, Just(i64::MAX), 1_i64 << 40..1 << 45], 0..6),
        data_type in prop::sample::select(DataType::ALL),
        tensors in 0_u32..3,
    ) {
        let desc = CacheDesc::new(CachePlacement::Host, tensors, data_type, &dimensions);
        let product = dimensions.iter().try_fold(1_i128, |product, dimension| product.checked_mul((*dimension).into()));
        let bits = data_type.bits().map(i128::from);
        let bytes = product.zip(bits).and_then(|(product, bits)| product.checked_mul(bits)).map(|bits| (bits + 7) / 8);
        let fits = bytes.is_some_and(|bytes| bytes <= i64::MAX.into()) && product.is_some_and(|count| count <= i64::MAX.into());
        let positive = !dimensions.is_empty() && dimensions.iter().all(|dimension| *dimension > 0);
        let rows = || bytes.unwrap_or(0) >= dimensions[0].into();
        let found = CacheShape::of(&desc);
        prop_assert_eq!(found.is_ok(), tensors > 0 && positive && fits && rows(), "{:?}", found);
        if let Ok(found) = found {
            prop_assert_eq!(i128::from(found.tensor_bytes), bytes.expect("it fits"));
            prop_assert_eq!(found.stride, found.tensor_bytes / dimensions[0] as u64);
            prop_assert!(found.is_consistent());
        }
    }

    /// Against a list of every unit.
    #[test]
    fn a_free_list_gives_out_nothing_twice(steps in prop::collection::vec((any::<bool>(), 1_u64..20, 0_usize..20), 0..60)) {
        let mut list = FreeList::new(100);
        let mut taken: Vec<(u64, u64)> = Vec::new();
        let mut used = [false; 100];
        for (take, bytes, which) in steps {
            if take {
                let fits = used.windows(bytes as usize).any(|window| window.iter().all(|used| !used));
                let start = list.take(bytes);
                prop_assert_eq!(start.is_some(), fits);
                let Some(start) = start else { continue };
                let range = start as usize..(start + bytes) as usize;
                prop_assert!(used[range.clone()].iter().all(|used| !used));
                used[range].fill(true);
                taken.push((start, bytes));
            } else if !taken.is_empty() {
                let (start, bytes) = taken.swap_remove(which % taken.len());
                used[start as usize..(start + bytes) as usize].fill(false);
                list.put(start, bytes);
            }
            prop_assert_eq!(list.is_whole(), taken.is_empty());
        }
    }
}

#[test]
fn overlapping_and_touching_tensors_are_one_range() {
    let runs = |addresses: &[u64]| memory::runs(addresses, 10);
    assert_eq!(runs(&[100]), [(100, 10)]);
    assert_eq!(runs(&[110, 100, 120]), [(100, 30)]);
    assert_eq!(runs(&[100, 100, 105]), [(100, 15)]);
    assert_eq!(runs(&[111, 100]), [(100, 10), (111, 10)]);
}
