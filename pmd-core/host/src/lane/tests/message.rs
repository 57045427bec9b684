//! Messages: order, credits, notifications, faults of handlers and peers.

use std::{
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    backend::SetupError,
    lane::{Message, MessageHandler, MessageMemory, MessageRegistrar, RouteId},
    transfer::{CancelOutcome, Notification, RouteFault, SendError, SubmitError, TransferError},
};

/// Heap memory under key 9.
struct Heap;

struct HeapMemory(Box<[std::cell::UnsafeCell<u8>]>);

impl MessageRegistrar for Heap {
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError> {
        Ok(Box::new(HeapMemory((0..bytes).map(|_| std::cell::UnsafeCell::new(0)).collect())))
    }
}

#[expect(unsafe_code, reason = "the trait carries a promise")]
// SAFETY: a heap block in cells, whose address nobody else knows.
unsafe impl MessageMemory for HeapMemory {
    fn address(&self) -> NonNull<u8> {
        NonNull::from(&self.0[0]).cast()
    }

    fn length(&self) -> usize {
        self.0.len()
    }

    fn key(&self) -> LocalKey {
        LocalKey(9)
    }
}

/// An immediate at which the handler panics.
pub(super) const PANIC: u32 = 0xdead_dead;

/// A message's bytes and immediate.
pub(super) type Taken = (Vec<u8>, Option<u32>);

/// What a handler has taken, and how its route ended.
#[derive(Clone, Default)]
pub(super) struct Inbox(Arc<Mutex<Vec<Taken>>>, Arc<Mutex<Option<RouteFault>>>);

impl Inbox {
    pub(super) fn take(&self) -> Vec<Taken> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl MessageHandler for Inbox {
    fn message(&mut self, _: RouteId, message: Message<'_>) {
        assert_ne!(message.bytes, b"panic", "asked to");
        assert_ne!(message.immediate, Some(PANIC), "asked to");
        self.0.lock().unwrap().push((message.bytes.to_vec(), message.immediate));
    }

    fn down(&mut self, _: RouteId, fault: RouteFault) {
        assert_eq!(self.1.lock().unwrap().replace(fault), None, "told twice");
    }
}

/// Two lanes that the test drives, and a route between them.
pub(super) struct Pair {
    pub(super) net: Net,
    pub(super) drivers: [LaneDriver<Fake>; 2],
    pub(super) routes: [Route; 2],
    pub(super) inboxes: [Inbox; 2],
}

impl Pair {
    pub(super) fn new(receives: u32) -> Self {
        Self::with(RouteConfig { message_receives: receives, ..RouteConfig::default() })
    }

    /// With the sizes of `config`.
    pub(super) fn with(config: RouteConfig) -> Self {
        let RouteConfig { queue_pairs, config: sizes, message_receives, .. } = config;
        let net = Net::default();
        let inboxes = [Inbox::default(), Inbox::default()];
        let mut lanes = [0, 1].map(|_| LaneDriver::new(net.device(sleep), short_grace()));
        let open = |side: usize, (driver, lane): &mut (LaneDriver<Fake>, Lane)| {
            let config = RouteConfig {
                handler: Some(Box::new(inboxes[side].clone())),
                memory: Some(Arc::new(Heap)),
                message_receives,
                queue_pairs,
                config: sizes,
                ..RouteConfig::default()
            };
            driver.open_route(lane, config).unwrap()
        };
        let routes = [open(0, &mut lanes[0]), open(1, &mut lanes[1])];
        let addresses = [routes[0].addresses().to_vec(), routes[1].addresses().to_vec()];
        let mut drivers = lanes.map(|(driver, _)| driver);
        for side in [0, 1] {
            drivers[side].connect(&routes[side], &addresses[1 - side], &ConnectOptions::default()).unwrap();
        }
        Self { net, drivers, routes, inboxes }
    }

    pub(super) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.drivers.iter_mut().for_each(|driver| {
                driver.turn();
            });
        }
    }

    pub(super) fn not_ready(&self) -> u64 {
        self.net.with(0, |device| device.not_ready) + self.net.with(1, |device| device.not_ready)
    }

    pub(super) fn finish(&mut self, transfer: &Transfer) -> Result<Outcome, TransferError> {
        for _ in 0..10_000 {
            self.turns(1);
            if let Some(result) = transfer.poll() {
                return result;
            }
        }
        panic!("no outcome");
    }
}

