//! The receiving half of a queue pair: executes the peer's requests in order.
//!
//! Runs in every poll that finds a packet. A request that cannot be executed yet (no receive, no room for its
//! response) stays at the head of the ring and is looked at again; one that must not be executed is refused, and the
//! queue pair fails.

mod one_sided;
mod receives;
mod streams;

use std::sync::Arc;

use pmd_core::{
    provider::ReceiveQueueMemory,
    ring::packet::Refused,
    wire::{RemoteSegment, Syndrome},
};

use super::{
    copy::Tail,
    incoming::{Broken, Incoming, peek},
    packet::{HEADER, Header, Kind, PacketError, PacketFlags},
    pass::Pass,
    queues::{ReceiveRing, Slot},
};
use crate::{
    retries::RetryCells,
    soft::{Link, ProtectionDomain},
};

/// Receiving half of one queue pair.
#[derive(Debug)]
pub(super) struct Responder {
    number: u32,
    domain: ProtectionDomain,
    source: ReceiveSource,
    /// Receive that a SEND in several packets is filling, and the bytes in it.
    filling: Option<(Slot, u64)>,
    /// WRITE in several packets.
    writing: Option<Writing>,
    /// Bytes of the READ at the head of the ring that are answered.
    answered: u64,
    /// The request at the head of the ring waits for streams.
    streaming: bool,
    /// Position of the request for which the peer knows that there is no receive.
    not_ready: Option<u32>,
    /// Refusal that found no room yet.
    refusal: Option<(u32, Syndrome)>,
    /// Number of the peer's queue pair, for completions.
    peer: u32,
    /// Told to a peer that finds no receive.
    not_ready_timer: u8,
    /// Counts requests that found no receive.
    retries: Arc<RetryCells>,
}

/// Where receives come from.
#[derive(Debug)]
pub(super) enum ReceiveSource {
    /// The queue pair's own queue.
    Own(ReceiveRing),
    /// The shared queue with this handle.
    Shared(u32),
}

#[derive(Clone, Copy, Debug)]
struct Writing {
    remote: RemoteSegment,
    total: u64,
    done: u64,
    tail: Tail,
}

/// What became of a request.
enum Verdict {
    /// Executed: it can be consumed.
    Done,
    /// No receive is posted.
    NoReceive,
    /// No room for the response.
    Later,
    /// It must not be executed, for this reason.
    Refused(Syndrome),
}

/// Why serving stopped for good.
pub(super) enum Ended {
    /// A request was refused: this queue pair fails, the peer has been told.
    Refused,
    /// The peer's queue pair failed.
    PeerFailed,
    /// The peer does not keep to the protocol.
    Broken,
}

impl<E: Into<Broken>> From<E> for Ended {
    /// What exactly is broken matters to nobody but a debugger: the queue pair fails either way.
    fn from(_reason: E) -> Self {
        Self::Broken
    }
}

impl Responder {
    /// A responder that takes receives from `source`.
    pub(super) fn new(
        number: u32,
        domain: ProtectionDomain,
        source: ReceiveSource,
        retries: Arc<RetryCells>,
    ) -> Self {
        Self {
            number,
            domain,
            source,
            filling: None,
            writing: None,
            answered: 0,
            streaming: false,
            not_ready: None,
            refusal: None,
            peer: 0,
            not_ready_timer: 0,
            retries,
        }
    }

    /// What the driver of an own receive queue works on.
    pub(super) fn memory(&self) -> Option<ReceiveQueueMemory> {
        match &self.source {
            ReceiveSource::Own(ring) => Some(ring.memory()),
            ReceiveSource::Shared(_) => None,
        }
    }

    /// Sets which queue pair the requests are from.
    pub(super) fn set_peer(&mut self, number: u32) {
        self.peer = number;
    }

    /// Sets the timer code that a peer without a receive is told.
    pub(super) fn set_not_ready_timer(&mut self, code: u8) {
        self.not_ready_timer = code;
    }

    /// Forgets everything posted and begun.
    pub(super) fn reset(&mut self) {
        if let ReceiveSource::Own(ring) = &mut self.source {
            ring.reset();
        }
        self.forget();
    }

