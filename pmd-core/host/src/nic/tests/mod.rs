//! Choices and attributes, without a device.

mod attributes;
mod events;
mod gid;
mod text;

use std::net::Ipv6Addr;

use super::{GidEntry, GidType, LinkLayer, Port, PortState, device::Limits};

fn entry(index: u32, gid: &str, gid_type: GidType) -> GidEntry {
    GidEntry { index, gid: address(gid), gid_type }
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A RoCE port as ConnectX shows it: each address once for v1 and once for v2.
fn roce_table() -> Vec<GidEntry> {
    vec![
        entry(0, "fe80::1", GidType::RoceV1),
        entry(1, "fe80::1", GidType::RoceV2),
        entry(2, "::ffff:10.0.0.1", GidType::RoceV1),
        entry(3, "::ffff:10.0.0.1", GidType::RoceV2),
        entry(4, "2001:db8::1", GidType::RoceV1),
        entry(5, "2001:db8::1", GidType::RoceV2),
    ]
}

fn port(link_layer: LinkLayer) -> Port {
    let (lid, gids) = match link_layer {
        LinkLayer::Ethernet => (0, roce_table()),
        LinkLayer::InfiniBand => (17, vec![entry(0, "fe80::c42:a103:ab:cdef", GidType::InfiniBand)]),
    };
    Port { number: 1, state: PortState::Active, link_layer, lid, mtu: 4096, max_message: 1 << 30, gids }
}

fn limits() -> Limits {
    Limits {
        ports: 1,
        work_requests: 32_768,
        sges: 30,
        completions: 1 << 22,
        shared_receives: 32_767,
        shared_sges: 31,
        reads_served: 16,
        reads_started: 128,
    }
}
