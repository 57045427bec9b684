//! The requester: WQEs become packets, answers retire them in order.

use pmd_core::{
    memory::Access,
    wire::{
        ControlFlags, DataItem, DataItems, DataSegment, Opcode, Operation, SendExtra, SendWqe, Service,
        Syndrome,
    },
};

use super::{
    net::{Answer, Packet, Request, Verdict, Wish},
    queue_pair::{Means, Pending, Phase, QueuePair},
};

/// What a WQE comes to.
struct Work {
    pending: Pending,
    request: Result<Option<Request>, Syndrome>,
    blocks: u32,
}

impl QueuePair {
    /// Takes in answers, retires what is done, and begins what was rung for.
    pub(super) fn work(&mut self, means: &mut Means<'_>) {
        if self.phase == Phase::Connected {
            self.take_answers(means);
            self.retire(means);
        }
        match self.phase {
            Phase::Connected => {
                self.begin(means);
                self.retire(means);
            }
            Phase::Failed => self.flush(means),
            Phase::Reset => {}
        }
    }

    /// Opcode, index and blocks of the next WQE.
    pub(super) fn peek(&self) -> (Opcode, u16, u32) {
        let queue = self.send.read(0, self.send.length());
        let wqe = SendWqe::parse_strict(&queue, self.begun, Service::Connected).expect("a WQE");
        (wqe.control.opcode, wqe.control.index, u32::from(wqe.basic_blocks()))
    }

    /// Whether the next WQE waits for the data of earlier ones.
    pub(super) fn is_fenced(&self) -> bool {
        let start = (self.begun & (self.slots - 1)) as usize * 64;
        let flags = ControlFlags::from_bits_retain(self.send.read(start + 11, 1)[0]);
        flags.contains(ControlFlags::FENCE) && self.pending.iter().any(Pending::returns_data)
    }

    fn begin(&mut self, means: &mut Means<'_>) {
        for _ in 0..means.manner.pace {
            if !self.is_busy() {
                return;
            }
            let Work { mut pending, request, blocks } = self.decode(means);
            self.begun = self.begun.wrapping_add(blocks);
            self.sequence += 1;
            match request {
                Ok(Some(request)) => {
                    let packet = Packet { from: self.number, sequence: pending.sequence, request };
                    if !means.net.ask(self.peer, packet) {
                        pending.outcome = Some(Err(Syndrome::RetryExceeded));
                    }
                }
                Ok(None) => pending.outcome = Some(Ok(Vec::new())),
                Err(syndrome) => pending.outcome = Some(Err(syndrome)),
            }
            self.stopped = matches!(pending.outcome, Some(Err(_)));
            self.pending.push_back(pending);
        }
    }

    fn take_answers(&mut self, means: &mut Means<'_>) {
        while let Some(Answer { sequence, verdict }) =
            means.net.mailboxes.get_mut(&self.number).and_then(|mailbox| mailbox.answers.pop_front())
        {
            let Some(pending) = self.pending.iter_mut().find(|pending| pending.sequence == sequence) else {
                continue;
            };
            match verdict {
                Verdict::Done(bytes) => pending.outcome = Some(Ok(bytes)),
                Verdict::Refused(syndrome) => pending.outcome = Some(Err(syndrome)),
                Verdict::NotReady => self.not_ready(means),
            }
        }
    }

    /// The peer has no receive for the oldest request: it is repeated so many times, or for ever.
    fn not_ready(&mut self, means: &mut Means<'_>) {
        if self.options.rnr_retry == 7 {
            return;
        }
        self.not_ready += 1;
        if self.not_ready <= u32::from(self.options.rnr_retry) {
            means.net.wake(self.peer);
        } else if let Some(oldest) = self.pending.iter_mut().find(|pending| pending.outcome.is_none()) {
            oldest.outcome = Some(Err(Syndrome::ReceiverNotReadyExceeded));
        }
    }

    fn retire(&mut self, means: &mut Means<'_>) {
        while self.phase == Phase::Connected
            && let Some(outcome) = self.pending.front_mut().and_then(|pending| pending.outcome.take())
            && let Some(pending) = self.pending.pop_front()
        {
            self.not_ready = 0;
            match outcome.and_then(|bytes| Self::give_back(means, &pending, &bytes)) {
                Ok(length) if pending.signaled => self.requester(means.completions, &pending, length),
                Ok(_) => {}
                Err(syndrome) => {
                    self.requester_error(means.completions, pending.opcode, pending.index, syndrome);
                    self.fail(means);
                }
            }
        }
    }

