//! What ends before it is done: deadlines, cancels, releases, goodbyes. Memory is still afterwards.

use std::{thread, time::Instant};

use pmd_host::{control::DownReason, transfer::RouteFault};

use super::*;
use crate::kvtrans::wire::{self, Message};

const LENGTH: usize = 32 << 20;

/// Carries one message across: everything before it has been said and heard.
fn round_trip(pair: &Pair) {
    let (source, target) = (pattern(100, 0x77), vec![0_u8; 100]);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    let receive = pair.receiver.post_receive(to, 100, None).expect("posted");
    send_kv(&pair.sender, from, &source).expect("sent");
    assert_eq!(receive.wait().expect("received"), 100);
    pair.sender.dereg_kv(from).expect("released");
    pair.receiver.dereg_kv(to).expect("released");
    assert!(target == source);
}

/// Waits until the transfer has come to a place.
fn written(target: &[u8], at: usize) {
    let deadline = Instant::now() + PATIENCE;
    // SAFETY: a byte of a live buffer; that a transfer writes it is what is waited for.
    while unsafe { std::ptr::read_volatile(&raw const target[at]) } == 0 {
        assert!(Instant::now() < deadline, "nothing was written");
        thread::yield_now();
    }
}

const SOON: Option<Duration> = Some(Duration::from_millis(20));

