//! Completion-queue entries: who owns one, a view for the polling path, and the plain form.
//!
//! ConnectX PRM, "CQE Format"; rdma-core `struct mlx5_cqe64`. A poller reads [`OP_OWN`] alone, decides with
//! [`ownership`], issues [`from_device`](crate::mmio::from_device), and only then looks at the rest through
//! [`CqeView`]. The software HCA writes with [`Cqe::emit_cqe64`], byte 63 last.

use core::ops::Range;

use super::bytes::{load16, load32, load64, store16, store32, store64};
use super::cqe_error::{ErrorCompletion, Side, Syndrome, field as error_field};
use super::error::WireError;
use super::opcode::{CqeOpcode, Opcode};
use super::scatter::{ENTRY, FORMAT_MASK, IN_ENTRY, Scatter};
use super::{Cqe64, Cqe128};

/// Byte ranges of a 64-byte entry.
pub mod field {
    use super::Range;

    /// Receive WQE of a striding queue; not used here.
    pub const WQE_ID: Range<usize> = 2..4;
    /// Multicast bit and destination path bits.
    pub const PATH_BITS: Range<usize> = 17..18;
    /// Source LID.
    pub const SOURCE_LID: Range<usize> = 22..24;
    /// Global route << 28 | service level << 24 | source queue pair.
    pub const FLAGS_SOURCE: Range<usize> = 24..28;
    /// Shared-receive-queue number, or the user index with completion-queue version 1.
    pub const SHARED_RECEIVE_QUEUE: Range<usize> = 32..36;
    /// Immediate data, invalidated key, or P_Key index.
    pub const IMMEDIATE: Range<usize> = 36..40;
    /// Bytes received or read.
    pub const BYTE_COUNT: Range<usize> = 44..48;
    /// The device's clock.
    pub const TIMESTAMP: Range<usize> = 48..56;
    /// Send opcode (requester) << 24 | queue-pair number.
    pub const OPCODE_QUEUE_PAIR: Range<usize> = 56..60;
    /// Index of the WQE's first basic block, or the receive WQE's counter or slot.
    pub const WQE_COUNTER: Range<usize> = 60..62;
    /// Signature; not used here.
    pub const SIGNATURE: Range<usize> = 62..63;
    /// Opcode << 4 | format << 2 | solicited << 1 | owner; written last.
    pub const OP_OWN: Range<usize> = 63..64;
}

/// The byte that hands an entry over. A producer writes it last, a consumer reads it first.
pub const OP_OWN: usize = field::OP_OWN.start;

/// What software puts into [`OP_OWN`] of every entry before the device knows the queue.
pub const OP_OWN_INITIAL: u8 = (CqeOpcode::Invalid as u8) << 4;

/// Whether software may read the entry at `consumer_index`: the device has written it, and in this round.
///
/// `cqe_count` is the queue's size, a power of two; `consumer_index` runs free. The device flips the owner bit
/// that it writes at each wrap, so that software never has to write entries back.
#[inline(always)]
#[must_use]
pub const fn ownership(op_own: u8, consumer_index: u32, cqe_count: u32) -> bool {
    op_own >> 4 != CqeOpcode::Invalid as u8 && (op_own & 1 != 0) == owner_bit(consumer_index, cqe_count)
}

/// The owner bit of the entry with free-running number `index`: what a producer writes.
#[inline(always)]
#[must_use]
pub const fn owner_bit(index: u32, cqe_count: u32) -> bool {
    index & cqe_count != 0
}

/// Puts the last byte of an entry together. `format` is one of the format bits of [`super::scatter`].
#[inline]
#[must_use]
pub const fn op_own(opcode: CqeOpcode, format: u8, solicited: bool, owner: bool) -> u8 {
    (opcode as u8) << 4 | format & FORMAT_MASK | (solicited as u8) << 1 | owner as u8
}

