//! Device memory that a NIC does not reach, through pinned memory of the host; and what has to be flushed of what it does
//! reach.
//!
//! # Place in the flow
//! An endpoint's lanes drive their NIC through a [`StagedBackend`] around [`Mlx5Backend`](crate::mlx5::Mlx5Backend) or
//! [`VerbsBackend`](crate::verbs::VerbsBackend). While no device memory is registered it costs a look at a counter in each
//! call.
//! [`Device::register_device`](super::Device::register_device) decides how memory is reached:
//!
//! | [path](crate::region::RegionPath) | when | who may use it |
//! |---|---|---|
//! | `dma-buf` | the accelerator exports one, and kernel and NIC take it (`ibv_reg_dmabuf_mr`) | everybody |
//! | `peer memory` | the accelerator's kernel module lets NICs in by the address (nvidia-peermem) | everybody |
//! | `staged` | neither, and no peer is to reach it | this side's WRITEs, READs and SENDs |
//!
//! Staging for a peer's one-sided requests would take this side's software into each of them, which one-sided requests are
//! there to avoid: memory that peers are to reach is refused, with the reason of each better way. So are receives into staged
//! memory and atomics with it ([`PostError::NotStaged`]).
//!
//! # Staging
//! The local key of staged memory is that of a page of its own, which no request names: a back end without staging, or one
//! that was not made by this module, gets `LocalProtection` from the device, and moves nothing. Here a request with such a
//! key is taken apart into parts of at most a slot (256 KiB of pinned memory that the NIC reaches, 16 for each accelerator
//! and lane, less where less can be pinned). Of a WRITE or SEND a stream copies each part into its slot before it is
//! posted; of a READ out of it once it has arrived, before its completion is given. Lifts and landings of several parts run
//! beside the NIC's work on others. Nobody waits: streams are asked in polls.
//!
//! - **Order**: requests behind a staged one wait in a line, and completions come in order.
//! - **Fence**: a request with it begins when the READs before it have landed.
//! - **Quiet**: a request completes, well, failed or flushed, when neither the NIC nor a stream has anything of it. A
//!   reset waits for streams. Deregistration waits for streams too; requests that come to the memory later fail
//!   with [`DeviceFault::Deregistered`].
//! - A stream that fails takes the request's queue pair down ([`DeviceFault::Stream`]) and is replaced; other
//!   queue pairs go on.
//!
//! # Flushing
//! What a NIC has written into device memory may not be visible to the device yet when the completion is
//! ([`Accelerator::flush_remote_writes`](pmd_core::accelerator::Accelerator::flush_remote_writes)). While such memory is
//! registered, a poll that finds READs or receives flushes once for each accelerator before it gives them out; if that
//! fails they come as failed.

mod lift;
mod line;
mod memories;
mod plan;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, slice, sync::Arc, time::Duration};

use pmd_core::{
    memory::Sge,
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, Operation, Payload, PostError,
        Provider, QueuePairHandle, QueuePairNumber, ReceiveRequest, SendRequest, SharedReceiveHandle,
    },
    queue::QueuePairState,
    wire::Syndrome,
};

use self::{
    lift::Lift,
    line::{Item, Line, OWN, Work},
};
pub(crate) use self::{lift::RegisterPinned, memories::DeviceMemories};
use super::{Device, Pins};
use crate::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, Transport, Waker},
    transfer::DeviceFault,
};

/// Requests that can wait in the line of a queue pair.
const LINE: usize = 1024;
/// Faults that are remembered for whoever asks about a completion.
const FAULTS: usize = 64;
/// How long a lane may sleep while a stream copies for it.
const LOOK: Duration = Duration::from_micros(50);

/// A NIC's back end with the device memory that the NIC does not reach. Ids of send requests are below 2^63.
#[derive(Debug)]
pub struct StagedBackend<B> {
    // Closed first: then no slot is in use by the NIC any more. Then lines, which wait for their streams.
    inner: B,
    lines: Vec<Line>,
    lifts: Vec<Lift>,
    memories: Arc<DeviceMemories>,
    registrar: Box<dyn RegisterPinned>,
    /// Completions that have not been given out.
    ready: VecDeque<Completion>,
    /// Lines with requests.
    busy: usize,
    /// By the id of the request.
    faults: VecDeque<(u64, DeviceFault)>,
}

impl<B: Backend> StagedBackend<B> {
    /// Stages for `inner`, which was made on `device`.
    pub fn on(device: &Device, inner: B) -> Self {
        Self::new(inner, device.memories().clone(), Box::new(Pins(device.clone())))
    }

    /// Stages what stands in `memories`.
    pub(crate) fn new(inner: B, memories: Arc<DeviceMemories>, registrar: Box<dyn RegisterPinned>) -> Self {
        let (lines, lifts, ready, faults) = (Vec::new(), Vec::new(), VecDeque::new(), VecDeque::new());
        Self { inner, lines, lifts, memories, registrar, ready, busy: 0, faults }
    }

