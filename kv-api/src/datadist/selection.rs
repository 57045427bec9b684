//! What a pull, push or copy moves: which tensors of both sides, and which bytes of each tensor. Pure arithmetic, so that
//! it can be compared with a naive copy.

use super::{ArgumentError, CacheKind, KvCacheExtParam, argument::Side, shape::CacheShape};

/// Tensor `source + i` goes to tensor `destination + i`, for each `i` below `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tensors {
    pub(super) source: usize,
    pub(super) destination: usize,
    pub(super) count: usize,
}

/// Bytes of each tensor that move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Offset in the tensor of the source.
    pub(super) source: u64,
    /// Offset in the tensor of the destination.
    pub(super) destination: u64,
    /// Bytes.
    pub(super) length: u64,
}

impl Tensors {
    /// The tensors that the layers of both sides come to.
    pub(super) fn select(
        source: &CacheShape,
        destination: &CacheShape,
        layers: &KvCacheExtParam,
    ) -> Result<Self, ArgumentError> {
        let per_layer = layers.tensor_num_per_layer;
        let (from, from_count) = range(layers.src_layer_range, per_layer, source, Side::Source)?;
        let (to, to_count) = range(layers.dst_layer_range, per_layer, destination, Side::Destination)?;
        if from_count != to_count {
            let (source_tensors, destination_tensors) = (from_count, to_count);
            return Err(ArgumentError::TensorCount { source_tensors, destination_tensors });
        }
        Ok(Self { source: from as usize, destination: to as usize, count: from_count as usize })
    }

    /// All tensors of two caches that have as many.
    pub(super) fn all(source: &CacheShape, destination: &CacheShape) -> Result<Self, ArgumentError> {
        Self::select(
            source,
            destination,
            &KvCacheExtParam { tensor_num_per_layer: 1, ..KvCacheExtParam::default() },
        )
    }
}

/// First tensor and number of tensors of a range of layers.
pub(super) fn range(
    (first, last): (i32, i32),
    per_layer: u32,
    shape: &CacheShape,
    side: Side,
) -> Result<(u64, u64), ArgumentError> {
    let (tensors, per_layer) = (shape.tensors, u64::from(per_layer));
    if per_layer == 0 {
        return Err(ArgumentError::EmptyLayer);
    }
    if (first, last) == (-1, -1) {
        return Ok((0, tensors));
    }
    let wrong = ArgumentError::Layers { side, first, last };
    let (Ok(start), Ok(end)) = (u64::try_from(first), u64::try_from(last)) else { return Err(wrong) };
    if start > end {
        return Err(wrong);
    }
    if tensors % per_layer != 0 {
        return Err(ArgumentError::UnevenLayers { side, tensors, per_layer });
    }
    if (end + 1) * per_layer > tensors {
        return Err(ArgumentError::LayersBeyond { side, last: end, layers: tensors / per_layer });
    }
    Ok((start * per_layer, (end + 1 - start) * per_layer))
}

/// A row goes to a row: `size` bytes, or as many as a row of the source has for -1.
pub(super) fn row(
    (source, source_row): (&CacheShape, u32),
    (destination, destination_row): (&CacheShape, u32),
    size: i64,
) -> Result<Span, ArgumentError> {
    let from = source.batch_offset(source_row, Side::Source)?;
    let to = destination.batch_offset(destination_row, Side::Destination)?;
    let length = match u64::try_from(size) {
        Ok(size) if size > 0 => size,
        Err(_) if size == -1 => source.stride,
        _ => return Err(ArgumentError::Size { size }),
    };
    for (shape, side) in [(source, Side::Source), (destination, Side::Destination)] {
        within_row(shape, side, 0, length)?;
    }
    Ok(Span { source: from, destination: to, length })
}

/// What [`row`] asks of one side alone.
pub(super) fn check_row(shape: &CacheShape, index: u32, size: i64, side: Side) -> Result<(), ArgumentError> {
    shape.batch_offset(index, side)?;
    match u64::try_from(size) {
        Ok(size) if size > 0 => within_row(shape, side, 0, size),
        Err(_) if size == -1 => Ok(()),
        _ => Err(ArgumentError::Size { size }),
    }
}

