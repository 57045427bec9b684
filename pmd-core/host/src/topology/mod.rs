//! Where NICs, accelerators and cores sit: PCIe distances and NUMA nodes, from sysfs.
//!
//! # Place in the flow
//! An application that drives several accelerators asks for the NICs next to each, and opens its endpoint on one of them;
//! the [endpoint](crate::endpoint) asks which cores are next to its NIC, for the threads of its lanes
//! ([`LanePinning`]), and which of the NICs of its rails are next to memory that it registers; `pmd info` draws all of it.
//!
//! ```text
//!  pci0000:3a (host bridge)                          NUMA node 0: cores 0-15
//!   └ 0000:3a:00.0 (root port)
//!      └ 0000:3b:00.0 (switch, upstream port)
//!         ├ 0000:3c:00.0 (downstream port) ─ 0000:3d:00.0  accelerator ┐ PIX
//!         └ 0000:3c:01.0 (downstream port) ─ 0000:3e:00.0  mlx5_0      ┘
//! ```
//! [`Topology::read`] takes a snapshot; nothing of it is looked up again later. It reads five files of each PCIe function,
//! some milliseconds on a large server. There are no errors: in a container without sysfs, on a machine without NUMA, and
//! for a device whose link leads nowhere, the answer is that nothing is known, and what asks goes on without.
//!
//! # Example
//! ```
//! use pmd_host::topology::Topology;
//!
//! let topology = Topology::of_host();
//! for accelerator in topology.accelerators() {
//!     for neighbour in topology.nearest_nics(accelerator.address) {
//!         let distance = neighbour.distance.map_or("unknown", |distance| distance.name());
//!         println!("{}: {} is {distance}", accelerator.address, neighbour.nic.name);
//!     }
//! }
//! for nic in topology.rdma_devices() {
//!     println!("{}: lanes run best on {:?}", nic.name, topology.nearest_cores(&nic.name));
//! }
//! ```
//!
//! # Sources
//! Linux Documentation/ABI/testing/sysfs-bus-pci, stable/sysfs-class-infiniband, stable/sysfs-devices-node and
//! stable/sysfs-devices-system-cpu; for the classes of distance the legend of `nvidia-smi topo -m`.
mod affinity;
mod cores;
mod device;
mod distance;
mod pinning;
mod sysfs;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use pmd_core::accelerator::PciAddress;

pub(crate) use affinity::MemoryPlace;
pub use device::{Neighbour, NumaNode, PciDevice, PciPath, RdmaDevice};
pub use distance::Distance;
pub(crate) use pinning::Near;
pub use pinning::{LanePinning, UnknownPinning};

/// What the kernel says of where a device is.
#[derive(Clone, Copy, Debug, Default)]
struct Place<'a> {
    node: Option<u32>,
    local_cores: &'a [usize],
}

/// What was plugged in where when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    pci: BTreeMap<PciAddress, PciDevice>,
    rdma: Vec<RdmaDevice>,
    nodes: Vec<NumaNode>,
    cores: Vec<usize>,
    /// Hardware threads of each core's physical core.
    siblings: BTreeMap<usize, Vec<usize>>,
}

impl Topology {
    /// That of this host: [`Topology::read`] of `/sys`.
    #[must_use]
    pub fn of_host() -> Self {
        Self::read(Path::new("/sys"))
    }

