//! One WQE of each operation, and some that are refused.

use pmd_core::wire::{
    AddressVector, AtomicSegment, ControlFlags, ControlSegment, DataSegment, Opcode, RemoteSegment, SendExtra,
};

use super::{Seeds, noise};
use crate::wqe::{Body, DATAGRAM, Owned, Piece, RAGGED, encode};

/// Log2 of the basic blocks of most seeds' queues.
const SHAPE: u8 = 3;
/// In the queue's last block but one, so that longer WQEs wrap.
const INDEX: u32 = 0x0001_0006;

pub(super) fn seeds() -> Seeds {
    let remote = RemoteSegment { address: 0x7fff_1234_5000, rkey: 0xbeef_0007 };
    let operands = AtomicSegment { swap_or_add: 5, compare: 6 };
    let memory = |length| Piece::Memory(DataSegment { length, lkey: 0x1234_5678, address: 0x1000 });
    let inline = |length| Piece::Inline(noise(length, length as usize));
    let vector =
        AddressVector { queue_key: 0x8000_0000, destination: 9, extended: true, ..Default::default() };
    let cases = [
        ("nop", Opcode::Nop, Body::Nop, vec![]),
        ("send", Opcode::Send, Body::Send(SendExtra::None, None), vec![memory(64), memory(0)]),
        ("send_inline", Opcode::Send, Body::Send(SendExtra::None, None), vec![inline(90), inline(0)]),
        ("send_immediate", Opcode::SendImmediate, Body::Send(SendExtra::Immediate(7), None), vec![memory(8)]),
        ("send_invalidate", Opcode::SendInvalidate, Body::Send(SendExtra::Invalidate(7), None), vec![]),
        ("datagram", Opcode::Send, Body::Send(SendExtra::None, Some(vector)), vec![inline(44), memory(9)]),
        ("write", Opcode::RdmaWrite, Body::Write(remote, None), vec![memory(1), memory(2), memory(3)]),
        ("write_inline", Opcode::RdmaWrite, Body::Write(remote, None), vec![inline(28)]),
        ("write_immediate", Opcode::RdmaWriteImmediate, Body::Write(remote, Some(7)), vec![memory(1 << 20)]),
        ("read", Opcode::RdmaRead, Body::Read(remote), vec![memory(4096), memory(1)]),
        ("read_inline", Opcode::RdmaRead, Body::Read(remote), vec![inline(4)]),
        ("compare_swap", Opcode::CompareAndSwap, Body::CompareAndSwap(remote, operands), vec![memory(8)]),
        ("fetch_add", Opcode::FetchAndAdd, Body::FetchAndAdd(remote, 5), vec![memory(8)]),
        ("two_results", Opcode::FetchAndAdd, Body::FetchAndAdd(remote, 5), vec![memory(8), memory(8)]),
        ("masked", Opcode::MaskedFetchAndAdd, Body::Nop, vec![memory(8)]),
    ];
    let mut seeds: Seeds = cases.into_iter().map(seed).collect();
    seeds.push(("one_block".into(), encode(0, 1, &seeds[1].1[5..])));
    seeds.push(("ragged".into(), encode(SHAPE | RAGGED, 0, &[0x0a; 100])));
    seeds.push(("noise".into(), encode(2, 3, &noise(1, 200))));
    seeds
}

fn seed((name, opcode, body, pieces): (&str, Opcode, Body, Vec<Piece>)) -> (String, Vec<u8>) {
    let service = if matches!(body, Body::Send(_, Some(_))) { DATAGRAM } else { 0 };
    let immediate = match body {
        Body::Send(SendExtra::Immediate(value) | SendExtra::Invalidate(value), _)
        | Body::Write(_, Some(value)) => value,
        _ => 0,
    };
    let units = |piece: &Piece| match piece {
        Piece::Memory(_) => 1,
        Piece::Inline(bytes) => pmd_core::wire::inline::units(bytes.len()) as u8,
    };
    let between = match body {
        Body::Nop | Body::Send(_, None) => 0,
        Body::Send(_, Some(_)) => 3,
        Body::Write(..) | Body::Read(_) => 1,
        Body::CompareAndSwap(..) | Body::FetchAndAdd(..) => 2,
    };
    let control = ControlSegment {
        opcode,
        opmod: 0,
        index: INDEX as u16,
        queue_pair: 0x12,
        units: 1 + between + pieces.iter().map(units).sum::<u8>(),
        flags: ControlFlags::CQ_UPDATE,
        immediate,
    };
    let mut bytes = vec![0; usize::from(control.units) * 16];
    bytes.resize(bytes.len().next_power_of_two().max(64), 0);
    Owned { control, body, pieces }.emit(&mut bytes, 0);
    bytes.truncate(usize::from(control.units) * 16);
    (name.into(), encode(SHAPE | service, INDEX, &bytes))
}
