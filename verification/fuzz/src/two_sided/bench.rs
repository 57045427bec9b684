//! Two connected queue pairs, the model of what they owe, and the actions on both.

use std::{collections::VecDeque, fmt, sync::OnceLock, time::Duration};

use pmd_core::{
    memory::LocalKey,
    provider::{Payload, PostError, Provider, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest},
    queue::QueuePairState,
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairConfig},
    soft::{Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
};

use super::{
    ARENA, Action, Kind, PACKETS, PROCESS_MEMORY, SAME_PROCESS, SMALL_BUDGETS, SMALL_QUEUES,
    expect::{Effect, Message, Pending, Receive},
    memory::{COUNTERS, Memory, Use},
};

/// With this in the environment every action is printed.
const TRACE: &str = "PMD_FUZZ_TRACE";

/// Inline bytes of a request.
const INLINE: usize = 128;

/// Receives' ids have this bit.
const RECEIVE: u64 = 1 << 63;

/// One end: the product's half, and what the model knows of it.
pub(super) struct Side {
    pub(super) backend: SoftBackend,
    pub(super) handle: QueuePairHandle,
    config: QueuePairConfig,
    pub(super) memory: Memory,
    /// Requests in the order in which they were posted.
    pub(super) pending: VecDeque<Pending>,
    /// Receives in the order in which they were posted.
    pub(super) receives: VecDeque<Receive>,
    /// Messages on their way to the other side, in order.
    pub(super) messages: VecDeque<Message>,
    /// A send completion told of an error.
    pub(super) failed: bool,
    /// A receive completion told of an error.
    pub(super) receives_failed: bool,
    /// What the peer's counters will be once all requests so far are done; only this side changes them.
    pub(super) counters: [u64; COUNTERS],
}

/// The model's half: the product's would fill pages.
impl fmt::Debug for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Side")
            .field("state", &self.backend.state(self.handle))
            .field("pending", &self.pending)
            .field("receives", &self.receives)
            .field("messages", &self.messages)
            .field("failed", &(self.failed, self.receives_failed))
            .finish_non_exhaustive()
    }
}

/// Both ends.
#[derive(Debug)]
pub(super) struct World {
    pub(super) sides: [Side; 2],
    /// Why errors may appear: requests that must fail, by id; or something else, by none.
    pub(super) causes: Vec<Option<u64>>,
    /// Requests that use each side's window under the key that it has now.
    pub(super) window_users: [u32; 2],
    next_id: u64,
    /// Actions are printed: for a look at what was found.
    traces: bool,
}

impl World {
    pub(super) fn new(shape: u8) -> Self {
        let devices = devices(shape & 3);
        let side = |number: usize| Side::new(&devices[number], shape, number);
        let mut world = Self {
            sides: [side(0), side(1)],
            causes: Vec::new(),
            window_users: [0; 2],
            next_id: 0,
            traces: std::env::var_os(TRACE).is_some(),
        };
        world.connect();
        world
    }

