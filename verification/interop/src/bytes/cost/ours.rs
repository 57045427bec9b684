//! Our side: the driver's queue pair over memory of this process, which gets the stores that a ConnectX gets.

use std::hint::black_box;

use counts::device::{Plain, Shape};
use pmd_core::{
    memory::Sge,
    provider::{Completion, Operation, Payload, Provider, SendFlags, SendRequest},
};

use super::{BareWrite, POLL};

/// A queue pair that sends.
pub(super) struct Ours {
    device: Plain,
}

impl Ours {
    /// Fresh queues.
    pub(super) fn new(slots: u32, inline: u32) -> Self {
        let shape = Shape { slots, entries: slots, inline };
        Self { device: Plain::new(shape).expect("a queue pair over memory") }
    }

    /// `count` times this WRITE, ready to be posted.
    pub(super) fn requests<'a>(
        &self,
        write: &BareWrite,
        payload: &'a [u8],
        list: &'a [Sge],
        count: usize,
    ) -> Vec<SendRequest<'a>> {
        let local = if write.is_inline { Payload::Inline(payload) } else { Payload::Gather(list) };
        let operation = Operation::Write { remote: write.remote, local };
        (0..count as u64).map(|id| SendRequest { id, operation, flags: SendFlags::SIGNALED }).collect()
    }

    /// These requests with one doorbell, `times` times.
    #[inline(never)]
    pub(super) fn post(&mut self, requests: &[SendRequest<'_>], times: u64) {
        let Plain { provider, queue_pair } = &mut self.device;
        for _ in 0..times {
            for request in black_box(requests) {
                provider.post_send(*queue_pair, request).expect("room");
            }
            provider.ring_send(*queue_pair);
        }
    }

    /// Completes the next `count` requests.
    pub(super) fn complete(&mut self, count: u64) {
        self.device.complete(count as u16, 1);
    }

    /// Takes `count` completions, `batch` in a call and no fewer.
    #[inline(never)]
    pub(super) fn poll(&mut self, count: u64, batch: usize) {
        let mut completions = [Completion::EMPTY; POLL];
        for _ in 0..count / batch as u64 {
            let taken = self.device.provider.poll(black_box(&mut completions[..batch])).expect("entries");
            assert!(taken == batch && completions[0].result.is_ok(), "{taken} completions");
        }
    }
}
