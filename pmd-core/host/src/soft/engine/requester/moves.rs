//! WRITEs and READs with device memory on a side: handed to the [mover](crate::soft::mover), taken back when it is done.

use std::sync::Arc;

use pmd_core::{
    memory::Access,
    wire::{DataItem, DataItems, Operation, RemoteSegment, SendWqe, Syndrome},
};

use super::{
    Requester, Sending, Stop,
    step::{length, solicited},
};
use crate::{
    soft::{
        Job, Link, Local, MoveDirection as Direction, MoveFault, Moved, Reach,
        engine::{outstanding::Wait, packet::PacketFlags, pass::Pass},
    },
    transfer::DeviceFault,
};

impl Requester {
    /// The queue pair is connected by `link`.
    pub(in super::super) fn set_link(&mut self, link: &Link) {
        self.sending.route = link.route(self.sending.domain).map(Arc::new);
    }

    /// Whether the mover has anything of it.
    #[inline]
    pub(in super::super) fn has_moves(&self) -> bool {
        self.sending.moves > 0
    }

    /// Notes what became of a job.
    pub(in super::super) fn moved(&mut self, moved: &Moved) {
        let sending = &mut self.sending;
        sending.moves = sending.moves.saturating_sub(1);
        if let Err(MoveFault { device: Some(fault), .. }) = moved.result {
            sending.lacks.get_or_insert((moved.sequence, fault));
        }
        let result = moved.result.map_err(|fault| fault.syndrome);
        match (result, sending.outstanding.find(moved.sequence)) {
            (Ok(()), Some(record)) if moved.last && record.wait == Wait::Move => record.wait = Wait::Done,
            (Ok(()), _) => {}
            (Err(syndrome), Some(record)) => {
                if record.wait == Wait::Move {
                    record.wait = Wait::Failed(syndrome);
                }
                sending.halted = true;
            }
            // Its request is still at the head of the queue, with more to hand over or an immediate to follow.
            (Err(syndrome), None) if !sending.halted => self.fail_current(syndrome),
            (Err(_), None) => {}
        }
    }

    /// Whether there was anything at the mover, which is gone.
    #[cold]
    pub(in super::super) fn forget_moves(&mut self) -> bool {
        std::mem::take(&mut self.sending.moves) > 0
    }
}

/// A request that the mover may have to do.
struct Request<'a, 'wqe> {
    direction: Direction,
    remote: &'a RemoteSegment,
    data: &'a DataItems<'wqe>,
    total: u64,
}

impl Sending {
    /// Begins, or goes on with, a WQE that the mover has to do. `None` where the engine does it: nothing is at the mover
    /// then.
    #[inline]
    pub(super) fn step_move(
        &mut self,
        wqe: &SendWqe<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Option<Wait>, Stop> {
        if pass.mover.is_none() || self.route.is_none() {
            Ok(None)
        } else {
            self.step_with_mover(wqe, pass, link)
        }
    }

    fn step_with_mover(
        &mut self,
        wqe: &SendWqe<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Option<Wait>, Stop> {
        let (direction, remote, data, immediate) = match &wqe.operation {
            Operation::Write { remote, immediate, data } => (Direction::Write, remote, data, *immediate),
            Operation::Read { remote, data } => (Direction::Read, remote, data, None),
            Operation::Nop => return Ok(None),
            _ => return self.without_moves(),
        };
        let total = length(data)?;
        let request = Request { direction, remote, data, total };
        if !self.current.moving {
            if self.current.offset > 0 || total == 0 || !self.is_on_device(&request, pass, link)? {
                return self.without_moves();
            }
            self.flush_batch(pass)?;
            match direction {
                Direction::Write => self.require_one_sided_done(link)?,
                Direction::Read => self.require_all_done(link)?,
            }
            self.current.moving = true;
        }
        self.hand_over(&request, pass)?;
        let Some(word) = immediate else { return Ok(Some(Wait::Move)) };
        // The bytes come first.
        self.without_moves()?;
        let flags = solicited(&wqe.control) | PacketFlags::IMMEDIATE | PacketFlags::PLACED;
        self.announce_placed(flags, word, total, pass, link).map(Some)
    }

    /// The engine goes on by itself once the mover has nothing of this queue pair.
    #[inline]
    fn without_moves(&self) -> Result<Option<Wait>, Stop> {
        if self.moves == 0 { Ok(None) } else { Err(Stop::Later) }
    }

    /// Whether one of the sides is memory of an accelerator. All keys are checked if so.
    fn is_on_device(
        &mut self,
        request: &Request<'_, '_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<bool, Stop> {
        let Request { direction, remote, data, total } = request;
        let (local, there) = match direction {
            Direction::Write => (Access::empty(), Access::REMOTE_WRITE),
            Direction::Read => (Access::LOCAL_WRITE, Access::REMOTE_READ),
        };
        let mut found = matches!(self.reach(remote, *total, there, pass, link)?, Reach::Device(_));
        for item in (*data).clone() {
            let length = item.length();
            if let DataItem::Memory(segment) = item {
                let range = (segment.address, length);
                let device = pass.keys.is_device(self.domain, segment.lkey, range, local);
                found |= device.map_err(Stop::Failed)?;
            }
        }
        Ok(found)
    }

    /// Hands over what is left of the request, as far as there is room.
    fn hand_over(&mut self, request: &Request<'_, '_>, pass: &mut Pass<'_>) -> Result<(), Stop> {
        let mut at = 0;
        for item in request.data.clone() {
            let length = item.length();
            match item {
                DataItem::Memory(segment) => {
                    let local = Local::Registered { address: segment.address, key: segment.lkey };
                    self.push_move(request, local, (at, length), pass)?;
                }
                DataItem::Inline(first, second) => {
                    let middle = at + first.len() as u64;
                    for (at, part) in [(at, first), (middle, second)] {
                        let local = Local::Inline(part.as_ptr() as u64);
                        self.push_move(request, local, (at, part.len() as u64), pass)?;
                    }
                }
            }
            at += length;
        }
        Ok(())
    }

    /// Hands over the piece that holds the bytes of `range` of the message, unless it was before.
    fn push_move(
        &mut self,
        request: &Request<'_, '_>,
        local: Local,
        range: (u64, u64),
        pass: &mut Pass<'_>,
    ) -> Result<(), Stop> {
        let (at, length) = range;
        if length == 0 || at < self.current.offset {
            return Ok(());
        }
        let (Some(mover), Some(route)) = (pass.mover.as_mut(), &self.route) else {
            // Streams do not reach what a link to another host does.
            self.lacks.get_or_insert((self.outstanding.next(), DeviceFault::HostOutOfReach));
            return Err(Stop::Failed(Syndrome::LocalQueuePairOperation));
        };
        if !mover.has_room() {
            mover.ring();
            return Err(Stop::Later);
        }
        let RemoteSegment { address, rkey } = *request.remote;
        mover.push(Job {
            route: route.clone(),
            queue_pair: self.number,
            sequence: self.outstanding.next(),
            last: at + length == request.total,
            direction: request.direction,
            local,
            remote: address.wrapping_add(at),
            remote_key: rkey,
            length,
        });
        self.moves += 1;
        self.current.offset = at + length;
        pass.spend(0);
        Ok(())
    }
}
