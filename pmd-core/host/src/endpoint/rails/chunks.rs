//! A work list cut into what goes on a rail at a time.

use std::ops::Range;

use crate::transfer::WorkList;

/// Ranges of entries of about `chunk` bytes each, in order, none of them empty.
pub(super) fn cut(work: &WorkList, chunk: u64) -> Vec<Range<u32>> {
    let mut chunks = Vec::new();
    let (mut first, mut bytes) = (0, 0_u64);
    for (index, entry) in (0..).zip(work.entries()) {
        let length = u64::from(entry.length);
        if index > first && bytes + length > chunk {
            chunks.push(first..index);
            (first, bytes) = (index, 0);
        }
        bytes += length;
    }
    let end = work.entries().len() as u32;
    chunks.extend((first < end).then_some(first..end));
    chunks
}

/// Bytes of some entries.
pub(super) fn bytes(work: &WorkList, entries: &Range<u32>) -> u64 {
    let entries = &work.entries()[entries.start as usize..entries.end as usize];
    entries.iter().map(|entry| u64::from(entry.length)).sum()
}