#[test]
fn messages_arrive_in_order_short_and_long() {
    let mut pair = Pair::new(64);
    let messages: Vec<Vec<u8>> = (0..200_usize).map(|index| vec![index as u8; index * 5]).collect();
    for (index, message) in messages.iter().enumerate() {
        let immediate = (index % 3 == 0).then_some(index as u32);
        while pair.routes[0].send(message, immediate) == Err(SendError::Full) {
            pair.turns(1);
        }
    }
    pair.turns(100);
    let expected: Vec<_> = messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| (message, (index % 3 == 0).then_some(index as u32)))
        .collect();
    assert_eq!(pair.inboxes[1].take(), expected);
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn a_peer_that_does_not_take_messages_stops_the_sender() {
    for receives in [8, 9, 16, 64] {
        let mut pair = Pair::new(receives);
        let mut sent = 0;
        for _ in 0..200 {
            if pair.routes[0].send(b"ping", None).is_ok() {
                sent += 1;
            }
            pair.drivers[0].turn();
        }
        assert_eq!(sent, 8, "first credits");
        pair.turns(20);
        assert_eq!(pair.inboxes[1].take().len(), 8);
        for _ in 0..200 {
            sent += usize::from(pair.routes[0].send(b"ping", None).is_ok());
            pair.drivers[0].turn();
        }
        let second = sent - 8;
        assert!(second <= receives as usize && second >= receives as usize / 2, "{second} of {receives}");
        pair.turns(20);
        assert_eq!(pair.inboxes[1].take().len(), second);
        assert_eq!(pair.not_ready(), 0);
    }
}

#[test]
fn both_sides_can_send_without_end() {
    let mut pair = Pair::new(8);
    let mut sent = [0; 2];
    for round in 0..5000 {
        for side in [0, 1] {
            while pair.routes[side].send(&[side as u8; 7], None).is_ok() {
                sent[side] += 1;
            }
        }
        pair.drivers[round % 2].turn();
    }
    pair.turns(50);
    assert_eq!(pair.inboxes[1].take().len(), sent[0]);
    assert_eq!(pair.inboxes[0].take().len(), sent[1]);
    assert!(sent[0] > 1000 && sent[1] > 1000, "{sent:?}");
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn a_notification_comes_after_the_bytes() {
    let mut pair = Pair::new(64);
    let notify = Some(Notification { bytes: b"done".to_vec(), immediate: Some(7) });
    let options = TransferOptions { notify, ..TransferOptions::default() };
    let transfer = pair.routes[0].submit(&list(100), options).unwrap();
    assert_eq!(pair.finish(&transfer), Ok(Outcome { bytes: 1600 }));
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take(), [(b"done".to_vec(), Some(7))]);
    let posts = pair.net.posts(0);
    assert_eq!(posts.len(), 101);
    assert_eq!(posts[100].kind, pmd_core::provider::CompletionKind::Send);
}

#[test]
fn a_transfer_that_was_notified_is_done_although_it_was_cancelled_meanwhile() {
    let mut pair = Pair::new(64);
    let notify = Some(Notification { bytes: b"done".to_vec(), immediate: None });
    let options = TransferOptions { notify, ..TransferOptions::default() };
    let transfer = pair.routes[0].submit(&list(10), options).unwrap();
    pair.drivers[0].turn();
    assert_eq!(pair.net.posts(0).len(), 11, "posted to the end");
    transfer.request_cancel();
    assert_eq!(pair.finish(&transfer), Ok(Outcome { bytes: 160 }), "the peer was told so");
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take(), [(b"done".to_vec(), None)]);
}

#[test]
fn what_a_peer_said_before_it_went_is_heard() {
    let mut pair = Pair::new(64);
    for _ in 0..8 {
        pair.routes[0].send(b"last words", None).unwrap();
    }
    // They are there, and this side has not looked yet when it hears that the peer is gone.
    for _ in 0..3 {
        pair.drivers[0].turn();
    }
    pair.routes[1].fail(RouteFault::PeerDown);
    pair.drivers[1].turn();
    assert_eq!(pair.inboxes[1].take().len(), 8);
    pair.turns(3);
    assert_eq!(pair.inboxes[1].take(), []);
    assert_eq!(pair.routes[1].fault(), Some(RouteFault::PeerDown));
}

