//! Both sides in step: the same requests, the same completion entries, at the same indexes.

use pmd_core::{
    provider::{Completion, CompletionQueueError, PostError},
    wire::{Cqe, Opcode, RequesterCompletion, Scatter, cqe},
};
use thiserror::Error;

use super::{
    layout::{self, Difference, Hex, Path},
    mutant::Mutant,
    ours::{Ours, Rung},
    request::{Extra, Request, Work, empty_write},
    shape::Shape,
    theirs::{Completed, Poll, Theirs, Wanted},
};

/// Bytes of a slot of the send queue.
const SLOT: usize = 64;
/// Where the number under which libmlx5 finds a queue pair lies in an entry of 64 bytes.
const USER_INDEX: std::ops::Range<usize> = 32..36;

/// Something in which our driver and libmlx5 differ.
#[derive(Debug, Error)]
pub(super) enum Unlike {
    #[error("{request:?} at slot {slot}: {difference}")]
    Entry { request: Box<Request>, slot: u32, difference: Difference },
    #[error("{name} doorbell record: ours {ours:#x}, libmlx5's {theirs:#x}")]
    Record { name: &'static str, ours: u32, theirs: u32 },
    #[error("doorbell register after {request:?}: ours {ours:?}, libmlx5's {}", Hex(theirs.clone()))]
    Register { request: Box<Request>, ours: Rung, theirs: Vec<u8> },
    #[error("doorbells of one batch: ours {ours}, libmlx5's {theirs}")]
    Doorbells { ours: usize, theirs: usize },
    #[error("receive at slot {slot}: {difference}")]
    Receive { slot: u32, difference: Difference },
    #[error("{field} of entry {entry:?}: ours and libmlx5's {both:?}")]
    Completion { field: &'static str, entry: Box<Cqe>, both: Box<(Option<Completion>, Option<Completed>)> },
    #[error("payload of entry {entry:?} in memory: ours {ours}, libmlx5's {theirs}")]
    Payload { entry: Box<Cqe>, ours: Hex, theirs: Hex },
    #[error("our driver refused what libmlx5 took: {0}")]
    Refused(#[from] PostError),
    #[error("our driver gave its completion queue up: {0}")]
    Broken(#[from] CompletionQueueError),
}

/// Both sides.
pub(super) struct Pair {
    pub(super) ours: Ours,
    pub(super) theirs: Theirs,
    pub(super) shape: Shape,
    /// Free-running slot of the next request.
    pub(super) position: u32,
    /// Free-running number of the next completion entry.
    pub(super) entry: u32,
    pub(super) next_id: u64,
    /// Receives posted.
    pub(super) received: u32,
    /// How often both copied a WQE to BlueFlame.
    pub(super) blue_flames: u32,
    /// What our side is made to do wrong.
    pub(super) planted: Option<Mutant>,
}

/// A request that was posted.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    pub(super) id: u64,
    /// Free-running first slot.
    pub(super) slot: u32,
    pub(super) request: Request,
}

impl Posted {
    /// The entry of its success.
    pub(super) fn success(&self, queue_pair: u32) -> RequesterCompletion {
        RequesterCompletion {
            queue_pair,
            operation: opcode(&self.request.work),
            wqe_counter: self.slot as u16,
            byte_count: self.request.returned(),
            timestamp: 0,
            scatter: Scatter::Memory,
        }
    }
}

impl Pair {
    /// Both sides of this kind, with one request done.
    pub(super) fn new(device: &str, wanted: Wanted) -> Self {
        let theirs = Theirs::new(device, wanted);
        let shape = theirs.shape();
        let ours = Ours::new(shape);
        let mut pair = Self {
            ours,
            theirs,
            shape,
            position: 0,
            entry: 0,
            next_id: 0,
            received: 0,
            blue_flames: 0,
            planted: None,
        };
        // libmlx5 has done an empty write, as request 0; so does our side.
        let done = Posted { id: 0, slot: 0, request: empty_write() };
        pair.ours.post(0, &done.request).expect("room for one");
        assert_eq!(pair.ours.ring().len(), 1);
        let entry = pair.bytes(&Cqe::Requester(done.success(shape.queue_pair)), &[0; 64]);
        pair.ours.put_entry(0, &entry);
        assert!(matches!(pair.ours.poll(), Ok(Some(Completion { id: 0, result: Ok(_), .. }))));
        (pair.position, pair.entry, pair.next_id) = (1, 1, 1);
        pair
    }

    /// Posts requests with one doorbell on both sides, and compares everything that was written.
    pub(super) fn post(&mut self, path: Path, requests: &[Request]) -> Result<Vec<Posted>, Unlike> {
        assert!(requests.len() <= self.shape.send_requests as usize, "more than libmlx5 takes");
        for (id, request) in (self.next_id..).zip(requests) {
            self.ours.post(id, request)?;
        }
        let mut ours = self.ours.ring();
        if let Some(mutant) = self.planted {
            mutant.plant(&mut self.ours, self.position, &mut ours);
        }
        self.theirs.post(path, self.next_id, requests);
        let theirs = self.theirs.rung();
        let posted = self.compare_entries(path, requests)?;
        let [ours_record, theirs_record] = [self.ours.records()[1], self.theirs.records()[1]];
        if ours_record != theirs_record {
            return Err(Unlike::Record { name: "send", ours: ours_record, theirs: theirs_record });
        }
        let ([ours], [theirs]) = (ours.as_slice(), theirs.as_slice()) else {
            return Err(Unlike::Doorbells { ours: ours.len(), theirs: theirs.len() });
        };
        let last = posted.last().expect("at least one request");
        self.compare_registers(last, path, ours, theirs)?;
        Ok(posted)
    }

    fn compare_entries(&mut self, path: Path, requests: &[Request]) -> Result<Vec<Posted>, Unlike> {
        let mut posted = Vec::new();
        for request in requests {
            let fields = layout::fields(request, path);
            let (slot, length) = (self.position, layout::length(&fields));
            let (ours, theirs) = (self.ours.sent(slot, length), self.theirs.sent(slot, length));
            layout::compare(&ours, &theirs, &fields).map_err(|difference| Unlike::Entry {
                request: Box::new(request.clone()),
                slot,
                difference,
            })?;
            posted.push(Posted { id: self.next_id, slot, request: request.clone() });
            self.next_id += 1;
            self.position = self.position.wrapping_add(length.div_ceil(SLOT) as u32);
        }
        Ok(posted)
    }

    /// A doorbell is eight bytes; a BlueFlame copy is a WQE, which is compared as one.
    fn compare_registers(
        &mut self,
        last: &Posted,
        path: Path,
        ours: &Rung,
        theirs: &[u8],
    ) -> Result<(), Unlike> {
        let unlike = || Unlike::Register {
            request: Box::new(last.request.clone()),
            ours: ours.clone(),
            theirs: theirs.to_vec(),
        };
        let copied = theirs[8..].iter().any(|byte| *byte != 0);
        if ours.head() != &theirs[..8] {
            return Err(unlike());
        }
        match ours {
            Rung::Doorbell(_) if !copied => Ok(()),
            // libmlx5 prefers BlueFlame for everything that was called inline, even if there is nothing in it.
            Rung::Doorbell(_) if last.request.data().is_some_and(|data| data.is_empty_inline()) => Ok(()),
            Rung::Doorbell(_) => Err(unlike()),
            Rung::BlueFlame(bytes) => {
                let fields = layout::fields(&last.request, path);
                self.blue_flames += 1;
                layout::compare(bytes, theirs, &fields).map_err(|_| unlike())
            }
        }
    }

    /// Puts an entry into both completion queues, polls both, and compares.
    pub(super) fn complete(
        &mut self,
        entry: &Cqe,
        preceding: &[u8; 64],
        poll: Poll,
    ) -> Result<(Completion, Completed), Unlike> {
        self.complete_with(entry, preceding, poll, || ())
    }

    /// As `complete`; `between` is called after our poll and before libmlx5's.
    pub(super) fn complete_with(
        &mut self,
        entry: &Cqe,
        preceding: &[u8; 64],
        poll: Poll,
        between: impl FnOnce(),
    ) -> Result<(Completion, Completed), Unlike> {
        self.nothing(entry, poll)?;
        let bytes = self.bytes(entry, preceding);
        let mut mine = bytes.clone();
        if self.planted == Some(Mutant::StaleOwner)
            && let Some(owner) = mine.last_mut()
        {
            *owner ^= 1;
        }
        self.ours.put_entry(self.entry, &mine);
        self.theirs.put_entry(self.entry, &bytes);
        self.entry = self.entry.wrapping_add(1);
        let ours = self.ours.poll()?;
        between();
        let theirs = self.theirs.poll(poll);
        let unlike =
            |field| Unlike::Completion { field, entry: Box::new(*entry), both: Box::new((ours, theirs)) };
        let (Some(mine), Some(other)) = (ours, theirs) else { return Err(unlike("presence")) };
        super::completed::compare(&mine, &other).map_err(unlike)?;
        if self.planted == Some(Mutant::ConsumerForgotten) {
            self.ours.spoil_consumer(self.entry - 1);
        }
        let [ours, theirs] = [self.ours.completion_records()[0], self.theirs.completion_records()[0]];
        if ours != theirs {
            return Err(Unlike::Record { name: "completion", ours, theirs });
        }
        Ok((mine, other))
    }

    /// Retires everything that was posted, by the last request.
    pub(super) fn retire(&mut self, posted: &[Posted], poll: Poll) -> Result<(), Unlike> {
        let last = posted.last().expect("at least one request");
        let entry = Cqe::Requester(last.success(self.shape.queue_pair));
        self.complete(&entry, &[0; 64], poll).map(drop)
    }

    /// Old entries are nobody's: neither side finds one.
    fn nothing(&mut self, entry: &Cqe, poll: Poll) -> Result<(), Unlike> {
        let (ours, theirs) = (self.ours.poll()?, self.theirs.poll(poll));
        if ours.is_none() && theirs.is_none() {
            return Ok(());
        }
        let both = Box::new((ours, theirs));
        Err(Unlike::Completion { field: "stale entry", entry: Box::new(*entry), both })
    }

    /// The bytes of the next entry.
    pub(super) fn bytes(&self, entry: &Cqe, preceding: &[u8; 64]) -> Vec<u8> {
        let mut bytes = [0; 64];
        entry.emit_cqe64(cqe::owner_bit(self.entry, self.shape.entries), &mut bytes);
        bytes[USER_INDEX].copy_from_slice(&self.theirs.user_index().to_be_bytes());
        match self.shape.entry_bytes {
            64 => bytes.to_vec(),
            _ => [*preceding, bytes].concat(),
        }
    }
}

/// The opcode of a request's WQE.
pub(super) fn opcode(work: &Work) -> Opcode {
    match work {
        Work::Write { immediate: None, .. } => Opcode::RdmaWrite,
        Work::Write { .. } => Opcode::RdmaWriteImmediate,
        Work::Read { .. } => Opcode::RdmaRead,
        Work::Send { extra: Extra::None, .. } => Opcode::Send,
        Work::Send { extra: Extra::Immediate(_), .. } => Opcode::SendImmediate,
        Work::Send { extra: Extra::Invalidate(_), .. } => Opcode::SendInvalidate,
        Work::CompareSwap { .. } => Opcode::CompareAndSwap,
        Work::FetchAdd { .. } => Opcode::FetchAndAdd,
    }
}
