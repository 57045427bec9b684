//! Push-pulls in C: posting, waiting, cancelling. Called by C programs and by `AFTensorWorker`; stands on
//! [`af_api::worker`].
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

use std::{sync::Arc, time::Instant};

use af_api::worker::{
    CancelOutcome, ConnectError, FailureCause, Handle, Part, PushPull, PushPullError, Results, TraceError,
    WaitError,
};
use pmd_core::accelerator::Stream;
use pmd_host::{control::RequestError, endpoint::EndpointError};

use crate::{
    boundary::{Place, Table, array, guard, milliseconds, writable_array},
    memory::{Side, pmd_af_keyed_tensor, tensors_at},
    node::{Process, pmd_af_node, process_of},
    status::{Failure, pmd_af_status, statuses},
};

/// A push-pull that was sent.
pub struct pmd_af_request {
    _opaque: [u8; 0],
}

static REQUESTS: Table<pmd_af_request, Handle> = Table::new("request");

/// A batch of its own.
pub const PMD_AF_PART_SINGLE: u32 = 0;
/// The first request of a batch: a server hands out the requests of a batch together. The batch is the thread's that
/// began it: the others are submitted by the same thread.
pub const PMD_AF_PART_START: u32 = 1;
/// A request between the first and the last.
pub const PMD_AF_PART_MIDDLE: u32 = 2;
/// The last request of a batch.
pub const PMD_AF_PART_END: u32 = 3;

/// How a push-pull is carried out. Write `pmd_af_request_options options = {0};` and then what you want.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_request_options {
    /// Ranks of the servers that it goes to, in the order in which pulls are shared out. NULL: all.
    pub servers: *const u32,
    /// How many.
    pub server_count: usize,
    /// A number for the server's application.
    pub tag: u32,
    /// `PMD_AF_PART_SINGLE` and the others.
    pub part: u32,
    /// Servers may answer with less than the pulled tensors hold.
    pub up_to: bool,
    /// `PMD_AF_STATUS_BUSY` where too much is in flight, rather than a wait for room.
    pub at_once: bool,
    /// Longest wait for room; 0: ten seconds.
    pub timeout_ms: u64,
    /// Whether it takes its turn in a stream of the process's first accelerator: it waits for what the stream has been given,
    /// and what the stream is given afterwards waits for what is pulled; the call waits for neither. Where the request fails
    /// the stream goes on.
    pub in_stream: bool,
    /// That stream: the runtime's handle (`cudaStream_t`, `hipStream_t`, `aclrtStream`); 0 is the default stream.
    pub stream: u64,
}

/// How long to wait for room.
#[derive(Clone, Copy)]
enum Patience {
    AtOnce,
    Milliseconds(u64),
}

/// Longest wait for room unless the options say another.
const PATIENCE_MS: u64 = 10_000;

/// Pushes tensors to servers, and pulls their answers: every push goes to every server; pulls are server-major, as many for
/// each. `options` NULL: all servers. The tensors are left alone until the request has ended. Release it with
/// `pmd_af_request_release`.
///
/// # Safety
/// `pushes` and `pulls` have their counts, and their shapes their dimensions; the memory that they lie in stays what it is
/// until the request has ended; `options` is NULL or points to options; `request` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_push_pull(
    node: *const pmd_af_node,
    pushes: *const pmd_af_keyed_tensor,
    push_count: usize,
    pulls: *const pmd_af_keyed_tensor,
    pull_count: usize,
    options: *const pmd_af_request_options,
    request: *mut *mut pmd_af_request,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(request, "the place for the request")? };
        let process = process_of(node)?;
        let worker = process.as_worker()?;
        // SAFETY: the caller's promise.
        let (pushes, pulls) = unsafe {
            (tensors_at(pushes, push_count, Side::Worker)?, tensors_at(pulls, pull_count, Side::Worker)?)
        };
        // SAFETY: the caller's promise.
        let (mut wanted, patience) = unsafe { request_of(options)? };
        for (key, tensor) in &pushes {
            wanted = wanted.push(*key, tensor);
        }
        for (key, tensor) in &pulls {
            wanted = wanted.pull(*key, tensor);
        }
        // SAFETY: the caller's promise.
        let stream = unsafe { stream_of(&process, options)? };
        let deadline = match patience {
            Patience::AtOnce => Instant::now(),
            Patience::Milliseconds(patience) => Instant::now() + milliseconds(patience),
        };
        let handle = match (stream, patience) {
            (Some(stream), _) => worker.push_pull_on(&*stream, &wanted, Some(deadline))?,
            (None, Patience::AtOnce) => worker.try_push_pull(&wanted)?,
            (None, Patience::Milliseconds(_)) => worker.push_pull(&wanted, Some(deadline))?,
        };
        place.put(REQUESTS.insert(handle));
        Ok(())
    })
}

