//! RDMA devices: libibverbs lists them, sysfs says what their ports are.
//!
//! Files: Linux Documentation/ABI/stable/sysfs-class-infiniband.

use std::{
    fs,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use pmd_sys::{Device, Transport, devices};
use serde::Serialize;

use crate::outcome::explain;

/// The RDMA devices, or why there are none.
#[derive(Debug, Serialize)]
pub(super) struct Rdma {
    pub(super) devices: Vec<RdmaDevice>,
    /// Why the list is empty.
    pub(super) missing: Option<String>,
}

/// One device.
#[derive(Debug, Serialize)]
pub(super) struct RdmaDevice {
    pub(super) name: String,
    /// 16 hex digits.
    pub(super) guid: String,
    pub(super) transport: String,
    pub(super) board: Option<String>,
    pub(super) firmware: Option<String>,
    pub(super) numa_node: Option<i32>,
    pub(super) ports: Vec<Port>,
}

/// One port.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Port {
    pub(super) number: u32,
    /// `ACTIVE`, `DOWN`, ..
    pub(super) state: Option<String>,
    /// `LinkUp`, `Disabled`, ..
    pub(super) physical_state: Option<String>,
    /// `InfiniBand` or `Ethernet`.
    pub(super) link_layer: Option<String>,
    /// For example `100 Gb/sec (4X EDR)`.
    pub(super) rate: Option<String>,
    /// Local identifier (InfiniBand).
    pub(super) lid: Option<String>,
    pub(super) gids: Vec<Gid>,
}

/// One entry of a port's GID table.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gid {
    pub(super) index: u32,
    pub(super) gid: Ipv6Addr,
    /// `IB/RoCE v1` or `RoCE v2`.
    pub(super) kind: Option<String>,
    /// Network interface.
    pub(super) interface: Option<String>,
}

/// Lists devices.
pub(super) fn probe() -> Rdma {
    match devices() {
        Ok(devices) => Rdma { devices: devices.iter().map(describe).collect(), missing: None },
        Err(error) => Rdma { devices: Vec::new(), missing: Some(explain(&error)) },
    }
}

fn describe(device: &Device) -> RdmaDevice {
    let folder = PathBuf::from(&device.sysfs);
    let transport = match device.transport {
        Transport::InfiniBand => "InfiniBand".to_owned(),
        Transport::Iwarp => "iWARP".to_owned(),
        Transport::Other(number) => format!("transport {number}"),
    };
    RdmaDevice {
        name: device.name.clone(),
        guid: format!("{:016x}", device.guid),
        transport,
        board: line(&folder.join("board_id")),
        firmware: line(&folder.join("fw_ver")),
        numa_node: line(&folder.join("device/numa_node")).and_then(|text| text.parse().ok()),
        ports: ports(&folder),
    }
}

/// The ports below a device's folder in sysfs, in order.
fn ports(device: &Path) -> Vec<Port> {
    numbered(&device.join("ports")).into_iter().map(|(number, folder)| port(number, &folder)).collect()
}

fn port(number: u32, folder: &Path) -> Port {
    let named = |file: &str| line(&folder.join(file)).map(|text| after_colon(&text));
    Port {
        number,
        state: named("state"),
        physical_state: named("phys_state"),
        link_layer: line(&folder.join("link_layer")),
        rate: line(&folder.join("rate")),
        lid: line(&folder.join("lid")),
        gids: gids(folder),
    }
}

/// The GIDs that are set: unused entries are zero.
fn gids(port: &Path) -> Vec<Gid> {
    let attribute = |name: &str, index: u32| line(&port.join("gid_attrs").join(name).join(index.to_string()));
    let used = numbered(&port.join("gids")).into_iter().filter_map(|(index, file)| {
        let gid: Ipv6Addr = line(&file)?.parse().ok()?;
        (!gid.is_unspecified()).then_some((index, gid))
    });
    used.map(|(index, gid)| Gid {
        index,
        gid,
        kind: attribute("types", index),
        interface: attribute("ndevs", index),
    })
    .collect()
}

/// The entries of a folder whose names are numbers, by number.
fn numbered(folder: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    found.sort();
    found
}

/// A file's only line, unless it is empty or cannot be read.
fn line(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// `ACTIVE` of `4: ACTIVE`.
fn after_colon(text: &str) -> String {
    text.split_once(':').map_or(text, |(_, name)| name).trim().to_owned()
}

#[cfg(test)]
mod tests;
