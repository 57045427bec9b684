//! The C functions that the shim calls, as `shim/seam.h` declares them. Statuses are NIXL's numbers.
//!
//! # Safety
//! Of every function here: handles are ones that this library gave out and that were not freed; bytes and tables are
//! readable for the call; places for results are the shim's own. The shim passes nothing else.
#![allow(unsafe_code)] // C functions: pointers from the shim

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
};

use kv_api::agent::{
    Status,
    backend::{Backend, LocalDescriptor, Registration, RemoteDescriptor, RemoteRegistration},
};
use pmd_core::memory::{MemoryKind, RegionDescription};
use pmd_host::transfer::Direction;

use crate::{
    boundary::{Bytes, Sink, describe, give, quiet_status, status},
    hosting,
    parameters::{self, PARAMETERS},
    request::Handle,
};

/// NIXL_READ.
const READ: i32 = 0;

/// `PmdParameter`.
#[repr(C)]
struct Parameter {
    name: Bytes,
    value: Bytes,
}

/// A descriptor of each side. `PmdPair`.
#[repr(C)]
struct Pair {
    local_address: u64,
    local_length: u64,
    region: *const Registration,
    remote_address: u64,
    remote_length: u64,
    target: *const RemoteRegistration,
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_is_release(caller: usize, release: Bytes, problem: Sink) -> i32 {
    let check = || {
        // SAFETY: as the module says.
        let release = unsafe { release.text() };
        hosting::check(caller, &release)
    };
    match catch_unwind(check) {
        Ok(Ok(())) => Status::Success.code(),
        Ok(Err(error)) => {
            problem.value(describe(&error).as_bytes());
            Status::Mismatch.code()
        }
        Err(_) => Status::Backend.code(),
    }
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_parameters(names: Sink) {
    for (name, _) in PARAMETERS {
        names.pair(name.as_bytes(), &[]);
    }
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_open(
    agent: Bytes,
    given: *const Parameter,
    count: usize,
    backend: *mut *mut Backend,
    problem: Sink,
) -> i32 {
    let open = || {
        // SAFETY: as the module says.
        let (agent, given) = unsafe { (agent.text(), table(given, count)) };
        // SAFETY: as the module says.
        let text = |parameter: &Parameter| unsafe { (parameter.name.text(), parameter.value.text()) };
        let given: HashMap<String, String> = given.iter().map(text).collect();
        let config = parameters::config(&agent, &given)
            .map_err(|error| (Status::InvalidParameter, describe(&error)))?;
        Backend::open(config).map_err(|error| (error.status(), describe(&error)))
    };
    let panicked = |_| Err((Status::Backend, "the driver panicked".to_owned()));
    match catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(panicked) {
        Ok(opened) => {
            give(opened, backend);
            Status::Success.code()
        }
        Err((status, why)) => {
            problem.value(why.as_bytes());
            status.code()
        }
    }
}

/// # Safety
/// As the module says; null is nothing to close.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_close(backend: *mut Backend) {
    free(backend);
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_connection_info(backend: &Backend, info: Sink) -> i32 {
    status(|| {
        info.value(&backend.connection_info().to_bytes());
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_load_connection_info(backend: &Backend, agent: Bytes, info: Bytes) -> i32 {
    // SAFETY: as the module says.
    let (agent, info) = unsafe { (agent.text(), info.get()) };
    status(|| backend.load_connection_info(&agent, info).map(|()| Status::Success))
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_connect(backend: &Backend, agent: Bytes) -> i32 {
    // SAFETY: as the module says.
    let agent = unsafe { agent.text() };
    // NIXL connects an agent to itself as soon as it is made; few ever use that, and the first who does connects.
    let oneself = agent == backend.agent();
    status(|| if oneself { Ok(()) } else { backend.connect(&agent) }.map(|()| Status::Success))
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_disconnect(backend: &Backend, agent: Bytes) -> i32 {
    // SAFETY: as the module says.
    let agent = unsafe { agent.text() };
    status(|| backend.disconnect(&agent).map(|()| Status::Success))
}

/// # Safety
/// As the module says, and as [`Backend::register`] asks: the agent's caller keeps the memory until it has deregistered
/// it.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_register(
    backend: &Backend,
    is_device: bool,
    address: u64,
    length: u64,
    device: u64,
    region: *mut *mut Registration,
) -> i32 {
    let kind = if is_device { MemoryKind::Device } else { MemoryKind::Host };
    let memory = RegionDescription { address, length, kind, descriptor: None };
    status(|| {
        // SAFETY: promised by the caller.
        give(unsafe { backend.register_on(&memory, device)? }, region);
        Ok(Status::Success)
    })
}

/// Whether memory of accelerators can be registered.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_has_accelerators(backend: &Backend) -> bool {
    catch_unwind(AssertUnwindSafe(|| !backend.messenger().fabric().accelerators().is_empty()))
        .unwrap_or(false)
}

/// # Safety
/// As the module says; the region is freed.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_deregister(backend: &Backend, region: *mut Registration) -> i32 {
    status(|| {
        // SAFETY: a region that `pmd_nixl_register` gave out and that nobody uses any more.
        let region = unsafe { Box::from_raw(region) };
        backend.deregister(&region).map(|()| Status::Success)
    })
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_public_data(region: &Registration, data: Sink) -> i32 {
    status(|| {
        data.value(&region.public_data());
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_load_remote(
    backend: &Backend,
    agent: Bytes,
    data: Bytes,
    target: *mut *mut RemoteRegistration,
) -> i32 {
    // SAFETY: as the module says.
    let (agent, data) = unsafe { (agent.text(), data.get()) };
    status(|| {
        give(backend.load_remote(&agent, data)?, target);
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_load_local(
    backend: &Backend,
    region: &Registration,
    target: *mut *mut RemoteRegistration,
) -> i32 {
    status(|| {
        give(backend.load_local(region)?, target);
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says; null is nothing to unload.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_unload(target: *mut RemoteRegistration) {
    free(target);
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_prepare(
    backend: &Backend,
    operation: i32,
    pairs: *const Pair,
    count: usize,
    agent: Bytes,
    request: *mut *mut Handle,
) -> i32 {
    // SAFETY: as the module says.
    let (pairs, agent) = unsafe { (table(pairs, count), agent.text()) };
    let direction = if operation == READ { Direction::Read } else { Direction::Write };
    status(|| {
        let pair = |index: usize| {
            let pair = &pairs[index];
            // SAFETY: as the module says: the agent passes descriptors that it has found regions and targets for.
            let (region, target) = unsafe { (&*pair.region, &*pair.target) };
            let (address, length) = (pair.local_address, pair.local_length);
            let local = LocalDescriptor { address, length, registration: region };
            let (address, length) = (pair.remote_address, pair.remote_length);
            (local, RemoteDescriptor { address, length, registration: target })
        };
        give(Handle::new(backend.prepare(direction, &agent, &(pairs.len(), pair))?), request);
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says; `notification` may be null.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_post(request: &Handle, notification: Option<&Bytes>) -> i32 {
    // SAFETY: as the module says.
    let notification = notification.map(|bytes| unsafe { bytes.get() });
    status(|| request.post(notification))
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_check(request: &Handle) -> i32 {
    status(|| request.check())
}

/// # Safety
/// As the module says; the request is freed if this returns 0.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_release(request: *mut Handle) -> i32 {
    // SAFETY: as the module says.
    let released = quiet_status(|| unsafe { &*request }.release());
    if released == Status::Success.code() {
        free(request);
    }
    released
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_estimate(request: &Handle, duration: &mut i64, margin: &mut i64) -> i32 {
    status(|| {
        let estimate = request.estimate();
        let microseconds = |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        (*duration, *margin) = (microseconds(estimate.duration), microseconds(estimate.margin));
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_notifications(backend: &Backend, notifications: Sink) -> i32 {
    status(|| {
        for notification in backend.take_notifications() {
            notifications.pair(notification.agent.as_bytes(), &notification.bytes);
        }
        Ok(Status::Success)
    })
}

/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn pmd_nixl_notify(backend: &Backend, agent: Bytes, message: Bytes) -> i32 {
    // SAFETY: as the module says.
    let (agent, message) = unsafe { (agent.text(), message.get()) };
    status(|| backend.notify(&agent, message).map(|()| Status::Success))
}

/// # Safety
/// `count` values lie at `first`, for as long as `'a`.
unsafe fn table<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(first, count) }
}

/// Takes back what [`give`] gave, and drops it.
fn free<T>(given: *mut T) {
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        if !given.is_null() {
            // SAFETY: the shim passes each pointer that it was given once.
            drop(unsafe { Box::from_raw(given) });
        }
    }));
    if dropped.is_err() {
        eprintln!("NIXL plugin PMD: the driver panicked while it cleaned up");
    }
}
