//! Which server has which keys.

use std::ops::{Range, RangeInclusive};

/// Equal shares of all keys, the last one with what is left.
pub(super) fn of_servers(servers: u32) -> Vec<RangeInclusive<u64>> {
    let count = u64::from(servers);
    let Some(share) = u64::MAX.checked_div(count) else { return Vec::new() };
    let last = |server| if server + 1 == count { u64::MAX } else { (server + 1) * share - 1 };
    (0..count).map(|server| server * share..=last(server)).collect()
}

/// The part of sorted keys that lies in each range; ranges are sorted too and cover everything.
pub(super) fn slices(keys: &[u64], ranges: &[RangeInclusive<u64>]) -> Vec<Range<usize>> {
    let part = |range: &RangeInclusive<u64>| {
        keys.partition_point(|key| key < range.start())..keys.partition_point(|key| key <= range.end())
    };
    ranges.iter().map(part).collect()
}