/// Fields of a 64-byte entry, each read when asked for: the polling path's way. Only the fields of the entry's
/// own form mean something.
#[derive(Clone, Copy, Debug)]
pub struct CqeView<'a>(pub &'a Cqe64);

impl CqeView<'_> {
    /// Opcode, format, solicited and owner bits.
    #[inline(always)]
    #[must_use]
    pub const fn op_own(self) -> u8 {
        self.0[OP_OWN]
    }

    /// The opcode nibble as it stands; compare with [`CqeOpcode`] values.
    #[inline(always)]
    #[must_use]
    pub const fn opcode_bits(self) -> u8 {
        self.op_own() >> 4
    }

    /// Whether this is a good completion of a send queue, of an uncompressed queue: the branch that a poller
    /// takes first.
    #[inline(always)]
    #[must_use]
    pub const fn is_requester(self) -> bool {
        self.opcode_bits() == CqeOpcode::Requester as u8
    }

    /// The opcode.
    ///
    /// # Errors
    /// [`WireError::UnknownCqeOpcode`].
    #[inline]
    pub const fn opcode(self) -> Result<CqeOpcode, WireError> {
        CqeOpcode::from_op_own(self.op_own())
    }

    /// Whether the peer asked for a solicited event.
    #[inline]
    #[must_use]
    pub const fn solicited(self) -> bool {
        self.op_own() & 2 != 0
    }

    /// Number of the queue pair that completed something, 24 bits.
    #[inline(always)]
    #[must_use]
    pub fn queue_pair(self) -> u32 {
        load32(self.0, field::OPCODE_QUEUE_PAIR) & 0x00ff_ffff
    }

    /// Opcode byte of the send WQE; requester entries only.
    #[inline(always)]
    #[must_use]
    pub const fn send_opcode_bits(self) -> u8 {
        self.0[field::OPCODE_QUEUE_PAIR.start]
    }

    /// Index of the WQE's first basic block (requester), slot (shared receive queue) or counter (receive).
    #[inline(always)]
    #[must_use]
    pub fn wqe_counter(self) -> u16 {
        load16(self.0, field::WQE_COUNTER)
    }

    /// Bytes received (responder) or read (requester of a READ or atomic).
    #[inline(always)]
    #[must_use]
    pub fn byte_count(self) -> u32 {
        load32(self.0, field::BYTE_COUNT)
    }

    /// Immediate data, invalidated key, or P_Key index, by the entry's opcode.
    #[inline(always)]
    #[must_use]
    pub fn immediate(self) -> u32 {
        load32(self.0, field::IMMEDIATE)
    }

    /// Shared-receive-queue number, or the user index with completion-queue version 1.
    #[inline]
    #[must_use]
    pub fn shared_receive_queue(self) -> u32 {
        load32(self.0, field::SHARED_RECEIVE_QUEUE)
    }

    /// The device's clock when it wrote the entry.
    #[inline]
    #[must_use]
    pub fn timestamp(self) -> u64 {
        load64(self.0, field::TIMESTAMP)
    }

    /// Why the work request failed; error entries only.
    #[inline]
    #[must_use]
    pub const fn syndrome(self) -> Syndrome {
        Syndrome::from_byte(self.0[error_field::SYNDROME.start])
    }
}

/// A good completion of a send queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequesterCompletion {
    /// Queue-pair number, 24 bits.
    pub queue_pair: u32,
    /// The operation of the WQE that asked for the completion.
    pub operation: Opcode,
    /// Index of that WQE's first basic block.
    pub wqe_counter: u16,
    /// Bytes read, for a READ or atomic; zero otherwise.
    pub byte_count: u32,
    /// The device's clock.
    pub timestamp: u64,
    /// Where the bytes of a READ or atomic are.
    pub scatter: Scatter,
}

/// What a receive completed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Received {
    /// A write with this immediate; the receive's memory is untouched.
    WriteImmediate(u32),
    /// A send.
    #[default]
    Send,
    /// A send with this immediate.
    SendImmediate(u32),
    /// A send that invalidated this local key.
    SendInvalidate(u32),
}

