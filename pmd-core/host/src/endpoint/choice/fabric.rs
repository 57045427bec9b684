//! Whether one NIC reaches another, as far as that can be told without sending anything: same link layer, same kind of
//! GID, the MTU that was asked for, the same subnet (InfiniBand) or a route of the kernel's from one GID's address, by its
//! interface, to the other's (RoCE).
//!
//! That both ends have a GID says nothing: a NIC in a network of its own has one too. Either end looks for itself, since
//! routes need not be the same in both directions.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::BindToDevice},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    backend::Transport,
    interface,
    nic::{self, GidScope, GidType, LinkLayer},
};

/// Port of RoCE v2. Nothing is sent there.
const ROCE: u16 = 4791;

/// What keeps two NICs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum FabricObstacle {
    /// The port went down after the NIC was opened.
    #[error("the port of its NIC is down")]
    PortDown,
    /// InfiniBand here, Ethernet there.
    #[error("one NIC speaks InfiniBand and the other Ethernet")]
    OtherLinkLayer,
    /// IPv4, IPv6 and link-local GIDs do not reach each other, nor do RoCE v1 and v2.
    #[error("the GIDs of the NICs are of different kinds: choose ones of the same kind by --gid")]
    OtherGidKind,
    /// InfiniBand: the subnets' prefixes differ.
    #[error("the NICs are in different InfiniBand subnets")]
    OtherSubnet,
    /// The path MTU that was asked for is longer than a port's.
    #[error(
        "a path MTU of {wanted} bytes was asked for and a port has {active}: ask for less, or raise the port's"
    )]
    Mtu {
        /// Bytes asked for.
        wanted: u16,
        /// Bytes that the port with less has.
        active: u16,
    },
    /// RoCE: there is no route to the peer's GID by the interface of this one.
    #[error("there is no route to the other NIC's GID by the interface of its own")]
    NoRoute,
    /// RoCE: routes cannot be asked for, because the GID is link-local or its address belongs to no interface here.
    #[error(
        "nothing shows that the other NIC's GID is reached: give both ports routable addresses, or ask for the NIC"
    )]
    Unproven,
}

/// A NIC as an end tells of it. Travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::endpoint) struct FabricTerms {
    pub(super) mlx5: bool,
    pub(super) ethernet: bool,
    pub(super) gid: Ipv6Addr,
    /// RoCE v2.
    pub(super) routable: bool,
    /// Active MTU of the port.
    pub(super) mtu: u16,
    /// Path MTU that was asked for.
    pub(super) path_mtu: Option<u16>,
    pub(super) active: bool,
}

/// What the kernel says of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    Closed,
    Unknown,
}

impl FabricTerms {
    pub(in crate::endpoint) fn of(nic: &nic::Device, driver: Transport, path_mtu: Option<u16>) -> Self {
        Self {
            mlx5: driver == Transport::Mlx5,
            ethernet: nic.port().link_layer == LinkLayer::Ethernet,
            gid: nic.gid().gid,
            routable: nic.gid().gid_type == GidType::RoceV2,
            mtu: nic.port().mtu,
            path_mtu,
            active: nic.is_port_active(),
        }
    }

    /// How its end drives it.
    pub(super) const fn driver(&self) -> Transport {
        if self.mlx5 { Transport::Mlx5 } else { Transport::Verbs }
    }

    /// What is in the way from this NIC to `other`.
    pub(in crate::endpoint) fn obstacle_to(&self, other: &Self) -> Option<FabricObstacle> {
        self.obstacle(other, way)
    }

    /// The same, with what the kernel says of the way from one address to another.
    pub(super) fn obstacle(
        &self,
        other: &Self,
        way: impl FnOnce(IpAddr, IpAddr) -> Way,
    ) -> Option<FabricObstacle> {
        let active = self.mtu.min(other.mtu);
        if !self.active {
            return Some(FabricObstacle::PortDown);
        }
        if self.ethernet != other.ethernet {
            return Some(FabricObstacle::OtherLinkLayer);
        }
        if let Some(wanted) = self.path_mtu.max(other.path_mtu).filter(|wanted| *wanted > active) {
            return Some(FabricObstacle::Mtu { wanted, active });
        }
        if self.ethernet { self.roce_obstacle(other, way) } else { self.subnet_obstacle(other) }
    }

    /// The upper 64 bits of a GID of InfiniBand are the subnet's.
    fn subnet_obstacle(&self, other: &Self) -> Option<FabricObstacle> {
        let prefix = |gid: Ipv6Addr| gid.to_bits() >> 64;
        (prefix(self.gid) != prefix(other.gid)).then_some(FabricObstacle::OtherSubnet)
    }

    fn roce_obstacle(&self, other: &Self, way: impl FnOnce(IpAddr, IpAddr) -> Way) -> Option<FabricObstacle> {
        let scope = GidScope::of(self.gid);
        if scope != GidScope::of(other.gid) || self.routable != other.routable {
            return Some(FabricObstacle::OtherGidKind);
        }
        if self.gid == other.gid {
            return None;
        }
        if scope == GidScope::LinkLocal {
            return Some(FabricObstacle::Unproven);
        }
        match way(IpAddr::V6(self.gid).to_canonical(), IpAddr::V6(other.gid).to_canonical()) {
            Way::Open => None,
            Way::Closed => Some(FabricObstacle::NoRoute),
            Way::Unknown => Some(FabricObstacle::Unproven),
        }
    }
}

/// Whether the kernel would send from one address to another by the interface that has the first one. A default route of
/// another interface is none.
fn way(from: IpAddr, to: IpAddr) -> Way {
    let Some(name) = interface::holding(from) else { return Way::Unknown };
    let Ok(socket) = UdpSocket::bind((from, 0)) else { return Way::Unknown };
    if setsockopt(&socket, BindToDevice, &name.into()).is_err() {
        return Way::Unknown;
    }
    // Connecting a datagram socket asks for the route and sends nothing.
    match socket.connect((to, ROCE)) {
        Ok(()) => Way::Open,
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => Way::Closed,
            _ => Way::Unknown,
        },
    }
}

#[cfg(test)]
mod tests;
