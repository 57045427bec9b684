//! What HIXL gives out in numbers that are not known before: lists, which a C program looks through and releases.

use std::{
    ffi::{CString, c_char, c_void},
    ptr,
};

use kv_api::hixl::{NotifyDesc, TransferResult, TransferStatusArgs};

use super::{find, pmd_hixl, run};
use crate::{
    boundary::{Place, Table},
    status::Failure,
};

/// Links that were asked for asynchronously.
pub struct pmd_hixl_links {
    _opaque: [u8; 0],
}

/// How transfers stand.
pub struct pmd_hixl_results {
    _opaque: [u8; 0],
}

/// Notifications that were taken.
pub struct pmd_hixl_notifies {
    _opaque: [u8; 0],
}

/// How one transfer stands (`TransferResult`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_hixl_result {
    /// Which one.
    pub request: *mut c_void,
    /// What its caller gave.
    pub user_data: *const c_void,
    /// A `TransferStatus` of `hixl/hixl_types.h`.
    pub status: i32,
}

/// A notification (`NotifyDesc`). The bytes are the list's, until it is released.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_hixl_notify {
    /// What it is about.
    pub name: *const u8,
    /// Bytes of the name.
    pub name_length: usize,
    /// What it says.
    pub message: *const u8,
    /// Bytes of the message.
    pub message_length: usize,
}

static LINKS: Table<pmd_hixl_links, Vec<(CString, i32)>> = Table::new("list of links");
static RESULTS: Table<pmd_hixl_results, Vec<TransferResult>> = Table::new("list of results");
static NOTIFIES: Table<pmd_hixl_notifies, Vec<NotifyDesc>> = Table::new("list of notifications");

/// `GetAsyncConnectStatus` of all engines. Release the list with `pmd_hixl_links_release`.
///
/// # Safety
/// `list` and `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_connect_statuses(
    engine: *const pmd_hixl,
    list: *mut *mut pmd_hixl_links,
    count: *mut usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let places = unsafe { places(list, count)? };
        let statuses = find(engine)?.async_connect_statuses()?;
        let entry = |(name, status)| (CString::new::<String>(name).unwrap_or_default(), status as i32);
        give(&LINKS, statuses.into_iter().map(entry).collect(), places);
        Ok(())
    })
}

/// A link of a list: the engine's name, which is the list's until it is released, and an `AsyncConnectStatus`.
///
/// # Safety
/// `name` and `status` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_link_at(
    list: *const pmd_hixl_links,
    index: usize,
    name: *mut *const c_char,
    status: *mut i32,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let places = unsafe { places(name, status)? };
        let links = LINKS.find(list)?;
        let (name, status) = links.get(index).ok_or_else(|| beyond(index, links.len()))?;
        places.0.put(name.as_ptr());
        places.1.put(*status);
        Ok(())
    })
}

/// Releases a list of links.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_hixl_links_release(list: *mut pmd_hixl_links) -> u32 {
    run(|| Ok(LINKS.remove(list).map(drop)?))
}

/// `GetTransferStatus` of all transfers, oldest first, at most `most`; `skip_waiting` leaves those in flight out. The
/// end of each is told once. Release the list with `pmd_hixl_results_release`.
///
/// # Safety
/// `list` and `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_transfer_statuses(
    engine: *const pmd_hixl,
    most: u32,
    skip_waiting: bool,
    list: *mut *mut pmd_hixl_results,
    count: *mut usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let places = unsafe { places(list, count)? };
        let args = TransferStatusArgs { max_query_count: most, skip_waiting };
        give(&RESULTS, find(engine)?.transfer_statuses(args)?, places);
        Ok(())
    })
}

/// A result of a list.
///
/// # Safety
/// `result` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_result_at(
    list: *const pmd_hixl_results,
    index: usize,
    result: *mut pmd_hixl_result,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(result, "the place for the result")? };
        let results = RESULTS.find(list)?;
        let result = results.get(index).ok_or_else(|| beyond(index, results.len()))?;
        place.put(pmd_hixl_result {
            request: ptr::without_provenance_mut(result.req.0 as usize),
            user_data: ptr::with_exposed_provenance(result.user_data as usize),
            status: result.status as i32,
        });
        Ok(())
    })
}

/// Releases a list of results.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_hixl_results_release(list: *mut pmd_hixl_results) -> u32 {
    run(|| Ok(RESULTS.remove(list).map(drop)?))
}

/// `GetNotifies`: takes what peers have sent, oldest first. Release the list with `pmd_hixl_notifies_release`.
///
/// # Safety
/// `list` and `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_take_notifies(
    engine: *const pmd_hixl,
    list: *mut *mut pmd_hixl_notifies,
    count: *mut usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let places = unsafe { places(list, count)? };
        give(&NOTIFIES, find(engine)?.take_notifies()?, places);
        Ok(())
    })
}

/// A notification of a list.
///
/// # Safety
/// `notify` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_notify_at(
    list: *const pmd_hixl_notifies,
    index: usize,
    notify: *mut pmd_hixl_notify,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(notify, "the place for the notification")? };
        let notifies = NOTIFIES.find(list)?;
        let NotifyDesc { name, notify_msg } =
            notifies.get(index).ok_or_else(|| beyond(index, notifies.len()))?;
        place.put(pmd_hixl_notify {
            name: name.as_ptr(),
            name_length: name.len(),
            message: notify_msg.as_ptr(),
            message_length: notify_msg.len(),
        });
        Ok(())
    })
}

/// Releases a list of notifications.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_hixl_notifies_release(list: *mut pmd_hixl_notifies) -> u32 {
    run(|| Ok(NOTIFIES.remove(list).map(drop)?))
}

/// # Safety
/// As [`Place::new`], for both.
unsafe fn places<A, B>(first: *mut A, second: *mut B) -> Result<(Place<A>, Place<B>), Failure> {
    // SAFETY: passed on to the caller.
    unsafe {
        Ok((Place::new(first, "the first place for a result")?, Place::new(second, "the second place")?))
    }
}

fn give<H, T>(table: &Table<H, Vec<T>>, list: Vec<T>, (handle, count): (Place<*mut H>, Place<usize>)) {
    count.put(list.len());
    handle.put(table.insert(list));
}

fn beyond(index: usize, count: usize) -> Failure {
    Failure::argument(format!("entry {index} of a list of {count}"))
}
