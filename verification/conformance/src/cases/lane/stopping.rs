//! Transfers that are stopped: by their owner, by a deadline, with their route, with their lane. Every one has an
//! outcome, and with the outcome its memory is quiet.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pmd_host::{
    backend::ConnectOptions,
    lane::{Lane, LaneConfig, LaneDriver, Route, RouteConfig},
    transfer::{
        CancelOutcome, Direction, KeepAlive, Outcome, SubmitError, Transfer, TransferError, TransferOptions,
        WaitError,
    },
};

use super::{Lanes, Plan, whole};
use crate::{
    any::AnyBackend,
    bed::{Device, Place},
    cases::{Case, case},
    context::{Context, Random},
    memory::Memory,
    stage::all,
};

pub(super) const CASES: &[Case] = &[
    case("lane::a_cancelled_read_writes_nothing_any_more", cancelled_read),
    case("lane::a_cancelled_write_reads_nothing_any_more", cancelled_write),
    case("lane::a_cancel_is_quiet_though_the_peer_sleeps", silent_peer),
    case("lane::a_passed_deadline_posts_nothing", passed_deadline),
    case("lane::a_deadline_in_the_middle_is_quiet", deadline_in_the_middle),
    case("lane::closing_a_route_gives_every_transfer_an_outcome", closing),
    case("lane::ending_a_lane_gives_every_transfer_an_outcome", ending),
    case("lane::a_full_ring_gives_the_options_back", full_ring),
];

/// Bytes of one request.
const PART: u32 = 64 << 10;
/// Longer than what moves between the cancel and the look at the memory.
const LINGER: Duration = Duration::from_millis(3);

/// Lets the transfer get somewhere: for a while that depends on chance, or until its first byte is there.
fn let_it_begin(random: &mut Random, lanes: &Lanes, target: &Memory, byte: u8) {
    match random.below(3) {
        0 => {}
        1 => (0..random.below(2000)).for_each(|_| thread::yield_now()),
        _ => lanes.until("the first byte", || target.read(0, 1)[0] == byte),
    }
}

/// After the outcome of a read its target stays as its owner leaves it.
fn cancelled_read(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let (here, there) = lanes.memories(context.scale(1 << 20, 4 << 20));
    there.fill(1);
    let work = whole(Direction::Read, PART, &here, &there);
    let mut random = context.random(40);
    for round in 0..context.scale(5, 20) {
        here.fill(0);
        let mut transfer = lanes.submit(0, &work, TransferOptions::default());
        let_it_begin(&mut random, &lanes, &here, 1);
        match transfer.cancel() {
            CancelOutcome::Cancelled => {}
            CancelOutcome::Completed(outcome) => assert_eq!(outcome.bytes as usize, here.length()),
            CancelOutcome::Failed(error) => panic!("round {round}: {error}"),
        }
        here.fill(9);
        thread::sleep(LINGER);
        assert!(here.read(0, here.length()).iter().all(|byte| *byte == 9), "written after the cancel");
    }
    assert_eq!(lanes.routes[0].fault(), None, "the route goes on");
}

/// After the outcome of a write its source may be used again: nothing of the new content arrives.
fn cancelled_write(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let (here, there) = lanes.memories(context.scale(1 << 20, 4 << 20));
    let work = whole(Direction::Write, PART, &here, &there);
    let mut random = context.random(41);
    for round in 0..context.scale(5, 20) {
        here.fill(1);
        there.fill(0);
        let mut transfer = lanes.submit(0, &work, TransferOptions::default());
        let_it_begin(&mut random, &lanes, &there, 1);
        if let CancelOutcome::Failed(error) = transfer.cancel() {
            panic!("round {round}: {error}");
        }
        here.fill(9);
        thread::sleep(LINGER);
        assert!(there.read(0, there.length()).iter().all(|byte| *byte < 2), "read after the cancel");
    }
    assert_eq!(lanes.routes[0].fault(), None, "the route goes on");
}

/// The peer's lane gets no turns, so where it has to help, requests stay outstanding until the grace period ends and
/// the queue pairs are taken down. When the cancel returns, the memory is quiet nevertheless.
fn silent_peer(context: &Context) {
    let plan = Plan::new(context);
    let grace = Duration::from_millis(20);
    let mut driven = Driven::new(context, &LaneConfig { grace, ..plan.lane }, &plan.connect);
    let (here, there) = driven.memories(1 << 20);
    there.fill(1);
    let work = whole(Direction::Read, PART, &here, &there);
    let transfer = driven.routes[0].submit(&work, TransferOptions::default()).expect("room");
    (0..20).for_each(|_| driven.turn(0));
    let outcome = driven.sides[0].0.cancel(&transfer);
    here.fill(9);
    // The peer wakes up, and finds that nobody wants anything.
    for _ in 0..500 {
        driven.turn(1);
        driven.turn(0);
    }
    assert!(
        here.read(0, here.length()).iter().all(|byte| *byte == 9),
        "written after the cancel: {outcome:?}"
    );
}

/// Two lanes that run in the turns that the case gives them.
struct Driven {
    devices: [Arc<dyn Device>; 2],
    sides: [(LaneDriver<AnyBackend>, Lane); 2],
    routes: [Route; 2],
}

impl Driven {
    fn new(context: &Context, config: &LaneConfig, options: &ConnectOptions) -> Self {
        let devices = Place::BOTH.map(|place| context.bed.device(place));
        let mut sides =
            devices.each_ref().map(|device| LaneDriver::new(device.backend(4096), config.clone()));
        let routes = [0, 1].map(|side| {
            let config = RouteConfig { config: crate::stage::config(), ..RouteConfig::default() };
            let (driver, lane) = &mut sides[side];
            driver.open_route(lane, config).expect("a route")
        });
        for side in [0, 1] {
            let peer = routes[1 - side].addresses();
            sides[side].0.connect(&routes[side], peer, options).expect("connecting");
        }
        Self { devices, sides, routes }
    }