/// Agrees beforehand on room for a key at a server: pushes of at most `capacity` bytes, `depth` in flight. Larger ones are
/// `PMD_AF_STATUS_CAPACITY` from now on.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_declare(
    node: *const pmd_af_node,
    server: u32,
    key: u64,
    capacity: u64,
    depth: u16,
) -> pmd_af_status {
    guard(|| Ok(process_of(node)?.as_worker()?.declare(server, key, capacity, depth)?))
}

/// Looks at a request and returns at once: `PMD_AF_STATUS_PENDING`, or what came of it. Once it has ended nothing reads
/// or writes its tensors any more, whatever came of it.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_request_poll(request: *const pmd_af_request) -> pmd_af_status {
    guard(|| match REQUESTS.find(request)?.poll() {
        Some(result) => Ok(result.map(drop).map_err(WaitError::Failed)?),
        None => Err(Failure::new(pmd_af_status::Pending, "the request goes on")),
    })
}

/// Waits for a request. After `PMD_AF_STATUS_TIMEOUT` it goes on.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_request_wait(request: *const pmd_af_request, timeout_ms: u64) -> pmd_af_status {
    guard(|| {
        let request = REQUESTS.find(request)?;
        request.wait(Some(Instant::now() + milliseconds(timeout_ms)))?;
        Ok(())
    })
}

/// Writes how many bytes came for each pull, once the request has been done. `count` is how many there are.
///
/// # Safety
/// `lengths` has room for `capacity` numbers; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_request_lengths(
    request: *const pmd_af_request,
    lengths: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(count, "the place for the number of lengths")? };
        let goes_on = || Failure::new(pmd_af_status::Pending, "the request goes on");
        let Results { lengths: found, .. } =
            REQUESTS.find(request)?.poll().ok_or_else(goes_on)?.map_err(WaitError::Failed)?;
        place.put(found.len());
        if found.len() > capacity {
            let text = format!("{} lengths, there is room for {capacity}", found.len());
            return Err(Failure::new(pmd_af_status::BufferTooSmall, text));
        }
        writable_array(lengths, found.len(), "the room for lengths")?;
        for (index, length) in found.into_iter().enumerate() {
            // SAFETY: there is room for so many.
            unsafe { Place::optional(lengths.add(index)) }.put(length);
        }
        Ok(())
    })
}

/// Stops a request at every server and waits until it is quiet: when this returns, none of its tensors is read or written
/// any more. `PMD_AF_STATUS_CANCELLED`, or `PMD_AF_STATUS_OK` when it was done before.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_request_cancel(request: *const pmd_af_request) -> pmd_af_status {
    guard(|| match REQUESTS.find(request)?.cancel() {
        CancelOutcome::Completed(_) => Ok(()),
        CancelOutcome::Cancelled => Err(Failure::new(pmd_af_status::Cancelled, "the request was stopped")),
        CancelOutcome::Failed(failure) => Err(WaitError::Failed(failure).into()),
    })
}

/// Releases a request's handle. The request itself goes on: cancel it first if it is not to.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_request_release(request: *mut pmd_af_request) -> pmd_af_status {
    guard(|| Ok(REQUESTS.remove(request).map(drop)?))
}

/// Writes the number by which `pmd_af_fetch_traces` knows a request, also once it has been released.
///
/// # Safety
/// `number` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_request_number(
    request: *const pmd_af_request,
    number: *mut u64,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(number, "the place for the number")? };
        place.put(REQUESTS.find(request)?.number());
        Ok(())
    })
}

/// When the phases of a request and of its response were at one server: nanoseconds of the clock of the side that noted
/// them, 0 for what is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_af_trace {
    /// The request could go: what it waited for was done (worker).
    pub request_start: u64,
    /// It was posted (worker).
    pub request_sent: u64,
    /// It had arrived (server).
    pub request_received: u64,
    /// The application was handed it (server).
    pub request_processed: u64,
    /// The application answered (server).
    pub response_start: u64,
    /// The response was posted (server).
    pub response_sent: u64,
    /// It had arrived (worker).
    pub response_received: u64,
    /// The request was done (worker).
    pub response_processed: u64,
}

/// Fetches the stamps that servers have of a request that is done, and writes one trace for each server. `count` is how
/// many there are: none where the request is not done, or too long ago.
///
/// # Safety
/// `traces` has room for `capacity` of them; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_fetch_traces(
    node: *const pmd_af_node,
    number: u64,
    timeout_ms: u64,
    traces: *mut pmd_af_trace,
    capacity: usize,
    count: *mut usize,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(count, "the place for the number of traces")? };
        let found = process_of(node)?.as_worker()?.fetch_trace(number, milliseconds(timeout_ms))?;
        place.put(found.len());
        if found.len() > capacity {
            let text = format!("{} traces, there is room for {capacity}", found.len());
            return Err(Failure::new(pmd_af_status::BufferTooSmall, text));
        }
        writable_array(traces, found.len(), "the room for traces")?;
        for (index, trace) in found.iter().enumerate() {
            // SAFETY: there is room for so many.
            unsafe { Place::optional(traces.add(index)) }.put(trace_of(trace.numbers()));
        }
        Ok(())
    })
}

