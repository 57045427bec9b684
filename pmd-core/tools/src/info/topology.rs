//! What is near what: NUMA nodes, host bridges, switches, and on them the NICs and accelerators.
//!
//! `pmd_host::topology` reads it from sysfs; the accelerators' probes add the numbers by which their runtimes know them. An
//! accelerator is drawn without its runtime too, as sysfs lists it by maker and class.

use std::collections::{BTreeMap, BTreeSet};

use pmd_core::accelerator::PciAddress;
use pmd_host::topology::{PciDevice, PciPath, Topology};
use serde::Serialize;

use super::accelerators::Accelerator;

mod draw;

pub(super) use draw::draw;

/// The tree and the distances in it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    /// Every NUMA node, and one without a number for what has none.
    numa_nodes: Vec<Node>,
    /// NICs and accelerators that are no PCIe devices, or whose place sysfs does not tell.
    elsewhere: Vec<String>,
    /// The NICs of each accelerator, and the cores of each NIC, nearest first.
    accelerators: Vec<Neighbours>,
    nics: Vec<Cores>,
}

/// A NUMA node with its host bridges.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Node {
    number: Option<u32>,
    /// As the kernel lists them: `0-3,8`.
    cores: String,
    /// Cost of access to each node from here, 10 for the node itself.
    distances: Vec<u32>,
    host_bridges: Vec<HostBridge>,
}

/// A host bridge, with those of its devices below which there is a NIC or an accelerator.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct HostBridge {
    name: String,
    devices: Vec<Branch>,
}

/// A bridge, a NIC or an accelerator, and what is below.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Branch {
    pci: String,
    /// `mlx5_0`, `cuda:0`; empty for bridges, `cuda` for an accelerator that its runtime does not show.
    names: Vec<String>,
    /// The physical function whose virtual function it is.
    virtual_function_of: Option<String>,
    devices: Vec<Branch>,
}

/// The NICs near an accelerator.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Neighbours {
    accelerator: String,
    pci: String,
    nics: Vec<Neighbour>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Neighbour {
    nic: String,
    /// As `nvidia-smi topo -m` abbreviates: `PIX`, `PXB`, `PHB`, `NODE`, `SYS`.
    distance: Option<&'static str>,
}

/// The cores near a NIC.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Cores {
    nic: String,
    pci: Option<String>,
    numa_node: Option<u32>,
    /// Of its own node, as the kernel lists them.
    local_cores: String,
    /// All of them, the one for the first lane first.
    nearest_cores: Vec<usize>,
}

/// Puts together what sysfs and the runtimes tell.
pub(super) fn describe(topology: &Topology, accelerators: &[Accelerator]) -> Report {
    let names = names(topology, accelerators);
    let placed = |address: &PciAddress| {
        let device = topology.pci_device(*address)?;
        Some((device, device.path.as_ref()?))
    };
    let mut numa_nodes: Vec<_> = topology.numa_nodes().iter().map(node).collect();
    for (name, (number, devices)) in host_bridges(names.keys().filter_map(placed)) {
        let devices = branches(&devices, 0, topology, &names);
        let bridge = HostBridge { name: name.to_owned(), devices };
        match numa_nodes.iter_mut().find(|node| node.number == number) {
            Some(node) => node.host_bridges.push(bridge),
            None => {
                numa_nodes.push(Node { number, host_bridges: vec![bridge], ..Node::default() });
            }
        }
    }
    let unplaced = names.iter().filter(|(address, _)| placed(address).is_none());
    let unplugged = topology.rdma_devices().iter().filter(|nic| nic.pci.is_none());
    let nameless = accelerators.iter().flat_map(Accelerator::without_address);
    Report {
        numa_nodes,
        elsewhere: unplaced
            .flat_map(|(_, names)| names.clone())
            .chain(unplugged.map(|nic| nic.name.clone()))
            .chain(nameless)
            .collect(),
        accelerators: neighbours(topology, accelerators, &names),
        nics: nics(topology),
    }
}