#[test]
fn a_receive_that_nothing_is_sent_to_is_withdrawn_and_the_next_takes_its_place() {
    let (source, target) = (pattern(1000, 1), vec![0_u8; 1000]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    let first = pair.receiver.post_receive(to, 1000, SOON).expect("posted");
    assert!(matches!(first.wait(), Err(ReceiveError::Timeout)));
    let second = pair.receiver.post_receive(to, 1000, None).expect("posted");
    send_kv(&pair.sender, from, &source).expect("sent: it meets the second");
    assert_eq!(second.wait().expect("received"), 1000);
    assert_eq!(pair.receiver.counts().receives, 0);
}

#[test]
fn a_send_that_nobody_receives_times_out_and_the_next_takes_its_place() {
    let (lost, source, target) = (pattern(1000, 1), pattern(1000, 2), vec![0_u8; 1000]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    let first = post_send(&pair.sender, from, &lost, SOON);
    assert!(matches!(first.wait(), Err(SendError::Timeout { met: false })));
    let cancelled = post_send(&pair.sender, from, &lost, None);
    assert!(matches!(cancelled.cancel(), Err(SendError::Cancelled)));
    let receive = pair.receiver.post_receive(to, 1000, None).expect("posted");
    send_kv(&pair.sender, from, &source).expect("sent");
    assert_eq!(receive.wait().expect("received"), 1000);
    drop((receive, pair));
    assert!(target == source);
}

#[test]
fn withdrawn_receives_leave_the_line_wherever_they_are_in_it() {
    let sources: Vec<Vec<u8>> = (0..3).map(|number| pattern(500, number)).collect();
    let target = vec![0_u8; 500];
    let pair = pair(1, 1);
    let (from, to) = (reg_memory(&pair.sender, &sources[0]), reg_kv(&pair.receiver, pair.back, &target));
    let mut receives: Vec<_> =
        (0..5).map(|_| pair.receiver.post_receive(to, 500, None).expect("posted")).collect();
    assert!(matches!(receives[1].cancel(), Err(ReceiveError::Cancelled)));
    drop(receives.remove(3));
    drop(receives.remove(1));
    for source in &sources {
        send_kv(&pair.sender, (pair.out, from), source).expect("sent");
    }
    assert!(receives.iter().all(|receive| receive.wait().expect("received") == 500));
    let (sender, receiver) = (pair.sender.counts(), pair.receiver.counts());
    assert_eq!((sender.sends, receiver.receives), (0, 0));
}

#[test]
fn a_receive_that_is_given_up_while_it_is_written_is_still_afterwards() {
    for (lanes, at) in [(1, 0), (1, LENGTH / 4), (3, 0), (3, LENGTH / 4)] {
        let (ones, mut target) = (vec![1_u8; LENGTH], vec![0_u8; LENGTH]);
        let pair = pair(lanes, 1);
        let (from, to) = (reg_kv(&pair.sender, pair.out, &ones), reg_kv(&pair.receiver, pair.back, &target));
        let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
        let send = post_send(&pair.sender, from, &ones, None);
        written(&target, at);
        let outcome = receive.cancel();
        target.fill(2);
        match (outcome, send.wait()) {
            (Ok(length), Ok(())) => assert_eq!(length, LENGTH as u64),
            (Err(ReceiveError::Cancelled), Err(SendError::Withdrawn)) => {}
            other => panic!("{lanes} lanes: {other:?}"),
        }
        round_trip(&pair);
        assert!(
            target.iter().all(|byte| *byte == 2),
            "{lanes} lanes: written after the receive was given up"
        );
        drop((receive, send, pair));
    }
}

#[test]
fn a_send_that_is_given_up_while_it_writes_fails_its_receive() {
    for lanes in [1, 3] {
        let (ones, target) = (vec![1_u8; LENGTH], vec![0_u8; LENGTH]);
        let pair = pair(lanes, 1);
        let (from, to) = (reg_kv(&pair.sender, pair.out, &ones), reg_kv(&pair.receiver, pair.back, &target));
        let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
        let send = post_send(&pair.sender, from, &ones, None);
        written(&target, LENGTH / 4);
        match (send.cancel(), receive.wait()) {
            (Ok(()), Ok(length)) => assert_eq!(length, LENGTH as u64),
            (Err(SendError::Cancelled), Err(ReceiveError::SenderStopped(SenderStop::Cancelled))) => {}
            other => panic!("{lanes} lanes: {other:?}"),
        }
        round_trip(&pair);
    }
}

#[test]
fn a_deadline_in_the_middle_fails_both_sides_and_the_connection_goes_on() {
    let (ones, target) = (vec![1_u8; LENGTH], vec![0_u8; LENGTH]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &ones), reg_kv(&pair.receiver, pair.back, &target));
    for microseconds in [0, 100, 1000, 3000] {
        let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
        let send = post_send(&pair.sender, from, &ones, Some(Duration::from_micros(microseconds)));
        match send.wait() {
            Ok(()) => assert_eq!(receive.wait().expect("received"), LENGTH as u64),
            Err(SendError::Timeout { met: true }) => {
                let error = receive.wait().expect_err("the sender gave up");
                assert!(matches!(error, ReceiveError::SenderStopped(SenderStop::TimedOut)), "{error}");
            }
            Err(SendError::Timeout { met: false }) => {
                assert!(matches!(receive.cancel(), Err(ReceiveError::Cancelled)));
            }
            Err(other) => panic!("{other}"),
        }
    }
    round_trip(&pair);
}

#[test]
fn memory_that_is_released_is_touched_no_more() {
    let (ones, mut target) = (vec![1_u8; LENGTH], vec![0_u8; LENGTH]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &ones), reg_kv(&pair.receiver, pair.back, &target));
    let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
    let send = post_send(&pair.sender, from, &ones, None);
    pair.receiver.dereg_kv(to).expect("released");
    target.fill(2);
    assert!(matches!(receive.poll(), Some(Ok(_) | Err(ReceiveError::Cancelled))), "it has an outcome");
    // Either it was complete, or the send is withdrawn, or has not met anybody.
    pair.sender.dereg_kv(from).expect("released");
    let sent = send.poll().expect("it has an outcome");
    assert!(matches!(sent, Ok(()) | Err(SendError::Withdrawn | SendError::Cancelled)), "{sent:?}");
    round_trip(&pair);
    assert!(target.iter().all(|byte| *byte == 2), "written after its release");
    assert!(matches!(pair.receiver.dereg_kv(to), Err(RegisterError::Unknown(_))), "released twice");
    assert_eq!((pair.sender.counts().registrations, pair.receiver.counts().registrations), (0, 0));
}

#[test]
fn what_was_sent_before_an_engine_closes_arrives() {
    for lanes in [1, 3] {
        for round in 0..20 {
            let (source, target) = (pattern(2_000_000, round), vec![0_u8; 2_000_000]);
            let Pair { sender, receiver, out, back } = pair(lanes, 1);
            let (from, to) = (reg_kv(&sender, out, &source), reg_kv(&receiver, back, &target));
            let receive = receiver.post_receive(to, u64::MAX, None).expect("posted");
            send_kv(&sender, from, &source).expect("sent");
            drop(sender);
            assert_eq!(receive.poll().expect("it has been heard of").expect("received"), 2_000_000);
            drop((receive, receiver));
            assert!(target == source);
        }
    }
}

