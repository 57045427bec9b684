//! Two processes' views of one device, in one process: memory, objects in the tables, and queue pairs that are
//! driven by the driver's own queues ([`Node`]) or by hand ([`super::raw`]).
#![allow(unsafe_code)] // queues are made over raw memory

use std::{path::PathBuf, ptr::NonNull, sync::Arc};

use pmd_core::{
    memory::{Access, LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        Completion, CompletionQueueError, CompletionQueueMemory, Hardware, Provider, QueuePairHandle,
        QueuePairNumber, ReceiveQueueMemory, SendDoorbell, SendQueueMemory, WqeRing,
    },
    queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
};
use tempfile::TempDir;

use crate::{
    config::{Config, DeviceMemory, Link, Mode, OnViolation},
    device::{Attributes, Device, ModifyQueuePair},
    state::{
        CompletionQueue, ConnectedPath, MemoryRegion, QueuePair, QueuePairKind, SharedReceiveQueue, state,
    },
};

/// What both ends of a test connection may do.
pub(super) const ALL: Access = Access::all();

/// A state file in a folder that is removed at the end.
pub(super) struct Fabric {
    folder: TempDir,
    /// How devices that are opened next behave.
    pub(super) config: Config,
}

impl Fabric {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = Config {
            state: PathBuf::new(),
            mode: Mode::Trap,
            link: Link::InfiniBand,
            dynamic_uars: true,
            ioctl: true,
            on_violation: OnViolation::Report,
            scatter_to_cqe: false,
            device_memory: DeviceMemory::None,
            faults: String::new(),
        };
        Self { folder, config }
    }

    /// One more process that has the device open.
    pub(super) fn open(&self) -> Arc<Device> {
        let state = self.folder.path().join("state");
        let config = Config { state, ..self.config.clone() };
        Arc::new(Device::open(config).expect("the device opens"))
    }
}

#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Line([u8; 128]);

/// Zeroed memory that a device reads and writes; never freed, so that no test has to order its end.
pub(super) fn memory(bytes: usize) -> NonNull<u8> {
    NonNull::from(Vec::leak(vec![Line([0; 128]); bytes.div_ceil(128)])).cast()
}

/// Registered memory.
#[derive(Clone, Copy)]
pub(super) struct Region {
    start: NonNull<u8>,
    length: usize,
    pub(super) key: u32,
}

impl Region {
    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// A copy of the content.
    pub(super) fn bytes(&self) -> Vec<u8> {
        // SAFETY: leaked memory of this length, which nobody writes meanwhile: tests have one thread.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }.to_vec()
    }

    /// Sets the content from `start` on.
    pub(super) fn fill(&self, start: usize, bytes: &[u8]) {
        assert!(start + bytes.len() <= self.length);
        // SAFETY: checked to lie in leaked memory, which nobody else touches meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(start), bytes.len()) };
    }

    pub(super) fn sge(&self, offset: u64, length: u32) -> Sge {
        Sge { address: self.address() + offset, length, key: LocalKey(self.key) }
    }

    pub(super) fn remote(&self, offset: u64) -> RemoteAddress {
        RemoteAddress { address: self.address() + offset, key: RemoteKey(self.key) }
    }
}

/// Registers fresh memory of `length` bytes in protection domain 1.
pub(super) fn register(device: &Device, length: usize, access: Access) -> Region {
    let start = memory(length);
    let address = start.as_ptr() as u64;
    let region = device.lock().regions.add(|index, tag| MemoryRegion {
        key: index << 8 | tag & 0xff,
        owner: device.process,
        domain: 1,
        access: access.bits(),
        start: address,
        length: length as u64,
        virtual_start: address,
        invalidated: false,
        ..MemoryRegion::default()
    });
    Region { start, length, key: region.expect("room").key }
}

/// Makes a completion queue.
pub(super) fn completion_queue(device: &Device, entries: u32, entry_bytes: u32) -> CompletionQueueMemory {
    let buffer = memory((entries * entry_bytes) as usize);
    let doorbell_record = memory(8).cast();
    for place in 1..=entries {
        // SAFETY: the last byte of each entry, within the memory.
        unsafe { buffer.add((place * entry_bytes - 1) as usize).write(pmd_core::wire::cqe::OP_OWN_INITIAL) };
    }
    let queue = device.lock().completion_queues.add(|number, _| CompletionQueue {
        number,
        owner: device.process,
        entry_bytes,
        entries,
        buffer: buffer.as_ptr() as u64,
        record: doorbell_record.as_ptr() as u64,
        channel: 77,
        user_handle: 0xc0 + u64::from(number),
        ..CompletionQueue::default()
    });
    let number = queue.expect("room").number;
    CompletionQueueMemory { buffer, cqe_count: entries, cqe_size: entry_bytes, doorbell_record, number }
}

