//! What waits to be put on a stream: ranges that do not touch each other, and the block tables that equal ones form.

use std::collections::BTreeMap;

use pmd_core::accelerator::{BlockPair, BlockTable, CopyRange};

/// Fewest equal ranges that are put on a stream as blocks of tables.
const FEWEST: usize = 16;

/// Ranges that a stream may copy in any order.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    waiting: Vec<CopyRange>,
    read: Extents,
    written: Extents,
}

/// Bytes that are in use, as extents by their first byte; those that overlap or meet are one.
#[derive(Debug, Default)]
struct Extents(BTreeMap<u64, u64>);

/// Equal ranges as blocks of two tables; which blocks is in the list that was filled with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) from: BlockTable,
    pub(super) to: BlockTable,
    pub(super) block_bytes: u64,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the order of this range and of one that waits matters.
    pub(super) fn touches(&self, range: &CopyRange) -> bool {
        let CopyRange { from, to, length, .. } = *range;
        self.written.overlap(to, length)
            || self.read.overlap(to, length)
            || self.written.overlap(from, length)
    }

    /// Adds a range that does not touch the others.
    pub(super) fn push(&mut self, range: CopyRange) {
        self.read.add(range.from, range.length);
        self.written.add(range.to, range.length);
        self.waiting.push(range);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.read.0.clear();
        self.written.0.clear();
    }

    /// The ranges in groups of one length and one direction.
    pub(super) fn groups(&mut self) -> impl Iterator<Item = &[CopyRange]> {
        // Neighbours stay neighbours: the sort is stable.
        self.waiting.sort_by_key(|range| (range.direction as u8, range.length));
        self.waiting.chunk_by(|one, two| one.direction == two.direction && one.length == two.length)
    }
}

impl Extents {
    fn overlap(&self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length);
        self.0.range(..end).next_back().is_some_and(|(_, last)| *last > start)
    }

    fn add(&mut self, start: u64, length: u64) {
        let (mut start, mut end) = (start, start.saturating_add(length));
        while let Some((&first, &last)) = self.0.range(..=end).next_back()
            && last >= start
        {
            self.0.remove(&first);
            (start, end) = (start.min(first), end.max(last));
        }
        self.0.insert(start, end);
    }
}

/// The tables in which ranges of one length are blocks, with `pairs` filled; `None` for too few of them, or where
/// they lie too far apart for 32-bit numbers.
pub(super) fn tables(group: &[CopyRange], pairs: &mut Vec<BlockPair>) -> Option<Tables> {
    let first = group.first().filter(|_| group.len() >= FEWEST)?;
    let from = table(group.iter().map(|range| range.from), first.length)?;
    let to = table(group.iter().map(|range| range.to), first.length)?;
    pairs.clear();
    let number = |table: &BlockTable, address: u64| ((address - table.base) / table.stride) as u32;
    pairs.extend(
        group.iter().map(|range| BlockPair { from: number(&from, range.from), to: number(&to, range.to) }),
    );
    Some(Tables { from, to, block_bytes: first.length })
}

/// The table with the largest stride that has a block at every address.
fn table(addresses: impl Iterator<Item = u64> + Clone, length: u64) -> Option<BlockTable> {
    let (base, last) = (addresses.clone().min()?, addresses.clone().max()?);
    let stride = addresses.fold(0, |stride, address| greatest_common_divisor(stride, address - base));
    let stride = if stride == 0 { length } else { stride };
    let numbered = (last - base) / stride <= u64::from(u32::MAX);
    numbered.then_some(BlockTable { base, stride })
}

fn greatest_common_divisor(mut one: u64, mut two: u64) -> u64 {
    while two != 0 {
        (one, two) = (two, one % two);
    }
    one
}

#[cfg(test)]
mod tests {
    use pmd_core::accelerator::CopyDirection;

    use super::*;

    fn range(from: u64, to: u64, length: u64) -> CopyRange {
        CopyRange { from, to, length, direction: CopyDirection::DeviceToDevice }
    }

    #[test]
    fn ranges_touch_where_one_writes_what_another_uses() {
        let mut ranges = Ranges::default();
        for at in [0_u64, 64, 32, 200] {
            ranges.push(range(1000 + at, 5000 + at, 32));
        }
        // Reading what is read is no matter; meeting is not touching.
        assert!(!ranges.touches(&range(1000, 9000, 300)));
        assert!(!ranges.touches(&range(9000, 5096, 104)));
        assert!(!ranges.touches(&range(4900, 9000, 100)));
        assert!(ranges.touches(&range(9000, 5095, 1)), "written twice");
        assert!(ranges.touches(&range(9000, 900, 101)), "written although it is read");
        assert!(ranges.touches(&range(5231, 9000, 1)), "read although it is written");
        assert!(ranges.touches(&range(9000, 4000, 4000)), "around all of them");
        ranges.clear();
        assert!(ranges.is_empty() && !ranges.touches(&range(5000, 1000, 300)));
    }

    #[test]
    fn extents_that_meet_become_one() {
        let mut extents = Extents::default();
        for (start, length) in [(10, 10), (40, 10), (20, 20), (100, 1), (0, 200), (u64::MAX - 1, 5)] {
            extents.add(start, length);
        }
        assert_eq!(extents.0.into_iter().collect::<Vec<_>>(), [(0, 200), (u64::MAX - 1, u64::MAX)]);
    }

    #[test]
    fn equal_ranges_are_blocks_of_the_widest_tables() {
        let mut pairs = Vec::new();
        let group: Vec<_> =
            (0..20).map(|at| range(0x1000 + at * 96, 0x9000 + (at * 7 % 20) * 64, 64)).collect();
        let found = tables(&group, &mut pairs).unwrap();
        assert_eq!(found.from, BlockTable { base: 0x1000, stride: 96 });
        assert_eq!(found.to, BlockTable { base: 0x9000, stride: 64 });
        assert_eq!(found.block_bytes, 64);
        for (range, pair) in group.iter().zip(&pairs) {
            assert_eq!(found.from.address(pair.from), Some(range.from));
            assert_eq!(found.to.address(pair.to), Some(range.to));
        }
        assert_eq!(tables(&group[..FEWEST - 1], &mut pairs), None, "too few");
        // One source for all of them: a table of one block.
        let one: Vec<_> = (0..16).map(|at| range(0x1000, 0x9000 + at * 64, 64)).collect();
        assert_eq!(tables(&one, &mut pairs).unwrap().from, BlockTable { base: 0x1000, stride: 64 });
        let mut far = group;
        far[0].from = 1;
        far[1].from = u64::MAX - 100;
        assert_eq!(tables(&far, &mut pairs), None, "too far apart");
    }

    #[test]
    fn groups_have_one_length_and_one_direction() {
        let mut ranges = Ranges::default();
        for at in 0..6_u64 {
            let direction = if at < 3 { CopyDirection::HostToDevice } else { CopyDirection::DeviceToHost };
            let length = 8 + at % 2 * 8;
            ranges.push(CopyRange { from: at * 100, to: 10_000 + at * 100, length, direction });
        }
        let groups: Vec<Vec<u64>> =
            ranges.groups().map(|group| group.iter().map(|range| range.from).collect()).collect();
        assert_eq!(groups, [vec![0, 200], vec![100], vec![400], vec![300, 500]]);
    }
}
