//! What a lane needs from a back end beyond [`pmd_core::provider::Provider`]: creating queue pairs, connecting
//! them, sleeping until something happens. Implemented by `soft`, `mlx5` and `verbs`.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use pmd_core::{
    provider::{Completion, Provider, QueuePairHandle, SharedReceiveHandle},
    queue::QueuePairState,
    wire::{BASIC_BLOCK, Cqe64, UNIT},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    identity::{DeviceId, HostId, Separation},
    retries::RetryCounter,
    security::KeyMismatch,
    transfer::DeviceFault,
};

/// A back end as a lane drives it: one device's queue pairs and the completion queue they share, owned by one thread
/// at a time.
pub trait Backend: Provider + Send {
    /// Creates a queue pair in state RESET.
    ///
    /// # Errors
    /// [`SetupError`] when a limit of the device or of the operating system is met.
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError>;

    /// Creates a shared receive queue for `receives` outstanding requests of at most `sges` entries.
    ///
    /// # Errors
    /// As [`Backend::create_queue_pair`].
    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError>;

    /// What the peer must know to connect to this queue pair.
    ///
    /// # Errors
    /// [`SetupError::UnknownQueuePair`].
    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError>;

    /// Takes a queue pair from RESET to RTS, connected to `remote`. Never waits for the peer: the peer may connect
    /// later, requests posted until then wait in the queue.
    ///
    /// # Errors
    /// [`SetupError`] when the address is of another transport or cannot be reached, or the state does not allow it.
    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError>;

    /// Moves a queue pair to the error state: everything outstanding completes, flushed. After the flush
    /// completions were polled nothing writes local memory on behalf of this queue pair.
    ///
    /// # Errors
    /// [`SetupError::UnknownQueuePair`], or what the device's library says.
    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError>;

    /// Ends what peers do on the queue pair's behalf, and says whether none moves bytes for it any more; until it is `true`,
    /// [`Backend::reset`] and [`Backend::destroy_queue_pair`] wait for that. `false` can last only where a process of this
    /// host is stopped in the middle of moving bytes: ask again later. Like [`Backend::fail`] it may flush what is
    /// outstanding.
    fn quiesce(&mut self, queue_pair: QueuePairHandle) -> bool {
        let _ = queue_pair;
        true
    }

    /// Back to RESET: outstanding requests vanish without completions, both queues are empty, the queue pair can be
    /// connected again.
    ///
    /// # Errors
    /// As [`Backend::fail`].
    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError>;

    /// Destroys a queue pair. Its handle may be given out again.
    ///
    /// # Errors
    /// As [`Backend::fail`].
    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError>;

    /// What a completion with an error says about memory of accelerators: what is missing for it, where that is why the
    /// request failed.
    fn device_fault(&self, completion: &Completion) -> Option<DeviceFault> {
        let _ = completion;
        None
    }

    /// What a completion with an error says about the keys of both sides, where they are why no connection came about.
    fn key_mismatch(&self, completion: &Completion) -> Option<KeyMismatch> {
        let _ = completion;
        None
    }

    /// Where this device counts requests that had to wait for a receive; `None` for one that does not tell.
    fn retries(&self) -> Option<RetryCounter> {
        None
    }

    /// Whether the last call left something that the next poll goes on with: a lane then polls again at once and gives
    /// the processor to nobody, whatever it does when it is idle. Devices that work by themselves have nothing to say.
    fn is_unfinished(&self) -> bool {
        false
    }

    /// Tells peers what was kept back for the next request or answer to take along: for a caller that may not poll again for
    /// a while. [`Backend::park`] does it too, and so does the next poll. Devices that work by themselves keep nothing back.
    fn settle(&mut self) {}

    /// Sleeps until a completion may be there, [`Waker::wake`] was called, or `timeout` passed. May return early.
    fn park(&mut self, timeout: Duration);

    /// Wakes this back end out of [`Backend::park`] from any thread.
    fn waker(&self) -> Waker;

    /// The transport of this back end's queue pairs.
    fn transport(&self) -> Transport;
}

