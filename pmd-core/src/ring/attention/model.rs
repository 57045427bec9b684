//! Loom models: threads that set flags, and push before it, against a lane that takes attention, commands and flags.

use alloc::vec::Vec;

use loom::thread;

use super::*;
use crate::ring::mpsc;
use crate::sync::Arc;

/// Flags of two threads and the attention for them.
struct Lane {
    attention: Attention,
    flags: [AtomicBool; 2],
}

impl Lane {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            attention: Attention::new(),
            flags: [AtomicBool::new(false), AtomicBool::new(false)],
        })
    }

    fn set(&self, flag: usize) {
        self.flags[flag].store(true, Ordering::Relaxed);
        self.attention.raise();
    }

    fn look(&self) -> [bool; 2] {
        [0, 1].map(|flag| self.flags[flag].load(Ordering::Relaxed))
    }
}

/// Who takes the attention sees the flag that it was raised for.
#[test]
fn an_attention_comes_after_its_flag() {
    loom::model(|| {
        let lane = Lane::new();
        let other = lane.clone();
        let setting = thread::spawn(move || other.set(0));
        if lane.attention.take() {
            assert!(lane.look()[0], "raised for nothing");
        }
        setting.join().unwrap();
    });
}

/// A flag that is set while the lane looks is looked at in its next turn.
#[test]
fn no_flag_is_lost() {
    loom::model(|| {
        let lane = Lane::new();
        let set = |flag| {
            let lane = lane.clone();
            thread::spawn(move || lane.set(flag))
        };
        let setting = [set(0), set(1)];
        let mut seen = [false; 2];
        if lane.attention.take() {
            seen = lane.look();
        }
        setting.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(seen == [true; 2] || lane.attention.is_raised(), "seen {seen:?}, and nothing raised");
    });
}

/// What a thread pushed before it raised its flag is taken before the flag is acted on, though another thread is in
/// the middle of a push.
#[test]
fn commands_pushed_before_a_flag_are_taken_before_it() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let lane = Lane::new();
        let (sender, mut receiver) = mpsc::channel(2);
        let (other, flagging) = (sender.clone(), lane.clone());
        let unrelated = thread::spawn(move || other.push(20).unwrap());
        let leaving = thread::spawn(move || {
            sender.push(10).unwrap();
            flagging.set(0);
        });
        let attention = lane.attention.take();
        let taken: Vec<u32> = core::iter::from_fn(|| receiver.pop()).collect();
        let drained = receiver.is_drained();
        if attention && drained {
            assert!(!lane.look()[0] || taken.contains(&10), "acted on a flag before the command: {taken:?}");
        }
        unrelated.join().unwrap();
        leaving.join().unwrap();
    });
}
