//! What HIXL's calls take and give. Names and order as in HIXL's headers; numbers are fixed by them.

/// Result of a call, with HIXL's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Success = 0,
    /// Something that was given cannot be.
    ParamInvalid = 103_900,
    /// Not done in time.
    Timeout = 103_901,
    /// No link to that engine, or one that broke.
    NotConnected = 103_902,
    /// There is a link already.
    AlreadyConnected = 103_903,
    /// The peer did not take a notification.
    NotifyFailed = 103_904,
    /// Not on this machine, or not allowed by the peer.
    Unsupported = 103_905,
    /// Anything else.
    Failed = 503_900,
    /// Full: try again when something was taken.
    ResourceExhausted = 203_900,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::ParamInvalid,
        Self::Timeout,
        Self::NotConnected,
        Self::AlreadyConnected,
        Self::NotifyFailed,
        Self::Unsupported,
        Self::Failed,
        Self::ResourceExhausted,
    ];

    /// HIXL's number.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

/// Where memory is (`MemType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum MemType {
    /// `MEM_DEVICE`: memory of an accelerator that the engine was opened with. An engine without accelerators takes
    /// whatever this process can address for a device's.
    Device = 0,
    /// `MEM_HOST`.
    Host = 1,
}

/// Memory of this process (`MemDesc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemDesc {
    /// First byte.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
}

/// Names registered memory (`MemHandle`). Never 0 and never used twice by an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemHandle(pub u64);

/// Which way bytes go (`TransferOp`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum TransferOp {
    /// From the peer's memory into ours.
    Read = 0,
    /// From our memory into the peer's.
    Write = 1,
}

/// One contiguous piece of a transfer (`TransferOpDesc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferOpDesc {
    /// First byte in this process.
    pub local_addr: u64,
    /// First byte in the peer's.
    pub remote_addr: u64,
    /// Bytes; a piece of none is skipped.
    pub len: u64,
}

/// What goes with an asynchronous transfer (`TransferArgs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TransferArgs {
    /// Handed back by [`Hixl::transfer_statuses`](super::Hixl::transfer_statuses).
    pub user_data: u64,
    /// Milliseconds after which the transfer is given up and is [`TransferStatus::Timeout`]; 0 for never. HIXL has no
    /// such field yet.
    pub timeout_in_millis: u32,
}

/// Names an asynchronous transfer (`TransferReq`). Never 0 and never used twice by an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferReq(pub u64);

/// How an asynchronous transfer stands (`TransferStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum TransferStatus {
    /// In flight.
    Waiting = 0,
    /// Every byte is in place.
    Completed = 1,
    /// Given up; nothing of it is outstanding.
    Timeout = 2,
    /// It failed, or its link was taken down; nothing of it is outstanding.
    Failed = 3,
}

/// Which asynchronous transfers are asked for (`GetTransferStatusArgs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferStatusArgs {
    /// Most results.
    pub max_query_count: u32,
    /// Leave those out that are in flight.
    pub skip_waiting: bool,
}

impl Default for TransferStatusArgs {
    fn default() -> Self {
        Self { max_query_count: u32::MAX, skip_waiting: false }
    }
}

/// How one asynchronous transfer stands (`TransferResult`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferResult {
    /// Which one.
    pub req: TransferReq,
    /// What its caller gave.
    pub user_data: u64,
    /// How it stands. Anything but waiting is told once.
    pub status: TransferStatus,
}

/// A notification (`NotifyDesc`): bytes, because HIXL's strings are in whatever encoding the program uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct NotifyDesc {
    /// What it is about; at most [`NotifyDesc::LIMIT`] bytes.
    pub name: Vec<u8>,
    /// What it says; at most [`NotifyDesc::LIMIT`] bytes.
    pub notify_msg: Vec<u8>,
}

impl NotifyDesc {
    /// Longest name and longest message, in bytes.
    pub const LIMIT: usize = 1024;

    /// A notification.
    pub fn new(name: impl Into<Vec<u8>>, notify_msg: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), notify_msg: notify_msg.into() }
    }
}

/// How a link stands that was asked for asynchronously (`AsyncConnectStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum AsyncConnectStatus {
    /// Never asked for, or disconnected.
    NotConnect = 0,
    /// Waits for a thread to connect it.
    ConnectPending = 1,
    /// Being connected.
    Connecting = 2,
    /// Connected.
    Connected = 3,
    /// Could not be connected.
    ConnectFailed = 4,
    /// Waits for a thread to disconnect it.
    DisconnectPending = 5,
    /// Being disconnected.
    Disconnecting = 6,
}

/// What a program may ask about before it initialises an engine (`FeatureType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum FeatureType {
    /// Links are made by the first transfer (option `AutoConnect`).
    AutoConnect = 0,
    /// Servers that listen and clients that connect.
    ClientServerComm = 1,
}
