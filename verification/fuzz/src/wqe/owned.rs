//! A send WQE that was read out of its queue, and how a poster would write it.

use pmd_core::wire::{
    AddressVector, AtomicSegment, ControlFlags, ControlSegment, DataItem, DataItems, DataSegment, Operation,
    RemoteSegment, SendExtra, SendWqe, UNIT, UNITS_PER_BLOCK, Unit,
    address_vector::LENGTH,
    inline::{self, InlineHeader},
};

/// One data segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Registered memory.
    Memory(DataSegment),
    /// Bytes in the queue itself.
    Inline(Vec<u8>),
}

/// What the operations carry between control and data segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing, and no data either.
    Nop,
    /// A SEND.
    Send(SendExtra, Option<AddressVector>),
    /// A WRITE, with or without immediate.
    Write(RemoteSegment, Option<u32>),
    /// A READ.
    Read(RemoteSegment),
    /// A compare-and-swap.
    CompareAndSwap(RemoteSegment, AtomicSegment),
    /// A fetch-and-add.
    FetchAndAdd(RemoteSegment, u64),
}

/// A send WQE that borrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The control segment.
    pub control: ControlSegment,
    /// The segments between.
    pub body: Body,
    /// The data segments.
    pub pieces: Vec<Piece>,
}

impl Owned {
    /// Copies a parsed WQE out of its queue.
    #[must_use]
    pub fn of(wqe: &SendWqe<'_>) -> Self {
        let memory = |segment: &DataSegment| vec![Piece::Memory(*segment)];
        let (body, pieces) = match &wqe.operation {
            Operation::Nop => (Body::Nop, Vec::new()),
            Operation::Send { extra, address_vector, data } => {
                (Body::Send(*extra, *address_vector), pieces(data))
            }
            Operation::Write { remote, immediate, data } => (Body::Write(*remote, *immediate), pieces(data)),
            Operation::Read { remote, data } => (Body::Read(*remote), pieces(data)),
            Operation::CompareAndSwap { remote, operands, result } => {
                (Body::CompareAndSwap(*remote, *operands), memory(result))
            }
            Operation::FetchAndAdd { remote, addend, result } => {
                (Body::FetchAndAdd(*remote, *addend), memory(result))
            }
        };
        Self { control: wqe.control, body, pieces }
    }

    /// The same without control flags that have no meaning, which a strict parser refuses.
    #[must_use]
    pub fn without_reserved(&self) -> Self {
        let flags = self.control.flags & ControlFlags::all();
        Self { control: ControlSegment { flags, ..self.control }, ..self.clone() }
    }

    /// Bytes that the operation moves; a data segment of length zero is 2 GiB, an atomic moves eight bytes.
    #[must_use]
    pub fn data_length(&self) -> u64 {
        if matches!(self.body, Body::CompareAndSwap(..) | Body::FetchAndAdd(..)) {
            return 8;
        }
        let length = |piece: &Piece| match piece {
            Piece::Memory(DataSegment { length: 0, .. }) => 1 << 31,
            Piece::Memory(segment) => u64::from(segment.length),
            Piece::Inline(bytes) => bytes.len() as u64,
        };
        self.pieces.iter().map(length).sum()
    }

    /// Writes the WQE at basic block `index` of `queue`, as a poster does: bytes that mean nothing stay as they are.
    pub fn emit(&self, queue: &mut [u8], index: u32) {
        let mut writer = Writer { at: index as usize * UNITS_PER_BLOCK, queue };
        writer.unit(|out| self.without_reserved().control.emit(out));
        self.emit_body(&mut writer);
        for piece in &self.pieces {
            match piece {
                Piece::Memory(segment) => writer.unit(|out| segment.emit(out)),
                Piece::Inline(bytes) => writer.inline(bytes),
            }
        }
    }

    fn emit_body(&self, writer: &mut Writer<'_>) {
        match &self.body {
            Body::Nop | Body::Send(_, None) => {}
            Body::Send(_, Some(vector)) => {
                let mut bytes = [0; LENGTH];
                vector.emit(&mut bytes);
                bytes.as_chunks().0.iter().for_each(|unit: &Unit| writer.unit(|out| *out = *unit));
            }
            Body::Write(remote, _) | Body::Read(remote) => writer.unit(|out| remote.emit(out)),
            Body::CompareAndSwap(remote, operands) => {
                writer.unit(|out| remote.emit(out));
                writer.unit(|out| operands.emit(out));
            }
            Body::FetchAndAdd(remote, addend) => {
                writer.unit(|out| remote.emit(out));
                // The second operand is not used, and libmlx5 leaves there what was there before.
                writer.unit(|out| {
                    let compare = AtomicSegment::parse(out).compare;
                    AtomicSegment { swap_or_add: *addend, compare }.emit(out);
                });
            }
        }
    }
}

fn pieces(items: &DataItems<'_>) -> Vec<Piece> {
    let owned = |item| match item {
        DataItem::Memory(segment) => Piece::Memory(segment),
        DataItem::Inline(first, second) => Piece::Inline([first, second].concat()),
    };
    items.clone().map(owned).collect()
}

/// Writes unit after unit, around the end of the queue.
struct Writer<'a> {
    queue: &'a mut [u8],
    /// The next unit, free-running.
    at: usize,
}

impl Writer<'_> {
    fn unit(&mut self, write: impl FnOnce(&mut Unit)) {
        let (units, _) = self.queue.as_chunks_mut::<UNIT>();
        let place = self.at % units.len();
        write(&mut units[place]);
        self.at += 1;
    }

    fn inline(&mut self, bytes: &[u8]) {
        let mut header = [0; inline::HEADER];
        InlineHeader { length: bytes.len() as u32 }.emit(&mut header);
        let (start, length) = (self.at * UNIT, self.queue.len());
        for (place, byte) in header.iter().chain(bytes).enumerate() {
            self.queue[(start + place) % length] = *byte;
        }
        self.at += inline::units(bytes.len());
    }
}