#[test]
fn what_was_received_before_an_engine_closes_was_sent() {
    for lanes in [1, 3] {
        for round in 0..20 {
            let (source, target) = (pattern(2_000_000, round), vec![0_u8; 2_000_000]);
            let Pair { sender, receiver, out, back } = pair(lanes, 1);
            let (from, to) = (reg_kv(&sender, out, &source), reg_kv(&receiver, back, &target));
            let send = post_send(&sender, from, &source, None);
            assert_eq!(receiver.recv_kv(to, u64::MAX).expect("received"), 2_000_000);
            drop(receiver);
            send.poll().expect("its outcome is known").expect("sent");
        }
    }
}

#[test]
fn a_connection_that_is_closed_fails_what_is_under_way_and_only_that() {
    let (source, target) = (pattern(1000, 1), vec![0_u8; 1000]);
    let pair = pair(2, 1);
    let (out, back) = connect(&pair.sender, &pair.receiver);
    let (from, to) = (reg_kv(&pair.sender, out, &source), reg_kv(&pair.receiver, back, &target));
    let receive = pair.receiver.post_receive(to, 1000, None).expect("posted");
    let unmet = pair.sender.post_receive(from, 1000, None).expect("posted");
    pair.sender.disconnect(out).expect("closed");
    let error = unmet.poll().expect("it has an outcome").expect_err("closed");
    assert!(matches!(error, ReceiveError::Connection(ConnectionFault::Closed)), "{error}");
    let error = receive.wait().expect_err("the peer has gone");
    assert!(matches!(error, ReceiveError::Connection(ConnectionFault::PeerDown(_))), "{error}");
    assert!(matches!(pair.sender.disconnect(out), Err(PostError::UnknownConnection(of)) if of == out));
    // SAFETY: nothing is begun.
    let again = unsafe { pair.sender.post_send(from, Memory::from(&source[..]), None) };
    assert!(matches!(again, Err(PostError::UnknownConnection(_))));
    let again = pair.receiver.post_receive(to, 1000, None).expect_err("the connection is down");
    assert!(matches!(again, PostError::Connection(ConnectionFault::PeerDown(_))), "{again}");
    round_trip(&pair);
}

/// Queue pairs may break before the control plane tells why.
#[test]
fn queue_pairs_that_break_after_a_goodbye_are_a_peer_that_left() {
    for (goodbye, expected) in [
        (false, ConnectionFault::Route(RouteFault::Disconnected)),
        (true, ConnectionFault::PeerDown(DownReason::Goodbye)),
    ] {
        let target = vec![0_u8; 1000];
        let pair = pair(1, 1);
        let to = reg_kv(&pair.receiver, pair.back, &target);
        let receive = pair.receiver.post_receive(to, 1000, None).expect("posted");
        let connection = pair.receiver.connection(pair.back).expect("it is there");
        if goodbye {
            connection.heard(&wire::emit(&Message::Goodbye { landed: 0 }));
        }
        connection.close(ConnectionFault::Route(RouteFault::Disconnected));
        let error = receive.wait().expect_err("the connection is down");
        assert!(matches!(error, ReceiveError::Connection(fault) if fault == expected), "{expected}");
    }
}

/// Where rails carry stripes, the word of one may come after the goodbye.
#[test]
fn a_goodbye_is_answered_once_every_stripe_that_it_counts_was_heard_of() {
    let pair = pair(1, 1);
    let connection = pair.receiver.connection(pair.back).expect("it is there");
    let is_answered = || connection.lock().has_said_farewell();
    // Of a receive that is over.
    let landed = wire::emit(&Message::Landed { ticket: 7, stripes: 1, length: 0 });
    connection.heard(&wire::emit(&Message::Goodbye { landed: 2 }));
    assert!(!is_answered());
    connection.heard(&landed);
    assert!(!is_answered());
    connection.heard(&landed);
    assert!(is_answered());
}
