//! What the device and its only port say about themselves: by sysfs files, which the launcher writes, and by the
//! answers of query commands. One description for both, so that they agree.

use crate::config::Link;

/// Name of the device, as programs take it with `-d`.
pub const DEVICE: &str = "mlx5_0";
/// Name of its character device.
pub const UVERBS: &str = "uverbs0";
/// Path of its character device. Nothing is there: `open` and `stat` are interposed.
pub const UVERBS_PATH: &str = "/dev/infiniband/uverbs0";
/// Major and minor number of that character device.
pub const UVERBS_NUMBER: (u32, u32) = (231, 192);
/// EUI-64 of the node.
pub const NODE_GUID: u64 = 0x0c42_a103_00ab_cdef;
/// MAC address of the port when it is an Ethernet port.
pub const MAC: [u8; 6] = [0x0c, 0x42, 0xa1, 0xab, 0xcd, 0xef];
/// Firmware version: major, minor, sub-minor.
pub const FIRMWARE: (u16, u16, u16) = (16, 35, 2000);
/// PCI vendor.
pub const VENDOR: u16 = 0x15b3;
/// PCI device: ConnectX-5 Ex.
pub const PART: u16 = 0x1019;
/// Board of that part.
pub const BOARD: &str = "MT_0000000009";
/// Ports of the device.
pub const PORTS: u8 = 1;

/// An entry of the port's GID table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gid {
    /// The address.
    pub raw: [u8; 16],
    /// Its kind, as sysfs writes it.
    pub kind: &'static str,
}

/// The port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it is attached to.
    pub link: Link,
    /// LID, 0 on Ethernet.
    pub lid: u16,
    /// LID of the subnet manager.
    pub manager_lid: u16,
    /// Largest MTU, `enum ibv_mtu`.
    pub mtu: u8,
    /// The GID table.
    pub gids: Vec<Gid>,
    /// The P_Key table.
    pub partition_keys: Vec<u16>,
}

/// As sysfs calls GIDs of InfiniBand and of RoCE v1.
const PLAIN: &str = "IB/RoCE v1";
/// As sysfs calls GIDs of RoCE v2.
const ROUTABLE: &str = "RoCE v2";
/// Entries of an InfiniBand port's GID table.
const INFINIBAND_GIDS: usize = 8;

impl Port {
    /// The port of a device with this link layer.
    #[must_use]
    pub fn new(link: Link) -> Self {
        match link {
            Link::InfiniBand => {
                let mut gids = vec![Gid { raw: link_local(NODE_GUID), kind: PLAIN }];
                gids.resize(INFINIBAND_GIDS, Gid { raw: [0; 16], kind: PLAIN });
                Self { link, lid: 1, manager_lid: 1, mtu: 5, gids, partition_keys: vec![0xffff] }
            }
            Link::Ethernet => {
                let addresses = [link_local(interface_of(MAC)), mapped([127, 0, 0, 1])];
                let both = |raw| [PLAIN, ROUTABLE].map(|kind| Gid { raw, kind });
                let gids = addresses.into_iter().flat_map(both).collect();
                Self { link, lid: 0, manager_lid: 0, mtu: 5, gids, partition_keys: vec![0xffff] }
            }
        }
    }
}

/// `fe80::` and an interface's identifier.
fn link_local(interface: u64) -> [u8; 16] {
    (0xfe80_u128 << 112 | u128::from(interface)).to_be_bytes()
}

/// The modified EUI-64 of a MAC (RFC 4291, appendix A).
fn interface_of(mac: [u8; 6]) -> u64 {
    let [first, second, third, fourth, fifth, sixth] = mac;
    u64::from_be_bytes([first ^ 2, second, third, 0xff, 0xfe, fourth, fifth, sixth])
}

/// The IPv6 form of an IPv4 address.
fn mapped(address: [u8; 4]) -> [u8; 16] {
    (0xffff_u128 << 32 | u128::from(u32::from_be_bytes(address))).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn a_roce_port_has_each_address_in_both_versions() {
        let port = Port::new(Link::Ethernet);
        let text: Vec<_> =
            port.gids.iter().map(|gid| (Ipv6Addr::from(gid.raw).to_string(), gid.kind)).collect();
        let local = "fe80::e42:a1ff:feab:cdef".to_owned();
        let ip = "::ffff:127.0.0.1".to_owned();
        assert_eq!(text, [(local.clone(), PLAIN), (local, ROUTABLE), (ip.clone(), PLAIN), (ip, ROUTABLE)]);
    }

    #[test]
    fn an_infiniband_port_has_its_guid() {
        let port = Port::new(Link::InfiniBand);
        assert_eq!(Ipv6Addr::from(port.gids[0].raw).to_string(), "fe80::c42:a103:ab:cdef");
        assert_eq!((port.lid, port.gids.len()), (1, INFINIBAND_GIDS));
    }
}
