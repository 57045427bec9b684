//! The send requests of one queue pair that wait for their turn, because one among them is staged.
//!
//! ```text
//!  item (a request)   planned part by part, as slots are free
//!    part  WRITE, SEND:  Lifting (device -> slot) --> Ready --> Posted --> Over
//!          READ:         Ready --> Posted --> Landing (slot -> device) --> Over
//!          not staged:   Ready --> Posted --> Over
//! ```
//! Parts are posted in order, so that the peer sees the requests in order; items end in order.

use std::{collections::VecDeque, sync::Arc};

use pmd_core::{
    accelerator::{CopyDirection, CopyRange, Event},
    memory::{RemoteAddress, Sge},
    provider::{
        Completion, CompletionError, CompletionKind, Operation, Payload, QueuePairHandle, QueuePairNumber,
        SendFlags,
    },
    wire::Syndrome,
};

use super::{lift::Slot, memories::StagedMemory};
use crate::{accelerator::wait_for, transfer::DeviceFault};

/// Ids of requests that this back end posts: its callers' have this bit clear.
pub(super) const OWN: u64 = 1 << 63;

/// One queue pair.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) handle: QueuePairHandle,
    pub(super) number: QueuePairNumber,
    pub(super) items: VecDeque<Item>,
    /// Parts so far.
    serial: u64,
    /// The queue pair is in the error state: nothing more is posted.
    pub(super) failed: bool,
}

/// What a request does, with the bytes it came with.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Nop,
    Write {
        remote: RemoteAddress,
        immediate: Option<u32>,
    },
    Read {
        remote: RemoteAddress,
    },
    Send {
        immediate: Option<u32>,
    },
    /// The result goes to the one entry, which is the host's.
    CompareSwap {
        remote: RemoteAddress,
        compare: u64,
        swap: u64,
    },
    FetchAdd {
        remote: RemoteAddress,
        add: u64,
    },
}

/// One request of the caller's.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) flags: SendFlags,
    pub(super) work: Work,
    pub(super) local: Vec<Sge>,
    /// Instead of `local`.
    pub(super) inline: Option<Vec<u8>>,
    pub(super) total: u64,
    /// Bytes of which parts have been made.
    pub(super) planned: u64,
    /// The last part has been made.
    pub(super) complete: bool,
    pub(super) parts: VecDeque<Part>,
    pub(super) error: Option<CompletionError>,
    pub(super) fault: Option<DeviceFault>,
}

/// A piece of a request that goes through at most one slot.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) serial: u64,
    /// Which lift, and what of it.
    pub(super) slot: Option<(usize, Slot)>,
    pub(super) local: Vec<Sge>,
    /// Where it begins in the request.
    pub(super) offset: u64,
    pub(super) last: bool,
    /// Copies between the slot and device memory.
    pub(super) copies: Vec<(Arc<StagedMemory>, CopyRange)>,
    pub(super) state: State,
}

/// How far a part is.
#[derive(Debug)]
pub(super) enum State {
    Lifting(Vec<Arc<dyn Event>>),
    Ready,
    Posted,
    Landing(Vec<Arc<dyn Event>>),
    Over,
}

impl Line {
    pub(super) fn new(handle: QueuePairHandle, number: QueuePairNumber) -> Self {
        Self { handle, number, items: VecDeque::new(), serial: 0, failed: false }
    }

    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial | OWN
    }

    /// The part that was posted under this id.
    pub(super) fn posted(&mut self, id: u64) -> Option<(&mut Item, usize)> {
        self.items.iter_mut().find_map(|item| {
            let found = item.parts.iter().position(|part| part.serial == id)?;
            matches!(item.parts[found].state, State::Posted).then_some((item, found))
        })
    }

    /// Whether streams work for it.
    pub(super) fn is_copying(&self) -> bool {
        let mut parts = self.items.iter().flat_map(|item| &item.parts);
        parts.any(|part| matches!(part.state, State::Lifting(_) | State::Landing(_)))
    }

    /// Waits until no stream works for it.
    pub(super) fn await_copies(&mut self) {
        for part in self.items.iter_mut().flat_map(|item| &mut item.parts) {
            if let State::Lifting(events) | State::Landing(events) = &part.state {
                // A stream that failed copies nothing more.
                events.iter().for_each(|event| drop(wait_for(&**event, None)));
                part.state = State::Over;
            }
        }
    }
}

/// What this back end says itself.
pub(super) const fn error(syndrome: Syndrome) -> CompletionError {
    CompletionError { syndrome, vendor: 0, is_receive: false }
}

