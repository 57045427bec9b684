//! Captured graphs in C: push-pulls and batches that streams of the process's first accelerator make by themselves. Called
//! by C programs that capture CUDA graphs; stands on [`af_api::graph`].
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

use std::time::{Duration, Instant};

use af_api::{
    graph::{
        Answering, CaptureError, CapturedExchange, CapturedService, CloseError, ExchangeCause, LaunchError,
        LaunchFailure, ServiceCause,
    },
    worker::{PushPull, WaitError},
};

use pmd_core::accelerator::{AcceleratorError, Stream};

use crate::{
    boundary::{Place, Table, array, guard, milliseconds},
    memory::{Side, pmd_af_keyed_tensor, tensors_at},
    node::{pmd_af_node, process_of},
    status::{Failure, pmd_af_status, statuses},
};

/// A push-pull that streams make by themselves.
pub struct pmd_af_exchange {
    _opaque: [u8; 0],
}

/// Batches that streams take and answer by themselves.
pub struct pmd_af_service {
    _opaque: [u8; 0],
}

static EXCHANGES: Table<pmd_af_exchange, CapturedExchange> = Table::new("exchange");
static SERVICES: Table<pmd_af_service, CapturedService> = Table::new("service");

/// What a captured batch takes from one worker, and what it is answered with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_answering {
    /// The worker's rank.
    pub worker: u32,
    /// What it pushes, in its order: keys, and the buffers that were offered for them with a depth of 1.
    pub pushes: *const pmd_af_keyed_tensor,
    /// How many.
    pub push_count: usize,
    /// What its pulls are answered with, in its order.
    pub answers: *const pmd_af_keyed_tensor,
    /// How many.
    pub answer_count: usize,
}

/// Captures a push-pull: every push goes to every server; pulls are server-major, as many for each. Nothing is sent before a
/// stream that `pmd_af_exchange_put` has put it into comes to it. A launch that is not done within `timeout_ms` is stopped
/// and its stream goes on; 0: it waits for as long as its server is there. Release it with `pmd_af_exchange_release`.
///
/// # Safety
/// `pushes` and `pulls` have their counts, and their shapes their dimensions; the memory that they lie in stays what it is
/// until the exchange is closed or released; `exchange` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_capture_exchange(
    node: *const pmd_af_node,
    pushes: *const pmd_af_keyed_tensor,
    push_count: usize,
    pulls: *const pmd_af_keyed_tensor,
    pull_count: usize,
    timeout_ms: u64,
    exchange: *mut *mut pmd_af_exchange,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(exchange, "the place for the exchange")? };
        let process = process_of(node)?;
        // SAFETY: the caller's promise.
        let (pushes, pulls) = unsafe {
            (tensors_at(pushes, push_count, Side::Worker)?, tensors_at(pulls, pull_count, Side::Worker)?)
        };
        let request = pushes.iter().fold(PushPull::new(), |all, (key, tensor)| all.push(*key, tensor));
        let request = pulls.iter().fold(request, |all, (key, tensor)| all.pull(*key, tensor));
        let (worker, accelerator) = (process.as_worker()?, process.first_accelerator()?);
        let captured = worker.capture(&**accelerator, &request, patience(timeout_ms))?;
        place.put(EXCHANGES.insert(captured));
        Ok(())
    })
}

/// Puts one push-pull into a stream of the process's first accelerator, by the runtime's handle: in a stream that is being
/// captured it becomes a part of the graph and happens at each launch, in another one it happens once.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_exchange_put(
    node: *const pmd_af_node,
    exchange: *const pmd_af_exchange,
    stream: u64,
) -> pmd_af_status {
    guard(|| put(node, stream, |stream| EXCHANGES.find(exchange)?.put(stream).map_err(Failure::from)))
}

/// Tells how many launches have ended, and the first failure that was not told yet: then it is that failure's status, and
/// `failed` is the number of its launch, from 1 on. Ask once a launch has ended: a stream goes on whatever became of it.
///
/// # Safety
/// `ended` and `failed` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_exchange_check(
    exchange: *const pmd_af_exchange,
    ended: *mut u64,
    failed: *mut u64,
) -> pmd_af_status {
    guard(|| {
        let exchange = EXCHANGES.find(exchange)?;
        // SAFETY: the caller's promise.
        let (ended, failed) = unsafe { (Place::optional(ended), Place::optional(failed)) };
        ended.put(exchange.launches().ended());
        let checked = exchange.launches().check();
        failed.put(checked.as_ref().err().map_or(0, |failure| failure.launch));
        Ok(checked.map(drop)?)
    })
}

