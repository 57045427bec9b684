//! Requests of workers in C, and their answers. Called by C programs and by `AFTensorServer`; stands on
//! [`af_api::server`].
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use af_api::{
    server::{
        BatchError, DeferredError, Gather, OfferError, OpenError, Request, RespondError, Response,
        ResponseWaitError,
    },
    tensor::Layout,
};

use crate::{
    boundary::{Place, Table, array, guard, milliseconds, writable_array},
    memory::{HOST, Side, described, device_of, pmd_af_keyed_tensor, tensors_at},
    node::{pmd_af_node, process_of},
    status::{Failure, pmd_af_status, statuses},
};

/// A request of a worker.
pub struct pmd_af_incoming {
    _opaque: [u8; 0],
}

/// An answer on its way.
pub struct pmd_af_response {
    _opaque: [u8; 0],
}

static INCOMING: Table<pmd_af_incoming, Incoming> = Table::new("request of a worker");
static RESPONSES: Table<pmd_af_response, Response> = Table::new("response");

/// Batches: one request of every worker.
pub const PMD_AF_GATHER_ALL: u32 = 0;
/// Batches: the oldest request that there is.
pub const PMD_AF_GATHER_ANY: u32 = 1;
/// Batches: one request of each worker that has one, once so many have.
pub const PMD_AF_GATHER_QUORUM: u32 = 2;

/// What is known of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_af_incoming_info {
    /// Rank of the worker among all instances.
    pub worker: u32,
    /// Instance of the worker in its group.
    pub instance: u32,
    /// Number of the request at this server, in the order of arrival.
    pub number: u64,
    /// The worker's number for it.
    pub tag: u32,
    /// Tensors that were pushed.
    pub pushes: usize,
    /// Tensors that are wanted back.
    pub pulls: usize,
    /// Whether it is several requests that make one batch.
    pub batch: bool,
    /// Whether the worker gave it up: what it pushed may be written over, and an answer is refused.
    pub cancelled: bool,
}

/// A request as long as its handle; its answer is given once.
struct Incoming {
    info: pmd_af_incoming_info,
    pushes: Vec<Push>,
    pulls: Vec<(u64, Layout)>,
    request: Mutex<Option<Request>>,
}

struct Push {
    key: u64,
    /// Address, and DLPack's numbers of the device.
    place: (u64, (i32, i32)),
    layout: Layout,
    shape: Vec<i64>,
}

/// Waits for a batch of requests: `PMD_AF_GATHER_ALL`, `_ANY` or `_QUORUM` of so many, in the order of the workers' ranks.
/// `count` is how many they are. There has to be room for a request of each worker, or one for any; with
/// `PMD_AF_STATUS_BUFFER_TOO_SMALL` `count` is how many there has to be room for. `PMD_AF_STATUS_PEER_DOWN` tells once
/// of each worker that goes down; requests of others wait on. Release each with `pmd_af_incoming_release`.
///
/// # Safety
/// `requests` has room for `capacity` handles; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_get_batch(
    node: *const pmd_af_node,
    gather: u32,
    quorum: usize,
    timeout_ms: u64,
    requests: *mut *mut pmd_af_incoming,
    capacity: usize,
    count: *mut usize,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(count, "the place for the number of requests")? };
        let process = process_of(node)?;
        let (server, most) = (process.as_server()?, process.worker_instances());
        let (gather, most) = match gather {
            PMD_AF_GATHER_ALL => (Gather::All, most),
            PMD_AF_GATHER_ANY => (Gather::Any, 1),
            PMD_AF_GATHER_QUORUM => (Gather::Quorum(quorum), most),
            other => return Err(Failure::argument(format!("there is no batch of kind {other}"))),
        };
        writable_array(requests, capacity, "the room for requests")?;
        if capacity < most {
            place.put(most);
            let text = format!("a batch may be {most} requests, there is room for {capacity}");
            return Err(Failure::new(pmd_af_status::BufferTooSmall, text));
        }
        let batch = server.batch(gather, Some(Instant::now() + milliseconds(timeout_ms)))?;
        place.put(batch.len());
        // Of each worker at most one: there is room.
        for (index, request) in batch.into_iter().take(capacity).enumerate() {
            // SAFETY: there is room for so many.
            unsafe { Place::optional(requests.add(index)) }.put(INCOMING.insert(Incoming::new(request)));
        }
        Ok(())
    })
}

/// Writes what is known of a request.
///
/// # Safety
/// `info` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_incoming_read(
    incoming: *const pmd_af_incoming,
    info: *mut pmd_af_incoming_info,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(info, "the place for what is known")? };
        let incoming = INCOMING.find(incoming)?;
        place.put(pmd_af_incoming_info { cancelled: incoming.is_cancelled(), ..incoming.info });
        Ok(())
    })
}

