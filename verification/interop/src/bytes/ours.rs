//! Our queues over memory of this process: what they write can be looked at, and completions can be put in by hand.
#![allow(unsafe_code)] // lends queue memory to the driver, and reads what it wrote

use std::ptr::NonNull;

use pmd_core::{
    provider::{
        Completion, CompletionQueueError, CompletionQueueMemory, Hardware, PostError, Provider,
        QueuePairHandle, QueuePairNumber, ReceiveQueueMemory, ReceiveRequest, SendDoorbell, SendQueueMemory,
        SendRequest, SharedReceiveHandle, SharedReceiveQueueMemory, WqeRing,
    },
    queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
};

use super::{request::Request, shape::Shape};

/// How the device was rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    /// Eight bytes.
    Doorbell([u8; 8]),
    /// A whole WQE, by slots.
    BlueFlame(Vec<u8>),
}

impl Rung {
    /// The first eight bytes stored.
    pub(super) fn head(&self) -> &[u8] {
        match self {
            Self::Doorbell(bytes) => bytes,
            Self::BlueFlame(bytes) => &bytes[..8],
        }
    }
}

/// Memory that both the driver and this module reach by address.
#[derive(Debug)]
struct Memory {
    blocks: Box<[Block]>,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
struct Block([u8; 128]);

impl Memory {
    fn new(bytes: usize) -> Self {
        Self { blocks: vec![Block([0; 128]); bytes.div_ceil(128).max(1)].into_boxed_slice() }
    }

    fn pointer(&mut self) -> NonNull<u8> {
        NonNull::new(self.blocks.as_mut_ptr()).expect("a box is nowhere null").cast()
    }

    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= size_of_val(&*self.blocks));
        let start = self.blocks.as_ptr().cast::<u8>();
        // SAFETY: in range; the driver writes on this thread only, and not now.
        (offset..offset + length).map(|index| unsafe { start.add(index).read_volatile() }).collect()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= size_of_val(&*self.blocks));
        let start = self.blocks.as_mut_ptr().cast::<u8>();
        for (index, byte) in (offset..).zip(bytes) {
            // SAFETY: as for `read`.
            unsafe { start.add(index).write_volatile(*byte) };
        }
    }
}

/// The device: remembers what was rung.
#[derive(Debug)]
struct Recorder {
    send: Memory,
    receive: Memory,
    entries: Memory,
    /// Doorbell records: queue pair at 0, completion queue at 128, shared receive queue at 256.
    records: Memory,
    blue_flame: u32,
    rung: Vec<Rung>,
    armed: Vec<[u8; 8]>,
}

/// Offsets in the records.
const COMPLETION_RECORD: usize = 128;
const SHARED_RECORD: usize = 256;

/// Our side.
#[derive(Debug)]
pub(super) struct Ours {
    provider: QueueProvider<Recorder>,
    queue_pair: QueuePairHandle,
    shared: Option<SharedReceiveHandle>,
    shape: Shape,
}

