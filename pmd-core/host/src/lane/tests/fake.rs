//! A back end in memory: posted work waits in a queue and is carried out, or fails by script, when it is polled.
//!
//! Devices of one [`Net`] reach each other's receives; one-sided work only leaves a trace.
#![allow(unsafe_code)] // copies messages into the memory that the lane posted

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use pmd_core::{
    memory::Sge,
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, Operation, Payload, PostError,
        Provider, QueuePairHandle, QueuePairNumber, ReceiveRequest, SendFlags, SendRequest,
        SharedReceiveHandle,
    },
    queue::QueuePairState,
    wire::Syndrome,
};

use super::host::{
    backend::{
        Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, SoftAddress, Transport, Waker,
    },
    identity::{DeviceId, HostId},
};

/// What the test sees of one posted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) queue: u32,
    pub(super) kind: CompletionKind,
    /// Remote address; 0 for sends.
    pub(super) remote: u64,
    pub(super) bytes: u64,
    pub(super) signalled: bool,
    pub(super) immediate: Option<u32>,
}

struct Work {
    id: u64,
    post: Post,
    message: Vec<u8>,
}

impl Work {
    /// Whether it takes a receive of the peer's.
    const fn takes_receive(&self) -> bool {
        matches!(self.post.kind, CompletionKind::Send) || self.post.immediate.is_some()
    }
}

struct Receive {
    id: u64,
    scatter: Vec<Sge>,
}

pub(super) struct Queue {
    state: QueuePairState,
    peer: Option<(usize, usize)>,
    posted: VecDeque<Work>,
    /// How many of them the doorbell has been rung for.
    rung: usize,
    receives: VecDeque<Receive>,
    slots: u32,
}

/// What goes wrong, and how fast work is done.
#[derive(Clone, Default)]
pub(super) struct Script {
    /// Requests carried out in one poll; 0 means all.
    pub(super) per_poll: usize,
    /// Nothing is carried out before the queue pair is failed.
    pub(super) frozen: bool,
    /// `fail` gives no flush completions.
    pub(super) mute_failure: bool,
    /// A peer that is stopped moves bytes still.
    pub(super) peer_writes: bool,
    /// `fail`, `reset` and `destroy` are refused: so many of the three, in this order.
    pub(super) refused_stops: u32,
    /// The request to this address fails.
    pub(super) poison: Option<(u64, Syndrome)>,
    /// It has failed already when its queue pair is failed, and nobody has been told.
    pub(super) poisoned_late: bool,
    /// The request to this address is refused.
    pub(super) refuse: Option<(u64, PostError)>,
    pub(super) broken_completion_queue: bool,
    pub(super) panic_in_poll: bool,
}

#[derive(Default)]
pub(super) struct Device {
    pub(super) queues: Vec<Option<Queue>>,
    completions: VecDeque<Completion>,
    pub(super) script: Script,
    pub(super) log: Vec<Post>,
    pub(super) doorbells: u64,
    pub(super) polls: u64,
    /// Nothing was polled since it was told to keep nothing back.
    pub(super) settled: bool,
    /// Sends that found no receive.
    pub(super) not_ready: u64,
    /// Calls that stopped queue pairs: fail, reset, destroy.
    pub(super) stops: [u32; 3],
    /// Calls that asked whether a queue pair is quiet.
    pub(super) quiesced: u32,
    pub(super) dropped: bool,
    waker: Option<Waker>,
}

impl Device {
    /// Takes the first queue pair down.
    pub(super) fn fail_first(&mut self) {
        self.queues.iter_mut().flatten().take(1).for_each(|queue| queue.state = QueuePairState::Error);
    }

    /// Takes every queue pair down, as a device does that found something wrong.
    pub(super) fn fail_all(&mut self) {
        self.queues.iter_mut().flatten().for_each(|queue| queue.state = QueuePairState::Error);
    }
}

/// Devices that reach each other.
#[derive(Clone, Default)]
pub(super) struct Net(Arc<Mutex<Vec<Device>>>);

/// How a back end of the net sleeps.
pub(super) type Sleep = fn(&Waker, Duration);

impl Net {
    pub(super) fn device(&self, sleep: Sleep) -> Fake {
        let waker = Waker::new().unwrap();
        let mut devices = self.lock();
        let device = Device {
            waker: Some(waker.clone()),
            log: Vec::with_capacity(1 << 18),
            completions: VecDeque::with_capacity(1 << 16),
            ..Device::default()
        };
        devices.push(device);
        Fake { net: self.clone(), index: devices.len() - 1, waker, sleep }
    }

