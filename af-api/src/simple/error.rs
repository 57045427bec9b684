//! Why key-values are not pushed or pulled.

use std::sync::Arc;

use thiserror::Error;

use super::{FrontError, TrackError};
use crate::{
    server::RespondError,
    tensor::{CopyError, MemoryError, TensorError},
    worker::{Failure, PushPullError},
};

/// Why a push or a pull of key-values failed, or was not taken.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum KvError {
    /// Keys must increase.
    #[error("key {second} follows key {first}: give each key once, in increasing order")]
    Unsorted {
        /// A key.
        first: u64,
        /// The one behind it.
        second: u64,
    },
    /// Not a length for each key.
    #[error("{lengths} lengths for {keys} keys")]
    Lengths {
        /// Keys given.
        keys: usize,
        /// Lengths given.
        lengths: usize,
    },
    /// Not the number of values that the lengths, or the keys, ask for.
    #[error("{values} values where {wanted} belong to the keys")]
    Values {
        /// Values given.
        values: usize,
        /// Values that there must be.
        wanted: usize,
    },
    /// A tensor that is not a whole number of values.
    #[error("a tensor of {bytes} bytes is not made of values of {value} bytes")]
    Bytes {
        /// Bytes of the tensor.
        bytes: usize,
        /// Bytes of a value.
        value: usize,
    },
    /// There is nobody to push to.
    #[error("key-values need at least one server")]
    NoServers,
    /// The thread that calls back did not start.
    #[error("cannot start the thread of the key-values: {kind}")]
    Thread {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// No memory for a copy.
    #[error("no memory for a copy: {0}")]
    Memory(Arc<MemoryError>),
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// What was pushed into an accelerator's memory was not brought to the host.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// It could not be sent.
    #[error(transparent)]
    Post(#[from] PushPullError),
    /// It was sent and failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The server has another number of values for a key than the tensor has room for; the tensor holds what it has.
    #[error("key {key} has {values} values at its server, not {wanted}")]
    Answered {
        /// The key.
        key: u64,
        /// Values that came.
        values: u32,
        /// Values asked for.
        wanted: u32,
    },
    /// The answer did not go.
    #[error(transparent)]
    Respond(Arc<RespondError>),
    /// The other side's message is not one.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// No result yet, or not any more.
    #[error(transparent)]
    Track(#[from] TrackError),
}

impl From<MemoryError> for KvError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(Arc::new(error))
    }
}

impl From<RespondError> for KvError {
    fn from(error: RespondError) -> Self {
        Self::Respond(Arc::new(error))
    }
}