/// Waits until so many launches have ended, and tells what became of the last of them.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_exchange_wait(
    exchange: *const pmd_af_exchange,
    launch: u64,
    timeout_ms: u64,
) -> pmd_af_status {
    guard(|| Ok(EXCHANGES.find(exchange)?.launches().wait(launch, deadline(timeout_ms))?))
}

/// Serves no launch any more: those that come are failed, and go on. Waits for the one that is being served:
/// `PMD_AF_STATUS_BUSY` where it has not ended in time.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_exchange_close(exchange: *const pmd_af_exchange, timeout_ms: u64) -> pmd_af_status {
    guard(|| Ok(EXCHANGES.find(exchange)?.close(deadline(timeout_ms))?))
}

/// Releases an exchange. Gives up the launch that is being served and waits until its tensors are quiet. Destroy graphs that
/// it is in before the node is stopped.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_exchange_release(exchange: *mut pmd_af_exchange) -> pmd_af_status {
    guard(|| Ok(EXCHANGES.remove(exchange).map(drop)?))
}

/// Captures a service: requests of these workers that push under exactly these keys are taken by streams and no longer by
/// `pmd_af_get_batch`. A batch is one request of each worker. Where the stream does not respond within `timeout_ms`, the
/// workers are refused; 0: it has as long as it takes. Release it with `pmd_af_service_release`.
///
/// # Safety
/// `workers` has its count, as have their tensors, whose memory stays what it is until the service is closed or released;
/// `service` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_capture_service(
    node: *const pmd_af_node,
    workers: *const pmd_af_answering,
    worker_count: usize,
    timeout_ms: u64,
    service: *mut *mut pmd_af_service,
) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(service, "the place for the service")? };
        let process = process_of(node)?;
        // SAFETY: the caller's promise.
        let workers = unsafe { array(workers, worker_count, "the array of workers")? };
        // SAFETY: the caller's promise.
        let workers = workers.iter().map(|worker| unsafe { answering_of(worker) });
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let (server, accelerator) = (process.as_server()?, process.first_accelerator()?);
        place.put(SERVICES.insert(server.capture(&**accelerator, &workers, patience(timeout_ms))?));
        Ok(())
    })
}

/// Puts the wait for a batch into a stream: what comes behind finds what the workers pushed in the buffers.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_service_put_batch(
    node: *const pmd_af_node,
    service: *const pmd_af_service,
    stream: u64,
) -> pmd_af_status {
    guard(|| put(node, stream, |stream| SERVICES.find(service)?.put_batch(stream).map_err(Failure::from)))
}

/// Puts the responses into a stream, behind the batch and what computes the answers.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_service_put_responses(
    node: *const pmd_af_node,
    service: *const pmd_af_service,
    stream: u64,
) -> pmd_af_status {
    guard(|| put(node, stream, |stream| SERVICES.find(service)?.put_responses(stream).map_err(Failure::from)))
}

/// As `pmd_af_exchange_check`. A launch ends when its responses have.
///
/// # Safety
/// `ended` and `failed` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_service_check(
    service: *const pmd_af_service,
    ended: *mut u64,
    failed: *mut u64,
) -> pmd_af_status {
    guard(|| {
        let service = SERVICES.find(service)?;
        // SAFETY: the caller's promise.
        let (ended, failed) = unsafe { (Place::optional(ended), Place::optional(failed)) };
        ended.put(service.launches().ended());
        let checked = service.launches().check();
        failed.put(checked.as_ref().err().map_or(0, |failure| failure.launch));
        Ok(checked.map(drop)?)
    })
}

/// As `pmd_af_exchange_wait`.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_service_wait(
    service: *const pmd_af_service,
    launch: u64,
    timeout_ms: u64,
) -> pmd_af_status {
    guard(|| Ok(SERVICES.find(service)?.launches().wait(launch, deadline(timeout_ms))?))
}

/// As `pmd_af_exchange_close`; a stream that waits for a batch goes on.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_service_close(service: *const pmd_af_service, timeout_ms: u64) -> pmd_af_status {
    guard(|| Ok(SERVICES.find(service)?.close(deadline(timeout_ms))?))
}

