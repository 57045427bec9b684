//! Send WQEs: copied out of their queue, and held against the rules that hardware holds them against.
//!
//! Called by `requester` before a WQE is executed, by `flush` to walk over those that are not, and by `doorbell`.
//! ConnectX PRM, "Work Request (WQE) Formats"; rdma-core providers/mlx5/qp.c.

use std::ops::Range;

use pmd_core::wire::{
    BASIC_BLOCK, ControlFlags, DataItem, DataItems, MAX_UNITS, Opcode, Operation, SendDump, SendWqe, Service,
    UNIT, WireError, basic_blocks, control,
};

use super::turn::Turn;
use crate::{
    dma::{self, DmaFault},
    lint::Rule,
    state::{QueuePair, QueuePairKind},
};

/// Blocks of the copy: the longest WQE, 63 units, fits.
const BLOCKS: usize = 16;

/// One WQE, in a ring of sixteen blocks where its index puts it; the other blocks are zeros.
pub(super) struct Fetched {
    ring: Box<[u8; BLOCKS * BASIC_BLOCK]>,
    index: u16,
    service: Service,
}

impl Fetched {
    /// The first eight bytes of the control segment: what the doorbell repeats, as a big-endian number.
    pub(super) fn head(&self) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.unit(0)[..8]);
        u64::from_be_bytes(word)
    }

    /// Opcode byte, valid or not.
    pub(super) fn opcode(&self) -> u8 {
        (self.head() >> 32) as u8
    }

    /// ds, valid or not.
    pub(super) fn units(&self) -> u8 {
        self.head() as u8
    }

    /// Index that the WQE carries.
    pub(super) fn own_index(&self) -> u16 {
        (self.head() >> 40) as u16
    }

    /// Blocks that the WQE takes.
    pub(super) fn blocks(&self) -> u16 {
        blocks_of(self.units())
    }

    /// Text for a violation.
    pub(super) fn dump(&self) -> String {
        SendDump { queue: &self.ring[..], index: self.index.into(), service: self.service }.to_string()
    }

    fn unit(&self, number: usize) -> &[u8] {
        let start = (usize::from(self.index) % BLOCKS * BASIC_BLOCK + number * UNIT) % self.ring.len();
        &self.ring[start..start + UNIT]
    }
}

impl Turn<'_> {
    /// Copies the WQE at `index` out of its queue.
    pub(super) fn fetch(&self, queue_pair: &QueuePair, index: u16) -> Result<Fetched, DmaFault> {
        let service = match queue_pair.kind {
            QueuePairKind::Datagram => Service::Datagram,
            QueuePairKind::Reliable | QueuePairKind::Unreliable => Service::Connected,
        };
        let mut fetched = Fetched { ring: Box::new([0; BLOCKS * BASIC_BLOCK]), index, service };
        self.fetch_block(queue_pair, &mut fetched, 0)?;
        for block in 1..fetched.blocks().min(queue_pair.send_slots as u16) {
            self.fetch_block(queue_pair, &mut fetched, block)?;
        }
        Ok(fetched)
    }

    fn fetch_block(&self, queue_pair: &QueuePair, into: &mut Fetched, block: u16) -> Result<(), DmaFault> {
        let index = into.index.wrapping_add(block);
        let start = usize::from(index) % BLOCKS * BASIC_BLOCK;
        let address = block_address(queue_pair, index);
        dma::read(self.pid(queue_pair.owner), address, &mut into.ring[start..start + BASIC_BLOCK])
    }
}

/// Blocks for a ds, valid or not; at least one, so that walking always gets on.
pub(super) fn blocks_of(units: u8) -> u16 {
    basic_blocks(units.clamp(1, MAX_UNITS))
}

/// Where basic block `index` of a send queue lies.
pub(super) fn block_address(queue_pair: &QueuePair, index: u16) -> u64 {
    let slot = u64::from(index) & (u64::from(queue_pair.send_slots.max(1)) - 1);
    queue_pair.send_buffer + slot * BASIC_BLOCK as u64
}

/// The WQE, if it breaks no rule.
pub(super) fn check<'a>(fetched: &'a Fetched, queue_pair: &QueuePair) -> Result<SendWqe<'a>, Rule> {
    check_place(fetched, queue_pair)?;
    check_opcode(fetched, queue_pair.kind)?;
    check_reserved(fetched)?;
    let wqe = SendWqe::parse_strict(&fetched.ring[..], fetched.index.into(), fetched.service)
        .map_err(|error| malformed(fetched, error))?;
    if matches!(wqe.operation, Operation::Nop) && wqe.control.units != 1 {
        return Err(wrong_size(fetched, "a NOP has a control segment only"));
    }
    data(&wqe.operation).map_or(Ok(()), check_lengths)?;
    Ok(wqe)
}