    pub(super) fn with<R>(&self, device: usize, look: impl FnOnce(&mut Device) -> R) -> R {
        look(&mut self.lock()[device])
    }

    pub(super) fn script(&self, device: usize, change: impl FnOnce(&mut Script)) {
        let waker = self.with(device, |device| {
            change(&mut device.script);
            device.waker.clone()
        });
        waker.unwrap().wake();
    }

    pub(super) fn posts(&self, device: usize) -> Vec<Post> {
        self.with(device, |device| device.log.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Device>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub(super) struct Fake {
    net: Net,
    index: usize,
    waker: Waker,
    sleep: Sleep,
}

impl Fake {
    fn queue<R>(&self, handle: QueuePairHandle, look: impl FnOnce(&mut Queue) -> R) -> Option<R> {
        let mut devices = self.net.lock();
        devices[self.index].queues.get_mut(handle.0 as usize)?.as_mut().map(look)
    }

    /// Whether a stop of this kind is refused now.
    fn stop(&self, kind: usize) -> Result<(), SetupError> {
        let mut devices = self.net.lock();
        let device = &mut devices[self.index];
        device.stops[kind] += 1;
        if device.script.refused_stops > kind as u32 {
            return Err(SetupError::Limit { what: "stop", wanted: 0, limit: 0 });
        }
        Ok(())
    }
}

fn describe(queue: u32, request: &SendRequest<'_>) -> Work {
    let (kind, remote, bytes) = match request.operation {
        Operation::Write { remote, local } | Operation::WriteImmediate { remote, local, .. } => {
            (CompletionKind::Write, remote.address, local.length())
        }
        Operation::Read { remote, local } => {
            (CompletionKind::Read, remote.address, local.iter().map(|sge| u64::from(sge.length)).sum())
        }
        Operation::Send { local, .. } => (CompletionKind::Send, 0, local.length()),
        _ => (CompletionKind::Nop, 0, 0),
    };
    let (message, immediate) = match request.operation {
        Operation::Send { local: Payload::Inline(bytes), immediate } => (bytes.to_vec(), immediate),
        Operation::Send { local: Payload::Gather(local), immediate } => (gather(local), immediate),
        Operation::WriteImmediate { immediate, .. } => (Vec::new(), Some(immediate)),
        _ => (Vec::new(), None),
    };
    let signalled = request.flags.contains(SendFlags::SIGNALED);
    Work { id: request.id, post: Post { queue, kind, remote, bytes, signalled, immediate }, message }
}

fn gather(local: &[Sge]) -> Vec<u8> {
    let piece = |sge: &Sge| {
        // SAFETY: the lane's staging memory, which it does not touch before the request has completed.
        unsafe { std::slice::from_raw_parts(sge.address as *const u8, sge.length as usize) }.to_vec()
    };
    local.iter().flat_map(piece).collect()
}

fn completion(id: u64, result: Result<CompletionKind, CompletionError>) -> Completion {
    Completion { id, queue_pair: QueuePairNumber(0), byte_length: 0, immediate: None, result }
}

fn failed(id: u64, syndrome: Syndrome, is_receive: bool) -> Completion {
    completion(id, Err(CompletionError { syndrome, vendor: 0x11, is_receive }))
}

/// What one request came to.
enum Step {
    Done,
    Blocked,
    Failed,
}

fn step(devices: &mut [Device], device: usize, queue: usize) -> Step {
    let script = devices[device].script.clone();
    let Some(state) = devices[device].queues[queue].as_mut() else { return Step::Blocked };
    if script.frozen || state.rung == 0 || state.state != QueuePairState::ReadyToSend {
        return Step::Blocked;
    }
    let (Some(work), peer) = (state.posted.pop_front(), state.peer) else { return Step::Blocked };
    if script
        .poison
        .is_some_and(|(address, _)| address == work.post.remote && work.post.kind != CompletionKind::Nop)
    {
        state.state = QueuePairState::Error;
        state.rung -= 1;
        let syndrome = script.poison.map_or(Syndrome::Flushed, |(_, syndrome)| syndrome);
        devices[device].completions.push_back(failed(work.id, syndrome, false));
        return Step::Failed;
    }
    if work.takes_receive() && !deliver(devices, peer, &work) {
        devices[device].not_ready += 1;
        if let Some(state) = devices[device].queues[queue].as_mut() {
            state.posted.push_front(work);
        }
        return Step::Blocked;
    }
    let device = &mut devices[device];
    if let Some(state) = device.queues[queue].as_mut() {
        state.rung -= 1;
    }
    if work.post.signalled {
        device.completions.push_back(completion(work.id, Ok(work.post.kind)));
    }
    Step::Done
}

fn deliver(devices: &mut [Device], peer: Option<(usize, usize)>, work: &Work) -> bool {
    let Some((device, queue)) = peer else { return false };
    let Some(state) = devices[device].queues.get_mut(queue).and_then(Option::as_mut) else { return false };
    let Some(receive) = state.receives.pop_front() else { return false };
    let target = receive.scatter[0];
    assert!(work.message.len() <= target.length as usize);
    // SAFETY: a posted receive: memory of the lane that nobody else touches before it completes.
    unsafe {
        std::ptr::copy_nonoverlapping(work.message.as_ptr(), target.address as *mut u8, work.message.len());
    }
    // Of a WRITE the device tells the length, too, although nothing of it is in the receive.
    let byte_length = work.message.len().max(work.post.bytes as usize) as u32;
    let kind = match work.post.kind {
        CompletionKind::Write => CompletionKind::ReceiveWriteImmediate,
        _ => CompletionKind::Receive,
    };
    let arrived = completion(receive.id, Ok(kind));
    let immediate = work.post.immediate;
    devices[device].completions.push_back(Completion { byte_length, immediate, ..arrived });
    if let Some(waker) = &devices[device].waker {
        waker.wake();
    }
    true
}

/// Gives everything on a failed queue back.
fn flush(device: &mut Device) {
    for queue in device.queues.iter_mut().flatten() {
        if queue.state != QueuePairState::Error || device.script.mute_failure {
            continue;
        }
        queue.rung = 0;
        let late = device.script.poison.filter(|_| device.script.poisoned_late);
        let found =
            late.and_then(|(address, _)| queue.posted.iter().position(|work| work.post.remote == address));
        if let Some(((_, syndrome), found)) = late.zip(found) {
            let before = queue.posted.drain(..found).filter(|work| work.post.signalled);
            device.completions.extend(before.map(|work| completion(work.id, Ok(work.post.kind))));
            let poisoned = queue.posted.pop_front().map(|work| failed(work.id, syndrome, false));
            device.completions.extend(poisoned);
        }
        let sends = queue.posted.drain(..).map(|work| failed(work.id, Syndrome::Flushed, false));
        device.completions.extend(sends);
        let receives = queue.receives.drain(..).map(|receive| failed(receive.id, Syndrome::Flushed, true));
        device.completions.extend(receives);
    }
}

impl Provider for Fake {
    fn post_send(&mut self, handle: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        let mut devices = self.net.lock();
        let device = &mut devices[self.index];
        let work = describe(handle.0, request);
        if let Some((_, error)) = device.script.refuse.filter(|(address, _)| *address == work.post.remote) {
            return Err(error);
        }
        let unknown = PostError::UnknownQueuePair { handle: handle.0 };
        let queue = device.queues.get_mut(handle.0 as usize).and_then(Option::as_mut).ok_or(unknown)?;
        if queue.state != QueuePairState::ReadyToSend {
            return Err(PostError::WrongState { state: queue.state });
        }
        if room(queue) == 0 {
            return Err(PostError::QueueFull { needed: 1, free: 0, capacity: queue.slots });
        }
        device.log.push(work.post);
        queue.posted.push_back(work);
        Ok(())
    }

    fn ring_send(&mut self, handle: QueuePairHandle) {
        self.net.lock()[self.index].doorbells += 1;
        self.queue(handle, |queue| queue.rung = queue.posted.len());
    }

    fn post_receive(
        &mut self,
        handle: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        let receive = Receive { id: request.id, scatter: request.scatter.to_vec() };
        self.queue(handle, |queue| queue.receives.push_back(receive));
        Ok(())
    }

    fn ring_receive(&mut self, _: QueuePairHandle) {}

    fn post_shared_receive(
        &mut self,
        _: SharedReceiveHandle,
        _: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        Err(PostError::Unsupported { operation: "shared receive" })
    }

    fn ring_shared_receive(&mut self, _: SharedReceiveHandle) {}

    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        let mut devices = self.net.lock();
        let script = devices[self.index].script.clone();
        devices[self.index].polls += 1;
        devices[self.index].settled = false;
        assert!(!script.panic_in_poll, "scripted panic");
        if script.broken_completion_queue {
            return Err(CompletionQueueError::Overrun { capacity: 4 });
        }
        let mut budget = if script.per_poll == 0 { usize::MAX } else { script.per_poll };
        for queue in 0..devices[self.index].queues.len() {
            while budget > 0 {
                match step(&mut devices, self.index, queue) {
                    Step::Done => budget -= 1,
                    Step::Blocked | Step::Failed => break,
                }
            }
        }
        let device = &mut devices[self.index];
        flush(device);
        let count = completions.len().min(device.completions.len());
        for (target, completion) in completions.iter_mut().zip(device.completions.drain(..count)) {
            *target = completion;
        }
        Ok(count)
    }

    fn state(&self, handle: QueuePairHandle) -> QueuePairState {
        self.queue(handle, |queue| queue.state).unwrap_or(QueuePairState::Reset)
    }

    fn send_room(&self, handle: QueuePairHandle) -> u32 {
        self.queue(handle, |queue| room(queue)).unwrap_or(0)
    }
}

/// One slot a request, whatever its size; free as soon as the request is done.
fn room(queue: &Queue) -> u32 {
    queue.slots - queue.posted.len() as u32
}

impl Backend for Fake {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        let mut devices = self.net.lock();
        let queues = &mut devices[self.index].queues;
        queues.push(Some(Queue {
            state: QueuePairState::Reset,
            peer: None,
            posted: VecDeque::with_capacity(config.send_slots as usize),
            rung: 0,
            receives: VecDeque::new(),
            slots: config.send_slots,
        }));
        Ok(QueuePairHandle(queues.len() as u32 - 1))
    }

    fn create_shared_receive_queue(&mut self, _: u32, _: u32) -> Result<SharedReceiveHandle, SetupError> {
        Err(SetupError::Limit { what: "shared receive queues", wanted: 1, limit: 0 })
    }

    fn address(&self, handle: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        let host = HostId { boot: [0; 16], network_namespace: 0, user: 0 };
        let mut device = DeviceId([0; 16]);
        device.0[0] = self.index as u8;
        Ok(QueuePairAddress::Soft(SoftAddress { host, device, queue_pair: handle.0 }))
    }

    fn connect(
        &mut self,
        handle: QueuePairHandle,
        remote: &QueuePairAddress,
        _: &ConnectOptions,
    ) -> Result<(), SetupError> {
        let QueuePairAddress::Soft(remote) = remote else {
            return Err(SetupError::OtherTransport { mine: Transport::SharedMemory });
        };
        let peer = (usize::from(remote.device.0[0]), remote.queue_pair as usize);
        self.queue(handle, |queue| {
            queue.state = QueuePairState::ReadyToSend;
            queue.peer = Some(peer);
        });
        Ok(())
    }

    fn fail(&mut self, handle: QueuePairHandle) -> Result<(), SetupError> {
        self.stop(0)?;
        self.queue(handle, |queue| queue.state = QueuePairState::Error);
        Ok(())
    }

    fn quiesce(&mut self, _: QueuePairHandle) -> bool {
        self.net.with(self.index, |device| {
            device.quiesced += 1;
            !device.script.peer_writes
        })
    }

    fn reset(&mut self, handle: QueuePairHandle) -> Result<(), SetupError> {
        self.stop(1)?;
        self.queue(handle, |queue| {
            queue.state = QueuePairState::Reset;
            queue.posted.clear();
            queue.receives.clear();
            queue.rung = 0;
        });
        Ok(())
    }

    fn destroy_queue_pair(&mut self, handle: QueuePairHandle) -> Result<(), SetupError> {
        self.stop(2)?;
        self.net.lock()[self.index].queues[handle.0 as usize] = None;
        Ok(())
    }

    fn settle(&mut self) {
        self.net.with(self.index, |device| device.settled = true);
    }

    fn park(&mut self, timeout: Duration) {
        (self.sleep)(&self.waker, timeout);
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn transport(&self) -> Transport {
        Transport::SharedMemory
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.net.with(self.index, |device| {
            device.dropped = true;
            device.queues.clear();
        });
    }
}
