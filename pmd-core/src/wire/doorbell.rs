//! Values of doorbell records and doorbell registers.
//!
//! A doorbell record is a word of host memory that the device reads; a doorbell register is device memory.
//! Functions here return words *as they lie in memory*: the big-endian conversion is done, store them with one
//! plain store of their width ([`crate::mmio`]). rdma-core `post_send_db`, `mlx5_post_recv`, `mlx5_arm_cq`.

use core::ops::Range;

use super::Unit;
use super::bytes::take;

/// Index of the receive counter in a queue pair's doorbell record (`MLX5_RCV_DBR`).
pub const RECEIVE_RECORD: usize = 0;
/// Index of the send counter in a queue pair's doorbell record (`MLX5_SND_DBR`).
pub const SEND_RECORD: usize = 1;
/// Index of the consumer index in a completion queue's doorbell record.
pub const CONSUMER_RECORD: usize = 0;
/// Index of the arm word in a completion queue's doorbell record.
pub const ARM_RECORD: usize = 1;
/// Byte offset of the arm register in a completion queue's UAR page (`MLX5DV_CQ_DOORBELL`).
pub const ARM_REGISTER: usize = 0x20;

/// The bytes of a control segment that a send doorbell repeats.
pub const CONTROL_PART: Range<usize> = 0..8;

/// The send word of a queue pair's record: basic blocks posted, modulo 2^16.
#[inline]
#[must_use]
pub const fn send_record(producer_index: u32) -> u32 {
    (producer_index & 0xffff).to_be()
}

/// The receive word of a queue pair's record: WQEs posted, modulo 2^16. A shared receive queue's record holds
/// the same form.
#[inline]
#[must_use]
pub const fn receive_record(producer_index: u32) -> u32 {
    (producer_index & 0xffff).to_be()
}

/// The consumer word of a completion queue's record: entries consumed, modulo 2^24.
#[inline]
#[must_use]
pub const fn consumer_record(consumer_index: u32) -> u32 {
    (consumer_index & 0x00ff_ffff).to_be()
}

/// The counter in a record's word, as a device reads it.
#[inline]
#[must_use]
pub const fn record_value(word: u32) -> u32 {
    u32::from_be(word)
}

/// The word that rings a send queue's doorbell: the first eight bytes of the last posted WQE.
#[inline]
#[must_use]
pub fn send_register(control: &Unit) -> u64 {
    u64::from_ne_bytes(take(control, CONTROL_PART))
}

/// A request for an event at a completion queue's next completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Events received so far on this completion queue; its low two bits count.
    pub sequence: u8,
    /// Only for solicited or failed completions.
    pub solicited_only: bool,
    /// Entries consumed; 24 bits count.
    pub consumer_index: u32,
    /// Completion-queue number, 24 bits.
    pub completion_queue: u32,
}

impl Arm {
    const SOLICITED_ONLY: u32 = 1 << 24;

    /// The arm word of the completion queue's doorbell record.
    #[inline]
    #[must_use]
    pub const fn record(&self) -> u32 {
        self.word().to_be()
    }

    /// The word for the arm register.
    #[inline]
    #[must_use]
    pub const fn register(&self) -> u64 {
        ((self.word() as u64) << 32 | self.completion_queue as u64).to_be()
    }

    /// What a device reads from the arm register; the inverse of [`register`](Self::register).
    #[must_use]
    pub const fn parse_register(word: u64) -> Self {
        let word = u64::from_be(word);
        let command = (word >> 32) as u32;
        Self {
            sequence: (command >> 28) as u8 & 3,
            solicited_only: command & Self::SOLICITED_ONLY != 0,
            consumer_index: command & 0x00ff_ffff,
            completion_queue: word as u32,
        }
    }

    #[inline]
    const fn word(&self) -> u32 {
        let command = if self.solicited_only { Self::SOLICITED_ONLY } else { 0 };
        ((self.sequence & 3) as u32) << 28 | command | self.consumer_index & 0x00ff_ffff
    }
}
