//! Completing what was begun, from the oldest on, and flushing it after a failure.

use std::time::Instant;

use pmd_core::wire::{Cqe, ErrorCompletion, RequesterCompletion, Scatter, Side, Syndrome};

use super::{Requester, Sending};
use crate::soft::{
    Link,
    engine::{
        outstanding::{Record, Wait},
        pass::Pass,
        requester::{Current, Stop},
    },
};

impl Requester {
    /// Completes what is done. Returns why the oldest of the rest failed, if it did.
    #[inline]
    pub(in super::super) fn retire(&mut self, pass: &mut Pass<'_>, link: &mut Link) -> Option<Syndrome> {
        let sending = &mut self.sending;
        while let Some(record) = sending.outstanding.front() {
            let done = match record.wait {
                Wait::Done => true,
                Wait::Response | Wait::Batch | Wait::Move => false,
                Wait::Consumed(end) => match sending.is_consumed(end, link) {
                    Ok(consumed) => consumed,
                    Err(_) => return Some(Syndrome::BadResponse),
                },
                Wait::Failed(syndrome) => return Some(syndrome),
            };
            if !done {
                break;
            }
            sending.outstanding.pop();
            sending.complete(&record, pass);
        }
        sending.refused.or_else(|| sending.receive_overdue(link))
    }

    /// Completes what is left with errors, as far as the completion queue has room: the oldest with `first`, once,
    /// the others as flushed. Whether all is done.
    pub(in super::super) fn flush(&mut self, first: &mut Option<Syndrome>, pass: &mut Pass<'_>) -> bool {
        let Self { ring, sending } = self;
        while pass.completions.room() > 0 {
            let outstanding = sending.outstanding.pop().map(|record| (record.index, record.opcode as u8));
            let Some((index, opcode)) = outstanding.or_else(|| ring.skip()) else { return true };
            sending.fail(index, opcode, first.take().unwrap_or(Syndrome::Flushed), pass);
        }
        !self.has_posted()
    }

    /// Whether anything posted has not completed.
    pub(in super::super) fn has_posted(&self) -> bool {
        self.has_outstanding() || self.ring.available() > 0
    }
}

impl Sending {
    /// Notes a WQE that was begun to its end.
    #[inline(always)]
    pub(super) fn begun(&mut self, record: Record, pass: &mut Pass<'_>) {
        self.current = Current::default();
        if record.wait == Wait::Done && self.outstanding.is_empty() {
            self.complete(&record, pass);
        } else {
            self.outstanding.push(record);
        }
    }

    /// Writes the completion of a good end, if one was asked for.
    #[inline(always)]
    fn complete(&self, record: &Record, pass: &mut Pass<'_>) {
        if record.signalled {
            pass.complete(&Cqe::Requester(RequesterCompletion {
                queue_pair: self.number,
                operation: record.opcode,
                wqe_counter: record.index,
                byte_count: record.byte_count,
                timestamp: 0,
                scatter: Scatter::Memory,
            }));
        }
    }

    fn fail(&self, index: u16, operation: u8, syndrome: Syndrome, pass: &mut Pass<'_>) {
        pass.complete(&Cqe::Error(ErrorCompletion {
            side: Side::Requester,
            queue_pair: self.number,
            operation,
            wqe_counter: index,
            syndrome,
            vendor: self.detail(syndrome),
            shared_receive_queue: 0,
        }));
    }

    /// What the vendor's byte says of the record that was popped last.
    fn detail(&self, syndrome: Syndrome) -> u8 {
        let popped = self.outstanding.oldest().wrapping_sub(1);
        if let Some(mismatch) = self.mismatch.filter(|_| syndrome == Syndrome::RetryExceeded) {
            return mismatch.to_vendor();
        }
        let lacks = self.lacks.filter(|(sequence, _)| *sequence == popped && syndrome != Syndrome::Flushed);
        lacks.map_or(0, |(_, fault)| fault.to_vendor())
    }

    /// Whether a request has found no receive for too long.
    fn receive_overdue(&mut self, link: &mut Link) -> Option<Syndrome> {
        let not_ready = self.not_ready?;
        // The stalled request starts at `position`: the peer is past it once it has consumed more.
        match self.is_consumed(not_ready.position.wrapping_add(1), link) {
            Ok(true) => self.not_ready = None,
            Ok(false) if Instant::now() < not_ready.deadline => {}
            Ok(false) => return Some(Syndrome::ReceiverNotReadyExceeded),
            Err(Stop::Failed(syndrome)) => return Some(syndrome),
            Err(_) => {}
        }
        None
    }
}
