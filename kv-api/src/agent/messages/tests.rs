//! Messages between two messengers of one process, whose receivers can be told to misbehave.

use std::{
    env, fs,
    process::Command,
    sync::{Condvar, MutexGuard},
};

use pmd_core::sync::{AtomicBool, AtomicU64, Ordering};
use proptest::prelude::*;

use super::{
    frame::{Content, MessageRecord, Record, Records, Source},
    *,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Number, header and payload of a message.
type Came = (u16, Vec<u8>, Vec<u8>);

/// Keeps what comes; blocks, refuses room or panics when told to.
#[derive(Default)]
struct Keeper {
    came: Mutex<Vec<Came>>,
    changed: Condvar,
    full: AtomicBool,
    /// Bytes of payloads that were not kept.
    counted: AtomicU64,
    counting: AtomicBool,
}

impl Keeper {
    fn came(&self) -> MutexGuard<'_, Vec<Came>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first `count` messages, in the order in which they came.
    fn wait(&self, count: usize) -> Vec<Came> {
        let deadline = soon();
        let mut came = self.came();
        while came.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} came", came.len());
            came = self.changed.wait_timeout(came, left).expect("not poisoned").0;
        }
        came.clone()
    }
}

impl Receiver for Keeper {
    fn message(&self, _: &Peer, message: ActiveMessage<'_>) {
        assert_ne!(message.number, 666, "told to panic");
        if self.counting.load(Ordering::Relaxed) {
            self.counted.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.came().push((message.number, message.header.to_vec(), message.payload.into_owned()));
        self.changed.notify_all();
    }

    fn has_room(&self) -> bool {
        !self.full.load(Ordering::Relaxed)
    }
}

struct Pair {
    here: Messenger,
    there: Messenger,
    keeper: Arc<Keeper>,
    peer: Peer,
}

fn messenger(limits: &MessageLimits) -> (Messenger, Arc<Keeper>) {
    let keeper = Arc::new(Keeper::default());
    let config = EndpointConfig { listen: Some(([127, 0, 0, 1], 0).into()), ..EndpointConfig::default() };
    let messenger = Messenger::open(config, limits.clone(), Arc::clone(&keeper) as _).expect("a messenger");
    (messenger, keeper)
}

fn pair_with(limits: &MessageLimits) -> Pair {
    let (here, _) = messenger(limits);
    let (there, keeper) = messenger(limits);
    let peer = here.connect(there.fabric().local_address().expect("it listens")).expect("a peer");
    Pair { here, there, keeper, peer }
}

fn pair() -> Pair {
    pair_with(&MessageLimits::default())
}

/// What the peer's receiver said of a message.
fn outcome(delivery: &Delivery) -> Result<(), MessageError> {
    delivery.wait(soon()).expect("an outcome")
}

fn pattern(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 + seed) as u8).collect()
}

#[test]
fn headers_and_payloads_of_all_sizes_arrive_in_order() {
    let Pair { here, there: _there, keeper, peer } = pair();
    let sizes = [
        (0, 0),
        (0, 1),
        (16, 100),
        (4096, 4096),
        (4096, 4097),
        (0, 8192),
        (0, 8193),
        (7, 5 << 20),
        (1, 0),
        (0, 70_000),
        (3, 3),
    ];
    let sent: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(index, (header, payload))| {
            let (number, header, payload) =
                (index as u16, pattern(index, *header), pattern(index + 1, *payload));
            let delivery = here.send(&peer, number, &header, payload.clone(), None).expect("taken");
            (delivery, (number, header, payload))
        })
        .collect();
    for (delivery, _) in &sent {
        assert_eq!(outcome(delivery), Ok(()));
    }
    let expected: Vec<_> = sent.into_iter().map(|(_, message)| message).collect();
    assert!(keeper.wait(expected.len()) == expected, "other messages, or another order");
}

