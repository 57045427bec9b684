//! Reads sysfs into plain values. What cannot be read is not there: nothing here fails.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use pmd_core::accelerator::PciAddress;

use super::{NumaNode, PciDevice, PciPath, RdmaDevice, cores};

/// Every PCIe function, by address.
pub(super) fn pci_devices(root: &Path) -> BTreeMap<PciAddress, PciDevice> {
    let links = entries(&root.join("bus/pci/devices"));
    links.filter_map(|(name, link)| pci_device(root, PciAddress::parse(&name)?, &link)).collect()
}

fn pci_device(root: &Path, address: PciAddress, link: &Path) -> Option<(PciAddress, PciDevice)> {
    let device = PciDevice {
        address,
        class: hexadecimal(&link.join("class")),
        vendor: u16::try_from(hexadecimal(&link.join("vendor"))).unwrap_or(0),
        product: u16::try_from(hexadecimal(&link.join("device"))).unwrap_or(0),
        numa_node: numa_node(link),
        local_cores: core_list(&link.join("local_cpulist")),
        physical_function: fs::read_link(link.join("physfn")).ok().and_then(|target| last_address(&target)),
        path: pci_path(root, link),
    };
    Some((address, device))
}

/// What a device's link resolves to: `devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0` is a host bridge, a root port and the
/// device. Controllers may come before the host bridge (`platform/..`, `LNXSYSTM:00/..`).
fn pci_path(root: &Path, link: &Path) -> Option<PciPath> {
    let resolved = link.canonicalize().ok()?;
    let inside = resolved.strip_prefix(root.canonicalize().ok()?).ok()?.to_owned();
    let mut names = names(&inside);
    let host_bridge = names.find(|name| is_host_bridge(name))?.to_owned();
    let mut bridges: Vec<_> = names.filter_map(PciAddress::parse).collect();
    bridges.pop()?;
    Some(PciPath { host_bridge, bridges })
}

/// `pci`, a domain and a bus: `pci0000:3a`.
fn is_host_bridge(name: &str) -> bool {
    let Some((domain, bus)) = name.strip_prefix("pci").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let hexadecimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal(domain) && hexadecimal(bus)
}

/// The RDMA devices, by name.
pub(super) fn rdma_devices(root: &Path) -> Vec<RdmaDevice> {
    let mut found: Vec<_> = entries(&root.join("class/infiniband"))
        .map(|(name, folder)| {
            let own = folder.join("device");
            // A software device is where the network interface is that it speaks through.
            let link =
                if own.exists() || own.is_symlink() { own } else { parent(root, &folder).unwrap_or(own) };
            // The device may sit on a bus above PCIe (virtio, auxiliary): the last address on the way is its function.
            let target = link.canonicalize().or_else(|_| fs::read_link(&link)).ok();
            let pci = target.and_then(|target| last_address(&target));
            let (numa_node, local_cores) = (numa_node(&link), core_list(&link.join("local_cpulist")));
            RdmaDevice { name, pci, numa_node, local_cores }
        })
        .collect();
    found.sort_by_cached_key(|device| natural(&device.name));
    found
}

/// The device of the interface under a software device (rxe, siw), which the kernel names; of one that is made of others
/// (a VLAN, a bond) that of the first that has one.
fn parent(root: &Path, folder: &Path) -> Option<PathBuf> {
    /// A VLAN on a bond on a port.
    const DEEPEST: usize = 4;
    interface(root, &line(&folder.join("parent"))?, DEEPEST)
}

fn interface(root: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let folder = root.join("class/net").join(name);
    let device = folder.join("device");
    if device.exists() {
        return Some(device);
    }
    let mut below: Vec<_> =
        entries(&folder).filter_map(|(name, _)| name.strip_prefix("lower_").map(str::to_owned)).collect();
    below.sort_by_cached_key(|name| natural(name));
    let below = below.iter().filter(|_| depth > 0);
    below.filter_map(|name| interface(root, name, depth - 1)).next()
}

/// The NUMA nodes, by number.
pub(super) fn numa_nodes(root: &Path) -> Vec<NumaNode> {
    let mut found: Vec<_> = entries(&root.join("devices/system/node"))
        .filter_map(|(name, folder)| {
            let number = name.strip_prefix("node")?.parse().ok()?;
            let distances = line(&folder.join("distance")).unwrap_or_default();
            let distances = distances.split_whitespace().filter_map(|cost| cost.parse().ok()).collect();
            Some(NumaNode { number, cores: core_list(&folder.join("cpulist")), distances })
        })
        .collect();
    found.sort_by_key(|node| node.number);
    found
}

/// Cores that run, ascending.
pub(super) fn online_cores(root: &Path) -> Vec<usize> {
    core_list(&root.join("devices/system/cpu/online"))
}

/// The hardware threads of each running thread's physical core.
pub(super) fn siblings(root: &Path, cores: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let folder = root.join("devices/system/cpu");
    let list = |core: &usize| core_list(&folder.join(format!("cpu{core}/topology/thread_siblings_list")));
    cores.iter().map(|core| (*core, list(core))).collect()
}

/// -1 is the kernel's "no node".
fn numa_node(device: &Path) -> Option<u32> {
    line(&device.join("numa_node"))?.parse().ok()
}

fn core_list(file: &Path) -> Vec<usize> {
    line(file).map(|list| cores::parse(&list)).unwrap_or_default()
}

fn hexadecimal(file: &Path) -> u32 {
    let text = line(file).unwrap_or_default();
    u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
}

fn last_address(path: &Path) -> Option<PciAddress> {
    names(path).filter_map(PciAddress::parse).last()
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

/// `mlx5_2` before `mlx5_10`: the text in front of the closing number, then the number.
pub(super) fn natural(name: &str) -> (String, u64) {
    let text = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (text.to_owned(), name[text.len()..].parse().unwrap_or(0))
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

fn line(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
