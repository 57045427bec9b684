//! Responding: tensors of the server straight into those of the worker, and the handle of that.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use pmd_core::memory::{RemoteAddress, RemoteKey};
use pmd_host::transfer::{
    Direction, Notification, Observer, SubmitError, TransferEnd, TransferError, TransferObserver,
    TransferOptions, WorkList, WorkListBuilder,
};

use super::{
    RespondError, ResponseFailure, ResponseWaitError,
    link::Link,
    request::{Part, Request},
};
use crate::{
    tensor::{Memory, Tensor},
    waiting::{Wakers, wait_until},
    wire::{Flags, Immediate, NodeIdentity, Refusal, emit_inline, emit_lengths, emit_refusal},
};

/// A response on its way. Dropping it does not stop it.
#[derive(Clone, Debug)]
pub struct Response(Arc<Answer>);

impl Response {
    /// Whether it has ended, and how: then the response's tensors are not read any more. Never waits.
    ///
    /// # Errors
    /// Inside the option: [`ResponseFailure`].
    #[must_use]
    pub fn poll(&self) -> Option<Result<(), ResponseFailure>> {
        self.0.look(None)
    }

    /// Waits until it has ended, until `deadline` if there is one.
    ///
    /// # Errors
    /// [`ResponseWaitError`].
    pub fn wait(&self, deadline: Option<Instant>) -> Result<(), ResponseWaitError> {
        match wait_until(deadline, |waker| self.0.look(waker)) {
            Some(result) => Ok(result?),
            None => Err(ResponseWaitError::Timeout),
        }
    }
}

impl Future for Response {
    type Output = Result<(), ResponseFailure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.look(Some(context.waker())).map_or(Poll::Pending, Poll::Ready)
    }
}

/// All parts of a response.
#[derive(Debug)]
pub(super) struct Answer {
    worker: NodeIdentity,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    running: usize,
    failure: Option<TransferError>,
    wakers: Wakers,
}

impl Answer {
    pub(super) fn new(worker: NodeIdentity, parts: usize) -> Arc<Self> {
        let state = State { running: parts, failure: None, wakers: Wakers::default() };
        Arc::new(Self { worker, state: Mutex::new(state) })
    }

    fn look(&self, waker: Option<&Waker>) -> Option<Result<(), ResponseFailure>> {
        let mut state = self.state();
        if state.running == 0 {
            let failed = |error| ResponseFailure { worker: self.worker, error };
            return Some(state.failure.map_or(Ok(()), |error| Err(failed(error))));
        }
        waker.into_iter().for_each(|waker| state.wakers.register(waker));
        None
    }