#[test]
fn two_threads_keep_each_their_order() {
    let Pair { here, there: _there, keeper, peer } = pair();
    thread::scope(|scope| {
        for thread in 0..2_u16 {
            let (here, peer) = (&here, &peer);
            scope.spawn(move || {
                for index in 0..500_u32 {
                    let size = if index % 50 == 0 { 20_000 } else { 8 };
                    let mut payload = vec![0; size];
                    payload[..4].copy_from_slice(&index.to_le_bytes());
                    here.post(peer, thread, &[], &payload, Some(soon())).expect("taken");
                }
            });
        }
    });
    let came = keeper.wait(1000);
    for thread in 0..2 {
        let of_thread = came.iter().filter(|message| message.0 == thread);
        let numbers: Vec<u32> =
            of_thread.map(|message| u32::from_le_bytes(message.2[..4].try_into().expect("four"))).collect();
        assert!(numbers.into_iter().eq(0..500));
    }
}

#[test]
fn a_receiver_without_room_stops_the_sender_and_loses_nothing() {
    let limits = MessageLimits { window_bytes: 4096, waiting_bytes: 8192, ..MessageLimits::default() };
    let Pair { here, there, keeper, peer } = pair_with(&limits);
    keeper.full.store(true, Ordering::Relaxed);
    let mut sent = 0_u32;
    let full = loop {
        // Long enough for the progress thread to fill the window.
        match here.post(&peer, 1, &[], &sent.to_le_bytes(), Some(Instant::now() + Duration::from_millis(100)))
        {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "it never says that it is full");
    };
    assert!(matches!(full, MessageError::Full { .. }), "{full}");
    assert!(keeper.came().is_empty());
    keeper.full.store(false, Ordering::Relaxed);
    there.resume();
    let came = keeper.wait(sent as usize);
    assert!(
        came.iter().map(|message| u32::from_le_bytes(message.2[..].try_into().expect("four"))).eq(0..sent)
    );
    here.post(&peer, 1, &[], &[1; 4], Some(soon())).expect("room again");
    assert!(here.flush(soon()));
}

#[test]
fn what_is_refused_says_why_and_the_rest_goes_on() {
    let (here, _) = messenger(&MessageLimits::default());
    let (there, keeper) = messenger(&MessageLimits { longest_payload: 10_000, ..MessageLimits::default() });
    let peer = here.connect(there.fabric().local_address().expect("it listens")).expect("a peer");
    let send = |number, bytes| here.send(&peer, number, &[], vec![1; bytes], None).expect("taken");
    let deliveries = [send(1, 10), send(1, 10_001), send(666, 10), send(666, 9000), send(1, 9000)];
    let outcomes: Vec<_> = deliveries.iter().map(outcome).collect();
    let refused = |why| Err(MessageError::Refused(why));
    assert_eq!(
        outcomes,
        [Ok(()), refused(Refused::TooLong), refused(Refused::Panicked), refused(Refused::Panicked), Ok(())]
    );
    assert_eq!(keeper.wait(2).len(), 2);
    let header = here.post(&peer, 1, &[0; HEADER_BYTES + 1], &[], None).expect_err("too long");
    assert_eq!(header, MessageError::HeaderTooLong { given: HEADER_BYTES + 1, limit: HEADER_BYTES });
}