impl Ours {
    /// Queues of this shape, ready to send.
    pub(super) fn new(shape: Shape) -> Self {
        let mut device = Recorder {
            send: Memory::new(shape.send_slots as usize * 64),
            receive: Memory::new((shape.receives << shape.receive_shift) as usize),
            entries: Memory::new((shape.entries * shape.entry_bytes) as usize),
            records: Memory::new(384),
            blue_flame: shape.blue_flame,
            rung: Vec::new(),
            armed: Vec::new(),
        };
        let records = device.records.pointer();
        // SAFETY: offsets inside of the records.
        let record = |offset: usize| unsafe { records.add(offset) };
        let completion_queue = CompletionQueueMemory {
            buffer: device.entries.pointer(),
            cqe_count: shape.entries,
            cqe_size: shape.entry_bytes,
            doorbell_record: record(COMPLETION_RECORD).cast(),
            number: shape.completion_queue,
        };
        let send = SendQueueMemory {
            buffer: device.send.pointer(),
            wqe_count: shape.send_slots,
            doorbell_record: record(4).cast(),
        };
        let (buffer, wqe_count, stride_shift) =
            (device.receive.pointer(), shape.receives, shape.receive_shift);
        let receive =
            ReceiveQueueMemory { buffer, wqe_count, stride_shift, doorbell_record: record(0).cast() };
        let shared = SharedReceiveQueueMemory {
            buffer,
            wqe_count,
            stride_shift,
            doorbell_record: record(SHARED_RECORD).cast(),
        };
        // SAFETY: all memory is in boxes that the device keeps, which the provider keeps.
        let mut provider =
            unsafe { QueueProvider::new(device, completion_queue) }.expect("a completion queue");
        let limits = QueuePairLimits {
            send_sges: shape.sges,
            receive_sges: shape.receive_sges,
            inline: shape.inline,
            message: 1 << 30,
            scatter_to_completion: shape.scatter_to_completion,
        };
        // SAFETY: as above; what receives name is memory of this process where completions carry payload.
        let (source, shared) = unsafe {
            if shape.is_shared {
                let attached =
                    provider.attach_shared_receive(shared, shape.receive_sges, shape.scatter_to_completion);
                let handle = attached.expect("a shared receive queue");
                (ReceiveSource::Shared(handle), Some(handle))
            } else {
                (ReceiveSource::Own(receive), None)
            }
        };
        let number = QueuePairNumber(shape.queue_pair);
        // SAFETY: as above.
        let queue_pair = unsafe { provider.attach(number, send, source, limits) }.expect("a queue pair");
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            provider.set_state(queue_pair, state).expect("an allowed transition");
        }
        Self { provider, queue_pair, shared, shape }
    }

    /// Posts a request that our driver offers.
    pub(super) fn post(&mut self, id: u64, request: &Request) -> Result<(), PostError> {
        let operation = request.operation().expect("a request that our driver offers");
        self.provider.post_send(self.queue_pair, &SendRequest { id, operation, flags: request.flags })
    }

    /// Rings; how the device heard of it.
    pub(super) fn ring(&mut self) -> Vec<Rung> {
        self.provider.ring_send(self.queue_pair);
        std::mem::take(&mut self.provider.hardware_mut().rung)
    }

    /// Posts a receive to whichever queue there is, and rings.
    pub(super) fn receive(&mut self, request: &ReceiveRequest<'_>) -> Result<(), PostError> {
        match self.shared {
            Some(shared) => {
                self.provider.post_shared_receive(shared, request)?;
                self.provider.ring_shared_receive(shared);
            }
            None => {
                self.provider.post_receive(self.queue_pair, request)?;
                self.provider.ring_receive(self.queue_pair);
            }
        }
        Ok(())
    }

    /// Puts bytes where the completion entry with this free-running number is.
    pub(super) fn put_entry(&mut self, index: u32, bytes: &[u8]) {
        assert_eq!(bytes.len() as u32, self.shape.entry_bytes);
        let place = (index % self.shape.entries * self.shape.entry_bytes) as usize;
        self.provider.hardware_mut().entries.write(place, bytes);
    }

    /// Polls one completion.
    pub(super) fn poll(&mut self) -> Result<Option<Completion>, CompletionQueueError> {
        let mut completion = [Completion::EMPTY];
        let count = self.provider.poll(&mut completion)?;
        Ok((count == 1).then_some(completion[0]))
    }

    /// Arms; the doorbell word.
    pub(super) fn arm(&mut self, solicited_only: bool) -> Vec<[u8; 8]> {
        self.provider.arm(solicited_only);
        std::mem::take(&mut self.provider.hardware_mut().armed)
    }

    /// Bytes of the send queue, wrapping at its end.
    pub(super) fn sent(&self, slot: u32, length: usize) -> Vec<u8> {
        let size = self.shape.send_slots as usize * 64;
        let start = (slot as usize * 64) % size;
        let first = length.min(size - start);
        let memory = &self.provider.hardware().send;
        [memory.read(start, first), memory.read(0, length - first)].concat()
    }

    /// Changes bits of the send queue, as a wrong encoder would have written them.
    pub(super) fn spoil(&mut self, slot: u32, offset: usize, bits: u8) {
        let place = (slot as usize * 64 + offset) % (self.shape.send_slots as usize * 64);
        let memory = &mut self.provider.hardware_mut().send;
        let byte = memory.read(place, 1)[0];
        memory.write(place, &[byte ^ bits]);
    }

    /// Sets the send doorbell record, as a driver would that forgot to write it.
    pub(super) fn spoil_record(&mut self, value: u16) {
        self.provider.hardware_mut().records.write(4, &u32::from(value).to_be_bytes());
    }

    /// Sets the consumer record, as a driver would that forgot to write it.
    pub(super) fn spoil_consumer(&mut self, index: u32) {
        self.provider.hardware_mut().records.write(COMPLETION_RECORD, &index.to_be_bytes());
    }

    /// Bytes of a receive slot.
    pub(super) fn received(&self, slot: u32) -> Vec<u8> {
        let stride = 1 << self.shape.receive_shift;
        self.provider.hardware().receive.read((slot % self.shape.receives) as usize * stride, stride)
    }

    /// Words of the doorbell record of the queue pair: receive, send.
    pub(super) fn records(&self) -> [u32; 2] {
        [self.record(0), self.record(4)]
    }

    /// Words of the doorbell record of the completion queue: consumer index, arm.
    pub(super) fn completion_records(&self) -> [u32; 2] {
        [self.record(COMPLETION_RECORD), self.record(COMPLETION_RECORD + 4)]
    }

    /// The doorbell record of the shared receive queue.
    pub(super) fn shared_record(&self) -> u32 {
        self.record(SHARED_RECORD)
    }

    fn record(&self, offset: usize) -> u32 {
        let bytes = self.provider.hardware().records.read(offset, 4);
        u32::from_be_bytes(bytes.try_into().expect("four bytes"))
    }
}

impl Hardware for Recorder {
    type Doorbell<'a> = &'a mut Self;

    fn doorbell(&mut self, _: QueuePairHandle) -> &mut Self {
        self
    }

    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        Ok(())
    }

    fn arm(&mut self, value: [u8; 8]) {
        self.armed.push(value);
    }
}

impl SendDoorbell for &mut Recorder {
    fn blue_flame_limit(&self) -> u32 {
        self.blue_flame
    }

    fn ring(&mut self, control: [u8; 8]) {
        self.rung.push(Rung::Doorbell(control));
    }

    fn blue_flame(&mut self, wqe: WqeRing) {
        let size = wqe.wqe_count as usize * 64;
        let bytes = (0..wqe.slots as usize * 64)
            .map(|index| self.send.read((wqe.first as usize * 64 + index) % size, 1)[0]);
        let copied = bytes.collect();
        self.rung.push(Rung::BlueFlame(copied));
    }
}
