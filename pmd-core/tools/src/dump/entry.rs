//! Where each entry begins and ends, and its decoded form.

use pmd_core::wire::{
    BASIC_BLOCK, ControlSegment, Cqe, Cqe64, Cqe128Dump, CqeDump, CqeView, MAX_UNITS, SendDump, SendWqe,
    Service, UNIT, WireError, basic_blocks,
};
use serde::Serialize;

use super::{DumpError, KindChoice, Layout, text::Input};

/// Bytes of the largest WQE, rounded up to a queue that can hold it.
const LARGEST: usize = (MAX_UNITS as usize * UNIT).next_power_of_two();

/// How to tell entries apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) kind: KindChoice,
    pub(super) layout: Layout,
    pub(super) cqe_size: usize,
    pub(super) service: Service,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Work-queue entry.
    Wqe,
    /// Completion-queue entry.
    Cqe,
}

/// One decoded entry.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// Of its first byte in the input.
    pub(super) offset: usize,
    /// Bytes that it takes in the input.
    pub(super) bytes: usize,
    pub(super) queue_pair: Option<u32>,
    pub(super) opcode: Option<&'static str>,
    /// Why it is no valid entry.
    pub(super) error: Option<String>,
    /// As `wire` prints it.
    pub(super) text: String,
}

/// Decodes all entries.
pub(super) fn decode(input: &Input, rules: &Rules) -> Result<Vec<Entry>, DumpError> {
    if input.bytes.is_empty() {
        return Err(DumpError::Empty);
    }
    let is_dump = input.has_remarks || input.comments().any(|comment| Begins::with(comment).is_some());
    let packed = is_packed(input, rules.layout, is_dump);
    let decoder = Decoder { input, rules, is_dump, packed, usual: usual_kind(input, rules) };
    let mut entries = Vec::new();
    let mut offset = 0;
    while offset < input.bytes.len() {
        let entry = decoder.entry(offset)?;
        offset += entry.bytes;
        entries.push(entry);
    }
    Ok(entries)
}

/// Whether WQEs lie back to back, as a dump prints them, and not in blocks of 64 bytes.
fn is_packed(input: &Input, layout: Layout, is_dump: bool) -> bool {
    match layout {
        Layout::Packed => true,
        Layout::Queue => false,
        Layout::Auto => is_dump || !input.bytes.len().is_multiple_of(BASIC_BLOCK),
    }
}

/// The kind of entries that no comment tells.
fn usual_kind(input: &Input, rules: &Rules) -> Kind {
    match rules.kind {
        KindChoice::Wqe => Kind::Wqe,
        KindChoice::Cqe => Kind::Cqe,
        KindChoice::Auto => {
            let (queue, _) = padded(&input.bytes);
            let is_wqe = SendWqe::parse_strict(&queue, 0, rules.service).is_ok();
            let is_cqe = input.bytes.first_chunk().is_some_and(|entry: &Cqe64| Cqe::parse(entry).is_ok());
            if is_cqe && !is_wqe { Kind::Cqe } else { Kind::Wqe }
        }
    }
}

/// What begins at a line, by the comment that `wire` puts beside it.
#[derive(Clone, Copy)]
enum Begins {
    Wqe,
    Cqe64,
    Cqe128,
}

impl Begins {
    fn with(comment: &str) -> Option<Self> {
        match comment.split(' ').next() {
            Some("control") => Some(Self::Wqe),
            Some("-" | "payload") => Some(Self::Cqe64),
            Some("preceding") => Some(Self::Cqe128),
            _ => None,
        }
    }
}

struct Decoder<'a> {
    input: &'a Input,
    rules: &'a Rules,
    /// Whether the input is text that `wire` printed.
    is_dump: bool,
    packed: bool,
    usual: Kind,
}

