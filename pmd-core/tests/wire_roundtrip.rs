//! Property: for each segment and each completion form `parse` after `emit` gives the same struct, whatever the
//! bytes held before, and no bytes make a parser panic.

use pmd_core::wire::doorbell::{self, Arm};
use pmd_core::wire::inline::{self, InlineHeader};
use pmd_core::wire::receive::{self, ReceiveSegments};
use pmd_core::wire::scatter::{payload, payload64};
use pmd_core::wire::{
    AddressVector, AtomicSegment, ControlFlags, ControlSegment, Cqe, Cqe64, Cqe128, Cqe128Dump, CqeDump,
    CqeView, DataSegment, ErrorCompletion, NextSegment, Opcode, ReceivePath, Received, RemoteSegment,
    RequesterCompletion, ResponderCompletion, Scatter, Side, Syndrome, cqe, ownership,
};
use proptest::array::{uniform6, uniform16, uniform32};
use proptest::collection::vec;
use proptest::prelude::*;

const NUMBER: core::ops::Range<u32> = 0..1 << 24;

fn opcode() -> impl Strategy<Value = Opcode> {
    prop::sample::select(&Opcode::ALL[..])
}

fn control() -> impl Strategy<Value = ControlSegment> {
    (opcode(), any::<u8>(), any::<u16>(), NUMBER, 1..=63u8, 0..16u8, any::<u32>()).prop_map(
        |(opcode, opmod, index, queue_pair, units, flags, immediate)| {
            let all = [
                ControlFlags::SOLICITED,
                ControlFlags::CQ_UPDATE,
                ControlFlags::SMALL_FENCE,
                ControlFlags::FENCE,
            ];
            let flags = (0..4).filter(|bit| flags >> bit & 1 == 1).map(|bit| all[bit]).collect();
            ControlSegment { opcode, opmod, index, queue_pair, units, flags, immediate }
        },
    )
}

fn data_segment() -> impl Strategy<Value = DataSegment> {
    (0..1u32 << 31, any::<u32>(), any::<u64>()).prop_map(|(length, lkey, address)| DataSegment {
        length,
        lkey,
        address,
    })
}

fn address_vector() -> impl Strategy<Value = AddressVector> {
    (
        (any::<u32>(), NUMBER, any::<bool>(), any::<u8>(), any::<u8>(), any::<u16>()),
        (uniform6(any::<u8>()), any::<u8>(), any::<u8>(), any::<u32>(), uniform16(any::<u8>())),
    )
        .prop_map(
            |(
                (queue_key, destination, extended, rate_service_level, path_bits, remote_lid),
                (remote_mac, traffic_class, hop_limit, route, remote_gid),
            )| AddressVector {
                queue_key,
                destination,
                extended,
                rate_service_level,
                path_bits,
                remote_lid,
                remote_mac,
                traffic_class,
                hop_limit,
                route,
                remote_gid,
            },
        )
}

fn scatter() -> impl Strategy<Value = Scatter> {
    prop_oneof![
        Just(Scatter::Memory),
        uniform32(any::<u8>()).prop_map(Scatter::InEntry),
        Just(Scatter::Preceding)
    ]
}

fn requester() -> impl Strategy<Value = RequesterCompletion> {
    (NUMBER, opcode(), any::<u16>(), any::<u32>(), any::<u64>(), scatter()).prop_map(
        |(queue_pair, operation, wqe_counter, byte_count, timestamp, scatter)| RequesterCompletion {
            queue_pair,
            operation,
            wqe_counter,
            byte_count,
            timestamp,
            scatter,
        },
    )
}

fn received() -> impl Strategy<Value = Received> {
    prop_oneof![
        any::<u32>().prop_map(Received::WriteImmediate),
        Just(Received::Send),
        any::<u32>().prop_map(Received::SendImmediate),
        any::<u32>().prop_map(Received::SendInvalidate),
    ]
}

fn path() -> impl Strategy<Value = ReceivePath> {
    (NUMBER, 0..16u8, 0..4u8, any::<u16>(), any::<u8>()).prop_map(
        |(source_queue_pair, service_level, global_route, source_lid, path_bits)| ReceivePath {
            source_queue_pair,
            service_level,
            global_route,
            source_lid,
            path_bits,
        },
    )
}

fn responder() -> impl Strategy<Value = ResponderCompletion> {
    (
        (received(), NUMBER, path(), any::<u32>()),
        (any::<u32>(), any::<u16>(), any::<bool>(), any::<u64>(), scatter()),
    )
        .prop_map(
            |(
                (received, queue_pair, path, shared_receive_queue),
                (byte_count, wqe_counter, solicited, timestamp, scatter),
            )| {
                // Payload in the entry lies where the path would.
                let path = if matches!(scatter, Scatter::InEntry(_)) { ReceivePath::default() } else { path };
                ResponderCompletion {
                    received,
                    queue_pair,
                    path,
                    shared_receive_queue,
                    byte_count,
                    wqe_counter,
                    solicited,
                    timestamp,
                    scatter,
                }
            },
        )
}

