//! Doorbell registers of a mapped UAR page: the device stores that the lower seam leaves to a back end.
//!
//! `pmd-host`'s mlx5 back end gives each queue pair one; [`SendQueue::ring`](super::SendQueue::ring) and
//! [`QueueProvider::arm`](super::QueueProvider::arm) call them, with the doorbell record written by then. ConnectX PRM,
//! "Doorbells" and "BlueFlame"; rdma-core providers/mlx5/qp.c `post_send_db`, cq.c `mlx5_arm_cq`.
#![allow(unsafe_code)] // stores to device registers known by address only

use core::ptr::NonNull;

use crate::{
    mmio,
    provider::{SendDoorbell, WqeRing},
};

/// A doorbell register with two halves, which are written in turn.
#[derive(Debug)]
pub struct DoorbellRegister {
    base: NonNull<u8>,
    /// Bytes of one half; 0 for plain doorbells in the first half only.
    half: u32,
    /// Half that is written next: 0 or `half`.
    offset: u32,
}

// SAFETY: the register is written by the owner of this value only (`new`'s contract), from whatever thread.
unsafe impl Send for DoorbellRegister {}

impl DoorbellRegister {
    /// The register at `base`.
    ///
    /// # Safety
    /// `base` is a mapped doorbell register with two halves of `half` bytes (a multiple of 64), or one of eight bytes
    /// where `half` is 0, that outlives this value, or memory that stands for one; aligned to eight. With `half` above
    /// 0 nobody else writes it.
    pub const unsafe fn new(base: NonNull<u8>, half: u32) -> Self {
        Self { base, half, offset: 0 }
    }

    /// Where it is mapped.
    #[must_use]
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The half to write now; the next ring takes the other one, so that two writes never combine.
    #[inline(always)]
    fn next_half(&mut self) -> *mut u64 {
        // SAFETY: the offset is 0 or `half`, which lies in the register (`new`'s contract).
        let address = unsafe { self.base.byte_add(self.offset as usize) };
        self.offset ^= self.half;
        address.cast().as_ptr()
    }
}

impl SendDoorbell for &mut DoorbellRegister {
    #[inline]
    fn blue_flame_limit(&self) -> u32 {
        self.half
    }

    #[inline]
    fn ring(&mut self, control: [u8; 8]) {
        mmio::write_combining_start();
        // SAFETY: `new`'s contract: a register, aligned to eight.
        unsafe { mmio::store_doorbell(self.next_half(), u64::from_ne_bytes(control)) };
        mmio::flush_writes();
    }

    #[inline]
    fn blue_flame(&mut self, wqe: WqeRing) {
        mmio::write_combining_start();
        let register = self.next_half();
        // SAFETY: the caller checked the WQE against `blue_flame_limit`, so that it fits the half; the ring is the
        // send queue, whose posted slots nobody writes.
        unsafe {
            mmio::copy_blue_flame(
                register,
                wqe.buffer.cast::<u64>().as_ptr(),
                wqe.wqe_count as usize,
                wqe.first as usize,
                wqe.slots as usize,
            );
        }
        mmio::flush_writes();
    }
}

/// The arm register of completion queues.
#[derive(Debug)]
pub struct ArmRegister(NonNull<u64>);

// SAFETY: takes single 8-byte stores from any thread (`new`'s contract).
unsafe impl Send for ArmRegister {}

impl ArmRegister {
    /// The register at `address`.
    ///
    /// # Safety
    /// `address` is the mapped arm register of a UAR page that outlives this value, or memory that stands for one;
    /// aligned to eight. All that write it write whole 8-byte words.
    #[must_use]
    pub const unsafe fn new(address: NonNull<u64>) -> Self {
        Self(address)
    }

    /// Stores the arm doorbell: `value` in wire order, the arm word of the doorbell record having been written.
    pub fn ring(&mut self, value: [u8; 8]) {
        mmio::write_combining_start();
        // SAFETY: `new`'s contract.
        unsafe { mmio::store_doorbell(self.0.as_ptr(), u64::from_ne_bytes(value)) };
        mmio::flush_writes();
    }
}