/// Memory that is not there, and a payload that is not where it was said to be.
#[test]
fn payloads_that_cannot_be_read_are_refused_or_take_the_route_down() {
    let unlimited = MessageLimits { longest_payload: u64::MAX, ..MessageLimits::default() };
    let Pair { here, there, keeper, peer } = pair_with(&unlimited);
    let lie = |length| {
        let source = Source { address: 4096, key: pmd_core::memory::RemoteKey(1), token: 77 };
        let content = Content::Rendezvous { length, source };
        let mut frame = Vec::new();
        frame::begin(&mut frame);
        Record::Message(MessageRecord { number: 1, ask: true, loose: true, header: &[], content })
            .emit(&mut frame);
        frame
    };
    peer.route().send(&lie(1 << 62), None).expect("sent");
    here.send(&peer, 2, &[], vec![2; 3], None)
        .map(|delivery| assert_eq!(outcome(&delivery), Ok(())))
        .expect("taken");
    assert_eq!(keeper.wait(1)[0].0, 2);
    peer.route().send(&lie(9000), None).expect("sent");
    let deadline = soon();
    while there.fabric().endpoint().peers().iter().all(|peer| peer.route().fault().is_none()) {
        assert!(Instant::now() < deadline, "a read without a key that fits succeeds");
        thread::yield_now();
    }
}

#[test]
fn a_deadline_fails_what_was_not_taken_by_then() {
    let limits = MessageLimits { window_bytes: 1, ..MessageLimits::default() };
    let Pair { here, there, keeper, peer } = pair_with(&limits);
    keeper.full.store(true, Ordering::Relaxed);
    let soon_over = Some(Instant::now() + Duration::from_millis(20));
    let on_its_way = here.send(&peer, 1, &[], vec![1], soon_over).expect("taken");
    let waiting = here.send(&peer, 2, &[], vec![2; 50_000], soon_over).expect("taken");
    let patient = here.send(&peer, 3, &[], vec![3], Some(soon())).expect("taken");
    assert_eq!(outcome(&on_its_way), Err(MessageError::DeadlineExceeded));
    assert_eq!(outcome(&waiting), Err(MessageError::DeadlineExceeded));
    assert_eq!(patient.poll(), None);
    keeper.full.store(false, Ordering::Relaxed);
    there.resume();
    assert_eq!(outcome(&patient), Ok(()));
    let numbers: Vec<u16> = keeper.wait(2).iter().map(|message| message.0).collect();
    assert_eq!(numbers, [1, 3], "what was on its way arrives, what waited does not");
}

#[test]
fn a_peer_that_goes_fails_what_it_has_not_taken() {
    let Pair { here, there, keeper, peer } = pair();
    keeper.full.store(true, Ordering::Relaxed);
    let small = here.send(&peer, 1, &[], vec![1], None).expect("taken");
    let large = here.send(&peer, 1, &[], vec![1; 1 << 20], None).expect("taken");
    drop(there);
    let gone = [outcome(&small), outcome(&large)];
    assert!(
        gone.iter().all(|outcome| matches!(outcome, Err(MessageError::PeerDown | MessageError::Route(_)))),
        "{gone:?}"
    );
    let after = here.send(&peer, 1, &[], vec![1], None).map(drop).expect_err("down");
    assert!(matches!(after, MessageError::PeerDown | MessageError::Route(_)), "{after}");
    assert!(here.flush(soon()), "nothing is left");
}

#[test]
fn a_route_that_fails_is_noticed() {
    let Pair { here, there: _there, keeper, peer } = pair();
    keeper.full.store(true, Ordering::Relaxed);
    let delivery = here.send(&peer, 1, &[], vec![1], None).expect("taken");
    peer.route().fail(pmd_host::transfer::RouteFault::Closed);
    assert!(matches!(outcome(&delivery), Err(MessageError::Route(_))));
}

#[test]
fn closing_fails_what_the_peer_does_not_take() {
    let Pair { here, there: _there, keeper, peer } = pair();
    keeper.full.store(true, Ordering::Relaxed);
    let delivery = here.send(&peer, 1, &[], vec![1], None).expect("taken");
    drop(here);
    assert!(matches!(outcome(&delivery), Err(MessageError::Closed | MessageError::PeerDown)));
}

