//! Send queue: work requests in, WQE bytes and one doorbell out, finished requests back.
//!
//! [`super::QueueProvider`] posts, rings and retires; the soft HCA and ConnectX read what is written here.
//! Positions count 64-byte slots and run free in 32 bits; the device sees their low 16. Everything the driver
//! needs later is kept in a shadow: queue memory is never read back.
//!
//! ConnectX PRM, "Posting a Work Request to the Work Queue"; rdma-core `mlx5_post_send`, `post_send_db`.

#![allow(unsafe_code)] // Queue memory and doorbell records are shared with a device and known by address only.

use alloc::boxed::Box;
use core::ptr::NonNull;

use super::{
    error::{MAX_INLINE, MAX_MESSAGE, MAX_SGES, QueueError, QueuePairLimits, check_alignment, check_count},
    parts::Parts,
    scatter::scatter,
    units::UnitRing,
};
use crate::{
    memory::{RemoteAddress, Sge},
    mmio,
    provider::{
        CompletionKind, Operation, Payload, PostError, QueuePairNumber, SendDoorbell, SendFlags,
        SendQueueMemory, SendRequest, WqeRing,
    },
    wire::{
        BASIC_BLOCK, ControlFlags, ControlSegment, DataSegment, Opcode, RemoteSegment, UNIT, UNITS_PER_BLOCK,
        Unit, doorbell, inline,
    },
};

/// Most slots: the device's index has 16 bits, and a full queue must differ from an empty one.
const MAX_SLOTS: u32 = 1 << 15;

/// Inline bytes that a slot has room for behind a control and a remote-address segment and the inline header.
const SHORT_INLINE: u32 = (BASIC_BLOCK - 2 * UNIT - inline::HEADER) as u32;

/// Send queue of one queue pair.
#[derive(Debug)]
pub struct SendQueue {
    ring: UnitRing,
    /// Slots written, free-running.
    producer: u32,
    /// Slots retired, free-running.
    consumer: u32,
    /// Producer at the last doorbell.
    rung: u32,
    /// Units of the WQE that the next doorbell may copy to BlueFlame; zero for none.
    blue_flame_units: u32,
    /// What the next doorbell repeats of the last WQE.
    last_control: [u8; 8],
    number: u32,
    limits: QueuePairLimits,
    /// Most inline bytes of a write that takes one slot.
    short_inline: u32,
    /// What is outstanding, by first slot.
    shadow: Box<[Shadow]>,
    /// Where reads and atomics put their bytes, by unit; empty when not kept.
    lists: Box<[Sge]>,
    doorbell_record: NonNull<u32>,
}

/// What differs between the operations of one slot.
#[derive(Clone, Copy, Debug)]
struct Short {
    opcode: Opcode,
    kind: CompletionKind,
    /// All ones where the bytes come back.
    returned: u32,
}

impl Short {
    const WRITE: Self = Self { opcode: Opcode::RdmaWrite, kind: CompletionKind::Write, returned: 0 };
    const READ: Self = Self { opcode: Opcode::RdmaRead, kind: CompletionKind::Read, returned: u32::MAX };
}

/// What the driver remembers of a posted WQE.
#[derive(Clone, Copy, Debug)]
struct Shadow {
    id: u64,
    /// Position of its first slot; tells first slots from others.
    position: u32,
    /// Bytes that come back.
    returned_length: u32,
    /// Slots it takes: the head after it is `position + slots`.
    slots: u16,
    kind: CompletionKind,
}

impl Shadow {
    /// A slot in which no WQE starts.
    const NONE: Self =
        Self { id: 0, position: u32::MAX, returned_length: 0, slots: 1, kind: CompletionKind::Nop };
}

/// A WQE that is not outstanding any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retired {
    pub(super) id: u64,
    pub(super) kind: CompletionKind,
    pub(super) returned_length: u32,
}

// SAFETY: the memory belongs to this queue and the device (`new`'s contract), whichever thread owns the queue.
unsafe impl Send for SendQueue {}

