//! Queue entries as text that can be compared line by line: `pmd dump` and failing tests print it.
//!
//! Each line is one 16-byte unit as four big-endian words, then what those words say:
//!
//! ```text
//! 00000008 abcdef03 00000008 00000000 | control RDMA_WRITE index=0x0 qp=0xabcdef ds=3 flags=CQ_UPDATE
//! 7fffdead beef0000 00beef07 00000000 | remote address=0x7fffdeadbeef0000 rkey=0xbeef07
//! 00001000 00cafe01 11223344 55667788 | data length=4096 lkey=0xcafe01 address=0x1122334455667788
//! ```
//!
//! Bytes that are no valid entry are shown all the same, with a last line that begins with `!` and says what is
//! wrong. Nothing is allocated.

use core::fmt::{self, Display, Formatter};

use super::bytes::{load32, load64};
use super::cqe::{CqeView, field};
use super::inline::{self, InlineHeader};
use super::scatter::{FORMAT_IN_ENTRY, FORMAT_MASK};
use super::{
    AtomicSegment, BASIC_BLOCK, ControlSegment, Cqe, Cqe64, Cqe128, CqeOpcode, DataSegment, ErrorCompletion,
    Opcode, RemoteSegment, SendWqe, Service, Side, UNIT, UNITS_PER_BLOCK, Unit, WireError,
};

/// A send WQE in its queue, to be printed.
#[derive(Clone, Copy, Debug)]
pub struct SendDump<'a> {
    /// The whole send queue.
    pub queue: &'a [u8],
    /// Number of the WQE's first basic block, free-running.
    pub index: u32,
    /// Transport of the queue pair.
    pub service: Service,
}

impl Display for SendDump<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        if self.queue.len() < BASIC_BLOCK || !self.queue.len().is_power_of_two() {
            return writeln!(formatter, "! {}", WireError::QueueLength(self.queue.len()));
        }
        match ControlSegment::parse(self.unit(0)) {
            Ok(control) => self.units(formatter, &control)?,
            Err(_) => line(formatter, self.unit(0), format_args!("control"))?,
        }
        match SendWqe::parse_strict(self.queue, self.index, self.service) {
            Ok(_) => Ok(()),
            Err(error) => writeln!(formatter, "! {error}"),
        }
    }
}

impl SendDump<'_> {
    fn unit(&self, number: usize) -> &Unit {
        let (units, _) = self.queue.as_chunks::<UNIT>();
        let first = self.index as usize % (units.len() / UNITS_PER_BLOCK) * UNITS_PER_BLOCK;
        &units[(first + number) % units.len()]
    }

    fn units(&self, formatter: &mut Formatter<'_>, control: &ControlSegment) -> fmt::Result {
        line(formatter, self.unit(0), format_args!("control {control}"))?;
        let named = named_segments(control.opcode, self.service);
        let mut inline_left = 0;
        for number in 1..control.units as usize {
            let unit = self.unit(number);
            match named.get(number - 1) {
                Some(segment) => segment.print(formatter, unit)?,
                None if !has_data(control.opcode) => line(formatter, unit, format_args!("-"))?,
                None if inline_left > 0 => {
                    inline_left -= 1;
                    line(formatter, unit, format_args!("inline continued"))?;
                }
                None => inline_left = print_data(formatter, unit)?,
            }
        }
        Ok(())
    }
}

/// A unit whose place in the WQE says what it is.
#[derive(Clone, Copy)]
enum Named {
    AddressVector(usize),
    Remote,
    Atomic,
}

impl Named {
    fn print(self, formatter: &mut Formatter<'_>, unit: &Unit) -> fmt::Result {
        match self {
            Self::AddressVector(0) => line(
                formatter,
                unit,
                format_args!(
                    "address vector qkey={:#x} destination={:#x}",
                    load32(unit, 0..4),
                    load32(unit, 8..12) & 0x00ff_ffff
                ),
            ),
            Self::AddressVector(1) => line(formatter, unit, format_args!("address vector path")),
            Self::AddressVector(_) => line(formatter, unit, format_args!("address vector gid")),
            Self::Remote => line(formatter, unit, format_args!("remote {}", RemoteSegment::parse(unit))),
            Self::Atomic => line(formatter, unit, format_args!("atomic {}", AtomicSegment::parse(unit))),
        }
    }
}

/// The segments between control and data.
const fn named_segments(opcode: Opcode, service: Service) -> &'static [Named] {
    match (opcode, service) {
        (Opcode::Send | Opcode::SendImmediate | Opcode::SendInvalidate, Service::Datagram) => {
            &[Named::AddressVector(0), Named::AddressVector(1), Named::AddressVector(2)]
        }
        (Opcode::RdmaWrite | Opcode::RdmaWriteImmediate | Opcode::RdmaRead, _) => &[Named::Remote],
        (Opcode::CompareAndSwap | Opcode::FetchAndAdd, _) => &[Named::Remote, Named::Atomic],
        _ => &[],
    }
}

/// Whether the units after the named ones are data segments.
const fn has_data(opcode: Opcode) -> bool {
    !matches!(
        opcode,
        Opcode::Nop
            | Opcode::Tso
            | Opcode::MaskedCompareAndSwap
            | Opcode::MaskedFetchAndAdd
            | Opcode::UserMemoryRegistration
    )
}

