//! Stores land where and as they should; their order is the simulated device's to see.

extern crate std;

use std::vec::Vec;

use super::*;

/// A queue of `blocks` blocks whose words count up from 1.
fn ring(blocks: usize) -> Vec<u64> {
    (1..=(blocks * BLOCK_WORDS) as u64).collect()
}

#[test]
fn barriers_return() {
    to_device();
    from_device();
    write_combining_start();
    flush_writes();
}

#[test]
fn stores_write_exactly_their_word() {
    let mut register = [0u64; 3];
    let mut record = [0u32; 3];
    // SAFETY: both middle elements are aligned and owned by this test.
    unsafe {
        store_doorbell(&mut register[1], 0x0102_0304_0506_0708);
        store_record(&mut record[1], 0x0102_0304);
    }
    assert_eq!(register, [0, 0x0102_0304_0506_0708, 0]);
    assert_eq!(record, [0, 0x0102_0304, 0]);
}

#[test]
fn blue_flame_copies_whole_blocks_and_no_more() {
    let ring = ring(4);
    let mut register = [0u64; 32];
    // SAFETY: the register holds 32 words, the ring four blocks.
    unsafe { copy_blue_flame(register.as_mut_ptr(), ring.as_ptr(), 4, 1, 2) };
    assert_eq!(register[..16], ring[8..24]);
    assert_eq!(register[16..], [0; 16]);
}

#[test]
fn blue_flame_wraps_at_the_end_of_the_queue() {
    let ring = ring(4);
    let mut register = [0u64; 32];
    // SAFETY: the register holds 32 words, the ring four blocks.
    unsafe { copy_blue_flame(register.as_mut_ptr(), ring.as_ptr(), 4, 7, 3) };
    assert_eq!(register[..8], ring[24..]);
    assert_eq!(register[8..24], ring[..16]);
    assert_eq!(register[24..], [0; 8]);
}
