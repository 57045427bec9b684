use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::{Address, AddressError, LENGTH};

/// What ibv_rc_pingpong of rdma-core 44 sent for a queue pair whose numbers it also printed.
const SENT: &[u8; LENGTH] = b"0001:000401:9a3bb5:fe800000000000000c42a10300abcdef\0";

#[test]
fn an_address_is_read_as_it_was_printed() {
    let address = Address::parse(SENT).unwrap();
    let gid: Ipv6Addr = "fe80::c42:a103:ab:cdef".parse().unwrap();
    assert_eq!(address, Address { lid: 1, queue_pair: 0x401, packet_sequence: 0x009a_3bb5, gid });
    assert_eq!(address.emit(), *SENT);
    assert_eq!(address.to_string(), "LID 0x0001, QPN 0x000401, PSN 0x9a3bb5, GID fe80::c42:a103:ab:cdef");
}

#[test]
fn what_is_no_address_is_refused() {
    let with = |offset: usize, byte| {
        let mut bytes = *SENT;
        bytes[offset] = byte;
        Address::parse(&bytes)
    };
    for offset in 0..LENGTH - 1 {
        assert_eq!(with(offset, b'x'), Err(AddressError::Digit { offset, found: b'x' }));
        assert_eq!(with(offset, 0), Err(AddressError::Digit { offset, found: 0 }));
    }
    assert_eq!(with(LENGTH - 1, b'0'), Err(AddressError::Unterminated));
    assert_eq!(with(4, b'0'), Err(AddressError::Digit { offset: 4, found: b'0' }));
}

proptest! {
    #[test]
    fn addresses_come_back(lid: u16, queue_pair in 0u32..1 << 24, packet_sequence in 0u32..1 << 24, gid: u128) {
        let address = Address { lid, queue_pair, packet_sequence, gid: Ipv6Addr::from_bits(gid) };
        prop_assert_eq!(Address::parse(&address.emit()), Ok(address));
    }

    #[test]
    fn no_bytes_panic(bytes: [u8; LENGTH - 20], tail: [u8; 20]) {
        let mut all = [0; LENGTH];
        all[..LENGTH - 20].copy_from_slice(&bytes);
        all[LENGTH - 20..].copy_from_slice(&tail);
        let _ = Address::parse(&all);
    }
}
