//! HIXL's API: transfers between memory of this process and of others, named by address.
//!
//! # Place in the flow
//! Programs written for HIXL (Ascend's one-sided transfer library) call this module, through the C++ header `hixl/hixl.h`
//! or the Python module `hixl`, which are thin layers over [`Hixl`]; Rust programs call it directly. It stands on
//! [`fabric`](crate::fabric).
//!
//! ```text
//!  hixl.h | python hixl | Rust
//!        |  initialize, register_mem, connect, transfer_sync, ...
//!      Hixl --> Engine: links by name, memory by handle, requests by number
//!        |  all registered               | something is not
//!     fabric: one-sided transfer      staging: through buffers, with the peer's help
//! ```
//!
//! # Quick start
//! A server offers memory; a client reads it.
//! ```
//! # #![allow(unsafe_code)]
//! use std::{collections::BTreeMap, time::Duration};
//!
//! use kv_api::hixl::{Hixl, MemDesc, MemType, TransferOp, TransferOpDesc};
//!
//! # fn main() -> Result<(), kv_api::hixl::HixlError> {
//! # let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address");
//! # let server_name = free.to_string();
//! let (server, client) = (Hixl::new(), Hixl::new());
//! server.initialize(&server_name, &BTreeMap::new())?;
//! client.initialize("127.0.0.1", &BTreeMap::new())?;
//! let offered = vec![7_u8; 4096];
//! let mut room = vec![0_u8; 4096];
//! let describe = |memory: &[u8]| MemDesc { addr: memory.as_ptr() as u64, len: memory.len() as u64 };
//! // SAFETY: both vectors outlive the engines' use of them, and nobody looks at them during the transfer.
//! unsafe {
//!     server.register_mem(describe(&offered), MemType::Host)?;
//!     client.register_mem(MemDesc { addr: room.as_mut_ptr() as u64, len: 4096 }, MemType::Host)?;
//! }
//! let second = Duration::from_secs(1);
//! client.connect(&server_name, second)?;
//! let piece = TransferOpDesc {
//!     local_addr: room.as_mut_ptr() as u64,
//!     remote_addr: offered.as_ptr() as u64,
//!     len: 4096,
//! };
//! // SAFETY: as above.
//! unsafe { client.transfer_sync(&server_name, TransferOp::Read, &[piece], second)? };
//! client.finalize();
//! server.finalize();
//! assert_eq!(room, offered);
//! # Ok(())
//! # }
//! ```
//!
//! # How it differs from the original
//! | here | there |
//! |---|---|
//! | memory may be registered after connecting, peers find it | only what was registered before is found |
//! | deregistering waits for transfers with the memory, and links stay | all links have to be down |
//! | asynchronous transfers are staged too | only direct |
//! | a transfer that timed out is stopped, the link goes on | the link has to be made anew |
//! | a link that broke is replaced by the next `connect` | has to be disconnected first |
//! | a notification is refused with `RESOURCE_EXHAUSTED` when 4096 of its link wait | of all links together |
//! | `NOTIFY_FAILED` when the peer refuses a notification or goes while it is sent | reserved |
//! | asking about all requests always works | depends on `LocalCommRes` |
//! | memory of peers that nobody registered: see [`STAGE_FOR_VARIABLE`] | any address of any peer |
//!
//! # Time-outs, and peers that go
//! A call with a time-out returns by then, plus what it takes to prove that nothing of it is outstanding any more (some
//! hundred milliseconds at most). A peer whose process ends is noticed at once, one whose host is silent within 5 s:
//! what is in flight ends with [`Status::NotConnected`] or [`Status::Failed`].
//!
//! # Security
//! Staging lets a peer name any address of this process, registered or not. The kernel copies, so an address that is not
//! mapped (or not writable) is an error and never a fault; but what is mapped is read and written. By default only peers
//! that share memory with this process may ask for it: they run as the same user on the same host, and the kernel lets
//! them reach all of this process's memory anyway. Programs that count on staging between hosts set
//! [`STAGE_FOR_VARIABLE`] to `all` on the hosts whose memory is staged, on a network in which every host is trusted;
//! `none`, or the option BufferPool `0:0`, keeps to registered memory for everybody.
//!
//! # Threads
//! All calls may come from any thread at the same time. `finalize` makes calls that are under way in other threads fail,
//! and waits for them.
#![allow(unsafe_code)] // takes addresses on the caller's word

