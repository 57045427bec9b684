//! libmlx5's side: a queue pair of the installed library, whose queue memory mlx5dv hands out.
//!
//! The queue pair is connected to itself and executes one empty write, which tells the number under which libmlx5 finds
//! it in completion entries. Then its register pages are replaced by ordinary memory: from there on the device hears
//! nothing, libmlx5 writes on, and both what it stored to the registers and what it wrote into the queues can be read.
//! Completions are put in by hand.
#![allow(unsafe_code)] // calls libibverbs and libmlx5, and reaches memory that they hand out

mod bare;
mod open;
mod poll;
mod post;

use std::ptr::{self, NonNull};

use pmd_core::provider::ReceiveRequest;
use pmd_sys::{
    Mlx5, Verbs,
    inline::{ibv_dealloc_td, ibv_post_recv, ibv_post_srq_recv, ibv_req_notify_cq},
    mlx5::{mlx5dv_cq, mlx5dv_qp, mlx5dv_srq},
    verbs::*,
};

use super::{
    layout::Path,
    request::{Request, empty_write},
    shape::Shape,
};

pub(super) use bare::{BareWrite, Chain, POLL};
pub(super) use open::Wanted;
pub(super) use poll::{Completed, Poll};

/// Bytes of a page of registers.
const PAGE: usize = 4096;
/// Where completion queues are armed in a page of registers.
const ARM: usize = 0x20;
/// Where the number under which libmlx5 finds a queue pair lies in an entry of 64 bytes.
const USER_INDEX: usize = 32;

/// libmlx5's side.
pub(super) struct Theirs {
    verbs: &'static Verbs,
    context: NonNull<ibv_context>,
    domains: Domains,
    completions: NonNull<ibv_cq_ex>,
    shared: Option<NonNull<ibv_srq>>,
    queue_pair: NonNull<ibv_qp>,
    extended: NonNull<ibv_qp_ex>,
    qp: mlx5dv_qp,
    cq: mlx5dv_cq,
    srq: mlx5dv_srq,
    shape: Shape,
    user_index: u32,
}

/// Protection domain, thread domain, and the one over both.
struct Domains {
    protection: NonNull<ibv_pd>,
    thread: NonNull<ibv_td>,
    parent: NonNull<ibv_pd>,
}

impl Theirs {
    /// A queue pair on the device called `device`, out of the device's sight, one request done.
    pub(super) fn new(device: &str, wanted: Wanted) -> Self {
        let (verbs, mlx5) = (Verbs::load().expect("libibverbs"), Mlx5::load().expect("libmlx5"));
        let mut side = Self::open(verbs, mlx5, device, wanted);
        side.connect();
        side.learn();
        side.hide();
        side
    }

    /// Sizes and numbers.
    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// The number to put into completion entries (`srqn_uidx`).
    pub(super) fn user_index(&self) -> u32 {
        self.user_index
    }

    /// Posts requests with one doorbell; their ids count from `first_id`.
    pub(super) fn post(&mut self, path: Path, first_id: u64, requests: &[Request]) {
        match path {
            Path::PostSend => self.post_list(first_id, requests),
            Path::WorkRequest => self.post_calls(first_id, requests),
        }
    }

    /// Posts a receive to whichever queue there is.
    pub(super) fn receive(&mut self, request: &ReceiveRequest<'_>) {
        let entry = |entry: &pmd_core::memory::Sge| ibv_sge {
            addr: entry.address,
            length: entry.length,
            lkey: entry.key.0,
        };
        let mut list: Vec<ibv_sge> = request.scatter.iter().map(entry).collect();
        let mut work = ibv_recv_wr {
            wr_id: request.id,
            next: ptr::null_mut(),
            sg_list: list.as_mut_ptr(),
            num_sge: list.len() as i32,
        };
        let mut bad = ptr::null_mut();
        // SAFETY: the queues are live; the request and its list are during the call.
        let answer = unsafe {
            match self.shared {
                Some(shared) => ibv_post_srq_recv(shared.as_ptr(), &mut work, &mut bad),
                None => ibv_post_recv(self.queue_pair.as_ptr(), &mut work, &mut bad),
            }
        };
        assert_eq!(answer, 0, "posting a receive");
    }

    /// Asks for an event; the doorbell word that was stored.
    pub(super) fn arm(&mut self, solicited_only: bool) -> u64 {
        // SAFETY: the queue is live.
        let answer = unsafe { ibv_req_notify_cq(self.completions.as_ptr().cast(), solicited_only) };
        assert_eq!(answer, 0, "ibv_req_notify_cq");
        // SAFETY: the page was replaced by memory of ours.
        unsafe { self.cq.cq_uar.cast::<u8>().add(ARM).cast::<u64>().replace(0) }
    }

