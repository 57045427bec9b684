//! Taking requests apart, and taking the parts forward: what a poll does for every line.
#![allow(unsafe_code)] // asks for copies of ranges that it has checked

use std::{collections::VecDeque, sync::Arc};

use pmd_core::{
    accelerator::CopyRange,
    memory::{Access, Sge},
    provider::{Completion, PostError, QueuePairHandle, SendFlags, SendRequest},
    queue::QueuePairState,
    wire::Syndrome,
};

use super::{
    StagedBackend,
    lift::Lift,
    line::{Item, Part, State, Work, error},
    memories::StagedMemory,
};
use crate::{backend::Backend, transfer::DeviceFault};

/// Why no part was made.
enum NoPart {
    /// All slots are taken, or an earlier request has to end first.
    Later,
    Fault(DeviceFault),
    /// The key does not allow it.
    Forbidden,
}

impl<B: Backend> StagedBackend<B> {
    pub(super) fn advance_all(&mut self) {
        for place in 0..self.lines.len() {
            if !self.lines[place].items.is_empty() {
                self.advance_line(place);
            }
        }
    }

    pub(super) fn advance(&mut self, queue_pair: QueuePairHandle) {
        if let Some(place) = self.lines.iter().position(|line| line.handle == queue_pair)
            && !self.lines[place].items.is_empty()
        {
            self.advance_line(place);
        }
    }

    /// Takes a line as far as it can go now.
    fn advance_line(&mut self, place: usize) {
        loop {
            let looked = self.look(place);
            let planned = self.plan(place);
            let posted = self.post(place);
            let ended = self.end(place);
            if !(looked || planned || posted || ended) || self.lines[place].items.is_empty() {
                break;
            }
        }
    }

    /// What the device below says of a part.
    pub(super) fn note(&mut self, completion: &Completion) {
        let Self { lines, lifts, .. } = self;
        let of_it = |line: &&mut super::Line| line.number == completion.queue_pair;
        let Some(line) = lines.iter_mut().find(of_it) else { return };
        let failed = completion.result.is_err();
        let Some((item, at)) = line.posted(completion.id) else { return };
        item.parts[at].state = State::Over;
        match completion.result {
            Err(error) => item.error = item.error.or(Some(error)),
            Ok(_) if item.is_read() && !item.parts[at].copies.is_empty() => {
                match begin_copies(lifts, &item.parts[at]) {
                    Ok(events) => item.parts[at].state = State::Landing(events),
                    Err(fault) => item.fail(fault),
                }
            }
            Ok(_) => {}
        }
        line.failed |= failed;
    }

    fn look(&mut self, place: usize) -> bool {
        let mut moved = false;
        for item in &mut self.lines[place].items {
            let fine = item.fault.is_none();
            moved |= item.look();
            if fine && item.fault == Some(DeviceFault::Stream) {
                for (lift, _) in item.parts.iter().filter_map(|part| part.slot) {
                    self.lifts[lift].give_up_stream();
                }
            }
        }
        moved
    }

    /// Makes parts of requests as far as there are slots, and begins to lift them.
    fn plan(&mut self, place: usize) -> bool {
        let mut any = false;
        for at in 0..self.lines[place].items.len() {
            // What is behind a request that has failed is not begun.
            if self.lines[place].failed || self.lines[place].items[at].error.is_some() {
                return any;
            }
            while !self.lines[place].items[at].complete {
                match self.plan_part(place, at) {
                    Ok(part) => {
                        let item = &mut self.lines[place].items[at];
                        item.complete = part.last;
                        item.parts.push_back(part);
                        any = true;
                    }
                    Err(NoPart::Later) => return any,
                    Err(NoPart::Fault(fault)) => {
                        self.lines[place].items[at].fail(fault);
                        return any;
                    }
                    Err(NoPart::Forbidden) => {
                        self.lines[place].items[at].error = Some(error(Syndrome::LocalProtection));
                        return any;
                    }
                }
            }
        }
        any
    }