/// As [`row`], from byte `offset` of both rows on; -1 is the rest of the source's row.
pub(super) fn part_of_row(
    (source, source_row): (&CacheShape, u32),
    (destination, destination_row): (&CacheShape, u32),
    offset: u64,
    size: i64,
) -> Result<Span, ArgumentError> {
    let rest = source.stride.saturating_sub(offset);
    let length = match u64::try_from(size) {
        Ok(size) if size > 0 => size,
        Err(_) if size == -1 => rest.max(1),
        _ => return Err(ArgumentError::Size { size }),
    };
    for (shape, side) in [(source, Side::Source), (destination, Side::Destination)] {
        within_row(shape, side, offset, length)?;
    }
    let from = source.batch_offset(source_row, Side::Source)? + offset;
    let to = destination.batch_offset(destination_row, Side::Destination)? + offset;
    Ok(Span { source: from, destination: to, length })
}

fn within_row(shape: &CacheShape, side: Side, offset: u64, size: u64) -> Result<(), ArgumentError> {
    let stride = shape.stride;
    match offset.checked_add(size) {
        Some(end) if end <= stride => Ok(()),
        _ => Err(ArgumentError::BeyondRow { side, offset, size, stride }),
    }
}

/// Block `source_blocks[i]` goes to block `destination_blocks[i]`. Runs in which both lists rise by one are one span.
pub(super) fn blocks(
    source: &CacheShape,
    source_blocks: &[u64],
    destination: &CacheShape,
    destination_blocks: &[u64],
) -> Result<Vec<Span>, ArgumentError> {
    if source_blocks.len() != destination_blocks.len() {
        let (source_blocks, destination_blocks) = (source_blocks.len(), destination_blocks.len());
        return Err(ArgumentError::BlockCount { source_blocks, destination_blocks });
    }
    source.check_blocks(source_blocks, Side::Source)?;
    check_destination(destination, destination_blocks)?;
    if source.stride != destination.stride {
        let (source_bytes, destination_bytes) = (source.stride, destination.stride);
        return Err(ArgumentError::BlockSize { source_bytes, destination_bytes });
    }
    let stride = source.stride;
    let mut spans: Vec<Span> = Vec::new();
    for (from, to) in source_blocks.iter().zip(destination_blocks) {
        let (from, to) = (from * stride, to * stride);
        match spans.last_mut() {
            Some(last) if last.source + last.length == from && last.destination + last.length == to => {
                last.length += stride;
            }
            _ => spans.push(Span { source: from, destination: to, length: stride }),
        }
    }
    Ok(spans)
}

/// Contiguous bytes of the source, from a row on, fill one block of the destination after the other. The last block may
/// be filled in part.
pub(super) fn contiguous_to_blocks(
    (source, source_row): (&CacheShape, u32),
    destination: &CacheShape,
    destination_blocks: &[u64],
) -> Result<Vec<Span>, ArgumentError> {
    check_destination(destination, destination_blocks)?;
    let start = source.batch_offset(source_row, Side::Source)?;
    cut(start, source.tensor_bytes, destination.stride, destination_blocks)
}

/// Cuts what a tensor has from `start` on into blocks.
pub(super) fn cut(
    start: u64,
    tensor_bytes: u64,
    block_bytes: u64,
    destination_blocks: &[u64],
) -> Result<Vec<Span>, ArgumentError> {
    let available = tensor_bytes - start;
    let given = destination_blocks.len();
    if available.div_ceil(block_bytes) < given as u64 {
        return Err(ArgumentError::SourceTooShort { given, available, block_bytes });
    }
    let mut spans: Vec<Span> = Vec::new();
    for (index, block) in destination_blocks.iter().enumerate() {
        let offset = index as u64 * block_bytes;
        let (from, to, length) =
            (start + offset, block.saturating_mul(block_bytes), block_bytes.min(available - offset));
        match spans.last_mut() {
            Some(last) if last.destination + last.length == to => last.length += length,
            _ => spans.push(Span { source: from, destination: to, length }),
        }
    }
    Ok(spans)
}

/// Blocks that are written: some, all there, none twice.
pub(super) fn check_destination(shape: &CacheShape, blocks: &[u64]) -> Result<(), ArgumentError> {
    if blocks.is_empty() {
        return Err(ArgumentError::NoBlocks { side: Side::Destination });
    }
    shape.check_blocks(blocks, Side::Destination)?;
    none_twice(blocks)
}

/// No block is named twice.
pub(super) fn none_twice(blocks: &[u64]) -> Result<(), ArgumentError> {
    // A list that rises has none twice, and most lists rise.
    if blocks.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    let mut sorted = blocks.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ArgumentError::BlockTwice { block: pair[0] }),
        None => Ok(()),
    }
}

/// Rows of a cache of blocks are none but for the first: pulls and pushes of rows want a cache of rows.
pub(super) fn check_rows(shape: &CacheShape, side: Side) -> Result<(), ArgumentError> {
    if shape.kind == CacheKind::Blocks { Err(ArgumentError::NotBatches { side }) } else { Ok(()) }
}