    /// What the halves of the doorbell register hold that were stored to, and empties them.
    pub(super) fn rung(&mut self) -> Vec<Vec<u8>> {
        let half = self.shape.blue_flame.max(8) as usize;
        let halves = if self.shape.blue_flame == 0 { 1 } else { 2 };
        let start = self.qp.bf.reg.cast::<u8>();
        let stored = (0..halves).map(|index| {
            // SAFETY: the page was replaced by memory of ours, in which the register lies.
            unsafe {
                let register = start.add(index * half);
                let bytes = std::slice::from_raw_parts(register, half).to_vec();
                register.write_bytes(0, half);
                bytes
            }
        });
        stored.filter(|bytes| bytes.iter().any(|byte| *byte != 0)).collect()
    }

    /// Bytes of the send queue, wrapping at its end.
    pub(super) fn sent(&self, slot: u32, length: usize) -> Vec<u8> {
        let size = self.shape.send_slots as usize * 64;
        let start = slot as usize * 64;
        let buffer = self.qp.sq.buf.cast::<u8>();
        // SAFETY: within the queue, which libmlx5 keeps mapped and does not write now.
        (0..length).map(|index| unsafe { buffer.add((start + index) % size).read_volatile() }).collect()
    }

    /// Bytes of a receive slot.
    pub(super) fn received(&self, slot: u32) -> Vec<u8> {
        let stride = 1usize << self.shape.receive_shift;
        let buffer = if self.shared.is_some() { self.srq.buf } else { self.qp.rq.buf };
        let start = (slot % self.shape.receives) as usize * stride;
        // SAFETY: within the queue, as above.
        let byte = |index: usize| unsafe { buffer.cast::<u8>().add(start + index).read_volatile() };
        (0..stride).map(byte).collect()
    }

    /// Words of the doorbell record of the queue pair: receive, send.
    pub(super) fn records(&self) -> [u32; 2] {
        words(self.qp.dbrec)
    }

    /// Words of the doorbell record of the completion queue: consumer index, arm.
    pub(super) fn completion_records(&self) -> [u32; 2] {
        words(self.cq.dbrec)
    }

    /// The doorbell record of the shared receive queue.
    pub(super) fn shared_record(&self) -> u32 {
        assert!(self.shared.is_some());
        // SAFETY: the record is a word that libmlx5 keeps mapped.
        u32::from_be(unsafe { self.srq.dbrec.read_volatile() })
    }

    /// Puts bytes where the completion entry with this free-running number is.
    pub(super) fn put_entry(&mut self, index: u32, bytes: &[u8]) {
        assert_eq!(bytes.len() as u32, self.shape.entry_bytes);
        let place = (index % self.shape.entries * self.shape.entry_bytes) as usize;
        // SAFETY: within the queue; the device is out of sight, libmlx5 does not read now.
        unsafe { self.cq.buf.cast::<u8>().add(place).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// Has the device do an empty write, and reads from its completion how libmlx5 finds the queue pair.
    fn learn(&mut self) {
        self.post(Path::PostSend, 0, &[empty_write()]);
        let completed = self.wait();
        assert_eq!((completed.status, completed.id), (IBV_WC_SUCCESS, 0), "{completed:?}");
        let entry = (self.shape.entry_bytes as usize - 64) + USER_INDEX;
        // SAFETY: within the first entry, which was polled just now.
        let word = unsafe { self.cq.buf.cast::<u8>().add(entry).cast::<u32>().read_volatile() };
        self.user_index = u32::from_be(word) & 0x00ff_ffff;
    }

    /// Replaces the pages of the doorbell registers by memory that is nothing to the device.
    fn hide(&self) {
        for register in [self.qp.bf.reg, self.cq.cq_uar] {
            let page = register.map_addr(|address| address & !(PAGE - 1));
            // By system call: the C library's mmap may be interposed by what pretends to be the device.
            // SAFETY: the page is mapped for libmlx5's registers, which only this thread uses; it is unmapped with them.
            let mapped = unsafe {
                libc::syscall(
                    libc::SYS_mmap,
                    page,
                    PAGE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            assert_eq!(mapped, page.addr() as i64, "replacing a page of registers");
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let Domains { protection, thread, parent } = self.domains;
        // SAFETY: everything is live and used no more; each before what it was made of. A failure leaks.
        unsafe {
            let _ = self.verbs.ibv_destroy_qp(self.queue_pair.as_ptr());
            if let Some(shared) = self.shared {
                let _ = self.verbs.ibv_destroy_srq(shared.as_ptr());
            }
            let _ = self.verbs.ibv_destroy_cq(self.completions.as_ptr().cast());
            let _ = self.verbs.ibv_dealloc_pd(parent.as_ptr());
            ibv_dealloc_td(thread.as_ptr());
            let _ = self.verbs.ibv_dealloc_pd(protection.as_ptr());
            let _ = self.verbs.ibv_close_device(self.context.as_ptr());
        }
    }
}

fn words(record: *const u32) -> [u32; 2] {
    // SAFETY: a record is two words that libmlx5 keeps mapped.
    [0, 1].map(|index| u32::from_be(unsafe { record.add(index).read_volatile() }))
}
