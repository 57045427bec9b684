//! Which cores the threads of a NIC's lanes keep to. The endpoint asks when it starts a lane.

use super::Topology;

/// Which cores the thread of a lane keeps to where [`LaneConfig::core`](crate::lane::LaneConfig::core) names none.
///
/// It is a wish: a lane whose NIC's place is not known, and one of the soft HCA, which has no place, runs wherever its
/// process may. No lane runs where the process may not (`taskset`, cgroups).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum LanePinning {
    /// [`Local`](LanePinning::Local) where the process may use [`LanePinning::FEW_CORES`] or more and the host has several
    /// NUMA nodes, [`Off`](LanePinning::Off) elsewhere: on few cores the scheduler needs them all.
    #[default]
    Auto,
    /// Any core.
    Off,
    /// Any core of the NIC's NUMA node. Processes that share a NIC do not get into each other's way by it.
    Local,
    /// One core: the first lane takes the one nearest to the NIC, the next lane the next. For lanes that spin, and one process
    /// for each NIC: two that do this with one NIC take the same cores.
    Nearest,
}

impl LanePinning {
    /// Below so many cores [`Auto`](LanePinning::Auto) pins nothing.
    pub const FEW_CORES: usize = 16;

    /// Cores for a NIC's lane of this number, of those `allowed` to the process; empty: any.
    #[must_use]
    pub fn cores(self, topology: &Topology, nic: &str, lane: usize, allowed: &[usize]) -> Vec<usize> {
        let usable = |cores: Vec<usize>| -> Vec<usize> {
            cores.into_iter().filter(|core| allowed.contains(core)).collect()
        };
        match self {
            _ if !self.may_pin(allowed) => Vec::new(),
            Self::Auto if topology.numa_nodes().len() < 2 => Vec::new(),
            Self::Off | Self::Auto | Self::Local => {
                let local = usable(topology.local_cores(nic));
                // To keep to every core is to keep to none, and would last when more are allowed later.
                if local.len() == allowed.len() { Vec::new() } else { local }
            }
            Self::Nearest if topology.local_cores(nic).is_empty() => Vec::new(),
            Self::Nearest => {
                let nearest = usable(topology.nearest_cores(nic));
                nearest.get(lane % nearest.len().max(1)).copied().into_iter().collect()
            }
        }
    }

    /// The same, for this host and process; reads sysfs where it matters.
    pub(crate) fn cores_here(self, nic: &str, lane: usize) -> Vec<usize> {
        let allowed = allowed();
        if self.may_pin(&allowed) {
            self.cores(&Topology::of_host(), nic, lane, &allowed)
        } else {
            Vec::new()
        }
    }

    /// Whether it is worth a look at the topology.
    fn may_pin(self, allowed: &[usize]) -> bool {
        match self {
            Self::Off => false,
            Self::Auto => allowed.len() >= Self::FEW_CORES,
            Self::Local | Self::Nearest => true,
        }
    }
}

/// Cores that this thread may run on; empty where the system does not say.
fn allowed() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return Vec::new() };
    (0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}
