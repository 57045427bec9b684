//! Address ranges and what belongs to each: found by an address within. Ranges may overlap.
//!
//! Used for both sides of a transfer: the segments of this process and those of a peer.

use std::collections::{BTreeMap, HashMap};

/// Values by address range, each with a number of its own.
#[derive(Clone, Debug)]
pub struct AddressMap<T> {
    /// By first address and number.
    ranges: BTreeMap<(u64, u64), Range<T>>,
    /// First address by number.
    starts: HashMap<u64, u64>,
    /// Bytes of the longest range that was ever here: no range that starts further below an address holds it.
    longest: u64,
}

#[derive(Clone, Debug)]
struct Range<T> {
    length: u64,
    value: T,
}

impl<T> Default for AddressMap<T> {
    fn default() -> Self {
        Self { ranges: BTreeMap::new(), starts: HashMap::new(), longest: 0 }
    }
}

impl<T> AddressMap<T> {
    /// Adds `length` bytes at `address` under a number; one that is there under the same number goes.
    pub fn insert(&mut self, number: u64, address: u64, length: u64, value: T) {
        self.remove(number);
        self.longest = self.longest.max(length);
        self.starts.insert(number, address);
        self.ranges.insert((address, number), Range { length, value });
    }

    /// Takes a range out.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let start = self.starts.remove(&number)?;
        self.ranges.remove(&(start, number)).map(|range| range.value)
    }

    /// The range with this number: its first address, its end, and its value.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<(u64, u64, &T)> {
        let start = *self.starts.get(&number)?;
        let range = self.ranges.get(&(start, number))?;
        Some((start, start.saturating_add(range.length), &range.value))
    }

    /// Ranges that are here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number, first address, bytes and value of every range, by address.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64, u64, &T)> {
        self.ranges.iter().map(|((start, number), range)| (*number, *start, range.length, &range.value))
    }

    /// A range that holds all `length` bytes at `address`: its first address, its end, and its value.
    #[must_use]
    pub fn covering(&self, address: u64, length: u64) -> Option<(u64, u64, &T)> {
        self.covering_where(address, length, |_| true)
    }

    /// As [`AddressMap::covering`], among ranges whose value is `wanted`. The one that starts last is preferred.
    pub fn covering_where(
        &self,
        address: u64,
        length: u64,
        wanted: impl Fn(&T) -> bool,
    ) -> Option<(u64, u64, &T)> {
        let end = address.checked_add(length)?;
        if length > self.longest {
            return None;
        }
        let lowest = end.saturating_sub(self.longest);
        self.ranges
            .range((lowest, 0)..=(address, u64::MAX))
            .rev()
            .map(|((start, _), range)| (*start, start.saturating_add(range.length), &range.value))
            .find(|(_, range_end, value)| *range_end >= end && wanted(value))
    }
}