/// A queue pair's memory, and its number.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub(super) number: u32,
    pub(super) send: SendQueueMemory,
    pub(super) receive: ReceiveQueueMemory,
}

/// What [`queue_pair`] makes.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) kind: QueuePairKind,
    pub(super) slots: u32,
    pub(super) scatter_to_cqe: bool,
    pub(super) signal_all: bool,
    pub(super) shared: u32,
}

impl Default for Plan {
    fn default() -> Self {
        let kind = QueuePairKind::Reliable;
        Self { kind, slots: 16, scatter_to_cqe: false, signal_all: false, shared: 0 }
    }
}

/// Makes a queue pair in RESET that completes into queue `completions`.
pub(super) fn queue_pair(device: &Device, completions: u32, plan: Plan) -> Made {
    let Plan { kind, slots, scatter_to_cqe, signal_all, shared } = plan;
    let record = memory(8).cast::<u32>();
    let (send_buffer, receive_buffer) = (memory(slots as usize * 64), memory(slots as usize * 64));
    let queue_pair = device.lock().queue_pairs.add(|index, tag| QueuePair {
        number: (tag << 12 | index) & 0x00ff_ffff,
        owner: device.process,
        kind,
        signal_all,
        scatter_to_cqe,
        domain: 1,
        user_handle: 0x9_0000 + u64::from(index),
        send_completions: completions,
        receive_completions: completions,
        shared_receives: shared,
        receive_buffer: receive_buffer.as_ptr() as u64,
        receive_slots: if shared == 0 { slots } else { 0 },
        receive_shift: 6,
        send_buffer: send_buffer.as_ptr() as u64,
        send_slots: slots,
        record: record.as_ptr() as u64,
        ..QueuePair::default()
    });
    let number = queue_pair.expect("room").number;
    // SAFETY: the second word of the record.
    let send_record = unsafe { record.add(1) };
    let send = SendQueueMemory { buffer: send_buffer, wqe_count: slots, doorbell_record: send_record };
    let receive = ReceiveQueueMemory {
        buffer: receive_buffer,
        wqe_count: slots,
        stride_shift: 6,
        doorbell_record: record,
    };
    Made { number, send, receive }
}

/// Makes a shared receive queue of 16 slots, linked in order. Gives its number, its buffer and its record.
pub(super) fn shared_receives(device: &Device) -> (u32, NonNull<u8>, NonNull<u32>) {
    let (buffer, record) = (memory(16 * 64), memory(8).cast::<u32>());
    for slot in 0..16u16 {
        let link = pmd_core::wire::NextSegment { next_index: (slot + 1) % 16 };
        // SAFETY: the first unit of a slot.
        link.emit(unsafe { buffer.add(usize::from(slot) * 64).cast().as_mut() });
    }
    let queue = device.lock().shared_receives.add(|number, _| SharedReceiveQueue {
        number,
        owner: device.process,
        domain: 1,
        buffer: buffer.as_ptr() as u64,
        record: record.as_ptr() as u64,
        shift: 6,
        slots: 16,
        user_handle: 0x5_0000,
        ..SharedReceiveQueue::default()
    });
    (queue.expect("room").number, buffer, record)
}

/// The path of test connections: one retry of four microseconds, no RNR retry.
pub(super) fn path(remote: u32) -> ConnectedPath {
    ConnectedPath {
        remote,
        mtu: 5,
        timeout: 1,
        retry_count: 1,
        rnr_retry: 0,
        minimum_rnr_timer: 1,
        port: 1,
        lid: 1,
        q_key: 0x1111_1111,
        ..ConnectedPath::default()
    }
}

/// Everything but the state.
fn attributes(kind: QueuePairKind, to: u8) -> Attributes {
    let connection =
        Attributes::ADDRESS | Attributes::MTU | Attributes::REMOTE | Attributes::RECEIVE_SEQUENCE;
    let acknowledged = Attributes::MAXIMUM_SERVED_READS | Attributes::MINIMUM_RNR_TIMER;
    let retries =
        Attributes::TIMEOUT | Attributes::RETRY_COUNT | Attributes::RNR_RETRY | Attributes::MAXIMUM_READS;
    let own = if kind == QueuePairKind::Datagram { Attributes::Q_KEY } else { Attributes::ACCESS };
    match (to, kind) {
        (state::INIT, _) => Attributes::PARTITION | Attributes::PORT | own,
        (state::RTR, QueuePairKind::Reliable) => connection | acknowledged,
        (state::RTR, QueuePairKind::Unreliable) => connection,
        (state::RTS, QueuePairKind::Reliable) => Attributes::SEND_SEQUENCE | retries,
        (state::RTS, _) => Attributes::SEND_SEQUENCE,
        _ => Attributes::empty(),
    }
}

