//! Whose turn it is among the transfers of a route: those of high priority have most turns, the others never none.

use std::collections::VecDeque;

use crate::transfer::Priority;

/// Turns in a row that go to high priority while others wait.
const FAVOUR: u32 = 7;

/// Transfers with entries to post. [`Turns::front`] has its turn; [`Turns::pop_front`] ends it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    high: VecDeque<u32>,
    normal: VecDeque<u32>,
    /// Turns that high priority has had while others waited.
    favoured: u32,
}

impl Turns {
    pub(super) fn push_back(&mut self, transfer: u32, priority: Priority) {
        match priority {
            Priority::High => self.high.push_back(transfer),
            Priority::Normal => self.normal.push_back(transfer),
        }
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&u32> {
        if self.is_normals_turn() { self.normal.front() } else { self.high.front() }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<u32> {
        if self.is_normals_turn() {
            self.favoured = 0;
            return self.normal.pop_front();
        }
        self.favoured = if self.normal.is_empty() { 0 } else { self.favoured + 1 };
        self.high.pop_front()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &u32> {
        self.high.iter().chain(&self.normal)
    }

    pub(super) fn len(&self) -> usize {
        self.high.len() + self.normal.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&u32) -> bool) {
        self.high.retain(&mut keep);
        self.normal.retain(keep);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[inline]
    fn is_normals_turn(&self) -> bool {
        self.high.is_empty() || self.favoured >= FAVOUR && !self.normal.is_empty()
    }
}
