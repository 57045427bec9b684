//! Posting and polling as a C program does it whose requests are ready: nothing but libmlx5's own instructions.
//!
//! Called by [`cost`](crate::bytes::cost), which counts what runs here.

use std::{hint::black_box, ptr};

use pmd_core::{
    memory::{RemoteAddress, Sge},
    wire::{Cqe, Opcode, RequesterCompletion, Scatter, cqe},
};
use pmd_sys::{inline::*, verbs::*};

use super::{Theirs, USER_INDEX};

/// Completions of one poll, at most.
pub(in crate::bytes) const POLL: usize = 32;

/// One WRITE, signalled, as both of libmlx5's interfaces take it.
#[derive(Clone, Copy, Debug)]
pub(in crate::bytes) struct BareWrite {
    /// Where it goes.
    pub(in crate::bytes) remote: RemoteAddress,
    /// What is written; the key counts for nothing where it is copied into the work request.
    pub(in crate::bytes) local: Sge,
    /// Whether it is copied.
    pub(in crate::bytes) is_inline: bool,
}

/// A list for ibv_post_send, built once and posted often.
pub(in crate::bytes) struct Chain {
    work: Box<[ibv_send_wr]>,
    // What the requests point to.
    _list: Box<ibv_sge>,
}

impl Chain {
    /// `count` times this WRITE.
    pub(in crate::bytes) fn new(write: &BareWrite, count: usize) -> Self {
        let BareWrite { remote, local, is_inline } = *write;
        let mut list = Box::new(ibv_sge { addr: local.address, length: local.length, lkey: local.key.0 });
        let inline = if is_inline { IBV_SEND_INLINE } else { 0 };
        let mut request = ibv_send_wr {
            sg_list: &raw mut *list,
            num_sge: 1,
            opcode: IBV_WR_RDMA_WRITE,
            send_flags: IBV_SEND_SIGNALED | inline,
            ..Default::default()
        };
        request.wr.rdma = super::post::rdma(remote.address, remote.key.0);
        let mut work = vec![request; count].into_boxed_slice();
        for index in 1..count {
            work[index - 1].next = &raw mut work[index];
        }
        Self { work, _list: list }
    }
}

impl Theirs {
    /// One list through ibv_post_send, `times` times: the first request's id counts up.
    #[inline(never)]
    pub(in crate::bytes) fn post_chain(&mut self, chain: &mut Chain, times: u64) {
        let queue_pair = self.queue_pair.as_ptr();
        for id in 0..times {
            chain.work[0].wr_id = id;
            let mut bad = ptr::null_mut();
            // SAFETY: the queue pair is live; the chain and its lists are too, and no device hears the doorbell.
            let answer = unsafe { ibv_post_send(queue_pair, black_box(chain.work.as_mut_ptr()), &mut bad) };
            assert_eq!(answer, 0, "ibv_post_send");
        }
    }

    /// `count` times this WRITE call by call, `times` times: ibv_wr_start, the requests, ibv_wr_complete.
    #[inline(never)]
    pub(in crate::bytes) fn post_bare_calls(&mut self, write: &BareWrite, count: usize, times: u64) {
        let queue_pair = self.extended.as_ptr();
        let BareWrite { remote, local, is_inline } = *black_box(write);
        let data = ptr::with_exposed_provenance_mut(local.address as usize);
        // SAFETY: the queue pair is live, of this thread, and was made for these operations; inline bytes are live, and no
        // device hears the doorbell.
        let batch = |id| unsafe {
            ibv_wr_start(queue_pair)?;
            for _ in 0..count {
                (*queue_pair).wr_id = id;
                (*queue_pair).wr_flags = IBV_SEND_SIGNALED;
                ibv_wr_rdma_write(queue_pair, remote.key.0, remote.address)?;
                if is_inline {
                    ibv_wr_set_inline_data(queue_pair, data, local.length as usize)?;
                } else {
                    ibv_wr_set_sge(queue_pair, local.key.0, local.address, local.length)?;
                }
            }
            ibv_wr_complete(queue_pair)
        };
        for id in 0..times {
            assert_eq!(batch(id), Ok(0), "ibv_wr_complete");
        }
    }

    /// Takes `count` completions through ibv_poll_cq, `batch` in a call and no fewer.
    #[inline(never)]
    pub(in crate::bytes) fn poll_bare(&mut self, count: u64, batch: usize) {
        let mut completions = [ibv_wc::default(); POLL];
        let queue = self.completions.as_ptr().cast();
        for _ in 0..count / batch as u64 {
            // SAFETY: the queue is live and of this thread; there is room for a whole batch.
            let taken = unsafe { ibv_poll_cq(queue, batch as i32, black_box(completions.as_mut_ptr())) };
            assert!(taken == batch as i32 && completions[0].status == IBV_WC_SUCCESS, "{taken} completions");
        }
    }

    /// Puts the completion of the WRITE in this free-running slot where the entry with this free-running number is.
    pub(in crate::bytes) fn put_written(&mut self, slot: u32, index: u32) {
        let completion = RequesterCompletion {
            queue_pair: self.shape.queue_pair,
            operation: Opcode::RdmaWrite,
            wqe_counter: slot as u16,
            byte_count: 0,
            timestamp: 0,
            scatter: Scatter::Memory,
        };
        let mut entry = [0; 64];
        Cqe::Requester(completion).emit_cqe64(cqe::owner_bit(index, self.shape.entries), &mut entry);
        entry[USER_INDEX..][..4].copy_from_slice(&self.user_index.to_be_bytes());
        self.put_entry(index, &entry);
    }
}