    /// Puts the result of a read or atomic into memory, also where small messages go into completion entries: what lies
    /// in an entry until the driver polls it, a fence would not wait for.
    fn give_back(means: &Means<'_>, pending: &Pending, bytes: &[u8]) -> Result<u32, Syndrome> {
        means.spread(&pending.target, bytes).ok_or(Syndrome::LocalProtection)?;
        Ok(bytes.len() as u32)
    }

    fn decode(&self, means: &Means<'_>) -> Work {
        let queue = self.send.read(0, self.send.length());
        let wqe = SendWqe::parse_strict(&queue, self.begun, Service::Connected).expect("a WQE");
        assert_eq!(wqe.control.index, self.begun as u16, "index of the WQE");
        assert_eq!(wqe.control.queue_pair, self.number, "queue pair of the WQE");
        let flags = wqe.control.flags;
        let solicited = flags.contains(ControlFlags::SOLICITED);
        let (request, target) = means.request(&wqe.operation, solicited);
        let pending = Pending {
            sequence: self.sequence,
            opcode: wqe.control.opcode,
            index: wqe.control.index,
            signaled: flags.contains(ControlFlags::CQ_UPDATE),
            target,
            outcome: None,
        };
        Work { pending, request, blocks: u32::from(wqe.basic_blocks()) }
    }
}

impl Means<'_> {
    /// The request of a WQE, with its payload gathered, and where its result goes.
    fn request(
        &self,
        operation: &Operation<'_>,
        solicited: bool,
    ) -> (Result<Option<Request>, Syndrome>, Vec<DataSegment>) {
        let none = Vec::new();
        match operation {
            Operation::Nop => (Ok(None), none),
            Operation::Send { extra, data, .. } => {
                let immediate = match extra {
                    SendExtra::Immediate(immediate) => Some(*immediate),
                    SendExtra::None => None,
                    SendExtra::Invalidate(_) => return (Err(Syndrome::LocalQueuePairOperation), none),
                };
                (self.gather(data).map(|bytes| Some(Request::Send { bytes, immediate, solicited })), none)
            }
            Operation::Write { remote, immediate, data } => {
                let (remote, immediate) = (*remote, *immediate);
                let request = |bytes| Some(Request::Write { remote, bytes, immediate, solicited });
                (self.gather(data).map(request), none)
            }
            Operation::Read { remote, data } => {
                let memory = data.clone().filter_map(|item| match item {
                    DataItem::Memory(segment) => Some(segment),
                    DataItem::Inline(..) => None,
                });
                let target: Vec<DataSegment> = memory.collect();
                let length = target.iter().map(|segment| segment.length).sum();
                (Ok(Some(Request::Read { remote: *remote, length })), target)
            }
            Operation::CompareAndSwap { remote, operands, result } => {
                let (compare, value) = (Some(operands.compare), operands.swap_or_add);
                (Ok(Some(Request::Atomic { remote: *remote, compare, value })), vec![*result])
            }
            Operation::FetchAndAdd { remote, addend, result } => {
                (Ok(Some(Request::Atomic { remote: *remote, compare: None, value: *addend })), vec![*result])
            }
        }
    }

    fn gather(&self, items: &DataItems<'_>) -> Result<Vec<u8>, Syndrome> {
        let mut bytes = Vec::new();
        for item in items.clone() {
            match item {
                DataItem::Inline(first, second) => bytes.extend([first, second].concat()),
                DataItem::Memory(segment) => {
                    assert!(segment.length != 0, "a segment of no bytes would mean 2 GiB");
                    let loaded = self.net.load(self.local(segment, segment.length, Access::empty()));
                    bytes.extend(loaded.ok_or(Syndrome::LocalProtection)?);
                }
            }
        }
        Ok(bytes)
    }

    /// Puts bytes into a scatter list; `None` when a part of it may not be written, or it is too short.
    pub(super) fn spread(&self, list: &[DataSegment], mut bytes: &[u8]) -> Option<()> {
        for segment in list {
            let (now, later) = bytes.split_at(bytes.len().min(segment.length as usize));
            self.net.store(self.local(*segment, now.len() as u32, Access::LOCAL_WRITE), now)?;
            bytes = later;
        }
        bytes.is_empty().then_some(())
    }

    const fn local(&self, segment: DataSegment, length: u32, access: Access) -> Wish {
        let (key, address, length) = (segment.lkey, segment.address, length as u64);
        Wish { key, address, length, access, domain: self.domain }
    }
}
