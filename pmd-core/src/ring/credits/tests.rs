//! Credits over many rounds: what the loom models do with one receive, with many and in random order.

use alloc::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// One side, with what is on its way to it.
struct Side {
    credits: Credits,
    account: Account,
    wire: VecDeque<(Arrived, u16)>,
    receives: u32,
    waiting: u32,
}

impl Side {
    fn new(receives: u32, minimum: u32) -> Self {
        let (credits, wire) = (Credits::new(), VecDeque::new());
        credits.give(minimum);
        Self { credits, account: Account::new(receives, minimum), wire, receives, waiting: 0 }
    }

    /// How many credits it holds, without using any.
    fn held(&self) -> u32 {
        let free = core::iter::from_fn(|| self.credits.take().then_some(())).count() as u32;
        self.credits.give(free);
        free + self.account.reserved
    }
}

/// Puts a message on the other side's wire.
fn send(sides: &mut [Side; 2], from: usize, kind: Arrived) {
    let credits = sides[from].account.attach();
    let there = &mut sides[1 - from];
    there.wire.push_back((kind, credits));
    assert!(there.wire.len() as u32 <= there.receives + RESERVED, "a message without a receive");
    let empty = there.wire.iter().filter(|(kind, _)| *kind == Arrived::Empty).count() as u32;
    assert!(empty < RESERVED, "{empty} empty messages under way");
}

/// One thing that a lane may do.
#[derive(Clone, Copy, Debug)]
enum Act {
    Message,
    Notification,
    GiveUp,
    TakeIn,
}

fn act(sides: &mut [Side; 2], at: usize, act: Act) {
    let side = &mut sides[at];
    match act {
        Act::Message if side.credits.take() => send(sides, at, Arrived::Message),
        Act::Notification => {
            if side.account.take_reserved() || side.credits.take() {
                side.waiting = side.waiting.saturating_sub(1);
                send(sides, at, Arrived::Message);
            } else {
                side.waiting += 1;
            }
        }
        Act::GiveUp if side.waiting > 0 => {
            side.waiting -= 1;
            let free = side.account.release_reserved(side.waiting);
            side.credits.give(free);
        }
        Act::TakeIn => {
            if let Some((kind, credits)) = side.wire.pop_front() {
                let free = side.account.arrived(kind, credits, side.waiting);
                side.credits.give(free);
            }
        }
        Act::Message | Act::GiveUp => {}
    }
    if sides[at].account.owes() {
        send(sides, at, Arrived::Empty);
    }
}

/// Every receive of `sides[1 - at]` is held by `at`, used, due or on its way.
fn assert_conserved(sides: &[Side; 2], at: usize) {
    let there = &sides[1 - at];
    let used = there.wire.iter().filter(|(kind, _)| *kind == Arrived::Message).count() as u32;
    let returning: u32 = sides[at].wire.iter().map(|(_, credits)| u32::from(*credits)).sum();
    assert_eq!(sides[at].held() + used + there.account.due + returning, there.receives);
}

fn any_act() -> impl Strategy<Value = (usize, Act)> {
    let act = prop_oneof![
        3 => Just(Act::Message),
        1 => Just(Act::Notification),
        1 => Just(Act::GiveUp),
        4 => Just(Act::TakeIn),
    ];
    (0..2_usize, act)
}

proptest! {
    /// Whatever two lanes do in whatever order: no message without a receive, and no credit made or lost.
    #[test]
    fn receives_are_conserved(
        receives in (1..20_u32, 1..20_u32),
        minimum in 1..8_u32,
        acts in proptest::collection::vec(any_act(), 0..400),
    ) {
        let receives = [receives.0.max(minimum), receives.1.max(minimum)];
        let mut sides = receives.map(|receives| Side::new(receives, minimum));
        for (at, what) in acts {
            act(&mut sides, at, what);
            assert_conserved(&sides, 0);
            assert_conserved(&sides, 1);
        }
        // Nobody gets stuck: once everything has been taken in, both can send.
        while sides.iter().any(|side| !side.wire.is_empty()) {
            act(&mut sides, 0, Act::TakeIn);
            act(&mut sides, 1, Act::TakeIn);
        }
        for side in &sides {
            prop_assert!(side.held() > 0, "a side without a credit, and nothing on its way");
        }
    }
}

#[test]
fn notifications_come_before_anybody() {
    let mut account = Account::new(8, 8);
    assert_eq!(account.arrived(Arrived::Message, 5, 3), 2);
    assert_eq!(account.arrived(Arrived::Message, 5, 3), 5, "three are kept already");
    assert!((0..3).all(|_| account.take_reserved()) && !account.take_reserved());
    account.put_reserved();
    assert_eq!((account.release_reserved(1), account.release_reserved(0)), (0, 1));
}

#[test]
fn what_was_not_sent_is_still_due() {
    let mut account = Account::new(70_000, 8);
    let most = account.attach();
    assert_eq!(most, u16::MAX);
    assert_eq!(account.attach(), (70_000 - 8 - 65_535) as u16);
    account.detach(most);
    assert_eq!(account.attach(), most);
}

#[test]
fn more_than_there_can_be_saturates() {
    let credits = Credits::new();
    credits.give(u32::MAX);
    credits.give(1);
    assert!(credits.take());
}

#[test]
fn a_silent_peer_is_owed_nothing() {
    let mut account = Account::new(64, 8);
    assert!(!account.owes());
    assert_eq!(account.arrived(Arrived::Empty, 0, 0), 0);
    assert!(account.owes());
    assert_eq!(account.attach(), 56);
    assert!(!account.owes());
}
