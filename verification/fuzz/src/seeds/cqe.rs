//! Completions that fit the poller's outstanding requests, and some that do not.

use pmd_core::wire::{
    Cqe, ErrorCompletion, Opcode, ReceivePath, Received, RequesterCompletion, ResponderCompletion, Scatter,
    Side, Syndrome,
};

use super::{Seeds, noise};
use crate::cqe::poller::{ANY_OWNER, NUMBERS, OUR_NUMBERS, SCATTER, WIDE};

pub(super) fn seeds() -> Seeds {
    let requester = |wqe_counter, operation, scatter| {
        let queue_pair = NUMBERS[0];
        let completion =
            RequesterCompletion { queue_pair, operation, wqe_counter, byte_count: 8, timestamp: 1, scatter };
        Cqe::Requester(completion)
    };
    let responder = |queue_pair, received, scatter| {
        let path = ReceivePath { source_queue_pair: 5, ..ReceivePath::default() };
        let path = if matches!(scatter, Scatter::InEntry(_)) { ReceivePath::default() } else { path };
        let common = ResponderCompletion { received, queue_pair, path, byte_count: 20, ..Default::default() };
        Cqe::Responder(ResponderCompletion { wqe_counter: 1, solicited: true, scatter, ..common })
    };
    let error = |side| ErrorCompletion {
        side,
        queue_pair: NUMBERS[1],
        operation: Opcode::RdmaRead as u8,
        wqe_counter: 0,
        syndrome: Syndrome::RemoteAccess,
        vendor: 0x81,
        shared_receive_queue: 0,
    };
    let memory = Scatter::Memory;
    let in_entry = Scatter::InEntry([0xab; 32]);
    let good = [
        requester(0, Opcode::RdmaRead, memory),
        requester(1, Opcode::RdmaWrite, memory),
        responder(NUMBERS[0], Received::Send, memory),
        responder(NUMBERS[1], Received::SendImmediate(7), memory),
        responder(NUMBERS[1], Received::WriteImmediate(9), memory),
        responder(NUMBERS[0], Received::SendInvalidate(9), memory),
    ];
    let carried = [
        requester(0, Opcode::RdmaRead, in_entry),
        requester(2, Opcode::FetchAndAdd, Scatter::Preceding),
        responder(NUMBERS[0], Received::Send, in_entry),
        responder(NUMBERS[1], Received::Send, Scatter::Preceding),
    ];
    let errors = [Cqe::Error(error(Side::Requester)), Cqe::Error(error(Side::Responder))];
    vec![
        ("good".into(), input(0, &good)),
        ("carried".into(), input(SCATTER, &carried)),
        ("carried_wide".into(), wide(SCATTER | WIDE, &carried)),
        ("errors".into(), input(0, &errors)),
        ("any_owner".into(), input(ANY_OWNER, &good)),
        ("noise".into(), [vec![OUR_NUMBERS], noise(2, 256)].concat()),
    ]
}

fn input(shape: u8, entries: &[Cqe]) -> Vec<u8> {
    let mut bytes = vec![shape];
    for entry in entries {
        let mut out = [0; 64];
        entry.emit_cqe64(false, &mut out);
        bytes.extend(out);
    }
    bytes
}

fn wide(shape: u8, entries: &[Cqe]) -> Vec<u8> {
    let mut bytes = vec![shape];
    for entry in entries {
        let mut out = [[0; 64]; 2];
        entry.emit_cqe128(false, &[0xcd; 64], &mut out);
        bytes.extend(out.concat());
    }
    bytes
}