/// Writes a tensor that was pushed. Its bytes stay as they are until the request has been answered or released, unless
/// the worker gives it up; the description until it is released. A tensor without a byte has data NULL.
///
/// # Safety
/// `tensor` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_incoming_push(
    incoming: *const pmd_af_incoming,
    index: usize,
    tensor: *mut pmd_af_keyed_tensor,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(tensor, "the place for the tensor")? };
        let incoming = INCOMING.find(incoming)?;
        let push = incoming.pushes.get(index).ok_or_else(|| beyond("push", index, incoming.pushes.len()))?;
        place.put(described(push.key, push.place, &push.layout, &push.shape));
        Ok(())
    })
}

/// Writes key and bytes of a tensor that is wanted back; it has neither data nor a shape.
///
/// # Safety
/// `tensor` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_incoming_pull(
    incoming: *const pmd_af_incoming,
    index: usize,
    tensor: *mut pmd_af_keyed_tensor,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(tensor, "the place for the tensor")? };
        let incoming = INCOMING.find(incoming)?;
        let (key, layout) =
            incoming.pulls.get(index).ok_or_else(|| beyond("pull", index, incoming.pulls.len()))?;
        place.put(described(*key, (0, HOST), layout, &[]));
        Ok(())
    })
}

/// Answers a request with a tensor for each pull, in their order, straight into the worker's tensors. The tensors are left
/// alone until the response has ended: wait for that, then release it with `pmd_af_response_release`. `response` may be
/// NULL. A request is answered once. `PMD_AF_STATUS_MISMATCH` for tensors of other sizes or another number: the worker's
/// request fails then.
///
/// # Safety
/// `tensors` has its count, and their shapes their dimensions; the memory that they lie in stays what it is until the
/// response has ended; `response` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_respond(
    incoming: *const pmd_af_incoming,
    tensors: *const pmd_af_keyed_tensor,
    count: usize,
    response: *mut *mut pmd_af_response,
) -> pmd_af_status {
    guard(|| {
        let incoming = INCOMING.find(incoming)?;
        // SAFETY: the caller's promise.
        let tensors = unsafe { tensors_at(tensors, count, Side::Server)? };
        let tensors: Vec<_> = tensors.into_iter().map(|(_, tensor)| tensor).collect();
        let sent = incoming.take()?.respond(&tensors)?;
        if !response.is_null() {
            // SAFETY: the caller's promise.
            unsafe { Place::optional(response) }.put(RESPONSES.insert(sent));
        }
        Ok(())
    })
}

/// As `pmd_af_respond`, behind what a stream of the process's first accelerator has been given so far: the kernels that
/// compute the tensors. `stream` is the runtime's handle (`cudaStream_t`, `hipStream_t`, `aclrtStream`); 0 is the default
/// stream. Returns at once; if the stream fails the worker's request does. Leave the tensors alone until the worker has its
/// answer.
///
/// # Safety
/// As `pmd_af_respond`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_respond_on(
    node: *const pmd_af_node,
    incoming: *const pmd_af_incoming,
    tensors: *const pmd_af_keyed_tensor,
    count: usize,
    stream: u64,
) -> pmd_af_status {
    guard(|| {
        let (process, incoming) = (process_of(node)?, INCOMING.find(incoming)?);
        let stream = process.stream(stream)?;
        // SAFETY: the caller's promise.
        let tensors = unsafe { tensors_at(tensors, count, Side::Server)? };
        let tensors: Vec<_> = tensors.into_iter().map(|(_, tensor)| tensor).collect();
        // Whoever asked has been told of what fails then.
        Ok(process.as_server()?.respond_on(&*stream, (incoming.take()?, tensors), None, drop)?)
    })
}

/// Answers that there is no data, with a code of the application's: the worker's request fails.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_refuse(incoming: *const pmd_af_incoming, code: u64) -> pmd_af_status {
    guard(|| Ok(INCOMING.find(incoming)?.take()?.refuse(code).map(drop)?))
}

/// Releases a request. One that was not answered is refused, so that no worker waits for ever.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_incoming_release(incoming: *mut pmd_af_incoming) -> pmd_af_status {
    guard(|| Ok(INCOMING.remove(incoming).map(drop)?))
}

/// Waits until a response has ended: then its tensors are not read any more, whatever came of it.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_response_wait(response: *const pmd_af_response, timeout_ms: u64) -> pmd_af_status {
    guard(|| Ok(RESPONSES.find(response)?.wait(Some(Instant::now() + milliseconds(timeout_ms)))?))
}

/// Releases a response's handle. The response goes on.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_response_release(response: *mut pmd_af_response) -> pmd_af_status {
    guard(|| Ok(RESPONSES.remove(response).map(drop)?))
}

