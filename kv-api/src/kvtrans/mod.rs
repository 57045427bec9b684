//! KVTrans: messages between registered buffers; the k-th send of a connection meets its k-th receive.
//!
//! # Place in the flow
//! Programs that move whole buffers between two processes call it: in Rust here, in Python through the drop-in module
//! `kvtrans_engine`. It stands on [`fabric`](crate::fabric) and gives the lanes their work itself.
//!
//! ```text
//!  send_kv | recv_kv                                            outcomes, bytes received
//!       |                                                               ^
//!  engine       numbers -> registered memory                            |
//!  connection   sends, receives, offers; one lock      <---- messages, notifications of stripes
//!  stripes      one contiguous part for each lane                       ^
//!       v                                                               |
//!  pmd-host     Route::submit on every lane ----------------------> completions
//! ```
//! # Quick start
//! Two engines, here in one process.
//! ```
//! use std::time::Duration;
//!
//! use kv_api::kvtrans::{Config, Engine, Memory};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (prompt, mut cache) = (vec![7_u8; 1 << 20], vec![0_u8; 2 << 20]);
//! let decode = Engine::open(Config::new("lo", 2, 1, 0))?;
//! let prefill = Engine::open(Config::new("lo", 2, 1, 0))?;
//! let address = decode.listen_address().ok_or("decode does not listen")?;
//! let to_decode = prefill.connect(address.ip(), address.port())?;
//! let from_prefill = decode.accept(Duration::from_secs(10))?.connection;
//!
//! // SAFETY: both buffers outlive their registrations, and nobody looks at them meanwhile.
//! let source = unsafe { prefill.reg_kv(to_decode, &Memory::from(&prompt[..]).host()) }?;
//! // SAFETY: as above.
//! let target = unsafe { decode.reg_kv(from_prefill, &Memory::new(cache.as_mut_ptr(), cache.len()).host()) }?;
//! let receive = decode.post_receive(target, u64::MAX, None)?;
//! // SAFETY: as above.
//! unsafe { prefill.send_kv(source, Memory::from(&prompt[..])) }?;
//! assert_eq!(receive.wait()?, 1 << 20);
//! decode.dereg_kv(target)?;
//! assert!(cache[..1 << 20] == prompt);
//! # Ok(())
//! # }
//! ```
//! # Upstream's calls
//! The stages are those of the engine's history. Python's `False` is an [`Err`] here, whose text says why.
//!
//! | stage | Python | here |
//! |---|---|---|
//! | 0 | `Engine(if_name, ncpus, nconn_per_cpu, listen_port)` | [`Config::new`], [`Config::with_environment`], [`Engine::open`] |
//! | 0 | `connect(ip_addr, port) -> (ok, conn_id)` | [`Engine::connect`] |
//! | 0 | `accept() -> (ok, ip, port, conn_id)` | [`Engine::accept`], again after [`AcceptError::Timeout`] |
//! | 0 | `reg_kv(conn_id, buffer) -> (ok, kv_id)` | [`Engine::reg_kv`] |
//! | 0 | `send_kv(kv_id, buffer) -> ok` | [`Engine::send_kv`] via a [`KvId`]; any buffer, the registered one needs no registration of its own |
//! | 0 | `recv_kv(kv_id, max_size) -> (ok, bytes)` | [`Engine::recv_kv`] via a [`KvId`] into the registered buffer, or [`Engine::recv_kv_into`] into one of `max_size` bytes |
//! | 0b, 1 | `Endpoint(local_gpu_idx, num_cpus)` | [`Config::for_gpu`], [`Engine::open`] |
//! | 0b, 1 | `connect(remote_ip_addr, remote_gpu_idx) -> (ok, conn_id)` | [`Engine::connect`] with [`gpu_port`] |
//! | 0b, 1 | `accept() -> (ok, ip, gpu_idx, conn_id)` | [`Engine::accept`]; the accelerator is [`Accepted::label`] |
//! | 0b | `reg_kv(buffer) -> (ok, mr_id)` | [`Engine::reg_memory`] |
//! | 0b | `send_kv(conn_id, mr_id, buffer) -> ok` | [`Engine::send_kv`] via `(connection, memory)` |
//! | 0b | `recv_kv(conn_id, mr_id, max_size) -> (ok, bytes)` | [`Engine::recv_kv`] or [`Engine::recv_kv_into`], as in stage 0 |
//! | 1 | `reg_kv(ptr, size) -> (ok, mr_id)` | [`Engine::reg_memory`] |
//! | 1 | `send_kv(conn_id, mr_id, ptr, size) -> ok` | [`Engine::send_kv`] |
//! | 1 | `recv_kv(conn_id, mr_id, ptr, max_size) -> (ok, recv_size)` | [`Engine::recv_kv_into`] |
//!
//! Numbers of connections, kvs and memory count from 1, each on its own in its engine, and kvs and memory together.
//! Upstream's calls have no deadlines; here each ends after [`Config::patience`] at the latest. The forms that begin
//! ([`Engine::post_send`], [`Engine::post_receive`]) take a time of their own and give handles.
//!
//! # Device memory
//! An engine that was opened with accelerators sends and receives their memory as it does the host's: registered with
//! [`Memory::device`], or with [`Engine::describe`], which asks the runtimes whose an address is. What kernels write is
//! sent, and what is received is read by kernels, in the order that the caller keeps: a send is posted when the kernels
//! are done, kernels start when the receive has its outcome.
//!
//! # Matching
//! A connection has two directions that know nothing of each other. In each, sends and receives wait in lines, and the
//! first of one meets the first of the other. Which buffers they name plays no part: numbers of kvs are local and are
//! never exchanged. What has left its line without a meeting (its deadline passed, it was cancelled) has never been
//! there: the next in line takes its place. After a meeting both have an outcome, and both fail or both succeed, but
//! for a connection that goes down in between.
//!
//! A message longer than its receive has room for fails both, nothing is written, and the connection goes on.
//!
//! # Protocol
//! The receiver numbers its receives; the number is the ticket. Messages keep their order; stripes land on any lane, in
//! no order with anything.
//! ```text
//!   receiver                                      sender
//!      | Offer(ticket, address, room, key) ---------> | line of offers meets line of sends
//!      |                                              | a WRITE list on every lane, each with a notification
//!      | <------- Landed(ticket, stripes, length) --- | one from each stripe, when its bytes are in place
//!      | all stripes have landed: done                | all transfers have completed: done
//!      |                                              |
//!      | <------------------ TooLong(ticket, length)  | nothing was written
//!      | Withdraw(ticket) --------------------------> | cancels what is under way
//!      | <----------------- Abandoned(ticket, reason) | nothing is under way any more
//! ```
//! A side that closes says `Goodbye` on every route, and waits a while for the peer's `Farewell`: the peer has then heard
//! of every stripe, and has the outcome of everything that it wrote. The `Goodbye` says how many stripes there were, since
//! `Landed` is in no order with it where rails carry the stripes.
//!
//! Every offer is answered once: by `Landed` from all of its stripes, by `TooLong`, or by `Abandoned`. A sender says
//! `Abandoned` only after every transfer of the message has an outcome, that is, after its work requests were completed
//! or flushed.
//!
//! | a receive is | when | until it is done |
//! |---|---|---|
//! | **offered** | posted | all stripes landed, `TooLong`, or `Abandoned`; or it is withdrawn |
//! | **withdrawing** | its deadline passed, it was cancelled, its handle dropped, its memory released | `Abandoned`; or an answer that was under way, which counts: all stripes landed is success |
//! | **done** | answered | what comes late for its ticket is ignored |
//!
//! | an offer at the sender is | on `Withdraw` |
//! |---|---|
//! | **open**: no send has met it | leaves the line, `Abandoned` |
//! | **claimed**: being written | the transfers are cancelled; `Abandoned` if one was stopped, nothing if all were complete |
//! | **answered** | nothing: the answer is under way |
//!
//! So a receive that has an outcome is not written any more, whatever the outcome. A peer that does not answer a
//! withdrawal is no exception: after [`Config::withdraw_patience`], and when it dies, the connection goes down, its
//! routes are closed, which takes the queue pairs away through which the peer could write, and only then do receives
//! get their outcomes.
//!
//! # Lanes
//! `ncpus` lanes are threads of one endpoint ([`EndpointConfig::lanes`](pmd_host::endpoint::EndpointConfig::lanes)), not
//! engines of their own: memory is registered once and pinned once, a key is valid on every lane, and one control
//! connection decides whether the peer lives. A message is cut into one contiguous stripe for each lane (no stripe
//! shorter than [`Config::chunk_bytes`]), a stripe into work requests of that size, and a lane spreads those over its
//! `nconn_per_cpu` queue pairs. Short messages take the lanes in turn. Each stripe has a notification of its own, and
//! the receiver counts them: nothing assumes an order between lanes or queue pairs.
//!
//! # Threads
//! Callers may share an engine. An engine has one thread besides those of its endpoint: it keeps deadlines, repeats
//! what a peer had no room for, and ends connections. A send is written by the lane from the moment that both sides are
//! there, with no thread in between; who waits for it is woken by the lane.

