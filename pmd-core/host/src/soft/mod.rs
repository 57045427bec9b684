//! The soft HCA: a software device behind the lower seam, so that a machine without a NIC runs the same queue pairs.
//!
//! It reads the send queue's WQEs when the doorbell rings, checks keys, moves the bytes once, and writes CQEs with the
//! syndromes that hardware gives. There is no device thread: the engine runs on the thread that rings and polls.
//!
//! ```text
//!  QueueProvider<SoftHardware>    pmd-core's queue pair: WQE bytes, doorbell record, doorbell
//!        |  ring                                       ^ CQE bytes
//!  engine   requester: reads WQEs ------ direct -----> | copies into / out of the peer's memory itself
//!           |    request ring  (SEND, immediates, and whatever cannot be done directly)
//!           v    response ring (read data, atomic results, NAK)
//!  engine of the peer: responder, runs when the peer polls
//! ```
//!
//! # What is shared
//! Each [`Device`] has one **segment** (memfd, written by its owner, mapped read-only by peers): a header, one
//! `Activity` line per engine (and per mover), and the region table. Each connected queue pair has one **link** (memfd, written by both
//! sides): request and response packet rings in both directions, a state word and a parked word per side.
//! Each **arena** (memfd) holds memory from [`Device::allocate`]; peers map it when they first hear of it.
//! All are anonymous files: nothing has a name, so nothing is left behind when a process is killed.
//!
//! Descriptors travel over abstract unix sockets named after the [`DeviceId`](crate::identity::DeviceId) (random, so a
//! restarted process cannot be taken for its predecessor). A device connects to each peer device once and sends its
//! announcements there; it listens for theirs. End of file on a peer's socket means that the peer process is gone.
//!
//! To a peer on another host a link is TCP streams, and its rings are memory of this process: see the module `tcp`.
//!
//! # How bytes are reached
//! | region | path | copies |
//! |---|---|---|
//! | same process | `memmove` | 1 |
//! | in an arena that is mapped | `memcpy` to or from the mapping | 1 |
//! | any other memory | `process_vm_readv` / `process_vm_writev`, many entries per call, over neighbouring WQEs | 1 |
//! | where the kernel refuses that | packets through the rings, moved by the peer's engine when it polls | 2 |
//! | memory of an accelerator | by its streams, which a thread of the engine's drives: see the module `mover` | 1, or 2 with memory of the host |
//!
//! # Order
//! WQEs of a queue pair are begun in order and retired in order. SEND, immediates and packet-borne operations travel
//! in the request ring, which is FIFO. A direct operation waits for every packet-borne WRITE, READ or atomic before
//! it; a direct READ or atomic waits for every SEND too. One relaxation: a direct WRITE may overtake the *payload* of
//! an earlier SEND (not the other way round), which matters only to a program that writes into a receive buffer that
//! it is sending to.
//! The last 8 bytes of a direct WRITE are stored last, so a peer that polls the end of a message sees all of it.
//!
//! # Revoking a region
//! An engine is *active* while it moves bytes and checks keys only while active; deregistration clears the key and
//! waits until every engine of this process and of connected peers has been seen idle once, or its process is gone
//! (`pmd_core::ring::quiesce`). A pass moves a bounded number of bytes, so the wait is bounded.

mod arena;
mod backend;
mod connect;
mod device;
mod device_memory;
mod engine;
mod exchange;
mod joining;
mod link;
mod memory;
mod message;
mod mover;
mod peer;
mod quiet;
mod reach;
mod regions;
mod register;
mod room;
mod seat;
mod segment;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;

pub use arena::{AllocateError, Arena, ArenaOptions, HugePages};
pub use backend::SoftBackend;
pub use device::{Device, DeviceConfig, OpenError, ProtectionDomain};
pub use device_memory::Accelerators;
pub use engine::{SoftHardware, Tuning};
pub use register::RegisterError;
pub use tcp::{STREAMED_FROM, TcpConfig};

pub(crate) use connect::{Endpoint, PendingLink};
pub(crate) use joining::Joining;
pub(crate) use link::{Link, Route};
pub(crate) use memory::{Mapping, Protection, memory_file};
pub(crate) use mover::{Direction as MoveDirection, Fault as MoveFault, Job, Local, Moved, Mover};
pub(crate) use quiet::Quiet;
pub(crate) use reach::{MappingCache, Reach, Shared};
pub(crate) use seat::Seat;
