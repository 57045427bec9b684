//! One-sided requests that came as packets: executed here because the peer cannot reach the memory itself.
#![allow(unsafe_code)] // copies between the rings and checked addresses

use pmd_core::{
    memory::Access,
    wire::{RemoteSegment, Syndrome},
};

use super::{Broken, Incoming, Responder, Verdict, Writing, respond};
use crate::soft::{
    Link,
    engine::{
        copy::{self, Atomic, Piece, Tail},
        packet::{HEADER, Header, Kind, LONGEST_HEAD, PacketError, PacketFlags},
        pass::Pass,
    },
};

impl Responder {
    /// Executes a packet of a WRITE, with its immediate if it is the last.
    pub(super) fn write(
        &mut self,
        incoming: &Incoming,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Verdict, Broken> {
        let packet = &incoming.packet;
        let header = &packet.header;
        if header.flags.contains(PacketFlags::STREAMED) {
            return self.write_streamed(incoming, pass, link);
        }
        let mut writing = match (self.writing, header.flags.contains(PacketFlags::FIRST)) {
            (Some(writing), false) => writing,
            (None, true) => {
                let RemoteSegment { address, rkey } =
                    RemoteSegment { address: packet.remote.address, rkey: packet.remote.rkey };
                let remote = RemoteSegment { address, rkey };
                Writing { remote, total: header.length.into(), done: 0, tail: Tail::default() }
            }
            _ => return Err(PacketError::OutOfPlace { kind: header.kind }.into()),
        };
        let placed = header.flags.contains(PacketFlags::PLACED);
        let last = header.flags.contains(PacketFlags::LAST);
        let end = writing.done + packet.payload_length as u64;
        let wrong_end = last && end != writing.total;
        if !placed && (end > writing.total || wrong_end) || placed && !last {
            return Err(PacketError::OutOfPlace { kind: header.kind }.into());
        }
        if !placed && writing.total > 0 && !self.may_write(&writing, pass) {
            return Ok(Verdict::Refused(Syndrome::RemoteAccess));
        }
        // The receive comes first: without one the packet waits, and is then executed from its beginning.
        let receive = match header.immediate().filter(|_| last) {
            None => None,
            Some(_) => match self.take(pass) {
                None => return Ok(Verdict::NoReceive),
                receive => receive,
            },
        };
        if !placed && packet.payload_length > 0 {
            let piece = Piece { total: writing.total, offset: writing.done, length: packet.payload_length };
            let target = writing.remote.address as *mut u8;
            // SAFETY: the whole target was checked in this round; the payload is that of the packet.
            unsafe { writing.tail.place(piece, incoming.payload(), target) };
        }
        writing.done = end;
        self.writing = (!last).then_some(writing);
        if let Some(slot) = receive {
            self.complete_immediate(slot, header, pass);
        }
        Ok(Verdict::Done)
    }

    pub(super) fn may_write(&self, writing: &Writing, pass: &Pass<'_>) -> bool {
        let range = (writing.remote.address, writing.total);
        pass.keys.check_local(self.domain, writing.remote.rkey, range, Access::REMOTE_WRITE).is_ok()
    }

    /// Answers a READ, in as many responses as there is room for now.
    pub(super) fn read(
        &mut self,
        incoming: &Incoming,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Verdict, Broken> {
        let packet = &incoming.packet;
        let total = u64::from(packet.header.length);
        let range = (packet.remote.address, total);
        if pass.keys.check_local(self.domain, packet.remote.rkey, range, Access::REMOTE_READ).is_err() {
            return Ok(Verdict::Refused(Syndrome::RemoteAccess));
        }
        if packet.header.flags.contains(PacketFlags::STREAMED) {
            return self.read_streamed(incoming, pass, link);
        }
        let most = pass.tuning.fragment.clamp(1, link.longest_packet() - LONGEST_HEAD);
        while self.answered < total {
            let length = (total - self.answered).min(most as u64);
            if pass.budget == 0 || !self.answer(range, length, link)? {
                return Ok(Verdict::Later);
            }
            pass.spend(length);
        }
        self.answered = 0;
        Ok(Verdict::Done)
    }

    /// Writes the next `length` bytes of a READ of `range` as a response, if there is room.
    fn answer(&mut self, range: (u64, u64), length: u64, link: &mut Link) -> Result<bool, Broken> {
        let (address, total) = range;
        let mut flags = PacketFlags::empty();
        flags.set(PacketFlags::FIRST, self.answered == 0);
        flags.set(PacketFlags::LAST, self.answered + length == total);
        let (kind, acknowledged) = (Kind::ReadResponse, link.requests_in.position());
        let header = Header { kind, flags, detail: 0, acknowledged, word: 0, length: total as u32 };
        let ring = &mut link.responses_out;
        let body = HEADER + length as usize;
        if ring.reserve(body).is_err() {
            ring.refresh()?;
        }
        let Ok(mut grant) = ring.reserve(body) else { return Ok(false) };
        let source = address.wrapping_add(self.answered) as *const u8;
        let target = grant.body().as_ptr();
        // SAFETY: the source was checked in this round, the body was reserved.
        unsafe {
            copy::copy(header.to_bytes().as_ptr(), target, HEADER);
            copy::copy(source, target.add(HEADER), length as usize);
        }
        grant.commit();
        self.answered += length;
        Ok(true)
    }

    /// Runs an atomic and answers with the old value.
    pub(super) fn atomic(
        &mut self,
        incoming: &Incoming,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Verdict, Broken> {
        let packet = &incoming.packet;
        let address = packet.remote.address;
        if !address.is_multiple_of(8) {
            return Ok(Verdict::Refused(Syndrome::RemoteInvalidRequest));
        }
        if pass
            .keys
            .check_local(self.domain, packet.remote.rkey, (address, 8), Access::REMOTE_ATOMIC)
            .is_err()
        {
            return Ok(Verdict::Refused(Syndrome::RemoteAccess));
        }
        if !has_room(link)? {
            return Ok(Verdict::Later);
        }
        let operands = packet.operands;
        let operation = match packet.header.kind {
            Kind::FetchAdd => Atomic::FetchAdd(operands.swap_or_add),
            _ => Atomic::CompareSwap { compare: operands.compare, swap: operands.swap_or_add },
        };
        // SAFETY: eight aligned bytes, checked in this round.
        let old = unsafe { copy::atomic(address as *mut u8, operation) };
        let (kind, acknowledged) = (Kind::AtomicResponse, link.requests_in.position());
        let header = Header { kind, flags: PacketFlags::ONLY, detail: 0, acknowledged, word: 0, length: 8 };
        respond(&header, &old.to_le_bytes(), link)?;
        Ok(Verdict::Done)
    }
}

/// Whether a small response has room: an atomic must not be run twice.
fn has_room(link: &mut Link) -> Result<bool, Broken> {
    let ring = &mut link.responses_out;
    if ring.reserve(HEADER + 8).is_err() {
        ring.refresh()?;
    }
    Ok(ring.reserve(HEADER + 8).is_ok())
}
