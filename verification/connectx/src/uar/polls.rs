//! Polls of the completion queue: in STEP the device looks at its pages whenever the program polls, so that two processes
//! that take turns on few processors never wait for a device thread. In all modes a poll that finds nothing gives the
//! processor away: programs that spin would keep it from the peer that they wait for.
//!
//! `ibv_open_device` is interposed (`connectx-preload`); the context that libmlx5 gives has its `poll_cq` and
//! `req_notify_cq` replaced. Programs that load libibverbs by themselves, that poll extended completion queues
//! (`ibv_start_poll`) or look at CQEs are not touched; the service thread's scans serve them.
#![allow(unsafe_code)] // an interposed function, and one function pointer of libibverbs

use std::{mem, ptr, sync::OnceLock};

use pmd_sys::verbs::{ibv_context, ibv_cq, ibv_device, ibv_wc};

use super::{Watch, pages::PAGES};
use crate::config::Mode;

type Open = unsafe extern "C" fn(*mut ibv_device) -> *mut ibv_context;
type Poll = unsafe extern "C" fn(*mut ibv_cq, libc::c_int, *mut ibv_wc) -> libc::c_int;
type Notify = unsafe extern "C" fn(*mut ibv_cq, libc::c_int) -> libc::c_int;

/// libmlx5's `poll_cq` and `req_notify_cq`, the same in all of its contexts.
static OPERATIONS: OnceLock<(Poll, Notify)> = OnceLock::new();

/// libibverbs' `ibv_open_device`, with polls that run the device.
///
/// # Safety
/// As `ibv_open_device(3)`.
pub unsafe fn open_device(device: *mut ibv_device) -> *mut ibv_context {
    // SAFETY: the type is the one that libibverbs gives the function of this name and version.
    let open = unsafe {
        let found = libc::dlvsym(libc::RTLD_NEXT, c"ibv_open_device".as_ptr(), c"IBVERBS_1.1".as_ptr());
        mem::transmute::<*mut libc::c_void, Option<Open>>(found)
    };
    let Some(open) = open else { return ptr::null_mut() };
    // SAFETY: as promised by the caller.
    let context = unsafe { open(device) };
    if Watch::current().is_some() {
        // SAFETY: null, or a context that nobody else has seen yet.
        unsafe { context.as_mut() }.map(replace_operations);
    }
    context
}

fn replace_operations(context: &mut ibv_context) {
    let operations = &mut context.ops;
    if let (Some(real_poll), Some(real_notify)) = (operations.poll_cq, operations.req_notify_cq) {
        OPERATIONS.get_or_init(|| (real_poll, real_notify));
        operations.poll_cq = Some(poll);
        operations.req_notify_cq = Some(notify);
    }
}

/// Lets the device look, where nothing else makes it.
fn step(watch: &Watch) {
    if watch.device.config.mode == Mode::Step {
        watch.scanner.scan(watch.device, &PAGES);
    }
}

/// Runs the device, then polls. An empty poll gives the processor to the peer, which may share it.
///
/// # Safety
/// As `ibv_poll_cq`'s.
unsafe extern "C" fn poll(queue: *mut ibv_cq, entries: libc::c_int, into: *mut ibv_wc) -> libc::c_int {
    let (Some(watch), Some((real_poll, _))) = (Watch::current(), OPERATIONS.get()) else { return -1 };
    step(watch);
    // SAFETY: the caller's own arguments.
    let polled = unsafe { real_poll(queue, entries, into) };
    if polled == 0 {
        std::thread::yield_now();
    }
    polled
}

/// Arms, then looks at once: the next queue is armed in the same place.
///
/// # Safety
/// As `ibv_req_notify_cq`'s.
unsafe extern "C" fn notify(queue: *mut ibv_cq, solicited_only: libc::c_int) -> libc::c_int {
    let (Some(watch), Some((_, real_notify))) = (Watch::current(), OPERATIONS.get()) else {
        return libc::EINVAL;
    };
    // SAFETY: the caller's own arguments.
    let result = unsafe { real_notify(queue, solicited_only) };
    step(watch);
    result
}
