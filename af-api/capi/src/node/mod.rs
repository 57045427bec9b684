//! Scheduler and nodes in C: places, barriers, who comes and goes. Stands on [`af_api::rendezvous`].
//!
//! A node is a process's place, and what it does there: its worker, its server, or both. Workers are connected to every
//! server when the node has started, and to those that come again when the program asks for it.
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

mod process;
mod scheduler;
mod types;

use std::{ffi::c_char, sync::Arc};

use af_api::rendezvous::MemberId;

pub(crate) use process::Process;
pub use scheduler::*;
pub use types::*;
use types::{barrier_of, event_of, member_of, members_out, shape_of};

use crate::{
    boundary::{Place, Table, guard, milliseconds, text},
    options::{config_at, device_areas_at, pmd_af_options},
    status::{Failure, pmd_af_status},
};

/// A process's place in a cluster, with its worker or its server.
pub struct pmd_af_node {
    _opaque: [u8; 0],
}

static NODES: Table<pmd_af_node, Process> = Table::new("node");

/// Takes a place in the cluster and waits until every place is taken; a worker is connected to every server then. Leave
/// with `pmd_af_node_leave`. `PMD_AF_STATUS_MISSING` when somebody has not come in time: the last error names them.
///
/// # Safety
/// `options` is NULL or points to options whose texts end with a zero byte; `node` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_node_start(
    options: *const pmd_af_options,
    node: *mut *mut pmd_af_node,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(node, "the place for the node")? };
        // SAFETY: the caller's promise.
        let (config, device_areas) = unsafe { (config_at(options)?, device_areas_at(options)) };
        place.put(NODES.insert(Process::start(config, device_areas)?));
        Ok(())
    })
}

/// Connects a worker to those servers that have come, or come again, since. One that cannot be reached is an error, and
/// the others are connected all the same.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_node_connect(node: *const pmd_af_node) -> pmd_af_status {
    guard(|| NODES.find(node)?.connect())
}

/// Writes how many nodes there are.
///
/// # Safety
/// `shape` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_node_shape(
    node: *const pmd_af_node,
    shape: *mut pmd_af_shape,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(shape, "the place for the shape")? };
        place.put(shape_of(NODES.find(node)?.shape()));
        Ok(())
    })
}

/// Writes the place of this process as `PMD_AF_SERVERS` or as `PMD_AF_WORKERS`; `PMD_AF_STATUS_NOT_FOUND` where it is not
/// that.
///
/// # Safety
/// `member` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_node_self(
    node: *const pmd_af_node,
    role: u32,
    member: *mut pmd_af_member,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(member, "the place for the member")? };
        let session = NODES.find(node)?.session()?;
        let node = session.node();
        let is = |id: &&MemberId| u32::from(id.role.as_roles().bits()) == role;
        let other = || Failure::new(pmd_af_status::NotFound, format!("this process has no role {role}"));
        let found = node.ids().iter().find(is).and_then(|id| node.member(*id)).ok_or_else(other)?;
        place.put(member_of(&found));
        Ok(())
    })
}

/// Writes everybody who has ever come, servers first, by rank. `count` is how many they are.
///
/// # Safety
/// `members` has room for `capacity` of them; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_node_members(
    node: *const pmd_af_node,
    members: *mut pmd_af_member,
    capacity: usize,
    count: *mut usize,
) -> pmd_af_status {
    // SAFETY: the caller's promise.
    guard(|| unsafe { members_out(&NODES.find(node)?.session()?.node().members(), members, capacity, count) })
}

/// Enters a barrier and waits until everyone has who is expected: the instances of `roles` (`PMD_AF_SCHEDULER` and the
/// others, added), in `scope`. `entering` is the one role that a process of two enters for; 0: all that are expected.
/// `PMD_AF_STATUS_MISSING` when somebody has not come in time, `PMD_AF_STATUS_PEER_DOWN` when somebody never will.
///
/// # Safety
/// `name` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_node_barrier(
    node: *const pmd_af_node,
    name: *const c_char,
    roles: u32,
    scope: u32,
    entering: u32,
    timeout_ms: u64,
) -> pmd_af_status {
    guard(|| {
        let process = NODES.find(node)?;
        // SAFETY: the caller's promise.
        let name = unsafe { text(name, "the barrier's name")? };
        let mut barrier = barrier_of(name, roles, scope, process.instance())?;
        let session = process.session()?;
        let node = session.node();
        let is = |id: &&MemberId| u32::from(id.role.as_roles().bits()) == entering;
        barrier.entering.extend(node.ids().iter().find(is));
        Ok(node.barrier(&barrier, milliseconds(timeout_ms))?)
    })
}

/// Waits for the next thing that happens to the cluster.
///
/// # Safety
/// `event` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_node_wait_event(
    node: *const pmd_af_node,
    timeout_ms: u64,
    event: *mut pmd_af_event,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(event, "the place for the event")? };
        let quiet =
            || Failure::new(pmd_af_status::Timeout, format!("nothing has happened for {timeout_ms} ms"));
        let found =
            NODES.find(node)?.session()?.node().wait_event(milliseconds(timeout_ms)).ok_or_else(quiet)?;
        place.put(event_of(&found));
        Ok(())
    })
}

/// Leaves in order, and releases the handle: the others hear that this process has left. What is under way fails. Waits
/// for the scheduler to confirm it; whatever comes of that, the node has left.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_node_leave(node: *mut pmd_af_node, timeout_ms: u64) -> pmd_af_status {
    guard(|| NODES.remove(node)?.leave(timeout_ms))
}

/// What a node's handle stands for, for the other modules.
pub(crate) fn process_of(node: *const pmd_af_node) -> Result<Arc<Process>, Failure> {
    Ok(NODES.find(node)?)
}
