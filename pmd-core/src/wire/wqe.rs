//! A whole send WQE, read out of its queue: what a device does after a doorbell.
//!
//! The queue is a ring of 64-byte basic blocks; a WQE may begin near its end and go on at its beginning, unit
//! by unit (16 bytes). Segments follow in the order control, address vector (datagrams), remote address,
//! atomic, data. ConnectX PRM, "Send WQE Construction"; rdma-core `_common_post_send` in
//! `providers/mlx5/qp.c`.

use super::address_vector::{self, AddressVector};
use super::atomic::AtomicSegment;
use super::bytes::take;
use super::control::ControlSegment;
use super::data::DataSegment;
use super::error::WireError;
use super::inline::{self, InlineHeader};
use super::opcode::Opcode;
use super::remote::RemoteSegment;
use super::{BASIC_BLOCK, MAX_UNITS, UNIT, UNITS_PER_BLOCK, Unit};

/// The transport of a queue pair, which decides whether WQEs carry an address vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// Reliable or unreliable connected: no address vector.
    #[default]
    Connected,
    /// Datagram: SENDs carry an address vector.
    Datagram,
}

/// What a SEND does beyond its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SendExtra {
    /// Nothing.
    #[default]
    None,
    /// Hands over an immediate.
    Immediate(u32),
    /// Invalidates this key at the peer.
    Invalidate(u32),
}

/// What a WQE asks for, with the segments that the operation has.
#[derive(Clone, Debug)]
pub enum Operation<'a> {
    /// Nothing but a completion.
    Nop,
    /// A message into the peer's next receive.
    Send {
        /// Immediate or invalidation.
        extra: SendExtra,
        /// Where to; datagrams only.
        address_vector: Option<AddressVector>,
        /// The payload.
        data: DataItems<'a>,
    },
    /// A write to the peer's memory.
    Write {
        /// Where to.
        remote: RemoteSegment,
        /// Completes a receive at the peer.
        immediate: Option<u32>,
        /// The payload.
        data: DataItems<'a>,
    },
    /// A read from the peer's memory.
    Read {
        /// Where from.
        remote: RemoteSegment,
        /// Where to; never inline.
        data: DataItems<'a>,
    },
    /// A 64-bit compare-and-swap.
    CompareAndSwap {
        /// The value at the peer.
        remote: RemoteSegment,
        /// New and expected value.
        operands: AtomicSegment,
        /// Where the earlier value goes; hardware takes eight bytes.
        result: DataSegment,
    },
    /// A 64-bit fetch-and-add.
    FetchAndAdd {
        /// The value at the peer.
        remote: RemoteSegment,
        /// What to add.
        addend: u64,
        /// Where the earlier value goes; hardware takes eight bytes.
        result: DataSegment,
    },
}

/// A send WQE in its queue.
#[derive(Clone, Debug)]
pub struct SendWqe<'a> {
    /// The control segment. Its index and queue-pair number are not compared with anything: that is the
    /// device's to do.
    pub control: ControlSegment,
    /// The operation and its segments.
    pub operation: Operation<'a>,
}

impl<'a> SendWqe<'a> {
    /// Reads the WQE whose first basic block is number `index` (free-running) of the send queue `queue`.
    ///
    /// # Errors
    /// Any [`WireError`] but the reserved-field one; nothing is read outside of `queue`.
    pub fn parse(queue: &'a [u8], index: u32, service: Service) -> Result<Self, WireError> {
        Parser::new(queue, index, false)?.parse(service)
    }

    /// As [`parse`](Self::parse), and refuses reserved fields that are not zero.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn parse_strict(queue: &'a [u8], index: u32, service: Service) -> Result<Self, WireError> {
        Parser::new(queue, index, true)?.parse(service)
    }

    /// Basic blocks of the WQE: what it adds to the producer index.
    #[inline]
    #[must_use]
    pub const fn basic_blocks(&self) -> u16 {
        super::basic_blocks(self.control.units)
    }

    /// Bytes that the operation moves, by its local segments.
    #[must_use]
    pub fn data_length(&self) -> u64 {
        match &self.operation {
            Operation::Nop => 0,
            Operation::Send { data, .. } | Operation::Write { data, .. } | Operation::Read { data, .. } => {
                data.length()
            }
            Operation::CompareAndSwap { .. } | Operation::FetchAndAdd { .. } => 8,
        }
    }
}

