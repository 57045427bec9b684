//! The header of a request: what is pushed, where, and what is wanted back.
//!
//! ```text
//!  byte   0 version   1 flags   2 slot   4 generation   6 pushes   8 pulls   10 bytes of definitions   12 tag
//!        16 only in a part of a batch: { batch u32, index u16, 0 u16 }
//!           pushes x { key u64, length u32, layout u16, slot u16 }
//!           pulls  x { key u64, address u64, remote key u32, length u32 }
//!           definitions: { layout u16, type u8, dimensions u8, dimensions x u64 }
//!           data of the pushes that travel inside, in their order
//! ```

use bitflags::bitflags;

use super::{Reader, WireError};
use crate::tensor::{DataType, Layout, MOST_DIMENSIONS};

/// Version of everything in this module.
pub const VERSION: u8 = 2;

/// Bytes before the entries.
pub const HEADER_BYTES: usize = 16;

/// Bytes of a [`BatchPart`].
pub const BATCH_BYTES: usize = 8;

/// Bytes of a [`PushEntry`].
pub const PUSH_BYTES: usize = 16;

/// Bytes of a [`PullEntry`].
pub const PULL_BYTES: usize = 24;

/// Bit of a push's slot: its data follows the header instead of having been written.
pub const INLINE: u16 = 0x8000;

/// Slot of a push without a byte: it needs no room.
pub const NO_SLOT: u16 = 0x7fff;

/// Largest slot of a push with bytes.
pub const LARGEST_SLOT: u16 = NO_SLOT - 1;

bitflags! {
    /// What a request is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Flags: u8 {
        /// It goes on what the worker sent before: the middle or the end of a batch.
        const CONTINUES = 1;
        /// More follows: the start or the middle of a batch.
        const MORE = 1 << 1;
        /// Responses may be shorter than the tensors that they are pulled into.
        const UP_TO = 1 << 2;
        /// Responses must be written: the processor does not reach the tensors that they are pulled into.
        const WRITE_ONLY = 1 << 3;
    }
}

/// The fixed part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// What it is.
    pub flags: Flags,
    /// The worker's slot, which the response names.
    pub slot: u16,
    /// Life of that slot.
    pub generation: u16,
    /// The application's.
    pub tag: u32,
    /// Which part of which batch it is: with [`Flags::CONTINUES`] or [`Flags::MORE`], and only then.
    pub batch: Option<BatchPart>,
}

/// Place of a request in a batch. Parts may arrive in any order; the last one is that without [`Flags::MORE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPart {
    /// Number of the batch, of the worker's choice.
    pub batch: u32,
    /// Parts before it.
    pub index: u16,
}

/// One pushed tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushEntry {
    /// Its name.
    pub key: u64,
    /// Its bytes.
    pub length: u32,
    /// Number of its layout.
    pub layout: u16,
    /// Where it is: a slot of the key's receive areas, with [`INLINE`] when the data follows the header, or
    /// [`NO_SLOT`].
    pub slot: u16,
}

/// One tensor that is wanted back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullEntry {
    /// Its name.
    pub key: u64,
    /// Where it goes in the worker.
    pub address: u64,
    /// Key of that memory.
    pub remote_key: u32,
    /// Its bytes.
    pub length: u32,
}

/// What a layout's number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The number.
    pub number: u16,
    /// The layout.
    pub layout: Layout,
}

/// A parsed request. Every length in it is checked; slots, keys and addresses are for the server to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView<'a> {
    /// The fixed part.
    pub header: RequestHeader,
    /// What is pushed.
    pub pushes: Vec<PushEntry>,
    /// What is wanted back.
    pub pulls: Vec<PullEntry>,
    /// Layouts that the server may not know.
    pub definitions: Vec<Definition>,
    /// Data of the pushes that travel inside, one after the other.
    pub data: &'a [u8],
}

