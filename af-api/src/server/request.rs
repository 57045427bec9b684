//! A request that was handed out: what was pushed, what is wanted back, and the answer to it.

use std::{fmt, sync::Arc, time::Instant};

use pmd_core::accelerator::Accelerator;

use super::{
    RespondError, Response,
    inbox::Inbox,
    link::Link,
    respond::{self, Answer},
};
use crate::{
    tensor::{Layout, Tensor},
    trace::ServerStamps,
    wire::{Flags, Immediate, NodeIdentity, PullEntry, Refusal},
};

/// One header of a request.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) immediate: Immediate,
    pub(super) flags: Flags,
    pub(super) tag: u32,
    pub(super) pushes: Vec<Pushed>,
    pub(super) pulls: Vec<PullEntry>,
}

/// A tensor that a worker pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    key: u64,
    layout: Layout,
    tensor: Option<Tensor>,
}

/// A tensor that a worker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub key: u64,
    /// Bytes of the worker's tensor.
    pub bytes: u32,
    /// Whether less will do.
    pub up_to: bool,
}

/// A request of one worker, with all parts of its batch.
///
/// [`Request::respond`] answers it. One that is dropped without an answer is refused, so that no worker waits for ever.
/// The pushed tensors stay as they are until the answer has been given; then the worker may push over them.
pub struct Request {
    id: u64,
    link: Arc<Link>,
    parts: Vec<Part>,
    inbox: Arc<Inbox>,
    answered: bool,
    stamps: ServerStamps,
}

impl Pushed {
    pub(super) const fn new(key: u64, layout: Layout, tensor: Option<Tensor>) -> Self {
        Self { key, layout, tensor }
    }

    /// Its name.
    #[must_use]
    pub const fn key(&self) -> u64 {
        self.key
    }

    /// Its type and shape.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where it is: a slot of a receive area, or of a buffer that was offered for the key. `None` for a tensor without a
    /// byte.
    #[must_use]
    pub const fn tensor(&self) -> Option<&Tensor> {
        self.tensor.as_ref()
    }
}

impl Request {
    pub(super) fn new(
        (id, received): (u64, u64),
        link: Arc<Link>,
        parts: Vec<Part>,
        inbox: Arc<Inbox>,
    ) -> Self {
        let stamps = ServerStamps { received, ..ServerStamps::default() };
        Self { id, link, parts, inbox, answered: false, stamps }
    }

    /// It is handed out.
    pub(super) const fn note_processed(&mut self, now: u64) {
        self.stamps.processed = now;
    }

    /// A part's answer is about to be handed to the lane.
    pub(super) fn note_sent(&self, immediate: Immediate) {
        let recorder = self.inbox.recorder();
        let stamps = ServerStamps { sent: recorder.now(), ..self.stamps };
        recorder.complete(self.link.trace, u64::from(immediate.to_bits()), stamps);
    }

    /// Number of the request at this server, in the order of arrival.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Who asks.
    #[must_use]
    pub fn worker(&self) -> NodeIdentity {
        self.link.worker
    }

    /// The worker's number for it: that of its first part.
    #[must_use]
    pub fn tag(&self) -> u32 {
        self.parts.first().map_or(0, |part| part.tag)
    }

    /// Whether it is more than one header: a batch, or more tensors than one header holds.
    #[must_use]
    pub const fn is_batch(&self) -> bool {
        self.parts.len() > 1
    }

    /// What was pushed, in the worker's order.
    pub fn pushes(&self) -> impl Iterator<Item = &Pushed> {
        self.parts.iter().flat_map(|part| &part.pushes)
    }

    /// What is wanted back, in the worker's order: that of the tensors in the answer.
    pub fn pulls(&self) -> impl Iterator<Item = Wanted> {
        self.parts.iter().flat_map(|part| {
            let up_to = part.flags.contains(Flags::UP_TO);
            part.pulls.iter().map(move |pull| Wanted { key: pull.key, bytes: pull.length, up_to })
        })
    }

    /// Whether the worker gave it up: what it pushed may be written over, and an answer is refused.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.parts.iter().any(|part| self.link.is_cancelled(part.immediate))
    }

    /// Whether the worker is down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.link.is_down()
    }

    /// Answers with one tensor for each pull, straight into the worker's tensors. The tensors are read until the response
    /// has ended, and are kept registered.
    ///
    /// # Errors
    /// [`RespondError`]. Nothing was written; where the answer does not fit, the worker's request fails.
    pub fn respond(self, tensors: &[Tensor]) -> Result<Response, RespondError> {
        respond::respond(self, tensors)
    }

    /// Answers that there is no data, with a code of the application's.
    ///
    /// # Errors
    /// [`RespondError`].
    pub fn refuse(self, code: u64) -> Result<Response, RespondError> {
        respond::refuse(self, Refusal::Application { code })
    }

    /// Whose memory NICs have written for it: to be flushed before a stream goes on with what was pushed.
    pub(crate) fn written_by_nics(&self) -> impl Iterator<Item = Arc<dyn Accelerator>> {
        let transport = self.link.peer.transport();
        let tensors = self.pushes().filter_map(Pushed::tensor);
        tensors.filter_map(move |tensor| tensor.memory().written_by_nic(transport))
    }

    pub(super) const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The answer is on its way, or cannot be: nothing more is to be done when it is dropped.
    pub(super) fn set_answered(&mut self) {
        self.answered = true;
        self.stamps.responded = self.inbox.recorder().now();
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.inbox.patience())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.answered {
            let answer = Answer::new(self.link.worker, self.parts.len());
            respond::refuse_parts(self, &answer, Refusal::Abandoned);
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("id", &self.id)
            .field("worker", &self.worker())
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}
