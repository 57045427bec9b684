//! The report for people.

use std::fmt::Write;

use super::{
    Report,
    accelerators::Accelerator,
    libraries::Library,
    rdma::{Port, RdmaDevice},
    soft::Soft,
    topology,
};

/// The report as indented text.
pub(super) fn table(report: &Report) -> String {
    let mut out = String::from("RDMA devices\n");
    if let Some(missing) = &report.rdma.missing {
        line(&mut out, &format!("none: {missing}"));
    }
    report.rdma.devices.iter().for_each(|found| device(&mut out, found));
    out += "\nLibraries\n";
    report.libraries.iter().for_each(|found| library(&mut out, found));
    out += "\nSoft HCA on this host\n";
    soft(&mut out, &report.soft);
    out += "\nAccelerators\n";
    report.accelerators.iter().for_each(|found| accelerator(&mut out, found));
    out += "\nTopology\n";
    topology::draw(&report.topology).iter().for_each(|drawn| line(&mut out, drawn));
    out
}

fn device(out: &mut String, device: &RdmaDevice) {
    let firmware = device.firmware.as_deref().unwrap_or("unknown");
    let numa = device.numa_node.map_or_else(|| "unknown".to_owned(), |node| node.to_string());
    let RdmaDevice { name, transport, guid, .. } = device;
    line(out, &format!("{name}  {transport}, guid {guid}, firmware {firmware}, NUMA node {numa}"));
    device.ports.iter().for_each(|found| port(out, found));
}

fn port(out: &mut String, port: &Port) {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let (state, link, rate) = (text(&port.state), text(&port.link_layer), text(&port.rate));
    line(out, &format!("  port {}: {state}, {link}, {rate}", port.number));
    for gid in &port.gids {
        let kind = gid.kind.as_deref().unwrap_or("unknown kind");
        let interface = gid.interface.as_deref().unwrap_or("-");
        line(out, &format!("    gid {} {} ({kind}, {interface})", gid.index, gid.gid));
    }
}

fn library(out: &mut String, library: &Library) {
    let Library { name, package, .. } = library;
    let verdict = match (&library.reason, library.found) {
        (None, _) => "found".to_owned(),
        (Some(reason), true) => format!("found, but {reason}"),
        (Some(reason), false) => format!("missing; comes with: {package} ({reason})"),
    };
    line(out, &format!("{name:<20} {verdict}"));
}

fn soft(out: &mut String, soft: &Soft) {
    let verdict = |works: bool, reason: &Option<String>| {
        let word = if works { "yes" } else { "no" };
        reason.as_ref().map_or_else(|| word.to_owned(), |reason| format!("{word} ({reason})"))
    };
    item(out, "shared memory", &verdict(soft.memfd.works, &soft.memfd.reason));
    item(out, "process_vm_readv", &verdict(soft.process_vm.permitted, &soft.process_vm.reason));
    for pages in &soft.huge_pages {
        let count = format!("{} configured, {} free", pages.configured, pages.free);
        item(out, &format!("pages of {} KiB", pages.size_kib), &count);
    }
    let cores: Vec<_> = soft.cores.iter().map(ToString::to_string).collect();
    item(out, "cores", &format!("{} ({})", cores.len(), cores.join(",")));
}

fn accelerator(out: &mut String, accelerator: &Accelerator) {
    let version = accelerator.version.as_ref().map(|version| format!(" {version}"));
    let name = format!("{}{}", accelerator.kind, version.unwrap_or_default());
    match &accelerator.missing {
        Some(missing) => item(out, &name, &format!("none: {missing}")),
        None => item(out, &name, &format!("{} device(s)", accelerator.devices.len())),
    }
    accelerator.devices.iter().for_each(|device| line(out, &format!("  {device}")));
}

fn item(out: &mut String, name: &str, value: &str) {
    line(out, &format!("{name:<20} {value}"));
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  {text}");
}
