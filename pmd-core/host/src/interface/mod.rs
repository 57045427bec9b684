//! From the name of an interface to the address to listen on and the RDMA device behind it.
//!
//! `kv-api` and `af-api` call it once, when they open an endpoint. Linux lists RDMA devices below `/sys/class/infiniband`, and for each GID of
//! a port the network interface that it belongs to.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    path::Path,
};

use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};

use thiserror::Error;

/// Where Linux lists RDMA devices.
const RDMA_DEVICES: &str = "/sys/class/infiniband";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Where to listen; the port is the caller's.
    pub address: SocketAddr,
    /// RDMA device to prefer.
    pub device: Option<String>,
}

/// The address to listen on for the name of an interface; see [`find`].
///
/// # Errors
/// [`InterfaceError`]: there is none of that name, or it has no address.
pub fn listen_address(name: &str, port: u16) -> Result<SocketAddr, InterfaceError> {
    find(name, port).map(|interface| interface.address)
}

/// Looks a name up.
///
/// | name | address to listen on | RDMA device |
/// |---|---|---|
/// | empty, `lo` | 127.0.0.1 | none |
/// | `*` | every IPv4 address | none |
/// | an IP address | that | none |
/// | a network interface (`eth0`) | its address, IPv4 before IPv6 | the RDMA device behind it, if there is one |
/// | an RDMA device (`mlx5_0`) | the address of its network interface | that device |
///
/// # Errors
/// [`InterfaceError`].
pub fn find(name: &str, port: u16) -> Result<Interface, InterfaceError> {
    let plain = |address: IpAddr| Interface { address: (address, port).into(), device: None };
    match name {
        "" | "lo" => return Ok(plain(Ipv4Addr::LOCALHOST.into())),
        "*" => return Ok(plain(Ipv4Addr::UNSPECIFIED.into())),
        _ => {}
    }
    if let Ok(address) = name.parse() {
        return Ok(plain(address));
    }
    find_among(name, port, &addresses()?, &rdma_devices(Path::new(RDMA_DEVICES)))
}

/// Name of the interface that has an address.
pub(crate) fn holding(address: IpAddr) -> Option<String> {
    let holds = |(_, of): &Named| of.is_some_and(|of| of.ip() == address);
    addresses().ok()?.into_iter().find(holds).map(|(name, _)| name)
}

/// Name of a network interface and one of its addresses, if it has any.
type Named = (String, Option<SocketAddr>);

/// Name of an RDMA device and its network interfaces.
type RdmaDevice = (String, Vec<String>);

fn find_among(
    name: &str,
    port: u16,
    interfaces: &[Named],
    devices: &[RdmaDevice],
) -> Result<Interface, InterfaceError> {
    let as_device = devices.iter().find(|(device, _)| device == name);
    let is_interface = interfaces.iter().any(|(interface, _)| interface == name);
    let (device, names) = match as_device {
        Some((device, names)) => (Some(device.clone()), names.clone()),
        None if is_interface => {
            let behind = devices.iter().find(|(_, names)| names.iter().any(|of| of == name));
            (behind.map(|(device, _)| device.clone()), vec![name.to_owned()])
        }
        None => {
            return Err(InterfaceError::Unknown {
                name: name.to_owned(),
                available: known(interfaces, devices),
            });
        }
    };
    let candidates = interfaces.iter().filter(|(interface, _)| names.contains(interface));
    let best = candidates.filter_map(|(_, address)| *address).min_by_key(rank);
    let mut address = best.ok_or_else(|| InterfaceError::NoAddress { name: name.to_owned() })?;
    address.set_port(port);
    Ok(Interface { address, device })
}

/// IPv4 first, then IPv6 that is valid everywhere.
fn rank(address: &SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if !address.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    }
}

fn known(interfaces: &[Named], devices: &[RdmaDevice]) -> Vec<String> {
    let names = interfaces.iter().map(|(name, _)| name).chain(devices.iter().map(|(name, _)| name));
    let mut names: Vec<String> = names.cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn addresses() -> Result<Vec<Named>, InterfaceError> {
    let all = getifaddrs().map_err(|error| InterfaceError::System(error.into()))?;
    Ok(all.map(|entry| (entry.interface_name, entry.address.as_ref().and_then(socket_address))).collect())
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let version_four = address.as_sockaddr_in().map(|address| (address.ip(), 0).into());
    version_four.or_else(|| {
        let address = address.as_sockaddr_in6()?;
        Some(SocketAddrV6::new(address.ip(), 0, 0, address.scope_id()).into())
    })
}

/// Every RDMA device below `class` with the network interfaces of its GIDs. What cannot be read is not there.
fn rdma_devices(class: &Path) -> Vec<RdmaDevice> {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let interfaces = |device: &str| {
        let ports = class.join(device).join("ports");
        let tables = names(&ports).into_iter().map(|port| ports.join(port).join("gid_attrs/ndevs"));
        let entries = tables.flat_map(|table| names(&table).into_iter().map(move |index| table.join(index)));
        let mut found: Vec<String> =
            entries.filter_map(|entry| Some(fs::read_to_string(entry).ok()?.trim().to_owned())).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let mut devices = names(class);
    devices.sort_unstable();
    devices.into_iter().map(|device| (device.clone(), interfaces(&device))).collect()
}

/// Why an interface name leads to no address.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// No network interface and no RDMA device has this name.
    #[error("no network interface or RDMA device is called {name:?}; there are: {}", .available.join(", "))]
    Unknown {
        /// Name asked for.
        name: String,
        /// Names that there are.
        available: Vec<String>,
    },
    /// It has no address to listen on.
    #[error("{name} has no IP address: configure one, or choose another interface")]
    NoAddress {
        /// Name asked for.
        name: String,
    },
    /// The system does not list its interfaces.
    #[error("cannot list the network interfaces")]
    System(#[source] io::Error),
}

#[cfg(test)]
mod tests;