    /// Whether a request has to go through a line.
    #[inline]
    fn is_for_line(&self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> bool {
        self.busy > 0 && self.line(queue_pair).is_some_and(|line| !line.items.is_empty())
            || self.memories.has_staged() && self.is_staged(local(&request.operation))
    }

    fn is_staged(&self, entries: &[Sge]) -> bool {
        entries.iter().any(|entry| self.memories.staged(entry.key.0).is_some())
    }

    fn line(&self, queue_pair: QueuePairHandle) -> Option<&Line> {
        self.lines.iter().find(|line| line.handle == queue_pair)
    }

    /// Puts a request at the end of its line.
    #[cold]
    fn enqueue(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        let state = self.inner.state(queue_pair);
        let place = self.place(queue_pair)?;
        let line = &self.lines[place];
        if line.failed || state != QueuePairState::ReadyToSend {
            let state = if line.failed { QueuePairState::Error } else { state };
            return Err(PostError::WrongState { state });
        }
        if line.items.len() >= LINE {
            return Err(PostError::QueueFull { needed: 1, free: 0, capacity: LINE as u32 });
        }
        let is_atomic =
            matches!(request.operation, Operation::CompareSwap { .. } | Operation::FetchAdd { .. });
        if is_atomic && self.is_staged(local(&request.operation)) {
            return Err(PostError::NotStaged);
        }
        let item = item(request);
        self.busy += usize::from(line.items.is_empty());
        self.lines[place].items.push_back(item);
        Ok(())
    }

    /// Which line is this queue pair's.
    fn place(&mut self, queue_pair: QueuePairHandle) -> Result<usize, PostError> {
        if let Some(place) = self.lines.iter().position(|line| line.handle == queue_pair) {
            return Ok(place);
        }
        let unknown = PostError::UnknownQueuePair { handle: queue_pair.0 };
        let number = match self.inner.address(queue_pair).map_err(|_| unknown)? {
            QueuePairAddress::Soft(address) => address.queue_pair,
            QueuePairAddress::Fabric(address) => address.queue_pair,
            QueuePairAddress::Tcp(address) => address.queue_pair,
        };
        self.lines.push(Line::new(queue_pair, QueuePairNumber(number)));
        Ok(self.lines.len() - 1)
    }

    /// Takes what the device below has completed: own requests are noted, the others stay.
    fn take_own(&mut self, completions: &mut [Completion]) -> usize {
        let mut kept = 0;
        for index in 0..completions.len() {
            let completion = completions[index];
            if is_own(&completion) {
                self.note(&completion);
            } else {
                completions[kept] = completion;
                kept += 1;
            }
        }
        kept
    }

    /// Makes visible what the NIC has written into device memory before anybody is told of it.
    #[cold]
    fn flush(&self, completions: &mut [Completion]) {
        let written = |completion: &&mut Completion| {
            use CompletionKind::{Read, Receive, ReceiveWriteImmediate};
            matches!(completion.result, Ok(Read | Receive | ReceiveWriteImmediate))
        };
        if completions.iter_mut().all(|completion| !written(&completion)) || self.memories.flush().is_ok() {
            return;
        }
        for completion in completions.iter_mut().filter(written) {
            let is_receive = completion.result != Ok(CompletionKind::Read);
            let syndrome = Syndrome::LocalQueuePairOperation;
            completion.result = Err(CompletionError { syndrome, vendor: 0, is_receive });
        }
    }

    /// Gives out what is ready. Returns how many.
    fn give(&mut self, completions: &mut [Completion]) -> usize {
        let count = self.ready.len().min(completions.len());
        for (place, completion) in completions.iter_mut().zip(self.ready.drain(..count)) {
            *place = completion;
        }
        count
    }

    fn remember(&mut self, id: u64, fault: DeviceFault) {
        if self.faults.len() == FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back((id, fault));
    }

    /// Forgets everything in the line of a queue pair on which the device below does nothing any more.
    fn clear(&mut self, queue_pair: QueuePairHandle) {
        let Some(line) = self.lines.iter_mut().find(|line| line.handle == queue_pair) else { return };
        line.await_copies();
        line.failed = false;
        self.busy -= usize::from(!line.items.is_empty());
        for part in line.items.drain(..).flat_map(|item| item.parts) {
            if let Some((lift, slot)) = part.slot {
                self.lifts[lift].give_back(slot);
            }
        }
    }
}

/// Whether a completion is of a request that this back end made.
fn is_own(completion: &Completion) -> bool {
    let is_receive = match completion.result {
        Ok(kind) => matches!(kind, CompletionKind::Receive | CompletionKind::ReceiveWriteImmediate),
        Err(error) => error.is_receive,
    };
    completion.id & OWN != 0 && !is_receive
}

/// The registered memory of a request.
#[inline]
fn local<'a>(operation: &'a Operation<'_>) -> &'a [Sge] {
    match operation {
        Operation::Write { local: Payload::Gather(entries), .. }
        | Operation::WriteImmediate { local: Payload::Gather(entries), .. }
        | Operation::Send { local: Payload::Gather(entries), .. }
        | Operation::Read { local: entries, .. } => entries,
        Operation::CompareSwap { local, .. } | Operation::FetchAdd { local, .. } => slice::from_ref(local),
        _ => &[],
    }
}

/// A request as it waits.
fn item(request: &SendRequest<'_>) -> Item {
    let (work, local) = match request.operation {
        Operation::Nop => (Work::Nop, Payload::EMPTY),
        Operation::Write { remote, local } => (Work::Write { remote, immediate: None }, local),
        Operation::WriteImmediate { remote, local, immediate } => {
            (Work::Write { remote, immediate: Some(immediate) }, local)
        }
        Operation::Read { remote, local } => (Work::Read { remote }, Payload::Gather(local)),
        Operation::Send { local, immediate } => (Work::Send { immediate }, local),
        Operation::CompareSwap { remote, ref local, compare, swap } => {
            (Work::CompareSwap { remote, compare, swap }, Payload::Gather(slice::from_ref(local)))
        }
        Operation::FetchAdd { remote, ref local, add } => {
            (Work::FetchAdd { remote, add }, Payload::Gather(slice::from_ref(local)))
        }
    };
    let (entries, inline) = match local {
        Payload::Gather(entries) => (entries.to_vec(), None),
        Payload::Inline(bytes) => (Vec::new(), Some(bytes.to_vec())),
    };
    Item {
        id: request.id,
        flags: request.flags,
        work,
        total: local.length(),
        local: entries,
        inline,
        planned: 0,
        complete: false,
        parts: VecDeque::new(),
        error: None,
        fault: None,
    }
}

impl<B: Backend> Provider for StagedBackend<B> {
    #[inline]
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        if self.is_for_line(queue_pair, request) {
            return self.enqueue(queue_pair, request);
        }
        self.inner.post_send(queue_pair, request)
    }

