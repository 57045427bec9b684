//! A stage: a back end and memory at each of two places, queue pairs between them, and one thread that drives both.
//!
//! Every case sets one up. Both places are polled whatever is waited for, because the soft back ends work when they
//! are polled.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use pmd_core::{
    memory::{Access, Sge},
    provider::{
        Completion, CompletionKind, Operation, Payload, PostError, Provider, QueuePairHandle, ReceiveRequest,
        SendFlags, SendRequest,
    },
    queue::QueuePairState,
};
use pmd_host::backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig};

use crate::{
    any::AnyBackend,
    bed::{Device, Place},
    context::Context,
    memory::Memory,
};

/// Entries of each completion queue.
const COMPLETIONS: u32 = 8192;
/// Polls after which what has not come is taken not to come.
const QUIET_POLLS: u32 = 200;
/// A thread that can run has run by then; a fault that was switched on would be seen.
const LINGER: std::time::Duration = std::time::Duration::from_millis(200);

/// Two places and who is between them.
pub struct Stage {
    /// What the case was given.
    pub context: Context,
    sides: [Side; 2],
}

/// One place.
struct Side {
    backend: AnyBackend,
    device: Arc<dyn Device>,
    /// Completions that were polled and not asked for yet, by queue pair number.
    arrived: HashMap<u32, VecDeque<Completion>>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Where it is.
    pub place: Place,
    /// Its queue pair there.
    pub handle: QueuePairHandle,
    number: u32,
}

/// Two connected queue pairs.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// The end that starts most operations.
    pub left: End,
    /// The other one.
    pub right: End,
}

/// Sizes of queue pairs in most cases.
#[must_use]
pub fn config() -> QueuePairConfig {
    QueuePairConfig { send_slots: 64, receives: 16, sges: 4, inline_bytes: 64, shared_receive: None }
}

/// Every right.
#[must_use]
pub fn all() -> Access {
    Access::all()
}

