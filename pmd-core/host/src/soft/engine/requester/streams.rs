//! Large WRITEs and READs over a link with streams: their bytes go straight from and to registered memory.
#![allow(unsafe_code)] // hands checked addresses to the sockets

use pmd_core::{
    memory::Access,
    wire::{DataItems, Operation, RemoteSegment, Syndrome},
};

use super::{
    Sending, Stop,
    packets::{Message, header, push},
};
use crate::soft::{
    Link,
    engine::{
        incoming::Broken,
        outstanding::Wait,
        packet::{HEADER, PacketFlags, REMOTE, RemoteHeader},
        pass::Pass,
        queues::SendRing,
    },
    tcp::{BadRecord, Parts},
};

/// Why bytes of a READ do not arrive.
enum Fault {
    /// The peer's.
    Record(BadRecord),
    /// Of the local memory.
    Local(Syndrome),
}

impl From<BadRecord> for Fault {
    fn from(bad: BadRecord) -> Self {
        Self::Record(bad)
    }
}

impl Sending {
    /// Announces a WRITE and sends its bytes, as far as the budget and the sockets allow.
    pub(super) fn send_streamed(
        &mut self,
        message: &Message,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        let total = message.total;
        if !self.current.streaming {
            // A local fault is found before the peer hears of the message.
            let all = pass.keys.pieces(self.domain, data, (0, total), Access::empty(), |_, _| {});
            all.map_err(Stop::Failed)?;
            self.announce_streamed(message, link)?;
        }
        let (keys, domain, budget) = (pass.keys, self.domain, pass.budget);
        let Some(group) = link.carrier().and_then(|carrier| carrier.asking()) else {
            return Err(Stop::Failed(Syndrome::LocalQueuePairOperation));
        };
        let gather = |range, parts: &mut Parts| {
            keys.pieces(domain, data, range, Access::empty(), |piece, length| parts.push(piece, length))
        };
        // SAFETY: every piece was checked in this round, or lies in the send queue.
        let progress = unsafe { group.send(total, budget, gather) }.map_err(Stop::Failed)?;
        self.current.offset += progress.moved;
        pass.spend(progress.moved);
        if progress.done { Ok(Wait::Consumed(link.requests_out.position())) } else { Err(Stop::Later) }
    }

    fn announce_streamed(&mut self, message: &Message, link: &mut Link) -> Result<(), Stop> {
        let flags = message.flags | PacketFlags::ONLY | PacketFlags::STREAMED;
        let RemoteSegment { address, rkey } = message.remote.unwrap_or(RemoteSegment { address: 0, rkey: 0 });
        let mut packet = [0; HEADER + REMOTE];
        let header = header(message.kind, flags, (message.word, message.total), link);
        packet[..HEADER].copy_from_slice(&header.to_bytes());
        packet[HEADER..].copy_from_slice(&RemoteHeader { address, rkey }.to_bytes());
        push(&mut link.requests_out, &packet)?;
        self.current.streaming = true;
        self.one_sided_end = Some(link.requests_out.position());
        Ok(())
    }

    /// Receives bytes of the oldest READs, where those come over streams. The position behind the READ that is then the
    /// oldest, if its bytes have not all come.
    #[inline]
    pub(super) fn take_streamed(
        &mut self,
        ring: &SendRing,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Option<u32>, Broken> {
        while let Some(entry) = self.awaited.front()
            && entry.streamed
        {
            let end = entry.end;
            if !self.receive_streamed(ring, pass, link)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Whether the oldest READ is over.
    fn receive_streamed(
        &mut self,
        ring: &SendRing,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<bool, Broken> {
        let (domain, keys, budget) = (self.domain, pass.keys, pass.budget);
        let Some(entry) = self.awaited.front() else { return Ok(false) };
        let wqe = ring.parse(entry.index).map_err(|_| Broken::Queue)?;
        let Operation::Read { data, .. } = &wqe.operation else { return Err(Broken::Queue) };
        let Some(group) = link.carrier().and_then(|carrier| carrier.asking()) else {
            return Err(Broken::Queue);
        };
        let scatter = |range, parts: &mut Parts| {
            let access = Access::LOCAL_WRITE;
            keys.pieces(domain, data, range, access, |piece, length| parts.push(piece, length))
                .map_err(Fault::Local)
        };
        // SAFETY: every piece was checked in this round.
        let landed = match unsafe { group.receive(entry.total, budget, scatter) } {
            Ok(progress) => {
                entry.received += progress.moved;
                pass.spend(progress.moved);
                Ok(())
            }
            Err(Fault::Record(bad)) => return Err(bad.into()),
            Err(Fault::Local(syndrome)) => Err(syndrome),
        };
        let over = entry.received == entry.total;
        self.settle_response(landed);
        Ok(over)
    }
}