    #[inline]
    fn ring_send(&mut self, queue_pair: QueuePairHandle) {
        self.inner.ring_send(queue_pair);
        if self.busy > 0 {
            self.advance(queue_pair);
        }
    }

    #[inline]
    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        if self.memories.has_staged() && self.is_staged(request.scatter) {
            return Err(PostError::NotStaged);
        }
        self.inner.post_receive(queue_pair, request)
    }

    #[inline]
    fn ring_receive(&mut self, queue_pair: QueuePairHandle) {
        self.inner.ring_receive(queue_pair);
    }

    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        if self.memories.has_staged() && self.is_staged(request.scatter) {
            return Err(PostError::NotStaged);
        }
        self.inner.post_shared_receive(queue, request)
    }

    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle) {
        self.inner.ring_shared_receive(queue);
    }

    #[inline]
    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        let mut found = self.give(completions);
        let polled = self.inner.poll(&mut completions[found..])?;
        let new = &mut completions[found..found + polled];
        if polled > 0 && self.memories.has_direct() {
            self.flush(new);
        }
        // Without lines no request was ever staged here.
        if self.lines.is_empty() {
            return Ok(found + polled);
        }
        found += self.take_own(new);
        self.advance_all();
        found += self.give(&mut completions[found..]);
        Ok(found)
    }

    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState {
        self.inner.state(queue_pair)
    }

    #[inline]
    fn send_room(&self, queue_pair: QueuePairHandle) -> u32 {
        let room = self.inner.send_room(queue_pair);
        let waiting = if self.busy == 0 { None } else { self.line(queue_pair) };
        waiting.map_or(room, |line| room.min((LINE - line.items.len()) as u32))
    }
}

impl<B: Backend> Backend for StagedBackend<B> {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        self.inner.create_queue_pair(config)
    }

    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError> {
        self.inner.create_shared_receive_queue(receives, sges)
    }

    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        self.inner.address(queue_pair)
    }

    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        self.inner.connect(queue_pair, remote, options)
    }

    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.inner.fail(queue_pair)?;
        if let Some(line) = self.lines.iter_mut().find(|line| line.handle == queue_pair) {
            line.failed = true;
        }
        Ok(())
    }

    fn quiesce(&mut self, queue_pair: QueuePairHandle) -> bool {
        self.inner.quiesce(queue_pair)
    }

    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.inner.reset(queue_pair)?;
        self.clear(queue_pair);
        Ok(())
    }

    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.inner.destroy_queue_pair(queue_pair)?;
        self.clear(queue_pair);
        self.lines.retain(|line| line.handle != queue_pair);
        Ok(())
    }

    fn device_fault(&self, completion: &Completion) -> Option<DeviceFault> {
        let of_it = self.faults.iter().rev().find(|(id, _)| *id == completion.id);
        of_it.map(|(_, fault)| *fault).or_else(|| self.inner.device_fault(completion))
    }

    fn is_unfinished(&self) -> bool {
        self.inner.is_unfinished() || !self.ready.is_empty()
    }

    fn settle(&mut self) {
        self.inner.settle();
    }

    fn park(&mut self, timeout: Duration) {
        if !self.ready.is_empty() {
            return;
        }
        let copying = self.busy > 0 && self.lines.iter().any(Line::is_copying);
        self.inner.park(if copying { timeout.min(LOOK) } else { timeout });
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn transport(&self) -> Transport {
        self.inner.transport()
    }
}
