//! A poller against a device that writes what it likes into the completion queue.
//!
//! Two queue pairs have requests outstanding, one with receives of its own and one with shared ones. Whatever the
//! entries say, each request completes at most once, in the order in which queues retire, and payload from entries
//! lands nowhere but in the memory that a request named.
#![allow(unsafe_code)] // queues are attached over raw memory, and payload is written by address

use std::collections::HashSet;

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        Completion, CompletionQueueError, CompletionQueueMemory, Hardware, Operation, Payload, Provider,
        QueuePairHandle, QueuePairNumber, ReceiveQueueMemory, ReceiveRequest, SendDoorbell, SendFlags,
        SendQueueMemory, SendRequest, SharedReceiveQueueMemory, WqeRing,
    },
    queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
    wire::{Cqe64, cqe},
};

use crate::memory::Block;

/// Entries of one input that are looked at.
pub const MOST_ENTRIES: usize = 64;
/// Shape bit: entries of 128 bytes.
pub const WIDE: u8 = 0x01;
/// Shape bit: the queue pairs take payload from entries.
pub const SCATTER: u8 = 0x02;
/// Shape bit: entries keep the owner bit that the input gives them, and may lie there as not yet written.
pub const ANY_OWNER: u8 = 0x04;
/// Shape bit: entries name one of the queue pairs, whatever the input says.
pub const OUR_NUMBERS: u8 = 0x08;

/// Numbers of the queue pairs.
pub const NUMBERS: [u32; 2] = [0x12, 0x13];

const ENTRIES: u32 = 16;
const SLOTS: u32 = 16;
const RECEIVES: u32 = 8;
/// Bytes of each element of a list; the element after it is not for the device.
const PIECE: usize = 24;
const GUARD: u8 = 0x5a;

/// Writes the entries one after the other and polls after each.
pub fn run(shape: u8, entries: &[Cqe64]) {
    let mut bench = Bench::new(shape);
    let mut done = HashSet::new();
    let stride = if shape & WIDE == 0 { 1 } else { 2 };
    for (number, bytes) in entries.chunks_exact(stride).take(MOST_ENTRIES).enumerate() {
        bench.write(shape, number as u32, bytes);
        let mut completions = [Completion::EMPTY; 4];
        let outcome = bench.provider.poll(&mut completions);
        for completion in &completions[..outcome.unwrap_or(0)] {
            assert!(bench.outstanding.contains(&completion.id), "{completion:?} was not posted");
            assert!(done.insert(completion.id), "{completion:?} completes again");
            assert!(NUMBERS.contains(&completion.queue_pair.0), "{completion:?}");
        }
        if let Err(error) = outcome {
            assert_eq!(bench.provider.poll(&mut completions), Err(error), "a broken queue stays broken");
            assert!(
                bench.handles.iter().all(|handle| bench.provider.state(*handle) == QueuePairState::Error)
            );
        }
    }
    bench.check_guards();
}

/// A device that does nothing by itself.
struct Silent;

impl SendDoorbell for &mut Silent {
    fn blue_flame_limit(&self) -> u32 {
        0
    }

    fn ring(&mut self, _: [u8; 8]) {}

    fn blue_flame(&mut self, _: WqeRing) {}
}

impl Hardware for Silent {
    type Doorbell<'a> = &'a mut Silent;

    fn doorbell(&mut self, _: QueuePairHandle) -> &mut Silent {
        self
    }

    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, _: [u8; 8]) {}
}

struct Bench {
    // The provider goes first: it points into the memory.
    provider: QueueProvider<Silent>,
    handles: Vec<QueuePairHandle>,
    entries: Block,
    /// Queues and records, kept alive.
    _queues: Vec<Block>,
    target: Block,
    /// Ids that were posted.
    outstanding: HashSet<u64>,
}

impl Bench {
    fn new(shape: u8) -> Self {
        let cqe_size = if shape & WIDE == 0 { 64 } else { 128 };
        let entries = Block::new((ENTRIES * cqe_size) as usize);
        let mut queues = vec![Block::new(64)];
        let memory = CompletionQueueMemory {
            buffer: entries.pointer(),
            cqe_count: ENTRIES,
            cqe_size,
            doorbell_record: queues[0].pointer().cast(),
            number: 1,
        };
        // SAFETY: fresh memory that lives as long as the provider.
        let provider = unsafe { QueueProvider::new(Silent, memory) }.expect("a completion queue");
        let (target, outstanding) = (Block::new(1 << 14), HashSet::new());
        target.fill(GUARD);
        let mut bench =
            Self { provider, handles: Vec::new(), entries, _queues: Vec::new(), target, outstanding };
        bench.attach(shape, &mut queues);
        bench._queues = queues;
        bench.post();
        bench
    }

