//! Why bytes are not a message of this crate.

use thiserror::Error;

/// Why bytes are not a message of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// Another version.
    #[error("wire version {theirs}, this side speaks {ours}: run the same release on both sides")]
    Version {
        /// The peer's version.
        theirs: u8,
        /// This side's.
        ours: u8,
    },
    /// Shorter than it says.
    #[error("{length} bytes end within the message")]
    Truncated {
        /// Bytes there are.
        length: usize,
    },
    /// Longer than it says.
    #[error("{excess} bytes follow the end of the message")]
    Trailing {
        /// Bytes too many.
        excess: usize,
    },
    /// A field holds what it cannot hold.
    #[error("{field} cannot be {value}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}
