//! The scheduler in C.

use std::ffi::c_char;

use af_api::{config::Shape, rendezvous::Scheduler};

use super::{
    pmd_af_member, pmd_af_shape,
    types::{barrier_of, members_out, shape_of},
};
use crate::{
    boundary::{Place, Table, copy_text_out, guard, milliseconds, text},
    options::{config_at, pmd_af_options},
    status::{Failure, pmd_af_status},
};

/// What brings the processes of a cluster together.
pub struct pmd_af_scheduler {
    _opaque: [u8; 0],
}

static SCHEDULERS: Table<pmd_af_scheduler, Scheduling> = Table::new("scheduler");

struct Scheduling {
    scheduler: Scheduler,
    shape: Shape,
}

/// Starts the scheduler: it listens where the options say. Close it with `pmd_af_scheduler_close`.
///
/// # Safety
/// `options` is NULL or points to options whose texts end with a zero byte; `scheduler` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_scheduler_start(
    options: *const pmd_af_options,
    scheduler: *mut *mut pmd_af_scheduler,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(scheduler, "the place for the scheduler")? };
        // SAFETY: the caller's promise.
        let config = unsafe { config_at(options)? };
        let scheduler = Scheduler::start(&config)?;
        place.put(SCHEDULERS.insert(Scheduling { scheduler, shape: config.shape }));
        Ok(())
    })
}

/// Writes the address that nodes are told, as "ip:port", and its length without the zero byte at its end.
///
/// # Safety
/// `room` has room for `capacity` bytes; `length` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_scheduler_address(
    scheduler: *const pmd_af_scheduler,
    room: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> pmd_af_status {
    guard(|| {
        let address = SCHEDULERS.find(scheduler)?.scheduler.local_address().to_string();
        // SAFETY: the caller's promise.
        unsafe { copy_text_out(&address, room, capacity, Place::optional(length))? };
        Ok(())
    })
}

/// Writes how many nodes there are.
///
/// # Safety
/// `shape` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_scheduler_shape(
    scheduler: *const pmd_af_scheduler,
    shape: *mut pmd_af_shape,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(shape, "the place for the shape")? };
        place.put(shape_of(SCHEDULERS.find(scheduler)?.shape));
        Ok(())
    })
}

/// Writes everybody who has ever come, servers first, by rank. `count` is how many they are.
///
/// # Safety
/// `members` has room for `capacity` of them; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_scheduler_members(
    scheduler: *const pmd_af_scheduler,
    members: *mut pmd_af_member,
    capacity: usize,
    count: *mut usize,
) -> pmd_af_status {
    // SAFETY: the caller's promise.
    guard(|| unsafe {
        members_out(&SCHEDULERS.find(scheduler)?.scheduler.members(), members, capacity, count)
    })
}

/// Enters a barrier of the scheduler and others. As `pmd_af_node_barrier`.
///
/// # Safety
/// `name` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_scheduler_barrier(
    scheduler: *const pmd_af_scheduler,
    name: *const c_char,
    roles: u32,
    scope: u32,
    timeout_ms: u64,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let barrier = barrier_of(unsafe { text(name, "the barrier's name")? }, roles, scope, 0)?;
        Ok(SCHEDULERS.find(scheduler)?.scheduler.barrier(&barrier, milliseconds(timeout_ms))?)
    })
}

/// Waits until every place has been taken once and nobody is up any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_scheduler_wait_finished(
    scheduler: *const pmd_af_scheduler,
    timeout_ms: u64,
) -> pmd_af_status {
    guard(|| {
        let finished = SCHEDULERS.find(scheduler)?.scheduler.wait_finished(milliseconds(timeout_ms));
        let late = || Failure::new(pmd_af_status::Timeout, format!("somebody is up after {timeout_ms} ms"));
        finished.then_some(()).ok_or_else(late)
    })
}

/// Ends the scheduler. Nodes see it go.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_scheduler_close(scheduler: *mut pmd_af_scheduler) -> pmd_af_status {
    guard(|| Ok(SCHEDULERS.remove(scheduler).map(drop)?))
}
