//! The front of a key-value request, pushed as a tensor of bytes before the values: what is wanted of which keys.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | version, 1 |
//! | 1 | bit 0: pushes, bit 1: pulls, bit 2: lengths follow |
//! | 2 | bytes of a value |
//! | 3 | 0 |
//! | 4..8 | command, i32 |
//! | 8..12 | n, the number of keys, u32 |
//! | 12..16 | 0 |
//! | 16.. | n keys, u64; then, where bit 2 says so, n lengths in values, u32 |
//!
//! All numbers are little-endian.

use thiserror::Error;

const VERSION: u8 = 1;
const FIXED: usize = 16;
const PUSH: u8 = 1;
const PULL: u8 = 2;
const LENGTHS: u8 = 4;

/// What is wanted of which keys.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Front {
    pub(super) push: bool,
    pub(super) pull: bool,
    pub(super) value_bytes: u8,
    pub(super) command: i32,
    pub(super) keys: Vec<u64>,
    pub(super) lengths: Option<Vec<u32>>,
}

/// Why bytes are not the front of a key-value request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrontError {
    /// Another version.
    #[error("a key-value request of version {found} came, not {VERSION}: let all nodes run the same release")]
    Version {
        /// The version that came.
        found: u8,
    },
    /// Values of another size than the server's.
    #[error("a key-value request with values of {found} bytes came to a server of values of {wanted}")]
    Values {
        /// Bytes of the worker's values.
        found: u8,
        /// Bytes of the server's.
        wanted: u8,
    },
    /// Not as many bytes as it has keys and lengths for.
    #[error("a key-value request of {bytes} bytes has keys and lengths for {wanted}")]
    Length {
        /// Bytes that came.
        bytes: usize,
        /// Bytes that its own numbers ask for; at least those of the fixed part.
        wanted: u64,
    },
}

impl Front {
    pub(super) fn emit(&self) -> Vec<u8> {
        let lengths = self.lengths.as_deref();
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.push, PUSH) | bit(self.pull, PULL) | bit(lengths.is_some(), LENGTHS);
        let mut bytes = Vec::with_capacity(FIXED + 12 * self.keys.len());
        bytes.extend([VERSION, flags, self.value_bytes, 0]);
        bytes.extend(self.command.to_le_bytes());
        bytes.extend((self.keys.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        self.keys.iter().for_each(|key| bytes.extend(key.to_le_bytes()));
        lengths.unwrap_or_default().iter().for_each(|length| bytes.extend(length.to_le_bytes()));
        bytes
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FrontError> {
        let short = FrontError::Length { bytes: bytes.len(), wanted: FIXED as u64 };
        let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(short)?;
        let [version, flags, value_bytes, _, c0, c1, c2, c3, n0, n1, n2, n3, ..] = *fixed;
        if version != VERSION {
            return Err(FrontError::Version { found: version });
        }
        let count = u64::from(u32::from_le_bytes([n0, n1, n2, n3]));
        let with_lengths = flags & LENGTHS != 0;
        let wanted = FIXED as u64 + count * if with_lengths { 12 } else { 8 };
        if wanted != bytes.len() as u64 {
            return Err(FrontError::Length { bytes: bytes.len(), wanted });
        }
        let (keys, lengths) = rest.split_at(8 * count as usize);
        Ok(Self {
            push: flags & PUSH != 0,
            pull: flags & PULL != 0,
            value_bytes,
            command: i32::from_le_bytes([c0, c1, c2, c3]),
            keys: super::value::parse_values(keys),
            lengths: with_lengths.then(|| super::value::parse_values(lengths)),
        })
    }
}
