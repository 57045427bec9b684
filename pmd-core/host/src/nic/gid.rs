//! GIDs: a port's addresses, and which of them to use.
//!
//! On RoCE a GID is an IP address together with the protocol that carries the packets, so that one address is in the
//! table twice. RoCE v2 is routable and preferred; both sides of a connection must use addresses of the same kind.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use pmd_sys::verbs::{IBV_GID_TYPE_IB, IBV_GID_TYPE_ROCE_V1, ibv_gid, ibv_gid_entry};

use super::LinkLayer;

/// Which GID of the port to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GidChoice {
    /// RoCE: v2 before v1, IPv4 before routable IPv6 before link-local. InfiniBand: the first one.
    #[default]
    Auto,
    /// The entry at this index of the port's table.
    Index(u32),
    /// The entry with this address; v2 before v1.
    Address(IpAddr),
}

impl fmt::Display for GidChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("automatic choice"),
            Self::Index(index) => write!(formatter, "index {index}"),
            Self::Address(address) => write!(formatter, "address {address}"),
        }
    }
}

/// What carries packets that are addressed by a GID (`ibv_gid_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidType {
    /// InfiniBand.
    InfiniBand,
    /// RoCE v1: Ethernet frames, one subnet.
    RoceV1,
    /// RoCE v2: UDP.
    RoceV2,
}

/// What kind of address a GID is; only equal kinds reach each other over RoCE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidScope {
    /// IPv4, mapped into IPv6.
    Ipv4,
    /// IPv6 link-local (fe80::/10).
    LinkLocal,
    /// Any other IPv6 address.
    Global,
}

impl GidScope {
    /// The kind of an address.
    #[must_use]
    pub fn of(gid: Ipv6Addr) -> Self {
        if gid.to_ipv4_mapped().is_some() {
            Self::Ipv4
        } else if gid.is_unicast_link_local() {
            Self::LinkLocal
        } else {
            Self::Global
        }
    }
}

/// One entry of a port's GID table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GidEntry {
    /// Index in the table.
    pub index: u32,
    /// The address.
    pub gid: Ipv6Addr,
    /// What carries it.
    pub gid_type: GidType,
}

impl fmt::Display for GidEntry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.gid_type {
            GidType::InfiniBand => "InfiniBand",
            GidType::RoceV1 => "RoCE v1",
            GidType::RoceV2 => "RoCE v2",
        };
        match self.gid.to_ipv4_mapped() {
            Some(address) => write!(formatter, "{} {address} ({kind})", self.index),
            None => write!(formatter, "{} {} ({kind})", self.index, self.gid),
        }
    }
}

impl GidEntry {
    /// Reads libibverbs' entry; `None` for an empty one.
    pub(super) fn parse(entry: &ibv_gid_entry) -> Option<Self> {
        let gid = address(&entry.gid);
        let gid_type = match entry.gid_type {
            IBV_GID_TYPE_IB => GidType::InfiniBand,
            IBV_GID_TYPE_ROCE_V1 => GidType::RoceV1,
            _ => GidType::RoceV2,
        };
        (!gid.is_unspecified()).then_some(Self { index: entry.gid_index, gid, gid_type })
    }

    /// How good an automatic choice the entry is on a RoCE port.
    fn rank(&self) -> u32 {
        let protocol = if self.gid_type == GidType::RoceV2 { 3 } else { 0 };
        let scope = match GidScope::of(self.gid) {
            GidScope::Ipv4 => 2,
            GidScope::Global => 1,
            GidScope::LinkLocal => 0,
        };
        protocol + scope
    }

    /// Whether packets from this GID can reach a peer's over RoCE, or what to do.
    pub(super) fn reaches(&self, remote: Ipv6Addr) -> Result<(), &'static str> {
        if remote.is_unspecified() {
            return Err("the peer has no GID: give its port an IP address");
        }
        if GidScope::of(self.gid) == GidScope::of(remote) {
            return Ok(());
        }
        Err(match GidScope::of(remote) {
            GidScope::Ipv4 => {
                "the peer uses IPv4: give this port an IPv4 address, or choose one by --gid ADDRESS"
            }
            GidScope::LinkLocal => "the peer uses a link-local address: give its port a routable one",
            GidScope::Global => "the peer uses IPv6: choose an IPv6 address of this port by --gid ADDRESS",
        })
    }
}

/// The entry of `table` that `choice` names.
pub(super) fn choose(choice: GidChoice, link_layer: LinkLayer, table: &[GidEntry]) -> Option<GidEntry> {
    let best = |entries: &mut dyn Iterator<Item = &GidEntry>| match link_layer {
        LinkLayer::InfiniBand => entries.min_by_key(|entry| entry.index).copied(),
        LinkLayer::Ethernet => {
            entries.max_by_key(|entry| (entry.rank(), std::cmp::Reverse(entry.index))).copied()
        }
    };
    match choice {
        GidChoice::Auto => best(&mut table.iter()),
        GidChoice::Index(index) => table.iter().find(|entry| entry.index == index).copied(),
        GidChoice::Address(wanted) => {
            let wanted = match wanted {
                IpAddr::V4(wanted) => wanted.to_ipv6_mapped(),
                IpAddr::V6(wanted) => wanted,
            };
            best(&mut table.iter().filter(|entry| entry.gid == wanted))
        }
    }
}

/// The address in a C union.
#[expect(unsafe_code, reason = "a C union of two views of the same bytes")]
pub(super) fn address(gid: &ibv_gid) -> Ipv6Addr {
    // SAFETY: both members of the union are plain bytes of the same size.
    Ipv6Addr::from(unsafe { gid.raw })
}

/// The C union of an address.
pub(super) fn raw(gid: Ipv6Addr) -> ibv_gid {
    ibv_gid { raw: gid.octets() }
}
