//! One turn: the device taken, a bounded piece of work, the device given back, and only then what was found broken is
//! reported. Every entry into the device goes through [`Device::turn`].

use super::Device;
use crate::{
    lint::{self, Rule, Violation},
    state::{Guard, ProcessIndex, QueuePair},
};

/// The device while one process works on it.
pub(super) struct Turn<'a> {
    pub(super) device: &'a Device,
    pub(super) tables: Guard<'a>,
    violations: Vec<Violation>,
}

impl Device {
    /// Runs `work` with the device taken.
    pub(super) fn turn<R>(&self, work: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let mut turn = Turn { device: self, tables: self.lock(), violations: Vec::new() };
        if turn.tables.interrupted {
            turn.recover();
        }
        let result = work(&mut turn);
        let Turn { tables, violations, .. } = turn;
        drop(tables);
        lint::report(self.config.on_violation, &violations);
        result
    }
}

impl Turn<'_> {
    /// Notes that this process has broken a rule; it is reported when the turn is over.
    pub(super) fn violate(&mut self, object: u32, rule: Rule, dump: String) {
        self.tables.counters.violations += 1;
        self.violations.push(Violation { rule, object, is_own: true, dump });
    }

    /// Notes that the owner of an object has broken a rule which this process's work has met.
    pub(super) fn violate_at(&mut self, owner: ProcessIndex, object: u32, rule: Rule) {
        self.tables.counters.violations += 1;
        let is_own = owner == self.device.process;
        self.violations.push(Violation { rule, object, is_own, dump: String::new() });
    }

    /// A queue pair of this process.
    pub(super) fn own_queue_pair(&self, number: u32) -> Option<QueuePair> {
        let found = self.tables.queue_pairs.find(number).copied();
        found.filter(|queue_pair| queue_pair.owner == self.device.process)
    }

    /// Changes a queue pair that may have gone meanwhile.
    pub(super) fn update(&mut self, number: u32, change: impl FnOnce(&mut QueuePair)) {
        if let Some(queue_pair) = self.tables.queue_pairs.find_mut(number) {
            change(queue_pair);
        }
    }

    /// The pid of a process; 0, which no memory belongs to, when it is gone.
    pub(super) fn pid(&self, process: ProcessIndex) -> u32 {
        self.tables.pid(process).unwrap_or(0)
    }
}
