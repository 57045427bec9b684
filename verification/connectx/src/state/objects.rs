//! What the device knows of each object: plain values, all zeros when free.
//!
//! Addresses are of the owner's memory; indices are of [`super::Tables`]. Numbers that drivers see (QPN, CQN, keys)
//! hold a table index and a tag that changes with every reuse, so that a stale one is noticed.

/// Index of a process in the table.
pub type ProcessIndex = u16;

/// Queue pair states as `enum ibv_qp_state` numbers them.
pub mod state {
    /// Fresh, both rings empty.
    pub const RESET: u8 = 0;
    /// Receives may be posted.
    pub const INIT: u8 = 1;
    /// Receives are served.
    pub const RTR: u8 = 2;
    /// Sends are executed.
    pub const RTS: u8 = 3;
    /// Send queue drained.
    pub const SQD: u8 = 4;
    /// Send queue in error (unconnected services).
    pub const SQE: u8 = 5;
    /// Everything is flushed.
    pub const ERR: u8 = 6;
}

/// A process that opened the device.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Process {
    /// 0 when the entry is free.
    pub pid: u32,
    /// Its place in the table, by which objects name their owner.
    pub index: ProcessIndex,
    /// Start time (field 22 of `/proc/PID/stat`): tells a process from a later one of the same pid.
    pub started: u64,
    /// Open contexts.
    pub contexts: u32,
    /// Raised and woken (futex) when this process's service thread has something to do.
    pub wake: u32,
}

/// A registered region.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct MemoryRegion {
    /// lkey and rkey: index << 8 | tag; 0 when the entry is free.
    pub key: u32,
    /// Whose memory.
    pub owner: ProcessIndex,
    /// Protection domain.
    pub domain: u32,
    /// `IBV_ACCESS_*` flags.
    pub access: u32,
    /// First byte in the owner's memory.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// Address by which work requests name the first byte.
    pub virtual_start: u64,
    /// Where the owner's process has an accelerator's memory mapped for the device; 0 for other memory.
    pub view: u64,
    /// Bytes of that mapping.
    pub view_length: u64,
    /// A peer's SEND_INVAL took the key away.
    pub invalidated: bool,
}

/// A completion queue.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CompletionQueue {
    /// CQN; 0 when the entry is free.
    pub number: u32,
    /// Whose memory.
    pub owner: ProcessIndex,
    /// Bytes of a CQE: 64 or 128.
    pub entry_bytes: u32,
    /// CQEs, a power of two.
    pub entries: u32,
    /// First CQE.
    pub buffer: u64,
    /// Doorbell record: consumer index, then the arm record.
    pub record: u64,
    /// CQEs ever written.
    pub producer: u32,
    /// An event is wanted at the next CQE.
    pub armed: bool,
    /// Only solicited and error CQEs raise it.
    pub armed_solicited: bool,
    /// The queue overran: nothing is written any more.
    pub overrun: bool,
    /// `producer` after the last CQE that was solicited or an error.
    pub solicited_producer: u32,
    /// Events raised, ever; its low two bits are the sequence number that the next arm must carry.
    pub fired: u32,
    /// What the program calls it in events.
    pub user_handle: u64,
    /// Completion channel: read end's descriptor in the owner, or -1.
    pub channel: i32,
    /// Events raised that the owner's service thread has not written to the channel yet.
    pub events_pending: u32,
    /// When the oldest of them was raised, as [`super::Tables::raised`] counts.
    pub raised: u64,
    /// Events written to the channel, ever; `ibv_destroy_cq` waits for as many acknowledgements.
    pub events_reported: u32,
}

/// The service of a queue pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum QueuePairKind {
    /// Reliable connection.
    #[default]
    Reliable = 0,
    /// Unreliable connection.
    Unreliable = 1,
    /// Unreliable datagram.
    Datagram = 2,
}

/// Why a send queue waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Stall {
    /// It does not.
    #[default]
    None = 0,
    /// The peer had no receive.
    ReceiverNotReady = 1,
    /// The peer does not answer.
    NoAnswer = 2,
    /// A fault holds it back.
    Delayed = 3,
}

/// The path that `ibv_modify_qp` set.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct ConnectedPath {
    /// The peer's QPN.
    pub remote: u32,
    /// `enum ibv_mtu`.
    pub mtu: u8,
    /// Acknowledge timeout exponent, 4.096 us * 2^timeout; 0 waits for ever.
    pub timeout: u8,
    /// Retries without acknowledgement, 0 to 7.
    pub retry_count: u8,
    /// RNR retries, 0 to 7; 7 is for ever.
    pub rnr_retry: u8,
    /// RNR timer code that this side asks its peer to wait.
    pub minimum_rnr_timer: u8,
    /// Outstanding READs and atomics as requester.
    pub maximum_reads: u8,
    /// Outstanding READs and atomics as responder.
    pub maximum_served_reads: u8,
    /// Port.
    pub port: u8,
    /// LID of the peer (InfiniBand).
    pub lid: u16,
    /// Send packet sequence number.
    pub send_sequence: u32,
    /// Receive packet sequence number.
    pub receive_sequence: u32,
    /// Q_Key (datagram).
    pub q_key: u32,
    /// Partition key index.
    pub partition: u16,
    /// GID of the peer.
    pub gid: [u8; 16],
    /// GID index of this side.
    pub gid_index: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Traffic class.
    pub traffic_class: u8,
    /// Service level.
    pub service_level: u8,
}