impl Decoder<'_> {
    fn entry(&self, offset: usize) -> Result<Entry, DumpError> {
        let rest = &self.input.bytes[offset..];
        match self.begins(offset) {
            Some(Begins::Wqe) => self.wqe(offset, rest),
            Some(Begins::Cqe64) => self.cqe(offset, rest, 64),
            Some(Begins::Cqe128) => self.cqe128(offset, rest),
            None if self.usual == Kind::Wqe => self.wqe(offset, rest),
            None => self.cqe(offset, rest, self.rules.cqe_size),
        }
    }

    /// What the text says, where it may.
    fn begins(&self, offset: usize) -> Option<Begins> {
        if self.rules.kind != KindChoice::Auto {
            return None;
        }
        match self.input.comment(offset) {
            Some(comment) => Begins::with(comment),
            // Only entries that are no completions have no comment in a dump.
            None => self.is_dump.then_some(Begins::Cqe64),
        }
    }

    fn wqe(&self, offset: usize, rest: &[u8]) -> Result<Entry, DumpError> {
        let Some(first) = rest.first_chunk() else {
            return Err(self.truncated(offset, "control segment", UNIT));
        };
        let control = ControlSegment::parse(first);
        // An entry without a readable length is one unit, as it is printed, or one block.
        let units = control.as_ref().map_or(1, |control| control.units);
        let bytes = if self.packed {
            usize::from(units) * UNIT
        } else {
            usize::from(basic_blocks(units)) * BASIC_BLOCK
        };
        if rest.len() < bytes {
            return Err(self.truncated(offset, "WQE", bytes));
        }
        let (queue, length) = padded(&rest[..bytes]);
        let queue = &queue[..length];
        let parsed = SendWqe::parse_strict(queue, 0, self.rules.service);
        Ok(Entry {
            kind: Kind::Wqe,
            offset,
            bytes,
            queue_pair: control.as_ref().ok().map(|control| control.queue_pair),
            opcode: control.as_ref().ok().map(|control| control.opcode.name()),
            error: parsed.err().map(|error| error.to_string()),
            text: SendDump { queue, index: 0, service: self.rules.service }.to_string(),
        })
    }

    fn cqe(&self, offset: usize, rest: &[u8], size: usize) -> Result<Entry, DumpError> {
        if size == size_of::<Cqe64>() {
            let Some(entry) = rest.first_chunk::<64>() else {
                return Err(self.truncated(offset, "completion-queue entry", size));
            };
            return Ok(completion(offset, size, entry, CqeDump(entry).to_string()));
        }
        self.cqe128(offset, rest)
    }

    fn cqe128(&self, offset: usize, rest: &[u8]) -> Result<Entry, DumpError> {
        let (halves, _) = rest.as_chunks::<64>();
        match halves.first_chunk::<2>() {
            Some(entry) => Ok(completion(offset, 128, &entry[1], Cqe128Dump(entry).to_string())),
            None => Err(self.truncated(offset, "completion-queue entry", 128)),
        }
    }

    fn truncated(&self, offset: usize, what: &'static str, needed: usize) -> DumpError {
        let (line, column) = self.input.place(offset);
        DumpError::Truncated { line, column, what, needed, left: self.input.bytes.len() - offset }
    }
}

fn completion(offset: usize, bytes: usize, entry: &Cqe64, text: String) -> Entry {
    let parsed = Cqe::parse(entry);
    let view = CqeView(entry);
    Entry {
        kind: Kind::Cqe,
        offset,
        bytes,
        queue_pair: parsed.as_ref().ok().map(|_| view.queue_pair()),
        opcode: view.opcode().ok().map(|opcode| opcode.name()),
        error: parsed.err().map(|error: WireError| error.to_string()),
        text,
    }
}

/// The first bytes of `bytes` at the start of a queue that holds the largest WQE, and the length of the smallest
/// queue that holds them.
fn padded(bytes: &[u8]) -> ([u8; LARGEST], usize) {
    let mut queue = [0; LARGEST];
    let length = bytes.len().min(LARGEST);
    queue[..length].copy_from_slice(&bytes[..length]);
    (queue, length.next_power_of_two().max(BASIC_BLOCK))
}

#[cfg(test)]
mod tests;
