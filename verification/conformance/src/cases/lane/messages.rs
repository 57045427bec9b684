//! Messages and notifications: their order, their credits, and what they may not overtake.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pmd_host::{
    backend::ConnectOptions,
    lane::{Message, Route, RouteConfig, RouteId},
    transfer::{Direction, Notification, SendError, TransferOptions, WorkList},
};

use super::{Lanes, Plan, Registrar, list, piece, whole};
use crate::{
    cases::{Case, case},
    context::{Context, pattern},
    memory::Memory,
    stage::config,
};

pub(super) const CASES: &[Case] = &[
    case("lane::messages_keep_their_order_within_their_credits", in_order),
    case("lane::messages_of_both_sides_at_once", both_sides),
    case("lane::a_notification_comes_after_all_bytes", notified),
    case("lane::an_immediate_rides_behind_all_bytes", immediate_notified),
    case("lane::immediates_that_ride_keep_within_their_credits", riders),
    case("lane::messages_beyond_the_limit_are_refused", too_long),
];

/// A lane that sent more messages than the peer has receives for would find the receiver not ready, which nobody
/// repeats here.
fn strict(context: &Context) -> Plan {
    let plan = Plan::new(context);
    Plan { receives: 8, connect: ConnectOptions { rnr_retry: 0, ..plan.connect }, ..plan }
}

/// Sends a message, however long it takes for credits to come back.
fn send(lanes: &Lanes, route: &Route, bytes: &[u8], immediate: Option<u32>) -> u64 {
    let refusals = AtomicU64::new(0);
    lanes.until("credits", || match route.send(bytes, immediate) {
        Ok(()) => true,
        Err(SendError::Full) => {
            refusals.fetch_add(1, Ordering::Relaxed);
            false
        }
        Err(error) => panic!("sending: {error}"),
    });
    refusals.into_inner()
}

fn expected(id: u64) -> (Vec<u8>, Option<u32>) {
    let bytes = pattern(id, id as usize % 65);
    (bytes, id.is_multiple_of(3).then_some(id as u32))
}

fn in_order(context: &Context) {
    let lanes = strict(context).open(context);
    let count = context.scale(100, 3000);
    for id in 0..count {
        let (bytes, immediate) = expected(id);
        send(&lanes, &lanes.routes[0], &bytes, immediate);
    }
    lanes.until("all messages", || lanes.heard_count(1) as u64 >= count);
    assert_eq!(lanes.heard(1), (0..count).map(expected).collect::<Vec<_>>());
    assert_eq!(lanes.routes.each_ref().map(Route::fault), [None, None], "credits were overrun");
    assert_eq!(lanes.heard_count(0), 0, "credits are nothing that an application sees");
}

fn both_sides(context: &Context) {
    let lanes = strict(context).open(context);
    let count = context.scale(100, 2000);
    std::thread::scope(|scope| {
        for side in [0, 1] {
            let lanes = &lanes;
            scope.spawn(move || {
                for id in 0..count {
                    let (bytes, immediate) = expected(id * 2 + side as u64);
                    send(lanes, &lanes.routes[side], &bytes, immediate);
                }
            });
        }
    });
    for side in [0, 1_usize] {
        lanes.until("all messages", || lanes.heard_count(side) as u64 >= count);
        let theirs = (0..count).map(|id| expected(id * 2 + (1 - side) as u64));
        assert_eq!(lanes.heard(side), theirs.collect::<Vec<_>>());
        assert_eq!(lanes.routes[side].fault(), None, "credits were overrun");
    }
}

fn notified(context: &Context) {
    let bytes =
        |round: u64| Notification { bytes: round.to_ne_bytes().to_vec(), immediate: Some(round as u32) };
    notified_by(context, 3, bytes);
}

/// On one queue pair an immediate alone goes with the last WRITE.
fn immediate_notified(context: &Context) {
    notified_by(context, 1, rider);
}

fn rider(id: u64) -> Notification {
    Notification { bytes: Vec::new(), immediate: Some(id as u32) }
}

