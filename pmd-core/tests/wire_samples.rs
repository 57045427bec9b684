//! Known answers: bytes that libmlx5's own encoder writes for three work requests, and the fixed values of
//! completions, doorbells and opcodes.

use pmd_core::wire::doorbell::{self, Arm};
use pmd_core::wire::inline::InlineHeader;
use pmd_core::wire::{
    AtomicSegment, ControlFlags, ControlSegment, Cqe, CqeOpcode, CqeView, DataItem, DataSegment,
    ErrorCompletion, Opcode, Operation, RemoteSegment, SendWqe, Service, Side, Syndrome, WireError, cqe,
    ownership,
};

/// A queue of four blocks with `words` (big-endian) from block `index` on.
fn queue(index: usize, words: &[u32]) -> [u8; 256] {
    let mut bytes = [0; 256];
    for (position, word) in words.iter().enumerate() {
        let at = (index * 64 + position * 4) % 256;
        bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

const QUEUE_PAIR: u32 = 0x00ab_cdef;
const REMOTE: RemoteSegment = RemoteSegment { address: 0x7fff_dead_beef_0000, rkey: 0x00be_ef07 };
const REMOTE_WORDS: [u32; 4] = [0x7fff_dead, 0xbeef_0000, 0x00be_ef07, 0];

fn unit(bytes: &mut [u8], number: usize) -> &mut [u8; 16] {
    &mut bytes.as_chunks_mut::<16>().0[number]
}

#[test]
fn write_has_the_bytes_of_libmlx5() {
    let words = [
        &[0x0000_0008, 0xabcd_ef03, 0x0000_0008, 0x0000_0000][..],
        &REMOTE_WORDS,
        &[0x0000_1000, 0x00ca_fe01, 0x1122_3344, 0x5566_7788],
    ]
    .concat();
    let expected = queue(0, &words);
    let control = ControlSegment {
        opcode: Opcode::RdmaWrite,
        opmod: 0,
        index: 0,
        queue_pair: QUEUE_PAIR,
        units: 3,
        flags: ControlFlags::CQ_UPDATE,
        immediate: 0,
    };
    let data = DataSegment { length: 0x1000, lkey: 0x00ca_fe01, address: 0x1122_3344_5566_7788 };

    let mut bytes = [0; 256];
    control.emit(unit(&mut bytes, 0));
    REMOTE.emit(unit(&mut bytes, 1));
    data.emit(unit(&mut bytes, 2));
    assert_eq!(bytes, expected);

    let parsed = SendWqe::parse_strict(&bytes, 0, Service::Connected).unwrap();
    assert_eq!(parsed.control, control);
    let Operation::Write { remote, immediate: None, data: items } = parsed.operation else {
        panic!("not a plain write: {:?}", parsed.operation)
    };
    assert_eq!(remote, REMOTE);
    assert_eq!(items.collect::<Vec<_>>(), [DataItem::Memory(data)]);
}

#[test]
fn inline_write_with_immediate_has_the_bytes_of_libmlx5() {
    let payload: Vec<u8> = (1..=25).collect();
    let mut expected =
        queue(1, &[&[0x0000_0109, 0xabcd_ef04, 0x0000_008a, 0x0102_0304][..], &REMOTE_WORDS].concat());
    expected[64 + 32..64 + 36].copy_from_slice(&0x8000_0019_u32.to_be_bytes());
    expected[64 + 36..64 + 61].copy_from_slice(&payload);

    let control = ControlSegment {
        opcode: Opcode::RdmaWriteImmediate,
        opmod: 0,
        index: 1,
        queue_pair: QUEUE_PAIR,
        units: 4,
        flags: ControlFlags::CQ_UPDATE | ControlFlags::SOLICITED | ControlFlags::FENCE,
        immediate: 0x0102_0304,
    };
    let mut bytes = [0; 256];
    control.emit(unit(&mut bytes, 4));
    REMOTE.emit(unit(&mut bytes, 5));
    InlineHeader { length: 25 }.emit(bytes[96..].first_chunk_mut().unwrap());
    bytes[100..125].copy_from_slice(&payload);
    assert_eq!(bytes, expected);

    let parsed = SendWqe::parse_strict(&bytes, 1, Service::Connected).unwrap();
    assert_eq!(parsed.control, control);
    assert_eq!(parsed.data_length(), 25);
    let Operation::Write { immediate: Some(0x0102_0304), data, .. } = parsed.operation else {
        panic!("not a write with its immediate: {:?}", parsed.operation)
    };
    assert_eq!(data.collect::<Vec<_>>(), [DataItem::Inline(&payload, &[])]);
}

#[test]
fn compare_and_swap_has_the_bytes_of_libmlx5() {
    let words = [
        &[0x0000_0211, 0xabcd_ef04, 0x0000_0008, 0x0000_0000][..],
        &REMOTE_WORDS,
        &[0, 0x2222, 0, 0x1111],
        &[0x0000_0008, 0x00ca_fe01, 0x1122_3344, 0x5566_7788],
    ]
    .concat();
    let bytes = queue(2, &words);
    let parsed = SendWqe::parse_strict(&bytes, 2, Service::Connected).unwrap();
    assert_eq!((parsed.control.index, parsed.control.units, parsed.basic_blocks()), (2, 4, 1));
    let Operation::CompareAndSwap { remote, operands, result } = parsed.operation else {
        panic!("not a compare-and-swap: {:?}", parsed.operation)
    };
    assert_eq!(remote, REMOTE);
    assert_eq!(operands, AtomicSegment { swap_or_add: 0x2222, compare: 0x1111 });
    assert_eq!(result, DataSegment { length: 8, lkey: 0x00ca_fe01, address: 0x1122_3344_5566_7788 });

    let mut emitted = [0; 256];
    parsed.control.emit(unit(&mut emitted, 8));
    remote.emit(unit(&mut emitted, 9));
    operands.emit(unit(&mut emitted, 10));
    result.emit(unit(&mut emitted, 11));
    assert_eq!(emitted, bytes);
}

#[test]
fn terminator_is_the_invalid_key() {
    let mut bytes = [0xff; 16];
    DataSegment::TERMINATOR.emit(&mut bytes);
    assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn doorbell_words_lie_big_endian_in_memory() {
    assert_eq!(doorbell::send_record(0x0001_0203).to_ne_bytes(), [0, 0, 2, 3]);
    assert_eq!(doorbell::receive_record(0xffff_0405).to_ne_bytes(), [0, 0, 4, 5]);
    assert_eq!(doorbell::consumer_record(0x0102_0304).to_ne_bytes(), [0, 2, 3, 4]);
    assert_eq!(doorbell::record_value(doorbell::send_record(0x0001_0203)), 0x0203);
    let arm = Arm { sequence: 7, solicited_only: true, consumer_index: 0xff12_3456, completion_queue: 0x42 };
    assert_eq!(arm.record().to_ne_bytes(), [0x31, 0x12, 0x34, 0x56]);
    assert_eq!(arm.register().to_ne_bytes(), [0x31, 0x12, 0x34, 0x56, 0, 0, 0, 0x42]);
    let any = Arm { sequence: 2, solicited_only: false, consumer_index: 9, completion_queue: 0x42 };
    assert_eq!(any.record().to_ne_bytes(), [0x20, 0, 0, 9]);
    assert_eq!(Arm::parse_register(any.register()), any);
}

#[test]
fn send_doorbell_repeats_the_control_segment() {
    let control: [u8; 16] = core::array::from_fn(|at| at as u8);
    assert_eq!(doorbell::send_register(&control).to_ne_bytes(), control[..8]);
}

#[test]
fn ownership_flips_at_every_wrap_and_never_takes_an_unwritten_entry() {
    for index in 0..64u32 {
        let owner = index / 16 % 2 == 1;
        let op_own = cqe::op_own(CqeOpcode::Requester, 0, false, owner);
        assert_eq!(cqe::owner_bit(index, 16), owner);
        assert!(ownership(op_own, index, 16));
        assert!(!ownership(op_own ^ 1, index, 16));
        assert!(!ownership(cqe::OP_OWN_INITIAL, index, 16));
        assert!(!ownership(cqe::OP_OWN_INITIAL | 1, index, 16));
    }
    assert_eq!(cqe::OP_OWN_INITIAL, 0xf0);
}

#[test]
fn error_entry_has_vendor_syndrome_opcode_and_counter_in_place() {
    let completion = ErrorCompletion {
        side: Side::Requester,
        queue_pair: QUEUE_PAIR,
        operation: Opcode::RdmaWrite as u8,
        wqe_counter: 0x0102,
        syndrome: Syndrome::RemoteAccess,
        vendor: 0x88,
        shared_receive_queue: 0x0a0b_0c0d,
    };
    let mut bytes = [0xff; 64];
    Cqe::Error(completion).emit_cqe64(true, &mut bytes);
    let mut expected = [0; 64];
    expected[32..36].copy_from_slice(&[0x0a, 0x0b, 0x0c, 0x0d]);
    expected[54..64].copy_from_slice(&[0x88, 0x13, 0x08, 0xab, 0xcd, 0xef, 0x01, 0x02, 0x00, 0xd1]);
    assert_eq!(bytes, expected);
    assert_eq!(CqeView(&bytes).syndrome(), Syndrome::RemoteAccess);
}

#[test]
fn syndromes_have_the_values_of_the_manual() {
    let values = [0x01, 0x02, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x22];
    assert_eq!(Syndrome::ALL.map(Syndrome::to_byte), values);
    for byte in 0..=u8::MAX {
        let syndrome = Syndrome::from_byte(byte);
        assert_eq!(syndrome.to_byte(), byte);
        assert_eq!(matches!(syndrome, Syndrome::Unknown(_)), !values.contains(&byte));
        assert!(syndrome.to_string().ends_with(&format!("(syndrome {byte:#04x})")));
    }
}

#[test]
fn opcodes_have_the_values_of_the_manual() {
    let values = [0x00, 0x01, 0x08, 0x09, 0x0a, 0x0b, 0x0e, 0x10, 0x11, 0x12, 0x14, 0x15, 0x25];
    assert_eq!(Opcode::ALL.map(|opcode| opcode as u8), values);
    for byte in 0..=u8::MAX {
        match Opcode::from_byte(byte) {
            Ok(opcode) => assert_eq!(opcode as u8, byte),
            Err(error) => assert_eq!(error, WireError::UnknownOpcode(byte)),
        }
        assert_eq!(Opcode::from_byte(byte).is_ok(), values.contains(&byte));
        match CqeOpcode::from_op_own(byte) {
            Ok(opcode) => assert_eq!(opcode as u8, byte >> 4),
            Err(error) => assert_eq!(error, WireError::UnknownCqeOpcode(byte >> 4)),
        }
        assert_eq!(
            CqeOpcode::from_op_own(byte).is_ok(),
            [0, 1, 2, 3, 4, 5, 12, 13, 14, 15].contains(&(byte >> 4))
        );
    }
}