/// One data or inline segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataItem<'a> {
    /// Registered local memory.
    Memory(DataSegment),
    /// Payload in the queue itself, in up to two pieces: the second is not empty where the queue wraps.
    Inline(&'a [u8], &'a [u8]),
}

impl DataItem<'_> {
    /// Bytes of the item as hardware counts them: a data segment of length zero is 2 GiB.
    #[must_use]
    pub const fn length(&self) -> u64 {
        match self {
            Self::Memory(segment) => segment.device_length(),
            Self::Inline(first, second) => first.len() as u64 + second.len() as u64,
        }
    }
}

/// The data segments of a WQE, in order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DataItems<'a> {
    /// The whole queue.
    ring: &'a [Unit],
    /// Next unit, free-running over the ring.
    next: usize,
    /// The unit past the WQE's last one.
    end: usize,
}

impl DataItems<'_> {
    /// Bytes of all items together, as hardware counts them.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.clone().map(|item| item.length()).sum()
    }
}

impl<'a> DataItems<'a> {
    /// The `length` payload bytes that follow an inline header in unit `unit`.
    fn inline(&self, unit: usize, length: usize) -> DataItem<'a> {
        let bytes = self.ring.as_flattened();
        let start = wrap(self.ring, unit) * UNIT + inline::HEADER;
        let first = length.min(bytes.len() - start);
        DataItem::Inline(&bytes[start..start + first], &bytes[..length - first])
    }

    /// Payload bytes between an inline header in unit `unit` and the end of the WQE.
    const fn room(&self, unit: usize) -> usize {
        (self.end - unit) * UNIT - inline::HEADER
    }

    /// Checks that every item ends within the WQE.
    fn check(&self) -> Result<u8, WireError> {
        let mut unit = self.next;
        let mut items = 0;
        while unit < self.end {
            unit += match inline_length(&self.ring[wrap(self.ring, unit)]) {
                None => 1,
                Some(length) if length as usize <= self.room(unit) => inline::units(length as usize),
                Some(length) => {
                    return Err(WireError::InlineLength { length, room: self.room(unit) as u32 });
                }
            };
            items += 1;
        }
        Ok(items)
    }
}

impl<'a> Iterator for DataItems<'a> {
    type Item = DataItem<'a>;

    #[inline]
    fn next(&mut self) -> Option<DataItem<'a>> {
        if self.next >= self.end {
            return None;
        }
        let unit = self.next;
        let bytes = &self.ring[wrap(self.ring, unit)];
        let Some(length) = inline_length(bytes) else {
            self.next += 1;
            return Some(DataItem::Memory(DataSegment::parse(bytes)));
        };
        // Checked on parsing; held again because a faulty driver may write to its queue meanwhile.
        let length = (length as usize).min(self.room(unit));
        self.next += inline::units(length);
        Some(self.inline(unit, length))
    }
}

/// The place of free-running unit `unit` in `ring`, whose length the parser found to be a power of two.
#[inline(always)]
const fn wrap(ring: &[Unit], unit: usize) -> usize {
    unit & (ring.len() - 1)
}

/// The payload length of an inline segment, none for a data segment.
#[inline]
fn inline_length(unit: &Unit) -> Option<u32> {
    InlineHeader::parse(&take(unit, inline::field::LENGTH)).ok().map(|header| header.length)
}

/// Walks the units of one WQE.
struct Parser<'a> {
    ring: &'a [Unit],
    first: usize,
    strict: bool,
}

impl<'a> Parser<'a> {
    fn new(queue: &'a [u8], index: u32, strict: bool) -> Result<Self, WireError> {
        let (ring, _) = queue.as_chunks::<UNIT>();
        if queue.len() < BASIC_BLOCK || !queue.len().is_power_of_two() {
            return Err(WireError::QueueLength(queue.len()));
        }
        let blocks = ring.len() / UNITS_PER_BLOCK;
        Ok(Self { ring, first: (index as usize & (blocks - 1)) * UNITS_PER_BLOCK, strict })
    }

