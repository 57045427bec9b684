//! Execution of WQEs: what hardware does between the doorbell and the completion entry.

use pmd_core::wire::{
    ControlFlags, Cqe, DataItem, DataItems, DataSegment, ErrorCompletion, NextSegment, Opcode, Operation,
    ReceivePath, ReceiveSegments, Received, RemoteSegment, RequesterCompletion, ResponderCompletion, Scatter,
    SendExtra, SendWqe, Service, Side, Syndrome, doorbell,
};

use super::Device;

/// What a WQE does, without borrowing the queue.
struct Work {
    opcode: Opcode,
    index: u16,
    signaled: bool,
    solicited: bool,
    blocks: u32,
    kind: Kind,
}

enum Kind {
    Nop,
    Send { bytes: Result<Vec<u8>, Syndrome>, immediate: Option<u32> },
    Write { remote: RemoteSegment, bytes: Result<Vec<u8>, Syndrome>, immediate: Option<u32> },
    Read { remote: RemoteSegment, list: Vec<DataSegment> },
    Atomic { remote: RemoteSegment, compare: Option<u64>, value: u64, result: DataSegment },
}

impl Device {
    /// Executes up to `budget` WQEs of a queue pair.
    pub(crate) fn run(&mut self, index: usize, budget: u32) {
        for _ in 0..budget {
            if self.queue_pairs[index].executed == self.queue_pairs[index].rung {
                return;
            }
            let work = self.decode(index);
            self.queue_pairs[index].executed = self.queue_pairs[index].executed.wrapping_add(work.blocks);
            if self.queue_pairs[index].failed {
                self.requester_error(index, &work, Syndrome::Flushed);
                continue;
            }
            let outcome = match self.inject.take() {
                Some(syndrome) => Err(syndrome),
                None => self.execute(index, &work),
            };
            match outcome {
                Ok((length, payload)) if work.signaled => self.requester(index, &work, length, &payload),
                Ok(_) => {}
                Err(syndrome) => {
                    self.queue_pairs[index].failed = true;
                    self.requester_error(index, &work, syndrome);
                }
            }
        }
    }

    /// Completes the receives of a failed queue pair as flushed.
    pub(crate) fn flush_receives(&mut self, index: usize) {
        let number = self.queue_pairs[index].number;
        let Some(receives) = self.queue_pairs[index].receives else { return };
        if !self.queue_pairs[index].failed || self.receives[receives].shared {
            return;
        }
        while let Some((slot, _)) = self.take_receive(receives) {
            self.responder_error(number, slot, Syndrome::Flushed);
        }
    }

    /// The first 16 bytes of the last WQE that was rung for.
    pub(crate) fn last_wqe(&self, index: usize) -> Vec<u8> {
        let queue_pair = &self.queue_pairs[index];
        let queue = queue_pair.send.read(0, queue_pair.send.len());
        let mut position = queue_pair.executed;
        loop {
            let wqe = SendWqe::parse_strict(&queue, position, Service::Connected).expect("a WQE");
            let next = position.wrapping_add(u32::from(wqe.basic_blocks()));
            if next == queue_pair.rung {
                let start = (position & (queue_pair.slots - 1)) as usize * 64;
                return queue[start..start + 16].to_vec();
            }
            position = next;
        }
    }

    fn decode(&self, index: usize) -> Work {
        let queue_pair = &self.queue_pairs[index];
        let queue = queue_pair.send.read(0, queue_pair.send.len());
        let wqe = SendWqe::parse_strict(&queue, queue_pair.executed, Service::Connected).expect("a WQE");
        assert_eq!(wqe.control.index, queue_pair.executed as u16, "index of the WQE");
        assert_eq!(wqe.control.queue_pair, queue_pair.number);
        let kind = match &wqe.operation {
            Operation::Nop => Kind::Nop,
            Operation::Send { extra, data, .. } => Kind::Send {
                bytes: self.gather(data),
                immediate: match extra {
                    SendExtra::Immediate(immediate) => Some(*immediate),
                    _ => None,
                },
            },
            Operation::Write { remote, immediate, data } => {
                Kind::Write { remote: *remote, bytes: self.gather(data), immediate: *immediate }
            }
            Operation::Read { remote, data } => {
                let list = data.clone().filter_map(|item| match item {
                    DataItem::Memory(segment) => Some(segment),
                    DataItem::Inline(..) => None,
                });
                Kind::Read { remote: *remote, list: list.collect() }
            }
            Operation::CompareAndSwap { remote, operands, result } => Kind::Atomic {
                remote: *remote,
                compare: Some(operands.compare),
                value: operands.swap_or_add,
                result: *result,
            },
            Operation::FetchAndAdd { remote, addend, result } => {
                Kind::Atomic { remote: *remote, compare: None, value: *addend, result: *result }
            }
        };
        Work {
            opcode: wqe.control.opcode,
            index: wqe.control.index,
            signaled: wqe.control.flags.contains(ControlFlags::CQ_UPDATE),
            solicited: wqe.control.flags.contains(ControlFlags::SOLICITED),
            blocks: u32::from(wqe.basic_blocks()),
            kind,
        }
    }