impl SendQueue {
    /// A queue over fresh memory of queue pair `number`: nothing posted, the device's indexes at zero.
    ///
    /// # Errors
    /// [`QueueError`] when the memory's description does not fit together.
    ///
    /// # Safety
    /// - `memory` describes writable memory that outlives the queue and that nobody but the device accesses.
    /// - With [`QueuePairLimits::scatter_to_completion`], every local address of a posted read or atomic is host
    ///   memory that the CPU can write until the request completes.
    pub unsafe fn new(
        number: QueuePairNumber,
        memory: SendQueueMemory,
        limits: QueuePairLimits,
    ) -> Result<Self, QueueError> {
        check_count(memory.wqe_count, MAX_SLOTS)?;
        check_alignment(memory.buffer, BASIC_BLOCK)?;
        check_alignment(memory.doorbell_record, 4)?;
        let slots = memory.wqe_count as usize;
        let limits = QueuePairLimits {
            send_sges: limits.send_sges.min(MAX_SGES),
            inline: limits.inline.min(MAX_INLINE),
            message: limits.message.min(MAX_MESSAGE),
            ..limits
        };
        let kept = if limits.scatter_to_completion { slots * UNITS_PER_BLOCK } else { 0 };
        Ok(Self {
            // SAFETY: the caller's promise, and the checks above.
            ring: unsafe { UnitRing::new(memory.buffer, memory.wqe_count) },
            producer: 0,
            consumer: 0,
            rung: 0,
            blue_flame_units: 0,
            last_control: [0; 8],
            number: number.0,
            limits,
            short_inline: limits.inline.min(limits.message).min(SHORT_INLINE),
            shadow: alloc::vec![Shadow::NONE; slots].into_boxed_slice(),
            lists: alloc::vec![Sge::default(); kept].into_boxed_slice(),
            doorbell_record: memory.doorbell_record,
        })
    }

    /// Writes one request. The device does not see it before [`SendQueue::ring`].
    ///
    /// A write or read of one entry, and a write of so few inline bytes, is one slot, stored at once; everything else goes
    /// segment by segment.
    ///
    /// # Errors
    /// [`PostError`]; nothing was written.
    #[inline(always)]
    pub fn post(&mut self, request: &SendRequest<'_>) -> Result<(), PostError> {
        match &request.operation {
            Operation::Write { remote, local: Payload::Gather([entry]) } if self.is_plain(entry) => {
                self.post_short(request, Short::WRITE, remote, entry)
            }
            Operation::Write { remote, local: Payload::Inline(bytes) } if self.is_short(bytes) => {
                self.post_short_inline(request, remote, bytes)
            }
            Operation::Read { remote, local: [entry] } if self.lists.is_empty() && self.is_plain(entry) => {
                self.post_short(request, Short::READ, remote, entry)
            }
            _ => self.post_general(request),
        }
    }

    /// The only function that rings: barrier, doorbell record, then BlueFlame for a single inline WQE that fits
    /// the register, or the doorbell word of the last WQE. Does nothing when nothing was posted since the last
    /// call.
    #[inline(always)]
    pub fn ring<D: SendDoorbell>(&mut self, doorbell: &mut D) {
        if self.producer == self.rung {
            return;
        }
        mmio::to_device();
        // SAFETY: `new`'s contract: four writable aligned bytes that only this queue writes.
        unsafe {
            mmio::store_record(self.doorbell_record.as_ptr(), doorbell::send_record(self.producer));
        }
        let first = self.rung;
        self.rung = self.producer;
        let bytes = self.blue_flame_units * UNIT as u32;
        if bytes != 0 && bytes <= doorbell.blue_flame_limit() {
            doorbell.blue_flame(WqeRing {
                buffer: self.ring.buffer(),
                wqe_count: self.capacity(),
                first: first & self.ring.mask(),
                slots: self.producer.wrapping_sub(first),
            });
        } else {
            doorbell.ring(self.last_control);
        }
    }

    /// Slots free now.
    #[inline]
    #[must_use]
    pub fn free(&self) -> u32 {
        self.capacity() - self.producer.wrapping_sub(self.consumer)
    }

