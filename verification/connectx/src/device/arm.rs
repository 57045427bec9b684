//! Completion events: a queue is armed, and its next entry wakes the process that owns it.
//!
//! `uar` sees the arm doorbell; `completion` raises. ConnectX PRM, "CQ doorbell"; rdma-core `mlx5_arm_cq`. An arm
//! names the consumer index up to which software has looked: entries that are there beyond it raise the event at once.
//! It carries a sequence number that counts the events received; an arm whose number is behind is for an event that
//! is on its way already, and is ignored.

use pmd_core::wire::{Arm, doorbell};

use super::{Device, turn::Turn};
use crate::{config::Mode, dma, lint::Rule, state::CompletionQueue};

impl Device {
    /// Eight bytes were stored at a UAR page's arm register; `register` is their value as a big-endian number.
    pub fn arm(&self, register: u64) {
        self.turn(|turn| turn.arm(register));
    }
}

impl Turn<'_> {
    fn arm(&mut self, register: u64) {
        let arm = Arm::parse_register(register.to_be());
        let number = arm.completion_queue & 0x00ff_ffff;
        let queue = self.tables.completion_queues.find(number).copied();
        let Some(queue) = queue.filter(|queue| queue.owner == self.device.process) else {
            if self.device.config.mode == Mode::Trap {
                self.violate(number, Rule::UnknownCompletionQueue { number }, String::new());
            }
            return;
        };
        if self.device.config.mode == Mode::Trap {
            self.check_arm_record(&queue, (register >> 32) as u32);
        }
        if u32::from(arm.sequence) == queue.fired & 3 {
            self.set_armed(&queue, &arm);
        }
    }

    fn set_armed(&mut self, queue: &CompletionQueue, arm: &Arm) {
        let newest = if arm.solicited_only { queue.solicited_producer } else { queue.producer };
        // Between what software has seen and what there is, modulo 2^24.
        let waiting = newest.wrapping_sub(arm.consumer_index) & 0x00ff_ffff;
        let is_waiting = waiting != 0 && waiting <= queue.entries;
        if let Some(queue) = self.tables.completion_queues.find_mut(queue.number) {
            // A request for any event is not narrowed by a later one for solicited events.
            queue.armed_solicited = arm.solicited_only && (!queue.armed || queue.armed_solicited);
            queue.armed = true;
        }
        if is_waiting {
            self.raise_armed(queue.number, true);
        }
    }

    /// Raises the event of a queue if it is armed; `notable` for solicited entries and errors.
    pub(super) fn raise_armed(&mut self, number: u32, notable: bool) {
        let tables = &mut *self.tables;
        let Some(queue) = tables.completion_queues.find_mut(number) else { return };
        if !queue.armed || queue.armed_solicited && !notable {
            return;
        }
        queue.armed = false;
        queue.fired = queue.fired.wrapping_add(1);
        if queue.channel >= 0 {
            if queue.events_pending == 0 {
                tables.raised += 1;
                queue.raised = tables.raised;
            }
            queue.events_pending += 1;
            let owner = queue.owner;
            self.wake(owner);
        }
    }

    fn check_arm_record(&mut self, queue: &CompletionQueue, rung: u32) {
        let mut word = [0; 4];
        let address = queue.record + 4 * doorbell::ARM_RECORD as u64;
        if dma::read(self.pid(queue.owner), address, &mut word).is_err() {
            return;
        }
        let record = u32::from_be_bytes(word);
        if record != rung {
            self.violate(queue.number, Rule::WrongArmRecord { rung, record }, String::new());
        }
    }
}
