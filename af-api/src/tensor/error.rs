//! Why a tensor or a memory cannot be.

use pmd_core::accelerator::AcceleratorError;
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
    /// The accelerator gave none, or the memory is not its own.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    /// It was not registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// It was not registered through the cache.
    #[error(transparent)]
    Cache(#[from] CacheError<RegisterError>),
}

/// Why there is no memory of the host in which pulls into memory of an accelerator could land.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LandingError {
    /// The accelerator gave none, or no stream to copy from it.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    /// The NIC did not take it.
    #[error(
        "the NIC did not register {bytes} bytes of pinned memory: raise the limit of locked memory, ulimit -l"
    )]
    NotRegistered {
        /// Bytes of it.
        bytes: u64,
    },
}

/// Why bytes were not copied between the host and a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The tensor has another size.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The accelerator did not copy them.
    #[error("not copied: {0}")]
    Accelerator(#[from] AcceleratorError),
    /// The memory was registered as a device's, by its description alone.
    #[error("the tensor's memory was registered without its accelerator, whose streams would copy it")]
    NoAccelerator,
    /// They were not copied by the deadline; nothing touches the caller's bytes any more, but a copy into the tensor may
    /// still happen.
    #[error("not copied by the deadline")]
    Timeout,
}