/// Where a message came from. All zero where the payload lies in the entry's first 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceivePath {
    /// The sender's queue pair, 24 bits.
    pub source_queue_pair: u32,
    /// Service level, 4 bits.
    pub service_level: u8,
    /// Global route header: 0 none, else its kind; 2 bits.
    pub global_route: u8,
    /// Source LID (InfiniBand).
    pub source_lid: u16,
    /// Multicast bit and destination path bits.
    pub path_bits: u8,
}

/// A good completion of a receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponderCompletion {
    /// What arrived.
    pub received: Received,
    /// Queue-pair number, 24 bits.
    pub queue_pair: u32,
    /// Where it came from.
    pub path: ReceivePath,
    /// Shared-receive-queue number, or the user index with completion-queue version 1.
    pub shared_receive_queue: u32,
    /// Bytes received.
    pub byte_count: u32,
    /// Counter of the receive WQE, or slot of the shared receive queue.
    pub wqe_counter: u16,
    /// Whether the sender asked for a solicited event.
    pub solicited: bool,
    /// The device's clock.
    pub timestamp: u64,
    /// Where the payload is.
    pub scatter: Scatter,
}

/// A completion, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cqe {
    /// A work request of a send queue is done.
    Requester(RequesterCompletion),
    /// Something arrived.
    Responder(ResponderCompletion),
    /// A work request failed.
    Error(ErrorCompletion),
}

impl Cqe {
    /// Reads an entry that software owns.
    ///
    /// # Errors
    /// [`WireError::NotACompletion`] for resize, signature and never-written entries, and the errors for
    /// unknown opcodes and compressed entries.
    pub fn parse(entry: &Cqe64) -> Result<Self, WireError> {
        let view = CqeView(entry);
        let received = match view.opcode()? {
            CqeOpcode::Requester => return RequesterCompletion::parse(entry).map(Self::Requester),
            CqeOpcode::RequesterError => {
                return Ok(Self::Error(ErrorCompletion::parse(Side::Requester, entry)));
            }
            CqeOpcode::ResponderError => {
                return Ok(Self::Error(ErrorCompletion::parse(Side::Responder, entry)));
            }
            CqeOpcode::ResponderWriteImmediate => Received::WriteImmediate(view.immediate()),
            CqeOpcode::ResponderSend => Received::Send,
            CqeOpcode::ResponderSendImmediate => Received::SendImmediate(view.immediate()),
            CqeOpcode::ResponderSendInvalidate => Received::SendInvalidate(view.immediate()),
            other => return Err(WireError::NotACompletion(other)),
        };
        ResponderCompletion::parse(received, entry).map(Self::Responder)
    }

    /// Writes the 64 bytes. Where the entry lies in a shared queue, emit to a local array, copy the first 63
    /// bytes, and store byte [`OP_OWN`] last.
    pub fn emit_cqe64(&self, owner: bool, entry: &mut Cqe64) {
        match self {
            Self::Requester(completion) => completion.emit(owner, entry),
            Self::Responder(completion) => completion.emit(owner, entry),
            Self::Error(completion) => completion.emit(owner, entry),
        }
    }

    /// Writes a 128-byte entry: the 64-byte form in the second half, `preceding` in the first.
    pub fn emit_cqe128(&self, owner: bool, preceding: &[u8; 64], cqe: &mut Cqe128) {
        cqe[0] = *preceding;
        self.emit_cqe64(owner, &mut cqe[ENTRY]);
    }
}

impl RequesterCompletion {
    fn parse(entry: &Cqe64) -> Result<Self, WireError> {
        let view = CqeView(entry);
        Ok(Self {
            queue_pair: view.queue_pair(),
            operation: Opcode::from_byte(view.send_opcode_bits())?,
            wqe_counter: view.wqe_counter(),
            byte_count: view.byte_count(),
            timestamp: view.timestamp(),
            scatter: Scatter::parse(entry)?,
        })
    }