#[test]
fn notifications_wait_for_credits_and_come_first_when_there_are_some() {
    let mut pair = Pair::new(8);
    for _ in 0..8 {
        pair.routes[0].send(b"message", None).unwrap();
    }
    let notify = Some(Notification { bytes: b"done".to_vec(), immediate: None });
    let options = TransferOptions { notify, ..TransferOptions::default() };
    let transfer = pair.routes[0].submit(&list(3), options).unwrap();
    for _ in 0..50 {
        pair.drivers[0].turn();
    }
    assert_eq!(transfer.poll(), None);
    assert!(pair.finish(&transfer).is_ok());
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take().len(), 9);
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn the_credit_of_a_notification_that_was_given_up_is_for_anybody() {
    let config = QueuePairConfig { send_slots: 8, ..QueuePairConfig::default() };
    let mut pair = Pair::with(RouteConfig { config, message_receives: 8, ..RouteConfig::default() });
    pair.net.script(0, |script| script.frozen = true);
    let bytes = pair.routes[0].submit(&list(1), TransferOptions::default()).unwrap();
    pair.drivers[0].turn();
    for _ in 0..7 {
        pair.routes[0].send(b"message", None).unwrap();
    }
    pair.drivers[0].turn();
    // The send queue is full: the notification has its credit, and waits for a slot.
    let notify = Some(Notification { bytes: Vec::new(), immediate: None });
    let notified =
        pair.routes[0].submit(&list(0), TransferOptions { notify, ..TransferOptions::default() }).unwrap();
    pair.drivers[0].turn();
    assert_eq!(pair.net.posts(0).len(), 8);
    assert_eq!(pair.routes[0].send(b"message", None), Err(SendError::Full));
    assert_eq!(pair.drivers[0].cancel(&notified), CancelOutcome::Cancelled);
    pair.net.script(0, |script| script.frozen = false);
    assert!(pair.drivers[0].run_until(&bytes, soon()).is_ok());
    assert_eq!(pair.routes[0].send(b"message", None), Ok(()));
    assert_eq!(pair.routes[0].send(b"message", None), Err(SendError::Full));
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take().len(), 8);
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn a_message_that_the_ring_refuses_keeps_its_credit() {
    let (net, inbox) = (Net::default(), Inbox::default());
    let (mut driver, lane) =
        LaneDriver::new(net.device(sleep), LaneConfig { submissions: 4, ..short_grace() });
    let config = RouteConfig {
        handler: Some(Box::new(inbox.clone())),
        memory: Some(Arc::new(Heap)),
        message_receives: 8,
        ..RouteConfig::default()
    };
    let route = driver.open_route(&lane, config).unwrap();
    driver.connect(&route, route.addresses(), &ConnectOptions::default()).unwrap();
    let send = |count: usize| (0..count).filter(|_| route.send(b"message", None).is_ok()).count();
    // Eight credits, and a ring of four.
    assert_eq!(send(20), 4);
    driver.turn();
    assert_eq!(send(20), 4);
    for _ in 0..20 {
        driver.turn();
    }
    assert_eq!(inbox.take().len(), 8);
}

#[test]
fn a_failed_transfer_is_not_notified() {
    let mut pair = Pair::new(64);
    pair.net.script(0, |script| script.poison = Some((0x100, pmd_core::wire::Syndrome::RemoteAccess)));
    let notify = Some(Notification { bytes: b"done".to_vec(), immediate: None });
    let options = TransferOptions { notify, ..TransferOptions::default() };
    let transfer = pair.routes[0].submit(&list(100), options).unwrap();
    assert!(matches!(pair.finish(&transfer), Err(TransferError::Failed { entry: 0, .. })));
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take(), []);
}

#[test]
fn a_notification_waits_for_parts_on_other_queue_pairs() {
    let mut pair = Pair::with(RouteConfig { queue_pairs: 2, ..RouteConfig::default() });
    // The last part is on the other queue pair than messages are, and does not arrive.
    let last = 0x100 + 2 * 7 * 16_384;
    let poison = Some((last, pmd_core::wire::Syndrome::RemoteAccess));
    pair.net.script(0, |script| (script.poison, script.per_poll) = (poison, 1));
    let notify = Some(Notification { bytes: b"done".to_vec(), immediate: None });
    let options = TransferOptions { notify, ..TransferOptions::default() };
    let transfer = pair.routes[0].submit(&list_at(0x100, 8, 16_384), options).unwrap();
    assert!(matches!(pair.finish(&transfer), Err(TransferError::Failed { entry: 7, .. })));
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take(), []);
    assert!(pair.net.posts(0).iter().any(|post| post.remote == last && post.queue == 1));
}

