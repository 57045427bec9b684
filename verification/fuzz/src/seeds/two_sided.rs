//! Short lives of two queue pairs: each kind of request on each path, and each kind of trouble.

use super::{Seeds, noise};
use crate::two_sided::{
    ARENA, Action, Kind, PACKETS, PROCESS_MEMORY, SAME_PROCESS, SMALL_BUDGETS, SMALL_QUEUES,
};

const RING: [u8; 3] = [5, 0, 0];
const RING_PEER: [u8; 3] = [0x15, 0, 0];
const POLL: [u8; 3] = [7, 16, 0];
const POLL_PEER: [u8; 3] = [0x17, 16, 0];
/// A receive of 2048 bytes in two pieces at the peer, handed over.
const RECEIVE: [[u8; 3]; 2] = [[0x19, 0, 0x1f], [0x1b, 0, 0]];
const SETTLE: [u8; 3] = [12, 0, 0];
const REVOKE_PEER: [u8; 3] = [0x1d, 0, 0];
const RESTART: [u8; 3] = [14, 0, 0];
const REPLACE: [u8; 3] = [14, 1, 0];
const PARK: [u8; 3] = [8, 0xc0, 0];
const FAIL: [u8; 3] = [15, 0, 0];

pub(super) fn seeds() -> Seeds {
    let post = |kind, size| Action::post(0, kind, size, true);
    let silent = |kind, size| Action::post(0, kind, size, false);
    let input = |shape: u8, steps: &[[u8; 3]]| [&[shape][..], steps.as_flattened()].concat();
    let all = [
        post(Kind::Write, 15),
        silent(Kind::Read, 11),
        post(Kind::Add, 0),
        silent(Kind::Swap, 0),
        post(Kind::Miss, 0),
        RECEIVE[0],
        RECEIVE[1],
        silent(Kind::Send, 15),
        RECEIVE[0],
        RECEIVE[1],
        post(Kind::WriteImmediate, 9),
        RING,
        POLL_PEER,
        POLL,
        SETTLE,
    ];
    let both = [post(Kind::Send, 3), Action::post(1, Kind::Send, 10, true), RING, RING_PEER, SETTLE];
    let window = [post(Kind::WriteWindow, 8), RING, REVOKE_PEER, post(Kind::ReadWindow, 8), SETTLE];
    let small =
        [RECEIVE[1], [0x19, 0, 2], [0x1b, 0, 0], post(Kind::SendImmediate, 12), RING, POLL_PEER, SETTLE];
    let fails = [post(Kind::Write, 14), RING, FAIL, POLL, POLL_PEER, RESTART, post(Kind::Nop, 0), SETTLE];
    let others = [post(Kind::Write, 14), RING, REPLACE, PARK, post(Kind::Read, 9), RING, PARK, POLL, SETTLE];
    let refused = |kind| [post(Kind::Write, 4), post(kind, 4), silent(Kind::Nop, 0), RING, POLL, SETTLE];
    let mut seeds: Seeds = vec![
        ("all_same_process".into(), input(SAME_PROCESS, &all)),
        ("all_arena".into(), input(ARENA, &all)),
        ("all_process_memory".into(), input(PROCESS_MEMORY, &all)),
        ("all_packets".into(), input(PACKETS, &all)),
        ("all_packets_slowly".into(), input(PACKETS | SMALL_BUDGETS, &all)),
        ("all_small".into(), input(ARENA | SMALL_QUEUES | SMALL_BUDGETS, &all)),
        ("both".into(), input(SAME_PROCESS, &both)),
        ("window".into(), input(PACKETS, &window)),
        ("too_small".into(), input(ARENA, &small)),
        ("fails".into(), input(PROCESS_MEMORY | SMALL_BUDGETS, &fails)),
        ("others".into(), input(PACKETS, &others)),
        ("remote_key".into(), input(ARENA, &refused(Kind::WrongRemoteKey))),
        ("beyond".into(), input(PACKETS, &refused(Kind::Beyond))),
        ("local_key".into(), input(SAME_PROCESS, &refused(Kind::WrongLocalKey))),
        ("unaligned".into(), input(PACKETS, &refused(Kind::Unaligned))),
    ];
    seeds.extend(
        (0..4u8).map(|path| (format!("noise_{path}"), [vec![path], noise(path.into(), 240)].concat())),
    );
    seeds
}