    fn plan_part(&mut self, place: usize, at: usize) -> Result<Part, NoPart> {
        let serial = self.lines[place].next_serial();
        let items = &self.lines[place].items;
        let item = &items[at];
        let fenced = item.flags.contains(SendFlags::FENCE) && item.planned == 0;
        if fenced && items.iter().take(at).any(Item::is_read) {
            return Err(NoPart::Later);
        }
        let mut part = Part {
            serial,
            slot: None,
            local: Vec::with_capacity(item.local.len()),
            offset: item.planned,
            last: false,
            copies: Vec::new(),
            state: State::Ready,
        };
        let planned = self.fill(place, at, &mut part);
        if planned.is_err()
            && let Some((lift, slot)) = part.slot
        {
            self.lifts[lift].give_back(slot);
        }
        self.lines[place].items[at].planned = planned?;
        Ok(part)
    }

    /// Puts as many bytes of a request into a part as go through one slot, and begins to lift them. How far the request is
    /// planned then.
    fn fill(&mut self, place: usize, at: usize, part: &mut Part) -> Result<u64, NoPart> {
        let Self { lines, lifts, memories, registrar, .. } = self;
        let item = &lines[place].items[at];
        let (mut used, mut planned) = (0, item.planned);
        for entry in rest(&item.local, item.planned) {
            let length = u64::from(entry.length);
            let Some(memory) = memories.staged(entry.key.0) else {
                part.local.push(entry);
                planned += length;
                continue;
            };
            if !memory.allows(entry.address, length, wanted(item)) {
                return Err(NoPart::Forbidden);
            }
            let lift = lift_of(lifts, &memory);
            if part.slot.is_none() {
                let slot = lifts[lift].take(&**registrar).map_err(NoPart::Fault)?;
                part.slot = Some((lift, slot.ok_or(NoPart::Later)?));
            }
            let Some((_, slot)) = part.slot.filter(|(of, slot)| *of == lift && used < slot.bytes) else {
                break;
            };
            let count = length.min(slot.bytes - used);
            let bounce = slot.sge(used, count);
            let (from, to) = if item.is_read() {
                (bounce.address, entry.address)
            } else {
                (entry.address, bounce.address)
            };
            part.copies.push((memory, CopyRange { from, to, length: count, direction: item.direction() }));
            part.local.push(bounce);
            used += count;
            planned += count;
            if count < length {
                break;
            }
        }
        part.last = item.inline.is_some() || planned == item.total;
        if !part.last && matches!(item.work, Work::Send { .. }) {
            // A message is one request, and does not fit.
            return Err(NoPart::Fault(DeviceFault::NoStaging));
        }
        if !item.is_read() && !part.copies.is_empty() {
            part.state = State::Lifting(begin_copies(lifts, part).map_err(NoPart::Fault)?);
        }
        Ok(planned)
    }