impl PushEntry {
    /// Whether the data follows the header.
    #[must_use]
    pub const fn is_inline(&self) -> bool {
        self.slot & INLINE != 0
    }

    /// Its slot in the key's receive areas; `None` for a tensor without a byte.
    #[must_use]
    pub const fn area_slot(&self) -> Option<u16> {
        match self.slot & !INLINE {
            NO_SLOT => None,
            slot => Some(slot),
        }
    }
}

impl Definition {
    /// Bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 + 8 * self.layout.shape().len()
    }

    fn emit(&self, into: &mut Vec<u8>) {
        let shape = self.layout.shape();
        into.extend_from_slice(&self.number.to_le_bytes());
        into.extend_from_slice(&[self.layout.data_type().number(), shape.len() as u8]);
        shape.iter().for_each(|of| into.extend_from_slice(&of.to_le_bytes()));
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Option<Self>, WireError> {
        let (Some(number), Some(data_type), Some(dimensions)) = (reader.u16(), reader.u8(), reader.u8())
        else {
            return Ok(None);
        };
        let bad = |field, value: u8| WireError::Field { field, value: u64::from(value) };
        let data_type = DataType::from_number(data_type).ok_or(bad("type of elements", data_type))?;
        if usize::from(dimensions) > MOST_DIMENSIONS {
            return Err(bad("number of dimensions", dimensions));
        }
        let mut shape = [0; MOST_DIMENSIONS];
        let shape = &mut shape[..usize::from(dimensions)];
        for of in shape.iter_mut() {
            let Some(read) = reader.u64() else { return Ok(None) };
            *of = read;
        }
        let layout = Layout::new(data_type, shape).map_err(|_| bad("product of dimensions", dimensions))?;
        Ok(Some(Self { number, layout }))
    }
}

impl RequestView<'_> {
    /// Bytes before the data of pushes that travel inside.
    #[must_use]
    pub fn metadata_bytes(&self) -> usize {
        let definitions: usize = self.definitions.iter().map(Definition::bytes).sum();
        let batch = if self.header.batch.is_some() { BATCH_BYTES } else { 0 };
        HEADER_BYTES + batch + PUSH_BYTES * self.pushes.len() + PULL_BYTES * self.pulls.len() + definitions
    }

    /// Appends the bytes. What does not fit its field is a mistake of the caller's and gives bytes that do not parse:
    /// more than 65,535 pushes, pulls or bytes of definitions.
    pub fn emit(&self, into: &mut Vec<u8>) {
        let RequestHeader { flags, slot, generation, tag, batch } = self.header;
        let definitions: usize = self.definitions.iter().map(Definition::bytes).sum();
        into.extend_from_slice(&[VERSION, flags.bits()]);
        for field in [slot, generation, self.pushes.len() as u16, self.pulls.len() as u16, definitions as u16]
        {
            into.extend_from_slice(&field.to_le_bytes());
        }
        into.extend_from_slice(&tag.to_le_bytes());
        if let Some(BatchPart { batch, index }) = batch {
            into.extend_from_slice(&batch.to_le_bytes());
            into.extend_from_slice(&u32::from(index).to_le_bytes());
        }
        for push in &self.pushes {
            into.extend_from_slice(&push.key.to_le_bytes());
            into.extend_from_slice(&push.length.to_le_bytes());
            into.extend_from_slice(&push.layout.to_le_bytes());
            into.extend_from_slice(&push.slot.to_le_bytes());
        }
        for pull in &self.pulls {
            into.extend_from_slice(&pull.key.to_le_bytes());
            into.extend_from_slice(&pull.address.to_le_bytes());
            into.extend_from_slice(&pull.remote_key.to_le_bytes());
            into.extend_from_slice(&pull.length.to_le_bytes());
        }
        self.definitions.iter().for_each(|definition| definition.emit(into));
        into.extend_from_slice(self.data);
    }
}