    fn memories(&self, length: usize) -> (Memory, Memory) {
        (self.devices[0].memory(length, all()), self.devices[1].memory(length, all()))
    }

    fn turn(&mut self, side: usize) {
        self.sides[side].0.turn();
    }
}

fn passed_deadline(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let (here, there) = lanes.memories(4096);
    here.fill(1);
    let work = whole(Direction::Write, PART, &here, &there);
    for _ in 0..10 {
        let deadline = Some(Instant::now() - Duration::from_millis(1));
        let options = TransferOptions { deadline, ..TransferOptions::default() };
        let outcome = lanes.outcome(lanes.submit(0, &work, options));
        assert_eq!(outcome, Err(TransferError::DeadlineExceeded));
    }
    assert_eq!(there.read(0, 4096), [0; 4096], "nothing was posted");
    lanes.outcome(lanes.submit(0, &work, TransferOptions::default())).expect("the route goes on");
}

/// Deadlines that pass before, in and after the transfer: there is an outcome, and then the memory is quiet.
fn deadline_in_the_middle(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let (here, there) = lanes.memories(context.scale(1 << 20, 4 << 20));
    there.fill(1);
    let work = whole(Direction::Read, PART, &here, &there);
    let mut random = context.random(42);
    for _ in 0..context.scale(5, 20) {
        here.fill(0);
        let deadline = Some(Instant::now() + Duration::from_micros(random.below(3000) as u64));
        let options = TransferOptions { deadline, ..TransferOptions::default() };
        match lanes.outcome(lanes.submit(0, &work, options)) {
            Ok(outcome) => {
                assert_eq!(outcome.bytes as usize, here.length());
                assert!(here.read(0, here.length()).iter().all(|byte| *byte == 1));
            }
            Err(error) => assert_eq!(error, TransferError::DeadlineExceeded),
        }
        here.fill(9);
        thread::sleep(LINGER);
        assert!(here.read(0, here.length()).iter().all(|byte| *byte == 9), "written after the deadline");
    }
    assert_eq!(lanes.routes[0].fault(), None, "the route goes on");
}

/// Submits many, runs `stop`, and looks at every outcome.
fn all_have_outcomes(context: &Context, stop: impl Fn(&Lanes)) {
    for round in 0..context.scale(2, 10) {
        let lanes = Plan::new(context).open(context);
        let (here, there) = lanes.memories(256 << 10);
        let work = whole(Direction::Read, PART, &here, &there);
        let mut transfers: Vec<_> =
            (0..40).map(|_| lanes.submit(0, &work, TransferOptions::default())).collect();
        (0..round * 20).for_each(|_| thread::yield_now());
        stop(&lanes);
        let (mut done, mut failed) = (0, 0);
        for transfer in &mut transfers {
            match transfer.wait(lanes.deadline()) {
                Ok(outcome) => {
                    assert_eq!(outcome.bytes, 256 << 10);
                    done += 1;
                }
                Err(WaitError::Failed(TransferError::RouteClosed | TransferError::LaneEnded { .. })) => {
                    failed += 1
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(done + failed, 40);
        here.fill(9);
        thread::sleep(LINGER);
        assert!(here.read(0, here.length()).iter().all(|byte| *byte == 9), "written after the end");
    }
}

fn closing(context: &Context) {
    all_have_outcomes(context, |lanes| {
        let _ = lanes.routes[0].close();
    });
}

fn ending(context: &Context) {
    all_have_outcomes(context, |lanes| lanes.lanes[0].shutdown());
}

/// The lane gets no turns until its ring is full.
fn full_ring(context: &Context) {
    let plan = Plan::new(context);
    let config = LaneConfig { submissions: 4, transfers: 1, ..plan.lane };
    let mut driven = Driven::new(context, &config, &plan.connect);
    let (here, there) = driven.memories(1 << 18);
    let work = whole(Direction::Write, PART, &here, &there);
    let kept: Arc<u32> = Arc::new(7);
    let deadline = Instant::now() + context.patience;
    for round in 0..context.scale(3, 20) {
        here.fill(round);
        let mut transfers = Vec::new();
        let returned = loop {
            let keep_alive = Some(KeepAlive(Arc::clone(&kept) as Arc<_>));
            let options = TransferOptions { keep_alive, ..TransferOptions::default() };
            match driven.routes[0].submit(&work, options) {
                Ok(transfer) => transfers.push(transfer),
                Err(SubmitError::Full(options)) => break options.keep_alive.expect("the options come back"),
                Err(error) => panic!("{error}"),
            }
            assert!(transfers.len() < 100, "the ring is never full");
        };
        assert!(returned.0.downcast_ref::<u32>().is_some_and(|seven| *seven == 7));
        drop(returned);
        assert!(transfers.len() >= 4, "only {} fit", transfers.len());
        while !transfers.iter().all(Transfer::is_done) {
            driven.turn(0);
            driven.turn(1);
            assert!(Instant::now() < deadline, "hanging: transfers have no outcome");
        }
        assert!(transfers.iter().all(|one| one.poll() == Some(Ok(Outcome { bytes: 1 << 18 }))));
        assert!(there.read(0, 1 << 18).iter().all(|byte| *byte == round));
    }
    drop(driven);
    assert_eq!(Arc::strong_count(&kept), 1, "what transfers held is let go");
}