fn error() -> impl Strategy<Value = ErrorCompletion> {
    let side = prop_oneof![Just(Side::Requester), Just(Side::Responder)];
    (side, NUMBER, any::<u8>(), any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()).prop_map(
        |(side, queue_pair, operation, wqe_counter, syndrome, vendor, shared_receive_queue)| {
            ErrorCompletion {
                side,
                queue_pair,
                operation,
                wqe_counter,
                syndrome: Syndrome::from_byte(syndrome),
                vendor,
                shared_receive_queue,
            }
        },
    )
}

fn completion() -> impl Strategy<Value = Cqe> {
    prop_oneof![
        requester().prop_map(Cqe::Requester),
        responder().prop_map(Cqe::Responder),
        error().prop_map(Cqe::Error)
    ]
}

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

proptest! {
    #[test]
    fn control_segments(segment in control(), mut out in bytes::<16>()) {
        segment.emit(&mut out);
        prop_assert_eq!(ControlSegment::parse(&out), Ok(segment));
        prop_assert_eq!(ControlSegment::parse_strict(&out), Ok(segment));
        prop_assert_eq!(segment.to_bytes(), out);
        prop_assert_eq!(&doorbell::send_register(&out).to_ne_bytes()[..], &out[..8]);
    }

    #[test]
    fn any_control_bytes_that_parse_strictly_come_back(opcode in opcode(), mut raw in bytes::<16>()) {
        raw[3] = opcode as u8;
        raw[8..11].fill(0);
        if let Ok(segment) = ControlSegment::parse_strict(&raw) {
            prop_assert_eq!(segment.to_bytes(), raw);
        }
    }

    #[test]
    fn remote_and_atomic_segments(a in any::<u64>(), b in any::<u64>(), rkey in any::<u32>(), mut out in bytes::<16>()) {
        let remote = RemoteSegment { address: a, rkey };
        remote.emit(&mut out);
        prop_assert_eq!(RemoteSegment::parse_strict(&out), Ok(remote));
        let atomic = AtomicSegment { swap_or_add: a, compare: b };
        atomic.emit(&mut out);
        prop_assert_eq!(AtomicSegment::parse(&out), atomic);
    }

    #[test]
    fn data_and_next_segments(segment in data_segment(), next_index in any::<u16>(), mut out in bytes::<16>()) {
        segment.emit(&mut out);
        prop_assert_eq!(DataSegment::parse(&out), segment);
        prop_assert!(!inline::is_inline(&out));
        let next = NextSegment { next_index };
        next.emit(&mut out);
        prop_assert_eq!(NextSegment::parse_strict(&out), Ok(next));
    }

    #[test]
    fn inline_headers(length in 0..1u32 << 31, mut out in bytes::<16>()) {
        InlineHeader { length }.emit(out.first_chunk_mut().unwrap());
        prop_assert_eq!(InlineHeader::parse(out.first_chunk().unwrap()), Ok(InlineHeader { length }));
        prop_assert!(inline::is_inline(&out));
        prop_assert_eq!(inline::units(length as usize), (length as usize + 19) >> 4);
    }

    #[test]
    fn address_vectors(vector in address_vector(), mut out in bytes::<48>()) {
        vector.emit(&mut out);
        prop_assert_eq!(AddressVector::parse(&out), vector);
        prop_assert_eq!(AddressVector::parse_strict(&out), Ok(vector));
    }

    #[test]
    fn receive_slots(segments in vec(data_segment(), 0..6), room in 0usize..4, garbage in bytes::<16>()) {
        let segments: Vec<_> = segments.into_iter().filter(|segment| !segment.is_terminator()).collect();
        let mut slot = vec![garbage; segments.len() + room];
        receive::emit(&segments, &mut slot);
        let parsed: Vec<_> = ReceiveSegments::new(slot.as_flattened()).collect();
        prop_assert_eq!(parsed, segments);
    }

    #[test]
    fn completions(cqe in completion(), owner in any::<bool>(), mut out in bytes::<64>()) {
        cqe.emit_cqe64(owner, &mut out);
        prop_assert_eq!(Cqe::parse(&out), Ok(cqe));
        prop_assert_eq!(out[cqe::OP_OWN] & 1, u8::from(owner));
        let count = 16u32;
        prop_assert_eq!(ownership(out[cqe::OP_OWN], 0, count), !owner);
        prop_assert_eq!(ownership(out[cqe::OP_OWN], count, count), owner);
    }

    #[test]
    fn views_agree_with_completions(completion in responder(), mut out in bytes::<64>()) {
        Cqe::Responder(completion).emit_cqe64(true, &mut out);
        let view = CqeView(&out);
        prop_assert_eq!(view.queue_pair(), completion.queue_pair);
        prop_assert_eq!(view.wqe_counter(), completion.wqe_counter);
        prop_assert_eq!(view.byte_count(), completion.byte_count);
        prop_assert_eq!(view.solicited(), completion.solicited);
        prop_assert_eq!(view.timestamp(), completion.timestamp);
        prop_assert_eq!(view.shared_receive_queue(), completion.shared_receive_queue);
        prop_assert!(!view.is_requester());
    }

    #[test]
    fn payload_in_wide_entries(cqe in responder(), preceding in bytes::<64>(), mut out in bytes::<64>()) {
        let mut wide: Cqe128 = [out; 2];
        Cqe::Responder(cqe).emit_cqe128(false, &preceding, &mut wide);
        Cqe::Responder(cqe).emit_cqe64(false, &mut out);
        prop_assert_eq!(wide, [preceding, out]);
        let count = cqe.byte_count as usize;
        let expected = match &cqe.scatter {
            Scatter::Memory => None,
            Scatter::InEntry(payload) => Some(&payload[..count.min(32)]),
            Scatter::Preceding => Some(&preceding[..count.min(64)]),
        };
        prop_assert_eq!(payload(&wide, cqe.byte_count), expected);
    }

    #[test]
    fn arm_words(sequence in 0..4u8, solicited_only in any::<bool>(), consumer_index in NUMBER, number in NUMBER) {
        let arm = Arm { sequence, solicited_only, consumer_index, completion_queue: number };
        prop_assert_eq!(Arm::parse_register(arm.register()), arm);
        prop_assert_eq!(&arm.record().to_ne_bytes()[..], &arm.register().to_ne_bytes()[..4]);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(unit in bytes::<16>(), vector in bytes::<48>(), mut wide in bytes::<64>(), count in any::<u32>()) {
        let _ = ControlSegment::parse_strict(&unit);
        let _ = RemoteSegment::parse_strict(&unit);
        let _ = NextSegment::parse_strict(&unit);
        let _ = AddressVector::parse_strict(&vector);
        let _ = ReceiveSegments::new(&wide).count();
        for op_own in 0..=u8::MAX {
            wide[cqe::OP_OWN] = op_own;
            entry_is_survived(&wide, count);
        }
    }
}

/// Runs everything that reads a completion entry over `entry`.
fn entry_is_survived(entry: &Cqe64, count: u32) {
    let wide = [*entry; 2];
    let _ = payload64(entry, count);
    let _ = payload(&wide, count);
    let _ = CqeDump(entry).to_string();
    let _ = Cqe128Dump(&wide).to_string();
    if let Ok(parsed) = Cqe::parse(entry) {
        let mut again = [0; 64];
        parsed.emit_cqe64(entry[cqe::OP_OWN] & 1 == 1, &mut again);
        assert_eq!(Cqe::parse(&again), Ok(parsed));
    }
}

#[test]
fn strict_parsers_refuse_each_reserved_byte() {
    let control = ControlSegment {
        opcode: Opcode::Send,
        opmod: 0,
        index: 0,
        queue_pair: 0,
        units: 1,
        flags: ControlFlags::empty(),
        immediate: 0,
    };
    for (at, value) in [(8, 1), (9, 1), (10, 1), (11, 0x01), (11, 0x04), (11, 0x40)] {
        let mut bytes = control.to_bytes();
        bytes[at] |= value;
        assert!(ControlSegment::parse(&bytes).is_ok());
        assert!(ControlSegment::parse_strict(&bytes).is_err(), "byte {at} value {value:#x}");
    }
    for at in 12..16 {
        let mut bytes = [0; 16];
        bytes[at] = 1;
        assert!(RemoteSegment::parse_strict(&bytes).is_err(), "remote byte {at}");
    }
    for at in (0..2).chain(4..16) {
        let mut bytes = [0; 16];
        bytes[at] = 1;
        assert!(NextSegment::parse_strict(&bytes).is_err(), "next byte {at}");
    }
    for (at, value) in (4..8).chain(16..20).map(|at| (at, 1)).chain([(8, 0x40)]) {
        let mut bytes = [0; 48];
        bytes[at] = value;
        assert!(AddressVector::parse_strict(&bytes).is_err(), "address vector byte {at}");
    }
}
