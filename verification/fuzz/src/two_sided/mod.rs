//! Poster and device together: a string of actions drives two connected queue pairs of the soft HCA, and a simple model
//! says what has to come of it. Every request completes exactly once and in the order of its queue, data is what was
//! sent, nothing else is written, nothing fails without a reason, and nothing hangs.
//!
//! Input: one byte of shape (low two bits: how bytes are reached; then small queues, small budgets), then three bytes
//! for each action ([`Action`]). With `PMD_FUZZ_TRACE` in the environment the actions are printed.

mod action;
mod bench;
mod check;
mod draft;
mod expect;
mod memory;
mod settle;

pub use action::{Action, Kind};
use bench::World;

/// Actions of one input that are carried out.
const MOST_ACTIONS: usize = 200;

/// Shape: both devices copy straight.
pub const SAME_PROCESS: u8 = 0;
/// Shape: the peer's arena is mapped.
pub const ARENA: u8 = 1;
/// Shape: the kernel copies.
pub const PROCESS_MEMORY: u8 = 2;
/// Shape: everything travels in packets.
pub const PACKETS: u8 = 3;
/// Shape bit: queues of few entries.
pub const SMALL_QUEUES: u8 = 4;
/// Shape bit: a doorbell and a poll move a few bytes only, and packets are short.
pub const SMALL_BUDGETS: u8 = 8;

/// Carries the actions out, then lets everything finish and looks at what is left.
pub fn run(data: &[u8]) {
    let Some((shape, actions)) = data.split_first() else { return };
    let mut world = World::new(*shape);
    for bytes in actions.as_chunks().0.iter().take(MOST_ACTIONS) {
        world.act(Action::decode(*bytes));
    }
    world.finish();
}
