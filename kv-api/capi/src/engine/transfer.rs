//! Transfers in C: posting, waiting, cancelling.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use kv_api::{
    engine::{CacheTransfer, PostOptions, Prepared},
    planner::Selection,
};
use pmd_capi::Bell;
use pmd_host::transfer::{Outcome, Priority, TransferError};

use super::{
    cache::{CACHES, REMOTE_CACHES},
    failure::extents_out,
    pmd_kv_cache, pmd_kv_extent, pmd_kv_remote_cache, pmd_kv_selection,
    selection::selection_at,
};
use crate::{
    boundary::{Place, Table, array, guard, milliseconds},
    status::{Failure, pmd_kv_status},
};

/// A transfer that was posted.
pub struct pmd_kv_transfer {
    _opaque: [u8; 0],
}

static TRANSFERS: Table<pmd_kv_transfer, Posted> = Table::new("transfer");

/// How a transfer is carried out.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_post_options {
    /// Bytes that the peer gets as a notification once all of the transfer is in place. NULL: none.
    pub notification: *const u8,
    /// How many they are.
    pub notification_bytes: usize,
    /// The transfer is given up when it is not done by then; 0: never.
    pub deadline_ms: u64,
    /// Seven turns of eight among the transfers to the same peer; otherwise all take turns.
    pub high_priority: bool,
}

/// Moves the selected blocks of a peer's cache into one of ours. `selection` NULL: everything; `options` NULL: no
/// notification, no deadline. Release the transfer with `pmd_kv_transfer_release`.
///
/// # Safety
/// `selection` and `options` are NULL or point to such structures, whose arrays have their counts; `transfer` may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_pull(
    remote: *const pmd_kv_remote_cache,
    cache: *const pmd_kv_cache,
    selection: *const pmd_kv_selection,
    options: *const pmd_kv_post_options,
    transfer: *mut *mut pmd_kv_transfer,
) -> pmd_kv_status {
    let plan: Plan = |remote, local, selection| Ok(remote.pull(local, selection)?);
    // SAFETY: passed on to the caller.
    guard(|| unsafe { post(plan, (remote, cache), selection, options, transfer) })
}

/// Moves the selected blocks of one of our caches into a peer's. As `pmd_kv_pull`.
///
/// # Safety
/// As `pmd_kv_pull`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_push(
    remote: *const pmd_kv_remote_cache,
    cache: *const pmd_kv_cache,
    selection: *const pmd_kv_selection,
    options: *const pmd_kv_post_options,
    transfer: *mut *mut pmd_kv_transfer,
) -> pmd_kv_status {
    let plan: Plan = |remote, local, selection| Ok(remote.push(local, selection)?);
    // SAFETY: passed on to the caller.
    guard(|| unsafe { post(plan, (remote, cache), selection, options, transfer) })
}

/// Looks at a transfer and returns at once: `PMD_KV_STATUS_PENDING`, or its outcome. Once it has one, nothing of it is
/// outstanding any more, whatever the outcome is.
///
/// # Safety
/// `bytes` is NULL or may be written; the bytes that moved are written when all have.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_transfer_poll(
    transfer: *const pmd_kv_transfer,
    bytes: *mut u64,
) -> pmd_kv_status {
    // SAFETY: the caller's promise.
    let place = unsafe { Place::optional(bytes) };
    guard(|| match TRANSFERS.find(transfer)?.poll() {
        Some(outcome) => finish(outcome, place),
        None => Err(Failure::new(pmd_kv_status::Pending, "the transfer goes on")),
    })
}

/// Waits for a transfer's outcome. After `PMD_KV_STATUS_TIMEOUT` it goes on. Any number of threads may wait for one.
///
/// # Safety
/// As `pmd_kv_transfer_poll`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_transfer_wait(
    transfer: *const pmd_kv_transfer,
    timeout_ms: u64,
    bytes: *mut u64,
) -> pmd_kv_status {
    // SAFETY: the caller's promise.
    let place = unsafe { Place::optional(bytes) };
    guard(|| match TRANSFERS.find(transfer)?.wait(Some(milliseconds(timeout_ms))) {
        Some(outcome) => finish(outcome, place),
        None => {
            Err(Failure::new(pmd_kv_status::Timeout, format!("not done after {timeout_ms} ms; it goes on")))
        }
    })
}