/// Where the device is in a send queue.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SendProgress {
    /// Next basic block to execute, running free.
    pub consumer: u16,
    /// Producer index as of the last doorbell; beyond it the device does not look.
    pub rung: u16,
    /// Bytes moved of the WQE at `consumer`.
    pub offset: u64,
    /// Why it waits.
    pub stall: Stall,
    /// Retries so far of the WQE at `consumer`.
    pub retries: u8,
    /// When to try again: monotonic nanoseconds.
    pub due: u64,
}

/// A queue pair.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct QueuePair {
    /// QPN; 0 when the entry is free.
    pub number: u32,
    /// Whose memory.
    pub owner: ProcessIndex,
    /// Service.
    pub kind: QueuePairKind,
    /// One of [`state`].
    pub state: u8,
    /// Every send completes with a CQE.
    pub signal_all: bool,
    /// Small receives go into the CQE.
    pub scatter_to_cqe: bool,
    /// Protection domain.
    pub domain: u32,
    /// What the peer may do: `IBV_ACCESS_*`.
    pub access: u32,
    /// What CQEs of this queue pair carry in `srqn_uidx`.
    pub user_index: u32,
    /// What the program calls it in events.
    pub user_handle: u64,
    /// CQN of the send side.
    pub send_completions: u32,
    /// CQN of the receive side.
    pub receive_completions: u32,
    /// SRQ number, or 0.
    pub shared_receives: u32,
    /// First receive WQE.
    pub receive_buffer: u64,
    /// Receive WQEs, a power of two or 0.
    pub receive_slots: u32,
    /// log2 of the bytes of a receive WQE.
    pub receive_shift: u32,
    /// First basic block of the send queue.
    pub send_buffer: u64,
    /// Basic blocks of the send queue, a power of two.
    pub send_slots: u32,
    /// Doorbell record: receive, then send.
    pub record: u64,
    /// UAR register given at creation, for the lint.
    pub register: u32,
    /// Next receive, running free.
    pub receive_consumer: u16,
    /// `SQ_DRAINED` is wanted when the send queue has drained.
    pub notify_drained: bool,
    /// Send side.
    pub send: SendProgress,
    /// The path.
    pub path: ConnectedPath,
}

/// A shared receive queue.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SharedReceiveQueue {
    /// SRQN; 0 when the entry is free.
    pub number: u32,
    /// Whose memory.
    pub owner: ProcessIndex,
    /// Protection domain.
    pub domain: u32,
    /// First WQE.
    pub buffer: u64,
    /// Doorbell record.
    pub record: u64,
    /// log2 of the bytes of a WQE.
    pub shift: u32,
    /// WQEs.
    pub slots: u32,
    /// Slot that is taken next.
    pub head: u16,
    /// WQEs ever taken.
    pub taken: u16,
    /// Fewer receives than this raise `SRQ_LIMIT_REACHED`, once; 0 is off.
    pub limit: u32,
    /// What the program calls it in events.
    pub user_handle: u64,
}

/// What happened to an object or to the port, as `enum ibv_event_type` numbers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum AsynchronousKind {
    /// A completion queue overran.
    #[default]
    CompletionQueueError = 0,
    /// A queue pair cannot go on: its completion queue overran.
    QueuePairFatal = 1,
    /// A peer sent what this queue pair does not take.
    QueuePairRequestError = 2,
    /// A peer reached for memory that it may not use.
    QueuePairAccessError = 3,
    /// The send queue has drained.
    SendQueueDrained = 5,
    /// The port came up.
    PortActive = 9,
    /// The port went down.
    PortError = 10,
    /// A shared receive queue holds fewer receives than its limit.
    SharedReceiveLimit = 15,
    /// A queue pair in error takes no more receives from its shared queue.
    LastReceiveReached = 16,
}

/// An event for a process's asynchronous descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Asynchronous {
    /// Whose.
    pub owner: ProcessIndex,
    /// What happened.
    pub kind: AsynchronousKind,
    /// QPN, CQN, SRQN or port.
    pub number: u32,
    /// What the program calls the object; the port's number for a port.
    pub user_handle: u64,
}