    /// Slots of the queue.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.ring.mask() + 1
    }

    /// Whether everything posted was handed to the device.
    #[inline]
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.producer == self.rung
    }

    /// Takes the WQE that starts at the device's index `index` out, and with it all unsignalled ones before it.
    /// `None` when no such WQE was handed over.
    #[inline(always)]
    pub(super) fn retire(&mut self, index: u16) -> Option<Retired> {
        let shadow = self.outstanding(index)?;
        let retired = Retired { id: shadow.id, kind: shadow.kind, returned_length: shadow.returned_length };
        self.consumer = shadow.position.wrapping_add(u32::from(shadow.slots));
        Some(retired)
    }

    /// Spreads payload that the completion entry of the WQE at `index` carried over the memory it named; called
    /// before the WQE is retired. False when no lists are kept or the WQE has none.
    #[cold]
    pub(super) fn scatter(&mut self, index: u16, payload: &[u8]) -> bool {
        let reads = |shadow: &Shadow| {
            matches!(
                shadow.kind,
                CompletionKind::Read | CompletionKind::CompareSwap | CompletionKind::FetchAdd
            )
        };
        if self.lists.is_empty() || !self.outstanding(index).is_some_and(reads) {
            return false;
        }
        let mask = self.lists.len() - 1;
        let first = usize::from(index) * UNITS_PER_BLOCK;
        let kept = (first..).map(|unit| self.lists.get(unit & mask).copied().unwrap_or_default());
        let list = kept.take(MAX_SGES as usize).take_while(|entry| entry.length != 0);
        // SAFETY: `new`'s contract on posted addresses; the request is outstanding until it is retired.
        unsafe { scatter(list, payload) };
        true
    }

    /// What was posted at the device's index `index`, if a WQE starts there that was handed over and not retired.
    #[inline(always)]
    fn outstanding(&self, index: u16) -> Option<&Shadow> {
        let distance = u32::from(index.wrapping_sub(self.consumer as u16));
        let position = self.consumer.wrapping_add(distance);
        let shadow = self.shadow.get((position & self.ring.mask()) as usize)?;
        let handed_over = self.rung.wrapping_sub(self.consumer);
        (shadow.position == position && distance < handed_over).then_some(shadow)
    }

    /// Forgets everything posted, as the device did on its way to Reset.
    pub(super) fn reset(&mut self) {
        (self.producer, self.consumer, self.rung, self.blue_flame_units) = (0, 0, 0, 0);
        self.shadow.fill(Shadow::NONE);
        // SAFETY: as in `ring`.
        unsafe { mmio::store_record(self.doorbell_record.as_ptr(), doorbell::send_record(0)) };
    }

    /// Puts all indexes of an empty queue near the end of their range.
    #[cfg(all(test, not(loom)))]
    pub(super) fn start_at(&mut self, position: u32) {
        (self.producer, self.consumer, self.rung) = (position, position, position);
    }

    /// Whether an entry can go the short way: neither empty nor longer than a message, in one comparison.
    #[inline(always)]
    fn is_plain(&self, entry: &Sge) -> bool {
        entry.length.wrapping_sub(1) < self.limits.message
    }

    /// Whether inline bytes can go the short way: some, and no more than a slot and the queue pair take.
    #[inline(always)]
    fn is_short(&self, bytes: &[u8]) -> bool {
        bytes.len().wrapping_sub(1) < self.short_inline as usize
    }

    /// One slot of control, remote-address and inline segment.
    #[inline(always)]
    fn post_short_inline(
        &mut self,
        request: &SendRequest<'_>,
        remote: &RemoteAddress,
        bytes: &[u8],
    ) -> Result<(), PostError> {
        self.reserve(1)?;
        let units = 2 + inline::units(bytes.len()) as u32;
        let control = self.control(Opcode::RdmaWrite, units, request.flags, 0);
        let mut block = [control, [0; UNIT], [0; UNIT], [0; UNIT]];
        remote_segment(remote).emit(&mut block[1]);
        self.ring.write_inline_block(self.producer, block, bytes);
        self.blue_flame_units = self.alone(units);
        self.commit(request, control, CompletionKind::Write, 0, 1);
        Ok(())
    }

    /// What a doorbell may copy to BlueFlame of an inline WQE of so many units: all of it where nothing waits before it.
    #[inline(always)]
    fn alone(&self, units: u32) -> u32 {
        if self.is_rung() { units } else { 0 }
    }

    /// One slot of control, remote-address and data segment.
    #[inline(always)]
    fn post_short(
        &mut self,
        request: &SendRequest<'_>,
        short: Short,
        remote: &RemoteAddress,
        entry: &Sge,
    ) -> Result<(), PostError> {
        self.reserve(1)?;
        let control = self.control(short.opcode, 3, request.flags, 0);
        let mut block = [control, [0; UNIT], [0; UNIT], [0; UNIT]];
        remote_segment(remote).emit(&mut block[1]);
        data_segment(entry).emit(&mut block[2]);
        self.ring.write_block(self.producer, block);
        self.blue_flame_units = 0;
        self.commit(request, control, short.kind, entry.length & short.returned, 1);
        Ok(())
    }

    /// Any operation, segment by segment.
    #[inline(never)]
    fn post_general(&mut self, request: &SendRequest<'_>) -> Result<(), PostError> {
        let parts = Parts::new(&request.operation);
        parts.check(&self.limits)?;
        let units = parts.units();
        let slots = units.div_ceil(UNITS_PER_BLOCK as u32);
        self.reserve(slots)?;
        let control = self.control(parts.opcode, units, request.flags, parts.immediate);
        let mut writer = self.ring.writer(self.producer);
        writer.push(control);
        if let Some(remote) = &parts.remote {
            writer.push(emitted(|unit| remote_segment(remote).emit(unit)));
        }
        if let Some(atomic) = &parts.atomic {
            writer.push(emitted(|unit| atomic.emit(unit)));
        }
        match parts.data {
            Payload::Inline([]) => {}
            Payload::Inline(bytes) => writer.push_inline(bytes),
            Payload::Gather(list) => list
                .iter()
                .filter(|entry| entry.length != 0)
                .for_each(|entry| writer.push(emitted(|unit| data_segment(entry).emit(unit)))),
        }
        self.keep_list(&parts);
        let is_inline = matches!(parts.data, Payload::Inline([_, ..]));
        self.blue_flame_units = if is_inline { self.alone(units) } else { 0 };
        self.commit(request, control, parts.kind, parts.returned_length(), slots);
        Ok(())
    }

    /// Whether `slots` are free.
    #[inline(always)]
    fn reserve(&self, slots: u32) -> Result<(), PostError> {
        if slots <= self.free() { Ok(()) } else { Err(self.refusal(slots)) }
    }

    #[cold]
    fn refusal(&self, needed: u32) -> PostError {
        let capacity = self.capacity();
        if needed > capacity {
            PostError::LargerThanQueue { needed, capacity }
        } else {
            PostError::QueueFull { needed, free: self.free(), capacity }
        }
    }

    #[inline(always)]
    fn control(&self, opcode: Opcode, units: u32, flags: SendFlags, immediate: u32) -> Unit {
        let segment = ControlSegment {
            opcode,
            opmod: 0,
            index: self.producer as u16,
            queue_pair: self.number,
            units: units as u8,
            flags: control_flags(flags),
            immediate,
        };
        segment.to_bytes()
    }

    /// Moves the producer past a written WQE and remembers it.
    #[inline(always)]
    fn commit(
        &mut self,
        request: &SendRequest<'_>,
        control: Unit,
        kind: CompletionKind,
        returned_length: u32,
        slots: u32,
    ) {
        let position = self.producer;
        let index = (position & self.ring.mask()) as usize;
        debug_assert!(index < self.shadow.len());
        // SAFETY: the shadow has one entry for each slot (`new`), and the mask is the number of slots less one.
        let shadow = unsafe { self.shadow.get_unchecked_mut(index) };
        *shadow = Shadow { id: request.id, position, returned_length, slots: slots as u16, kind };
        self.last_control = doorbell::send_register(&control).to_ne_bytes();
        self.producer = position.wrapping_add(slots);
    }

    /// Remembers where a read or atomic puts its bytes, by the first units of its slots.
    #[inline]
    fn keep_list(&mut self, parts: &Parts<'_>) {
        let Payload::Gather(list) = parts.data else { return };
        if self.lists.is_empty() || !parts.returns_data() {
            return;
        }
        let mask = self.lists.len() - 1;
        let first = self.producer as usize * UNITS_PER_BLOCK;
        let posted = list.iter().copied().filter(|entry| entry.length != 0);
        for (unit, entry) in (first..).zip(posted.chain([Sge::default()])) {
            if let Some(shadow) = self.lists.get_mut(unit & mask) {
                *shadow = entry;
            }
        }
    }
}