    fn emit(&self, owner: bool, entry: &mut Cqe64) {
        *entry = [0; 64];
        if let Scatter::InEntry(payload) = &self.scatter {
            entry[IN_ENTRY].copy_from_slice(payload);
        }
        store32(entry, field::BYTE_COUNT, self.byte_count);
        store64(entry, field::TIMESTAMP, self.timestamp);
        let opcode_queue_pair = (self.operation as u32) << 24 | self.queue_pair & 0x00ff_ffff;
        store32(entry, field::OPCODE_QUEUE_PAIR, opcode_queue_pair);
        store16(entry, field::WQE_COUNTER, self.wqe_counter);
        entry[OP_OWN] = op_own(CqeOpcode::Requester, self.scatter.format(), false, owner);
    }
}

impl ResponderCompletion {
    fn parse(received: Received, entry: &Cqe64) -> Result<Self, WireError> {
        let view = CqeView(entry);
        let scatter = Scatter::parse(entry)?;
        let path = match scatter {
            Scatter::InEntry(_) => ReceivePath::default(),
            Scatter::Memory | Scatter::Preceding => ReceivePath::parse(entry),
        };
        Ok(Self {
            received,
            queue_pair: view.queue_pair(),
            path,
            shared_receive_queue: view.shared_receive_queue(),
            byte_count: view.byte_count(),
            wqe_counter: view.wqe_counter(),
            solicited: view.solicited(),
            timestamp: view.timestamp(),
            scatter,
        })
    }

    fn emit(&self, owner: bool, entry: &mut Cqe64) {
        *entry = [0; 64];
        match &self.scatter {
            Scatter::InEntry(payload) => entry[IN_ENTRY].copy_from_slice(payload),
            Scatter::Memory | Scatter::Preceding => self.path.emit(entry),
        }
        let (opcode, immediate) = match self.received {
            Received::WriteImmediate(immediate) => (CqeOpcode::ResponderWriteImmediate, immediate),
            Received::Send => (CqeOpcode::ResponderSend, 0),
            Received::SendImmediate(immediate) => (CqeOpcode::ResponderSendImmediate, immediate),
            Received::SendInvalidate(key) => (CqeOpcode::ResponderSendInvalidate, key),
        };
        store32(entry, field::SHARED_RECEIVE_QUEUE, self.shared_receive_queue);
        store32(entry, field::IMMEDIATE, immediate);
        store32(entry, field::BYTE_COUNT, self.byte_count);
        store64(entry, field::TIMESTAMP, self.timestamp);
        store32(entry, field::OPCODE_QUEUE_PAIR, self.queue_pair & 0x00ff_ffff);
        store16(entry, field::WQE_COUNTER, self.wqe_counter);
        entry[OP_OWN] = op_own(opcode, self.scatter.format(), self.solicited, owner);
    }
}

impl ReceivePath {
    fn parse(entry: &Cqe64) -> Self {
        let flags = load32(entry, field::FLAGS_SOURCE);
        Self {
            source_queue_pair: flags & 0x00ff_ffff,
            service_level: (flags >> 24) as u8 & 0xf,
            global_route: (flags >> 28) as u8 & 3,
            source_lid: load16(entry, field::SOURCE_LID),
            path_bits: entry[field::PATH_BITS.start],
        }
    }

    fn emit(&self, entry: &mut Cqe64) {
        let levels = u32::from(self.global_route & 3) << 28 | u32::from(self.service_level & 0xf) << 24;
        store32(entry, field::FLAGS_SOURCE, levels | self.source_queue_pair & 0x00ff_ffff);
        store16(entry, field::SOURCE_LID, self.source_lid);
        entry[field::PATH_BITS.start] = self.path_bits;
    }
}
