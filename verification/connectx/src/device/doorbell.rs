//! Stores to UAR pages: send doorbells, BlueFlame, and what is neither.
//!
//! `uar` sees the stores and says what they are. In TRAP mode it sees each of them, at once and in order, so that the
//! order of a post can be checked (rdma-core `post_send_db`: WQEs, record, doorbell); the other modes may see them
//! late and may miss some, so there the record alone counts.

use pmd_core::wire::doorbell;

use super::{
    Device,
    turn::Turn,
    wqe::{Fetched, block_address, blocks_of},
};
use crate::{
    config::Mode,
    dma,
    lint::Rule,
    state::{QueuePair, state},
};

/// What a doorbell says: the first eight bytes of the last WQE.
#[derive(Clone, Copy, Debug)]
struct Rung {
    word: u64,
    index: u16,
    number: u32,
    units: u8,
}

impl Rung {
    fn new(word: u64) -> Self {
        let (index, number) = ((word >> 40) as u16, (word >> 8) as u32 & 0x00ff_ffff);
        Self { word, index, number, units: word as u8 }
    }

    /// Index past the WQE.
    fn end(self) -> u16 {
        self.index.wrapping_add(blocks_of(self.units))
    }
}

impl Device {
    /// Eight bytes were stored at the start of a BlueFlame register; `register` is their value as a big-endian number.
    /// The queue pair runs before this returns.
    pub fn ring(&self, register: u64) {
        let rung = Rung::new(register);
        if self.turn(|turn| turn.ring(rung)) {
            self.run(rung.number);
        }
        if self.faults.repeats_doorbell() && self.turn(|turn| turn.ring_again(rung)) {
            self.run(rung.number);
        }
    }

    /// Eight bytes were stored at word `word` (from 1) of a BlueFlame register whose first word was `ringing`.
    pub fn blue_flame(&self, ringing: u64, word: usize, value: u64) {
        self.turn(|turn| turn.blue_flame(Rung::new(ringing), word, value));
    }

    /// Something was stored to a UAR page that is no doorbell.
    pub fn stray_store(&self, offset: usize, bytes: usize) {
        self.turn(|turn| turn.violate(0, Rule::StrayStore { bytes, offset }, String::new()));
    }

    /// Runs every queue pair of this process whose doorbell record moved: for modes in which a doorbell may have been
    /// overwritten by that of another queue pair before it was seen.
    pub fn run_moved(&self) {
        for number in self.turn(|turn| turn.moved()) {
            self.run(number);
        }
    }
}

impl Turn<'_> {
    /// Takes a doorbell; whether there is something to run.
    fn ring(&mut self, rung: Rung) -> bool {
        self.tables.counters.doorbells += 1;
        let is_seen_in_order = self.device.config.mode == Mode::Trap;
        let Some(queue_pair) = self.own_queue_pair(rung.number) else {
            if is_seen_in_order {
                self.violate(rung.number, Rule::UnknownQueuePair { number: rung.number }, String::new());
            }
            return false;
        };
        let Ok(record) = self.send_record(&queue_pair) else { return false };
        if is_seen_in_order && let Err((rule, dump)) = self.check_doorbell(&queue_pair, rung, record) {
            self.violate(rung.number, rule, dump);
        }
        self.accept(&queue_pair, record)
    }

    /// Takes a doorbell that a fault has doubled.
    fn ring_again(&mut self, rung: Rung) -> bool {
        self.tables.counters.faults += 1;
        self.ring(rung)
    }

    /// Makes the record the end of what is executed. A queue pair in RESET or INIT takes no work, and its record may
    /// still be that of before its reset: the driver zeroes it afterwards.
    fn accept(&mut self, queue_pair: &QueuePair, record: u16) -> bool {
        if !takes_work(queue_pair) {
            return false;
        }
        let consumer = queue_pair.send.consumer;
        if u32::from(record.wrapping_sub(consumer)) > queue_pair.send_slots {
            let rule = Rule::SendQueueOverflow { record, consumer, slots: queue_pair.send_slots };
            self.violate(queue_pair.number, rule, String::new());
        }
        self.update(queue_pair.number, |queue_pair| queue_pair.send.rung = record);
        true
    }

    fn send_record(&self, queue_pair: &QueuePair) -> Result<u16, dma::DmaFault> {
        self.counter_record(queue_pair.owner, queue_pair.record + 4 * doorbell::SEND_RECORD as u64)
    }

    /// The record must be there before the doorbell, and the doorbell must name the last WQE.
    fn check_doorbell(&self, queue_pair: &QueuePair, rung: Rung, record: u16) -> Result<(), (Rule, String)> {
        let ahead = rung.end().wrapping_sub(record) as i16;
        let wqe = self.fetch(queue_pair, rung.index).ok();
        let dump = || wqe.as_ref().map(Fetched::dump).unwrap_or_default();
        if ahead > 0 {
            return Err((Rule::RecordBehindDoorbell { rung: rung.end(), record }, dump()));
        }
        let expected = wqe.as_ref().map_or(0, Fetched::head);
        if expected != rung.word {
            return Err((Rule::WrongDoorbell { found: rung.word, expected }, dump()));
        }
        if ahead < 0 {
            let expected = self.last_head(queue_pair, record);
            return Err((Rule::WrongDoorbell { found: rung.word, expected }, dump()));
        }
        Ok(())
    }

    /// The beginning of the last WQE before `record`, for the text of a violation.
    fn last_head(&self, queue_pair: &QueuePair, record: u16) -> u64 {
        let (mut index, mut head) = (queue_pair.send.consumer, 0);
        while record.wrapping_sub(index) as i16 > 0
            && let Ok(wqe) = self.fetch(queue_pair, index)
        {
            head = wqe.head();
            index = index.wrapping_add(wqe.blocks());
        }
        head
    }

    fn blue_flame(&mut self, rung: Rung, word: usize, value: u64) {
        let Some(queue_pair) = self.own_queue_pair(rung.number) else { return };
        if word == 1 {
            self.tables.counters.blue_flames += 1;
        }
        let block = rung.index.wrapping_add((word / 8) as u16);
        let address = block_address(&queue_pair, block) + 8 * (word % 8) as u64;
        let mut bytes = [0; 8];
        if dma::read(self.pid(queue_pair.owner), address, &mut bytes).is_err() {
            return;
        }
        let expected = u64::from_be_bytes(bytes);
        if value != expected {
            self.violate(rung.number, Rule::WrongBlueFlame { word, found: value, expected }, String::new());
        }
    }

    /// Queue pairs of this process with WQEs past those executed.
    fn moved(&mut self) -> Vec<u32> {
        let own = self.device.process;
        let working = |queue_pair: &&QueuePair| queue_pair.owner == own && takes_work(queue_pair);
        let queue_pairs: Vec<QueuePair> = self.tables.queue_pairs.iter().filter(working).copied().collect();
        let mut moved = Vec::new();
        for queue_pair in queue_pairs {
            let Ok(record) = self.send_record(&queue_pair) else { continue };
            if record == queue_pair.send.rung {
                continue;
            }
            self.tables.counters.doorbells += 1;
            if self.accept(&queue_pair, record) {
                moved.push(queue_pair.number);
            }
        }
        moved
    }
}

fn takes_work(queue_pair: &QueuePair) -> bool {
    !matches!(queue_pair.state, state::RESET | state::INIT)
}
