//! Chains, refusals and completions against a made-up provider; no library is needed.
#![allow(unsafe_code)] // makes up contexts and queue pairs

mod completion;
mod receive;
mod send;
mod status;

use std::{cell::RefCell, ffi::c_int, ptr::NonNull};

use pmd_sys::verbs::*;

/// One posted request as the provider saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Posted {
    wr_id: u64,
    opcode: u32,
    flags: u32,
    immediate: u32,
    /// Address, length and key of each entry.
    entries: Vec<(u64, u32, u32)>,
    /// Remote address and rkey.
    remote: (u64, u32),
    /// Inline bytes.
    inline: Vec<u8>,
}

thread_local! {
    /// Chains that the made-up provider was given, one item a call.
    static CHAINS: RefCell<Vec<Vec<Posted>>> = const { RefCell::new(Vec::new()) };
    /// How many requests the next call takes, and what it answers then.
    static REFUSAL: RefCell<Option<(usize, c_int)>> = const { RefCell::new(None) };
}

fn chains() -> Vec<Vec<Posted>> {
    CHAINS.take()
}

/// The next call takes `count` requests and answers `errno` for the rest.
fn refuse_after(count: usize, errno: c_int) {
    REFUSAL.set(Some((count, errno)));
}

/// A queue pair whose context posts into [`CHAINS`].
struct Fake {
    queue_pair: Box<ibv_qp>,
    _context: Box<ibv_context>,
}

impl Fake {
    fn new() -> Self {
        let mut context = Box::new(ibv_context::default());
        context.ops.post_send = Some(post_send);
        context.ops.post_recv = Some(post_recv);
        let queue_pair =
            Box::new(ibv_qp { context: &raw mut *context, qp_num: 0x1234, ..Default::default() });
        Self { queue_pair, _context: context }
    }

    fn queue_pair(&mut self) -> NonNull<ibv_qp> {
        NonNull::from(&mut *self.queue_pair)
    }
}

unsafe extern "C" fn post_send(_: *mut ibv_qp, list: *mut ibv_send_wr, bad: *mut *mut ibv_send_wr) -> c_int {
    let refusal = REFUSAL.take();
    let (mut chain, mut link) = (Vec::new(), list);
    while !link.is_null() {
        // SAFETY: the chain under test is made of live requests.
        let request = unsafe { &*link };
        if let Some((count, errno)) = refusal
            && chain.len() == count
        {
            CHAINS.with_borrow_mut(|chains| chains.push(chain));
            // SAFETY: the caller passes a place.
            unsafe { *bad = link };
            return errno;
        }
        // SAFETY: as above.
        chain.push(unsafe { seen(request) });
        link = request.next;
    }
    CHAINS.with_borrow_mut(|chains| chains.push(chain));
    0
}

/// Copies what a request says.
///
/// # Safety
/// The request and its list are live.
unsafe fn seen(request: &ibv_send_wr) -> Posted {
    // SAFETY: the caller's promise; the opcode says which member of the union is filled in.
    unsafe {
        let entries = entries(request.sg_list, request.num_sge);
        let is_inline = request.send_flags & IBV_SEND_INLINE != 0;
        let inline = entries.iter().filter(|_| is_inline).flat_map(|(address, length, _)| {
            let bytes = std::ptr::with_exposed_provenance::<u8>(*address as usize);
            std::slice::from_raw_parts(bytes, *length as usize).to_vec()
        });
        let is_atomic = matches!(request.opcode, IBV_WR_ATOMIC_CMP_AND_SWP | IBV_WR_ATOMIC_FETCH_AND_ADD);
        let remote = if is_atomic {
            (request.wr.atomic.remote_addr, request.wr.atomic.rkey)
        } else {
            (request.wr.rdma.remote_addr, request.wr.rdma.rkey)
        };
        Posted {
            wr_id: request.wr_id,
            opcode: request.opcode,
            flags: request.send_flags,
            immediate: request.__bindgen_anon_1.imm_data,
            remote,
            inline: inline.collect(),
            entries,
        }
    }
}

unsafe extern "C" fn post_recv(_: *mut ibv_qp, list: *mut ibv_recv_wr, bad: *mut *mut ibv_recv_wr) -> c_int {
    let refusal = REFUSAL.take();
    let (mut chain, mut link) = (Vec::new(), list);
    while !link.is_null() {
        // SAFETY: the chain under test is made of live requests.
        let request = unsafe { &*link };
        if let Some((count, errno)) = refusal
            && chain.len() == count
        {
            CHAINS.with_borrow_mut(|chains| chains.push(chain));
            // SAFETY: the caller passes a place.
            unsafe { *bad = link };
            return errno;
        }
        chain.push(Posted {
            wr_id: request.wr_id,
            opcode: 0,
            flags: 0,
            immediate: 0,
            // SAFETY: as above.
            entries: unsafe { entries(request.sg_list, request.num_sge) },
            remote: (0, 0),
            inline: Vec::new(),
        });
        link = request.next;
    }
    CHAINS.with_borrow_mut(|chains| chains.push(chain));
    0
}

/// # Safety
/// `count` entries are live at `list`.
unsafe fn entries(list: *const ibv_sge, count: c_int) -> Vec<(u64, u32, u32)> {
    let entry = |index| {
        // SAFETY: the caller's promise.
        let entry = unsafe { *list.add(index) };
        (entry.addr, entry.length, entry.lkey)
    };
    (0..count as usize).map(entry).collect()
}