    fn part_ended(&self, failure: Option<TransferError>) {
        let mut state = self.state();
        state.running -= 1;
        state.failure = state.failure.or(failure);
        let wakers = if state.running == 0 { state.wakers.take() } else { Wakers::default() };
        drop(state);
        wakers.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of the end of one part's transfer.
struct PartEnd {
    answer: Arc<Answer>,
    link: Arc<Link>,
    immediate: Immediate,
}

impl TransferObserver for PartEnd {
    fn ended(&self, end: TransferEnd) {
        self.link.forget(self.immediate);
        if end.outcome.is_err() {
            self.link.check_route();
        }
        self.answer.part_ended(end.outcome.err());
    }
}

/// Answers all parts of a request.
pub(super) fn respond(mut request: Request, tensors: &[Tensor]) -> Result<Response, RespondError> {
    if let Err((error, refusal)) = check(&request, tensors) {
        request.set_answered();
        let answer = Answer::new(request.worker(), request.parts().len());
        refuse_parts(&request, &answer, refusal);
        return Err(error);
    }
    let answer = start(&mut request)?;
    let (mut tensors, mut failure) = (tensors, None);
    for part in request.parts() {
        let (ours, rest) = tensors.split_at(part.pulls.len());
        tensors = rest;
        let content = content(&request, part, ours);
        failure = failure.or(submit(&request, part.immediate, &answer, content).err());
    }
    failure.map_or(Ok(Response(answer)), |error| Err(error.into()))
}

/// Answers all parts of a request without data.
pub(super) fn refuse(mut request: Request, refusal: Refusal) -> Result<Response, RespondError> {
    let answer = start(&mut request)?;
    let refuse = |part: &Part| submit(&request, part.immediate, &answer, Content::refusal(refusal));
    let failure = request
        .parts()
        .iter()
        .filter_map(|part| refuse(part).err())
        .fold(None, |first, error| first.or(Some(error)));
    failure.map_or(Ok(Response(Arc::clone(&answer))), |error| Err(error.into()))
}

/// Refuses every part that is not cancelled, as far as that can be.
pub(super) fn refuse_parts(request: &Request, answer: &Arc<Answer>, refusal: Refusal) {
    for part in request.parts() {
        if request.link().start_responding(part.immediate) {
            let _ = submit(request, part.immediate, answer, Content::refusal(refusal));
        } else {
            request.link().forget(part.immediate);
        }
    }
}

/// Refuses a request that never became one.
pub(super) fn refuse_message(link: &Arc<Link>, immediate: Immediate, refusal: Refusal) {
    let mut bytes = Vec::new();
    emit_refusal(refusal, &mut bytes);
    if link.peer.route().send(&bytes, Some(immediate.to_bits())).is_err() {
        // The worker would wait for ever.
        link.peer.close();
    }
}

/// Whether the tensors fit, and what the worker is told if not.
fn check(request: &Request, tensors: &[Tensor]) -> Result<(), (RespondError, Refusal)> {
    let (given, wanted) = (tensors.len(), request.pulls().count());
    if given != wanted {
        let refusal = Refusal::Count { given: given as u64, wanted: wanted as u64 };
        return Err((RespondError::Count { given, wanted }, refusal));
    }
    for (tensor, pull) in tensors.iter().zip(request.pulls()) {
        let (key, given, wanted) = (pull.key, tensor.bytes(), pull.bytes);
        if given != wanted && !(pull.up_to && given < wanted) {
            let refusal = Refusal::Size { given: u64::from(given), wanted: u64::from(wanted) };
            return Err((RespondError::Size { key, given, wanted }, refusal));
        }
        if !request.inbox().owns(tensor.memory()) {
            return Err((RespondError::ForeignMemory { key }, Refusal::Abandoned));
        }
    }
    Ok(())
}

/// Marks all parts as being answered. The request is over whatever comes.
fn start(request: &mut Request) -> Result<Arc<Answer>, RespondError> {
    request.set_answered();
    let link = Arc::clone(request.link());
    let started: Vec<bool> =
        request.parts().iter().map(|part| link.start_responding(part.immediate)).collect();
    if started.iter().all(|started| *started) && !link.is_down() {
        return Ok(Answer::new(request.worker(), request.parts().len()));
    }
    // Parts of a batch that were not cancelled must not wait for ever.
    for (part, started) in request.parts().iter().zip(started) {
        let answer = Answer::new(request.worker(), 1);
        if started {
            let _ = submit(request, part.immediate, &answer, Content::refusal(Refusal::Abandoned));
        } else {
            link.forget(part.immediate);
        }
    }
    let worker = request.worker();
    Err(if link.is_down() { RespondError::WorkerDown { worker } } else { RespondError::Cancelled })
}

/// What answers one part.
struct Content {
    work: Arc<WorkList>,
    bytes: Vec<u8>,
    memories: Vec<Memory>,
}

impl Content {
    fn refusal(refusal: Refusal) -> Self {
        let mut bytes = Vec::new();
        emit_refusal(refusal, &mut bytes);
        Self { work: nothing(), bytes, memories: Vec::new() }
    }
}

fn nothing() -> Arc<WorkList> {
    Arc::new(WorkListBuilder::new(Direction::Write, Default::default()).finish())
}

fn content(request: &Request, part: &Part, tensors: &[Tensor]) -> Content {
    let lengths: Vec<u32> = tensors.iter().map(Tensor::bytes).collect();
    let mut bytes = Vec::new();
    if is_small(request, part, tensors) {
        emit_inline(&lengths, &mut bytes);
        tensors.iter().for_each(|tensor| append(tensor, &mut bytes));
        return Content { work: nothing(), bytes, memories: Vec::new() };
    }
    let peer = &request.link().peer;
    let mut work = WorkListBuilder::new(Direction::Write, peer.route().limits());
    for (tensor, pull) in tensors.iter().zip(&part.pulls) {
        let remote = RemoteAddress { address: pull.address, key: RemoteKey(pull.remote_key) };
        if let Some(piece) = tensor.piece(0, u64::from(tensor.bytes()), peer.transport()) {
            work.push(piece, remote);
        }
    }
    if lengths.iter().zip(&part.pulls).any(|(length, pull)| *length != pull.length) {
        emit_lengths(&lengths, &mut bytes);
    }
    let memories = tensors.iter().map(|tensor| tensor.memory().clone()).collect();
    Content { work: Arc::new(work.finish()), bytes, memories }
}

/// Whether the data can go inside the message.
fn is_small(request: &Request, part: &Part, tensors: &[Tensor]) -> bool {
    let bytes: u64 = tensors.iter().map(|tensor| u64::from(tensor.bytes())).sum();
    let reachable = tensors.iter().all(|tensor| tensor.memory().is_host());
    let room = request.link().message_bytes.saturating_sub(4 + 4 * tensors.len()) as u64;
    let allowed = u64::from(request.inbox().inline_bytes()).min(room);
    bytes > 0 && bytes <= allowed && reachable && !part.flags.contains(Flags::WRITE_ONLY)
}

#[expect(unsafe_code, reason = "copies a small tensor into its message")]
fn append(tensor: &Tensor, bytes: &mut Vec<u8>) {
    // SAFETY: the processor reaches the memory, and whoever responds with the tensor leaves it alone meanwhile.
    bytes.extend_from_slice(&unsafe { tensor.read() });
}

fn submit(
    request: &Request,
    immediate: Immediate,
    answer: &Arc<Answer>,
    content: Content,
) -> Result<(), SubmitError> {
    let link = request.link();
    let end = PartEnd { answer: Arc::clone(answer), link: Arc::clone(link), immediate };
    let notify = Notification { bytes: content.bytes, immediate: Some(immediate.to_bits()) };
    let options = TransferOptions {
        notify: Some(notify),
        keep_alive: Some(Memory::keep_alive(content.memories)),
        observer: Some(Observer(Arc::new(end))),
        ..TransferOptions::default()
    };
    // Before: a worker that has the answer may ask for the stamps.
    request.note_sent(immediate);
    match link.peer.route().submit_waiting(&content.work, options, request.deadline()) {
        Ok(transfer) => {
            link.keep(immediate, transfer);
            Ok(())
        }
        Err(error) => {
            link.forget(immediate);
            // The worker learns of it by the goodbye.
            link.peer.close();
            answer.part_ended(Some(TransferError::RouteClosed));
            Err(error)
        }
    }
}