mod config;
mod connection;
mod engine;
mod error;
mod handle;
mod members;
mod receiving;
mod sending;
mod signal;
mod stripes;
#[cfg(test)]
mod tests;
mod wire;

use std::net::IpAddr;

pub use config::{Config, GPU_PORT, gpu_port};
pub use engine::{Engine, Via};
pub use error::{
    AcceptError, ConnectError, ConnectionFault, OpenError, PostError, ReceiveError, RegisterError, SendError,
    SenderStop,
};
pub use handle::{ReceiveHandle, SendHandle};
use pmd_core::memory::{MemoryKind, RegionDescription};
pub use pmd_host::interface::{InterfaceError, listen_address};

/// Number of a connection in its engine, from 1; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Number of memory that is registered for one connection, from 1. Local to the engine and never exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KvId(pub u64);

/// Number of memory that is registered for every connection (upstream's `mr_id`). Local to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemoryId(pub u64);

/// Bytes of this process that a message is read from or written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// First byte.
    pub address: u64,
    /// Bytes; may be zero.
    pub length: u64,
}

impl Memory {
    /// `length` bytes at `pointer`.
    #[must_use]
    pub fn new(pointer: *const u8, length: usize) -> Self {
        Self { address: pointer as u64, length: length as u64 }
    }

    /// The same as host memory to register.
    #[must_use]
    pub const fn host(self) -> RegionDescription {
        let Self { address, length } = self;
        RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None }
    }

    /// The same as memory of an accelerator to register, one that the engine was opened with
    /// ([`DeviceConfig::accelerators`](pmd_host::soft::DeviceConfig::accelerators) of [`Config::endpoint`]).
    #[must_use]
    pub const fn device(self) -> RegionDescription {
        RegionDescription { kind: MemoryKind::Device, ..self.host() }
    }
}

impl From<&[u8]> for Memory {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.as_ptr(), bytes.len())
    }
}

/// A peer that connected to this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its address.
    pub ip: IpAddr,
    /// Port that it listens on itself: with `ip`, where to connect back to.
    pub port: u16,
    /// Its [`Config::label`].
    pub label: u32,
    /// The connection.
    pub connection: ConnectionId,
}

/// How much of everything an engine has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that are not down.
    pub connections: usize,
    /// Registrations that were not released.
    pub registrations: usize,
    /// Sends without an outcome.
    pub sends: usize,
    /// Receives without an outcome.
    pub receives: usize,
}