/// `fm_ce_se` of every combination of [`SendFlags`].
const CONTROL_FLAGS: [u8; 8] = {
    let mut table = [0; 8];
    let mut bits = 0;
    while bits < table.len() {
        let flags = SendFlags::from_bits_truncate(bits as u32);
        if flags.contains(SendFlags::FENCE) {
            table[bits] |= ControlFlags::FENCE.bits();
        }
        if flags.contains(SendFlags::SIGNALED) {
            table[bits] |= ControlFlags::CQ_UPDATE.bits();
        }
        if flags.contains(SendFlags::SOLICITED) {
            table[bits] |= ControlFlags::SOLICITED.bits();
        }
        bits += 1;
    }
    table
};

#[inline(always)]
fn control_flags(flags: SendFlags) -> ControlFlags {
    ControlFlags::from_bits_retain(CONTROL_FLAGS[flags.bits() as usize & 7])
}

#[inline(always)]
fn remote_segment(remote: &RemoteAddress) -> RemoteSegment {
    RemoteSegment { address: remote.address, rkey: remote.key.0 }
}

#[inline(always)]
fn data_segment(entry: &Sge) -> DataSegment {
    DataSegment { length: entry.length, lkey: entry.key.0, address: entry.address }
}

#[inline(always)]
fn emitted(emit: impl FnOnce(&mut Unit)) -> Unit {
    let mut unit = [0; UNIT];
    emit(&mut unit);
    unit
}
