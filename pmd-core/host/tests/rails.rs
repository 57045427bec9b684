//! Two rails over TCP between two endpoints; one of them goes through a relay that breaks.
#![allow(unsafe_code)] // looks into arenas

mod rails_support;

use std::{
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use pmd_host::{
    backend::Transport,
    control::DownReason,
    endpoint::Peer,
    rail::{BundleConfig, RailState},
    transfer::{
        CancelOutcome, Direction, LocalPiece, Notification, Observer, Outcome, RouteFault, SubmitError,
        Transfer, TransferEnd, TransferError, TransferObserver, TransferOptions, WaitError, WorkList,
        WorkListBuilder,
    },
};

use self::rails_support::{CHUNK, End, LENGTH, PATIENCE, Scene, until, whole};

fn notifying(bytes: &[u8]) -> TransferOptions {
    let notify = Some(Notification { bytes: bytes.to_vec(), immediate: None });
    TransferOptions { notify, ..TransferOptions::default() }
}

/// A metric of the near end.
fn metric(scene: &Scene, name: &str, labels: &str) -> u64 {
    let page = scene.near.endpoint.metrics_page();
    let is_meant = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(labels);
    let found: Vec<&str> = page.as_str().lines().filter(is_meant).collect();
    let [line] = found[..] else { panic!("{name} {labels}: {found:?}") };
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn done(mut transfer: Transfer) {
    let outcome = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap();
    assert_eq!(outcome, Outcome { bytes: LENGTH as u64 });
}

#[test]
fn a_cut_rail_is_dropped_what_it_had_goes_again_and_it_is_taken_back() {
    let scene = Scene::new();
    scene.near.fill(1);
    scene.relays().into_iter().for_each(|relay| relay.cut_after(CHUNK as u64 / 2));
    let work = scene.work(Direction::Write);
    done(scene.peer.submit(&work, notifying(b"all of it"), None).unwrap());
    assert!(scene.relays().iter().any(|relay| !relay.is_through()), "the rail broke while it was used");
    assert!(scene.far.holds(1));
    until("the notification", || !scene.far.inbox.messages().is_empty());
    assert_eq!(scene.rail(0).lives, 1);
    assert_eq!(scene.peer.route().fault(), None);
    // The cable is back.
    scene.relays().into_iter().for_each(|relay| relay.heal());
    scene.until_up();
    assert!(scene.rail(1).lives > 1);
    let before = scene.rail(1).bytes;
    scene.near.fill(2);
    done(scene.peer.submit(&work, notifying(b"and again"), None).unwrap());
    assert!(scene.far.holds(2));
    assert!(scene.rail(1).bytes > before);
    until("both notifications", || scene.far.inbox.messages().len() == 2);
    assert_eq!(scene.far.inbox.messages(), [b"all of it", b"and again"]);
}

#[test]
fn a_transfer_on_rails_is_notified_although_the_route_has_failed_meanwhile() {
    let scene = Scene::new();
    scene.near.fill(12);
    // Until it is healed, what is on the second rail keeps the transfer from being complete.
    scene.relays().into_iter().for_each(|relay| relay.silence_after(CHUNK as u64 / 2));
    let transfer = scene.peer.submit(&scene.work(Direction::Write), notifying(b"over a rail"), None).unwrap();
    scene.peer.route().fail(RouteFault::Disconnected);
    assert_eq!(scene.peer.route().fault(), Some(RouteFault::Disconnected));
    assert_eq!((transfer.poll(), scene.far.inbox.messages().len()), (None, 0));
    scene.relays().into_iter().for_each(|relay| relay.heal());
    done(transfer);
    assert!(scene.far.holds(12));
    until("the notification", || scene.far.inbox.messages() == [b"over a rail"]);
    assert_eq!(scene.peer.down_reason(), None);
}

#[test]
fn what_rails_carry_is_told_by_reports_and_metrics() {
    let scene = Scene::new();
    scene.near.fill(8);
    done(scene.peer.submit(&scene.work(Direction::Write), notifying(b"all of it"), None).unwrap());
    assert!(scene.far.holds(8));
    let reports = scene.peer.rail_reports();
    assert!(reports.iter().all(|report| report.chunks > 0 && report.rate.is_some()), "{reports:?}");
    assert_eq!(reports.iter().map(|report| report.bytes).sum::<u64>(), LENGTH as u64);
    assert_eq!(reports.iter().map(|report| report.chunks).sum::<u64>(), (LENGTH / CHUNK) as u64);
    assert_eq!(scene.near.endpoint.metrics().peers[0].rails, reports);
    let value = |name: &str, labels: &str| metric(&scene, name, labels);
    for report in reports {
        let rail = format!("rail=\"{}\"", report.number);
        assert_eq!(value("pmd_rail_bytes_total", &rail), report.bytes);
        assert_eq!(value("pmd_rail_chunks_total", &rail), report.chunks);
        assert_eq!(value("pmd_rail_lives_total", &rail), 1);
        assert_eq!(value("pmd_rail_state", &format!("{rail},state=\"up\"")), 1);
        assert_eq!(value("pmd_rail_state", &format!("{rail},state=\"down\"")), 0);
    }
}

#[test]
fn a_rail_that_falls_silent_is_noticed_and_reads_go_again() {
    let scene = Scene::stalling(Duration::from_millis(500));
    scene.far.fill(3);
    scene.relays().into_iter().for_each(|relay| relay.silence_after(CHUNK as u64 / 2));
    done(scene.peer.submit(&scene.work(Direction::Read), TransferOptions::default(), None).unwrap());
    assert!(scene.near.holds(3));
    until("the loss", || scene.rail(1).state != RailState::Up);
    scene.relays().into_iter().for_each(|relay| relay.heal());
    scene.until_up();
}

#[test]
fn a_rail_that_falls_silent_while_it_is_idle_is_told_as_lost_before_it_is_used() {
    let idle = Duration::from_millis(100);
    let scene = Scene::with(BundleConfig { idle, ..BundleConfig::default() });
    scene.relays().into_iter().for_each(|relay| relay.silence());
    let is_lost = |peer: &Peer| peer.rail_reports()[1].state != RailState::Up;
    until("the loss at both ends", || is_lost(&scene.peer) && is_lost(&scene.back()));
    assert_eq!(scene.peer.rail_reports().iter().map(|report| report.chunks).sum::<u64>(), 0);
    assert_eq!(metric(&scene, "pmd_rail_state", "rail=\"1\",state=\"up\""), 0);
    // What comes meanwhile goes over the other one.
    let work = scene.work(Direction::Write);
    scene.near.fill(9);
    done(scene.peer.submit(&work, TransferOptions::default(), None).unwrap());
    assert!(scene.far.holds(9));
    assert_eq!(scene.rail(1).chunks, 0);
    scene.relays().into_iter().for_each(|relay| relay.heal());
    scene.until_up();
    assert!(scene.rail(1).lives > 1);
    scene.near.fill(10);
    done(scene.peer.submit(&work, TransferOptions::default(), None).unwrap());
    assert!(scene.far.holds(10));
    assert!(scene.rail(1).chunks > 0);
}

#[test]
fn the_end_that_was_connected_to_uses_the_rails_too() {
    let scene = Scene::new();
    scene.far.fill(4);
    scene.relays().into_iter().for_each(|relay| relay.cut_after(CHUNK as u64 / 2));
    let work = whole(&scene.far, &scene.near, Direction::Write);
    done(scene.back().submit(&work, notifying(b"from there"), None).unwrap());
    assert!(scene.near.holds(4));
    until("the notification", || scene.near.inbox.messages() == [b"from there"]);
    assert!(scene.back().rail_reports().iter().map(|report| report.bytes).sum::<u64>() == LENGTH as u64);
}

#[test]
fn small_transfers_and_all_when_no_rail_is_up_stay_on_the_route() {
    let scene = Scene::new();
    let carried = || scene.peer.rail_reports().iter().map(|report| report.bytes).sum::<u64>();
    let key = scene.near.registered.local_key(Transport::Tcp).unwrap();
    let mut work = WorkListBuilder::new(Direction::Write, scene.peer.route().limits());
    let local = LocalPiece { address: scene.near.registered.address(), length: CHUNK as u64, key };
    let key = scene.far.registered.remote_key(Transport::Tcp).unwrap();
    work.push(local, RemoteAddress { address: scene.far.registered.address(), key });
    let mut small = scene.peer.submit(&Arc::new(work.finish()), TransferOptions::default(), None).unwrap();
    assert_eq!(small.wait(Some(Instant::now() + PATIENCE)).unwrap().bytes, CHUNK as u64);
    assert_eq!(carried(), 0);
}

#[test]
fn a_cancel_proves_quiet_with_a_silent_rail_too() {
    let scene = Scene::new();
    scene.relays().into_iter().for_each(|relay| relay.silence_after(CHUNK as u64 / 2));
    let work = scene.work(Direction::Write);
    let mut transfer = scene.peer.submit(&work, TransferOptions::default(), None).unwrap();
    match transfer.cancel() {
        CancelOutcome::Cancelled => {}
        CancelOutcome::Completed(outcome) => assert_eq!(outcome.bytes, LENGTH as u64),
        other => panic!("{other:?}"),
    }
    scene.relays().into_iter().for_each(|relay| relay.heal());
    scene.until_up();
    // Nothing of it is left that could write: what comes next is whole.
    scene.near.fill(5);
    done(scene.peer.submit(&work, TransferOptions::default(), None).unwrap());
    assert!(scene.far.holds(5));
}

/// All of the arena in work requests of a chunk each, of which one has a key that the peer does not know.
fn with_bad_key(scene: &Scene, bad: u64) -> Arc<WorkList> {
    let key = scene.near.registered.local_key(Transport::Tcp).unwrap();
    let good = scene.far.registered.remote_key(Transport::Tcp).unwrap();
    let mut work = WorkListBuilder::new(Direction::Write, scene.peer.route().limits());
    for piece in 0..(LENGTH / CHUNK) as u64 {
        let offset = piece * CHUNK as u64;
        let local =
            LocalPiece { address: scene.near.registered.address() + offset, length: CHUNK as u64, key };
        let rkey = if piece == bad { RemoteKey(!good.0) } else { good };
        // Backwards, so that neighbours do not merge.
        let address = scene.far.registered.address() + LENGTH as u64 - offset - CHUNK as u64;
        work.push(local, RemoteAddress { address, key: rkey });
    }
    Arc::new(work.finish())
}

/// The transfer ends by the peer's refusal of this entry.
fn refused(mut transfer: Transfer, bad: u64) {
    let error = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap_err();
    let WaitError::Failed(TransferError::Failed { entry, syndrome, .. }) = error else { panic!("{error:?}") };
    assert_eq!((u64::from(entry), syndrome), (bad, Syndrome::RemoteAccess));
}

/// Times that rails were opened.
fn lives(scene: &Scene) -> u32 {
    scene.peer.rail_reports().iter().map(|report| report.lives).sum()
}

#[test]
fn a_key_that_the_peer_refuses_fails_its_transfer_alone_and_costs_a_rail_one_life() {
    let scene = Scene::unhurried();
    for (before, bad) in (2..).zip([9, 0, 30]) {
        assert_eq!(lives(&scene), before);
        let work = with_bad_key(&scene, bad);
        refused(scene.peer.submit(&work, notifying(b"never"), None).unwrap(), bad);
        scene.until_up();
        // A refusal that did not arrive would have had its chunk refused again.
        assert_eq!(lives(&scene), before + 1);
    }
    scene.near.fill(6);
    done(scene.peer.submit(&scene.work(Direction::Write), notifying(b"good"), None).unwrap());
    assert!(scene.far.holds(6));
    until("the notification", || scene.far.inbox.messages() == [b"good"]);
}

#[test]
fn a_refusal_is_told_although_the_word_that_its_rail_is_gone_comes_first() {
    let scene = Scene::on_one_rail();
    // Answers alone: what goes to the near end over the rail.
    scene.near.relay.hold_back(true);
    scene.far.relay.hold_back(false);
    let work = with_bad_key(&scene, 9);
    let transfer = scene.peer.submit(&work, notifying(b"never"), None).unwrap();
    until("the refusal", || scene.back().rail_reports()[0].state != RailState::Up);
    until("the peer's word", || scene.rail(0).state != RailState::Up);
    // An end that does not wait for the refusal gives its chunks up meanwhile.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(transfer.poll(), None);
    scene.relays().into_iter().for_each(|relay| relay.heal());
    refused(transfer, 9);
    scene.until_up();
    assert_eq!(lives(&scene), 2);
}

/// Which threads told an outcome.
#[derive(Default)]
struct Tellers(Mutex<Vec<ThreadId>>);

impl TransferObserver for Tellers {
    fn ended(&self, _: TransferEnd) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn no_outcome_is_told_by_a_thread_that_submits_looks_or_cancels() {
    let scene = Scene::new();
    let (work, tellers) = (scene.work(Direction::Write), Arc::new(Tellers::default()));
    let observer = Observer(Arc::clone(&tellers) as _);
    let options = || TransferOptions { observer: Some(observer.clone()), ..TransferOptions::default() };
    // More than rails take at a time: some have nothing in hand when they are stopped.
    let submit = |_| scene.peer.submit(&work, options(), None).unwrap();
    let mut transfers: Vec<_> = (0..8).map(submit).collect();
    transfers.iter().rev().for_each(Transfer::request_cancel);
    assert_eq!(scene.peer.rail_reports().len(), 2);
    for transfer in &mut transfers {
        match transfer.wait(Some(Instant::now() + PATIENCE)) {
            Ok(outcome) => assert_eq!(outcome.bytes, LENGTH as u64),
            Err(error) => assert!(matches!(error, WaitError::Failed(TransferError::Cancelled)), "{error:?}"),
        }
    }
    until("every observer", || tellers.0.lock().unwrap().len() == transfers.len());
    assert!(!tellers.0.lock().unwrap().contains(&thread::current().id()));
}

#[test]
fn a_peer_that_goes_fails_what_is_on_rails() {
    let Scene { near, far, peer, .. } = Scene::new();
    near.relay.silence_after(CHUNK as u64 / 2);
    far.relay.silence_after(CHUNK as u64 / 2);
    let work = whole(&near, &far, Direction::Read);
    let mut transfers: Vec<_> =
        (0..8).map(|_| peer.submit(&work, TransferOptions::default(), None).unwrap()).collect();
    drop(far.endpoint);
    for transfer in &mut transfers {
        match transfer.wait(Some(Instant::now() + PATIENCE)) {
            Ok(outcome) => assert_eq!(outcome.bytes, LENGTH as u64),
            Err(WaitError::Failed(error)) => assert!(error.is_route_down(), "{error:?}"),
            Err(WaitError::Timeout) => panic!("it hangs"),
        }
    }
}

#[test]
fn what_a_peer_carried_out_before_it_left_is_answered_for_although_its_goodbye_comes_first() {
    let Scene { near, far, peer, .. } = Scene::new();
    near.fill(11);
    // Answers alone: what goes to the near end over the second rail.
    near.relay.hold_back(true);
    far.relay.hold_back(false);
    let work = whole(&near, &far, Direction::Write);
    let transfer = peer.submit(&work, TransferOptions::default(), None).unwrap();
    until("all of it at the peer", || far.has_chunks(11));
    assert_eq!(transfer.poll(), None);
    let End { endpoint, arena: _arena, registered: _registered, relay, .. } = far;
    drop(endpoint);
    until("the goodbye", || peer.rail_reports()[0].state != RailState::Up);
    assert!(matches!(peer.down_reason(), Some(DownReason::Goodbye)), "{:?}", peer.down_reason());
    let late = peer.submit(&work, TransferOptions::default(), None);
    assert!(matches!(late, Err(SubmitError::RouteFailed(RouteFault::PeerDown))), "{late:?}");
    assert_eq!((transfer.poll(), peer.rail_reports()[1].state), (None, RailState::Up));
    near.relay.heal();
    relay.heal();
    done(transfer);
    until("the end of the rail", || peer.rail_reports()[1].state != RailState::Up);
}

#[test]
fn a_peer_that_was_quietened_writes_no_more_over_a_rail_that_held_its_bytes_back() {
    let scene = Scene::new();
    let (far, back) = (&scene.far, scene.back());
    // All that is closed is closed by the call itself.
    let busy = far.inbox.keep_busy();
    scene.peer.connection().event(1, Vec::new()).unwrap();
    until("the event", || far.inbox.events() == 1);
    scene.near.fill(13);
    scene.relays().into_iter().for_each(|relay| relay.silence_after(CHUNK as u64 / 2));
    let work = scene.work(Direction::Write);
    let mut transfer = scene.peer.submit(&work, TransferOptions::default(), None).unwrap();
    until("bytes that are held back", || scene.relays().iter().any(|relay| !relay.is_through()));
    back.quieten();
    assert_eq!(back.down_reason(), None, "the control thread has not seen it yet");
    far.fill(14);
    scene.relays().into_iter().for_each(|relay| relay.heal());
    until("the loss or the end", || scene.rail(1).state != RailState::Up || transfer.poll().is_some());
    drop(busy);
    let error = transfer.wait(Some(Instant::now() + PATIENCE)).unwrap_err();
    let WaitError::Failed(error) = error else { panic!("{error:?}") };
    assert!(error.is_route_down(), "{error:?}");
    assert!(far.holds(14), "written after the peer was quietened");
    // None is opened again.
    until("the goodbye", || scene.peer.down_reason() == Some(DownReason::Goodbye));
    assert!(back.rail_reports().iter().all(|report| report.lives == 1), "{:?}", back.rail_reports());
}

/// The bytes go to a few megabytes again and again: what counts is that they are many, and all answered for.
#[test]
fn ten_gibibytes_arrive_although_a_rail_is_cut_in_the_middle() {
    let scene = Scene::new();
    scene.near.fill(7);
    let key = scene.near.registered.local_key(Transport::Tcp).unwrap();
    let rkey = scene.far.registered.remote_key(Transport::Tcp).unwrap();
    let mut work = WorkListBuilder::new(Direction::Write, scene.peer.route().limits());
    let pieces = LENGTH as u64 / CHUNK as u64;
    let bytes = 10_u64 << 30;
    for piece in 0..bytes / CHUNK as u64 {
        // One after the other backwards, so that neighbours do not merge.
        let offset = (pieces - 1 - piece % pieces) * CHUNK as u64;
        let local =
            LocalPiece { address: scene.near.registered.address() + offset, length: CHUNK as u64, key };
        work.push(local, RemoteAddress { address: scene.far.registered.address() + offset, key: rkey });
    }
    scene.relays().into_iter().for_each(|relay| relay.cut_after(1 << 30));
    let start = Instant::now();
    let mut transfer = scene.peer.submit(&Arc::new(work.finish()), notifying(b"all"), None).unwrap();
    let outcome = transfer.wait(Some(start + PATIENCE * 10)).unwrap();
    println!("{} bytes in {:?}: {:?}", outcome.bytes, start.elapsed(), scene.peer.rail_reports());
    assert_eq!(outcome.bytes, bytes);
    assert!(scene.relays().iter().any(|relay| !relay.is_through()));
    assert!(scene.far.holds(7));
    until("the notification", || scene.far.inbox.messages() == [b"all"]);
}
