//! Lists of cores: read as the kernel writes them, and put in the order in which to use them.

use std::collections::BTreeSet;

/// The kernel's largest `NR_CPUS`; a list beyond that is damaged.
const MOST_CORES: usize = 8192;

/// Reads `0-3,8`, ascending and without repetition. Parts that are no numbers are left out, and so are numbers that no kernel
/// has.
pub(super) fn parse(list: &str) -> Vec<usize> {
    let parts = list.trim().split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        (first <= last && last < MOST_CORES).then_some(first..=last)
    });
    parts.flatten().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The hardware threads of a group of cores in the order in which to give them away: one of each physical core first, as two
/// busy threads of one slow each other down. `siblings` tells the threads of a thread's core.
pub(super) fn spread(group: &[usize], siblings: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let rank = |core: usize| siblings(core).iter().filter(|other| **other < core).count();
    let mut ranked: Vec<_> = group.iter().map(|core| (rank(*core), *core)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, core)| core).collect()
}
