//! The soft HCA's handle: opened once, shared by the engines of the process, and kept alive by whatever it made.
#![allow(unsafe_code)] // prctl, which takes no pointers here

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock},
    time::Instant,
};

use pmd_core::sync::{AtomicU32, AtomicU64, Ordering};
use thiserror::Error;

use super::{
    arena::Arenas,
    device_memory::{Accelerators, Memories},
    exchange::{Exchange, ExchangeCell},
    peer::Token,
    regions::RegionTable,
    seat::Seats,
    segment::Segment,
    tcp::{Hub, TcpConfig},
};
use crate::{
    identity::{DeviceId, HostId},
    security::Security,
};

/// How a soft HCA behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Whose memory the device reaches, its own process's and that of peers: each engine has a thread then that drives
    /// their streams. None is needed for memory of the host.
    pub accelerators: Accelerators,
    /// Page-lock arenas for all of these accelerators: those of this device when they are allocated, those of peers when
    /// they are mapped. Copies between an arena and a device then go at the speed of pinned memory, by streams of the
    /// application too. It takes as long as touching every page, and such memory is never swapped out.
    pub pin_arenas: bool,
    /// Copy straight between the memory of devices of the same process.
    pub same_process: bool,
    /// Map the arenas of peers and copy into them and out of them.
    pub mapping: bool,
    /// Have the kernel copy to and from other memory of peers (`process_vm_readv`, `process_vm_writev`), and permit
    /// peers of the same user to do so with this process: where the Yama security module restricts that
    /// (`ptrace_scope` 1), opening the device lifts the restriction for the whole process
    /// (`PR_SET_PTRACER_ANY`). Without it, such memory is moved in packets.
    pub process_memory: bool,
    /// Bytes of each of the four packet rings of a connected queue pair; a power of two, 4 KiB to 64 MiB.
    pub ring_bytes: u32,
    /// Be reached over TCP too; without it only peers of the same host reach the device, until
    /// [`Device::listen_over_tcp`].
    pub tcp: Option<TcpConfig>,
    /// Who may connect over TCP, and whether what it carries is encrypted. Within the host nobody is asked for a key: there it
    /// takes the same user.
    pub security: Security,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            accelerators: Accelerators::default(),
            pin_arenas: false,
            same_process: true,
            mapping: true,
            process_memory: true,
            ring_bytes: 128 << 10,
            tcp: None,
            security: Security::default(),
        }
    }
}

/// A soft HCA. Clones are handles to the same device; it closes when the last of them and of the regions, arenas and
/// queue pairs made with it is dropped.
///
/// A forked child cannot use it: the child may drop what it has copied, and should open a device of its own.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    id: DeviceId,
    host: HostId,
    config: DeviceConfig,
    /// Peers read it through `process_vm_readv` to see that they may, and that this is the process that they mean.
    token: Box<Token>,
    regions: RegionTable,
    seats: Seats,
    arenas: Arenas,
    memories: Memories,
    exchange: ExchangeCell,
    hub: OnceLock<Hub>,
    next_domain: AtomicU32,
    /// Process that opened it.
    owner: u32,
    opened: Instant,
    /// Milliseconds since `opened` at the last rate-limited service.
    serviced: AtomicU64,
}

/// Rights of queue pairs to regions: a key works only for queue pairs of the region's domain. Every device starts
/// with domain 0, the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct ProtectionDomain(pub u32);

/// Why a soft HCA could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A configured size cannot be.
    #[error("packet rings of {bytes} bytes: take a power of two from 4 KiB to 64 MiB")]
    RingBytes {
        /// The size asked for.
        bytes: u32,
    },
    /// A configured number cannot be.
    #[error("{streams} TCP streams for large messages: take 1 to 16")]
    Streams {
        /// The number asked for.
        streams: u8,
    },
    /// A system call failed.
    #[error("opening the soft HCA: {call} failed")]
    System {
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    fn system<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { call, source: source.into() }
    }
}

impl Device {
    /// Opens a soft HCA: from now on peers of the same host, user and network namespace can reach it by its
    /// [`id`](Device::id).
    ///
    /// # Errors
    /// [`OpenError`], when the system is short of something.
    pub fn open(config: DeviceConfig) -> Result<Self, OpenError> {
        check_ring_bytes(config.ring_bytes)?;
        let id = DeviceId::random().map_err(OpenError::system("getrandom"))?;
        let host = HostId::current().map_err(OpenError::system("reading this host's identity"))?;
        let token = Token::random().map_err(OpenError::system("getrandom"))?;
        let (segment, file) = Segment::create().map_err(OpenError::system("memfd_create"))?;
        let exchange = Exchange::open(id, file).map_err(OpenError::system("listening on a socket"))?;
        if config.process_memory {
            permit_process_memory();
        }
        let inner = Inner {
            id,
            host,
            config,
            token: Box::new(token),
            regions: RegionTable::new(segment),
            seats: Seats::new(),
            arenas: Arenas::default(),
            memories: Memories::default(),
            exchange: ExchangeCell::new(exchange),
            hub: OnceLock::new(),
            next_domain: AtomicU32::new(1),
            owner: std::process::id(),
            opened: Instant::now(),
            serviced: AtomicU64::new(0),
        };
        let device = Self { inner: Arc::new(inner) };
        if let Some(tcp) = device.config().tcp {
            device.listen_over_tcp(tcp)?;
        }
        Ok(device)
    }