#[test]
fn a_messenger_that_goes_delivers_what_it_took() {
    let Pair { here, there: _there, keeper, peer } = pair();
    for index in 0..2000_u32 {
        here.post(&peer, 1, &[], &index.to_le_bytes(), Some(soon())).expect("taken");
    }
    here.post(&peer, 2, &[], &vec![5; 1 << 20], None).expect("taken");
    drop((here, peer));
    assert_eq!(keeper.wait(2001)[2000].2, vec![5; 1 << 20]);
}

#[test]
fn somebody_who_speaks_otherwise_is_hung_up_on() {
    for frame in [&b"hello"[..], &[0xa6, 1, 1], &[0xa6, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let Pair { here: _here, there: _there, keeper, peer } = pair();
        peer.route().send(frame, None).expect("sent");
        let deadline = soon();
        while peer.down_reason().is_none() {
            assert!(Instant::now() < deadline, "nobody minds {frame:?}");
            thread::yield_now();
        }
        assert!(keeper.came().is_empty());
    }
}

#[test]
fn tasks_run_on_the_progress_thread() {
    let (messenger, _) = messenger(&MessageLimits::default());
    let (sender, receiver) = std::sync::mpsc::channel();
    messenger.spawn(async move {
        let name = thread::current().name().map(ToOwned::to_owned);
        sender.send(name).expect("the test listens");
    });
    assert_eq!(receiver.recv_timeout(PATIENCE).expect("it ran").as_deref(), Some("pmd-progress"));
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_million_small_messages_need_bounded_memory() {
    // In a process of its own: other tests allocate too.
    const ALONE: &str = "PMD_TEST_ALONE";
    if env::var_os(ALONE).is_none() {
        let name = "agent::messages::tests::a_million_small_messages_need_bounded_memory";
        let mut command = Command::new(env::current_exe().expect("this test"));
        let output = command.args(["--exact", name]).env(ALONE, "1").output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let Pair { here, there: _there, keeper, peer } = pair();
    keeper.counting.store(true, Ordering::Relaxed);
    let post = |count: u64| {
        for index in 0..count {
            here.post(&peer, 1, &[], &index.to_le_bytes(), Some(soon())).expect("taken");
        }
        assert!(here.flush(soon()));
    };
    post(100_000);
    let before = resident();
    post(900_000);
    assert_eq!(keeper.counted.load(Ordering::Relaxed), 1_000_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more");
}

/// Kind, number, header, payload and a value of a record.
type Drawn = (u8, u16, Vec<u8>, Vec<u8>, u64);

fn records() -> impl Strategy<Value = Vec<Drawn>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((0_u8..6, any::<u16>(), bytes(), bytes(), any::<u64>()), 0..12)
}

proptest! {
    #[test]
    fn frames_come_back_as_they_went(records in records()) {
        let records: Vec<Record<'_>> = records.iter().map(|(kind, number, header, payload, value)| {
            let source = Source { address: *value, key: pmd_core::memory::RemoteKey(*number as u32), token: !value };
            let content = if *kind == 0 { Content::Eager(payload) } else { Content::Rendezvous { length: *value, source } };
            match kind {
                0 | 1 => Record::Message(MessageRecord { number: *number, ask: value % 2 == 0, loose: value % 3 == 0, header, content }),
                2 => Record::Acknowledge { taken: *value },
                3 => Record::Finished { token: *value },
                4 => Record::Refused { loose: value % 2 == 0, which: *value, why: Refused::NoMemory },
                _ => Record::Ask,
            }
        }).collect();
        let mut frame = Vec::new();
        frame::begin(&mut frame);
        records.iter().for_each(|record| record.emit(&mut frame));
        let back: Vec<_> = Records::of(&frame).expect("a frame").map(|record| record.expect("a record")).collect();
        prop_assert_eq!(back, records);
    }

    #[test]
    fn no_bytes_bring_the_parser_down(mut frame in prop::collection::vec(any::<u8>(), 2..200)) {
        frame[..2].copy_from_slice(&[0xa6, 1]);
        let _ = Records::of(&frame).expect("the preamble fits").count();
    }
}
