//! Polling through ibv_poll_cq and through ibv_start_poll.

use std::time::{Duration, Instant};

use pmd_sys::{inline::*, verbs::*};

use super::Theirs;

/// How libmlx5 is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bytes) enum Poll {
    /// ibv_poll_cq.
    Plain,
    /// ibv_start_poll, and a call for each field.
    Extended,
}

/// What libmlx5 makes of a completion entry. Fields that it does not fill for a failed request are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::bytes) struct Completed {
    pub(in crate::bytes) id: u64,
    pub(in crate::bytes) status: ibv_wc_status,
    pub(in crate::bytes) vendor: u32,
    pub(in crate::bytes) queue_pair: u32,
    pub(in crate::bytes) opcode: ibv_wc_opcode,
    pub(in crate::bytes) length: u32,
    pub(in crate::bytes) flags: u32,
    /// As it stands in the completion: immediates in network order.
    pub(in crate::bytes) immediate: u32,
}

/// Longest wait for the one request that the device executes.
const PATIENCE: Duration = Duration::from_secs(10);

impl Theirs {
    /// One completion, if there is one.
    pub(in crate::bytes) fn poll(&mut self, poll: Poll) -> Option<Completed> {
        match poll {
            Poll::Plain => self.poll_plain(),
            Poll::Extended => self.poll_extended(),
        }
    }

    /// Waits for a completion.
    pub(super) fn wait(&mut self) -> Completed {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(completed) = self.poll_plain() {
                return completed;
            }
            assert!(Instant::now() < deadline, "the device has not executed an empty write");
            std::thread::yield_now();
        }
    }

    fn poll_plain(&mut self) -> Option<Completed> {
        let mut completion = ibv_wc::default();
        // SAFETY: the queue is live and of this thread.
        let count = unsafe { ibv_poll_cq(self.completions.as_ptr().cast(), 1, &mut completion) };
        assert!(count >= 0, "ibv_poll_cq: {count}");
        if count == 0 {
            return None;
        }
        let ibv_wc { wr_id: id, status, vendor_err, qp_num: queue_pair, .. } = completion;
        let failed = Completed { id, status, vendor: vendor_err, queue_pair, ..Completed::default() };
        if status != IBV_WC_SUCCESS {
            return Some(failed);
        }
        Some(Completed {
            vendor: 0,
            opcode: completion.opcode,
            length: completion.byte_len,
            flags: completion.wc_flags,
            // SAFETY: both members are plain words.
            immediate: unsafe { completion.__bindgen_anon_1.imm_data },
            ..failed
        })
    }

    fn poll_extended(&mut self) -> Option<Completed> {
        let queue = self.completions.as_ptr();
        let mut attributes = ibv_poll_cq_attr::default();
        // SAFETY: the queue is live and of this thread, and was made with these fields.
        unsafe {
            match ibv_start_poll(queue, &mut attributes).expect("start_poll") {
                0 => {}
                libc::ENOENT => return None,
                error => panic!("ibv_start_poll: {error}"),
            }
            let completed = self.read();
            ibv_end_poll(queue).expect("end_poll");
            Some(completed)
        }
    }

    /// The fields of the completion that the extended poll stands on.
    fn read(&self) -> Completed {
        let queue = self.completions.as_ptr();
        // SAFETY: as in `poll_extended`.
        unsafe {
            let failed = Completed {
                id: (*queue).wr_id,
                status: (*queue).status,
                vendor: ibv_wc_read_vendor_err(queue).expect("vendor_err"),
                queue_pair: ibv_wc_read_qp_num(queue).expect("qp_num"),
                ..Completed::default()
            };
            if failed.status != IBV_WC_SUCCESS {
                return failed;
            }
            Completed {
                vendor: 0,
                opcode: ibv_wc_read_opcode(queue).expect("opcode"),
                length: ibv_wc_read_byte_len(queue).expect("byte_len"),
                flags: ibv_wc_read_wc_flags(queue).expect("wc_flags"),
                immediate: ibv_wc_read_imm_data(queue).expect("imm_data"),
                ..failed
            }
        }
    }
}
