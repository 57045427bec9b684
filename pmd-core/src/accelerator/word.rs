//! What the words behind flags hold, where streams compare cyclically.
//!
//! Called by the accelerators' crates: `CU_STREAM_WAIT_VALUE_GEQ`, `hipStreamWaitValueGte` and `ACL_VALUE_WAIT_GEQ` take a
//! word for large enough while it is less than 2^63 ahead of the value.

/// The largest word that is ahead of all values that are waited for: it stands for all values from here on.
const LARGEST: u64 = u64::MAX >> 1;

/// The word for a value, so that the largest values, which stand for failure, let everybody go.
#[must_use]
pub const fn word_of_value(value: u64) -> u64 {
    if value < LARGEST { value } else { LARGEST }
}

/// The value that a word stands for: the largest one for the largest word.
#[must_use]
pub const fn value_of_word(word: u64) -> u64 {
    if word < LARGEST { word } else { u64::MAX }
}