    /// Does the work; gives the bytes that came back.
    fn execute(&mut self, index: usize, work: &Work) -> Result<(u32, Vec<u8>), Syndrome> {
        let peer = self.queue_pairs[index].peer;
        match &work.kind {
            Kind::Nop => {}
            Kind::Send { bytes, immediate } => {
                let bytes = bytes.clone()?;
                let received = immediate.map_or(Received::Send, Received::SendImmediate);
                self.receive(peer, received, &bytes, work.solicited)?;
            }
            Kind::Write { remote, bytes, immediate } => {
                let bytes = bytes.clone()?;
                if !bytes.is_empty() {
                    let target =
                        self.reach(remote.rkey, remote.address, bytes.len(), Syndrome::RemoteAccess)?;
                    // SAFETY: the key table says that the range is registered.
                    unsafe { target.copy_from(bytes.as_ptr(), bytes.len()) };
                }
                if let Some(immediate) = immediate {
                    let length = bytes.len() as u32;
                    self.receive_immediate(peer, *immediate, length, work.solicited)?;
                }
            }
            Kind::Read { remote, list } => {
                let length: u32 = list.iter().map(|segment| segment.length).sum();
                let bytes =
                    self.fetch(remote.rkey, remote.address, length as usize, Syndrome::RemoteAccess)?;
                return self.give_back(index, list, bytes);
            }
            Kind::Atomic { remote, compare, value, result } => {
                let bytes = self.fetch(remote.rkey, remote.address, 8, Syndrome::RemoteAccess)?;
                let old = u64::from_ne_bytes(bytes.clone().try_into().expect("eight bytes"));
                let new = match compare {
                    Some(compare) if *compare == old => *value,
                    Some(_) => old,
                    None => old.wrapping_add(*value),
                };
                let target = self.reach(remote.rkey, remote.address, 8, Syndrome::RemoteAccess)?;
                // SAFETY: the key table says that the range is registered.
                unsafe { target.copy_from(new.to_ne_bytes().as_ptr(), 8) };
                return self.give_back(index, &[*result], bytes);
            }
        }
        Ok((0, Vec::new()))
    }

    /// Puts the result of a read or atomic into memory, or leaves it to the completion entry.
    fn give_back(
        &self,
        index: usize,
        list: &[DataSegment],
        bytes: Vec<u8>,
    ) -> Result<(u32, Vec<u8>), Syndrome> {
        let length = bytes.len() as u32;
        if self.in_entry(index, bytes.len()) {
            return Ok((length, bytes));
        }
        self.spread(list.iter().copied(), &bytes)?;
        Ok((length, Vec::new()))
    }

    fn in_entry(&self, index: usize, length: usize) -> bool {
        let fits = if self.cqe_size == 128 { 64 } else { 32 };
        self.queue_pairs[index].scatter_to_completion && (1..=fits).contains(&length)
    }

    fn receive(
        &mut self,
        index: usize,
        received: Received,
        bytes: &[u8],
        solicited: bool,
    ) -> Result<(), Syndrome> {
        let receives = self.queue_pairs[index].receives.ok_or(Syndrome::RemoteInvalidRequest)?;
        let (slot, list) = self.take_receive(receives).ok_or(Syndrome::ReceiverNotReadyExceeded)?;
        let room: u64 = list.iter().map(|segment| u64::from(segment.length)).sum();
        if room < bytes.len() as u64 {
            self.queue_pairs[index].failed = true;
            self.responder_error(self.queue_pairs[index].number, slot, Syndrome::LocalLength);
            return Err(Syndrome::RemoteInvalidRequest);
        }
        let payload = if self.in_entry(index, bytes.len()) {
            bytes
        } else {
            self.spread(list.into_iter(), bytes)?;
            &[]
        };
        self.responder(index, received, slot, bytes.len() as u32, solicited, payload);
        Ok(())
    }

    fn receive_immediate(
        &mut self,
        index: usize,
        immediate: u32,
        length: u32,
        solicited: bool,
    ) -> Result<(), Syndrome> {
        let receives = self.queue_pairs[index].receives.ok_or(Syndrome::RemoteInvalidRequest)?;
        let (slot, _) = self.take_receive(receives).ok_or(Syndrome::ReceiverNotReadyExceeded)?;
        self.responder(index, Received::WriteImmediate(immediate), slot, length, solicited, &[]);
        Ok(())
    }