/// One transition, with the attributes that it needs.
pub(super) fn step(kind: QueuePairKind, to: u8, path: ConnectedPath) -> ModifyQueuePair {
    let mask = attributes(kind, to) | Attributes::STATE;
    ModifyQueuePair { mask, state: to, access: ALL.bits(), path, ..ModifyQueuePair::default() }
}

/// Takes a queue pair from RESET to RTS.
pub(super) fn connect(device: &Device, number: u32, path: ConnectedPath) {
    let kind = device.lock().queue_pairs.find(number).expect("it is there").kind;
    for to in [state::INIT, state::RTR, state::RTS] {
        device.modify_queue_pair(number, &step(kind, to, path)).expect("an allowed transition");
    }
}

/// The driver's doorbells, rung at the device.
#[derive(Debug)]
pub(super) struct Registers(pub(super) Arc<Device>);

pub(super) struct Register<'a>(&'a Device);

impl Hardware for Registers {
    type Doorbell<'a> = Register<'a>;

    fn doorbell(&mut self, _: QueuePairHandle) -> Register<'_> {
        Register(&self.0)
    }

    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, value: [u8; 8]) {
        self.0.arm(u64::from_be_bytes(value));
    }
}

impl SendDoorbell for Register<'_> {
    fn blue_flame_limit(&self) -> u32 {
        256
    }

    fn ring(&mut self, control: [u8; 8]) {
        self.0.ring(u64::from_be_bytes(control));
    }

    /// As the stores of a BlueFlame copy are seen: the first rings.
    fn blue_flame(&mut self, wqe: WqeRing) {
        let word = |number: u32| {
            let place = (wqe.first * 8 + number) % (wqe.wqe_count * 8);
            // SAFETY: a word of the send queue.
            u64::from_be(unsafe { wqe.buffer.cast::<u64>().add(place as usize).read() })
        };
        self.0.ring(word(0));
        for number in 1..wqe.slots * 8 {
            self.0.blue_flame(word(0), number as usize, word(number));
        }
    }
}

/// A process with the driver's own queues on the device.
pub(super) struct Node {
    pub(super) device: Arc<Device>,
    pub(super) provider: QueueProvider<Registers>,
    completions: u32,
}

impl Node {
    pub(super) fn new(fabric: &Fabric, entries: u32, entry_bytes: u32) -> Self {
        let device = fabric.open();
        let memory = completion_queue(&device, entries, entry_bytes);
        // SAFETY: fresh leaked memory.
        let provider = unsafe { QueueProvider::new(Registers(device.clone()), memory) };
        Self { device, provider: provider.expect("a queue"), completions: memory.number }
    }

    /// Makes a queue pair and attaches it.
    pub(super) fn queue_pair(&mut self, plan: Plan) -> (QueuePairHandle, u32) {
        let made = queue_pair(&self.device, self.completions, plan);
        let limits = QueuePairLimits {
            inline: 256,
            receive_sges: 4,
            scatter_to_completion: plan.scatter_to_cqe,
            ..QueuePairLimits::default()
        };
        let number = QueuePairNumber(made.number);
        // SAFETY: fresh leaked memory.
        let handle =
            unsafe { self.provider.attach(number, made.send, ReceiveSource::Own(made.receive), limits) };
        (handle.expect("attached"), made.number)
    }

    /// Connects to a queue pair of the same or another node.
    pub(super) fn connect(&mut self, handle: QueuePairHandle, remote: u32) {
        let number = self.provider.number(handle).expect("attached").0;
        connect(&self.device, number, path(remote));
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            self.provider.set_state(handle, state).expect("allowed");
        }
    }

    /// All completions that are there.
    pub(super) fn poll(&mut self) -> Vec<Completion> {
        let mut completions = vec![Completion::EMPTY; 64];
        let count = self.provider.poll(&mut completions).expect("an intact queue");
        completions.truncate(count);
        completions
    }
}

/// Two nodes with a connected queue pair each.
pub(super) fn pair(fabric: &Fabric, plan: Plan) -> [(Node, QueuePairHandle); 2] {
    let (mut left, mut right) = (Node::new(fabric, 64, 64), Node::new(fabric, 64, 64));
    let ((here, here_number), (there, there_number)) = (left.queue_pair(plan), right.queue_pair(plan));
    left.connect(here, there_number);
    right.connect(there, here_number);
    [(left, here), (right, there)]
}