impl<'a> RequestView<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError`]. Memory is taken only for entries that are there.
    pub fn parse(message: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader(message);
        let truncated = || WireError::Truncated { length: message.len() };
        let version = reader.u8().ok_or_else(truncated)?;
        if version != VERSION {
            return Err(WireError::Version { theirs: version, ours: VERSION });
        }
        let fixed = Fixed::read(&mut reader).ok_or_else(truncated)?;
        let flags = Flags::from_bits(fixed.flags)
            .ok_or(WireError::Field { field: "flags", value: u64::from(fixed.flags) })?;
        let in_batch = flags.intersects(Flags::CONTINUES | Flags::MORE);
        let batch = if in_batch { Some(read_batch_part(&mut reader).ok_or_else(truncated)??) } else { None };
        let mut pushes = Reader(reader.bytes(PUSH_BYTES * usize::from(fixed.pushes)).ok_or_else(truncated)?);
        let mut pulls = Reader(reader.bytes(PULL_BYTES * usize::from(fixed.pulls)).ok_or_else(truncated)?);
        let definitions = reader.bytes(usize::from(fixed.definitions)).ok_or_else(truncated)?;
        let view = Self {
            header: RequestHeader {
                flags,
                slot: fixed.slot,
                generation: fixed.generation,
                tag: fixed.tag,
                batch,
            },
            pushes: std::iter::from_fn(|| read_push(&mut pushes)).collect(),
            pulls: std::iter::from_fn(|| read_pull(&mut pulls)).collect(),
            definitions: read_definitions(definitions)?,
            data: reader.0,
        };
        view.check_data()?;
        Ok(view)
    }

    fn check_data(&self) -> Result<(), WireError> {
        let inside = self.pushes.iter().filter(|push| push.is_inline());
        let wanted: u64 = inside.map(|push| u64::from(push.length)).sum();
        let length = self.data.len();
        match (length as u64).cmp(&wanted) {
            std::cmp::Ordering::Less => Err(WireError::Truncated { length }),
            std::cmp::Ordering::Greater => Err(WireError::Trailing { excess: length - wanted as usize }),
            std::cmp::Ordering::Equal => Ok(()),
        }
    }
}

struct Fixed {
    flags: u8,
    slot: u16,
    generation: u16,
    pushes: u16,
    pulls: u16,
    definitions: u16,
    tag: u32,
}

impl Fixed {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            flags: reader.u8()?,
            slot: reader.u16()?,
            generation: reader.u16()?,
            pushes: reader.u16()?,
            pulls: reader.u16()?,
            definitions: reader.u16()?,
            tag: reader.u32()?,
        })
    }
}

fn read_batch_part(reader: &mut Reader<'_>) -> Option<Result<BatchPart, WireError>> {
    let (batch, index, reserved) = (reader.u32()?, reader.u16()?, reader.u16()?);
    let wrong = WireError::Field { field: "reserved bytes of a batch's part", value: u64::from(reserved) };
    Some(if reserved == 0 { Ok(BatchPart { batch, index }) } else { Err(wrong) })
}

fn read_push(reader: &mut Reader<'_>) -> Option<PushEntry> {
    Some(PushEntry { key: reader.u64()?, length: reader.u32()?, layout: reader.u16()?, slot: reader.u16()? })
}

fn read_pull(reader: &mut Reader<'_>) -> Option<PullEntry> {
    let (key, address) = (reader.u64()?, reader.u64()?);
    Some(PullEntry { key, address, remote_key: reader.u32()?, length: reader.u32()? })
}

fn read_definitions(bytes: &[u8]) -> Result<Vec<Definition>, WireError> {
    let mut reader = Reader(bytes);
    let mut definitions = Vec::new();
    while !reader.0.is_empty() {
        let read = Definition::parse(&mut reader)?;
        definitions.push(read.ok_or(WireError::Truncated { length: bytes.len() })?);
    }
    Ok(definitions)
}