mod connect_pool;
mod engine;
mod error;
mod inbox;
mod links;
mod memory;
mod name;
mod options;
mod requests;
mod staging;
#[cfg(test)]
mod tests;
mod types;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

pub use error::HixlError;
pub use options::{
    OPTION_AUTO_CONNECT, OPTION_BUFFER_POOL, OPTION_ENABLE_USE_FABRIC_MEM, OPTION_GLOBAL_RESOURCE_CONFIG,
    OPTION_LOCAL_COMM_RES, OPTION_RDMA_SERVICE_LEVEL, OPTION_RDMA_TRAFFIC_CLASS, STAGE_FOR_VARIABLE,
};
pub use staging::StageFault;
pub use types::{
    AsyncConnectStatus, FeatureType, MemDesc, MemHandle, MemType, NotifyDesc, Status, TransferArgs,
    TransferOp, TransferOpDesc, TransferReq, TransferResult, TransferStatus, TransferStatusArgs,
};

use pmd_host::{backend::Transport, endpoint::EndpointConfig, soft::ArenaOptions};

use self::engine::Engine;
use crate::environment;

/// The time-out of a call that is given none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(1000);

/// What [`Hixl::capability`] answers for a feature that is there.
pub const FEATURE_SUPPORTED: i32 = 1;

/// What [`Hixl::capability`] answers for a feature that is not there.
pub const FEATURE_NOT_SUPPORTED: i32 = 0;

/// How long `finalize` waits for calls of other threads.
const FINALIZE_PATIENCE: Duration = Duration::from_secs(10);

/// A time-out as HIXL's signatures give it. One that is not above 0 becomes zero, which every call refuses.
#[must_use]
pub fn timeout(timeout_in_millis: i32) -> Duration {
    Duration::from_millis(timeout_in_millis.max(0).unsigned_abs().into())
}

/// An engine (class `Hixl`). Dropping it finalises it.
#[derive(Default)]
pub struct Hixl {
    engine: RwLock<Option<Arc<Engine>>>,
}

impl Hixl {
    /// An engine that has to be initialised.
    #[must_use]
    pub const fn new() -> Self {
        Self { engine: RwLock::new(None) }
    }