/// Sizes of a queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePairConfig {
    /// 64-byte send-queue slots wanted; rounded up to a power of two.
    pub send_slots: u32,
    /// Receives that can be outstanding; rounded up to a power of two.
    pub receives: u32,
    /// Scatter-gather entries per request; at most 30.
    pub sges: u32,
    /// Inline bytes per request.
    pub inline_bytes: u32,
    /// Take receives from this queue instead of one of its own.
    pub shared_receive: Option<SharedReceiveHandle>,
}

impl QueuePairConfig {
    /// Bytes of host memory that its queues take: the send queue, the receive queue if it is its own, and an entry of the
    /// completion queue for each request that can be outstanding. Doorbells, and what a device keeps to itself, come on top.
    #[must_use]
    pub const fn queue_bytes(&self) -> u64 {
        let sends = power_of_two(self.send_slots);
        let receives = if self.shared_receive.is_some() { 0 } else { power_of_two(self.receives) };
        let receive = power_of_two(self.sges) * UNIT as u64;
        sends * BASIC_BLOCK as u64 + receives * receive + (sends + receives) * size_of::<Cqe64>() as u64
    }
}

const fn power_of_two(wanted: u32) -> u64 {
    (if wanted == 0 { 1 } else { wanted as u64 }).next_power_of_two()
}

impl Default for QueuePairConfig {
    fn default() -> Self {
        Self { send_slots: 1024, receives: 256, sges: 30, inline_bytes: 128, shared_receive: None }
    }
}

/// How a queue pair reaches its peer; the names are those of `struct ibv_qp_attr`, but for [`ConnectOptions::source`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Path MTU in bytes: 256, 512, 1024, 2048 or 4096; `None` takes the smaller of both ports'.
    pub mtu: Option<u16>,
    /// Traffic class (RoCE: DSCP << 2).
    pub traffic_class: u8,
    /// Service level, 0 to 15.
    pub service_level: u8,
    /// Acknowledge timeout exponent: 4.096 us * 2^timeout; 0 waits for ever.
    pub timeout: u8,
    /// Retries without acknowledgement, 0 to 7.
    pub retry_count: u8,
    /// Retries when the peer has no receive posted, 0 to 7; 7 retries for ever.
    pub rnr_retry: u8,
    /// Minimum RNR timer code, 0 to 31 (12 is 0.64 ms).
    pub minimum_rnr_timer: u8,
    /// Over TCP, this host's address that streams leave from; `None` leaves it to the system. Where the other side is the one
    /// that dials, it does not matter.
    pub source: Option<IpAddr>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            mtu: None,
            traffic_class: 0,
            service_level: 0,
            timeout: 14,
            retry_count: 6,
            rnr_retry: 7,
            minimum_rnr_timer: 12,
            source: None,
        }
    }
}

/// What a peer must know to connect to a queue pair. Travels in control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum QueuePairAddress {
    /// A queue pair of a soft HCA.
    Soft(SoftAddress),
    /// A queue pair of a NIC.
    Fabric(FabricAddress),
    /// A queue pair of a soft HCA that is reached over TCP.
    Tcp(TcpAddress),
}

impl QueuePairAddress {
    /// The address as a process sees it that heard its owner from `remote`: an owner that listens on any address is reached
    /// at that one.
    #[must_use]
    pub fn seen_from(self, remote: SocketAddr) -> Self {
        match self {
            Self::Tcp(TcpAddress { socket, device, queue_pair }) if socket.ip().is_unspecified() => {
                let mut seen = remote;
                seen.set_ip(remote.ip().to_canonical());
                seen.set_port(socket.port());
                Self::Tcp(TcpAddress { socket: seen, device, queue_pair })
            }
            address => address,
        }
    }
}

/// Address of a soft HCA's queue pair across hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpAddress {
    /// Where the soft HCA listens. An unspecified address stands for the one from which its owner was heard.
    pub socket: SocketAddr,
    /// The soft HCA.
    pub device: DeviceId,
    /// Queue pair number, 24 bits.
    pub queue_pair: u32,
}

/// Address of a soft HCA's queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftAddress {
    /// Host, user and network namespace: shared memory needs them equal.
    pub host: HostId,
    /// The soft HCA; also names its socket.
    pub device: DeviceId,
    /// Queue pair number, 24 bits.
    pub queue_pair: u32,
}

