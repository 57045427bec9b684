//! STEP and THREAD: register pages are writable, and looked at now and then.
//!
//! What a store leaves behind is the last value in each place, taken out with one atomic exchange. Between two looks a
//! register can have been rung for several queue pairs, of which only the last is seen, and doorbell records go on moving:
//! so that any doorbell makes the device look at all queue pairs of the process, and any arm at all completion queues.
#![allow(unsafe_code)] // reads pages that a driver writes

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pmd_core::sync::{AtomicU64, Ordering};

use super::{
    pages::{HALF_BYTES, PAGE_BYTES, Page, Pages, REGISTERS_START},
    stores::ARM,
};
use crate::{device::Device, dma};

/// Looks at pages, and remembers what it saw.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Arm records as they were last seen, by CQN. Held through a whole scan: pages that are looked at are not unmapped,
    /// and whoever finds a register emptied by another thread finds its work done as well.
    seen: Mutex<BTreeMap<u32, u32>>,
}

impl Scanner {
    /// Keeps scans away, for as long as it lives.
    pub(super) fn exclude(&self) -> MutexGuard<'_, BTreeMap<u32, u32>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all pages and carries out what was stored.
    pub(super) fn scan(&self, device: &Device, pages: &Pages) {
        let mut seen = self.exclude();
        let (rung, arms) = look(pages);
        if rung {
            device.run_moved();
        }
        if !arms.is_empty() {
            arm(device, &arms, &mut seen);
        }
    }
}

/// Empties all registers: whether one was rung, and all arms.
fn look(pages: &Pages) -> (bool, Vec<u64>) {
    let (mut rung, mut arms) = (false, Vec::new());
    for page in pages.mapped() {
        arms.extend(take(page, ARM));
        // Every half is emptied: `|`, not `||`.
        let halves = (REGISTERS_START..PAGE_BYTES).step_by(HALF_BYTES);
        rung = halves.fold(rung, |rung, offset| rung | take(page, offset).is_some());
    }
    (rung, arms)
}

/// Arms what was seen, and the completion queues of this process whose arm record has moved unseen: another arm came
/// over theirs.
///
/// A queue's first arm at consumer index 0 makes its record 0, as a new one is: that one can be lost in THREAD, where
/// nothing looks between two arms.
fn arm(device: &Device, arms: &[u64], seen: &mut BTreeMap<u32, u32>) {
    for register in arms {
        seen.insert(*register as u32, (*register >> 32) as u32);
        device.arm(*register);
    }
    let queues = queues(device);
    seen.retain(|number, _| queues.iter().any(|(queue, _)| queue == number));
    for (number, record) in queues {
        let Some(record) = arm_record(record) else { continue };
        if seen.insert(number, record).unwrap_or(0) != record {
            device.arm(u64::from(record) << 32 | u64::from(number));
        }
    }
}

/// Takes the value at an offset out of a page, if there is one.
fn take(page: &Page, offset: usize) -> Option<u64> {
    let address: *mut u64 = std::ptr::with_exposed_provenance_mut(page.address() + offset);
    // SAFETY: an aligned word of a page that was mapped readable and writable in this mode. It is forgotten before it is
    // unmapped, and not while this looks.
    let word = unsafe { AtomicU64::from_ptr(address) };
    let is_empty = word.load(Ordering::Relaxed) == 0;
    let value = if is_empty { 0 } else { word.swap(0, Ordering::AcqRel) };
    (value != 0).then_some(u64::from_be(value))
}

/// CQN and doorbell record of each completion queue of this process.
fn queues(device: &Device) -> Vec<(u32, u64)> {
    let tables = device.lock();
    let own = tables.completion_queues.iter().filter(|queue| queue.owner == device.process);
    own.map(|queue| (queue.number, queue.record)).collect()
}

/// The second word of a completion queue's doorbell record; `None` when the queue was freed just now.
fn arm_record(record: u64) -> Option<u32> {
    let mut word = [0; 4];
    dma::read(dma::own_pid(), record + 4, &mut word).ok().map(|()| u32::from_be_bytes(word))
}

#[cfg(test)]
mod tests {
    use std::{env, thread, time::Duration};

    use super::*;
    use crate::{
        config::Config,
        state::{CompletionQueue, QueuePair, state},
        uar::PageKind,
    };

    /// A page, queues and records in this process's memory.
    #[repr(C, align(4096))]
    struct Memory {
        page: [u64; 512],
        sends: [[u32; 16]; 2],
        completions: [[u8; 64]; 4],
        send_records: [[u32; 2]; 2],
        completion_records: [[u32; 2]; 2],
    }

    const RING_INDEX: usize = REGISTERS_START / 8;
    const ARM_INDEX: usize = ARM / 8;
    /// NOP, and a CQE wanted.
    const NOP_UNITS: u32 = 1;
    const UPDATE: u32 = 8;