    pub(super) fn connect(&mut self) {
        let options = ConnectOptions { minimum_rnr_timer: 1, ..ConnectOptions::default() };
        for (from, to) in [(0, 1), (1, 0)] {
            let remote = self.sides[to].backend.address(self.sides[to].handle).expect("a queue pair");
            let side = &mut self.sides[from];
            side.backend.connect(side.handle, &remote, &options).expect("in RESET");
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        if self.traces {
            eprintln!("{action:?}");
        }
        match action {
            Action::Post { side, kind, size, pieces, signalled, fence } => {
                let mut flags = if signalled { SendFlags::SIGNALED } else { SendFlags::empty() };
                flags.set(SendFlags::FENCE, fence);
                self.post(side, kind, size, pieces, flags);
            }
            Action::Ring { side } => self.sides[side].ring(),
            Action::Poll { side, limit } => {
                self.poll(side, limit);
            }
            Action::Receive { side, size, pieces } => {
                self.receive(side, size, pieces);
            }
            Action::RingReceive { side } => self.sides[side].ring_receive(),
            Action::Fail { side } => {
                self.causes.push(None);
                self.sides[side].fail();
            }
            Action::Restart => self.restart(),
            Action::Replace => self.replace(),
            Action::Park { side } => self.sides[side].backend.park(Duration::from_micros(1)),
            Action::Revoke { side } => self.revoke(side),
            Action::Settle => self.settle(),
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Posts a receive; whether there was room for it.
    pub(super) fn receive(&mut self, side: usize, size: usize, pieces: usize) -> bool {
        let id = self.id() | RECEIVE;
        let receiver = &mut self.sides[side];
        let Some(slot) = receiver.memory.take(Use::Buffer) else { return false };
        let scatter = receiver.memory.slot_list(slot, size, pieces);
        let request = ReceiveRequest { id, scatter: &scatter };
        match receiver.backend.post_receive(receiver.handle, &request) {
            Ok(()) => receiver.receives.push_back(Receive { id, slot, capacity: size }),
            Err(error) => {
                receiver.memory.give_back(slot);
                receiver.assert_refusal(error);
                return false;
            }
        }
        self.look_for_misfits(side);
        true
    }

    /// Notes a message that the receive that it will meet does not take.
    fn look_for_misfits(&mut self, receiver: usize) {
        let messages = &self.sides[1 - receiver].messages;
        let mut pairs = messages.iter().zip(&self.sides[receiver].receives);
        if pairs.any(|(message, receive)| !message.fits(receive.capacity)) {
            self.causes.push(None);
        }
    }

    fn revoke(&mut self, side: usize) {
        if self.window_users[side] > 0 {
            // Those that are still on their way fail.
            self.causes.push(None);
        }
        self.window_users[side] = 0;
        self.sides[side].memory.revoke_window();
    }

    /// Posts a request, if the model has room for what it leaves behind.
    pub(super) fn post(&mut self, side: usize, kind: Kind, size: usize, pieces: usize, flags: SendFlags) {
        let id = self.id();
        let Some(mut draft) = self.draft(side, kind, size, id) else { return };
        let [first, second] = &mut self.sides;
        let (own, peer) = if side == 0 { (first, second) } else { (second, first) };
        let offset = id as usize * 41 % 4096;
        let bytes = own.memory.source(offset, draft.length);
        let pieces = if draft.is_atomic() { 1 } else { pieces };
        let mut list = match draft.effect.own_slot() {
            Some(slot) => own.memory.slot_list(slot, draft.length, pieces),
            None => own.memory.source_list(offset, draft.length, pieces),
        };
        if kind == Kind::WrongLocalKey {
            list[0].key = LocalKey(list[0].key.0 ^ 1 << 20);
        }
        if let Effect::Landed(_, expected) = &mut draft.effect {
            expected.clone_from(&bytes);
        }
        let inline = pieces == 1 && draft.length <= INLINE && kind != Kind::WrongLocalKey;
        let local = if inline { Payload::Inline(&bytes) } else { Payload::Gather(&list) };
        let operation = draft.operation(local, &list);
        match own.backend.post_send(own.handle, &SendRequest { id, operation, flags }) {
            Ok(()) => {}
            Err(error) => {
                if let Some(slot) = draft.effect.own_slot() {
                    own.memory.give_back(slot);
                }
                if let Effect::Landed(slot, _) = draft.effect {
                    peer.memory.give_back(slot);
                }
                own.assert_refusal(error);
                return;
            }
        }
        let message = draft.message(id, bytes);
        let signalled = flags.contains(SendFlags::SIGNALED);
        let (kind, returned) = (draft.completion(), draft.returned());
        own.counters = draft.counters;
        if draft.uses_window {
            self.window_users[1 - side] += 1;
        }
        if matches!(draft.effect, Effect::Refused(_)) {
            self.causes.push(Some(id));
        }
        own.pending.push_back(Pending { id, signalled, kind, returned, effect: draft.effect });
        own.messages.extend(message);
        self.look_for_misfits(1 - side);
    }
}

impl Side {
    fn new(device: &Device, shape: u8, number: usize) -> Self {
        let mut tuning = Tuning::default();
        tuning.completions = 128;
        if shape & SMALL_BUDGETS != 0 {
            (tuning.doorbell_budget, tuning.poll_budget, tuning.fragment) = (256, 700, 100);
        }
        let mut backend = SoftBackend::new(device, ProtectionDomain::default(), tuning).expect("a back end");
        let (send_slots, receives) = if shape & SMALL_QUEUES == 0 { (64, 16) } else { (8, 2) };
        let config = QueuePairConfig {
            send_slots,
            receives,
            sges: 4,
            inline_bytes: INLINE as u32,
            shared_receive: None,
        };
        let handle = backend.create_queue_pair(&config).expect("a queue pair");
        Self {
            backend,
            handle,
            config,
            memory: Memory::new(device, shape & 3 == ARENA, number),
            pending: VecDeque::new(),
            receives: VecDeque::new(),
            messages: VecDeque::new(),
            failed: false,
            receives_failed: false,
            counters: [0; COUNTERS],
        }
    }

    pub(super) fn ring(&mut self) {
        self.backend.ring_send(self.handle);
    }

    pub(super) fn ring_receive(&mut self) {
        self.backend.ring_receive(self.handle);
    }

    /// Destroys the queue pair and makes another one.
    pub(super) fn replace(&mut self) {
        self.backend.destroy_queue_pair(self.handle).expect("a queue pair");
        self.handle = self.backend.create_queue_pair(&self.config).expect("a queue pair");
    }

    pub(super) fn fail(&mut self) {
        self.backend.fail(self.handle).expect("a queue pair");
    }

    /// A request is refused for two reasons only, and each must be true.
    fn assert_refusal(&self, error: PostError) {
        let state = self.backend.state(self.handle);
        match error {
            PostError::QueueFull { needed, free, capacity } => {
                assert!(needed > free && free <= capacity, "{error}");
                assert!(self.pending.len() + self.receives.len() > 0, "an empty queue is full: {error}");
            }
            PostError::WrongState { state: told } => {
                assert_eq!((told, state), (QueuePairState::Error, QueuePairState::Error));
            }
            other => panic!("refused for no reason: {other}"),
        }
    }
}

/// The devices of a path; opened once, since every input uses queue pairs of its own.
fn devices(path: u8) -> &'static [Device; 2] {
    static DEVICES: [OnceLock<[Device; 2]>; 4] = [const { OnceLock::new() }; 4];
    DEVICES[usize::from(path)].get_or_init(|| {
        let config = DeviceConfig {
            same_process: path == SAME_PROCESS,
            mapping: path == ARENA,
            process_memory: path == PROCESS_MEMORY,
            ring_bytes: if path == PACKETS { 4 << 10 } else { 8 << 10 },
            ..DeviceConfig::default()
        };
        [(); 2].map(|()| Device::open(config.clone()).expect("a soft HCA"))
    })
}
