//! What is wrong with a call before anything is done. Each library gives it a status of its own.

use std::{error::Error, fmt::Write as _};

use thiserror::Error;

/// A call that cannot be: of its pointers, texts, arrays and handles. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadCall {
    /// A pointer that must not be NULL is.
    #[error("{what} is NULL")]
    Null {
        /// What it should point to.
        what: &'static str,
    },
    /// A handle of nothing.
    #[error("the {what} was released or never was")]
    Handle {
        /// What kind of object.
        what: &'static str,
    },
    /// Text in another encoding.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// Which text.
        what: &'static str,
    },
    /// An array that is too long for memory, or begins where none of its kind can.
    #[error("{what}: {count} elements at {address:#x} cannot be")]
    Array {
        /// Which array.
        what: &'static str,
        /// How long it is said to be.
        count: usize,
        /// Where it is said to begin.
        address: usize,
    },
    /// A setting that there is not.
    #[error("{what} is {given:?}: give {allowed}")]
    Setting {
        /// Which setting.
        what: &'static str,
        /// What was given.
        given: String,
        /// What there is.
        allowed: String,
    },
    /// The caller's memory is too small.
    #[error("{needed} bytes are needed, there is room for {capacity}")]
    NoRoom {
        /// Bytes that would have been written.
        needed: usize,
        /// Bytes that there is room for.
        capacity: usize,
    },
}

/// An error and what lies beneath it, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}"); // writing to a string does not fail
        source = error.source();
    }
    text
}
