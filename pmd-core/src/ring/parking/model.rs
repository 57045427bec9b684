//! Loom models: a consumer that goes to sleep, or ends, against publishers.
//!
//! The published work is a relaxed flag: the fences of `Parking` alone have to make it visible.

use loom::thread;

use super::*;
use crate::sync::{Arc, AtomicBool};

struct Lane {
    parking: Parking,
    work: [AtomicBool; 2],
}

impl Lane {
    fn new() -> Arc<Self> {
        Arc::new(Self { parking: Parking::new(), work: [AtomicBool::new(false), AtomicBool::new(false)] })
    }

    fn publish(&self, item: usize) -> Published {
        self.work[item].store(true, Ordering::Relaxed);
        self.parking.published()
    }

    fn finds(&self, item: usize) -> bool {
        self.work[item].load(Ordering::Relaxed)
    }
}

/// The consumer sleeps only when it found nothing after announcing; then the publisher wakes it.
#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let lane = Lane::new();
        let publisher = thread::spawn({
            let lane = Arc::clone(&lane);
            move || lane.publish(0)
        });
        lane.parking.announce();
        let found = lane.finds(0);
        let woken = publisher.join().unwrap() == Published::Wake;
        assert!(found || woken, "asleep with work published");
    });
}

/// Of two publishers one wakes, and neither's work is slept over.
#[test]
fn two_publishers_wake_once() {
    loom::model(|| {
        let lane = Lane::new();
        let publish = |item| {
            let lane = Arc::clone(&lane);
            move || lane.publish(item)
        };
        let publishers = [thread::spawn(publish(0)), thread::spawn(publish(1))];
        lane.parking.announce();
        let found = [lane.finds(0), lane.finds(1)];
        let published = publishers.map(|publisher| publisher.join().unwrap());
        let wakes = published.iter().filter(|&&published| published == Published::Wake).count();
        assert!(wakes <= 1, "woken {wakes} times for one sleep");
        assert!(found == [true; 2] || wakes == 1, "asleep with work published");
    });
}

/// A consumer that was woken, went on and announced itself again is woken again.
#[test]
fn a_second_sleep_is_ended_too() {
    loom::model(|| {
        let lane = Lane::new();
        let publisher = thread::spawn({
            let lane = Arc::clone(&lane);
            move || [lane.publish(0), lane.publish(1)]
        });
        lane.parking.announce();
        let _ = lane.finds(0);
        lane.parking.resume();
        lane.parking.announce();
        let found = [lane.finds(0), lane.finds(1)];
        let published = publisher.join().unwrap();
        assert!(found == [true; 2] || published.contains(&Published::Wake), "asleep with work published");
    });
}

/// What is published too late is found by the consumer's last look, or its publisher learns that it is alone with it.
#[test]
fn nothing_is_left_behind_at_the_end() {
    loom::model(|| {
        let lane = Lane::new();
        let publisher = thread::spawn({
            let lane = Arc::clone(&lane);
            move || lane.publish(0)
        });
        lane.parking.end();
        let found = lane.finds(0);
        let alone = publisher.join().unwrap() == Published::Ended;
        assert!(found || alone, "published to nobody");
    });
}