    /// The next posted receive: its slot and list.
    fn take_receive(&mut self, index: usize) -> Option<(u16, Vec<DataSegment>)> {
        let receives = &mut self.receives[index];
        let posted = receives.record.word(doorbell::RECEIVE_RECORD);
        if (posted.wrapping_sub(receives.taken) & 0xffff) == 0 {
            return None;
        }
        let slot =
            if receives.shared { receives.next } else { (receives.taken & (receives.count - 1)) as u16 };
        let stride = 1 << receives.stride_shift;
        let mut bytes = receives.memory.read(usize::from(slot) * stride, stride);
        if receives.shared {
            let next: [u8; 16] = bytes[..16].try_into().expect("a unit");
            receives.next = NextSegment::parse_strict(&next).expect("a next segment").next_index;
            bytes.drain(..16);
        }
        receives.taken = receives.taken.wrapping_add(1);
        let list: Vec<DataSegment> = ReceiveSegments::new(&bytes).collect();
        assert!(list.iter().all(|segment| segment.length != 0), "an entry of no bytes would mean 2 GiB");
        Some((slot, list))
    }

    fn gather(&self, items: &DataItems<'_>) -> Result<Vec<u8>, Syndrome> {
        let mut bytes = Vec::new();
        for item in items.clone() {
            match item {
                DataItem::Inline(first, second) => bytes.extend([first, second].concat()),
                DataItem::Memory(segment) => {
                    assert!(segment.length != 0, "an entry of no bytes would mean 2 GiB");
                    let length = segment.length as usize;
                    bytes.extend(self.fetch(
                        segment.lkey,
                        segment.address,
                        length,
                        Syndrome::LocalProtection,
                    )?);
                }
            }
        }
        Ok(bytes)
    }

    fn spread(&self, list: impl Iterator<Item = DataSegment>, mut bytes: &[u8]) -> Result<(), Syndrome> {
        for segment in list {
            let length = bytes.len().min(segment.length as usize);
            let target = self.reach(segment.lkey, segment.address, length, Syndrome::LocalProtection)?;
            // SAFETY: the key table says that the range is registered.
            unsafe { target.copy_from(bytes.as_ptr(), length) };
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
        Ok(())
    }

    fn fetch(&self, key: u32, address: u64, length: usize, otherwise: Syndrome) -> Result<Vec<u8>, Syndrome> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let source = self.reach(key, address, length, otherwise)?;
        // SAFETY: the key table says that the range is registered.
        Ok(unsafe { std::slice::from_raw_parts(source, length) }.to_vec())
    }

    fn reach(&self, key: u32, address: u64, length: usize, otherwise: Syndrome) -> Result<*mut u8, Syndrome> {
        let region = self.regions.iter().find(|region| region.key == key).ok_or(otherwise)?;
        let offset = address.checked_sub(region.address).ok_or(otherwise)?;
        if offset + length as u64 > region.length {
            return Err(otherwise);
        }
        Ok(std::ptr::with_exposed_provenance_mut(address as usize))
    }

    fn requester(&mut self, index: usize, work: &Work, byte_count: u32, payload: &[u8]) {
        let (scatter, preceding) = self.carried(payload);
        let completion = RequesterCompletion {
            queue_pair: self.queue_pairs[index].number,
            operation: work.opcode,
            wqe_counter: work.index,
            byte_count,
            timestamp: 0,
            scatter,
        };
        self.complete(Cqe::Requester(completion), &preceding);
    }

    fn responder(
        &mut self,
        index: usize,
        received: Received,
        slot: u16,
        byte_count: u32,
        solicited: bool,
        payload: &[u8],
    ) {
        let (scatter, preceding) = self.carried(payload);
        let completion = ResponderCompletion {
            received,
            queue_pair: self.queue_pairs[index].number,
            path: ReceivePath::default(),
            shared_receive_queue: 0,
            byte_count,
            wqe_counter: slot,
            solicited,
            timestamp: 0,
            scatter,
        };
        self.complete(Cqe::Responder(completion), &preceding);
    }

    /// Where a payload for the completion entry goes.
    fn carried(&self, payload: &[u8]) -> (Scatter, [u8; 64]) {
        let mut preceding = [0x5a; 64];
        let mut in_entry = [0x5a; 32];
        match payload.len() {
            0 => (Scatter::Memory, preceding),
            length if length <= 32 => {
                in_entry[..length].copy_from_slice(payload);
                (Scatter::InEntry(in_entry), preceding)
            }
            length => {
                preceding[..length].copy_from_slice(payload);
                (Scatter::Preceding, preceding)
            }
        }
    }

    fn requester_error(&mut self, index: usize, work: &Work, syndrome: Syndrome) {
        let error = ErrorCompletion {
            side: Side::Requester,
            queue_pair: self.queue_pairs[index].number,
            operation: work.opcode as u8,
            wqe_counter: work.index,
            syndrome,
            vendor: 0x77,
            shared_receive_queue: 0,
        };
        self.complete(Cqe::Error(error), &[0; 64]);
    }

    fn responder_error(&mut self, number: u32, slot: u16, syndrome: Syndrome) {
        let error = ErrorCompletion {
            side: Side::Responder,
            queue_pair: number,
            operation: 0,
            wqe_counter: slot,
            syndrome,
            vendor: 0x88,
            shared_receive_queue: 0,
        };
        self.complete(Cqe::Error(error), &[0; 64]);
    }
}