    /// Is reached over TCP too from now on, if it was not before; see [`DeviceConfig::tcp`].
    ///
    /// # Errors
    /// [`OpenError`]; the device goes on as it was.
    pub fn listen_over_tcp(&self, tcp: TcpConfig) -> Result<(), OpenError> {
        check_streams(tcp)?;
        if self.hub().is_none() {
            let hub = Hub::open(self.id(), tcp, self.config().security.clone());
            let hub = hub.map_err(OpenError::system("listening on a TCP port"))?;
            // Of two threads that come here at once one was first, and its port is the one.
            let _ = self.inner.hub.set(hub);
        }
        Ok(())
    }

    /// This incarnation of the device. Peers need it, in a [`SoftAddress`](crate::backend::SoftAddress).
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.inner.id
    }

    /// What a peer must have in common with this process.
    #[must_use]
    pub fn host(&self) -> HostId {
        self.inner.host
    }

    /// How it was opened.
    #[must_use]
    pub fn config(&self) -> &DeviceConfig {
        &self.inner.config
    }

    /// A protection domain of its own.
    #[must_use]
    pub fn protection_domain(&self) -> ProtectionDomain {
        ProtectionDomain(self.inner.next_domain.fetch_add(1, Ordering::Relaxed))
    }

    /// The keys of this device.
    #[inline]
    pub(crate) fn regions(&self) -> &RegionTable {
        &self.inner.regions
    }

    /// Takes in what peers sent: connections, announcements, offers, the end of a process. Never waits; when another
    /// thread is at it already, that one does the work.
    pub(crate) fn service(&self) {
        self.inner.exchange.service(self);
        if self.hub().is_some_and(Hub::service) {
            // The engine that it concerns may be asleep in another thread.
            self.seats().wake_all();
        }
    }

    /// [`Device::service`], at most about once a millisecond. For the idle polls of engines.
    #[inline]
    pub(crate) fn service_if_due(&self) {
        let now = self.inner.opened.elapsed().as_millis() as u64;
        if self.inner.serviced.load(Ordering::Relaxed) != now {
            self.inner.serviced.store(now, Ordering::Relaxed);
            self.service();
        }
    }

    /// Readable when [`Device::service`] has something to do; for the poll set of a parked engine.
    pub(crate) fn service_descriptor(&self) -> BorrowedFd<'_> {
        self.inner.exchange.descriptor().as_fd()
    }

    /// Whether this is the process that opened it. In a forked child it is not: what the child drops there of its
    /// copies must not be taken from the parent, with which it shares segment and sockets.
    pub(super) fn is_owner(&self) -> bool {
        self.inner.is_owner()
    }

    pub(super) fn exchange(&self) -> &ExchangeCell {
        &self.inner.exchange
    }

    /// Where it is reached over TCP.
    pub(crate) fn hub(&self) -> Option<&Hub> {
        self.inner.hub.get()
    }

    pub(super) fn seats(&self) -> &Seats {
        &self.inner.seats
    }

    pub(super) fn arenas(&self) -> &Arenas {
        &self.inner.arenas
    }

    pub(super) fn memories(&self) -> &Memories {
        &self.inner.memories
    }

    pub(super) fn token(&self) -> &Token {
        &self.inner.token
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Device").field("id", &self.inner.id).finish_non_exhaustive()
    }
}

impl Inner {
    fn is_owner(&self) -> bool {
        self.owner == std::process::id()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Seats hold the device, so the last engine has gone before.
        if self.is_owner() {
            self.regions.segment().close();
            self.hub.get().into_iter().for_each(Hub::see_off);
        }
    }
}

fn check_ring_bytes(bytes: u32) -> Result<(), OpenError> {
    let fits = (4 << 10..=64 << 20).contains(&bytes) && bytes.is_power_of_two();
    if fits { Ok(()) } else { Err(OpenError::RingBytes { bytes }) }
}

fn check_streams(tcp: TcpConfig) -> Result<(), OpenError> {
    let streams = tcp.streams;
    if (1..=16).contains(&streams) { Ok(()) } else { Err(OpenError::Streams { streams }) }
}

/// Lets every process of the same user reach this one's memory where Yama would permit only its ancestors.
fn permit_process_memory() {
    // SAFETY: this operation takes a number. It fails where there is no Yama, and then nothing needs lifting.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
}
