//! Beginning one WQE: which way its bytes take, and what has to be over before.

use pmd_core::{
    memory::Access,
    wire::{
        ControlFlags, ControlSegment, DataItem, DataItems, DataSegment, Operation, RemoteSegment, SendExtra,
        SendWqe, Syndrome,
    },
};

use super::{Sending, Stop};
use crate::{
    soft::{
        Link, Reach, Shared,
        engine::{
            batch::Direction,
            copy::Atomic,
            outstanding::Wait,
            packet::{Kind, PacketFlags},
            pass::Pass,
            requester::packets::Message,
            tuning::{LONGEST_MESSAGE, RESPONSES},
        },
    },
    transfer::DeviceFault,
};

impl Sending {
    /// Begins, or goes on with, one WQE. What comes back is what its completion waits for.
    #[inline]
    pub(super) fn step(
        &mut self,
        wqe: &SendWqe<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        let control = &wqe.control;
        if control.flags.contains(ControlFlags::FENCE) && self.current.offset == 0 {
            self.require_reads_done(pass)?;
        }
        if let Some(wait) = self.step_move(wqe, pass, link)? {
            return Ok(wait);
        }
        match &wqe.operation {
            Operation::Nop => Ok(Wait::Done),
            Operation::Write { remote, immediate, data } => {
                self.write(control, remote, *immediate, data, pass, link)
            }
            Operation::Read { remote, data } => self.read(control, remote, data, pass, link),
            Operation::Send { extra, data, .. } => self.send(control, *extra, data, pass, link),
            Operation::CompareAndSwap { remote, operands, result } => {
                let operation = Atomic::CompareSwap { compare: operands.compare, swap: operands.swap_or_add };
                self.atomic(control, remote, result, operation, pass, link)
            }
            Operation::FetchAndAdd { remote, addend, result } => {
                self.atomic(control, remote, result, Atomic::FetchAdd(*addend), pass, link)
            }
        }
    }

    fn send(
        &mut self,
        control: &ControlSegment,
        extra: SendExtra,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        let mut flags = solicited(control);
        let word = match extra {
            SendExtra::None => 0,
            SendExtra::Immediate(immediate) => {
                flags |= PacketFlags::IMMEDIATE;
                immediate
            }
            // This device has no keys that a peer could invalidate.
            SendExtra::Invalidate(_) => return Err(Stop::Failed(Syndrome::LocalQueuePairOperation)),
        };
        let message = Message { kind: Kind::Send, flags, word, total: length(data)?, remote: None };
        self.send_message(&message, data, pass, link)
    }

    #[inline]
    fn write(
        &mut self,
        control: &ControlSegment,
        remote: &RemoteSegment,
        immediate: Option<u32>,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        let total = length(data)?;
        let mut wait = Wait::Done;
        if self.current.offset < total {
            match self.reach(remote, total, Access::REMOTE_WRITE, pass, link)? {
                Reach::Direct(target) => self.write_direct(target, total, data, pass, link)?,
                Reach::Process { pid, address } => {
                    self.collect((Direction::Write, pid), address, total, data, pass, link)?;
                    wait = Wait::Batch;
                }
                Reach::Packets => {
                    let mut flags = solicited(control);
                    if immediate.is_some() {
                        flags |= PacketFlags::IMMEDIATE;
                    }
                    let (kind, word) = (Kind::Write, immediate.unwrap_or(0));
                    let message = Message { kind, flags, word, total, remote: Some(*remote) };
                    return self.send_message(&message, data, pass, link);
                }
                Reach::Device(shared) => return Err(self.without_mover(shared, pass, link)),
            }
        }
        match immediate {
            None => Ok(wait),
            Some(word) => {
                let flags = solicited(control) | PacketFlags::IMMEDIATE | PacketFlags::PLACED;
                self.announce_placed(flags, word, total, pass, link)
            }
        }
    }

    #[inline]
    fn read(
        &mut self,
        control: &ControlSegment,
        remote: &RemoteSegment,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        let total = length(data)?;
        if total == 0 {
            return Ok(Wait::Done);
        }
        match self.reach(remote, total, Access::REMOTE_READ, pass, link)? {
            Reach::Direct(source) => {
                self.read_direct(source, total, data, pass, link)?;
                Ok(Wait::Done)
            }
            Reach::Process { pid, address } => {
                self.collect((Direction::Read, pid), address, total, data, pass, link)?;
                Ok(Wait::Batch)
            }
            Reach::Packets => {
                pass.keys
                    .pieces(self.domain, data, (0, total), Access::LOCAL_WRITE, |_, _| {})
                    .map_err(Stop::Failed)?;
                self.ask(control, remote, total, None, pass, link)
            }
            Reach::Device(shared) => Err(self.without_mover(shared, pass, link)),
        }
    }