/// Address of a NIC's queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricAddress {
    /// Queue pair number, 24 bits.
    pub queue_pair: u32,
    /// First packet sequence number, 24 bits.
    pub packet_sequence: u32,
    /// Local identifier (InfiniBand), 0 on Ethernet.
    pub lid: u16,
    /// Global identifier.
    pub gid: Ipv6Addr,
    /// Active MTU of the port in bytes.
    pub mtu: u16,
}

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Transport {
    /// Soft HCA over shared memory of one host (inside one process too).
    SharedMemory,
    /// ConnectX, queue entries written by this driver.
    Mlx5,
    /// Any NIC through ibv_post_send and ibv_poll_cq.
    Verbs,
    /// Soft HCA over TCP.
    Tcp,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 4] = [Self::SharedMemory, Self::Mlx5, Self::Verbs, Self::Tcp];

    /// Whether a NIC carries the bytes. Both ends of a fabric may drive their NICs differently.
    #[must_use]
    pub const fn is_fabric(self) -> bool {
        matches!(self, Self::Mlx5 | Self::Verbs)
    }

    /// Name in options and reports: `shm`, `mlx5`, `verbs`, `tcp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SharedMemory => "shm",
            Self::Mlx5 => "mlx5",
            Self::Verbs => "verbs",
            Self::Tcp => "tcp",
        }
    }
}

/// Wakes a parked back end; any thread, any number of times.
#[derive(Clone, Debug)]
pub struct Waker(pub(crate) std::sync::Arc<nix::sys::eventfd::EventFd>);

impl Waker {
    /// A waker with an event descriptor of its own, non-blocking and closed on exec.
    ///
    /// # Errors
    /// What eventfd(2) says.
    pub fn new() -> Result<Self, nix::Error> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self(std::sync::Arc::new(event)))
    }

    /// Wakes the parked back end, or keeps its next park from sleeping.
    pub fn wake(&self) {
        // A full counter (EAGAIN) means that a wake-up is pending already.
        let _ = self.0.write(1);
    }
}

/// The event descriptor, for the poll set of a back end that sleeps: readable once it was woken, until it is read.
impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why a queue pair could not be created, connected or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A size is beyond the device.
    #[error("{what} of {wanted} is beyond this device's limit of {limit}")]
    Limit {
        /// Which size.
        what: &'static str,
        /// What was asked for.
        wanted: u64,
        /// What there is.
        limit: u64,
    },
    /// No queue pair has this handle.
    #[error("no queue pair {0:?}: it was destroyed or belongs to another back end")]
    UnknownQueuePair(QueuePairHandle),
    /// The transition is prohibited.
    #[error("a queue pair in state {from:?} cannot go to {to:?}; reset it first")]
    Transition {
        /// State it is in.
        from: QueuePairState,
        /// State asked for.
        to: QueuePairState,
    },
    /// The address is of a kind that this back end does not speak.
    #[error("peer's address is for another transport than {}", mine.name())]
    OtherTransport {
        /// This back end's transport.
        mine: Transport,
    },
    /// The peer is on another host, or hidden by another user or namespace.
    #[error("peer is not reachable over shared memory: {reason}")]
    NotSameHost {
        /// What separates the processes.
        reason: Separation,
    },
    /// No process listens under the peer's device id: it exited, or was restarted under a new one.
    #[error("soft HCA {device} is gone: its process exited or was restarted; fetch a fresh address")]
    PeerGone {
        /// The device that was addressed.
        device: DeviceId,
    },
    /// The soft HCA is not reached over TCP.
    #[error(
        "this soft HCA does not listen for TCP: open it with DeviceConfig::tcp, or call Device::listen_over_tcp"
    )]
    NotListening,
    /// No GID of the port fits the peer's address.
    #[error("no GID of {device} port {port} can reach {gid}: {advice}")]
    NoUsableGid {
        /// Device name.
        device: String,
        /// Port number.
        port: u8,
        /// Peer's GID.
        gid: Ipv6Addr,
        /// What to check.
        advice: &'static str,
    },
    /// A system call or library call failed.
    #[error("{call} failed")]
    System {
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

impl SetupError {
    /// The last system error, as the failure of `call`.
    #[must_use]
    pub fn last_os_error(call: &'static str) -> Self {
        Self::System { call, source: std::io::Error::last_os_error() }
    }
}