    /// Reads it below `root`, a mounted sysfs or a copy of one. What is not there, or not readable, is not in the answer.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let nodes = sysfs::numa_nodes(root);
        let mut cores = sysfs::online_cores(root);
        if cores.is_empty() {
            cores = nodes.iter().flat_map(|node| node.cores.iter().copied()).collect();
            cores.sort_unstable();
        }
        let siblings = sysfs::siblings(root, &cores);
        Self { pci: sysfs::pci_devices(root), rdma: sysfs::rdma_devices(root), nodes, cores, siblings }
    }

    /// Every PCIe function, by address.
    pub fn pci_devices(&self) -> impl Iterator<Item = &PciDevice> {
        self.pci.values()
    }

    /// One PCIe function.
    #[must_use]
    pub fn pci_device(&self, address: PciAddress) -> Option<&PciDevice> {
        self.pci.get(&address)
    }

    /// The PCIe functions that are [accelerators](PciDevice::accelerator), by address.
    pub fn accelerators(&self) -> impl Iterator<Item = &PciDevice> {
        self.pci_devices().filter(|device| device.accelerator().is_some())
    }

    /// RDMA devices, by name: `mlx5_2` before `mlx5_10`.
    #[must_use]
    pub fn rdma_devices(&self) -> &[RdmaDevice] {
        &self.rdma
    }

    /// The RDMA device of this name.
    #[must_use]
    pub fn rdma_device(&self, name: &str) -> Option<&RdmaDevice> {
        self.rdma.iter().find(|device| device.name == name)
    }

    /// NUMA nodes, by number; none where the kernel has no NUMA.
    #[must_use]
    pub fn numa_nodes(&self) -> &[NumaNode] {
        &self.nodes
    }

    /// Cores (hardware threads) that run, ascending. A process may be allowed fewer of them.
    #[must_use]
    pub fn cores(&self) -> &[usize] {
        &self.cores
    }

    /// How far two PCIe functions are from each other; `None` where sysfs does not tell where one of them is.
    #[must_use]
    pub fn distance(&self, one: PciAddress, other: PciAddress) -> Option<Distance> {
        Distance::between(self.pci_device(one)?, self.pci_device(other)?, self.nodes.len())
    }

    /// How far a NIC is from a device; `None` as for [`Topology::nearest_nics`].
    pub(crate) fn nic_distance(&self, device: PciAddress, nic: &str) -> Option<Distance> {
        self.distance(device, self.rdma_device(nic)?.pci?)
    }

    /// Every NIC, the nearest to a device first; equally near ones by name, and last those whose distance nobody knows.
    #[must_use]
    pub fn nearest_nics(&self, device: PciAddress) -> Vec<Neighbour<'_>> {
        let distance = |nic: &RdmaDevice| nic.pci.and_then(|nic| self.distance(device, nic));
        let mut found: Vec<_> =
            self.rdma.iter().map(|nic| Neighbour { nic, distance: distance(nic) }).collect();
        // The order by name stays where distances are equal.
        found.sort_by_key(|neighbour| (neighbour.distance.is_none(), neighbour.distance));
        found
    }

    /// The cores of a NIC's NUMA node, one of each physical core first; empty where the NIC or its place is not known.
    #[must_use]
    pub fn local_cores(&self, nic: &str) -> Vec<usize> {
        self.local(&self.place_of_nic(nic))
    }

    /// Every core in the order in which a NIC's lanes should take them: the [local ones](Topology::local_cores), then those
    /// of the other NUMA nodes, the nearest first; of each node one hardware thread of each physical core first. Where
    /// nothing is known of the NIC they are in the order of their nodes.
    #[must_use]
    pub fn nearest_cores(&self, nic: &str) -> Vec<usize> {
        self.nearest(&self.place_of_nic(nic))
    }

    /// Where a NIC is; nowhere if it is not known.
    fn place_of_nic(&self, nic: &str) -> Place<'_> {
        self.rdma_device(nic)
            .map(|nic| Place { node: nic.numa_node, local_cores: &nic.local_cores })
            .unwrap_or_default()
    }

    /// Where another PCIe function is, an accelerator for instance.
    fn place_of(&self, device: PciAddress) -> Place<'_> {
        self.pci_device(device)
            .map(|device| Place { node: device.numa_node, local_cores: &device.local_cores })
            .unwrap_or_default()
    }

    fn local(&self, place: &Place<'_>) -> Vec<usize> {
        let node = self.nodes.iter().find(|node| Some(node.number) == place.node);
        match node {
            _ if !place.local_cores.is_empty() => self.running(place.local_cores),
            Some(node) => self.running(&node.cores),
            None => Vec::new(),
        }
    }

    fn nearest(&self, place: &Place<'_>) -> Vec<usize> {
        let node = place.node;
        let mut ordered: Vec<&NumaNode> = self.nodes.iter().collect();
        ordered.sort_by_key(|other| self.cost(node, other.number));
        let others = ordered.into_iter().flat_map(|node| self.running(&node.cores));
        let mut seen = BTreeSet::new();
        let all = self.local(place).into_iter().chain(others).chain(self.running(&self.cores));
        all.filter(|core| seen.insert(*core)).collect()
    }

    /// What access to a node costs from another; equal for all where that is not known.
    fn cost(&self, from: Option<u32>, to: u32) -> u32 {
        let from = self.nodes.iter().find(|node| Some(node.number) == from);
        let column = self.nodes.iter().position(|node| node.number == to);
        from.zip(column).and_then(|(from, column)| from.distances.get(column).copied()).unwrap_or(u32::MAX)
    }

    /// Those of a group that run, in the order in which to give them away.
    fn running(&self, group: &[usize]) -> Vec<usize> {
        let running: Vec<_> =
            group.iter().copied().filter(|core| self.cores.binary_search(core).is_ok()).collect();
        cores::spread(&running, |core| self.siblings.get(&core).cloned().unwrap_or_default())
    }
}
