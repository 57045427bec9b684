//! A device of a few hundred lines behind the lower seam: reads WQEs with `wire` when the doorbell rings, moves
//! bytes inside this process, writes completion entries. Strict where hardware would only go wrong: it checks the
//! doorbell record at ring time, the doorbell word, WQE indexes, reserved bits and keys.

#![allow(unsafe_code, dead_code)] // Each test file uses a part of it.

mod engine;
mod memory;
pub(crate) mod setup;

use pmd_core::{
    provider::{
        CompletionQueueError, CompletionQueueMemory, Hardware, QueuePairHandle, QueuePairNumber,
        ReceiveQueueMemory, SendDoorbell, SendQueueMemory, SharedReceiveQueueMemory, WqeRing,
    },
    wire::{Cqe, cqe, cqe::OP_OWN, doorbell},
};

pub(crate) use memory::Block;

/// What rang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rang {
    /// The doorbell word, with the record's value at that time.
    Plain { control: [u8; 8], record: u32 },
    /// The copied WQE.
    BlueFlame { bytes: Vec<u8>, record: u32 },
}

/// A registered range: key, first byte, length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) key: u32,
    pub(crate) address: u64,
    pub(crate) length: u64,
}

/// Receives of one queue pair or of several.
#[derive(Debug)]
pub(crate) struct Receives {
    pub(crate) memory: Block,
    pub(crate) record: Block,
    pub(crate) count: u32,
    pub(crate) stride_shift: u32,
    pub(crate) shared: bool,
    /// Receives taken, free-running.
    pub(crate) taken: u32,
    /// Slot of the next receive of a shared queue.
    pub(crate) next: u16,
}

/// The device's side of a queue pair.
#[derive(Debug)]
pub(crate) struct DeviceQueuePair {
    pub(crate) number: u32,
    pub(crate) peer: usize,
    pub(crate) send: Block,
    /// `[receive, send]`.
    pub(crate) record: Block,
    pub(crate) slots: u32,
    /// Slots executed, free-running.
    pub(crate) executed: u32,
    /// Producer index at the last doorbell.
    pub(crate) rung: u32,
    pub(crate) receives: Option<usize>,
    pub(crate) failed: bool,
    pub(crate) blue_flame: u32,
    /// Small results and receives go into the completion entry.
    pub(crate) scatter_to_completion: bool,
}

/// The device: everything by index, a queue pair's index is its handle.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) queue_pairs: Vec<DeviceQueuePair>,
    pub(crate) receives: Vec<Receives>,
    pub(crate) regions: Vec<Region>,
    pub(crate) entries: Block,
    pub(crate) entries_record: Block,
    pub(crate) cqe_count: u32,
    pub(crate) cqe_size: u32,
    /// Entries written, free-running.
    pub(crate) produced: u32,
    /// WQEs executed in each `progress`; with `None` they run when the doorbell rings.
    pub(crate) budget: Option<u32>,
    pub(crate) rings: Vec<(usize, Rang)>,
    pub(crate) armed: Vec<[u8; 8]>,
    pub(crate) overrun: bool,
    /// Syndrome to fail the next executed WQE with.
    pub(crate) inject: Option<pmd_core::wire::Syndrome>,
}

impl Device {
    pub(crate) fn new(cqe_count: u32, cqe_size: u32) -> Self {
        Self {
            queue_pairs: Vec::new(),
            receives: Vec::new(),
            regions: Vec::new(),
            entries: Block::new((cqe_count * cqe_size) as usize),
            entries_record: Block::new(8),
            cqe_count,
            cqe_size,
            produced: 0,
            budget: None,
            rings: Vec::new(),
            armed: Vec::new(),
            overrun: false,
            inject: None,
        }
    }

    pub(crate) fn completion_memory(&self) -> CompletionQueueMemory {
        CompletionQueueMemory {
            buffer: self.entries.pointer(),
            cqe_count: self.cqe_count,
            cqe_size: self.cqe_size,
            doorbell_record: self.entries_record.pointer().cast(),
            number: 0x11,
        }
    }

    /// Makes a queue pair whose requests go to the queue pair with index `peer`.
    pub(crate) fn create(&mut self, number: u32, slots: u32, peer: usize) -> usize {
        self.queue_pairs.push(DeviceQueuePair {
            number,
            peer,
            send: Block::new(slots as usize * 64),
            record: Block::new(8),
            slots,
            executed: 0,
            rung: 0,
            receives: None,
            failed: false,
            blue_flame: 0,
            scatter_to_completion: false,
        });
        self.queue_pairs.len() - 1
    }

    pub(crate) fn create_receives(&mut self, count: u32, stride_shift: u32, shared: bool) -> usize {
        self.receives.push(Receives {
            memory: Block::new((count << stride_shift) as usize),
            record: Block::new(8),
            count,
            stride_shift,
            shared,
            taken: 0,
            next: 0,
        });
        self.receives.len() - 1
    }

    pub(crate) fn send_memory(&self, index: usize) -> SendQueueMemory {
        let queue_pair = &self.queue_pairs[index];
        SendQueueMemory {
            buffer: queue_pair.send.pointer(),
            wqe_count: queue_pair.slots,
            // SAFETY: the record has two words.
            doorbell_record: unsafe { queue_pair.record.pointer().cast().add(doorbell::SEND_RECORD) },
        }
    }

