//! The tree for people.

use super::{Branch, Node, Report};

/// One line each, without indentation in front.
pub(in super::super) fn draw(report: &Report) -> Vec<String> {
    let mut lines: Vec<_> = report.numa_nodes.iter().flat_map(node).collect();
    if !report.elsewhere.is_empty() {
        lines.push(format!("place unknown: {}", report.elsewhere.join(", ")));
    }
    for found in &report.accelerators {
        let nics = found.nics.iter().map(|nic| format!("{} {}", nic.nic, nic.distance.unwrap_or("unknown")));
        let nics: Vec<_> = nics.collect();
        if !nics.is_empty() {
            lines.push(format!("NICs near {} ({}): {}", found.accelerator, found.pci, nics.join(", ")));
        }
    }
    let near = report.nics.iter().filter(|nic| !nic.local_cores.is_empty());
    lines.extend(near.map(|nic| format!("cores near {}: {}", nic.nic, nic.local_cores)));
    if lines.is_empty() {
        lines.push("unknown: sysfs tells nothing".to_owned());
    }
    lines
}

fn node(node: &Node) -> Vec<String> {
    let number = node.number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let cores = if node.cores.is_empty() { String::new() } else { format!("  cores {}", node.cores) };
    let mut lines = vec![format!("NUMA node {number}{cores}")];
    for (index, bridge) in node.host_bridges.iter().enumerate() {
        let (arm, stem) = arms(index + 1 == node.host_bridges.len());
        lines.push(format!("{arm}{}  host bridge", bridge.name));
        lines.extend(below(&bridge.devices, stem));
    }
    lines
}

fn below(devices: &[Branch], stem: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let (arm, next) = arms(index + 1 == devices.len());
        lines.push(format!("{stem}{arm}{}", label(device)));
        lines.extend(below(&device.devices, &format!("{stem}{next}")));
    }
    lines
}

fn label(device: &Branch) -> String {
    let what = if device.names.is_empty() { "bridge".to_owned() } else { device.names.join(", ") };
    let of = device.virtual_function_of.as_ref();
    let of = of.map(|physical| format!("  virtual function of {physical}")).unwrap_or_default();
    format!("{}  {what}{of}", device.pci)
}

/// In front of a branch, and of what is below it.
const fn arms(last: bool) -> (&'static str, &'static str) {
    if last { ("└─ ", "   ") } else { ("├─ ", "│  ") }
}
