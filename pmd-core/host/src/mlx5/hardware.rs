//! Doorbell registers of a ConnectX: the lower seam's device stores.
//!
//! [`pmd_core::queue::QueueProvider`] calls them; the doorbell record is written by then. ConnectX PRM, "Doorbells"
//! and "BlueFlame"; rdma-core providers/mlx5/qp.c `post_send_db`, cq.c `mlx5_arm_cq`.
#![allow(unsafe_code)] // stores to device registers known by address only

use std::ptr::NonNull;

use pmd_core::{
    mmio,
    provider::{CompletionQueueError, Hardware, QueuePairHandle, SendDoorbell, WqeRing},
};

/// Where the arm doorbell of completion queues lies in a UAR page.
pub(super) const ARM_OFFSET: usize = 0x20;

/// A doorbell register with its two halves, which are written in turn.
#[derive(Debug)]
pub(super) struct Register {
    base: NonNull<u8>,
    /// Bytes of one half; 0 for plain doorbells in the first half only.
    half: u32,
    /// Half that is written next: 0 or `half`.
    offset: u32,
}

/// The registers of one back end.
#[derive(Debug)]
pub struct Mlx5Hardware {
    /// All distinct registers; queue pairs of one thread domain share one. The first takes the doorbells of handles
    /// that no queue pair has, into memory of its own.
    registers: Vec<Register>,
    /// Index of the register, by queue pair handle.
    by_queue_pair: Vec<usize>,
    arm: NonNull<u64>,
    /// Eight words that the first register stands for.
    _unused: Box<[u64; 8]>,
}

// SAFETY: the registers are written by the owner of this value only, or take single 8-byte stores from any thread.
unsafe impl Send for Mlx5Hardware {}

impl Mlx5Hardware {
    /// Without queue pairs.
    ///
    /// # Safety
    /// `uar` is a mapped UAR page that outlives this value, or memory of at least 40 bytes that stands for one;
    /// aligned to eight.
    pub(super) unsafe fn new(uar: NonNull<u8>) -> Self {
        let mut unused = Box::new([0; 8]);
        let base = NonNull::from(&mut *unused).cast();
        Self {
            registers: vec![Register { base, half: 0, offset: 0 }],
            by_queue_pair: Vec::new(),
            // SAFETY: the caller's promise: the arm doorbell lies in the page.
            arm: unsafe { uar.byte_add(ARM_OFFSET) }.cast(),
            _unused: unused,
        }
    }

    /// Says which register a queue pair's doorbell is.
    ///
    /// # Safety
    /// `base` is a mapped doorbell register with two halves of `half` bytes (a multiple of 64), or one of eight bytes
    /// where `half` is 0, that outlives the queue pair, or memory that stands for one; aligned to eight. With `half`
    /// above 0 nobody else writes it.
    pub(super) unsafe fn assign(&mut self, queue_pair: QueuePairHandle, base: NonNull<u8>, half: u32) {
        let known = self.registers.iter().position(|register| register.base == base);
        let register = known.unwrap_or_else(|| {
            self.registers.push(Register { base, half, offset: 0 });
            self.registers.len() - 1
        });
        let index = queue_pair.0 as usize;
        if self.by_queue_pair.len() <= index {
            self.by_queue_pair.resize(index + 1, 0);
        }
        self.by_queue_pair[index] = register;
    }

    /// Sends the doorbells of a destroyed queue pair's handle nowhere.
    pub(super) fn forget(&mut self, queue_pair: QueuePairHandle) {
        if let Some(register) = self.by_queue_pair.get_mut(queue_pair.0 as usize) {
            *register = 0;
        }
    }
}

impl Hardware for Mlx5Hardware {
    type Doorbell<'a> = Mlx5Doorbell<'a>;

    #[inline]
    fn doorbell(&mut self, queue_pair: QueuePairHandle) -> Mlx5Doorbell<'_> {
        let index = self.by_queue_pair.get(queue_pair.0 as usize).copied().unwrap_or(0);
        debug_assert!(index < self.registers.len());
        // SAFETY: the first register is always there, and `assign` stores indexes of registers only.
        Mlx5Doorbell(unsafe { self.registers.get_unchecked_mut(index) })
    }

    #[inline]
    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, value: [u8; 8]) {
        mmio::write_combining_start();
        // SAFETY: `new`'s contract; all threads write whole 8-byte words there.
        unsafe { mmio::store_doorbell(self.arm.as_ptr(), u64::from_ne_bytes(value)) };
        mmio::flush_writes();
    }
}

/// A queue pair's doorbell register, for one ring.
#[derive(Debug)]
pub struct Mlx5Doorbell<'a>(&'a mut Register);

impl Mlx5Doorbell<'_> {
    /// The half to write now; the next ring takes the other one, so that two writes never combine.
    #[inline(always)]
    fn next_half(&mut self) -> *mut u64 {
        let register = &mut *self.0;
        // SAFETY: the offset is 0 or `half`, which lies in the register (`assign`'s contract).
        let address = unsafe { register.base.byte_add(register.offset as usize) };
        register.offset ^= register.half;
        address.cast().as_ptr()
    }
}

impl SendDoorbell for Mlx5Doorbell<'_> {
    #[inline]
    fn blue_flame_limit(&self) -> u32 {
        self.0.half
    }

    #[inline]
    fn ring(&mut self, control: [u8; 8]) {
        mmio::write_combining_start();
        // SAFETY: `assign`'s contract: a register, aligned to eight.
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