#[test]
fn a_panicking_handler_takes_its_route_down_and_not_the_lane() {
    let mut pair = Pair::new(64);
    pair.routes[0].send(b"panic", None).unwrap();
    pair.turns(20);
    assert_eq!(pair.routes[1].fault(), Some(RouteFault::HandlerPanicked));
    assert_eq!(pair.routes[1].lane().fault(), None);
    assert_eq!(*pair.inboxes[1].1.lock().unwrap(), Some(RouteFault::HandlerPanicked));
}

#[test]
fn messages_that_do_not_fit_are_refused() {
    let pair = Pair::new(64);
    let limit = pair.routes[0].message_limit();
    assert_eq!(limit, 1024);
    assert_eq!(pair.routes[0].send(&[0; 1025], None), Err(SendError::TooLong { given: 1025, limit }));
    assert_eq!(pair.routes[0].send(&[0; 1024], None), Ok(()));
}

#[test]
fn a_message_sent_before_its_route_is_dropped_arrives() {
    let mut pair = Pair::new(64);
    let Pair { routes: [sender, receiver], .. } = pair;
    sender.send(b"last words", None).unwrap();
    drop(sender);
    for _ in 0..20 {
        pair.drivers.iter_mut().for_each(|driver| {
            driver.turn();
        });
    }
    assert_eq!(pair.inboxes[1].take(), [(b"last words".to_vec(), None)]);
    assert_eq!(pair.net.with(0, |device| device.queues.iter().flatten().count()), 0);
    drop(receiver);
}

#[test]
fn a_route_without_memory_has_no_messages() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    assert_eq!(route.message_limit(), 0);
    assert_eq!(route.send(b"", None), Err(SendError::NoMemory));
    let notify = Some(Notification { bytes: Vec::new(), immediate: None });
    let refused = route.submit(&list(1), TransferOptions { notify, ..TransferOptions::default() });
    assert!(matches!(refused, Err(SubmitError::NoMemory)));
}

#[test]
fn a_closure_is_a_handler() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let mut handler = move |_: RouteId, message: Message<'_>| {
        counter.fetch_add(message.bytes.len(), Ordering::Relaxed);
    };
    MessageHandler::message(&mut handler, RouteId(1), Message { bytes: b"four", immediate: None });
    assert_eq!(taken.load(Ordering::Relaxed), 4);
}

#[test]
fn a_peer_that_goes_while_nothing_is_outstanding_breaks_the_connection() {
    let mut pair = Pair::new(8);
    pair.turns(3);
    pair.net.with(0, |device| device.fail_all());
    pair.turns(3);
    assert_eq!(pair.routes[0].fault(), Some(RouteFault::Disconnected), "flushed is no cause");
    assert_eq!(*pair.inboxes[0].1.lock().unwrap(), Some(RouteFault::Disconnected));
}

#[test]
fn a_broken_connection_takes_the_cause_that_is_found_later() {
    let mut pair = Pair::new(8);
    pair.turns(3);
    pair.net.with(0, |device| device.fail_all());
    pair.turns(3);
    pair.routes[0].fail(RouteFault::PeerDown);
    pair.turns(3);
    assert_eq!(pair.routes[0].fault(), Some(RouteFault::PeerDown), "the cause is known now");
    pair.routes[0].fail(RouteFault::Closed);
    assert_eq!(pair.routes[0].fault(), Some(RouteFault::PeerDown), "the first cause counts");
    assert_eq!(pair.routes[0].send(b"x", None), Err(SendError::RouteFailed(RouteFault::PeerDown)));
}

#[test]
fn receives_that_a_peer_leaves_behind_have_not_failed() {
    let mut pair = Pair::new(8);
    pair.turns(3);
    pair.net.with(0, |device| device.fail_all());
    pair.turns(3);
    assert_eq!(pair.routes[0].fault(), Some(RouteFault::Disconnected));
    assert_eq!(pair.routes[0].lane().counters().failed_completions.total(), 0);
}
