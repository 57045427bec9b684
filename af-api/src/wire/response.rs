//! What a response says beside its data.
//!
//! Its immediate names the request. Where every pulled tensor was written in full there is nothing else. Otherwise:
//! ```text
//!  byte   0 version   1 kind   2 count or code u16
//!         lengths: count x u32                 each pulled tensor was written so far
//!         inline:  count x u32, then the data  the data of each is here, in their order
//!         refusal: value u64, limit u64        there is no data
//! ```

use super::{Reader, VERSION, WireError};

const LENGTHS: u8 = 0;
const DATA_INSIDE: u8 = 1;
const REFUSAL: u8 = 2;

/// The request that a response answers: in the immediate of its last work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Immediate {
    /// The worker's slot.
    pub slot: u16,
    /// Life of the slot.
    pub generation: u16,
}

impl Immediate {
    /// As it travels.
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        (self.generation as u32) << 16 | self.slot as u32
    }

    /// As it came.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self { slot: bits as u16, generation: (bits >> 16) as u16 }
    }
}

/// Why the server gave no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The application answered with this code.
    Application {
        /// The application's code.
        code: u64,
    },
    /// The application let the request go without an answer.
    Abandoned,
    /// The application's answer had another size than the tensor it was for.
    Size {
        /// Bytes of the answer.
        given: u64,
        /// Bytes of the worker's tensor.
        wanted: u64,
    },
    /// The application answered with more or fewer tensors.
    Count {
        /// Tensors of the answer.
        given: u64,
        /// Tensors that were pulled.
        wanted: u64,
    },
    /// The request names a slot, a layout or a size that was not agreed on.
    Malformed,
    /// The server has a code for it that this release does not know.
    Unknown {
        /// The code.
        code: u16,
    },
}

/// A parsed response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseView<'a> {
    /// Every tensor was written in full.
    Complete,
    /// Each tensor was written up to here.
    Lengths(Vec<u32>),
    /// The data of each tensor.
    Inline {
        /// Bytes of each.
        lengths: Vec<u32>,
        /// All of it.
        data: &'a [u8],
    },
    /// There is no data.
    Refused(Refusal),
}

impl<'a> ResponseView<'a> {
    /// Reads what came with a response's immediate.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        if message.is_empty() {
            return Ok(Self::Complete);
        }
        let truncated = WireError::Truncated { length: message.len() };
        let mut reader = Reader(message);
        let version = reader.u8().ok_or(truncated)?;
        if version != VERSION {
            return Err(WireError::Version { theirs: version, ours: VERSION });
        }
        let (kind, count) = (reader.u8().ok_or(truncated)?, reader.u16().ok_or(truncated)?);
        let view = match kind {
            LENGTHS => Self::Lengths(read_lengths(&mut reader, count).ok_or(truncated)?),
            DATA_INSIDE => {
                let lengths = read_lengths(&mut reader, count).ok_or(truncated)?;
                let bytes = lengths.iter().map(|length| u64::from(*length)).sum::<u64>();
                let bytes = usize::try_from(bytes).map_err(|_| truncated)?;
                Self::Inline { lengths, data: reader.bytes(bytes).ok_or(truncated)? }
            }
            REFUSAL => {
                let (given, wanted) = (reader.u64().ok_or(truncated)?, reader.u64().ok_or(truncated)?);
                Self::Refused(Refusal::of(count, given, wanted))
            }
            kind => return Err(WireError::Field { field: "kind of response", value: u64::from(kind) }),
        };
        match reader.0.len() {
            0 => Ok(view),
            excess => Err(WireError::Trailing { excess }),
        }
    }
}

fn read_lengths(reader: &mut Reader<'_>, count: u16) -> Option<Vec<u32>> {
    let mut lengths = Reader(reader.bytes(4 * usize::from(count))?);
    Some(std::iter::from_fn(|| lengths.u32()).collect())
}

/// A response whose tensors were written up to these lengths. At most 65,535 of them.
pub fn emit_lengths(lengths: &[u32], into: &mut Vec<u8>) {
    emit_front(LENGTHS, lengths.len() as u16, into);
    lengths.iter().for_each(|length| into.extend_from_slice(&length.to_le_bytes()));
}

/// The front of a response whose data follows, of these lengths. At most 65,535 of them.
pub fn emit_inline(lengths: &[u32], into: &mut Vec<u8>) {
    emit_front(DATA_INSIDE, lengths.len() as u16, into);
    lengths.iter().for_each(|length| into.extend_from_slice(&length.to_le_bytes()));
}

/// A response without data.
pub fn emit_refusal(refusal: Refusal, into: &mut Vec<u8>) {
    let (code, given, wanted) = refusal.code();
    emit_front(REFUSAL, code, into);
    into.extend_from_slice(&given.to_le_bytes());
    into.extend_from_slice(&wanted.to_le_bytes());
}

fn emit_front(kind: u8, count: u16, into: &mut Vec<u8>) {
    into.extend_from_slice(&[VERSION, kind]);
    into.extend_from_slice(&count.to_le_bytes());
}

impl Refusal {
    const fn code(self) -> (u16, u64, u64) {
        match self {
            Self::Application { code } => (0, code, 0),
            Self::Abandoned => (1, 0, 0),
            Self::Size { given, wanted } => (2, given, wanted),
            Self::Count { given, wanted } => (3, given, wanted),
            Self::Malformed => (4, 0, 0),
            Self::Unknown { code } => (code, 0, 0),
        }
    }

    const fn of(code: u16, given: u64, wanted: u64) -> Self {
        match code {
            0 => Self::Application { code: given },
            1 => Self::Abandoned,
            2 => Self::Size { given, wanted },
            3 => Self::Count { given, wanted },
            4 => Self::Malformed,
            code => Self::Unknown { code },
        }
    }
}
