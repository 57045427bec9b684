//! Type and shape of a tensor.

use std::fmt;

use super::{DataType, TensorError};

/// Most dimensions of a tensor.
pub const MOST_DIMENSIONS: usize = 8;

/// Most bytes of a tensor: lengths travel in 32 bits.
pub const LARGEST_TENSOR: u32 = u32::MAX;

/// Type and shape of a tensor whose elements lie in row-major order without gaps.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    data_type: DataType,
    dimensions: u8,
    /// Zero beyond `dimensions`, so that equal layouts compare equal.
    shape: [u64; MOST_DIMENSIONS],
    bytes: u32,
}

impl Layout {
    /// A layout; no dimensions make a scalar, a dimension of zero an empty tensor.
    ///
    /// # Errors
    /// [`TensorError::Dimensions`] for more than [`MOST_DIMENSIONS`], [`TensorError::TooLarge`] for more than
    /// [`LARGEST_TENSOR`] bytes.
    pub fn new(data_type: DataType, shape: &[u64]) -> Result<Self, TensorError> {
        let dimensions = shape.len();
        if dimensions > MOST_DIMENSIONS {
            return Err(TensorError::Dimensions { given: dimensions });
        }
        let bytes = bytes_of(data_type, shape).ok_or(TensorError::TooLarge)?;
        let mut padded = [0; MOST_DIMENSIONS];
        padded[..dimensions].copy_from_slice(shape);
        Ok(Self { data_type, dimensions: dimensions as u8, shape: padded, bytes })
    }

    /// A row of bytes.
    #[must_use]
    pub const fn of_bytes(bytes: u32) -> Self {
        let mut shape = [0; MOST_DIMENSIONS];
        shape[0] = bytes as u64;
        Self { data_type: DataType::Uint8, dimensions: 1, shape, bytes }
    }

    /// Type of the elements.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Elements in each dimension, the slowest first.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        &self.shape[..usize::from(self.dimensions)]
    }

    /// Bytes of the whole tensor.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Entries of the first dimension; a scalar has one.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.shape().first().copied().unwrap_or(1)
    }

    /// Bytes of one entry of the first dimension.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        let inner = self.shape().get(1..).unwrap_or_default();
        // Where rows are none the product may be more than any tensor; no row is ever addressed then.
        bytes_of(self.data_type, inner).map_or(0, u64::from)
    }

    /// The same with another number of rows.
    ///
    /// # Errors
    /// [`TensorError::TooLarge`]; [`TensorError::Rows`] for a scalar, which has one row for ever.
    pub fn with_rows(&self, rows: u64) -> Result<Self, TensorError> {
        if self.dimensions == 0 {
            return if rows == 1 {
                Ok(*self)
            } else {
                Err(TensorError::Rows { first: 0, count: rows, rows: 1 })
            };
        }
        let mut shape = self.shape;
        shape[0] = rows;
        Self::new(self.data_type, &shape[..usize::from(self.dimensions)])
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}{:?}", self.data_type, self.shape())
    }
}

fn bytes_of(data_type: DataType, shape: &[u64]) -> Option<u32> {
    if shape.contains(&0) {
        return Some(0);
    }
    let elements =
        shape.iter().try_fold(u64::from(data_type.bytes()), |product, &of| product.checked_mul(of))?;
    u32::try_from(elements).ok()
}
