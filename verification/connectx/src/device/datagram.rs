//! Unreliable datagrams: each SEND names its receiver, and whatever is wrong with that is silence.
//!
//! Called by `requester`. InfiniBand specification 9.8.3; the 40 bytes before the payload are those of its global
//! route header (8.3), or, on RoCE v2 over IPv4, an IPv4 header in their second half (annex A17.4.5.2).

use pmd_core::{
    memory::Access,
    wire::{AddressVector, ControlSegment, DataItems, ReceivePath, Received, SendExtra, Syndrome},
};

use super::{
    gather,
    receives::Undelivered,
    requester::message,
    responder::{Stop, takes_packets},
    turn::Turn,
};
use crate::{
    config::Link,
    port::Port,
    state::{QueuePair, QueuePairKind},
};

/// Bytes in front of the payload.
const HEADER: usize = 40;
/// Longest payload: the port's MTU.
const LONGEST: u64 = 4096;
/// The bit of an address vector's route that says that there is a global route.
const GLOBAL: u32 = 1 << 30;
/// A Q_Key with this bit stands for the sender's own.
const CONTROLLED: u32 = 1 << 31;

impl Turn<'_> {
    /// Executes a SEND of a datagram queue pair. It is done when the packet has left.
    pub(super) fn send_datagram(
        &mut self,
        queue_pair: &QueuePair,
        control: &ControlSegment,
        extra: SendExtra,
        address: &AddressVector,
        data: &DataItems<'_>,
    ) -> Result<(), Stop> {
        let payload = self.local(queue_pair, data, Access::empty())?;
        let length = gather::total(&payload);
        if length > LONGEST {
            return Err(Stop::Failed(Syndrome::LocalLength));
        }
        let Some(receiver) = self.receiver(queue_pair, address) else { return Ok(()) };
        let received = match extra {
            SendExtra::Immediate(immediate) => Received::SendImmediate(immediate),
            SendExtra::None | SendExtra::Invalidate(_) => Received::Send,
        };
        let header = header(&self.device.port, address, length as u16);
        let whole: Vec<_> = [gather::own_bytes(&header)].into_iter().chain(payload).collect();
        let mut message = message(queue_pair, control, received, &whole);
        message.path = self.source(queue_pair, address);
        match self.deliver(&receiver, &message) {
            Ok(()) | Err(Undelivered::NotReady | Undelivered::Gone) => Ok(()),
            Err(Undelivered::SenderFault) => Err(Stop::Failed(Syndrome::LocalProtection)),
            Err(Undelivered::Failed(_)) => {
                self.enter_error(receiver.number);
                Ok(())
            }
        }
    }

    /// Who takes the datagram; nobody where anything of the address is wrong.
    fn receiver(&self, sender: &QueuePair, address: &AddressVector) -> Option<QueuePair> {
        let receiver = *self.tables.queue_pairs.find(address.destination)?;
        let key = if address.queue_key & CONTROLLED != 0 { sender.path.q_key } else { address.queue_key };
        let fits = receiver.kind == QueuePairKind::Datagram && receiver.path.q_key == key;
        let arrives = self.leads_here(address.remote_lid, &address.remote_gid) && !self.tables.link_down;
        (fits && arrives && takes_packets(&receiver)).then_some(receiver)
    }

    fn source(&self, sender: &QueuePair, address: &AddressVector) -> ReceivePath {
        let is_global = address.route & GLOBAL != 0 || self.device.port.link == Link::Ethernet;
        ReceivePath {
            source_queue_pair: sender.number,
            service_level: address.rate_service_level & 0xf,
            global_route: u8::from(is_global),
            source_lid: self.device.port.lid,
            path_bits: address.path_bits & 0x7f,
        }
    }

    /// Whether a path ends at the one port there is.
    pub(super) fn leads_here(&self, lid: u16, gid: &[u8; 16]) -> bool {
        let port = &self.device.port;
        match port.link {
            Link::InfiniBand => lid == port.lid,
            Link::Ethernet => port.gids.iter().any(|own| own.raw == *gid),
        }
    }
}

/// What arrives before the payload; zeros where there is no global route.
fn header(port: &Port, address: &AddressVector, length: u16) -> [u8; HEADER] {
    let index = (address.route >> 20) as usize & 0xff;
    let Some(source) = port.gids.get(index) else { return [0; HEADER] };
    match (port.link, source.raw[..12] == IPV4_MAPPED) {
        (Link::InfiniBand, _) if address.route & GLOBAL == 0 => [0; HEADER],
        (Link::Ethernet, true) => ipv4(address, &source.raw, length),
        _ => global(address, &source.raw, length),
    }
}

/// First bytes of a GID that is an IPv4 address.
const IPV4_MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The global route header.
fn global(address: &AddressVector, source: &[u8; 16], length: u16) -> [u8; HEADER] {
    /// IBA transport follows.
    const NEXT: u8 = 0x1b;
    let mut header = [0; HEADER];
    let first = 6 << 28 | u32::from(address.traffic_class) << 20 | address.route & 0xf_ffff;
    header[..4].copy_from_slice(&first.to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    (header[6], header[7]) = (NEXT, address.hop_limit);
    header[8..24].copy_from_slice(source);
    header[24..].copy_from_slice(&address.remote_gid);
    header
}

/// An IPv4 header in the last twenty bytes.
fn ipv4(address: &AddressVector, source: &[u8; 16], length: u16) -> [u8; HEADER] {
    const UDP: u8 = 17;
    let mut header = [0; HEADER];
    let ip = &mut header[20..];
    (ip[0], ip[1]) = (0x45, address.traffic_class);
    ip[2..4].copy_from_slice(&(length + 20).to_be_bytes());
    (ip[8], ip[9]) = (address.hop_limit, UDP);
    ip[12..16].copy_from_slice(&source[12..]);
    ip[16..20].copy_from_slice(&address.remote_gid[12..]);
    let sum = checksum(ip);
    header[30..32].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Of an IPv4 header whose checksum field is zero (RFC 791).
fn checksum(header: &[u8]) -> u16 {
    let (words, _) = header.as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}