    fn atomic(
        &mut self,
        control: &ControlSegment,
        remote: &RemoteSegment,
        result: &DataSegment,
        operation: Atomic,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        if result.length != 8 {
            return Err(Stop::Failed(Syndrome::LocalLength));
        }
        if !remote.address.is_multiple_of(8) {
            return Err(Stop::Failed(Syndrome::RemoteInvalidRequest));
        }
        pass.keys
            .check_local(self.domain, result.lkey, (result.address, 8), Access::LOCAL_WRITE)
            .map_err(Stop::Failed)?;
        match self.reach(remote, 8, Access::REMOTE_ATOMIC, pass, link)? {
            Reach::Direct(target) => self.atomic_direct(target, operation, result.address, pass, link),
            Reach::Process { .. } | Reach::Packets => {
                self.ask(control, remote, 8, Some(operation), pass, link)
            }
            // Streams copy, and what else the accelerator does to the word is not theirs to see.
            Reach::Device(_) => Err(Stop::Failed(Syndrome::RemoteInvalidRequest)),
        }
    }

    /// How the remote range is reached, if its key allows the access.
    #[inline]
    pub(super) fn reach(
        &self,
        remote: &RemoteSegment,
        length: u64,
        access: Access,
        pass: &mut Pass<'_>,
        link: &Link,
    ) -> Result<Reach, Stop> {
        // A closed end counts on no engine beginning to move bytes for it any more.
        if !link.is_open(pass.keys.active) {
            return Err(Stop::Later);
        }
        let reach = link
            .reach(pass.mappings, pass.keys.active, remote, length, access)
            .map_err(|_| Stop::Failed(Syndrome::RemoteAccess))?;
        match reach {
            Reach::Process { .. } if self.packets_only => Ok(Reach::Packets),
            reach => Ok(reach),
        }
    }

    /// Memory of an accelerator, and nobody here who drives one.
    #[cold]
    fn without_mover(&mut self, shared: Shared, pass: &Pass<'_>, link: &Link) -> Stop {
        // What it is was announced before its key was handed out, and may not have been taken in.
        pass.keys.device.service();
        let fault = match link.share(shared.number) {
            Some(handle) => DeviceFault::NoAccelerator { kind: handle.kind },
            None => DeviceFault::NotShared,
        };
        self.lacks.get_or_insert((self.outstanding.next(), fault));
        Stop::Failed(Syndrome::RemoteOperation)
    }

    /// Waits for READs and atomics before this one.
    fn require_reads_done(&mut self, pass: &mut Pass<'_>) -> Result<(), Stop> {
        if !pass.batch.is_empty() && pass.batch.direction() == Direction::Read {
            self.flush_batch(pass)?;
        }
        if self.awaited.count == 0 && self.moves == 0 { Ok(()) } else { Err(Stop::Later) }
    }

    /// Waits until a direct WRITE may begin: WRITEs, READs and atomics that travel as packets are over.
    #[inline]
    pub(super) fn require_one_sided_done(&mut self, link: &mut Link) -> Result<(), Stop> {
        if self.awaited.count > 0 {
            return Err(Stop::Later);
        }
        if let Some(end) = self.one_sided_end {
            if !self.is_consumed(end, link)? {
                return Err(Stop::Later);
            }
            self.one_sided_end = None;
        }
        Ok(())
    }

    /// Waits until a direct READ or atomic may begin: the peer has consumed all packets.
    #[inline]
    pub(super) fn require_all_done(&mut self, link: &mut Link) -> Result<(), Stop> {
        if self.awaited.count > 0 {
            return Err(Stop::Later);
        }
        let end = link.requests_out.position();
        if link.requests_out.lines_in_use() > 0 && !self.is_consumed(end, link)? {
            return Err(Stop::Later);
        }
        Ok(())
    }

    /// Whether the peer has consumed its requests up to `position`.
    pub(super) fn is_consumed(&self, position: u32, link: &mut Link) -> Result<bool, Stop> {
        let reached = |link: &Link| {
            let consumed = link.requests_out.position().wrapping_sub(link.requests_out.lines_in_use());
            consumed.wrapping_sub(position) as i32 >= 0
        };
        if reached(link) {
            return Ok(true);
        }
        link.requests_out.refresh().map_err(|_| Stop::Failed(Syndrome::BadResponse))?;
        Ok(reached(link))
    }

    /// Whether one more READ or atomic can be asked for.
    pub(super) fn require_response_room(&self) -> Result<(), Stop> {
        if self.awaited.count < RESPONSES { Ok(()) } else { Err(Stop::Later) }
    }
}

/// Bytes of a message, if it is not too long.
#[inline]
pub(super) fn length(data: &DataItems<'_>) -> Result<u64, Stop> {
    let mut total = 0;
    for item in data.clone() {
        total += DataItem::length(&item);
    }
    if total > LONGEST_MESSAGE { Err(Stop::Failed(Syndrome::LocalLength)) } else { Ok(total) }
}

pub(super) fn solicited(control: &ControlSegment) -> PacketFlags {
    if control.flags.contains(ControlFlags::SOLICITED) {
        PacketFlags::SOLICITED
    } else {
        PacketFlags::empty()
    }
}
