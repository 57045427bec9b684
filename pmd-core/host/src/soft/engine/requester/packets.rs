//! Requests that travel as packets: messages for receives, immediates, and all that cannot be moved directly.
#![allow(unsafe_code)] // fills packets in the ring by address

use pmd_core::{
    memory::Access,
    ring::packet::{Grant, Producer, Refused},
    wire::{ControlSegment, DataItems, RemoteSegment, Syndrome},
};

use super::{AwaitedEntry, Sending, Stop};
use crate::soft::{
    Link,
    engine::{
        copy::{self, Atomic},
        outstanding::Wait,
        packet::{HEADER, Header, Kind, LONGEST_HEAD, Operands, PacketFlags, REMOTE, RemoteHeader},
        pass::Pass,
    },
};

/// A message that goes out in one or more packets.
pub(super) struct Message {
    /// SEND or WRITE.
    pub(super) kind: Kind,
    /// Those of its last packet, besides the place in the message.
    pub(super) flags: PacketFlags,
    /// Immediate.
    pub(super) word: u32,
    /// Bytes.
    pub(super) total: u64,
    /// Where a WRITE goes.
    pub(super) remote: Option<RemoteSegment>,
}

impl Sending {
    /// Writes packets until the message is out, the budget is used up or the ring is full.
    #[inline]
    pub(super) fn send_message(
        &mut self,
        message: &Message,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        self.flush_batch(pass)?;
        if message.remote.is_some() && link.streams(message.total) {
            return self.send_streamed(message, data, pass, link);
        }
        let most = pass.tuning.fragment.clamp(1, link.longest_packet() - LONGEST_HEAD);
        loop {
            let offset = self.current.offset;
            let length = (message.total - offset).min(most as u64);
            self.send_fragment(message, (offset, length), data, pass, link)?;
            self.current.offset += length;
            pass.spend(length);
            if self.current.offset == message.total {
                break;
            }
            if pass.budget == 0 {
                return Err(Stop::Later);
            }
        }
        let end = link.requests_out.position();
        if message.remote.is_some() {
            self.one_sided_end = Some(end);
        }
        Ok(Wait::Consumed(end))
    }

    #[inline]
    fn send_fragment(
        &mut self,
        message: &Message,
        range: (u64, u64),
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<(), Stop> {
        let (offset, length) = range;
        let (mut head, mut head_length) = ([0; HEADER + REMOTE], HEADER);
        let mut flags = message.flags;
        if offset == 0 {
            flags |= PacketFlags::FIRST;
            if let Some(RemoteSegment { address, rkey }) = message.remote {
                head_length += REMOTE;
                head[HEADER..].copy_from_slice(&RemoteHeader { address, rkey }.to_bytes());
            }
        }
        if offset + length == message.total {
            flags |= PacketFlags::LAST;
        }
        let header = header(message.kind, flags, (message.word, message.total), link);
        head[..HEADER].copy_from_slice(&header.to_bytes());
        let mut grant = reserve(&mut link.requests_out, head_length + length as usize)?;
        let mut place = grant.body().as_ptr();
        // SAFETY: the body has room for head and payload, which `pieces` gives exactly once; its pieces are checked
        // in this round.
        unsafe {
            copy::copy(head.as_ptr(), place, head_length);
            place = place.add(head_length);
        }
        let pieces = pass.keys.pieces(self.domain, data, range, Access::empty(), |source, length| {
            // SAFETY: as above.
            unsafe {
                copy::copy(source, place, length);
                place = place.add(length);
            }
        });
        pieces.map_err(Stop::Failed)?;
        grant.commit();
        Ok(())
    }

    /// Hands the immediate of a WRITE over whose bytes are in place.
    pub(super) fn announce_placed(
        &mut self,
        flags: PacketFlags,
        word: u32,
        total: u64,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        self.flush_batch(pass)?;
        let mut packet = [0; HEADER + REMOTE];
        let header = header(Kind::Write, flags | PacketFlags::ONLY, (word, total), link);
        packet[..HEADER].copy_from_slice(&header.to_bytes());
        push(&mut link.requests_out, &packet)?;
        pass.spend(0);
        Ok(Wait::Consumed(link.requests_out.position()))
    }

    /// Asks for the bytes of a READ, or for an atomic to be run.
    pub(super) fn ask(
        &mut self,
        control: &ControlSegment,
        remote: &RemoteSegment,
        total: u64,
        atomic: Option<Atomic>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        self.flush_batch(pass)?;
        self.require_response_room()?;
        let (kind, operands) = match atomic {
            None => (Kind::Read, None),
            Some(Atomic::FetchAdd(add)) => (Kind::FetchAdd, Some(Operands { swap_or_add: add, compare: 0 })),
            Some(Atomic::CompareSwap { compare, swap }) => {
                (Kind::CompareSwap, Some(Operands { swap_or_add: swap, compare }))
            }
        };
        let mut packet = [0; LONGEST_HEAD];
        let streamed = kind == Kind::Read && link.streams(total);
        let mut flags = PacketFlags::ONLY;
        flags.set(PacketFlags::STREAMED, streamed);
        let header = header(kind, flags, (0, total), link);
        let RemoteSegment { address, rkey } = *remote;
        packet[..HEADER].copy_from_slice(&header.to_bytes());
        packet[HEADER..HEADER + REMOTE].copy_from_slice(&RemoteHeader { address, rkey }.to_bytes());
        let mut length = HEADER + REMOTE;
        if let Some(operands) = operands {
            packet[length..].copy_from_slice(&operands.to_bytes());
            length = LONGEST_HEAD;
        }
        push(&mut link.requests_out, &packet[..length])?;
        let (sequence, index) = (self.outstanding.next(), control.index);
        let end = link.requests_out.position();
        self.awaited.push(AwaitedEntry { sequence, index, total, received: 0, end, streamed });
        self.one_sided_end = Some(end);
        if let Some(group) = link.carrier().filter(|_| streamed).and_then(|carrier| carrier.asking()) {
            // Its bytes may come with nothing else that would have the engine look.
            group.expect();
        }
        pass.spend(0);
        Ok(Wait::Response)
    }
}

/// A header that says how far this side has consumed the peer's requests. `words`: immediate and message length.
#[inline]
pub(super) fn header(kind: Kind, flags: PacketFlags, words: (u32, u64), link: &Link) -> Header {
    let acknowledged = link.requests_in.position();
    Header { kind, flags, detail: 0, acknowledged, word: words.0, length: words.1 as u32 }
}

/// Room for a packet, after a look at how far the peer has come if need be.
#[inline]
fn reserve(ring: &mut Producer, body: usize) -> Result<Grant<'_>, Stop> {
    if ring.reserve(body).is_err() {
        ring.refresh().map_err(|_| Stop::Failed(Syndrome::BadResponse))?;
    }
    ring.reserve(body).map_err(stop)
}

pub(super) fn push(ring: &mut Producer, body: &[u8]) -> Result<(), Stop> {
    let mut grant = reserve(ring, body.len())?;
    grant.write(0, body).map_err(|_| Stop::Failed(Syndrome::LocalQueuePairOperation))?;
    grant.commit();
    Ok(())
}

fn stop(refused: Refused) -> Stop {
    match refused {
        Refused::Full { .. } => Stop::Later,
        Refused::TooLong { .. } => Stop::Failed(Syndrome::LocalQueuePairOperation),
    }
}
