//! A queue pair driven by hand: any bytes in its queues, any values in its records and doorbells.
#![allow(unsafe_code)] // writes queue memory

use std::sync::Arc;

use pmd_core::{
    provider::CompletionQueueMemory,
    wire::{ControlFlags, ControlSegment, Cqe, Cqe64, DataSegment, Opcode, RemoteSegment, Unit, cqe},
};

use super::bench::{self, Fabric, Made, Plan};
use crate::{device::Device, state::ConnectedPath};

/// A process with one completion queue and one queue pair.
pub(super) struct Raw {
    pub(super) device: Arc<Device>,
    pub(super) made: Made,
    pub(super) completions: CompletionQueueMemory,
    /// CQEs read.
    consumer: u32,
    /// Next basic block.
    pub(super) producer: u16,
    /// Receives posted.
    received: u16,
}

impl Raw {
    pub(super) fn new(fabric: &Fabric, plan: Plan) -> Self {
        let device = fabric.open();
        let completions = bench::completion_queue(&device, 64, 64);
        Self::on(device, completions, plan)
    }

    /// On a completion queue that exists.
    pub(super) fn on(device: Arc<Device>, completions: CompletionQueueMemory, plan: Plan) -> Self {
        let made = bench::queue_pair(&device, completions.number, plan);
        Self { device, made, completions, consumer: 0, producer: 0, received: 0 }
    }

    pub(super) fn number(&self) -> u32 {
        self.made.number
    }

    pub(super) fn connect(&self, path: ConnectedPath) {
        bench::connect(&self.device, self.number(), path);
    }

    /// State of the queue pair, as the device has it.
    pub(super) fn state(&self) -> u8 {
        self.device.lock().queue_pairs.find(self.number()).expect("it is there").state
    }

    /// A good control segment for the next WQE.
    pub(super) fn control(&self, opcode: Opcode, units: u8) -> ControlSegment {
        ControlSegment {
            opcode,
            opmod: 0,
            index: self.producer,
            queue_pair: self.number(),
            units,
            flags: ControlFlags::CQ_UPDATE,
            immediate: 0,
        }
    }

    /// Writes units into the queue at the producer index, which moves by the blocks they take.
    pub(super) fn write(&mut self, units: &[Unit]) {
        let slots = usize::from(self.producer) * 4;
        for (place, unit) in units.iter().enumerate() {
            let place = (slots + place) % (self.made.send.wqe_count as usize * 4);
            // SAFETY: a unit of the send queue.
            unsafe { self.made.send.buffer.cast::<Unit>().add(place).write(*unit) };
        }
        self.producer = self.producer.wrapping_add(units.len().div_ceil(4) as u16);
    }

    /// Sets the doorbell record.
    pub(super) fn set_record(&self, value: u16) {
        // SAFETY: the send word of the record.
        unsafe { self.made.send.doorbell_record.write(u32::from(value).to_be()) };
    }

    /// Posts one WQE as a driver should: bytes, record, doorbell.
    pub(super) fn post(&mut self, units: &[Unit]) {
        self.write(units);
        self.set_record(self.producer);
        self.device.ring(head(&units[0]));
    }

    /// Posts a WRITE of one segment.
    pub(super) fn post_write(&mut self, local: DataSegment, remote: RemoteSegment) {
        let control = self.control(Opcode::RdmaWrite, 3).to_bytes();
        self.post(&[control, remote_unit(remote), data_unit(local)]);
    }

    /// Posts a SEND of one segment.
    pub(super) fn post_send(&mut self, local: DataSegment) {
        let control = self.control(Opcode::Send, 2).to_bytes();
        self.post(&[control, data_unit(local)]);
    }

    /// Posts a receive of one segment to the queue pair's own queue.
    pub(super) fn post_receive(&mut self, segment: DataSegment) {
        let memory = self.made.receive;
        let place = usize::from(self.received) % memory.wqe_count as usize * 4;
        for (unit, segment) in [segment, DataSegment::TERMINATOR].into_iter().enumerate() {
            // SAFETY: a unit of the receive queue.
            unsafe { memory.buffer.cast::<Unit>().add(place + unit).write(data_unit(segment)) };
        }
        self.received = self.received.wrapping_add(1);
        self.set_receive_record(self.received);
    }

    pub(super) fn set_receive_record(&self, value: u16) {
        // SAFETY: the receive word of the record.
        unsafe { self.made.receive.doorbell_record.write(u32::from(value).to_be()) };
    }

    /// The next completion's bytes, if it is there; the consumer index is published.
    pub(super) fn poll_bytes(&mut self) -> Option<Cqe64> {
        let CompletionQueueMemory { buffer, cqe_count, cqe_size, .. } = self.completions;
        let place = (self.consumer % cqe_count + 1) * cqe_size - 64;
        // SAFETY: an entry of the queue.
        let entry = unsafe { buffer.add(place as usize).cast::<Cqe64>().read() };
        if !cqe::ownership(entry[cqe::OP_OWN], self.consumer, cqe_count) {
            return None;
        }
        self.consumer += 1;
        self.set_consumer(self.consumer);
        Some(entry)
    }

    /// Sets the consumer index in the record.
    pub(super) fn set_consumer(&self, value: u32) {
        // SAFETY: the first word of the record.
        unsafe { self.completions.doorbell_record.cast::<u32>().write((value & 0x00ff_ffff).to_be()) };
    }

    /// Sets the arm word in the record.
    pub(super) fn set_arm_record(&self, value: u32) {
        // SAFETY: the second word of the record.
        unsafe { self.completions.doorbell_record.cast::<u32>().add(1).write(value) };
    }

    /// All completions that are there.
    pub(super) fn poll(&mut self) -> Vec<Cqe> {
        std::iter::from_fn(|| self.poll_bytes()).map(|entry| Cqe::parse(&entry).expect("a CQE")).collect()
    }

    /// Syndromes of all completions that are there, with their WQE counters; 0 for good ones.
    pub(super) fn poll_syndromes(&mut self) -> Vec<(u16, u8)> {
        let told = |cqe: Cqe| match cqe {
            Cqe::Requester(completion) => (completion.wqe_counter, 0),
            Cqe::Responder(completion) => (completion.wqe_counter, 0),
            Cqe::Error(error) => (error.wqe_counter, error.syndrome.to_byte()),
        };
        self.poll().into_iter().map(told).collect()
    }
}

/// Two processes with a connected queue pair each.
pub(super) fn pair(fabric: &Fabric, plan: Plan) -> (Raw, Raw) {
    let (left, right) = (Raw::new(fabric, plan), Raw::new(fabric, plan));
    left.connect(bench::path(right.number()));
    right.connect(bench::path(left.number()));
    (left, right)
}

/// What a doorbell for this control segment stores.
pub(super) fn head(control: &Unit) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&control[..8]);
    u64::from_be_bytes(word)
}

pub(super) fn data_unit(segment: DataSegment) -> Unit {
    let mut unit = [0; 16];
    segment.emit(&mut unit);
    unit
}

pub(super) fn remote_unit(segment: RemoteSegment) -> Unit {
    let mut unit = [0; 16];
    segment.emit(&mut unit);
    unit
}
