//! Whole send WQEs in queues that wrap: what a poster emits is what a device parses, and no bytes in a queue
//! make the device's parser panic or read past the WQE.

use pmd_core::wire::inline::{self, InlineHeader};
use pmd_core::wire::{
    AddressVector, AtomicSegment, ControlFlags, ControlSegment, DataItem, DataSegment, Opcode, Operation,
    RemoteSegment, SendDump, SendExtra, SendWqe, Service, Unit, WireError, address_vector, basic_blocks,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// One piece of a work request's local side.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Memory(DataSegment),
    Inline(Vec<u8>),
}

/// A send queue that a poster fills unit by unit.
struct Queue {
    units: Vec<Unit>,
    at: usize,
}

impl Queue {
    /// A queue full of what earlier WQEs left, posting from basic block `index` on.
    fn new(blocks: usize, index: u32) -> Self {
        Self { units: vec![[0x5a; 16]; blocks * 4], at: index as usize % blocks * 4 }
    }

    fn push(&mut self, unit: Unit) {
        let length = self.units.len();
        self.units[self.at % length] = unit;
        self.at += 1;
    }

    fn push_piece(&mut self, piece: &Piece) {
        match piece {
            Piece::Memory(segment) => self.push_emitted(|out| segment.emit(out)),
            Piece::Inline(payload) => {
                let mut bytes = vec![0; inline::units(payload.len()) * 16];
                InlineHeader { length: payload.len() as u32 }.emit(bytes.first_chunk_mut().unwrap());
                bytes[4..4 + payload.len()].copy_from_slice(payload);
                bytes.as_chunks().0.iter().for_each(|unit| self.push(*unit));
            }
        }
    }

    fn push_emitted(&mut self, emit: impl FnOnce(&mut Unit)) {
        let mut unit = [0; 16];
        emit(&mut unit);
        self.push(unit);
    }

    fn bytes(&self) -> &[u8] {
        self.units.as_flattened()
    }
}

fn memory() -> impl Strategy<Value = DataSegment> {
    (1..1u32 << 31, any::<u32>(), any::<u64>()).prop_map(|(length, lkey, address)| DataSegment {
        length,
        lkey,
        address,
    })
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        3 => memory().prop_map(Piece::Memory),
        1 => vec(any::<u8>(), 0..200).prop_map(Piece::Inline),
    ]
}

/// Pieces whose units fit beside `before` others.
fn pieces(before: usize) -> impl Strategy<Value = Vec<Piece>> {
    vec(piece(), 0..20).prop_map(move |mut pieces| {
        while before + units(&pieces) > 63 {
            pieces.pop();
        }
        pieces
    })
}

fn units(pieces: &[Piece]) -> usize {
    let of = |piece: &Piece| match piece {
        Piece::Memory(_) => 1,
        Piece::Inline(payload) => inline::units(payload.len()),
    };
    pieces.iter().map(of).sum()
}

fn length(pieces: &[Piece]) -> u64 {
    let of = |piece: &Piece| match piece {
        Piece::Memory(segment) => u64::from(segment.length),
        Piece::Inline(payload) => payload.len() as u64,
    };
    pieces.iter().map(of).sum()
}

/// What a device read, in the poster's terms.
fn collect<'a>(data: impl Iterator<Item = DataItem<'a>>) -> Vec<Piece> {
    data.map(|item| match item {
        DataItem::Memory(segment) => Piece::Memory(segment),
        DataItem::Inline(first, second) => Piece::Inline([first, second].concat()),
    })
    .collect()
}

fn control(opcode: Opcode, index: u32, units: usize, immediate: u32) -> ControlSegment {
    ControlSegment {
        opcode,
        opmod: 0,
        index: index as u16,
        queue_pair: 0x1234,
        units: units as u8,
        flags: ControlFlags::CQ_UPDATE,
        immediate,
    }
}