/// What each function is called: RDMA devices, accelerators as their runtimes number them, and those that only sysfs shows.
fn names(topology: &Topology, accelerators: &[Accelerator]) -> BTreeMap<PciAddress, Vec<String>> {
    let nics = topology.rdma_devices().iter().filter_map(|nic| Some((nic.pci?, nic.name.clone())));
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (address, name) in nics.chain(accelerators.iter().flat_map(Accelerator::addresses)) {
        names.entry(address).or_default().push(name);
    }
    for device in topology.accelerators() {
        let kind = device.accelerator().map(|kind| kind.name().to_owned());
        names.entry(device.address).or_insert_with(|| kind.into_iter().collect());
    }
    names
}

fn node(node: &pmd_host::topology::NumaNode) -> Node {
    Node {
        number: Some(node.number),
        cores: ranges(&node.cores),
        distances: node.distances.clone(),
        host_bridges: Vec::new(),
    }
}

type Placed<'a> = (&'a PciDevice, &'a PciPath);

/// The devices of each host bridge, with the node of the first that has one.
fn host_bridges<'a>(
    devices: impl Iterator<Item = Placed<'a>>,
) -> BTreeMap<&'a str, (Option<u32>, Vec<Placed<'a>>)> {
    let mut found: BTreeMap<&str, (Option<u32>, Vec<Placed<'_>>)> = BTreeMap::new();
    for (device, path) in devices {
        let (node, below) = found.entry(&path.host_bridge).or_default();
        *node = node.or(device.numa_node);
        below.push((device, path));
    }
    found
}

/// The branches of devices that have `depth` bridges in common.
fn branches(
    devices: &[Placed<'_>],
    depth: usize,
    topology: &Topology,
    names: &BTreeMap<PciAddress, Vec<String>>,
) -> Vec<Branch> {
    let next = |(device, path): &Placed<'_>| path.bridges.get(depth).copied().unwrap_or(device.address);
    let heads: BTreeSet<_> = devices.iter().map(next).collect();
    let branch = |head: PciAddress| {
        let below = devices.iter().copied().filter(|placed| next(placed) == head && placed.0.address != head);
        let physical = topology.pci_device(head).and_then(|device| device.physical_function);
        Branch {
            pci: head.to_string(),
            names: names.get(&head).cloned().unwrap_or_default(),
            virtual_function_of: physical.map(|address| address.to_string()),
            devices: branches(&below.collect::<Vec<_>>(), depth + 1, topology, names),
        }
    };
    heads.into_iter().map(branch).collect()
}

/// Accelerators as their runtimes number them, then those that only sysfs shows.
fn neighbours(
    topology: &Topology,
    accelerators: &[Accelerator],
    names: &BTreeMap<PciAddress, Vec<String>>,
) -> Vec<Neighbours> {
    let numbered: Vec<_> = accelerators.iter().flat_map(Accelerator::addresses).collect();
    let known: BTreeSet<_> = numbered.iter().map(|(address, _)| *address).collect();
    let silent = topology.accelerators().map(|device| device.address).filter(|one| !known.contains(one));
    let silent = silent.map(|address| (address, names.get(&address).cloned().unwrap_or_default().concat()));
    let found = numbered.iter().cloned().chain(silent);
    found
        .map(|(address, accelerator)| {
            let nics = topology.nearest_nics(address).into_iter().map(|found| Neighbour {
                nic: found.nic.name.clone(),
                distance: found.distance.map(|distance| distance.name()),
            });
            Neighbours { accelerator, pci: address.to_string(), nics: nics.collect() }
        })
        .collect()
}

fn nics(topology: &Topology) -> Vec<Cores> {
    let cores = topology.rdma_devices().iter().map(|nic| {
        let mut local = topology.local_cores(&nic.name);
        local.sort_unstable();
        Cores {
            nic: nic.name.clone(),
            pci: nic.pci.map(|address| address.to_string()),
            numa_node: nic.numa_node,
            local_cores: ranges(&local),
            nearest_cores: topology.nearest_cores(&nic.name),
        }
    });
    cores.collect()
}

/// Ascending numbers as the kernel lists them: `0-3,8`.
fn ranges(cores: &[usize]) -> String {
    let runs = cores.chunk_by(|one, next| one + 1 == *next).filter_map(|run| match run {
        [] => None,
        [one] => Some(one.to_string()),
        [first, .., last] => Some(format!("{first}-{last}")),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
