//! The arithmetic of one cache: bytes of a tensor, of a row, of a block.

use serde::{Deserialize, Serialize};

use super::{ArgumentError, CacheDesc, CacheKind, argument::Side};

/// What a cache's description comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CacheShape {
    /// Number of tensors.
    pub(super) tensors: u64,
    /// Bytes of one.
    pub(super) tensor_bytes: u64,
    /// Rows or blocks of one: its first dimension.
    pub(super) rows: u64,
    /// Bytes of a row or block.
    pub(super) stride: u64,
    /// Whether they are rows, blocks or both.
    pub(super) kind: CacheKind,
}

impl CacheShape {
    pub(super) fn of(desc: &CacheDesc) -> Result<Self, ArgumentError> {
        let CacheDesc { num_tensors, data_type, shape, kind, .. } = desc;
        if *num_tensors == 0 {
            return Err(ArgumentError::NoTensors);
        }
        if shape.is_empty() || shape.len() > CacheDesc::MOST_DIMENSIONS {
            return Err(ArgumentError::Dimensions { given: shape.len() });
        }
        if let Some((index, value)) = shape.iter().enumerate().find(|(_, value)| **value <= 0) {
            return Err(ArgumentError::Dimension { index, value: *value });
        }
        let element = data_type.bits().ok_or(ArgumentError::DataType { data_type: *data_type })?;
        let tensor_bytes = tensor_bytes(shape, element).ok_or(ArgumentError::TooLarge)?;
        let rows = shape[0].unsigned_abs();
        let stride = tensor_bytes / rows;
        if stride == 0 {
            return Err(ArgumentError::EmptyRows { bytes: tensor_bytes, rows });
        }
        Ok(Self { tensors: u64::from(*num_tensors), tensor_bytes, rows, stride, kind: *kind })
    }

    /// Whether the numbers fit each other, as those that a peer sends may not.
    pub(super) fn is_consistent(&self) -> bool {
        let rows = self.rows.checked_mul(self.stride);
        self.stride > 0 && rows.is_some_and(|bytes| bytes <= self.tensor_bytes)
    }

    /// Rows of the batch: a cache of blocks has one, at its start.
    pub(super) fn batches(&self) -> u64 {
        if self.kind == CacheKind::Blocks { 1 } else { self.rows }
    }

    /// Where a row begins.
    pub(super) fn batch_offset(&self, index: u32, side: Side) -> Result<u64, ArgumentError> {
        let (index, rows) = (u64::from(index), self.batches());
        if index >= rows {
            return Err(ArgumentError::BatchIndex { side, index, rows });
        }
        Ok(index * self.stride)
    }

    /// Checks that a block has as many bytes as the caller says.
    pub(super) fn check_block_bytes(&self, block_bytes: u64) -> Result<(), ArgumentError> {
        if block_bytes == self.stride {
            return Ok(());
        }
        Err(ArgumentError::BlockMemorySize { block_bytes, tensor_bytes: self.tensor_bytes })
    }

    /// Checks that all of `blocks` are there.
    pub(super) fn check_blocks(&self, blocks: &[u64], side: Side) -> Result<(), ArgumentError> {
        if self.kind == CacheKind::Batches {
            return Err(ArgumentError::NotBlocks { side });
        }
        match blocks.iter().find(|block| **block >= self.rows) {
            Some(block) => Err(ArgumentError::Block { side, block: *block, blocks: self.rows }),
            None => Ok(()),
        }
    }
}

/// Bytes of a tensor, rounded up; fits an i64.
fn tensor_bytes(shape: &[i64], element_bits: u64) -> Option<u64> {
    let elements = shape.iter().try_fold(1_i64, |elements, dimension| elements.checked_mul(*dimension))?;
    let bits = u128::from(elements.unsigned_abs()) * u128::from(element_bits);
    u64::try_from(bits.div_ceil(8)).ok().filter(|bytes| i64::try_from(*bytes).is_ok())
}