/// Posts control, the units of `middle` and the pieces.
fn post(queue: &mut Queue, control: &ControlSegment, middle: &[Unit], pieces: &[Piece]) {
    queue.push_emitted(|out| control.emit(out));
    middle.iter().for_each(|unit| queue.push(*unit));
    pieces.iter().for_each(|piece| queue.push_piece(piece));
}

fn unit(emit: impl FnOnce(&mut Unit)) -> Unit {
    let mut bytes = [0; 16];
    emit(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn writes(pieces in pieces(2), index in any::<u32>(), immediate in any::<Option<u32>>(), address in any::<u64>(), rkey in any::<u32>()) {
        let remote = RemoteSegment { address, rkey };
        let opcode = if immediate.is_some() { Opcode::RdmaWriteImmediate } else { Opcode::RdmaWrite };
        let control = control(opcode, index, 2 + units(&pieces), immediate.unwrap_or(0));
        let mut queue = Queue::new(16, index);
        post(&mut queue, &control, &[unit(|out| remote.emit(out))], &pieces);

        let parsed = SendWqe::parse_strict(queue.bytes(), index, Service::Connected).unwrap();
        prop_assert_eq!(parsed.control, control);
        prop_assert_eq!(parsed.data_length(), length(&pieces));
        prop_assert_eq!(parsed.basic_blocks(), basic_blocks(control.units));
        let Operation::Write { remote: to, immediate: with, data } = parsed.operation else {
            panic!("not a write: {:?}", parsed.operation)
        };
        prop_assert_eq!((to, with), (remote, immediate));
        prop_assert_eq!(collect(data), pieces);
    }

    #[test]
    fn sends(pieces in pieces(1), index in any::<u32>(), value in any::<u32>(), kind in 0..3usize) {
        let opcode = [Opcode::Send, Opcode::SendImmediate, Opcode::SendInvalidate][kind];
        let expected = [SendExtra::None, SendExtra::Immediate(value), SendExtra::Invalidate(value)][kind];
        let control = control(opcode, index, 1 + units(&pieces), value);
        let mut queue = Queue::new(16, index);
        post(&mut queue, &control, &[], &pieces);
        let parsed = SendWqe::parse_strict(queue.bytes(), index, Service::Connected).unwrap();
        let Operation::Send { extra, address_vector: None, data } = parsed.operation else {
            panic!("not a connected send: {:?}", parsed.operation)
        };
        prop_assert_eq!(extra, expected);
        prop_assert_eq!(collect(data), pieces);
    }

    #[test]
    fn datagrams(pieces in pieces(4), index in any::<u32>(), queue_key in any::<u32>(), gid in any::<[u8; 16]>()) {
        let vector = AddressVector {
            queue_key, destination: 0x77, extended: true, remote_gid: gid, ..AddressVector::default()
        };
        let mut bytes = [0; address_vector::LENGTH];
        vector.emit(&mut bytes);
        let control = control(Opcode::Send, index, 4 + units(&pieces), 0);
        let mut queue = Queue::new(16, index);
        post(&mut queue, &control, bytes.as_chunks().0, &pieces);
        let parsed = SendWqe::parse_strict(queue.bytes(), index, Service::Datagram).unwrap();
        let Operation::Send { address_vector: Some(to), data, .. } = parsed.operation else {
            panic!("not a datagram: {:?}", parsed.operation)
        };
        prop_assert_eq!(to, vector);
        prop_assert_eq!(collect(data), pieces);
    }

    #[test]
    fn reads(segments in vec(memory(), 0..30), index in any::<u32>(), address in any::<u64>()) {
        let pieces: Vec<_> = segments.into_iter().map(Piece::Memory).collect();
        let remote = RemoteSegment { address, rkey: 5 };
        let control = control(Opcode::RdmaRead, index, 2 + pieces.len(), 0);
        let mut queue = Queue::new(8, index);
        post(&mut queue, &control, &[unit(|out| remote.emit(out))], &pieces);
        let parsed = SendWqe::parse_strict(queue.bytes(), index, Service::Connected).unwrap();
        prop_assert_eq!(parsed.data_length(), length(&pieces));
        let Operation::Read { remote: from, data } = parsed.operation else {
            panic!("not a read: {:?}", parsed.operation)
        };
        prop_assert_eq!(from, remote);
        prop_assert_eq!(collect(data), pieces);
    }

    #[test]
    fn atomics(result in memory(), index in any::<u32>(), swap_or_add in any::<u64>(), compare in any::<u64>(), add in any::<bool>()) {
        let remote = RemoteSegment { address: 0x1000, rkey: 5 };
        let operands = AtomicSegment { swap_or_add, compare };
        let opcode = if add { Opcode::FetchAndAdd } else { Opcode::CompareAndSwap };
        let mut queue = Queue::new(4, index);
        let middle = [unit(|out| remote.emit(out)), unit(|out| operands.emit(out))];
        post(&mut queue, &control(opcode, index, 4, 0), &middle, &[Piece::Memory(result)]);
        match SendWqe::parse_strict(queue.bytes(), index, Service::Connected).unwrap().operation {
            Operation::FetchAndAdd { remote: at, addend, result: to } if add => {
                prop_assert_eq!((at, addend, to), (remote, swap_or_add, result));
            }
            Operation::CompareAndSwap { remote: at, operands: with, result: to } if !add => {
                prop_assert_eq!((at, with, to), (remote, operands, result));
            }
            other => panic!("another operation: {other:?}"),
        }
    }

    #[test]
    fn no_queue_makes_the_parser_panic(
        mut queue in vec(any::<u8>(), 256),
        index in any::<u32>(),
        opcode in prop::sample::select(&Opcode::ALL[..]),
        ds in 0..=80u8,
        datagram in any::<bool>(),
    ) {
        let at = index as usize % 4 * 64;
        queue[at + 3] = opcode as u8;
        queue[at + 7] = ds;
        let service = if datagram { Service::Datagram } else { Service::Connected };
        if let Ok(parsed) = SendWqe::parse(&queue, index, service) {
            prop_assert!(parsed.control.units <= 16);
            prop_assert!(inline_bytes(&parsed.operation) <= usize::from(parsed.control.units) * 16);
        }
        let _ = SendDump { queue: &queue, index, service }.to_string();
    }

    #[test]
    fn no_length_of_queue_makes_the_parser_panic(queue in vec(any::<u8>(), 0..300), index in any::<u32>()) {
        let parsed = SendWqe::parse(&queue, index, Service::Connected);
        let fits = queue.len() >= 64 && queue.len().is_power_of_two();
        prop_assert_eq!(matches!(parsed, Err(WireError::QueueLength(_))), !fits);
        let _ = SendDump { queue: &queue, index, service: Service::Connected }.to_string();
    }
}

/// Inline bytes that an operation's data covers.
fn inline_bytes(operation: &Operation<'_>) -> usize {
    let (Operation::Send { data, .. } | Operation::Write { data, .. } | Operation::Read { data, .. }) =
        operation
    else {
        return 0;
    };
    data.clone()
        .map(|item| match item {
            DataItem::Memory(_) => 0,
            DataItem::Inline(first, second) => first.len() + second.len(),
        })
        .sum()
}

/// The error that a WQE of these units gives in a queue of 16 blocks.
fn refusal(control: &ControlSegment, rest: &[Unit]) -> WireError {
    let mut queue = Queue::new(16, 0);
    post(&mut queue, control, rest, &[]);
    SendWqe::parse(queue.bytes(), 0, Service::Connected).unwrap_err()
}

#[test]
fn malformed_requests_say_what_is_wrong() {
    let data = unit(|out| DataSegment { length: 8, lkey: 1, address: 2 }.emit(out));
    let inline = unit(|out| InlineHeader { length: 8 }.emit(out.first_chunk_mut().unwrap()));
    let long = unit(|out| InlineHeader { length: 13 }.emit(out.first_chunk_mut().unwrap()));
    let control = |opcode, units| control(opcode, 0, units, 0);
    let cases = [
        (control(Opcode::Send, 0), vec![], WireError::UnitCount { units: 0, limit: 63 }),
        (control(Opcode::Send, 64), vec![], WireError::UnitCount { units: 64, limit: 63 }),
        (
            control(Opcode::RdmaWrite, 1),
            vec![],
            WireError::MissingSegment { opcode: Opcode::RdmaWrite, needed: 2, units: 1 },
        ),
        (
            control(Opcode::FetchAndAdd, 2),
            vec![],
            WireError::MissingSegment { opcode: Opcode::FetchAndAdd, needed: 3, units: 2 },
        ),
        (control(Opcode::Send, 2), vec![long], WireError::InlineLength { length: 13, room: 12 }),
        (control(Opcode::RdmaRead, 3), vec![data, inline], WireError::InlineResult(Opcode::RdmaRead)),
        (
            control(Opcode::CompareAndSwap, 4),
            vec![data, data, inline],
            WireError::InlineResult(Opcode::CompareAndSwap),
        ),
        (
            control(Opcode::CompareAndSwap, 3),
            vec![data, data],
            WireError::ResultSegments { opcode: Opcode::CompareAndSwap, segments: 0 },
        ),
        (
            control(Opcode::FetchAndAdd, 5),
            vec![data; 4],
            WireError::ResultSegments { opcode: Opcode::FetchAndAdd, segments: 2 },
        ),
        (control(Opcode::Tso, 1), vec![], WireError::UnsupportedOpcode(Opcode::Tso)),
    ];
    for (control, rest, expected) in cases {
        assert_eq!(refusal(&control, &rest), expected);
    }
}

#[test]
fn a_request_longer_than_its_queue_is_refused() {
    let mut queue = Queue::new(1, 0);
    queue.push_emitted(|out| control(Opcode::Send, 0, 5, 0).emit(out));
    let parsed = SendWqe::parse(queue.bytes(), 0, Service::Connected);
    assert_eq!(parsed.unwrap_err(), WireError::UnitCount { units: 5, limit: 4 });
}

#[test]
fn a_segment_of_length_zero_counts_as_two_gibibytes() {
    let segment = DataSegment { length: 0, lkey: 1, address: 0 };
    let mut queue = Queue::new(4, 0);
    post(&mut queue, &control(Opcode::Send, 0, 2, 0), &[], &[Piece::Memory(segment)]);
    let parsed = SendWqe::parse(queue.bytes(), 0, Service::Connected).unwrap();
    assert_eq!(parsed.data_length(), 1 << 31);
}

#[test]
fn nop_of_any_size_has_no_data() {
    let mut queue = Queue::new(4, 0);
    post(&mut queue, &control(Opcode::Nop, 0, 3, 0), &[], &[]);
    let parsed = SendWqe::parse_strict(queue.bytes(), 0, Service::Connected).unwrap();
    assert!(matches!(parsed.operation, Operation::Nop));
    assert_eq!(parsed.data_length(), 0);
}

#[test]
fn only_strict_parsing_refuses_reserved_fields_within_a_request() {
    let dirty_remote = [0xff; 16];
    let mut queue = Queue::new(4, 2);
    post(&mut queue, &control(Opcode::RdmaRead, 2, 2, 0), &[dirty_remote], &[]);
    assert!(SendWqe::parse(queue.bytes(), 2, Service::Connected).is_ok());
    let strict = SendWqe::parse_strict(queue.bytes(), 2, Service::Connected);
    assert_eq!(strict.unwrap_err(), WireError::Reserved("remote address"));

    let mut queue = Queue::new(4, 2);
    post(&mut queue, &control(Opcode::Send, 2, 4, 0), &[[0xff; 16]; 3], &[]);
    assert!(SendWqe::parse(queue.bytes(), 2, Service::Datagram).is_ok());
    let strict = SendWqe::parse_strict(queue.bytes(), 2, Service::Datagram);
    assert_eq!(strict.unwrap_err(), WireError::Reserved("address vector"));
}
