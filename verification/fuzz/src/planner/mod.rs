//! The block-table planner and the work lists made of its pieces, against a naive copy: the planned work requests,
//! executed in a model memory, leave there exactly what copying block by block leaves; and a selection is refused
//! exactly when it does not fit.

mod case;
mod model;

use arbitrary::Unstructured;
use kv_api::planner::{BlockMap, Direction, Plan, Selection, Side};
use pmd_host::transfer::{self, LocalPiece, WorkList, WorkListBuilder};

use case::{Case, Table};
use model::Memory;

/// Keys of the local side begin here, those of the remote side at [`REMOTE_KEYS`].
const LOCAL_KEYS: u32 = 0x100;
const REMOTE_KEYS: u32 = 0x200;

/// Plans what the input describes, both ways.
pub fn run(data: &[u8]) {
    // An input that is too short describes nothing.
    if let Ok(case) = Case::read(&mut Unstructured::new(data)) {
        check(&case);
    }
}

fn check(case: &Case) {
    let local = Memory::new(&case.local, LOCAL_KEYS, 0x00);
    let remote = Memory::new(&case.remote, REMOTE_KEYS, 0xff);
    let side = |memory: &'_ Memory| memory.placement();
    let (local_placement, remote_placement) = (side(&local), side(&remote));
    let blocks = match &case.table {
        Some(Table { source, destination }) => BlockMap::Table { source, destination },
        None => BlockMap::Identity,
    };
    let plan = Plan::new(
        case.direction,
        Side { layout: &case.local.layout, placement: &local_placement },
        Side { layout: &case.remote.layout, placement: &remote_placement },
        Selection::new(case.layers.clone(), blocks),
    );
    match plan {
        Ok(plan) => {
            assert!(case.fits(), "{case:?} was planned");
            let list = work_list(case, &plan);
            assert_eq!((list.bytes(), plan.bytes()), (case.bytes(), case.bytes()));
            check_copies(case, &list, local, remote);
        }
        Err(error) => assert!(!case.fits(), "{case:?}: {error}"),
    }
}

/// As the engine makes it.
fn work_list(case: &Case, plan: &Plan<'_>) -> WorkList {
    let direction = match case.direction {
        Direction::Pull => transfer::Direction::Read,
        Direction::Push => transfer::Direction::Write,
    };
    let mut builder = WorkListBuilder::with_capacity(direction, case.limits, plan.pieces() as usize);
    let mut pieces = 0;
    plan.for_each_piece(|piece| {
        pieces += 1;
        let local = LocalPiece { address: piece.local, length: piece.length, key: piece.local_key };
        builder.push(local, piece.remote);
    });
    assert_eq!(pieces, plan.pieces());
    let list = builder.finish();
    let mut whole = WorkListBuilder::new(direction, case.limits);
    plan.add_to(&mut whole);
    assert_eq!(whole.finish(), list, "all at once and one by one");
    list
}

fn check_copies(case: &Case, list: &WorkList, local: Memory, remote: Memory) {
    let (mut wanted_local, mut wanted_remote) = (local.clone(), remote.clone());
    let (mut local, mut remote) = (local, remote);
    let (from, to) = match case.direction {
        Direction::Pull => (&remote, &mut wanted_local),
        Direction::Push => (&local, &mut wanted_remote),
    };
    for tensor in case.tensors() {
        for (source, destination) in case.pairs() {
            to.write_block(tensor, destination, from.block(tensor, source));
        }
    }
    execute(case, list, &mut local, &mut remote);
    assert!(local == wanted_local, "local memory differs from a naive copy's: {case:?}");
    assert!(remote == wanted_remote, "remote memory differs from a naive copy's: {case:?}");
}

/// What a device does with the work requests: checks limits, keys and bounds, and moves the bytes.
fn execute(case: &Case, list: &WorkList, local: &mut Memory, remote: &mut Memory) {
    let most_sges = case.limits.max_sges.max(1);
    let longest = case.limits.max_message.max(1);
    assert_eq!(list.widest(), list.entries().iter().map(|entry| entry.sge_count).max().unwrap_or(0));
    for entry in list.entries() {
        let sges = list.local(entry);
        assert!(entry.sge_count <= most_sges && entry.length <= longest, "{entry:?} of {case:?}");
        assert_eq!(sges.iter().map(|sge| sge.length).sum::<u32>(), entry.length);
        let mut address = entry.remote;
        for sge in sges {
            assert!(sge.length > 0, "an element of no bytes would mean 2 GiB");
            let there = remote.at(entry.rkey.0, address, sge.length);
            let here = local.at(sge.key.0, sge.address, sge.length);
            match list.direction() {
                transfer::Direction::Read => local.bytes[here].copy_from_slice(&remote.bytes[there]),
                transfer::Direction::Write => remote.bytes[there].copy_from_slice(&local.bytes[here]),
            }
            address = address.wrapping_add(u64::from(sge.length));
        }
    }
}
