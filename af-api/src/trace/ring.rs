//! The last N of something, in memory that is allocated once. Both recorders keep their requests in one.

#[derive(Debug)]
pub(super) struct Ring<T> {
    entries: Vec<T>,
    capacity: usize,
    /// Where the oldest is, once the ring is full: the next one goes there.
    oldest: usize,
}

impl<T> Ring<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), capacity, oldest: 0 }
    }

    /// Adds the youngest one; in a full ring the oldest makes room.
    pub(super) fn push(&mut self, entry: T) {
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
        } else if let Some(oldest) = self.entries.get_mut(self.oldest) {
            *oldest = entry;
            self.oldest = (self.oldest + 1) % self.capacity;
        }
    }

    /// Every one, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        let (younger, older) = self.entries.split_at(self.oldest);
        older.iter().chain(younger)
    }

    /// Every one, the oldest first.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (younger, older) = self.entries.split_at_mut(self.oldest);
        older.iter_mut().chain(younger)
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.oldest = 0;
    }
}