const fn trace_of(numbers: [u64; 8]) -> pmd_af_trace {
    let [request_start, request_sent, request_received, request_processed, ..] = numbers;
    let [.., response_start, response_sent, response_received, response_processed] = numbers;
    pmd_af_trace {
        request_start,
        request_sent,
        request_received,
        request_processed,
        response_start,
        response_sent,
        response_received,
        response_processed,
    }
}

/// An empty request as the options say, and how long to wait for room.
///
/// # Safety
/// `options` is null or points to options, whose servers have their count.
unsafe fn request_of(options: *const pmd_af_request_options) -> Result<(PushPull, Patience), Failure> {
    // SAFETY: the caller's promise.
    let Some(options) = (unsafe { options.as_ref() }) else {
        return Ok((PushPull::new(), Patience::Milliseconds(PATIENCE_MS)));
    };
    let part = match options.part {
        PMD_AF_PART_SINGLE => Part::Single,
        PMD_AF_PART_START => Part::Start,
        PMD_AF_PART_MIDDLE => Part::Middle,
        PMD_AF_PART_END => Part::End,
        other => return Err(Failure::argument(format!("a batch has no part {other}"))),
    };
    let mut request = PushPull::new().tag(options.tag).part(part);
    if options.up_to {
        request = request.up_to();
    }
    if !options.servers.is_null() {
        // SAFETY: the caller's promise.
        let servers = unsafe { array(options.servers, options.server_count, "the array of servers")? };
        request = request.servers(servers.iter().copied());
    }
    let patience = match options {
        pmd_af_request_options { at_once: true, .. } => Patience::AtOnce,
        pmd_af_request_options { timeout_ms: 0, .. } => Patience::Milliseconds(PATIENCE_MS),
        pmd_af_request_options { timeout_ms, .. } => Patience::Milliseconds(*timeout_ms),
    };
    Ok((request, patience))
}

statuses! {
    EndpointError => of_endpoint;
    ConnectError => of_connect;
    PushPullError => of_push_pull;
    TraceError => of_trace;
    WaitError => of_wait;
}

const fn of_endpoint(error: &EndpointError) -> pmd_af_status {
    match error {
        EndpointError::Connect(_) => pmd_af_status::ConnectFailed,
        _ => pmd_af_status::Unavailable,
    }
}

const fn of_connect(error: &ConnectError) -> pmd_af_status {
    match error {
        ConnectError::Endpoint(error) => of_endpoint(error),
        _ => pmd_af_status::ConnectFailed,
    }
}

/// The stream in whose turn a request is.
///
/// # Safety
/// `options` is null or points to options.
unsafe fn stream_of(
    process: &Process,
    options: *const pmd_af_request_options,
) -> Result<Option<Arc<dyn Stream>>, Failure> {
    // SAFETY: the caller's promise.
    let options = unsafe { options.as_ref() }.filter(|options| options.in_stream);
    options.map(|options| process.stream(options.stream)).transpose()
}

const fn of_push_pull(error: &PushPullError) -> pmd_af_status {
    match error {
        PushPullError::NoServers | PushPullError::UnknownServer { .. } => pmd_af_status::NotFound,
        PushPullError::ServerDown { .. } => pmd_af_status::PeerDown,
        PushPullError::Full { .. } => pmd_af_status::Busy,
        PushPullError::Timeout { .. } => pmd_af_status::Timeout,
        PushPullError::Capacity { .. } => pmd_af_status::Capacity,
        PushPullError::Agreement { .. } => pmd_af_status::Refused,
        PushPullError::Unreachable { .. }
        | PushPullError::NoLanding { .. }
        | PushPullError::NoAccelerator => pmd_af_status::Unavailable,
        PushPullError::Stream(_) => pmd_af_status::Failed,
        _ => pmd_af_status::InvalidArgument,
    }
}

const fn of_trace(error: &TraceError) -> pmd_af_status {
    match error {
        TraceError::Request { error: RequestError::Down(_), .. } => pmd_af_status::PeerDown,
        TraceError::Request { error: RequestError::Timeout { .. }, .. } => pmd_af_status::Timeout,
        _ => pmd_af_status::Failed,
    }
}

fn of_wait(error: &WaitError) -> pmd_af_status {
    match error {
        WaitError::Timeout => pmd_af_status::Timeout,
        WaitError::Failed(failure) => match &failure.cause {
            FailureCause::Down(_) => pmd_af_status::PeerDown,
            FailureCause::Refused(refusal) => of_refusal(refusal),
            FailureCause::Cancelled => pmd_af_status::Cancelled,
            _ => pmd_af_status::Failed,
        },
    }
}

const fn of_refusal(refusal: &af_api::wire::Refusal) -> pmd_af_status {
    match refusal {
        af_api::wire::Refusal::Size { .. } | af_api::wire::Refusal::Count { .. } => pmd_af_status::Mismatch,
        _ => pmd_af_status::Refused,
    }
}