impl Drop for Line {
    /// The device below has been closed; slots and device memory go next.
    fn drop(&mut self) {
        self.await_copies();
    }
}

impl Item {
    /// Fails for a reason of this back end's.
    pub(super) fn fail(&mut self, fault: DeviceFault) {
        let syndrome = match fault {
            DeviceFault::Deregistered => Syndrome::LocalProtection,
            _ => Syndrome::LocalQueuePairOperation,
        };
        self.fault = self.fault.or(Some(fault));
        self.error = self.error.or(Some(error(syndrome)));
    }

    pub(super) const fn is_read(&self) -> bool {
        matches!(self.work, Work::Read { .. })
    }

    /// Which way its copies go.
    pub(super) const fn direction(&self) -> CopyDirection {
        if self.is_read() { CopyDirection::HostToDevice } else { CopyDirection::DeviceToHost }
    }

    /// Looks at the streams: parts whose copies are done go on. Whether there was one.
    pub(super) fn look(&mut self) -> bool {
        let mut moved = false;
        let mut failed = false;
        for part in &mut self.parts {
            let (events, next) = match &part.state {
                State::Lifting(events) => (events, State::Ready),
                State::Landing(events) => (events, State::Over),
                State::Ready | State::Posted | State::Over => continue,
            };
            let mut asked = events.iter().map(|event| event.query());
            match asked.try_fold(true, |all, done| done.map(|done| all && done)) {
                Ok(true) => part.state = next,
                Ok(false) => continue,
                Err(_) => {
                    // The others of its stream fail too.
                    part.state = State::Over;
                    failed = true;
                }
            }
            moved = true;
        }
        if failed {
            self.fail(DeviceFault::Stream);
        }
        moved
    }

    /// What is not posted will not be: then it was not done.
    pub(super) fn give_up_unposted(&mut self) {
        for part in &mut self.parts {
            if matches!(part.state, State::Ready) {
                part.state = State::Over;
                self.error = self.error.or(Some(error(Syndrome::Flushed)));
            }
        }
    }

    /// Whether nothing of it is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.parts.iter().all(|part| matches!(part.state, State::Over))
    }

    /// Its completion, if it gives one. It is quiet.
    pub(super) fn completion(&self, queue_pair: QueuePairNumber, failed: bool) -> Option<Completion> {
        let kind = match self.work {
            Work::Nop => CompletionKind::Nop,
            Work::Write { .. } => CompletionKind::Write,
            Work::Read { .. } => CompletionKind::Read,
            Work::Send { .. } => CompletionKind::Send,
            Work::CompareSwap { .. } => CompletionKind::CompareSwap,
            Work::FetchAdd { .. } => CompletionKind::FetchAdd,
        };
        let result = match self.error {
            Some(error) => Err(error),
            None if self.complete => Ok(kind),
            None => {
                debug_assert!(failed, "an item ends when it is complete or has failed");
                Err(error(Syndrome::Flushed))
            }
        };
        let returns = !matches!(kind, CompletionKind::Nop | CompletionKind::Write | CompletionKind::Send);
        let read = if result.is_ok() && returns { self.total } else { 0 };
        let wanted = result.is_err() || self.flags.contains(SendFlags::SIGNALED);
        let (id, byte_length) = (self.id, read as u32);
        wanted.then_some(Completion { id, queue_pair, byte_length, immediate: None, result })
    }

    /// The request of a part.
    pub(super) fn operation<'a>(&'a self, part: &'a Part) -> Operation<'a> {
        let local = match &self.inline {
            Some(bytes) => Payload::Inline(bytes),
            None => Payload::Gather(&part.local),
        };
        let at = |remote: RemoteAddress| RemoteAddress {
            address: remote.address.wrapping_add(part.offset),
            key: remote.key,
        };
        match self.work {
            Work::Nop => Operation::Nop,
            Work::Write { remote, immediate: Some(immediate) } if part.last => {
                Operation::WriteImmediate { remote: at(remote), local, immediate }
            }
            Work::Write { remote, .. } => Operation::Write { remote: at(remote), local },
            Work::Read { remote } => Operation::Read { remote: at(remote), local: &part.local },
            Work::Send { immediate } => Operation::Send { local, immediate },
            Work::CompareSwap { remote, compare, swap } => {
                Operation::CompareSwap { remote, local: self.local[0], compare, swap }
            }
            Work::FetchAdd { remote, add } => Operation::FetchAdd { remote, local: self.local[0], add },
        }
    }
}
