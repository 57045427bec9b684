//! Messages for receives: SENDs, and the immediates of WRITEs.
#![allow(unsafe_code)] // copies payload to checked addresses

use pmd_core::{
    memory::Access,
    wire::{
        Cqe, DataSegment, ErrorCompletion, ReceivePath, Received, ResponderCompletion, Scatter, Side,
        Syndrome,
    },
};

use super::{Broken, Incoming, ReceiveSource, Responder, Verdict};
use crate::soft::engine::{
    copy,
    packet::{Header, Kind, PacketError, PacketFlags},
    pass::{Keys, Pass},
    queues::{ReceiveRing, Slot},
};

impl Responder {
    /// Executes a packet of a SEND.
    #[inline]
    pub(super) fn send(&mut self, incoming: &Incoming, pass: &mut Pass<'_>) -> Result<Verdict, Broken> {
        let packet = &incoming.packet;
        let header = &packet.header;
        let first = header.flags.contains(PacketFlags::FIRST);
        let (slot, filled) = match self.filling {
            Some(filling) if !first => filling,
            None if first => match self.take(pass) {
                Some(slot) => (slot, 0),
                None => return Ok(Verdict::NoReceive),
            },
            _ => return Err(PacketError::OutOfPlace { kind: header.kind }.into()),
        };
        // Kept from here on, so that it is flushed if the packet turns out to be bad.
        self.filling = Some((slot, filled));
        let total = u64::from(header.length);
        let end = filled + packet.payload_length as u64;
        let last = header.flags.contains(PacketFlags::LAST);
        if end > total || last && end != total {
            return Err(PacketError::OutOfPlace { kind: header.kind }.into());
        }
        self.filling = Some((slot, end));
        if let Err((local, remote)) = self.scatter(slot, filled, incoming, pass) {
            self.filling = None;
            self.fail_receive(slot, local, pass);
            return Ok(Verdict::Refused(remote));
        }
        if last {
            self.filling = None;
            let received = header.immediate().map_or(Received::Send, Received::SendImmediate);
            self.complete(slot, received, header, pass);
        }
        Ok(Verdict::Done)
    }

    /// Completes a receive for the immediate of a WRITE whose bytes are in place.
    pub(super) fn complete_immediate(&mut self, slot: Slot, header: &Header, pass: &mut Pass<'_>) {
        self.complete(slot, Received::WriteImmediate(header.word), header, pass);
    }

    /// Takes the next receive.
    #[inline]
    pub(super) fn take(&mut self, pass: &mut Pass<'_>) -> Option<Slot> {
        self.ring_mut(pass)?.take()
    }

    /// Completes what is posted with errors, as far as the completion queue has room. Whether all is done. Receives
    /// in a shared queue stay there, but for one that is being filled.
    pub(in super::super) fn flush(&mut self, pass: &mut Pass<'_>) -> bool {
        while pass.completions.room() > 0 {
            let begun = self.filling.take().map(|(slot, _)| slot);
            let own = match &mut self.source {
                ReceiveSource::Own(ring) if begun.is_none() => ring.take(),
                _ => None,
            };
            let Some(slot) = begun.or(own) else { return true };
            self.fail_receive(slot, Syndrome::Flushed, pass);
        }
        !self.has_posted()
    }

    /// Whether receives are left to flush.
    pub(in super::super) fn has_posted(&self) -> bool {
        let own = matches!(&self.source, ReceiveSource::Own(ring) if ring.available() > 0);
        own || self.filling.is_some()
    }

    /// Puts a packet's payload behind the bytes that the receive holds. The error: what the receive fails with, and
    /// what its sender fails with.
    #[inline]
    fn scatter(
        &self,
        slot: Slot,
        filled: u64,
        incoming: &Incoming,
        pass: &Pass<'_>,
    ) -> Result<(), (Syndrome, Syndrome)> {
        let Some(ring) = self.ring(pass) else { return Ok(()) };
        let total = u64::from(incoming.packet.header.length);
        let segments = ring.segments(slot);
        if filled == 0 {
            let capacity: u64 = segments.clone().map(|segment| u64::from(segment.length)).sum();
            if total > capacity {
                return Err((Syndrome::LocalLength, Syndrome::RemoteInvalidRequest));
            }
        }
        let payload = (incoming.payload(), incoming.packet.payload_length as u64);
        fill(&pass.keys, self, segments, filled, payload).map_err(|local| (local, Syndrome::RemoteOperation))
    }

    #[inline]
    fn complete(&self, slot: Slot, received: Received, header: &Header, pass: &mut Pass<'_>) {
        let completion = ResponderCompletion {
            received,
            queue_pair: self.number,
            path: ReceivePath { source_queue_pair: self.peer, ..ReceivePath::default() },
            shared_receive_queue: self.shared_number(),
            byte_count: header.length,
            wqe_counter: slot.index,
            solicited: header.flags.contains(PacketFlags::SOLICITED),
            timestamp: 0,
            scatter: Scatter::Memory,
        };
        debug_assert!(matches!(header.kind, Kind::Send | Kind::Write));
        pass.complete(&Cqe::Responder(completion));
    }

    fn fail_receive(&self, slot: Slot, syndrome: Syndrome, pass: &mut Pass<'_>) {
        pass.complete(&Cqe::Error(ErrorCompletion {
            side: Side::Responder,
            queue_pair: self.number,
            operation: 0,
            wqe_counter: slot.index,
            syndrome,
            vendor: 0,
            shared_receive_queue: self.shared_number(),
        }));
    }

    /// Number of a shared queue in completions: its handle; 0 without one.
    fn shared_number(&self) -> u32 {
        match self.source {
            ReceiveSource::Own(_) => 0,
            ReceiveSource::Shared(handle) => handle,
        }
    }

    #[inline]
    fn ring<'a>(&'a self, pass: &'a Pass<'_>) -> Option<&'a ReceiveRing> {
        match &self.source {
            ReceiveSource::Own(ring) => Some(ring),
            ReceiveSource::Shared(handle) => pass.shared_receives.get(*handle as usize)?.as_ref(),
        }
    }

    #[inline]
    fn ring_mut<'a>(&'a mut self, pass: &'a mut Pass<'_>) -> Option<&'a mut ReceiveRing> {
        match &mut self.source {
            ReceiveSource::Own(ring) => Some(ring),
            ReceiveSource::Shared(handle) => pass.shared_receives.get_mut(*handle as usize)?.as_mut(),
        }
    }
}

/// Copies `payload` to the memory of `segments`, `skip` bytes from their start.
#[inline]
fn fill(
    keys: &Keys<'_>,
    responder: &Responder,
    segments: impl Iterator<Item = DataSegment>,
    mut skip: u64,
    payload: (*const u8, u64),
) -> Result<(), Syndrome> {
    let (mut source, mut left) = payload;
    for segment in segments {
        if left == 0 {
            break;
        }
        let length = u64::from(segment.length);
        if skip >= length {
            skip -= length;
            continue;
        }
        let taken = left.min(length - skip);
        let address = segment.address.wrapping_add(skip);
        keys.check_local(responder.domain, segment.lkey, (address, taken), Access::LOCAL_WRITE)?;
        // SAFETY: the target was checked in this round, the payload holds the bytes that are left.
        unsafe {
            copy::copy(source, address as *mut u8, taken as usize);
            source = source.add(taken as usize);
        }
        (left, skip) = (left - taken, 0);
    }
    Ok(())
}
