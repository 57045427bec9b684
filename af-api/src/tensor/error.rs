//! Why a tensor or a memory cannot be.

use pmd_host::{endpoint::RegisterError, registration::CacheError, soft::AllocateError};
use thiserror::Error;

use super::{LARGEST_TENSOR, MOST_DIMENSIONS};

/// Why a tensor cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// It does not end within its memory.
    #[error("{bytes} bytes at offset {offset} do not fit into {room} bytes")]
    OutOfBounds {
        /// Where it was to start.
        offset: u64,
        /// Bytes that it needs.
        bytes: u64,
        /// Bytes that there are.
        room: u64,
    },
    /// Rows that it does not have.
    #[error("rows {first} and {count} on: the tensor has {rows}")]
    Rows {
        /// First row asked for.
        first: u64,
        /// How many.
        count: u64,
        /// How many there are.
        rows: u64,
    },
    /// Too many dimensions.
    #[error("{given} dimensions, at most {MOST_DIMENSIONS} can be")]
    Dimensions {
        /// Dimensions given.
        given: usize,
    },
    /// More bytes than a tensor can have.
    #[error("a tensor has at most {LARGEST_TENSOR} bytes: push it in several pieces")]
    TooLarge,
}

/// Why memory was not allocated or registered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// There is none.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// It was not registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// It was not registered through the cache.
    #[error(transparent)]
    Cache(#[from] CacheError<RegisterError>),
}