fn check_place(fetched: &Fetched, queue_pair: &QueuePair) -> Result<(), Rule> {
    let (found, expected) = (fetched.own_index(), fetched.index);
    if found != expected {
        return Err(Rule::WrongIndex { found, expected });
    }
    let (found, expected) = ((fetched.head() >> 8) as u32 & 0x00ff_ffff, queue_pair.number);
    if found != expected {
        return Err(Rule::WrongQueuePair { found, expected });
    }
    match u32::from(fetched.units()) {
        0 => Err(wrong_size(fetched, "a WQE has at least its control segment")),
        units if units > MAX_UNITS.into() => Err(wrong_size(fetched, "the field has six bits")),
        units if units > queue_pair.send_slots * 4 => {
            Err(wrong_size(fetched, "the WQE is larger than its queue"))
        }
        _ => Ok(()),
    }
}

fn check_opcode(fetched: &Fetched, kind: QueuePairKind) -> Result<(), Rule> {
    use Opcode::{Nop, RdmaWrite, RdmaWriteImmediate, Send, SendImmediate};
    let legal = match (Opcode::from_byte(fetched.opcode()), kind) {
        (Err(_), _) => false,
        (Ok(opcode), QueuePairKind::Reliable) => !matches!(
            opcode,
            Opcode::Tso
                | Opcode::MaskedCompareAndSwap
                | Opcode::MaskedFetchAndAdd
                | Opcode::UserMemoryRegistration
        ),
        (Ok(opcode), QueuePairKind::Unreliable) => {
            matches!(opcode, Nop | Send | SendImmediate | RdmaWrite | RdmaWriteImmediate)
        }
        (Ok(opcode), QueuePairKind::Datagram) => matches!(opcode, Nop | Send | SendImmediate),
    };
    let service = match kind {
        QueuePairKind::Reliable => "RC",
        QueuePairKind::Unreliable => "UC",
        QueuePairKind::Datagram => "UD",
    };
    if legal { Ok(()) } else { Err(Rule::IllegalOpcode { opcode: fetched.opcode(), service }) }
}

/// The control segment's; `SendWqe::parse_strict` looks at those of the others.
fn check_reserved(fetched: &Fetched) -> Result<(), Rule> {
    let unit = fetched.unit(0);
    let flags = control::field::FLAGS.start;
    let unknown = unit[flags] & !ControlFlags::all().bits();
    let signature_stream = &unit[control::field::SIGNATURE.start..control::field::STREAM.end];
    let stream = signature_stream.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let fields =
        [(0, u64::from(unit[0])), (control::field::SIGNATURE.start, stream), (flags, unknown.into())];
    let set = fields.into_iter().find(|(_, value)| *value != 0);
    set.map_or(Ok(()), |(offset, value)| Err(Rule::ReservedSet { offset, value }))
}

/// A zero-length entry means 2 GiB to hardware.
fn check_lengths(data: DataItems<'_>) -> Result<(), Rule> {
    let empty = |item: DataItem<'_>| matches!(item, DataItem::Memory(segment) if segment.length == 0);
    data.into_iter().position(empty).map_or(Ok(()), |segment| Err(Rule::ZeroLength { segment }))
}

/// The data segments of an operation that has a list of them.
fn data<'a>(operation: &Operation<'a>) -> Option<DataItems<'a>> {
    match operation {
        Operation::Send { data, .. } | Operation::Write { data, .. } | Operation::Read { data, .. } => {
            Some(data.clone())
        }
        _ => None,
    }
}

fn malformed(fetched: &Fetched, error: WireError) -> Rule {
    match error {
        WireError::Reserved("address vector") => reserved(fetched, 2, 0..4),
        WireError::Reserved(_) => reserved(fetched, 1, 12..16),
        WireError::MissingSegment { .. } => wrong_size(fetched, "a segment of the operation is missing"),
        WireError::InlineLength { .. } => wrong_size(fetched, "inline payload goes past the WQE"),
        WireError::InlineResult(_) => wrong_size(fetched, "a result cannot go inline"),
        WireError::ResultSegments { .. } => wrong_size(fetched, "an atomic has one data segment"),
        _ => wrong_size(fetched, "it does not parse"),
    }
}

/// A reserved word that is set, or else the one in the same segment that is.
fn reserved(fetched: &Fetched, unit: usize, word: Range<usize>) -> Rule {
    let value = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Rule::ReservedSet { offset: unit * UNIT + word.start, value: value(&fetched.unit(unit)[word]) }
}

fn wrong_size(fetched: &Fetched, reason: &'static str) -> Rule {
    Rule::WrongSize { units: fetched.units(), opcode: fetched.opcode(), reason }
}
