//! Emit and parse are inverse; whatever else arrives is an error, not a panic.
use proptest::prelude::*;

use super::*;

const KINDS: [Kind; 10] = [
    Kind::Send,
    Kind::Write,
    Kind::Read,
    Kind::CompareSwap,
    Kind::FetchAdd,
    Kind::Fatal,
    Kind::ReadResponse,
    Kind::AtomicResponse,
    Kind::Nak,
    Kind::ReceiverNotReady,
];

prop_compose! {
    fn headers()(
        kind in prop::sample::select(&KINDS[..]),
        flags in 0..32u8,
        detail: u16,
        acknowledged: u32,
        word: u32,
        length in 64..u32::MAX,
    ) -> Header {
        Header { kind, flags: PacketFlags::from_bits_truncate(flags), detail, acknowledged, word, length }
    }
}

fn takes_payload(header: &Header) -> bool {
    match header.kind {
        Kind::Write => !header.flags.contains(PacketFlags::PLACED),
        Kind::Send | Kind::ReadResponse => true,
        _ => false,
    }
}

proptest! {
    #[test]
    fn emitted_packets_parse_to_themselves(
        header in headers(), address: u64, rkey: u32, swap_or_add: u64, compare: u64, payload in 0..=40usize,
    ) {
        let remote = RemoteHeader { address, rkey };
        let operands = Operands { swap_or_add, compare };
        let mut head = [0; LONGEST_HEAD];
        head[..HEADER].copy_from_slice(&header.to_bytes());
        let atomic = matches!(header.kind, Kind::CompareSwap | Kind::FetchAdd);
        let one_sided = atomic
            || header.kind == Kind::Read
            || header.kind == Kind::Write && header.flags.contains(PacketFlags::FIRST);
        if one_sided {
            head[HEADER..HEADER + REMOTE].copy_from_slice(&remote.to_bytes());
        }
        if atomic {
            head[HEADER + REMOTE..].copy_from_slice(&operands.to_bytes());
        }
        if header.kind == Kind::AtomicResponse {
            head[HEADER..HEADER + 8].copy_from_slice(&swap_or_add.to_le_bytes());
        }
        let payload = if takes_payload(&header) { payload } else { 0 };
        let parsed = Packet::parse(&head, header.head_length() + payload).unwrap();
        prop_assert_eq!(parsed.header, header);
        prop_assert_eq!(parsed.remote, if one_sided { remote } else { RemoteHeader::default() });
        if atomic {
            prop_assert_eq!(parsed.operands, operands);
        }
        if header.kind == Kind::AtomicResponse {
            prop_assert_eq!(parsed.operands.swap_or_add, swap_or_add);
        }
        prop_assert_eq!(parsed.payload_length, payload);
    }

    #[test]
    fn any_bytes_give_a_packet_or_an_error(head in prop::array::uniform32(any::<u8>()), length in 0..200usize) {
        let mut bytes = [0; LONGEST_HEAD];
        bytes[..32].copy_from_slice(&head);
        if let Ok(packet) = Packet::parse(&bytes, length) {
            prop_assert_eq!(packet.payload + packet.payload_length, length);
        }
    }
}

#[test]
fn a_send_of_44_bytes_fits_one_line() {
    assert_eq!(HEADER + 44, pmd_core::ring::packet::SMALL_BODY);
}

#[test]
fn what_cannot_be_is_refused() {
    let header = |kind: Kind, flags: PacketFlags, length: u32| {
        let mut head = [0; LONGEST_HEAD];
        let header = Header { kind, flags, detail: 0, acknowledged: 0, word: 0, length };
        head[..HEADER].copy_from_slice(&header.to_bytes());
        head
    };
    let parse = |head, length| Packet::parse(&head, length);
    assert_eq!(parse([0xff; LONGEST_HEAD], 48), Err(PacketError::Kind(0xff)));
    assert_eq!(parse([0; LONGEST_HEAD], 7), Err(PacketError::Short { needed: HEADER, length: 7 }));
    let read = header(Kind::Read, PacketFlags::ONLY, 10);
    assert_eq!(parse(read, 20), Err(PacketError::Short { needed: 32, length: 20 }));
    let send = header(Kind::Send, PacketFlags::ONLY, 4);
    assert_eq!(parse(send, 21), Err(PacketError::Long { kind: Kind::Send, payload: 5, limit: 4 }));
    let placed = header(Kind::Write, PacketFlags::ONLY | PacketFlags::PLACED, 99);
    assert_eq!(parse(placed, 33), Err(PacketError::Long { kind: Kind::Write, payload: 1, limit: 0 }));
    let mut flags = header(Kind::Send, PacketFlags::ONLY, 4);
    flags[1] = 0x80;
    assert_eq!(parse(flags, 20), Err(PacketError::Flags { kind: Kind::Send, flags: 0x80 }));
}