/// Stops a transfer and waits until it is quiet: when this returns, nothing will write the caller's memory on its
/// behalf. `PMD_KV_STATUS_CANCELLED`, or `PMD_KV_STATUS_OK` when it was done before.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_transfer_cancel(transfer: *const pmd_kv_transfer) -> pmd_kv_status {
    guard(|| {
        let transfer = TRANSFERS.find(transfer)?;
        transfer.transfer().request_cancel();
        transfer.wait(None).map_or(Ok(()), |outcome| outcome.map(drop).map_err(Failure::from))
    })
}

/// Writes the blocks of the local cache that are not proven to have moved: none after a success, all while the transfer is
/// in flight, and after a failure those that are not valid (pull) or may not have left (push). `count` is how many
/// extents there are; with `PMD_KV_STATUS_BUFFER_TOO_SMALL` none was written.
///
/// # Safety
/// `extents` has room for `capacity` of them; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_transfer_unproven(
    transfer: *const pmd_kv_transfer,
    extents: *mut pmd_kv_extent,
    capacity: usize,
    count: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        let blocks = TRANSFERS.find(transfer)?.transfer().unproven();
        // SAFETY: the caller's promise.
        unsafe { extents_out(&blocks, extents, capacity, count) }
    })
}

/// Releases a transfer's handle. The transfer itself goes on: cancel it first if it is not to.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_transfer_release(transfer: *mut pmd_kv_transfer) -> pmd_kv_status {
    guard(|| Ok(TRANSFERS.remove(transfer).map(drop)?))
}

type Plan =
    fn(&kv_api::engine::RemoteCache, &kv_api::engine::Cache, Selection<'_>) -> Result<Prepared, Failure>;

/// # Safety
/// As `pmd_kv_pull`.
unsafe fn post(
    plan: Plan,
    (remote, cache): (*const pmd_kv_remote_cache, *const pmd_kv_cache),
    selected: *const pmd_kv_selection,
    options: *const pmd_kv_post_options,
    transfer: *mut *mut pmd_kv_transfer,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let place = unsafe { Place::new(transfer, "the place for the transfer")? };
    let (remote, cache) = (REMOTE_CACHES.find(remote)?, CACHES.find(cache)?);
    // SAFETY: the caller's promise.
    let selected = unsafe { selection_at(selected, cache.layout().layers())? };
    let mut prepared = plan(&remote, &cache, selected)?;
    let mut how = PostOptions::default();
    // SAFETY: the caller's promise.
    if let Some(options) = unsafe { options.as_ref() } {
        if !options.notification.is_null() {
            // SAFETY: the caller's promise.
            let bytes =
                unsafe { array(options.notification, options.notification_bytes, "the notification")? };
            prepared = prepared.notifying(bytes.to_vec());
        }
        how.deadline = (options.deadline_ms > 0).then(|| Instant::now() + milliseconds(options.deadline_ms));
        how.priority = if options.high_priority { Priority::High } else { Priority::Normal };
    }
    place.put(TRANSFERS.insert(Posted::new(prepared.post_with(how)?)));
    Ok(())
}

fn finish(outcome: Result<Outcome, TransferError>, bytes: Place<u64>) -> Result<(), Failure> {
    bytes.put(outcome?.bytes);
    Ok(())
}

/// A transfer that any number of threads may look at, wait for and cancel.
struct Posted {
    transfer: Mutex<CacheTransfer>,
    bell: Arc<Bell>,
}

impl Posted {
    fn new(transfer: CacheTransfer) -> Self {
        Self { transfer: Mutex::new(transfer), bell: Arc::default() }
    }

    fn poll(&self) -> Option<Result<Outcome, TransferError>> {
        self.transfer().poll()
    }

    /// The outcome, if it came in time. The transfer is locked only to be looked at, so that it can be cancelled
    /// meanwhile.
    fn wait(&self, patience: Option<Duration>) -> Option<Result<Outcome, TransferError>> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let look = |waker: &Waker| Pin::new(&mut *self.transfer()).poll(&mut Context::from_waker(waker));
        self.bell.wait(deadline, look).or_else(|| self.poll())
    }

    fn transfer(&self) -> MutexGuard<'_, CacheTransfer> {
        self.transfer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