/// Prints a data or inline unit and returns how many units of inline payload follow it.
fn print_data(formatter: &mut Formatter<'_>, unit: &Unit) -> Result<usize, fmt::Error> {
    let header = unit.first_chunk().map(InlineHeader::parse);
    let Some(Ok(header)) = header else {
        line(formatter, unit, format_args!("data {}", DataSegment::parse(unit)))?;
        return Ok(0);
    };
    line(formatter, unit, format_args!("inline length={}", header.length))?;
    Ok(inline::units(header.length as usize) - 1)
}

/// A 64-byte completion-queue entry, to be printed.
#[derive(Clone, Copy, Debug)]
pub struct CqeDump<'a>(pub &'a Cqe64);

impl Display for CqeDump<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (lines, _) = self.0.as_chunks::<UNIT>();
        let parsed = Cqe::parse(self.0);
        for (number, bytes) in lines.iter().enumerate() {
            hex(formatter, bytes)?;
            match &parsed {
                Ok(Cqe::Error(error)) => error_line(formatter, number, error)?,
                Ok(_) => good_line(formatter, number, self.0)?,
                Err(_) => {}
            }
            writeln!(formatter)?;
        }
        match parsed {
            Ok(_) => Ok(()),
            Err(error) => writeln!(formatter, "! {error}"),
        }
    }
}

/// A 128-byte completion-queue entry, to be printed.
#[derive(Clone, Copy, Debug)]
pub struct Cqe128Dump<'a>(pub &'a Cqe128);

impl Display for Cqe128Dump<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (lines, _) = self.0[0].as_chunks::<UNIT>();
        for bytes in lines {
            line(formatter, bytes, format_args!("preceding"))?;
        }
        CqeDump(&self.0[1]).fmt(formatter)
    }
}

/// What line `number` of a good entry says.
fn good_line(formatter: &mut Formatter<'_>, number: usize, entry: &Cqe64) -> fmt::Result {
    let view = CqeView(entry);
    let in_entry = view.op_own() & FORMAT_MASK == FORMAT_IN_ENTRY;
    match number {
        0 | 1 if in_entry => write!(formatter, " | payload"),
        1 if !view.is_requester() => {
            let source = load32(entry, field::FLAGS_SOURCE) & 0x00ff_ffff;
            write!(formatter, " | path source={source:#x}")
        }
        2 => write!(
            formatter,
            " | srqn={:#x} imm={:#x} bytes={}",
            view.shared_receive_queue(),
            view.immediate(),
            view.byte_count()
        ),
        3 => last_line(formatter, view),
        _ => write!(formatter, " | -"),
    }
}

/// The line that holds the opcode of a good entry.
fn last_line(formatter: &mut Formatter<'_>, view: CqeView<'_>) -> fmt::Result {
    let name = view.opcode().map_or("?", CqeOpcode::name);
    write!(formatter, " | {name}")?;
    if view.is_requester() {
        let operation = Opcode::from_byte(view.send_opcode_bits()).map_or("?", Opcode::name);
        write!(formatter, " {operation}")?;
    }
    write!(
        formatter,
        " qp={:#x} wqe={:#x} solicited={} owner={}",
        view.queue_pair(),
        view.wqe_counter(),
        u8::from(view.solicited()),
        view.op_own() & 1
    )
}

/// What line `number` of an error entry says.
fn error_line(formatter: &mut Formatter<'_>, number: usize, error: &ErrorCompletion) -> fmt::Result {
    let side = match error.side {
        Side::Requester => CqeOpcode::RequesterError,
        Side::Responder => CqeOpcode::ResponderError,
    };
    match number {
        2 => write!(formatter, " | srqn={:#x}", error.shared_receive_queue),
        3 => write!(
            formatter,
            " | {} opcode={:#x} qp={:#x} wqe={:#x} vendor={:#x}: {}",
            side.name(),
            error.operation,
            error.queue_pair,
            error.wqe_counter,
            error.vendor,
            error.syndrome
        ),
        _ => write!(formatter, " | -"),
    }
}

/// One unit and what it says.
fn line(formatter: &mut Formatter<'_>, bytes: &Unit, meaning: fmt::Arguments<'_>) -> fmt::Result {
    hex(formatter, bytes)?;
    writeln!(formatter, " | {meaning}")
}

/// The four words of a unit.
fn hex(formatter: &mut Formatter<'_>, bytes: &Unit) -> fmt::Result {
    let (high, low) = (load64(bytes, 0..8), load64(bytes, 8..16));
    write!(formatter, "{:08x} {:08x} {:08x} {:08x}", high >> 32, high as u32, low >> 32, low as u32)
}

impl Display for ControlSegment {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} index={:#x} qp={:#x}", self.opcode.name(), self.index, self.queue_pair)?;
        write!(formatter, " ds={} flags=", self.units)?;
        bitflags::parser::to_writer(&self.flags, &mut *formatter)?;
        if self.opmod != 0 {
            write!(formatter, " opmod={:#x}", self.opmod)?;
        }
        if self.immediate != 0 {
            write!(formatter, " imm={:#x}", self.immediate)?;
        }
        Ok(())
    }
}

impl Display for RemoteSegment {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "address={:#x} rkey={:#x}", self.address, self.rkey)
    }
}

impl Display for AtomicSegment {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "swap_or_add={:#x} compare={:#x}", self.swap_or_add, self.compare)
    }
}

impl Display for DataSegment {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "length={} lkey={:#x} address={:#x}", self.length, self.lkey, self.address)
    }
}