/// The receiving handler looks at the memory when the notification comes.
fn notified_by(context: &Context, queue_pairs: usize, notification: impl Fn(u64) -> Notification) {
    let plan = Plan { queue_pairs, ..Plan::new(context) };
    let lanes = plan.clone().open(context);
    let length = context.scale(200_000, 1 << 20);
    let (here, there) = lanes.memories(length);
    let there = Arc::new(there);
    let seen: Arc<Mutex<Vec<(u64, bool)>>> = Arc::default();
    let routes = watched(&lanes, &plan, &there, &seen);
    let work = whole(Direction::Write, 20_000, &here, &there);
    let rounds = context.scale(4, 30);
    for round in 0..rounds {
        here.write(0, &pattern(round, length));
        let options = TransferOptions { notify: Some(notification(round)), ..TransferOptions::default() };
        let transfer = routes[0].submit_waiting(&work, options, lanes.deadline()).expect("submitting");
        assert_eq!(lanes.outcome(transfer).expect("the transfer").bytes as usize, length);
        // The next round overwrites what this one's handler compares with.
        lanes.until("the notification", || {
            seen.lock().unwrap_or_else(PoisonError::into_inner).len() as u64 > round
        });
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(seen, (0..rounds).map(|round| (round, true)).collect::<Vec<_>>());
}

/// Both sides write to each other all the time, each transfer with an immediate, and send messages between them.
fn riders(context: &Context) {
    let lanes = Plan { queue_pairs: 1, ..strict(context) }.open(context);
    let (here, there) = lanes.memories(256);
    let count = context.scale(60, 2000);
    std::thread::scope(|scope| {
        for (side, from, to) in [(0, &here, &there), (1, &there, &here)] {
            let lanes = &lanes;
            scope.spawn(move || write_and_send(lanes, side, &half(from, to, side), count));
        }
    });
    for side in [0, 1_usize] {
        lanes.until("all messages", || lanes.heard_count(side) as u64 >= count + count.div_ceil(3));
        let (riders, messages): (Vec<_>, Vec<_>) =
            lanes.heard(side).into_iter().partition(|(bytes, _)| bytes.is_empty());
        assert_eq!(riders, (0..count).map(|id| (Vec::new(), Some(id as u32))).collect::<Vec<_>>());
        let ids = (0..count).step_by(3);
        assert_eq!(messages, ids.map(|id| (id.to_ne_bytes().to_vec(), None)).collect::<Vec<_>>());
        assert_eq!(lanes.routes[side].fault(), None, "credits were overrun");
    }
}

/// A list of two requests that stays in one half of the memories.
fn half(from: &Memory, to: &Memory, side: usize) -> Arc<WorkList> {
    let start = side * 128;
    list(Direction::Write, 64, [(piece(from, start, 128), to.remote(start))])
}

fn write_and_send(lanes: &Lanes, side: usize, work: &Arc<WorkList>, count: u64) {
    let mut running = VecDeque::new();
    for id in 0..count {
        if id.is_multiple_of(3) {
            send(lanes, &lanes.routes[side], &id.to_ne_bytes(), None);
        }
        let options = TransferOptions { notify: Some(rider(id)), ..TransferOptions::default() };
        running.push_back(lanes.submit(side, work, options));
        if running.len() > 4 {
            let done = running.pop_front().map(|transfer| lanes.outcome(transfer));
            assert_eq!(done.expect("one of five").expect("the transfer").bytes, 128);
        }
    }
    for transfer in running {
        lanes.outcome(transfer).expect("the transfer");
    }
}

/// A route whose right end compares its memory with the round's pattern at each message.
fn watched(
    lanes: &Lanes,
    plan: &Plan,
    there: &Arc<Memory>,
    seen: &Arc<Mutex<Vec<(u64, bool)>>>,
) -> [Route; 2] {
    let (memory, seen) = (Arc::clone(there), Arc::clone(seen));
    let look = move |_: RouteId, message: Message<'_>| {
        let round = match <[u8; 8]>::try_from(message.bytes) {
            Ok(word) => u64::from_ne_bytes(word),
            Err(_) => u64::from(message.immediate.expect("an immediate alone")),
        };
        let whole = memory.read(0, memory.length()) == pattern(round, memory.length());
        seen.lock().unwrap_or_else(PoisonError::into_inner).push((round, whole));
    };
    let right = RouteConfig {
        queue_pairs: plan.queue_pairs,
        config: config(),
        handler: Some(Box::new(look)),
        memory: Some(Arc::new(Registrar(Arc::clone(&lanes.devices[1])))),
        message_receives: 8,
        message_bytes: 64,
    };
    let left = RouteConfig {
        handler: None,
        memory: Some(Arc::new(Registrar(Arc::clone(&lanes.devices[0])))),
        queue_pairs: plan.queue_pairs,
        config: config(),
        message_receives: 8,
        message_bytes: 64,
    };
    let routes = [
        lanes.lanes[0].open_route(left).expect("a route"),
        lanes.lanes[1].open_route(right).expect("a route"),
    ];
    for side in [0, 1] {
        routes[side].connect(routes[1 - side].addresses(), &plan.connect).expect("connecting");
    }
    routes
}

fn too_long(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let refused = lanes.routes[0].send(&[0; 65], None);
    assert_eq!(refused, Err(SendError::TooLong { given: 65, limit: 64 }));
    send(&lanes, &lanes.routes[0], &[7; 64], None);
    lanes.until("the message", || lanes.heard_count(1) == 1);
    assert_eq!(lanes.heard(1), [(vec![7; 64], None)]);
}
