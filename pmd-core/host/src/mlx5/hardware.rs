//! The doorbell registers of a ConnectX: which queue pair's is where.
//!
//! [`pmd_core::queue::QueueProvider`] asks for them; the stores themselves are [`DoorbellRegister`]'s and
//! [`ArmRegister`]'s.
#![allow(unsafe_code)] // registers are known by address only

use std::ptr::NonNull;

use pmd_core::{
    provider::{CompletionQueueError, Hardware, QueuePairHandle},
    queue::{ArmRegister, DoorbellRegister},
};

/// Where the arm doorbell of completion queues lies in a UAR page.
pub(super) const ARM_OFFSET: usize = 0x20;

/// The registers of one back end.
#[derive(Debug)]
pub struct Mlx5Hardware {
    /// All distinct registers; queue pairs of one thread domain share one. The first takes the doorbells of handles
    /// that no queue pair has, into memory of its own.
    registers: Vec<DoorbellRegister>,
    /// Index of the register, by queue pair handle.
    by_queue_pair: Vec<usize>,
    arm: ArmRegister,
    /// Eight words that the first register stands for.
    _unused: Box<[u64; 8]>,
}

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
            // SAFETY: eight bytes and more, aligned to eight, that live as long as this value.
            registers: vec![unsafe { DoorbellRegister::new(base, 0) }],
            by_queue_pair: Vec::new(),
            // SAFETY: the caller's promise: the arm doorbell lies in the page.
            arm: unsafe { ArmRegister::new(uar.byte_add(ARM_OFFSET).cast()) },
            _unused: unused,
        }
    }

    /// Says which register a queue pair's doorbell is.
    ///
    /// # Safety
    /// As [`DoorbellRegister::new`]; the register outlives the queue pair.
    pub(super) unsafe fn assign(&mut self, queue_pair: QueuePairHandle, base: NonNull<u8>, half: u32) {
        let known = self.registers.iter().position(|register| register.base() == base);
        let register = known.unwrap_or_else(|| {
            // SAFETY: the caller's promise.
            self.registers.push(unsafe { DoorbellRegister::new(base, half) });
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
    type Doorbell<'a> = &'a mut DoorbellRegister;

    #[inline]
    fn doorbell(&mut self, queue_pair: QueuePairHandle) -> &mut DoorbellRegister {
        let index = self.by_queue_pair.get(queue_pair.0 as usize).copied().unwrap_or(0);
        debug_assert!(index < self.registers.len());
        // SAFETY: the first register is always there, and `assign` stores indexes of registers only.
        unsafe { self.registers.get_unchecked_mut(index) }
    }

    #[inline]
    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, value: [u8; 8]) {
        self.arm.ring(value);
    }
}
