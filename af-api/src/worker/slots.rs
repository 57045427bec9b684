//! Requests in flight to one server, by the number that responses carry.

use std::sync::Arc;

use super::operation::Leg;
use crate::wire::Immediate;

#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u16>,
    limit: u16,
}

/// One number. Its generation grows with each use, so that a late response is not taken for another request's.
#[derive(Debug)]
struct Slot {
    generation: u16,
    leg: Option<Arc<Leg>>,
}

impl Slots {
    pub(super) fn new(limit: u16) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit: limit.max(1) }
    }

    /// Slots that could be taken now.
    pub(super) fn room(&self) -> usize {
        self.free.len() + usize::from(self.limit) - self.slots.len()
    }

    /// A slot of a new life; `None` when all are in flight.
    pub(super) fn take(&mut self) -> Option<Immediate> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < usize::from(self.limit) => {
                self.slots.push(Slot { generation: 0, leg: None });
                (self.slots.len() - 1) as u16
            }
            None => return None,
        };
        let entry = &mut self.slots[usize::from(slot)];
        entry.generation = entry.generation.wrapping_add(1);
        Some(Immediate { slot, generation: entry.generation })
    }

    pub(super) fn occupy(&mut self, at: Immediate, leg: Arc<Leg>) {
        if let Some(slot) = self.slots.get_mut(usize::from(at.slot)) {
            slot.leg = Some(leg);
        }
    }

    pub(super) fn find(&self, at: Immediate) -> Option<Arc<Leg>> {
        let slot = self.slots.get(usize::from(at.slot))?;
        slot.leg.clone().filter(|_| slot.generation == at.generation)
    }

    /// The slot is free, if it is still in that life.
    pub(super) fn give(&mut self, at: Immediate) {
        let Some(slot) = self.slots.get_mut(usize::from(at.slot)) else { return };
        if slot.generation == at.generation {
            slot.leg = None;
            self.free.push(at.slot);
        }
    }

    pub(super) fn legs(&self) -> Vec<Arc<Leg>> {
        self.slots.iter().filter_map(|slot| slot.leg.clone()).collect()
    }
}