/// Gives workers the tensor's memory to push into: even chunks, one for each pair of a worker's rank and a key. It stays
/// theirs until `pmd_af_take_back`.
///
/// # Safety
/// `buffer` points to a tensor, whose shape has its dimensions and whose memory stays what it is until it has been taken
/// back; `workers` and `keys` have their count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_offer(
    node: *const pmd_af_node,
    buffer: *const pmd_af_keyed_tensor,
    workers: *const u32,
    keys: *const u64,
    count: usize,
) -> pmd_af_status {
    guard(|| {
        let process = process_of(node)?;
        // SAFETY: the caller's promise.
        let buffers = unsafe { tensors_at(buffer, 1, Side::Server)? };
        // SAFETY: the caller's promise.
        let (workers, keys) = unsafe {
            (array(workers, count, "the array of workers")?, array(keys, count, "the array of keys")?)
        };
        let pairs: Vec<_> = workers.iter().copied().zip(keys.iter().copied()).collect();
        for (_, buffer) in &buffers {
            process.as_server()?.offer_evenly(buffer, &pairs)?;
        }
        Ok(())
    })
}

/// Takes a buffer back: when this is done the worker writes there no more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_take_back(
    node: *const pmd_af_node,
    worker: u32,
    key: u64,
    timeout_ms: u64,
) -> pmd_af_status {
    guard(|| {
        let deadline = Instant::now() + milliseconds(timeout_ms);
        Ok(process_of(node)?.as_server()?.take_back(worker, key, Some(deadline))?)
    })
}

impl Incoming {
    fn new(request: Request) -> Self {
        let signed = |size: &u64| i64::try_from(*size).unwrap_or(i64::MAX);
        let pushes: Vec<Push> = request
            .pushes()
            .map(|pushed| Push {
                key: pushed.key(),
                place: pushed.tensor().map_or((0, HOST), |tensor| (tensor.address(), device_of(tensor))),
                layout: *pushed.layout(),
                shape: pushed.layout().shape().iter().map(signed).collect(),
            })
            .collect();
        let pulls: Vec<_> =
            request.pulls().map(|wanted| (wanted.key, Layout::of_bytes(wanted.bytes))).collect();
        let info = pmd_af_incoming_info {
            worker: request.worker().rank,
            instance: request.worker().instance,
            number: request.id(),
            tag: request.tag(),
            pushes: pushes.len(),
            pulls: pulls.len(),
            batch: request.is_batch(),
            cancelled: false,
        };
        Self { info, pushes, pulls, request: Mutex::new(Some(request)) }
    }

    /// The request, to be answered.
    fn take(&self) -> Result<Request, Failure> {
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner).take();
        request.ok_or_else(|| Failure::new(pmd_af_status::InvalidHandle, "the request was answered before"))
    }

    fn is_cancelled(&self) -> bool {
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        request.as_ref().is_some_and(Request::is_cancelled)
    }
}

fn beyond(what: &str, index: usize, count: usize) -> Failure {
    Failure::argument(format!("{what} {index} of a request with {count}"))
}

statuses! {
    OpenError => of_open;
    BatchError => of_batch;
    RespondError => of_respond;
    DeferredError => of_deferred;
    ResponseWaitError => of_response;
    OfferError => of_offer;
}

const fn of_deferred(error: &DeferredError) -> pmd_af_status {
    match error {
        DeferredError::Gate(_) => pmd_af_status::Busy,
        _ => pmd_af_status::Failed,
    }
}

const fn of_open(error: &OpenError) -> pmd_af_status {
    match error {
        OpenError::Endpoint(_) => pmd_af_status::Unavailable,
        _ => pmd_af_status::Failed,
    }
}

const fn of_batch(error: &BatchError) -> pmd_af_status {
    match error {
        BatchError::Timeout { .. } => pmd_af_status::Timeout,
        BatchError::WorkerDown { .. } => pmd_af_status::PeerDown,
        _ => pmd_af_status::Failed,
    }
}

const fn of_respond(error: &RespondError) -> pmd_af_status {
    match error {
        RespondError::Count { .. } | RespondError::Size { .. } => pmd_af_status::Mismatch,
        RespondError::ForeignMemory { .. } => pmd_af_status::InvalidArgument,
        RespondError::Cancelled => pmd_af_status::Cancelled,
        RespondError::WorkerDown { .. } => pmd_af_status::PeerDown,
        _ => pmd_af_status::Failed,
    }
}

const fn of_response(error: &ResponseWaitError) -> pmd_af_status {
    match error {
        ResponseWaitError::Timeout => pmd_af_status::Timeout,
        ResponseWaitError::Failed(_) => pmd_af_status::Failed,
    }
}

const fn of_offer(error: &OfferError) -> pmd_af_status {
    match error {
        OfferError::NotOffered { .. } => pmd_af_status::NotFound,
        OfferError::Timeout { .. } => pmd_af_status::Timeout,
        _ => pmd_af_status::InvalidArgument,
    }
}
