//! Memory that its owner takes back while a lane's thread moves it: once that returned, the memory is quiet.

use std::thread;

use pmd_host::transfer::{Direction, TransferOptions};

use super::{Lanes, Plan, whole};
use crate::{
    cases::{Case, case},
    context::Context,
    memory::Memory,
};

pub(super) const CASES: &[Case] = &[
    case("lane::a_target_that_the_peer_takes_back_is_quiet", |context| {
        run(context, Direction::Write, End::Remote)
    }),
    case("lane::a_source_that_the_peer_takes_back_is_quiet", |context| {
        run(context, Direction::Read, End::Remote)
    }),
    case("lane::a_target_that_is_taken_back_is_quiet", |context| run(context, Direction::Read, End::Local)),
    case("lane::a_source_that_is_taken_back_is_quiet", |context| run(context, Direction::Write, End::Local)),
];

/// Whose memory is taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Local,
    Remote,
}

/// Bytes of one request.
const PART: u32 = 256 << 10;

/// Each round takes memory back in the middle of a transfer, on a route of its own because that fails it.
fn run(context: &Context, direction: Direction, end: End) {
    let plan = Plan::new(context);
    let lanes = plan.clone().open(context);
    let mut random = context.random(45);
    for round in 0..context.scale(4, 12) {
        let [route, _peer] = lanes.another_route(&plan);
        let (mut here, mut there) = lanes.memories(context.scale(1 << 20, 4 << 20));
        let work = whole(direction, PART, &here, &there);
        let reads = direction == Direction::Read;
        if reads { &there } else { &here }.fill(1);
        let mut transfer = route.submit(&work, TransferOptions::default()).expect("room");
        begun(&lanes, if reads { &here } else { &there }, random.below(here.length() / 2));
        let taken = if end == End::Local { &mut here } else { &mut there };
        taken.deregister();
        taken.fill(2);
        // The transfer may have been over before.
        let _ = transfer.wait(lanes.deadline()).inspect_err(|error| {
            assert!(transfer_failed(error), "round {round}: {error}");
        });
        (0..20).for_each(|_| thread::yield_now());
        let target = if reads { &here } else { &there };
        let target_is_taken = reads == (end == End::Local);
        let allowed = if target_is_taken { 2..=2 } else { 0..=1 };
        let quiet = target.read(0, target.length()).iter().all(|byte| allowed.contains(byte));
        assert!(quiet, "round {round}: touched after it was taken back");
    }
}

/// Waits until a byte of the target was written.
fn begun(lanes: &Lanes, target: &Memory, offset: usize) {
    lanes.until("the transfer to begin", || target.read(offset, 1)[0] != 0);
}

fn transfer_failed(error: &pmd_host::transfer::WaitError) -> bool {
    matches!(error, pmd_host::transfer::WaitError::Failed(_))
}