    /// Forgets the requests that were begun.
    pub(super) fn forget(&mut self) {
        self.filling = None;
        self.writing = None;
        self.answered = 0;
        self.streaming = false;
        self.not_ready = None;
        self.refusal = None;
    }

    /// Whether the peer's next request is known to wait for a receive, and none has been posted since.
    pub(super) fn waits_for_receive(&self, shared: &[Option<ReceiveRing>]) -> bool {
        let ring = match &self.source {
            ReceiveSource::Own(ring) => Some(ring),
            ReceiveSource::Shared(handle) => shared.get(*handle as usize).and_then(Option::as_ref),
        };
        self.not_ready.is_some() && ring.is_none_or(|ring| ring.available() == 0)
    }

    /// Executes the requests that are there, until one has to wait or the budget is used up.
    #[inline]
    pub(super) fn serve(&mut self, pass: &mut Pass<'_>, link: &mut Link) -> Result<(), Ended> {
        if let Some((position, syndrome)) = self.refusal {
            return self.refuse(position, syndrome, link);
        }
        while pass.budget > 0 {
            let Some(incoming) = peek(&mut link.requests_in)? else { break };
            link.requests_out.acknowledge(incoming.packet.header.acknowledged).map_err(Broken::from)?;
            match self.execute(&incoming, pass, link)? {
                Verdict::Done => {
                    self.not_ready = None;
                    incoming.release(&mut link.requests_in)?;
                }
                Verdict::Later => break,
                Verdict::NoReceive => {
                    self.tell_not_ready(incoming.position, link)?;
                    break;
                }
                Verdict::Refused(syndrome) => return self.refuse(incoming.position, syndrome, link),
            }
            pass.spend(incoming.packet.payload_length as u64);
        }
        Ok(())
    }

    #[inline]
    fn execute(
        &mut self,
        incoming: &Incoming,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Verdict, Ended> {
        match incoming.packet.header.kind {
            Kind::Send => Ok(self.send(incoming, pass)?),
            Kind::Write => Ok(self.write(incoming, pass, link)?),
            Kind::Read => Ok(self.read(incoming, pass, link)?),
            Kind::CompareSwap | Kind::FetchAdd => Ok(self.atomic(incoming, pass, link)?),
            Kind::Fatal => Err(Ended::PeerFailed),
            kind => Err(PacketError::OutOfPlace { kind }.into()),
        }
    }

    /// Tells the peer that its request is refused; it is never consumed.
    #[cold]
    fn refuse(&mut self, position: u32, syndrome: Syndrome, link: &mut Link) -> Result<(), Ended> {
        let detail = u16::from(syndrome.to_byte());
        if notify(Kind::Nak, detail, position, link)? {
            return Err(Ended::Refused);
        }
        self.refusal = Some((position, syndrome));
        Ok(())
    }

    /// Tells the peer, once, that its request waits for a receive.
    #[cold]
    fn tell_not_ready(&mut self, position: u32, link: &mut Link) -> Result<(), Broken> {
        if self.not_ready != Some(position)
            && notify(Kind::ReceiverNotReady, self.not_ready_timer.into(), position, link)?
        {
            self.not_ready = Some(position);
            self.retries.say();
        }
        Ok(())
    }
}

/// Writes a response without a payload, if there is room.
fn notify(kind: Kind, detail: u16, word: u32, link: &mut Link) -> Result<bool, Broken> {
    let acknowledged = link.requests_in.position();
    let header = Header { kind, flags: PacketFlags::ONLY, detail, acknowledged, word, length: 0 };
    respond(&header, &[], link)
}

/// Writes a response, if there is room.
fn respond(header: &Header, payload: &[u8], link: &mut Link) -> Result<bool, Broken> {
    let ring = &mut link.responses_out;
    let body = HEADER + payload.len();
    if ring.reserve(body).is_err() {
        ring.refresh()?;
    }
    match ring.reserve(body) {
        Ok(mut grant) => {
            // Neither fails: the room was asked for.
            let _ = grant.write(0, &header.to_bytes());
            let _ = grant.write(HEADER, payload);
            grant.commit();
            Ok(true)
        }
        Err(Refused::Full { .. } | Refused::TooLong { .. }) => Ok(false),
    }
}
