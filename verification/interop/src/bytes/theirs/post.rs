//! Posting through ibv_post_send and through ibv_wr_*.

use std::ptr;

use pmd_core::{memory::Sge, provider::SendFlags};
use pmd_sys::{inline::*, verbs::*};

use super::Theirs;
use crate::bytes::request::{Data, Extra, Request, Work};

/// What of a request lies outside of ibv_send_wr.
struct Lists(Vec<ibv_sge>);

impl Theirs {
    /// One list for ibv_post_send.
    pub(super) fn post_list(&mut self, first_id: u64, requests: &[Request]) {
        let mut lists: Vec<Lists> = requests.iter().map(Lists::new).collect();
        let mut chain: Vec<ibv_send_wr> = (first_id..)
            .zip(requests.iter().zip(&mut lists))
            .map(|(id, (request, lists))| work_request(id, request, lists))
            .collect();
        let next: Vec<*mut ibv_send_wr> = chain.iter_mut().skip(1).map(ptr::from_mut).collect();
        chain.iter_mut().zip(next).for_each(|(request, next)| request.next = next);
        let mut bad = ptr::null_mut();
        // SAFETY: the queue pair is live; the chain and its lists are during the call, and the device executes nothing.
        let answer = unsafe { ibv_post_send(self.queue_pair.as_ptr(), chain.as_mut_ptr(), &mut bad) };
        assert_eq!(answer, 0, "ibv_post_send");
    }

    /// Call by call.
    pub(super) fn post_calls(&mut self, first_id: u64, requests: &[Request]) {
        let queue_pair = self.extended.as_ptr();
        // SAFETY: the queue pair is live, of this thread, and was made for these operations; inline bytes are live.
        let complete = || unsafe {
            ibv_wr_start(queue_pair)?;
            for (id, request) in (first_id..).zip(requests) {
                (*queue_pair).wr_id = id;
                (*queue_pair).wr_flags = flags(request);
                begin(queue_pair, request)?;
                give(queue_pair, request)?;
            }
            ibv_wr_complete(queue_pair)
        };
        assert_eq!(complete(), Ok(0), "ibv_wr_complete");
    }
}

/// Says what is to be done.
///
/// # Safety
/// As the functions called.
unsafe fn begin(queue_pair: *mut ibv_qp_ex, request: &Request) -> Result<(), OperationMissing> {
    // SAFETY: the caller's promise.
    unsafe {
        match &request.work {
            Work::Write { remote, immediate: None, .. } => {
                ibv_wr_rdma_write(queue_pair, remote.key.0, remote.address)
            }
            Work::Write { remote, immediate: Some(immediate), .. } => {
                ibv_wr_rdma_write_imm(queue_pair, remote.key.0, remote.address, immediate.to_be())
            }
            Work::Read { remote, .. } => ibv_wr_rdma_read(queue_pair, remote.key.0, remote.address),
            Work::Send { extra: Extra::None, .. } => ibv_wr_send(queue_pair),
            Work::Send { extra: Extra::Immediate(immediate), .. } => {
                ibv_wr_send_imm(queue_pair, immediate.to_be())
            }
            Work::Send { extra: Extra::Invalidate(key), .. } => ibv_wr_send_inv(queue_pair, *key),
            Work::CompareSwap { remote, compare, swap, .. } => {
                ibv_wr_atomic_cmp_swp(queue_pair, remote.key.0, remote.address, *compare, *swap)
            }
            Work::FetchAdd { remote, add, .. } => {
                ibv_wr_atomic_fetch_add(queue_pair, remote.key.0, remote.address, *add)
            }
        }
    }
}