impl Stage {
    /// Opens both devices, with a back end each.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        let side = |place| {
            let device = context.bed.device(place);
            Side { backend: device.backend(COMPLETIONS), device, arrived: HashMap::new() }
        };
        Self { context: context.clone(), sides: Place::BOTH.map(side) }
    }

    /// A stage with one pair of connected queue pairs of the usual sizes.
    #[must_use]
    pub fn connected(context: &Context) -> (Self, Link) {
        let mut stage = Self::new(context);
        let link = stage.link(&config());
        (stage, link)
    }

    /// Connects a new pair of queue pairs of these sizes.
    pub fn link(&mut self, config: &QueuePairConfig) -> Link {
        let options = self.context.bed.options();
        self.link_with([config, config], &options)
    }

    /// As [`Stage::link`], with sizes for each side.
    pub fn link_with(&mut self, configs: [&QueuePairConfig; 2], options: &ConnectOptions) -> Link {
        let link =
            Link { left: self.create(Place::Left, configs[0]), right: self.create(Place::Right, configs[1]) };
        self.connect(link, options)
    }

    /// Creates a queue pair, in state RESET.
    pub fn create(&mut self, place: Place, config: &QueuePairConfig) -> End {
        let backend = self.backend(place);
        let created = backend.create_queue_pair(config);
        let handle = created.unwrap_or_else(|error| panic!("creating a queue pair: {error}"));
        let number = number(&backend.address(handle).expect("an address"));
        End { place, handle, number }
    }

    /// Connects two queue pairs that are in state RESET. Their numbers may have changed in a reset, so the link comes
    /// back.
    pub fn connect(&mut self, link: Link, options: &ConnectOptions) -> Link {
        let address = |stage: &Self, end: End| {
            stage.sides[end.place as usize].backend.address(end.handle).expect("an address")
        };
        let (left, right) = (address(self, link.left), address(self, link.right));
        for (end, peer) in [(link.left, &right), (link.right, &left)] {
            let connected = self.backend(end.place).connect(end.handle, peer, options);
            connected.unwrap_or_else(|error| panic!("connecting: {error}"));
            assert_eq!(self.state(end), QueuePairState::ReadyToSend);
        }
        let end = |end: End, address| End { number: number(address), ..end };
        Link { left: end(link.left, &left), right: end(link.right, &right) }
    }

    /// Resets both ends and connects them again.
    pub fn renew(&mut self, link: Link) -> Link {
        let options = self.context.bed.options();
        self.renew_with(link, &options)
    }

    /// As [`Stage::renew`], with these options.
    pub fn renew_with(&mut self, link: Link, options: &ConnectOptions) -> Link {
        for end in [link.left, link.right] {
            self.backend(end.place).reset(end.handle).expect("resetting");
            assert_eq!(self.state(end), QueuePairState::Reset);
        }
        // What was polled before belongs to the past.
        self.take(link.left);
        self.take(link.right);
        self.connect(link, options)
    }

    /// The back end of a place.
    pub fn backend(&mut self, place: Place) -> &mut AnyBackend {
        &mut self.sides[place as usize].backend
    }

    /// The device of a place.
    #[must_use]
    pub fn device(&self, place: Place) -> &Arc<dyn Device> {
        &self.sides[place as usize].device
    }

    /// Memory at a place, with every right.
    #[must_use]
    pub fn memory(&self, place: Place, length: usize) -> Memory {
        self.device(place).memory(length, all())
    }

    /// Memory of the same length at both places.
    #[must_use]
    pub fn memories(&self, length: usize) -> (Memory, Memory) {
        (self.memory(Place::Left, length), self.memory(Place::Right, length))
    }

    /// State of an end.
    #[must_use]
    pub fn state(&self, end: End) -> QueuePairState {
        self.sides[end.place as usize].backend.state(end.handle)
    }

    /// Free slots of an end's send queue.
    #[must_use]
    pub fn room(&self, end: End) -> u32 {
        self.sides[end.place as usize].backend.send_room(end.handle)
    }

    /// Posts without ringing.
    ///
    /// # Errors
    /// What the back end says.
    pub fn try_post(
        &mut self,
        end: End,
        id: u64,
        operation: Operation<'_>,
        flags: SendFlags,
    ) -> Result<(), PostError> {
        self.backend(end.place).post_send(end.handle, &SendRequest { id, operation, flags })
    }

    /// Posts without ringing; there must be room.
    pub fn post_flagged(&mut self, end: End, id: u64, operation: Operation<'_>, flags: SendFlags) {
        let posted = self.try_post(end, id, operation, flags);
        posted.unwrap_or_else(|error| panic!("posting request {id}: {error}"));
    }

    /// Posts a signalled request without ringing; there must be room.
    pub fn post(&mut self, end: End, id: u64, operation: Operation<'_>) {
        self.post_flagged(end, id, operation, SendFlags::SIGNALED);
    }

    /// Rings the doorbell of an end's send queue.
    pub fn ring(&mut self, end: End) {
        self.backend(end.place).ring_send(end.handle);
    }

    /// Posts a signalled request and rings.
    pub fn start(&mut self, end: End, id: u64, operation: Operation<'_>) {
        self.post(end, id, operation);
        self.ring(end);
    }

    /// Carries a request out, which must succeed as `kind`; nothing else may complete at its end.
    pub fn done(&mut self, end: End, id: u64, operation: Operation<'_>, kind: CompletionKind) -> Completion {
        self.start(end, id, operation);
        let completion = self.wait(end, 1)[0];
        assert_eq!((completion.id, completion.result), (id, Ok(kind)));
        completion
    }

    /// Posts a receive and rings.
    pub fn receive(&mut self, end: End, id: u64, scatter: &[Sge]) {
        let backend = self.backend(end.place);
        let posted = backend.post_receive(end.handle, &ReceiveRequest { id, scatter });
        posted.unwrap_or_else(|error| panic!("posting receive {id}: {error}"));
        backend.ring_receive(end.handle);
    }

    /// Polls both places once. Returns whether anything came.
    pub fn poll(&mut self) -> bool {
        let mut news = false;
        for side in &mut self.sides {
            let mut completions = [Completion::EMPTY; 32];
            let count =
                side.backend.poll(&mut completions).unwrap_or_else(|error| panic!("polling: {error}"));
            for completion in &completions[..count] {
                side.arrived.entry(completion.queue_pair.0).or_default().push_back(*completion);
            }
            news |= count > 0;
        }
        news
    }

    /// Polls both places so many times.
    pub fn poll_times(&mut self, times: u64) {
        for _ in 0..times {
            self.poll();
        }
    }

    /// Waits until `ready` says so, polling both places.
    pub fn until<T>(&mut self, what: &str, mut ready: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + self.context.patience;
        loop {
            if let Some(value) = ready(self) {
                return value;
            }
            if !self.poll() {
                assert!(Instant::now() < deadline, "hanging: {what}; arrived: {}", self.describe());
                std::thread::yield_now();
            }
        }
    }

    /// Waits for so many completions of an end, and takes them.
    pub fn wait(&mut self, end: End, count: usize) -> Vec<Completion> {
        let enough = |stage: &mut Self| {
            let arrived = stage.arrived(end);
            (arrived.len() >= count).then(|| arrived.drain(..count).collect())
        };
        self.until(&format!("{count} completions of {end:?}"), enough)
    }

    /// Takes what has arrived for an end.
    pub fn take(&mut self, end: End) -> Vec<Completion> {
        self.arrived(end).drain(..).collect()
    }

    /// Polls for a while: nothing may come, and nothing may be there.
    pub fn nothing_more(&mut self) {
        for _ in 0..QUIET_POLLS {
            self.poll();
        }
        let left = self.sides.iter().flat_map(|side| side.arrived.values()).flatten().count();
        assert_eq!(left, 0, "more completed than should: {}", self.describe());
    }

    /// Polls for as long as a busy machine may take to do what must not be done: nothing may come meanwhile.
    pub fn silent(&mut self) {
        let end = Instant::now() + LINGER;
        while Instant::now() < end {
            self.nothing_more();
            std::thread::yield_now();
        }
    }

    fn arrived(&mut self, end: End) -> &mut VecDeque<Completion> {
        self.sides[end.place as usize].arrived.entry(end.number).or_default()
    }

    fn describe(&self) -> String {
        let of = |side: &Side| format!("{:?}", side.arrived.values().flatten().take(8).collect::<Vec<_>>());
        self.sides.iter().map(of).collect::<Vec<_>>().join(" | ")
    }
}

/// A write gathered from `local`.
#[must_use]
pub fn write<'a>(remote: pmd_core::memory::RemoteAddress, local: &'a [Sge]) -> Operation<'a> {
    Operation::Write { remote, local: Payload::Gather(local) }
}

/// A message gathered from `local`.
#[must_use]
pub fn send(local: &[Sge]) -> Operation<'_> {
    Operation::Send { local: Payload::Gather(local), immediate: None }
}

/// Queue pair number in an address.
fn number(address: &QueuePairAddress) -> u32 {
    match address {
        QueuePairAddress::Soft(address) => address.queue_pair,
        QueuePairAddress::Fabric(address) => address.queue_pair,
        QueuePairAddress::Tcp(address) => address.queue_pair,
        other => panic!("an address of a kind that the suite does not know: {other:?}"),
    }
}
