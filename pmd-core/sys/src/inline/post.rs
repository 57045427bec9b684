//! Posting and polling through the context's operations: the verbs back end's data path.

use std::ffi::c_int;
use std::ptr;

use crate::verbs::*;

/// Posts a list of work requests to the send queue (`ibv_post_send`): 0, or an `errno` with `bad` set to the first
/// request that was not posted. Inline data may be reused at once.
///
/// # Safety
/// The queue pair is live and no other thread posts to it where its provider does not lock; the list and its gather
/// lists are live during the call, the memory they name until the requests complete; `bad` can be written.
#[inline]
pub unsafe fn ibv_post_send(
    queue_pair: *mut ibv_qp,
    list: *mut ibv_send_wr,
    bad: *mut *mut ibv_send_wr,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*queue_pair).context).ops.post_send {
            Some(post) => post(queue_pair, list, bad),
            None => refuse(list, bad),
        }
    }
}

/// Posts a list of work requests to the receive queue (`ibv_post_recv`): 0, or an `errno` with `bad` set to the first
/// request that was not posted.
///
/// # Safety
/// As [`ibv_post_send`].
#[inline]
pub unsafe fn ibv_post_recv(
    queue_pair: *mut ibv_qp,
    list: *mut ibv_recv_wr,
    bad: *mut *mut ibv_recv_wr,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*queue_pair).context).ops.post_recv {
            Some(post) => post(queue_pair, list, bad),
            None => refuse(list, bad),
        }
    }
}

/// Posts a list of work requests to a shared receive queue (`ibv_post_srq_recv`): 0, or an `errno` with `bad` set to
/// the first request that was not posted.
///
/// # Safety
/// As [`ibv_post_send`].
#[inline]
pub unsafe fn ibv_post_srq_recv(
    queue: *mut ibv_srq,
    list: *mut ibv_recv_wr,
    bad: *mut *mut ibv_recv_wr,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*queue).context).ops.post_srq_recv {
            Some(post) => post(queue, list, bad),
            None => refuse(list, bad),
        }
    }
}

/// Takes up to `capacity` completions (`ibv_poll_cq`): their number, or a negative value on error. Fewer than
/// `capacity` means that the queue was emptied.
///
/// # Safety
/// The queue is live and no other thread polls it where its provider does not lock; `capacity` entries can be written
/// at `completions`.
#[inline]
pub unsafe fn ibv_poll_cq(queue: *mut ibv_cq, capacity: c_int, completions: *mut ibv_wc) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*queue).context).ops.poll_cq {
            Some(poll) => poll(queue, capacity, completions),
            None => -libc::EOPNOTSUPP,
        }
    }
}

/// Asks for one event on the queue's channel at the next completion, or at the next solicited one
/// (`ibv_req_notify_cq`). 0 or an `errno`. Completions that came before raise none: poll again after arming.
///
/// # Safety
/// The queue is live and has a completion channel.
#[inline]
pub unsafe fn ibv_req_notify_cq(queue: *mut ibv_cq, solicited_only: bool) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*queue).context).ops.req_notify_cq {
            Some(arm) => arm(queue, c_int::from(solicited_only)),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// The whole list was not posted.
///
/// # Safety
/// `bad` can be written.
#[cold]
unsafe fn refuse<T>(list: *mut T, bad: *mut *mut T) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { *bad = list };
    libc::EOPNOTSUPP
}

/// Allocates a memory window (`ibv_alloc_mw`). Null and `errno` on failure.
///
/// # Safety
/// `domain` is live.
pub unsafe fn ibv_alloc_mw(domain: *mut ibv_pd, kind: ibv_mw_type) -> *mut ibv_mw {
    // SAFETY: the caller's promise; errno is this thread's own.
    unsafe {
        match (*(*domain).context).ops.alloc_mw {
            Some(allocate) => allocate(domain, kind),
            None => {
                *libc::__errno_location() = libc::EOPNOTSUPP;
                ptr::null_mut()
            }
        }
    }
}

/// Frees a memory window (`ibv_dealloc_mw`). 0 or an `errno`.
///
/// # Safety
/// `window` is live and nothing uses it.
pub unsafe fn ibv_dealloc_mw(window: *mut ibv_mw) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match (*(*window).context).ops.dealloc_mw {
            Some(free) => free(window),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// Binds a window of type 1 to part of a region (`ibv_bind_mw`). 0 or an `errno`: `EINVAL` for a window of type 2 or
/// a range without a region, `EPERM` for a region of another domain.
///
/// # Safety
/// The queue pair, the window and what `bind` names are live.
pub unsafe fn ibv_bind_mw(queue_pair: *mut ibv_qp, window: *mut ibv_mw, bind: *mut ibv_mw_bind) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        let info = &(*bind).bind_info;
        if (*window).type_ != IBV_MW_TYPE_1 || (info.mr.is_null() && (info.addr != 0 || info.length != 0)) {
            return libc::EINVAL;
        }
        if !info.mr.is_null() && (*window).pd != (*info.mr).pd {
            return libc::EPERM;
        }
        match (*(*window).context).ops.bind_mw {
            Some(operation) => operation(queue_pair, window, bind),
            None => libc::EOPNOTSUPP,
        }
    }
}

/// The next key of a window: its low 8 bits count up and wrap (`ibv_inc_rkey`).
pub fn ibv_inc_rkey(rkey: u32) -> u32 {
    (rkey & !0xff) | (rkey.wrapping_add(1) & 0xff)
}
