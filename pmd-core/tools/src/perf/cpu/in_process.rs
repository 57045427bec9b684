//! A device that does nothing but complete: plain memory behind the lower seam, so that only the driver is measured.
#![allow(unsafe_code)] // lends queue memory to the driver and writes completion entries into it

use std::ptr::NonNull;

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        CompletionQueueError, CompletionQueueMemory, Hardware, QueuePairHandle, QueuePairNumber,
        SendDoorbell, SendQueueMemory, WqeRing,
    },
    queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
    wire::{Cqe, Opcode, RequesterCompletion, Scatter, cqe},
};

use super::{INLINE, SPAN};
use crate::perf::error::PerfError;

/// Slots of the send queue and entries of the completion queue: inline entries may take several slots each.
const SLOTS: usize = 4 * SPAN as usize;

/// Number of the only queue pair.
const NUMBER: u32 = 0x42;

/// Where writes go: nowhere, since nothing is moved.
pub(super) const REMOTE: RemoteAddress = RemoteAddress { address: 0x1000, key: RemoteKey(7) };

/// The entry that describes `bytes`, under a key that nobody looks at.
pub(super) fn entry(bytes: &[u8]) -> Sge {
    Sge { address: bytes.as_ptr().addr() as u64, length: bytes.len() as u32, key: LocalKey(9) }
}

/// One block of queue memory.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
struct Block([u8; 64]);

/// Doorbell records: the completion queue's two words, the queue pair's two.
#[repr(C, align(64))]
#[derive(Debug, Default)]
struct Records {
    completion: [u32; 2],
    queue_pair: [u32; 2],
}

/// The driver's queue pair over memory of this process.
#[derive(Debug)]
pub(super) struct InProcess {
    provider: QueueProvider<Completer>,
    queue_pair: QueuePairHandle,
}

/// The device: knows what was rung, completes it when told.
#[derive(Debug)]
pub(super) struct Completer {
    slots: Box<[Block]>,
    completions: Box<[Block]>,
    records: Box<Records>,
    /// Free-running slot after the last one that was rung.
    rung: u16,
    /// Free-running slot of the next entry to complete.
    done: u16,
    /// Free-running number of the next completion entry.
    written: u32,
}

// SAFETY: one owner at a time reaches the memory, whichever thread that is on.
unsafe impl Send for Completer {}

impl InProcess {
    /// A connected queue pair.
    pub(super) fn new() -> Result<Self, PerfError> {
        let block = Block([0; 64]);
        let mut device = Completer {
            slots: vec![block; SLOTS].into_boxed_slice(),
            completions: vec![block; SLOTS].into_boxed_slice(),
            records: Box::default(),
            rung: 0,
            done: 0,
            written: 0,
        };
        let completion_queue = CompletionQueueMemory {
            buffer: pointer(device.completions.as_mut_ptr()).cast(),
            cqe_count: SLOTS as u32,
            cqe_size: 64,
            doorbell_record: pointer(&raw mut device.records.completion),
            number: 1,
        };
        let send_queue = SendQueueMemory {
            buffer: pointer(device.slots.as_mut_ptr()).cast(),
            wqe_count: SLOTS as u32,
            doorbell_record: pointer(&raw mut device.records.queue_pair[1]),
        };
        // SAFETY: the memory is on the heap, in boxes that the provider's own device keeps, and is reached through
        // these addresses only; the completer writes entries that are not the driver's.
        let mut provider = unsafe { QueueProvider::new(device, completion_queue) }?;
        let limits = QueuePairLimits { inline: INLINE, ..QueuePairLimits::default() };
        // SAFETY: as above; the device has this one queue pair and its indexes are zero.
        let queue_pair =
            unsafe { provider.attach(QueuePairNumber(NUMBER), send_queue, ReceiveSource::None, limits) }?;
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            provider.set_state(queue_pair, state)?;
        }
        Ok(Self { provider, queue_pair })
    }

    /// The queue pair.
    pub(super) fn queue_pair(&self) -> QueuePairHandle {
        self.queue_pair
    }

    /// What is posted to and polled.
    pub(super) fn provider(&mut self) -> &mut QueueProvider<Completer> {
        &mut self.provider
    }

    /// Completes everything that was rung.
    pub(super) fn deliver(provider: &mut QueueProvider<Completer>) {
        provider.hardware_mut().complete();
    }
}

impl Completer {
    fn complete(&mut self) {
        while self.done != self.rung {
            let slot = usize::from(self.done) % SLOTS;
            // SAFETY: the slot is in the queue; the driver does not write what was rung and is not completed.
            let block = unsafe { self.slots.as_ptr().add(slot).read_volatile() };
            let completion = Cqe::Requester(RequesterCompletion {
                queue_pair: NUMBER,
                operation: Opcode::RdmaWrite,
                wqe_counter: self.done,
                byte_count: 0,
                timestamp: 0,
                scatter: Scatter::Memory,
            });
            self.write(&completion);
            // The low six bits of `ds` in the control segment's eighth byte: units of 16 bytes.
            let slots = u16::from(block.0[7] & 0x3f).div_ceil(4);
            self.done = self.done.wrapping_add(slots.max(1));
        }
    }

    /// Writes the next completion entry.
    fn write(&mut self, completion: &Cqe) {
        let mut block = Block([0; 64]);
        completion.emit_cqe64(cqe::owner_bit(self.written, SLOTS as u32), &mut block.0);
        let place = self.written as usize % SLOTS;
        // SAFETY: the entry is in the queue, which has room for all slots of the send queue; driver and device are
        // one thread, so the order of its bytes does not matter.
        unsafe { self.completions.as_mut_ptr().add(place).write_volatile(block) };
        self.written = self.written.wrapping_add(1);
    }
}

impl Hardware for Completer {
    type Doorbell<'a> = Bell<'a>;

    #[inline]
    fn doorbell(&mut self, _: QueuePairHandle) -> Bell<'_> {
        Bell { register: &mut self.rung, record: &raw const self.records.queue_pair[1] }
    }

    #[inline]
    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, _: [u8; 8]) {}
}

/// The doorbell: notes the producer index that the driver has put into the doorbell record.
#[derive(Debug)]
pub(super) struct Bell<'a> {
    register: &'a mut u16,
    record: *const u32,
}

impl SendDoorbell for Bell<'_> {
    #[inline]
    fn blue_flame_limit(&self) -> u32 {
        0
    }

    #[inline]
    fn ring(&mut self, _: [u8; 8]) {
        // SAFETY: the record is in the completer's box, and this thread has written it just before.
        let producer = u32::from_be(unsafe { self.record.read_volatile() });
        *self.register = producer as u16;
    }

    fn blue_flame(&mut self, _: WqeRing) {}
}

/// The address of memory that a box holds.
fn pointer<T>(address: *mut T) -> NonNull<T> {
    NonNull::new(address).unwrap_or(NonNull::dangling())
}

#[cfg(test)]
mod tests;
