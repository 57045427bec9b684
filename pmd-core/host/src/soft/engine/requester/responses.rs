//! What comes back in the response ring: bytes of READs, results of atomics, refusals.
#![allow(unsafe_code)] // copies out of the ring by address

use std::time::Instant;

use pmd_core::{
    memory::Access,
    wire::{Operation, Syndrome},
};

use super::{NotReady, Requester, Sending};
use crate::soft::{
    Link,
    engine::{
        copy,
        incoming::{Broken, Incoming, peek},
        outstanding::Wait,
        packet::{Kind, PacketError},
        pass::Pass,
        queues::SendRing,
        tuning::not_ready_timer,
    },
};

impl Requester {
    /// Takes every response that is there. READ data goes to local memory.
    #[inline]
    pub(in super::super) fn take_responses(
        &mut self,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<(), Broken> {
        let Self { ring, sending } = self;
        loop {
            let waits = sending.take_streamed(ring, pass, link)?;
            let Some(incoming) = peek(&mut link.responses_in)? else { break };
            if waits.is_some_and(|end| is_behind(&incoming, end)) {
                break;
            }
            link.requests_out.acknowledge(incoming.packet.header.acknowledged)?;
            sending.respond(ring, &incoming, pass, link)?;
            pass.spend(incoming.packet.payload_length as u64);
            incoming.release(&mut link.responses_in)?;
        }
        Ok(())
    }
}

/// Whether a response is to a request behind the READ that ends at `end`, whose bytes have not all come over streams.
fn is_behind(incoming: &Incoming, end: u32) -> bool {
    let header = &incoming.packet.header;
    let is_refusal = matches!(header.kind, Kind::Nak | Kind::ReceiverNotReady);
    // A refusal names where its request begins.
    !is_refusal || (header.word.wrapping_sub(end) as i32) >= 0
}

impl Sending {
    fn respond(
        &mut self,
        ring: &SendRing,
        incoming: &Incoming,
        pass: &Pass<'_>,
        link: &mut Link,
    ) -> Result<(), Broken> {
        let header = incoming.packet.header;
        match header.kind {
            Kind::ReadResponse | Kind::AtomicResponse => return self.result_arrived(ring, incoming, pass),
            Kind::Nak => {
                link.requests_out.acknowledge(header.word)?;
                self.refused = Some(header.syndrome());
                self.halted = true;
            }
            Kind::ReceiverNotReady => self.receiver_not_ready(header.word, header.detail as u8),
            kind => return Err(PacketError::OutOfPlace { kind }.into()),
        }
        Ok(())
    }

    fn result_arrived(
        &mut self,
        ring: &SendRing,
        incoming: &Incoming,
        pass: &Pass<'_>,
    ) -> Result<(), Broken> {
        let kind = incoming.packet.header.kind;
        let out_of_place = Broken::from(PacketError::OutOfPlace { kind });
        let (domain, Some(entry)) = (self.domain, self.awaited.front()) else { return Err(out_of_place) };
        let wqe = ring.parse(entry.index).map_err(|_| Broken::Queue)?;
        let landed = match (kind, &wqe.operation) {
            (Kind::ReadResponse, Operation::Read { data, .. }) => {
                let length = incoming.packet.payload_length as u64;
                if length > entry.total - entry.received {
                    return Err(out_of_place);
                }
                let range = (entry.received, length);
                entry.received += length;
                let mut source = incoming.payload();
                pass.keys.pieces(domain, data, range, Access::LOCAL_WRITE, |target, length| {
                    // SAFETY: the target was checked in this round; the payload has the bytes of `range`, which
                    // the pieces add up to.
                    unsafe {
                        copy::copy(source, target, length);
                        source = source.add(length);
                    }
                })
            }
            (
                Kind::AtomicResponse,
                Operation::CompareAndSwap { result, .. } | Operation::FetchAndAdd { result, .. },
            ) => {
                entry.received = entry.total;
                let old = incoming.packet.operands.swap_or_add.to_ne_bytes();
                let target = (result.address, 8);
                pass.keys.check_local(domain, result.lkey, target, Access::LOCAL_WRITE).map(|()| {
                    // SAFETY: eight bytes, checked in this round.
                    unsafe { copy::copy(old.as_ptr(), result.address as *mut u8, 8) };
                })
            }
            _ => return Err(out_of_place),
        };
        self.settle_response(landed);
        Ok(())
    }

    /// Notes that the oldest READ or atomic is over, if it is.
    pub(super) fn settle_response(&mut self, landed: Result<(), Syndrome>) {
        let Some(entry) = self.awaited.front() else { return };
        let (sequence, complete) = (entry.sequence, entry.received == entry.total);
        let wait = match landed {
            Err(syndrome) => Wait::Failed(syndrome),
            Ok(()) if complete => Wait::Done,
            Ok(()) => return,
        };
        self.halted |= landed.is_err();
        if let Some(record) = self.outstanding.find(sequence)
            && record.wait == Wait::Response
        {
            record.wait = wait;
        }
        if complete {
            self.awaited.pop();
        }
    }

    fn receiver_not_ready(&mut self, position: u32, timer: u8) {
        const FOR_EVER: u8 = 7;
        self.retries.hear();
        if self.rnr_retry < FOR_EVER {
            let deadline = Instant::now() + not_ready_timer(timer) * u32::from(self.rnr_retry);
            self.not_ready = Some(NotReady { position, deadline });
        }
    }
}
