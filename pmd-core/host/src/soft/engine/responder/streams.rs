//! Large WRITEs and READs of a peer whose link has streams: the bytes go straight into and from registered memory.
#![allow(unsafe_code)] // hands checked addresses to the sockets

use pmd_core::wire::{RemoteSegment, Syndrome};

use super::{Broken, Incoming, Responder, Verdict, Writing};
use crate::soft::{
    Link,
    engine::{
        copy::Tail,
        packet::{Header, PacketError, PacketFlags},
        pass::Pass,
    },
    tcp::{BadRecord, Group, Parts},
};

/// Bytes at the end of a WRITE that are stored last.
const TAIL: u64 = 8;

impl Responder {
    /// Whether the request at the head of the ring waits for bytes, or for room to send them.
    pub(in super::super) fn waits_for_stream(&self) -> bool {
        self.streaming
    }

    /// Receives the bytes of a WRITE, and completes its immediate.
    pub(super) fn write_streamed(
        &mut self,
        incoming: &Incoming,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Verdict, Broken> {
        let header = &incoming.packet.header;
        let remote =
            RemoteSegment { address: incoming.packet.remote.address, rkey: incoming.packet.remote.rkey };
        let total = u64::from(header.length);
        let fresh = Writing { remote, total, done: 0, tail: Tail::default() };
        let mut writing = self.writing.take().unwrap_or(fresh);
        let group = serving(header, link)?;
        if writing.done < total {
            if !self.may_write(&writing, pass) {
                return Ok(Verdict::Refused(Syndrome::RemoteAccess));
            }
            let moved = receive(&mut writing, group, pass)?;
            pass.spend(moved);
            self.streaming = writing.done < total;
            if self.streaming {
                self.writing = Some(writing);
                return Ok(Verdict::Later);
            }
        }
        let Some(_) = header.immediate() else { return Ok(Verdict::Done) };
        match self.take(pass) {
            None => {
                self.writing = Some(writing);
                Ok(Verdict::NoReceive)
            }
            Some(slot) => {
                self.complete_immediate(slot, header, pass);
                Ok(Verdict::Done)
            }
        }
    }

    /// Sends the bytes of a READ, as far as the budget and the sockets allow.
    pub(super) fn read_streamed(
        &mut self,
        incoming: &Incoming,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Verdict, Broken> {
        let (address, total) = (incoming.packet.remote.address, u64::from(incoming.packet.header.length));
        let group = serving(&incoming.packet.header, link)?;
        let gather = |(offset, length): (u64, u64), parts: &mut Parts| {
            parts.push(address.wrapping_add(offset) as *mut u8, length as usize);
            Ok::<(), Broken>(())
        };
        // SAFETY: the caller has checked the whole range in this round.
        let progress = unsafe { group.send(total, pass.budget, gather) }?;
        pass.spend(progress.moved);
        self.streaming = !progress.done;
        Ok(if progress.done { Verdict::Done } else { Verdict::Later })
    }
}

/// The streams that a request's bytes take; a peer that announces them where there are none is not one of ours.
fn serving<'a>(header: &Header, link: &'a mut Link) -> Result<&'a mut Group, Broken> {
    let out_of_place = PacketError::OutOfPlace { kind: header.kind };
    if !header.flags.contains(PacketFlags::ONLY) || header.length == 0 {
        return Err(out_of_place.into());
    }
    link.carrier().and_then(|carrier| carrier.serving()).ok_or(out_of_place.into())
}

/// Receives into the target, whose key was checked in this round. The bytes.
fn receive(writing: &mut Writing, group: &mut Group, pass: &Pass<'_>) -> Result<u64, Broken> {
    let Writing { remote, total, tail, .. } = writing;
    let (total, held) = (*total, total.saturating_sub(TAIL));
    let target = remote.address as *mut u8;
    let scatter = |(offset, length): (u64, u64), parts: &mut Parts| {
        let end = offset + length;
        if offset < held {
            parts.push(target.wrapping_add(offset as usize), (end.min(held) - offset) as usize);
        }
        if end > held {
            let start = offset.max(held);
            parts.push(tail.place_of(total, start), (end - start) as usize);
        }
        Ok::<(), BadRecord>(())
    };
    // SAFETY: the parts are inside of the target or of the tail.
    let progress = unsafe { group.receive(total, pass.budget, scatter) }?;
    writing.done += progress.moved;
    if progress.done {
        // SAFETY: inside of the target.
        unsafe { writing.tail.store(target.wrapping_add(held as usize), (total - held) as usize) };
    }
    Ok(progress.moved)
}
