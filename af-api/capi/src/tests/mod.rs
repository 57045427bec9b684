//! The C functions, called as C programs call them: a scheduler, servers and workers in one process.
#![allow(unsafe_code)] // calls C functions

mod app;
mod capture;
mod device;
mod exchange;
mod refusals;

use std::{
    ffi::{CStr, c_void},
    ptr::{null, null_mut},
    thread,
};

use crate::{
    memory::*, node::*, pmd_af_last_error, pmd_af_options, pmd_af_options_clear, pmd_af_status, server::*,
    worker::*,
};

/// Milliseconds that a test waits for something that must come.
const PATIENCE: u64 = 20_000;

/// Numbers of a tensor.
const NUMBERS: usize = 4 * 512;
const SHAPE: [i64; 2] = [4, 512];

fn last_error() -> String {
    // SAFETY: always text that ends with a zero byte, and copied before another call.
    unsafe { CStr::from_ptr(pmd_af_last_error()) }.to_string_lossy().into_owned()
}

/// What a call wrote through its last argument, if it was done.
fn made<T>(initial: T, call: impl FnOnce(*mut T) -> pmd_af_status) -> Result<T, pmd_af_status> {
    let mut place = initial;
    match call(&mut place) {
        pmd_af_status::Ok => Ok(place),
        status => Err(status),
    }
}

fn told<T>(result: Result<T, pmd_af_status>) -> T {
    result.unwrap_or_else(|status| panic!("{status:?}: {}", last_error()))
}

/// Options of one worker and one server, over shared memory.
fn options(roles: u32, port: u16) -> pmd_af_options {
    // SAFETY: options that hold nothing yet may be anything of their size.
    let mut options = unsafe { std::mem::zeroed::<pmd_af_options>() };
    // SAFETY: a place for the options.
    assert_eq!(unsafe { pmd_af_options_clear(&mut options) }, pmd_af_status::Ok);
    pmd_af_options {
        roles,
        rank: 0,
        workers: 1,
        servers: 1,
        group_size: 1,
        scheduler_host: c"127.0.0.1".as_ptr(),
        scheduler_port: port.into(),
        listen_host: c"127.0.0.1".as_ptr(),
        transport: c"shm".as_ptr(),
        start_timeout_ms: PATIENCE,
        ..options
    }
}

/// A cluster of one worker and one server.
struct Cluster {
    scheduler: *mut pmd_af_scheduler,
    worker: *mut pmd_af_node,
    server: *mut pmd_af_node,
}

fn scheduler() -> (*mut pmd_af_scheduler, u16) {
    let given = options(PMD_AF_SCHEDULER, 0);
    // SAFETY: options, and a place for the scheduler.
    let scheduler = told(made(null_mut(), |place| unsafe { pmd_af_scheduler_start(&given, place) }));
    let (mut room, mut length) = ([0_u8; 64], 0);
    // SAFETY: room for 64 bytes.
    let status = unsafe { pmd_af_scheduler_address(scheduler, room.as_mut_ptr().cast(), 64, &mut length) };
    assert_eq!(status, pmd_af_status::Ok, "{}", last_error());
    let address = String::from_utf8_lossy(&room[..length]).into_owned();
    (scheduler, address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port"))
}

fn start(options: &pmd_af_options) -> Result<*mut pmd_af_node, pmd_af_status> {
    // SAFETY: options, and a place for the node.
    made(null_mut(), |place| unsafe { pmd_af_node_start(options, place) })
}

impl Cluster {
    fn new() -> Self {
        let (scheduler, port) = scheduler();
        let server = thread::spawn(move || told(start(&options(PMD_AF_SERVERS, port))).addr());
        let worker = told(start(&options(PMD_AF_WORKERS, port)));
        let server = std::ptr::without_provenance_mut(server.join().expect("the server starts"));
        Self { scheduler, worker, server }
    }

    /// The next request at the server.
    fn incoming(&self) -> Result<*mut pmd_af_incoming, pmd_af_status> {
        let mut count = 0;
        // SAFETY: room for one request.
        let found = made(null_mut(), |place| unsafe {
            pmd_af_get_batch(self.server, PMD_AF_GATHER_ALL, 0, PATIENCE, place, 1, &mut count)
        });
        assert_eq!(count, usize::from(found.is_ok()));
        found
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Some tests let some of them go before.
        let _ = (pmd_af_node_leave(self.worker, PATIENCE), pmd_af_node_leave(self.server, PATIENCE));
        let _ = pmd_af_scheduler_close(self.scheduler);
    }
}

/// Numbers of a node, in memory that is registered.
struct Numbers {
    memory: *mut pmd_af_memory,
    first: *mut f32,
}

impl Numbers {
    fn new(node: *const pmd_af_node, value: impl Fn(usize) -> f32) -> Self {
        let mut address = null_mut();
        // SAFETY: places for the memory and its address.
        let memory = told(made(null_mut(), |place| unsafe {
            pmd_af_memory_allocate(node, NUMBERS * 4, place, &mut address)
        }));
        let numbers = Self { memory, first: address.cast() };
        numbers.all().iter_mut().enumerate().for_each(|(at, number)| *number = value(at));
        numbers
    }

    /// The numbers. Borrowed only while nothing is under way with them.
    #[allow(clippy::mut_from_ref, reason = "memory of the library's, which the test has to itself meanwhile")]
    fn all(&self) -> &mut [f32] {
        // SAFETY: memory of so many numbers, which lives as long as this.
        unsafe { std::slice::from_raw_parts_mut(self.first, NUMBERS) }
    }

    fn keyed(&self, key: u64) -> pmd_af_keyed_tensor {
        let tensor = pmd_af_tensor {
            data: self.first.cast::<c_void>(),
            device_type: 1,
            device_id: 0,
            dimensions: 2,
            type_code: 2,
            type_bits: 32,
            type_lanes: 1,
            shape: SHAPE.as_ptr(),
            strides: null(),
            byte_offset: 0,
        };
        pmd_af_keyed_tensor { key, memory: self.memory, tensor, bytes: 0 }
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        let _ = pmd_af_memory_release(self.memory);
    }
}

fn push_pull(
    node: *const pmd_af_node,
    pushes: &[pmd_af_keyed_tensor],
    pulls: &[pmd_af_keyed_tensor],
    options: Option<&pmd_af_request_options>,
) -> Result<*mut pmd_af_request, pmd_af_status> {
    let options = options.map_or(null(), |options| &raw const *options);
    // SAFETY: tensors of their counts, and a place for the request.
    made(null_mut(), |place| unsafe {
        pmd_af_push_pull(node, pushes.as_ptr(), pushes.len(), pulls.as_ptr(), pulls.len(), options, place)
    })
}

fn respond(
    incoming: *const pmd_af_incoming,
    tensors: &[pmd_af_keyed_tensor],
) -> Result<*mut pmd_af_response, pmd_af_status> {
    // SAFETY: tensors of their count, and a place for the response.
    made(null_mut(), |place| unsafe { pmd_af_respond(incoming, tensors.as_ptr(), tensors.len(), place) })
}

const DEFAULTS: pmd_af_request_options = pmd_af_request_options {
    servers: null(),
    server_count: 0,
    tag: 0,
    part: PMD_AF_PART_SINGLE,
    up_to: false,
    at_once: false,
    timeout_ms: 0,
    in_stream: false,
    stream: 0,
};
