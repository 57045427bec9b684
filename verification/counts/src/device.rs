//! The driver's queue pair over plain memory, for work requests of one slot: what is posted goes nowhere, completions are
//! put in by hand.
//!
//! Doorbells are stored as to a ConnectX, barriers included, into memory that stands for the register. Called by the
//! subjects of [`subjects::queue`](crate::subjects), and by `interop`, which sets libmlx5's queue pair beside it.
#![allow(unsafe_code)] // lends queue memory to the driver and writes completion entries into it

use std::ptr::NonNull;

use pmd_core::{
    provider::{
        CompletionQueueError, CompletionQueueMemory, Hardware, QueuePairHandle, QueuePairNumber,
        SendQueueMemory,
    },
    queue::{
        AttachError, DoorbellRegister, HandleError, QueueError, QueuePairLimits, QueuePairState,
        QueueProvider, ReceiveSource,
    },
    wire::{Cqe, Opcode, RequesterCompletion, Scatter, cqe},
};

/// Number of the only queue pair.
pub const NUMBER: u32 = 0x42;

/// Bytes of a half of the doorbell register, and of the longest work request that is copied into it.
const HALF: u32 = 256;

/// Sizes of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Slots of 64 bytes of the send queue, a power of two.
    pub slots: u32,
    /// Entries of the completion queue of 64 bytes each, a power of two and at least `slots`.
    pub entries: u32,
    /// Payload in bytes that can lie in a work request; 28 fit into one slot of a WRITE.
    pub inline: u32,
}

/// Why there is no queue pair. Only a [`Shape`] that is none leads here.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The completion queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue pair.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Its way to the state in which it sends.
    #[error(transparent)]
    State(#[from] HandleError),
}

/// A queue pair that sends.
#[derive(Debug)]
pub struct Plain {
    /// What is posted to and polled.
    pub provider: QueueProvider<Memory>,
    /// The queue pair.
    pub queue_pair: QueuePairHandle,
}

/// The device: memory of this process.
#[derive(Debug)]
pub struct Memory {
    _slots: Box<[Block]>,
    completions: Box<[Block]>,
    _records: Box<Records>,
    _register: Box<[Block; 8]>,
    doorbell: DoorbellRegister,
    /// Free-running slot of the next request to complete.
    done: u16,
    /// Free-running number of the next completion entry.
    written: u32,
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

impl Plain {
    /// Fresh queues of this shape.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn new(shape: Shape) -> Result<Self, DeviceError> {
        let block = Block([0; 64]);
        let mut slots = vec![block; shape.slots as usize].into_boxed_slice();
        let mut completions = vec![block; shape.entries as usize].into_boxed_slice();
        let mut records = Box::<Records>::default();
        let mut register = Box::new([block; 8]);
        let completion_queue = CompletionQueueMemory {
            buffer: pointer(completions.as_mut_ptr()).cast(),
            cqe_count: shape.entries,
            cqe_size: 64,
            doorbell_record: pointer(&raw mut records.completion),
            number: 1,
        };
        let send_queue = SendQueueMemory {
            buffer: pointer(slots.as_mut_ptr()).cast(),
            wqe_count: shape.slots,
            doorbell_record: pointer(&raw mut records.queue_pair[1]),
        };
        // SAFETY: two halves of memory that lives as long as the register's owner, written by nobody else.
        let doorbell = unsafe { DoorbellRegister::new(pointer(register.as_mut_ptr()).cast(), HALF) };
        let memory = Memory {
            _slots: slots,
            completions,
            _records: records,
            _register: register,
            doorbell,
            done: 0,
            written: 0,
        };
        // SAFETY: the queue's memory is on the heap, in boxes that the provider's own device keeps, and is reached through
        // these addresses only; entries that are written by hand are not the driver's then.
        let mut provider = unsafe { QueueProvider::new(memory, completion_queue) }?;
        let limits = QueuePairLimits { inline: shape.inline, ..QueuePairLimits::default() };
        // SAFETY: as above; the device has this one queue pair and its indexes are zero.
        let queue_pair =
            unsafe { provider.attach(QueuePairNumber(NUMBER), send_queue, ReceiveSource::None, limits) }?;
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            provider.set_state(queue_pair, state)?;
        }
        Ok(Self { provider, queue_pair })
    }

    /// Completes the next `count` requests, with an entry for each that is a multiple of `interval`.
    pub fn complete(&mut self, count: u16, interval: u16) {
        let memory = self.provider.hardware_mut();
        for request in 1..=count {
            if request % interval == 0 {
                memory.write(memory.done);
            }
            memory.done = memory.done.wrapping_add(1);
        }
    }
}

impl Memory {
    /// Writes the entry of the request in this slot.
    fn write(&mut self, slot: u16) {
        let completion = Cqe::Requester(RequesterCompletion {
            queue_pair: NUMBER,
            operation: Opcode::RdmaWrite,
            wqe_counter: slot,
            byte_count: 0,
            timestamp: 0,
            scatter: Scatter::Memory,
        });
        let entries = self.completions.len() as u32;
        let mut block = Block([0; 64]);
        completion.emit_cqe64(cqe::owner_bit(self.written, entries), &mut block.0);
        let place = (self.written % entries) as usize;
        // SAFETY: the entry is in the queue; driver and device are one thread, and the driver is elsewhere.
        unsafe { self.completions.as_mut_ptr().add(place).write_volatile(block) };
        self.written = self.written.wrapping_add(1);
    }
}

impl Hardware for Memory {
    type Doorbell<'a> = &'a mut DoorbellRegister;

    #[inline]
    fn doorbell(&mut self, _: QueuePairHandle) -> &mut DoorbellRegister {
        &mut self.doorbell
    }

    #[inline]
    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, _: [u8; 8]) {}
}

/// The address of memory that a box holds.
fn pointer<T>(address: *mut T) -> NonNull<T> {
    NonNull::new(address).unwrap_or(NonNull::dangling())
}
