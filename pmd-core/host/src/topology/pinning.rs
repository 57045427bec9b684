//! Which cores the threads of a NIC's lanes keep to. The endpoint asks when it starts a lane.

use core::{fmt, str::FromStr};

use pmd_core::accelerator::PciAddress;
use thiserror::Error;

use super::{Place, Topology};

/// Which cores the thread of a lane keeps to where [`LaneConfig::core`](crate::lane::LaneConfig::core) names none.
///
/// It is a wish: a lane whose NIC's place is not known runs wherever its process may. The soft HCA has no place: its lanes
/// keep near the first of its [accelerators](crate::soft::DeviceConfig::accelerators) whose place is known, as `Local` and
/// `Nearest` say of NICs. No lane runs where the process may not (`taskset`, cgroups).
///
/// As text, in options: `auto`, `off`, `local`, `nearest`.
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
        self.near(topology, &topology.place_of_nic(nic), lane, allowed)
    }

    /// The same near another device: an accelerator.
    #[must_use]
    pub fn cores_of_device(
        self,
        topology: &Topology,
        device: PciAddress,
        lane: usize,
        allowed: &[usize],
    ) -> Vec<usize> {
        self.near(topology, &topology.place_of(device), lane, allowed)
    }

    fn near(self, topology: &Topology, place: &Place<'_>, lane: usize, allowed: &[usize]) -> Vec<usize> {
        let usable = |cores: Vec<usize>| -> Vec<usize> {
            cores.into_iter().filter(|core| allowed.contains(core)).collect()
        };
        match self {
            _ if !self.may_pin(allowed) => Vec::new(),
            Self::Auto if topology.numa_nodes().len() < 2 => Vec::new(),
            Self::Off | Self::Auto | Self::Local => {
                let local = usable(topology.local(place));
                // To keep to every core is to keep to none, and would last when more are allowed later.
                if local.len() == allowed.len() { Vec::new() } else { local }
            }
            Self::Nearest if topology.local(place).is_empty() => Vec::new(),
            Self::Nearest => {
                let nearest = usable(topology.nearest(place));
                nearest.get(lane % nearest.len().max(1)).copied().into_iter().collect()
            }
        }
    }

    /// For this host and process; reads sysfs where it matters.
    pub(crate) fn cores_here(self, near: Near<'_>, lane: usize) -> Vec<usize> {
        let allowed = allowed();
        if !self.may_pin(&allowed) {
            return Vec::new();
        }
        let topology = Topology::of_host();
        match near {
            Near::Nic(name) => self.cores(&topology, name, lane, &allowed),
            Near::Device(address) => self.cores_of_device(&topology, address, lane, &allowed),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Local => "local",
            Self::Nearest => "nearest",
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

impl fmt::Display for LanePinning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A text that names no [`LanePinning`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("lanes are pinned auto, off, local or nearest, not {0:?}")]
pub struct UnknownPinning(pub String);

impl FromStr for LanePinning {
    type Err = UnknownPinning;

    fn from_str(text: &str) -> Result<Self, UnknownPinning> {
        let all = [Self::Auto, Self::Off, Self::Local, Self::Nearest];
        let found = all.into_iter().find(|pinning| pinning.name() == text);
        found.ok_or_else(|| UnknownPinning(text.to_owned()))
    }
}

/// What a lane is to be near.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Near<'a> {
    /// A NIC, by its name.
    Nic(&'a str),
    /// An accelerator.
    Device(PciAddress),
}

/// Cores that this thread may run on; empty where the system does not say.
fn allowed() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return Vec::new() };
    (0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}
