//! What messages contain, so that both sides can check them although only one of them is this command.
//!
//! ibv_rc_pingpong sends from the buffer into which it receives: all its life it sends back what it got. Its client's
//! first message is 0x7b in every byte; with `--chk` the first byte of each page is 0 instead, and its server looks
//! for those zeroes in the last message. So our client sends another pattern each turn and expects it back; our server
//! does the same with a client that begins with 0x7b, and is an echo for our own client.

use crate::memory::{Memory, Mismatch};

/// In a receive buffer before the message comes. No message has it anywhere.
pub(super) const POISON: u8 = 0xa5;

/// What ibv_rc_pingpong's client begins with.
const FILL: u8 = 0x7b;

/// Distance of the bytes that ibv_rc_pingpong's server looks at: the smallest page there is.
const PAGE: usize = 4096;

/// Byte `index` of message `turn`: 0 at the start of each page, elsewhere never [`POISON`], different from turn to
/// turn.
pub(super) fn pattern(turn: u64, index: usize) -> u8 {
    if index.is_multiple_of(PAGE) {
        return 0;
    }
    let mixed = (index as u64 ^ turn.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    match mixed as u8 {
        POISON => 1,
        other => other,
    }
}

/// Compares the message at `offset` of `memory` with message `turn`.
pub(super) fn check(memory: &Memory, offset: usize, size: usize, turn: u64) -> Result<(), Mismatch> {
    for index in 0..size {
        let (found, expected) = (memory.byte(offset + index), pattern(turn, index));
        if found != expected {
            return Err(Mismatch { offset: index, size, found, expected });
        }
    }
    Ok(())
}

/// Whether the message at `offset` of `memory` is the first one of ibv_rc_pingpong's client.
pub(super) fn is_first_of_client(memory: &Memory, offset: usize, size: usize) -> bool {
    (0..size).all(|index| match memory.byte(offset + index) {
        FILL => true,
        // Pages of the peer may be larger than the smallest.
        0 => index.is_multiple_of(PAGE),
        _ => false,
    })
}

/// Writes message `turn` to `offset` of `memory`.
pub(super) fn fill(memory: &mut Memory, offset: usize, size: usize, turn: u64) {
    for index in 0..size {
        memory.stamp(offset + index, pattern(turn, index));
    }
}

/// Makes every byte differ from every message.
pub(super) fn poison(memory: &mut Memory, offset: usize, size: usize) {
    for index in 0..size {
        memory.stamp(offset + index, POISON);
    }
}

#[cfg(test)]
mod tests;
