#![allow(unsafe_code)] // memory that stands for doorbell registers

use std::ptr::NonNull;

use pmd_core::provider::{Hardware, QueuePairHandle, SendDoorbell, WqeRing};

use super::{Mlx5Hardware, objects::work_requests};
use crate::backend::QueuePairConfig;

/// A page of registers: 64-bit words.
fn page() -> Box<[u64; 512]> {
    Box::new([0; 512])
}

fn at(page: &mut [u64; 512], byte: usize) -> NonNull<u8> {
    assert!(byte < 4096);
    NonNull::from(page).cast::<u8>().map_addr(|address| address.saturating_add(byte))
}

fn hardware(page: &mut [u64; 512]) -> Mlx5Hardware {
    // SAFETY: the page outlives the hardware in every test, and is aligned to eight.
    unsafe { Mlx5Hardware::new(at(page, 0)) }
}

#[test]
fn doorbells_alternate_between_the_halves() {
    let mut page = page();
    let register = at(&mut page, 0x800);
    let mut hardware = hardware(&mut page);
    let queue_pair = QueuePairHandle(0);
    // SAFETY: the page has 512 bytes from there on.
    unsafe { hardware.assign(queue_pair, register, 256) };
    assert_eq!(hardware.doorbell(queue_pair).blue_flame_limit(), 256);
    for control in 1..=3_u8 {
        hardware.doorbell(queue_pair).ring([control; 8]);
    }
    drop(hardware);
    assert_eq!(page[0x100], u64::from_ne_bytes([3; 8]));
    assert_eq!(page[0x100 + 32], u64::from_ne_bytes([2; 8]));
    assert_eq!(page.iter().filter(|word| **word != 0).count(), 2);
}

#[test]
fn blue_flame_copies_the_entry_and_alternates_too() {
    let mut page = page();
    let register = at(&mut page, 0x800);
    let mut hardware = hardware(&mut page);
    // SAFETY: the page has 512 bytes from there on.
    unsafe { hardware.assign(QueuePairHandle(0), register, 256) };
    let mut queue: Vec<u64> = (0..4 * 8).map(|word| 1000 + word).collect();
    let buffer = NonNull::new(queue.as_mut_ptr().cast()).expect("an address");
    let ring = WqeRing { buffer, wqe_count: 4, first: 3, slots: 2 };
    hardware.doorbell(QueuePairHandle(0)).blue_flame(ring);
    hardware.doorbell(QueuePairHandle(0)).ring([9; 8]);
    drop(hardware);
    let copied: Vec<u64> = (24..32).chain(0..8).map(|word| 1000 + word).collect();
    assert_eq!(page[0x100..0x110], copied, "the last slot, then the first one");
    assert_eq!(page[0x110..0x120], [0; 16]);
    assert_eq!(page[0x120], u64::from_ne_bytes([9; 8]), "the other half");
}

#[test]
fn queue_pairs_of_one_register_alternate_together() {
    let mut page = page();
    let (shared, other) = (at(&mut page, 0x800), at(&mut page, 0xa00));
    let mut hardware = hardware(&mut page);
    // SAFETY: the page has 512 bytes from each of them on.
    unsafe {
        hardware.assign(QueuePairHandle(0), shared, 256);
        hardware.assign(QueuePairHandle(5), shared, 256);
        hardware.assign(QueuePairHandle(1), other, 256);
    }
    hardware.doorbell(QueuePairHandle(0)).ring([1; 8]);
    hardware.doorbell(QueuePairHandle(5)).ring([2; 8]);
    hardware.doorbell(QueuePairHandle(1)).ring([3; 8]);
    drop(hardware);
    let words = [page[0x100], page[0x120], page[0x140], page[0x160]];
    assert_eq!(words, [[1; 8], [2; 8], [3; 8], [0; 8]].map(u64::from_ne_bytes));
}

#[test]
fn a_register_that_is_shared_takes_plain_doorbells_at_its_start() {
    let mut page = page();
    let register = at(&mut page, 0x800);
    let mut hardware = hardware(&mut page);
    // SAFETY: the page has eight bytes there.
    unsafe { hardware.assign(QueuePairHandle(0), register, 0) };
    assert_eq!(hardware.doorbell(QueuePairHandle(0)).blue_flame_limit(), 0);
    hardware.doorbell(QueuePairHandle(0)).ring([1; 8]);
    hardware.doorbell(QueuePairHandle(0)).ring([2; 8]);
    drop(hardware);
    assert_eq!(page[0x100], u64::from_ne_bytes([2; 8]));
    assert_eq!(page.iter().filter(|word| **word != 0).count(), 1);
}

#[test]
fn doorbells_of_nobody_go_nowhere() {
    let mut page = page();
    let register = at(&mut page, 0x800);
    let mut hardware = hardware(&mut page);
    // SAFETY: the page has 512 bytes from there on.
    unsafe { hardware.assign(QueuePairHandle(1), register, 256) };
    hardware.forget(QueuePairHandle(1));
    for handle in [0, 1, 7] {
        hardware.doorbell(QueuePairHandle(handle)).ring([1; 8]);
    }
    drop(hardware);
    assert_eq!(*page, [0; 512]);
}

#[test]
fn arming_writes_the_registers_arm_word() {
    let mut page = page();
    let mut hardware = hardware(&mut page);
    hardware.arm([1, 2, 3, 4, 5, 6, 7, 8]);
    drop(hardware);
    assert_eq!(page[0x20 / 8], u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(page.iter().filter(|word| **word != 0).count(), 1);
}

#[test]
fn as_many_requests_are_asked_for_as_give_the_slots() {
    let config = |send_slots, sges, inline_bytes| QueuePairConfig {
        send_slots,
        sges,
        inline_bytes,
        ..QueuePairConfig::default()
    };
    assert_eq!(work_requests(&config(1024, 1, 0)), 1024);
    assert_eq!(work_requests(&config(1024, 30, 128)), 114, "nine slots each");
    assert_eq!(work_requests(&config(1, 30, 128)), 1);
    assert_eq!(work_requests(&config(0, 1, 0)), 1);
    assert_eq!(work_requests(&config(64, 1, 128)), 22, "three slots each, by the inline bytes");
}