    pub(crate) fn receive_memory(&self, index: usize) -> ReceiveQueueMemory {
        let receives = &self.receives[index];
        ReceiveQueueMemory {
            buffer: receives.memory.pointer(),
            wqe_count: receives.count,
            stride_shift: receives.stride_shift,
            doorbell_record: receives.record.pointer().cast(),
        }
    }

    pub(crate) fn shared_memory(&self, index: usize) -> SharedReceiveQueueMemory {
        let ReceiveQueueMemory { buffer, wqe_count, stride_shift, doorbell_record } =
            self.receive_memory(index);
        SharedReceiveQueueMemory { buffer, wqe_count, stride_shift, doorbell_record }
    }

    /// What a modify to Reset does on the device's side.
    pub(crate) fn reset(&mut self, index: usize) {
        let queue_pair = &mut self.queue_pairs[index];
        (queue_pair.executed, queue_pair.rung, queue_pair.failed) = (0, 0, false);
        if let Some(receives) =
            queue_pair.receives.map(|index| &mut self.receives[index]).filter(|r| !r.shared)
        {
            receives.taken = 0;
        }
    }

    pub(crate) fn register(&mut self, block: &Block) -> Region {
        let key = 0xcafe_0000 + self.regions.len() as u32 + 1;
        let region = Region { key, address: block.address(), length: block.len() as u64 };
        self.regions.push(region);
        region
    }

    /// Consumer index in the doorbell record.
    pub(crate) fn consumed(&self) -> u32 {
        self.entries_record.word(doorbell::CONSUMER_RECORD)
    }

    /// Writes a completion entry, its ownership byte last. Entries that nobody consumed are not overwritten.
    pub(crate) fn complete(&mut self, completion: Cqe, preceding: &[u8; 64]) {
        let waiting = self.produced.wrapping_sub(self.consumed()) & 0x00ff_ffff;
        if waiting >= self.cqe_count {
            self.overrun = true;
            return;
        }
        let owner = cqe::owner_bit(self.produced, self.cqe_count);
        let mut entry = [0; 64];
        completion.emit_cqe64(owner, &mut entry);
        let start = ((self.produced & (self.cqe_count - 1)) * self.cqe_size) as usize;
        let end = start + self.cqe_size as usize;
        if self.cqe_size == 128 {
            self.entries.write(start, preceding);
        }
        self.entries.write(end - 64, &entry[..OP_OWN]);
        self.entries.write(end - 1, &entry[OP_OWN..]);
        self.produced = self.produced.wrapping_add(1);
    }

    fn rang(&mut self, index: usize) -> u32 {
        let queue_pair = &mut self.queue_pairs[index];
        let record = queue_pair.record.word(doorbell::SEND_RECORD);
        let step = record.wrapping_sub(queue_pair.rung) & 0xffff;
        assert!(step != 0, "the doorbell rang before its record was written");
        assert!(step <= queue_pair.slots, "the record moved by more than the queue holds");
        queue_pair.rung = queue_pair.rung.wrapping_add(step);
        record
    }

    fn after_ring(&mut self, index: usize, rang: Rang) {
        self.rings.push((index, rang));
        if self.budget.is_none() {
            self.run(index, u32::MAX);
        }
    }
}

/// Doorbell of one queue pair of the device.
pub(crate) struct Doorbell<'a> {
    device: &'a mut Device,
    index: usize,
}

impl SendDoorbell for Doorbell<'_> {
    fn blue_flame_limit(&self) -> u32 {
        self.device.queue_pairs[self.index].blue_flame
    }

    fn ring(&mut self, control: [u8; 8]) {
        let record = self.device.rang(self.index);
        let last = self.device.last_wqe(self.index);
        assert_eq!(last[..8], control, "the doorbell repeats the last WQE");
        self.device.after_ring(self.index, Rang::Plain { control, record });
    }

    fn blue_flame(&mut self, wqe: WqeRing) {
        let before = self.device.queue_pairs[self.index].rung;
        let record = self.device.rang(self.index);
        let queue_pair = &self.device.queue_pairs[self.index];
        assert_eq!(queue_pair.rung.wrapping_sub(before), wqe.slots, "BlueFlame carries all that was posted");
        assert_eq!(wqe.first, before & (queue_pair.slots - 1));
        assert_eq!((wqe.buffer, wqe.wqe_count), (queue_pair.send.pointer(), queue_pair.slots));
        let slots = (0..wqe.slots).map(|slot| (wqe.first + slot) & (wqe.wqe_count - 1));
        let bytes = slots.flat_map(|slot| queue_pair.send.read(slot as usize * 64, 64)).collect();
        self.device.after_ring(self.index, Rang::BlueFlame { bytes, record });
    }
}

impl Hardware for Device {
    type Doorbell<'a> = Doorbell<'a>;

    fn doorbell(&mut self, queue_pair: QueuePairHandle) -> Doorbell<'_> {
        Doorbell { device: self, index: queue_pair.0 as usize }
    }

    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        if let Some(budget) = self.budget {
            for index in 0..self.queue_pairs.len() {
                self.run(index, budget);
            }
        }
        for index in 0..self.queue_pairs.len() {
            self.flush_receives(index);
        }
        if self.overrun { Err(CompletionQueueError::Overrun { capacity: self.cqe_count }) } else { Ok(()) }
    }

    fn arm(&mut self, value: [u8; 8]) {
        self.armed.push(value);
    }
}

/// Number that tests give to the queue pair with an index.
pub(crate) fn number(index: usize) -> QueuePairNumber {
    QueuePairNumber(0x00ab_cd00 + index as u32)
}