/// Releases a service. The workers of the batch that is being served are refused.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_service_release(service: *mut pmd_af_service) -> pmd_af_status {
    guard(|| Ok(SERVICES.remove(service).map(drop)?))
}

fn put(
    node: *const pmd_af_node,
    stream: u64,
    put: impl FnOnce(&dyn Stream) -> Result<(), Failure>,
) -> Result<(), Failure> {
    put(&*process_of(node)?.stream(stream)?)
}

/// # Safety
/// The arrays have their counts, and their shapes their dimensions.
unsafe fn answering_of(worker: &pmd_af_answering) -> Result<Answering, Failure> {
    // SAFETY: the caller's promise.
    let (pushes, answers) = unsafe {
        (
            tensors_at(worker.pushes, worker.push_count, Side::Server)?,
            tensors_at(worker.answers, worker.answer_count, Side::Server)?,
        )
    };
    let all = Answering::new(worker.worker);
    let all = pushes.iter().fold(all, |all, (key, tensor)| all.pushed(*key, tensor));
    Ok(answers.iter().fold(all, |all, (_, tensor)| all.answer(tensor)))
}

fn patience(timeout_ms: u64) -> Option<Duration> {
    (timeout_ms > 0).then(|| milliseconds(timeout_ms))
}

fn deadline(timeout_ms: u64) -> Option<Instant> {
    Some(Instant::now() + milliseconds(timeout_ms))
}

statuses! {
    AcceleratorError => of_accelerator;
    CaptureError => of_capture;
    CloseError => of_close;
    LaunchFailure<ExchangeCause> => of_exchange;
    LaunchFailure<ServiceCause> => of_service;
    LaunchError<ExchangeCause> => of_exchange_wait;
    LaunchError<ServiceCause> => of_service_wait;
}

const fn of_accelerator(error: &AcceleratorError) -> pmd_af_status {
    match error {
        AcceleratorError::Unsupported { .. } => pmd_af_status::Unavailable,
        _ => pmd_af_status::Failed,
    }
}

fn of_capture(error: &CaptureError) -> pmd_af_status {
    match error {
        CaptureError::PushPull(error) => Failure::from(error.clone()).status,
        CaptureError::Accelerator(_) | CaptureError::Thread(_) => pmd_af_status::Unavailable,
        CaptureError::NotOffered { .. } => pmd_af_status::NotFound,
        CaptureError::Taken { .. } => pmd_af_status::Busy,
        _ => pmd_af_status::InvalidArgument,
    }
}

const fn of_close(_: &CloseError) -> pmd_af_status {
    pmd_af_status::Busy
}

fn of_exchange(failure: &LaunchFailure<ExchangeCause>) -> pmd_af_status {
    match &failure.cause {
        ExchangeCause::PushPull(error) => Failure::from(error.clone()).status,
        ExchangeCause::Failed(failure) => Failure::from(WaitError::Failed(failure.clone())).status,
        ExchangeCause::Timeout { .. } => pmd_af_status::Timeout,
        ExchangeCause::WorkerClosed | ExchangeCause::Closed => pmd_af_status::Cancelled,
        _ => pmd_af_status::Failed,
    }
}

const fn of_service(failure: &LaunchFailure<ServiceCause>) -> pmd_af_status {
    match &failure.cause {
        ServiceCause::WorkerDown { .. } => pmd_af_status::PeerDown,
        ServiceCause::Pushed { .. } => pmd_af_status::Mismatch,
        ServiceCause::Timeout { .. } => pmd_af_status::Timeout,
        ServiceCause::ServerClosed | ServiceCause::Closed => pmd_af_status::Cancelled,
        _ => pmd_af_status::Failed,
    }
}

fn of_exchange_wait(error: &LaunchError<ExchangeCause>) -> pmd_af_status {
    match error {
        LaunchError::Failed(failure) => of_exchange(failure),
        LaunchError::Timeout { .. } => pmd_af_status::Timeout,
        LaunchError::Forgotten { .. } => pmd_af_status::NotFound,
    }
}

const fn of_service_wait(error: &LaunchError<ServiceCause>) -> pmd_af_status {
    match error {
        LaunchError::Failed(failure) => of_service(failure),
        LaunchError::Timeout { .. } => pmd_af_status::Timeout,
        LaunchError::Forgotten { .. } => pmd_af_status::NotFound,
    }
}