    fn attach(&mut self, shape: u8, queues: &mut Vec<Block>) {
        let scatter_to_completion = shape & SCATTER != 0;
        let sizes =
            QueuePairLimits { send_sges: 2, receive_sges: 2, inline: 64, ..QueuePairLimits::default() };
        let limits = QueuePairLimits { scatter_to_completion, ..sizes };
        let mut block = |bytes| {
            queues.push(Block::new(bytes));
            queues[queues.len() - 1].pointer()
        };
        let (buffer, record) = (block((RECEIVES * 64) as usize), block(64));
        let shared = SharedReceiveQueueMemory {
            buffer,
            wqe_count: RECEIVES,
            stride_shift: 6,
            doorbell_record: record.cast(),
        };
        // SAFETY: fresh memory that lives as long as the provider; lists name the target, which does too.
        let shared = unsafe { self.provider.attach_shared_receive(shared, 2, scatter_to_completion) };
        let shared = shared.expect("a shared receive queue");
        for (index, number) in NUMBERS.into_iter().enumerate() {
            let record = block(64).cast::<u32>();
            let own = ReceiveQueueMemory {
                buffer: block((RECEIVES * 64) as usize),
                wqe_count: RECEIVES,
                stride_shift: 6,
                doorbell_record: record,
            };
            let send = SendQueueMemory {
                buffer: block((SLOTS * 64) as usize),
                wqe_count: SLOTS,
                // SAFETY: the record has two words.
                doorbell_record: unsafe { record.add(1) },
            };
            let receive = if index == 0 { ReceiveSource::Own(own) } else { ReceiveSource::Shared(shared) };
            // SAFETY: as for the shared queue.
            let handle = unsafe { self.provider.attach(QueuePairNumber(number), send, receive, limits) };
            let handle = handle.expect("a queue pair");
            for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
                self.provider.set_state(handle, state).expect("an allowed transition");
            }
            self.handles.push(handle);
        }
        // Apart from the ids of `post`, and so is their memory.
        let mut id = 1050;
        for _ in 0..RECEIVES - 1 {
            let scatter = self.list(&mut id);
            let request = ReceiveRequest { id, scatter: &scatter };
            self.provider.post_shared_receive(shared, &request).expect("room");
            self.outstanding.insert(id);
        }
        self.provider.ring_shared_receive(shared);
    }

    /// Two pieces of memory of the request that gets the next id.
    fn list(&self, id: &mut u64) -> [Sge; 2] {
        *id += 1;
        let first = (*id as usize % 100) * 4 * PIECE;
        [0, 2].map(|piece| Sge {
            address: self.target.address() + (first + 2 * piece * PIECE) as u64,
            length: PIECE as u32,
            key: LocalKey(7),
        })
    }

    fn post(&mut self) {
        let remote = RemoteAddress { address: 0x1000, key: RemoteKey(9) };
        let mut id = 0;
        for handle in self.handles.clone() {
            for place in 0..SLOTS - 4 {
                let local = self.list(&mut id);
                let atomic = Sge { length: 8, ..local[0] };
                let operation = match place % 4 {
                    0 => Operation::Read { remote, local: &local },
                    1 => Operation::Write { remote, local: Payload::Gather(&local) },
                    2 => Operation::FetchAdd { remote, local: atomic, add: 1 },
                    _ => Operation::Send { local: Payload::Inline(&[1; 4]), immediate: None },
                };
                let flags = if place % 3 == 0 { SendFlags::empty() } else { SendFlags::SIGNALED };
                if self.provider.post_send(handle, &SendRequest { id, operation, flags }).is_ok() {
                    self.outstanding.insert(id);
                }
            }
            self.provider.ring_send(handle);
        }
        let handle = self.handles[0];
        for _ in 0..RECEIVES - 1 {
            let scatter = self.list(&mut id);
            self.provider.post_receive(handle, &ReceiveRequest { id, scatter: &scatter }).expect("room");
            self.outstanding.insert(id);
        }
        self.provider.ring_receive(handle);
    }

    /// Writes entry `number`, as a device would that has lost its mind.
    fn write(&mut self, shape: u8, number: u32, bytes: &[Cqe64]) {
        let mut bytes = bytes.concat();
        let last = bytes.len() - 64;
        let entry = &mut bytes[last..];
        if shape & ANY_OWNER == 0 {
            let owner = u8::from(cqe::owner_bit(number, ENTRIES));
            entry[cqe::OP_OWN] = entry[cqe::OP_OWN] & !1 | owner;
        }
        if shape & OUR_NUMBERS != 0 {
            let place = cqe::field::OPCODE_QUEUE_PAIR;
            let chosen = NUMBERS[usize::from(entry[place.end - 1]) % 2];
            entry[place.start + 1..place.end].copy_from_slice(&chosen.to_be_bytes()[1..]);
        }
        self.entries.write((number % ENTRIES) as usize * bytes.len(), &bytes);
    }

    /// Every second piece of the target belongs to no request.
    fn check_guards(&self) {
        let bytes = self.target.read(0, 100 * 4 * PIECE);
        for (number, piece) in bytes.chunks_exact(PIECE).enumerate() {
            let untouched = piece.iter().all(|byte| *byte == GUARD);
            assert!(untouched || number % 2 == 0, "piece {number} was written: {piece:02x?}");
        }
    }
}
