//! How far two PCIe devices are from each other, in the classes that the field reads.

use std::fmt;

use super::device::PciDevice;

/// The way between two PCIe devices, nearest first. Names and meaning are those of `nvidia-smi topo -m` (its legend; NVML's
/// `nvmlGpuTopologyLevel_t` has the same levels).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Distance {
    /// `X`: the device itself.
    Itself,
    /// `PIX`: at most one bridge or switch, the functions of one card among them.
    OneBridge,
    /// `PXB`: several bridges, none of them the host's.
    Bridges,
    /// `PHB`: through one host bridge.
    HostBridge,
    /// `NODE`: through several host bridges of one NUMA node.
    Node,
    /// `SYS`: through the interconnect between NUMA nodes.
    System,
}

impl Distance {
    /// Its short name in the table of `nvidia-smi topo -m`: `X`, `PIX`, `PXB`, `PHB`, `NODE`, `SYS`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Itself => "X",
            Self::OneBridge => "PIX",
            Self::Bridges => "PXB",
            Self::HostBridge => "PHB",
            Self::Node => "NODE",
            Self::System => "SYS",
        }
    }

    /// The class of two devices whose places are known. Where a NUMA node is not, devices below different host bridges are
    /// in one node on a host that has no second, and in two otherwise: the way that costs more is assumed.
    pub(super) fn between(one: &PciDevice, other: &PciDevice, nodes: usize) -> Option<Self> {
        if one.address == other.address {
            return Some(Self::Itself);
        }
        let (from, to) = (one.path.as_ref()?, other.path.as_ref()?);
        if from.host_bridge != to.host_bridge {
            let same_node = match (one.numa_node, other.numa_node) {
                (Some(one), Some(other)) => one == other,
                _ => nodes < 2,
            };
            return Some(if same_node { Self::Node } else { Self::System });
        }
        let shared = from.bridges.iter().zip(&to.bridges).take_while(|(one, other)| one == other).count();
        if shared == 0 {
            return Some(Self::HostBridge);
        }
        // A switch is one bridge to its bus (its upstream port) and one from there to each device (a downstream port): the
        // two ports below a shared one are still one switch.
        let below = |bridges: usize| bridges - shared;
        let one_switch = below(from.bridges.len()) <= 1 && below(to.bridges.len()) <= 1;
        Some(if one_switch { Self::OneBridge } else { Self::Bridges })
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
