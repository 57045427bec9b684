//! Many transfers, and the counts afterwards.

use std::thread;

use super::*;

#[test]
fn ten_thousand_messages_of_all_lengths_leave_nothing_behind() {
    const ROUNDS: usize = 2500;
    let source = pattern(256 << 10, 6);
    let target = vec![0_u8; 256 << 10];
    let pair = pair(2, 2);
    let lengths = |round: usize| [1, 100 + round, (round * 97) % (256 << 10), 4096];
    thread::scope(|scope| {
        let Pair { sender, receiver, out, back } = &pair;
        let (source, target) = (&source, &target);
        scope.spawn(move || {
            let free = reg_memory(sender, source);
            for round in 0..ROUNDS {
                for length in lengths(round) {
                    send_kv(sender, (*out, free), &source[..length]).expect("sent");
                }
            }
        });
        for round in 0..ROUNDS {
            // Registered anew each time, as a program does that does not keep its buffers.
            let to = reg_kv(receiver, *back, target);
            for length in lengths(round) {
                assert_eq!(receiver.recv_kv(to, u64::MAX).expect("received"), length as u64);
            }
            receiver.dereg_kv(to).expect("released");
        }
    });
    let (sender, receiver) = (pair.sender.counts(), pair.receiver.counts());
    assert_eq!((sender.sends, sender.registrations, receiver.receives, receiver.registrations), (0, 1, 0, 0));
    let region = Memory::from(&target[..]);
    assert!(pair.receiver.fabric().segment(region.address, 1).is_none(), "no registration is left");
    drop(pair);
    assert!(target[..4096] == source[..4096]);
}

#[test]
fn several_threads_share_a_connection_and_lose_nothing() {
    const EACH: usize = 300;
    let sources: Vec<Vec<u8>> = (0..3).map(|thread| pattern(3000, thread)).collect();
    let targets: Vec<Vec<u8>> = vec![vec![0_u8; 3000]; 3];
    let pair = pair(2, 1);
    thread::scope(|scope| {
        for (source, target) in sources.iter().zip(&targets) {
            let Pair { sender, receiver, out, back } = &pair;
            scope.spawn(move || {
                let from = reg_kv(sender, *out, source);
                (0..EACH).for_each(|_| send_kv(sender, from, source).expect("sent"));
            });
            scope.spawn(move || {
                let to = reg_kv(receiver, *back, target);
                for _ in 0..EACH {
                    assert_eq!(receiver.recv_kv(to, 3000).expect("received"), 3000);
                }
            });
        }
    });
    assert_eq!((pair.sender.counts().sends, pair.receiver.counts().receives), (0, 0));
    drop(pair);
    assert!(targets.iter().all(|target| sources.contains(target)), "every message came whole");
}

#[test]
#[ignore = "needs more than ten gigabytes of memory"]
fn a_buffer_of_five_gigabytes_arrives() {
    const LENGTH: usize = (5 << 30) + 4097;
    let (mut source, target) = (vec![0_u8; LENGTH], vec![0_u8; LENGTH]);
    let places = [0, 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, LENGTH - 1];
    for (number, place) in places.iter().enumerate() {
        source[*place] = number as u8 + 1;
    }
    let pair = pair(2, 2);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    let receive = pair.receiver.post_receive(to, u64::MAX, Some(10 * PATIENCE)).expect("posted");
    let sent = post_send(&pair.sender, from, &source, Some(10 * PATIENCE)).wait();
    let received = receive.wait();
    assert!(
        matches!((&sent, &received), (Ok(()), Ok(length)) if *length == LENGTH as u64),
        "{sent:?}, {received:?}"
    );
    drop((receive, pair));
    assert!(target == source);
}