    /// Opens the devices and, if `local_engine` has a port, listens there (`Initialize`). An engine that is initialised
    /// already stays as it is.
    ///
    /// # Errors
    /// `PARAM_INVALID` for a name or an option that cannot be, `UNSUPPORTED` for a transport that is not on this
    /// machine, `FAILED` for a port that is taken.
    pub fn initialize(
        &self,
        local_engine: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(), HixlError> {
        self.initialize_with(local_engine, options, environment::endpoint_config()?)
    }

    /// As [`Hixl::initialize`], with devices and lanes as `endpoint` says rather than the environment. Not HIXL's.
    ///
    /// # Errors
    /// As [`Hixl::initialize`].
    pub fn initialize_with(
        &self,
        local_engine: &str,
        options: &BTreeMap<String, String>,
        endpoint: EndpointConfig,
    ) -> Result<(), HixlError> {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        if engine.is_none() {
            *engine = Some(Arc::new(Engine::open(local_engine, options, endpoint)?));
        }
        Ok(())
    }

    /// Takes all links down, ends all transfers, deregisters all memory (`Finalize`). When it returns, nothing touches
    /// the program's memory any more. Does nothing to an engine that is not initialised.
    pub fn finalize(&self) {
        let engine = self.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(engine) = engine else { return };
        engine.close();
        let deadline = Instant::now() + FINALIZE_PATIENCE;
        while Arc::strong_count(&engine) > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Registers memory, for transfers in both directions (`RegisterMem`). The same memory again has the same handle.
    ///
    /// # Errors
    /// `PARAM_INVALID` for memory at address 0, of no bytes, that is not mapped, or that overlaps with other memory of
    /// the type; `UNSUPPORTED` for memory that no device reaches; `FAILED`.
    ///
    /// # Safety
    /// The memory stays mapped until it was deregistered or the engine finalised, and its bytes are not borrowed while a
    /// transfer may touch them, peers' transfers included.
    pub unsafe fn register_mem(&self, memory: MemDesc, kind: MemType) -> Result<MemHandle, HixlError> {
        // SAFETY: passed on to the caller.
        unsafe { self.engine()?.register(memory, kind) }
    }

    /// Allocates zeroed memory that peers of this host can map, the fastest kind, and registers it. It is freed when it
    /// is deregistered. Not HIXL's; its predecessor's `MallocMem`.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` when there is not enough; `FAILED`.
    pub fn allocate_mem(
        &self,
        bytes: usize,
        kind: MemType,
        options: ArenaOptions,
    ) -> Result<(MemHandle, MemDesc), HixlError> {
        self.engine()?.allocate(bytes, kind, options)
    }

    /// What carries the bytes to an engine that this one is connected to. Not HIXL's.
    ///
    /// # Errors
    /// `PARAM_INVALID` for a name that is none; `NOT_CONNECTED`.
    pub fn transport(&self, remote_engine: &str) -> Result<Transport, HixlError> {
        self.engine()?.transport(remote_engine)
    }

    /// Deregisters memory (`DeregisterMem`): when it returns, nothing touches it any more. Waits for transfers of this
    /// engine that use it. A handle that is not registered, or not any more, is fine.
    ///
    /// # Errors
    /// `PARAM_INVALID` for handle 0; `FAILED` when a transfer with it does not end, and it stays registered.
    pub fn deregister_mem(&self, handle: MemHandle) -> Result<(), HixlError> {
        self.engine()?.deregister(handle)
    }

    /// Makes the link to the server of that name (`Connect`).
    ///
    /// # Errors
    /// `PARAM_INVALID` for a name that is none, a client's or one's own, and a time-out of zero; `ALREADY_CONNECTED`;
    /// `TIMEOUT`; `UNSUPPORTED` when the two share no transport; `FAILED` when nobody listens there.
    pub fn connect(&self, remote_engine: &str, timeout: Duration) -> Result<(), HixlError> {
        self.engine()?.connect(remote_engine, timeout)
    }

    /// Takes a link down (`Disconnect`). Asynchronous transfers over it end with [`TransferStatus::Failed`], unless they
    /// are done; nothing of them is outstanding when it returns.
    ///
    /// # Errors
    /// `PARAM_INVALID` as for [`Hixl::connect`]; `NOT_CONNECTED`; `TIMEOUT`.
    pub fn disconnect(&self, remote_engine: &str, timeout: Duration) -> Result<(), HixlError> {
        self.engine()?.disconnect(remote_engine, timeout)
    }

    /// As [`Hixl::connect`], by a thread of the engine (`ConnectAsync`).
    ///
    /// # Errors
    /// `PARAM_INVALID` for a name or a time-out; `RESOURCE_EXHAUSTED` when `connect_pool.task_queue_capacity` links wait.
    pub fn connect_async(&self, remote_engine: &str, timeout: Duration) -> Result<(), HixlError> {
        self.engine()?.connect_async(remote_engine, timeout)
    }

    /// As [`Hixl::disconnect`], by a thread of the engine (`DisconnectAsync`).
    ///
    /// # Errors
    /// As [`Hixl::connect_async`].
    pub fn disconnect_async(&self, remote_engine: &str, timeout: Duration) -> Result<(), HixlError> {
        self.engine()?.disconnect_async(remote_engine, timeout)
    }

    /// How the link stands that was asked for asynchronously under this name (`GetAsyncConnectStatus`).
    ///
    /// # Errors
    /// `FAILED` only.
    pub fn async_connect_status(&self, remote_engine: &str) -> Result<AsyncConnectStatus, HixlError> {
        Ok(self.engine()?.async_connect_status(remote_engine))
    }

    /// How all links stand that were asked for asynchronously, but for those that are not connected
    /// (`GetAsyncConnectStatus`).
    ///
    /// # Errors
    /// `FAILED` only.
    pub fn async_connect_statuses(&self) -> Result<BTreeMap<String, AsyncConnectStatus>, HixlError> {
        Ok(self.engine()?.async_connect_statuses())
    }

    /// Moves bytes and waits until all are in place (`TransferSync`). When it returns, whatever it returns, nothing
    /// writes the local memory on its behalf any more.
    ///
    /// # Errors
    /// `PARAM_INVALID` for address 0, memory that is not registered where it is not staged, memory that is not mapped
    /// where it is, and a time-out of zero; `NOT_CONNECTED`; `TIMEOUT`; `UNSUPPORTED` for memory that the peer does not
    /// stage for this engine; `RESOURCE_EXHAUSTED` when too much waits for the peer; `FAILED`.
    ///
    /// # Safety
    /// The local memory may be written (read) until the call returns: nobody borrows it. That includes memory that is
    /// not registered, which is staged: the call copies to whatever is mapped there.
    pub unsafe fn transfer_sync(
        &self,
        remote_engine: &str,
        operation: TransferOp,
        operations: &[TransferOpDesc],
        timeout: Duration,
    ) -> Result<(), HixlError> {
        // SAFETY: passed on to the caller.
        unsafe { self.engine()?.transfer_sync(remote_engine, operation, operations, timeout) }
    }

    /// Begins to move bytes (`TransferAsync`). Ask [`Hixl::transfer_status`] until it has ended.
    ///
    /// # Errors
    /// As [`Hixl::transfer_sync`]; `RESOURCE_EXHAUSTED` when 65,536 transfers wait to be asked about.
    ///
    /// # Safety
    /// As [`Hixl::transfer_sync`], until the transfer has ended, or its link or the engine is gone.
    pub unsafe fn transfer_async(
        &self,
        remote_engine: &str,
        operation: TransferOp,
        operations: &[TransferOpDesc],
        args: TransferArgs,
    ) -> Result<TransferReq, HixlError> {
        // SAFETY: passed on to the caller.
        unsafe { self.engine()?.transfer_async(remote_engine, operation, operations, args) }
    }

    /// How an asynchronous transfer stands (`GetTransferStatus`). Its end is told once.
    ///
    /// # Errors
    /// `PARAM_INVALID` for one that never was or whose end was told.
    pub fn transfer_status(&self, req: TransferReq) -> Result<TransferStatus, HixlError> {
        self.engine()?.transfer_status(req)
    }

    /// How all asynchronous transfers stand, oldest first (`GetTransferStatus`). The end of each is told once.
    ///
    /// # Errors
    /// `FAILED` only.
    pub fn transfer_statuses(&self, args: TransferStatusArgs) -> Result<Vec<TransferResult>, HixlError> {
        Ok(self.engine()?.transfer_statuses(args))
    }

    /// Sends a notification over a link that this engine has made, and waits until the peer has it (`SendNotify`).
    ///
    /// # Errors
    /// `PARAM_INVALID` for more than 1024 bytes of name or message and a time-out of zero; `NOT_CONNECTED`; `TIMEOUT`;
    /// `RESOURCE_EXHAUSTED` when 4096 of the link wait at the peer; `NOTIFY_FAILED`.
    pub fn send_notify(
        &self,
        remote_engine: &str,
        notification: &NotifyDesc,
        timeout: Duration,
    ) -> Result<(), HixlError> {
        self.engine()?.send_notify(remote_engine, notification, timeout)
    }

    /// Takes what peers have sent, oldest first (`GetNotifies`).
    ///
    /// # Errors
    /// `FAILED` only.
    pub fn take_notifies(&self) -> Result<Vec<NotifyDesc>, HixlError> {
        Ok(self.engine()?.take_notifies())
    }

    /// Whether a [`FeatureType`], by its number, is there (`GetCapability`): [`FEATURE_SUPPORTED`] or
    /// [`FEATURE_NOT_SUPPORTED`].
    ///
    /// # Errors
    /// `PARAM_INVALID` for a negative number.
    pub fn capability(feature_type: i32) -> Result<i32, HixlError> {
        const KNOWN: [FeatureType; 2] = [FeatureType::AutoConnect, FeatureType::ClientServerComm];
        if feature_type < 0 {
            return Err(HixlError::NoFeature { number: feature_type });
        }
        let is_known = KNOWN.into_iter().any(|feature| feature as i32 == feature_type);
        Ok(if is_known { FEATURE_SUPPORTED } else { FEATURE_NOT_SUPPORTED })
    }

    fn engine(&self) -> Result<Arc<Engine>, HixlError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.clone().ok_or(HixlError::NotInitialized)
    }
}

impl Drop for Hixl {
    fn drop(&mut self) {
        self.finalize();
    }
}

impl fmt::Debug for Hixl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_initialised = self.engine().is_ok();
        formatter.debug_struct("Hixl").field("is_initialised", &is_initialised).finish()
    }
}