    struct Bench {
        device: Device,
        scanner: Scanner,
        pages: Box<Pages>,
        memory: Box<Memory>,
        queues: [u32; 2],
        queue_pairs: [u32; 2],
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("connectx-scan-{name}-{}", std::process::id()));
            let set = |variable: &str| match variable {
                "CONNECTX_STATE" => Some(path.clone().into()),
                "CONNECTX_MODE" => Some("step".into()),
                _ => None,
            };
            let config = Config::from_lookup(set).expect("valid").expect("named");
            let device = Device::open(config).expect("a new file");
            std::fs::remove_file(&path).expect("the file is there");
            // SAFETY: plain integers.
            let mut memory = unsafe { Box::<Memory>::new_zeroed().assume_init() };
            memory.completions.iter_mut().for_each(|entry| entry[63] = 0xf0);
            let pages = Box::new(Pages::new());
            assert!(pages.add(memory.page.as_ptr() as usize, PageKind::BlueFlame));
            let queues = [0, 1].map(|index| add_queue(&device, &memory, index));
            let queue_pairs = [0, 1].map(|index| add_queue_pair(&device, &memory, index, queues[index]));
            Self { device, scanner: Scanner::default(), pages, memory, queues, queue_pairs }
        }

        /// Posts a NOP to a queue pair, which shares the register with the other one.
        fn post(&mut self, index: usize) {
            let number = self.queue_pairs[index];
            let wqe = &mut self.memory.sends[index];
            wqe[..3].copy_from_slice(&[0, (number << 8 | NOP_UNITS).to_be(), UPDATE.to_be()]);
            self.memory.send_records[index][1] = 1u32.to_be();
            self.memory.page[RING_INDEX] = u64::from(number << 8 | NOP_UNITS).to_be();
        }

        fn arm(&mut self, index: usize, record: u32) {
            self.memory.completion_records[index][1] = record.to_be();
            self.memory.page[ARM_INDEX] = (u64::from(record) << 32 | u64::from(self.queues[index])).to_be();
        }

        fn is_armed(&self, index: usize) -> bool {
            self.device.lock().completion_queues.find(self.queues[index]).expect("it is there").armed
        }

        fn scan(&self) {
            self.scanner.scan(&self.device, &self.pages);
        }
    }

    fn add_queue(device: &Device, memory: &Memory, index: usize) -> u32 {
        let make = |number, _| CompletionQueue {
            number,
            owner: device.process,
            entry_bytes: 64,
            entries: 2,
            buffer: memory.completions[index * 2..].as_ptr() as u64,
            record: memory.completion_records[index..].as_ptr() as u64,
            channel: -1,
            ..CompletionQueue::default()
        };
        device.lock().completion_queues.add(make).expect("room").number
    }

    fn add_queue_pair(device: &Device, memory: &Memory, index: usize, queue: u32) -> u32 {
        let make = |number, _| QueuePair {
            number,
            owner: device.process,
            state: state::RTS,
            send_completions: queue,
            receive_completions: queue,
            send_buffer: memory.sends[index..].as_ptr() as u64,
            send_slots: 1,
            record: memory.send_records[index..].as_ptr() as u64,
            ..QueuePair::default()
        };
        device.lock().queue_pairs.add(make).expect("room").number
    }

    #[test]
    fn a_doorbell_over_another_queue_pairs_loses_no_work() {
        let mut bench = Bench::new("doorbells");
        bench.scan();
        assert!(bench.memory.completions.iter().all(|entry| entry[63] == 0xf0));
        bench.post(0);
        bench.post(1);
        bench.scan();
        // Requester CQEs of the first turn of each queue.
        assert_eq!(bench.memory.completions.map(|entry| entry[63]), [0x00, 0xf0, 0x00, 0xf0]);
        assert_eq!(bench.memory.page[RING_INDEX], 0);
    }

    #[test]
    fn who_finds_a_register_emptied_finds_the_work_done() {
        let mut bench = Bench::new("together");
        bench.post(0);
        let completed = || bench.memory.completions[0][63] == 0;
        let register = bench.memory.page.as_ptr().wrapping_add(RING_INDEX);
        thread::scope(|scope| {
            let held = bench.device.lock();
            let first = scope.spawn(|| bench.scan());
            // SAFETY: a word of the page, which scans reach as an atomic.
            while unsafe { AtomicU64::from_ptr(register.cast_mut()) }.load(Ordering::Acquire) != 0 {
                thread::yield_now();
            }
            let second = scope.spawn(|| {
                bench.scan();
                // SAFETY: the device is done with it.
                unsafe { (&raw const bench.memory.completions[0][63]).read_volatile() }
            });
            // Long enough for a scan that does not wait.
            thread::sleep(Duration::from_millis(20));
            drop(held);
            assert_eq!(second.join().expect("no panic"), 0, "no completion");
            first.join().expect("no panic");
        });
        assert!(completed());
    }

    #[test]
    fn without_a_doorbell_nothing_runs() {
        let mut bench = Bench::new("silent");
        bench.post(0);
        bench.memory.page[RING_INDEX] = 0;
        bench.scan();
        assert!(bench.memory.completions.iter().all(|entry| entry[63] == 0xf0));
    }

    #[test]
    fn an_arm_over_another_queues_arms_both() {
        let mut bench = Bench::new("arms");
        // Command 0, consumer index 5 and 6: nothing is there, so that they stay armed.
        bench.arm(0, 5);
        bench.arm(1, 6);
        bench.scan();
        assert!(bench.is_armed(0) && bench.is_armed(1));
        assert_eq!(bench.memory.page[ARM_INDEX], 0);
    }

    #[test]
    fn a_record_that_did_not_move_is_not_armed_again() {
        let mut bench = Bench::new("once");
        bench.arm(0, 5);
        bench.scan();
        let number = bench.queues[0];
        bench.device.lock().completion_queues.find_mut(number).expect("it is there").armed = false;
        bench.arm(1, 6);
        bench.scan();
        assert!(!bench.is_armed(0) && bench.is_armed(1));
    }
}
