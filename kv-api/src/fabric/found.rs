//! Ranges that were found, so that each is looked up once for a plan however its descriptors jump.

/// Ranges in which addresses were met, with a value each.
#[derive(Debug)]
pub(crate) struct Found<T> {
    /// First address, end and value, by the first address.
    ranges: Vec<(u64, u64, T)>,
    /// The last hit: neighbours in a list are neighbours in memory more often than not.
    last: Option<(u64, u64, T)>,
}

/// Ranges that are kept; to insert into more would cost more than to look up again.
const MOST: usize = 1024;

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { ranges: Vec::new(), last: None }
    }
}

impl<T: Copy> Found<T> {
    /// Value of a range that holds all `length` bytes at `address`, as far as one is found among these.
    #[inline]
    pub(crate) fn value(&mut self, address: u64, length: u64) -> Option<T> {
        match self.last {
            Some((start, end, value)) if holds(start, end, address, length) => Some(value),
            _ => self.search(address, length),
        }
    }

    /// Takes note of a range.
    pub(crate) fn insert(&mut self, start: u64, end: u64, value: T) {
        if self.ranges.len() < MOST {
            let place = self.ranges.partition_point(|range| range.0 < start);
            self.ranges.insert(place, (start, end, value));
        }
        self.last = Some((start, end, value));
    }

    fn search(&mut self, address: u64, length: u64) -> Option<T> {
        let place = self.ranges.partition_point(|range| range.0 <= address).checked_sub(1)?;
        let range @ (start, end, value) = self.ranges[place];
        if !holds(start, end, address, length) {
            return None;
        }
        self.last = Some(range);
        Some(value)
    }
}

#[inline]
pub(crate) fn holds(start: u64, end: u64, address: u64, length: u64) -> bool {
    start <= address && address.checked_add(length).is_some_and(|last| last <= end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_found_again_and_nothing_else() {
        let mut found = Found::default();
        assert_eq!(found.value(0, 0), None);
        for (start, end) in [(300, 400), (100, 200), (500, 600)] {
            found.insert(start, end, start);
        }
        for (address, length, expected) in [
            (100, 100, Some(100)),
            (100, 101, None),
            (99, 1, None),
            (399, 1, Some(300)),
            (400, 1, None),
            (550, 50, Some(500)),
            (u64::MAX, 2, None),
        ] {
            assert_eq!(found.value(address, length), expected, "{length} at {address}");
        }
    }

    #[test]
    fn no_more_than_a_bound_are_kept() {
        let mut found = Found::default();
        (0..2 * MOST as u64).for_each(|at| found.insert(at * 10, at * 10 + 10, at));
        assert_eq!(found.value(20_470, 10), Some(2047), "the last one met, kept or not");
        assert_eq!((found.ranges.len(), found.value(10, 10), found.value(20_000, 10)), (MOST, Some(1), None));
    }
}
