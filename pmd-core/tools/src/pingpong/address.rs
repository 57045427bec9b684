//! The address that ibv_rc_pingpong sends to its peer: one text of fixed width.
//!
//! `LID:QPN:PSN:GID` in lower-case hexadecimal, 4, 6, 6 and 32 digits, ended by a zero byte. The GID is written as
//! four 32-bit words in network order, which is the order of its bytes. rdma-core libibverbs/examples/rc_pingpong.c
//! and pingpong.c (`gid_to_wire_gid`).

use std::net::Ipv6Addr;

use pmd_host::backend::FabricAddress;
use thiserror::Error;

/// Bytes of an address on the wire, with the zero byte at its end.
pub(super) const LENGTH: usize = 4 + 1 + 6 + 1 + 6 + 1 + 32 + 1;

/// What a peer of ibv_rc_pingpong must know of the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Local identifier; 0 on Ethernet.
    pub(super) lid: u16,
    /// Queue pair number, 24 bits.
    pub(super) queue_pair: u32,
    /// First packet sequence number, 24 bits.
    pub(super) packet_sequence: u32,
    /// Global identifier; all zero where packets go by LID.
    pub(super) gid: Ipv6Addr,
}

/// Bytes that are no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    /// A digit that is none, or something else than `:` between numbers.
    #[error("byte {offset} of the peer's address is {found:#04x}: it is no ibv_rc_pingpong")]
    Digit { offset: usize, found: u8 },
    /// The zero byte at the end is missing.
    #[error("the peer's address does not end: it is no ibv_rc_pingpong")]
    Unterminated,
}

impl Address {
    /// The address as it is sent.
    pub(super) fn emit(&self) -> [u8; LENGTH] {
        let Self { lid, queue_pair, packet_sequence, gid } = self;
        let gid = gid.to_bits();
        let mut bytes = [0; LENGTH];
        let text = format!("{lid:04x}:{queue_pair:06x}:{packet_sequence:06x}:{gid:032x}");
        bytes.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// Reads an address that was received.
    ///
    /// # Errors
    /// [`AddressError`] for anything that [`Address::emit`] does not give, except for the case of digits.
    pub(super) fn parse(bytes: &[u8; LENGTH]) -> Result<Self, AddressError> {
        let mut text = Text { bytes, offset: 0 };
        let lid = text.number(4)? as u16;
        let queue_pair = text.then(b':')?.number(6)? as u32;
        let packet_sequence = text.then(b':')?.number(6)? as u32;
        let gid = Ipv6Addr::from_bits(text.then(b':')?.number(32)?);
        match text.next() {
            (_, 0) => Ok(Self { lid, queue_pair, packet_sequence, gid }),
            _ => Err(AddressError::Unterminated),
        }
    }

    /// The address of a queue pair of this process; without its GID where packets go by LID.
    pub(super) fn of(queue_pair: &FabricAddress, with_gid: bool) -> Self {
        Self {
            lid: queue_pair.lid,
            queue_pair: queue_pair.queue_pair,
            packet_sequence: queue_pair.packet_sequence,
            gid: if with_gid { queue_pair.gid } else { Ipv6Addr::UNSPECIFIED },
        }
    }

    /// What a back end connects to. Peers do not tell their MTU: both are started with the same.
    pub(super) fn fabric(&self, mtu: u16) -> FabricAddress {
        let Self { lid, queue_pair, packet_sequence, gid } = *self;
        FabricAddress { queue_pair, packet_sequence, lid, gid, mtu }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { lid, queue_pair, packet_sequence, gid } = self;
        write!(formatter, "LID {lid:#06x}, QPN {queue_pair:#08x}, PSN {packet_sequence:#08x}, GID {gid}")
    }
}

/// A text that is being read.
struct Text<'a> {
    bytes: &'a [u8; LENGTH],
    offset: usize,
}

impl Text<'_> {
    /// The next byte and where it is; zero behind the end.
    fn next(&mut self) -> (usize, u8) {
        let offset = self.offset;
        self.offset += 1;
        (offset, self.bytes.get(offset).copied().unwrap_or(0))
    }

    fn then(&mut self, wanted: u8) -> Result<&mut Self, AddressError> {
        match self.next() {
            (_, found) if found == wanted => Ok(self),
            (offset, found) => Err(AddressError::Digit { offset, found }),
        }
    }

    fn number(&mut self, digits: usize) -> Result<u128, AddressError> {
        let mut number = 0;
        for _ in 0..digits {
            let (offset, found) = self.next();
            let digit = char::from(found).to_digit(16).ok_or(AddressError::Digit { offset, found })?;
            number = number << 4 | u128::from(digit);
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests;
