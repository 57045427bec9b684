//! Which core each process runs on.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::error::PerfError;

/// Cores of this process (`None` where it floats) and of the process that it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cores {
    pub(super) own: Option<usize>,
    pub(super) peer: Option<usize>,
}

impl Cores {
    /// What `--cores` says; without it the first two allowed cores, or none where there is only one.
    pub(super) fn choose(asked: &[usize]) -> Self {
        if let [own, rest @ ..] = asked {
            return Self { own: Some(*own), peer: rest.first().copied() };
        }
        match allowed().as_slice() {
            [own, peer, ..] => Self { own: Some(*own), peer: Some(*peer) },
            _ => Self::default(),
        }
    }
}

/// Cores that this process may run on.
pub(super) fn allowed() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

/// Keeps the calling thread on `core`. Threads that exist already stay where they are.
pub(super) fn pin(core: Option<usize>) -> Result<(), PerfError> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|source| PerfError::Core { core, source })
}
