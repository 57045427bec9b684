//! Loom models: application threads that take credits while their lane gives some, and two lanes that send each other
//! messages over rings as long as their receives.

use loom::thread;

use super::*;
use crate::ring::spsc;
use crate::sync::{Arc, spin_hint};

/// Of two threads that take and a lane that gives, each credit goes to one, and none is lost.
#[test]
fn a_credit_is_taken_once() {
    loom::model(|| {
        let credits = Arc::new(Credits::new());
        credits.give(1);
        let take = || {
            let credits = credits.clone();
            thread::spawn(move || credits.take())
        };
        let takers = [take(), take()];
        credits.give(1);
        let taken = takers.map(|taker| u32::from(taker.join().unwrap())).iter().sum::<u32>();
        let left = core::iter::from_fn(|| credits.take().then_some(())).count() as u32;
        assert_eq!(taken + left, 2);
        assert!(taken >= 1, "both were refused while there was a credit");
    });
}

/// Receives that each side of the model posts for messages, and those that its peer holds from the start.
const RECEIVES: u32 = 1;
const MINIMUM: u32 = 1;

/// One message on the wire: a message proper or an empty one, and the credits in it.
type Wire = (Arrived, u16);

/// One lane.
struct Lane {
    credits: Credits,
    account: Account,
    out: spsc::Producer<Wire>,
    incoming: spsc::Consumer<Wire>,
    sent: u32,
    heard: u32,
}

impl Lane {
    /// Two lanes with a wire each way that holds one message for each receive at its end.
    fn pair() -> [Self; 2] {
        let receives = (RECEIVES + RESERVED - 1) as usize;
        assert!(receives.is_power_of_two(), "the ring would be longer than the receives");
        let (out, incoming) = (spsc::channel(receives), spsc::channel(receives));
        [Self::new(out.0, incoming.1), Self::new(incoming.0, out.1)]
    }

    fn new(out: spsc::Producer<Wire>, incoming: spsc::Consumer<Wire>) -> Self {
        let credits = Credits::new();
        credits.give(MINIMUM);
        Self { credits, account: Account::new(RECEIVES, MINIMUM), out, incoming, sent: 0, heard: 0 }
    }

    fn send(&mut self, kind: Arrived) {
        let credits = self.account.attach();
        self.out.push((kind, credits)).expect("a message without a receive at the other end");
    }

    /// Sends `messages` and takes in as many, then ends; what is owed goes out in between.
    fn run(mut self, messages: u32, expected: u32) -> Self {
        while self.sent < messages || self.heard < expected {
            let mut idle = true;
            if self.sent < messages && self.credits.take() {
                self.send(Arrived::Message);
                self.sent += 1;
                idle = false;
            }
            idle &= !self.take_in();
            if self.account.owes() {
                self.send(Arrived::Empty);
                idle = false;
            }
            if idle {
                spin_hint();
            }
        }
        self
    }

    fn take_in(&mut self) -> bool {
        let Some((kind, credits)) = self.incoming.pop() else { return false };
        self.heard += u32::from(kind == Arrived::Message);
        let free = self.account.arrived(kind, credits, 0);
        self.credits.give(free);
        true
    }

    /// Credits of the peer's receives, wherever they are on this side.
    fn held(&self) -> u32 {
        core::iter::from_fn(|| self.credits.take().then_some(())).count() as u32 + self.account.reserved
    }
}

/// Runs both lanes to their ends, then takes in what is on the wires: every credit is where it can be used.
fn exchange(messages: [u32; 2]) {
    let [first, second] = Lane::pair();
    let other = thread::spawn(move || second.run(messages[1], messages[0]));
    let mut first = first.run(messages[0], messages[1]);
    let mut second = other.join().unwrap();
    while first.take_in() || second.take_in() {}
    assert_eq!([first.heard, second.heard], [messages[1], messages[0]]);
    assert_eq!(first.held() + second.account.due, RECEIVES, "of the first lane's credits");
    assert_eq!(second.held() + first.account.due, RECEIVES, "of the second lane's credits");
}

/// One side only sends, the other only gives back: no message without a receive, none that waits for ever, and every
/// credit comes back.
#[test]
fn one_way_traffic_never_stops() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| exchange([3, 0]));
}

/// Both sides send: credits travel with messages, empty ones fill in where a side has nothing to send.
#[test]
fn two_way_traffic_never_stops() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| exchange([2, 2]));
}