    /// Posts parts that are ready, in order.
    fn post(&mut self, place: usize) -> bool {
        let mut any = false;
        let handle = self.lines[place].handle;
        let mut refused = None;
        'line: for (at, item) in self.lines[place].items.iter_mut().enumerate() {
            if item.error.is_some() {
                break;
            }
            for index in 0..item.parts.len() {
                match item.parts[index].state {
                    State::Ready => {}
                    State::Lifting(_) => break 'line,
                    State::Posted | State::Landing(_) | State::Over => continue,
                }
                let part = &item.parts[index];
                let first = part.offset == 0;
                let kept = if first { item.flags } else { item.flags.difference(SendFlags::FENCE) };
                let operation = item.operation(part);
                let flags = kept | SendFlags::SIGNALED;
                let request = SendRequest { id: part.serial, operation, flags };
                match self.inner.post_send(handle, &request) {
                    Ok(()) => item.parts[index].state = State::Posted,
                    Err(PostError::QueueFull { .. }) => break 'line,
                    Err(_) => {
                        refused = Some(at);
                        break 'line;
                    }
                }
                any = true;
            }
            if !item.complete {
                break;
            }
        }
        if any {
            self.inner.ring_send(handle);
        }
        if let Some(at) = refused {
            // The queue pair went to the error state meanwhile, or the request is of a kind that it does not take.
            match self.inner.state(handle) {
                QueuePairState::ReadyToSend => self.lines[place].items[at].fail(DeviceFault::NoStaging),
                _ => self.lines[place].failed = true,
            }
        }
        any || refused.is_some()
    }

    /// Gives out what has ended, from the oldest on. Of a request that has failed nobody is told before those in front of it
    /// have ended as they would have, and of what its failure flushes nobody before it is told: the first failure that is
    /// seen is the one that says why.
    fn end(&mut self, place: usize) -> bool {
        let Self { inner, lines, lifts, ready, busy, .. } = self;
        let line = &mut lines[place];
        let mut given_up = line.failed;
        for item in &mut line.items {
            given_up |= item.error.is_some();
            if given_up {
                item.give_up_unposted();
            }
            for part in item.parts.iter_mut().filter(|part| matches!(part.state, State::Over)) {
                if let Some((lift, slot)) = part.slot.take() {
                    lifts[lift].give_back(slot);
                }
            }
        }
        let mut faults = Vec::new();
        let mut any = false;
        while let Some(item) = line.items.front() {
            let failed = line.failed || item.error.is_some();
            if !item.is_quiet() || !failed && !item.complete {
                break;
            }
            ready.extend(item.completion(line.number, failed));
            faults.extend(item.fault.map(|fault| (item.id, fault)));
            line.items.pop_front();
            any = true;
            if failed && !line.failed {
                line.failed = true;
                // What is posted comes back flushed. Where the device does not obey, whoever sees the failure resets it.
                let _ = inner.fail(line.handle);
            }
        }
        *busy -= usize::from(any && line.items.is_empty());
        faults.into_iter().for_each(|(id, fault)| self.remember(id, fault));
        any
    }
}

/// What the device memory of a request has to permit.
fn wanted(item: &Item) -> Access {
    if item.is_read() { Access::LOCAL_WRITE } else { Access::empty() }
}

/// The lift of the accelerator that the memory is on.
fn lift_of(lifts: &mut Vec<Lift>, memory: &StagedMemory) -> usize {
    if let Some(place) = lifts.iter().position(|lift| lift.is_of(&memory.accelerator)) {
        return place;
    }
    lifts.push(Lift::new(memory.accelerator.clone()));
    lifts.len() - 1
}

/// The entries of a request from a byte of it on.
fn rest(entries: &[Sge], from: u64) -> VecDeque<Sge> {
    let mut skip = from;
    let mut left = VecDeque::with_capacity(entries.len());
    for entry in entries {
        let length = u64::from(entry.length);
        if skip >= length {
            skip -= length;
            continue;
        }
        let (address, length) = (entry.address.wrapping_add(skip), (length - skip) as u32);
        left.push_back(Sge { address, length, key: entry.key });
        skip = 0;
    }
    left
}

/// Puts the copies of a part on its accelerator's stream.
fn begin_copies(
    lifts: &mut [Lift],
    part: &Part,
) -> Result<Vec<Arc<dyn pmd_core::accelerator::Event>>, DeviceFault> {
    let Some((lift, _)) = part.slot else { return Ok(Vec::new()) };
    let stream = lifts[lift].stream()?;
    let mut events = Vec::with_capacity(1);
    for group in part.copies.chunk_by(|one, two| Arc::ptr_eq(&one.0, &two.0)) {
        let ranges: Vec<CopyRange> = group.iter().map(|(_, range)| *range).collect();
        // SAFETY: the slot is the part's until its copies are done, the other side was allowed.
        match unsafe { group[0].0.copy(&*stream, &ranges) } {
            Ok(event) => events.push(event),
            Err(fault) => {
                if fault == DeviceFault::Stream {
                    lifts[lift].give_up_stream();
                }
                // Those before it go on: they are waited for here, which a failure may.
                events.iter().for_each(|event| drop(crate::accelerator::wait_for(&**event, None)));
                return Err(fault);
            }
        }
    }
    Ok(events)
}