    fn parse(&self, service: Service) -> Result<SendWqe<'a>, WireError> {
        let control = self.control()?;
        let opcode = control.opcode;
        let operation = match opcode {
            Opcode::Nop => Operation::Nop,
            Opcode::Send => self.send(&control, service, SendExtra::None)?,
            Opcode::SendImmediate => self.send(&control, service, SendExtra::Immediate(control.immediate))?,
            Opcode::SendInvalidate => {
                self.send(&control, service, SendExtra::Invalidate(control.immediate))?
            }
            Opcode::RdmaWrite => self.write(&control, None)?,
            Opcode::RdmaWriteImmediate => self.write(&control, Some(control.immediate))?,
            Opcode::RdmaRead => self.read(&control)?,
            Opcode::CompareAndSwap | Opcode::FetchAndAdd => self.atomic(&control)?,
            Opcode::Tso
            | Opcode::MaskedCompareAndSwap
            | Opcode::MaskedFetchAndAdd
            | Opcode::UserMemoryRegistration => return Err(WireError::UnsupportedOpcode(opcode)),
        };
        Ok(SendWqe { control, operation })
    }

    fn unit(&self, number: usize) -> &'a Unit {
        &self.ring[wrap(self.ring, self.first + number)]
    }

    fn control(&self) -> Result<ControlSegment, WireError> {
        let unit = self.unit(0);
        let control =
            if self.strict { ControlSegment::parse_strict(unit)? } else { ControlSegment::parse(unit)? };
        let limit = self.ring.len().min(MAX_UNITS as usize) as u8;
        if control.units > limit {
            return Err(WireError::UnitCount { units: control.units, limit });
        }
        Ok(control)
    }

    fn send(
        &self,
        control: &ControlSegment,
        service: Service,
        extra: SendExtra,
    ) -> Result<Operation<'a>, WireError> {
        let (address_vector, data) = match service {
            Service::Connected => (None, self.data(control, 1)?),
            Service::Datagram => {
                let data = self.data(control, 1 + address_vector::UNITS)?;
                (Some(self.address_vector()?), data)
            }
        };
        Ok(Operation::Send { extra, address_vector, data })
    }

    fn write(&self, control: &ControlSegment, immediate: Option<u32>) -> Result<Operation<'a>, WireError> {
        let data = self.data(control, 2)?;
        Ok(Operation::Write { remote: self.remote()?, immediate, data })
    }

    fn read(&self, control: &ControlSegment) -> Result<Operation<'a>, WireError> {
        let data = self.data(control, 2)?;
        if data.clone().any(|item| matches!(item, DataItem::Inline(..))) {
            return Err(WireError::InlineResult(control.opcode));
        }
        Ok(Operation::Read { remote: self.remote()?, data })
    }

    fn atomic(&self, control: &ControlSegment) -> Result<Operation<'a>, WireError> {
        let mut data = self.data(control, 3)?;
        let segments = data.check()?;
        let result = match (segments, data.next()) {
            (1, Some(DataItem::Memory(result))) => result,
            (1, _) => return Err(WireError::InlineResult(control.opcode)),
            _ => return Err(WireError::ResultSegments { opcode: control.opcode, segments }),
        };
        let remote = self.remote()?;
        let operands = AtomicSegment::parse(self.unit(2));
        Ok(match control.opcode {
            Opcode::CompareAndSwap => Operation::CompareAndSwap { remote, operands, result },
            _ => Operation::FetchAndAdd { remote, addend: operands.swap_or_add, result },
        })
    }

    fn remote(&self) -> Result<RemoteSegment, WireError> {
        let unit = self.unit(1);
        if self.strict { RemoteSegment::parse_strict(unit) } else { Ok(RemoteSegment::parse(unit)) }
    }

    fn address_vector(&self) -> Result<AddressVector, WireError> {
        let mut bytes = [0; address_vector::LENGTH];
        for (number, out) in bytes.as_chunks_mut::<UNIT>().0.iter_mut().enumerate() {
            *out = *self.unit(1 + number);
        }
        if self.strict { AddressVector::parse_strict(&bytes) } else { Ok(AddressVector::parse(&bytes)) }
    }

    /// The data segments after `before` units of others.
    fn data(&self, control: &ControlSegment, before: usize) -> Result<DataItems<'a>, WireError> {
        let units = control.units as usize;
        if units < before {
            let needed = before as u8;
            return Err(WireError::MissingSegment { opcode: control.opcode, needed, units: control.units });
        }
        let data = DataItems { ring: self.ring, next: self.first + before, end: self.first + units };
        data.check()?;
        Ok(data)
    }
}