/// Gives the data of the request just begun.
///
/// # Safety
/// As the functions called.
unsafe fn give(queue_pair: *mut ibv_qp_ex, request: &Request) -> Result<(), OperationMissing> {
    let lists = Lists::new(request);
    let is_inline = request.data().is_some_and(Data::is_inline);
    // SAFETY: the caller's promise; lists are live during the calls.
    unsafe {
        match lists.0.as_slice() {
            [one] if is_inline => ibv_wr_set_inline_data(queue_pair, one.addr as *mut _, one.length as usize),
            [one] => ibv_wr_set_sge(queue_pair, one.lkey, one.addr, one.length),
            several if is_inline => {
                let piece = |entry: &ibv_sge| ibv_data_buf {
                    addr: entry.addr as *mut _,
                    length: entry.length as usize,
                };
                let pieces: Vec<ibv_data_buf> = several.iter().map(piece).collect();
                ibv_wr_set_inline_data_list(queue_pair, pieces.len(), pieces.as_ptr())
            }
            several => ibv_wr_set_sge_list(queue_pair, several.len(), several.as_ptr()),
        }
    }
}

impl Lists {
    fn new(request: &Request) -> Self {
        let entry = |entry: &Sge| ibv_sge { addr: entry.address, length: entry.length, lkey: entry.key.0 };
        let piece = |bytes: &[u8]| ibv_sge {
            addr: bytes.as_ptr().expose_provenance() as u64,
            length: bytes.len() as u32,
            lkey: 0,
        };
        Self(match &request.work {
            Work::Write { data: Data::Gather(list), .. }
            | Work::Send { data: Data::Gather(list), .. }
            | Work::Read { list, .. } => list.iter().map(entry).collect(),
            Work::Write { data, .. } | Work::Send { data, .. } => {
                data.pieces().into_iter().map(piece).collect()
            }
            Work::CompareSwap { local, .. } | Work::FetchAdd { local, .. } => vec![entry(local)],
        })
    }
}

fn work_request(id: u64, request: &Request, lists: &mut Lists) -> ibv_send_wr {
    let mut work = ibv_send_wr {
        wr_id: id,
        sg_list: lists.0.as_mut_ptr(),
        num_sge: lists.0.len() as i32,
        send_flags: flags(request),
        ..Default::default()
    };
    match &request.work {
        Work::Write { remote, immediate, .. } => {
            work.opcode = if immediate.is_some() { IBV_WR_RDMA_WRITE_WITH_IMM } else { IBV_WR_RDMA_WRITE };
            work.__bindgen_anon_1.imm_data = immediate.unwrap_or(0).to_be();
            work.wr.rdma = rdma(remote.address, remote.key.0);
        }
        Work::Read { remote, .. } => {
            work.opcode = IBV_WR_RDMA_READ;
            work.wr.rdma = rdma(remote.address, remote.key.0);
        }
        Work::Send { extra, .. } => match extra {
            Extra::None => work.opcode = IBV_WR_SEND,
            Extra::Immediate(immediate) => {
                work.opcode = IBV_WR_SEND_WITH_IMM;
                work.__bindgen_anon_1.imm_data = immediate.to_be();
            }
            Extra::Invalidate(key) => {
                work.opcode = IBV_WR_SEND_WITH_INV;
                work.__bindgen_anon_1.invalidate_rkey = *key;
            }
        },
        Work::CompareSwap { remote, compare, swap, .. } => {
            work.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
            work.wr.atomic = atomic(remote.address, remote.key.0, *compare, *swap);
        }
        Work::FetchAdd { remote, add, .. } => {
            work.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
            work.wr.atomic = atomic(remote.address, remote.key.0, *add, 0);
        }
    }
    work
}

pub(super) fn rdma(remote_addr: u64, rkey: u32) -> ibv_send_wr__bindgen_ty_2__bindgen_ty_1 {
    ibv_send_wr__bindgen_ty_2__bindgen_ty_1 { remote_addr, rkey }
}

fn atomic(
    remote_addr: u64,
    rkey: u32,
    compare_add: u64,
    swap: u64,
) -> ibv_send_wr__bindgen_ty_2__bindgen_ty_2 {
    ibv_send_wr__bindgen_ty_2__bindgen_ty_2 { remote_addr, compare_add, swap, rkey }
}

/// `enum ibv_send_flags`; ours have the same values.
fn flags(request: &Request) -> u32 {
    let inline = request.data().is_some_and(Data::is_inline);
    let common = SendFlags::all() & request.flags;
    common.bits() | if inline { IBV_SEND_INLINE } else { 0 }
}
