//! The device: executes what the driver queued. Entered when a doorbell is seen (`uar`), when an object changes state
//! (`kernel`), and from each process's service thread when something that waits is due.
//!
//! ```text
//!  uar: ring, arm, blue_flame, stray_store     kernel: modify, destroy     service thread: run_due, take_events
//!        |                                          |                            |
//!   doorbell ── lint of the doorbell           transitions                    timers, events
//!        |                                          |                            |
//!   requester ── wqe (fetch, lint) ── gather        +──────── flush ─────────────+
//!        |── responder ── receives, datagram            |
//!        +────────────── completion ────────────────────+── events (armed CQs, asynchronous)
//! ```
//! # One turn
//! All work happens in *turns*: the lock of [`crate::state`] is taken, a bounded piece of work is done (one WQE, or
//! `requester::PIECE` bytes of a long WRITE or READ), and the lock is given back. What the work found broken is reported
//! after that, so that a process that aborts leaves an intact device. A queue pair's WQEs are executed by its own
//! process; memory, completion queues and receives of the peer are reached through [`crate::dma`].
//!
//! The code may run inside a SIGSEGV handler, at the store that rang. It therefore never stores to a UAR page, never
//! calls a verbs library, takes no lock but the state's, and keeps large things off the stack.
//!
//! # Order, as seen by software
//! 1. Doorbell: the record is read after the doorbell was seen; the device never looks past the record.
//! 2. A WQE: local and remote keys are checked, then bytes move, then the responder's CQE is written, then the
//!    requester's. Execution is in order, so that fences and `max_rd_atomic` hold by themselves.
//! 3. A CQE: 63 bytes (and the 64 before them of a 128-byte entry), then `op_own` alone. Then the event, if armed.
//!
//! # States of a send queue
//! | queue pair | stall | what a turn does |
//! |---|---|---|
//! | RTS | none | executes the WQE at the consumer index |
//! | RTS | receiver not ready, no answer, delayed | nothing until `due`, then the same WQE again, or gives up |
//! | SQD | as RTS | finishes a WQE that was begun, then raises `SQ_DRAINED`; nothing else |
//! | SQE, ERR | - | completes what is posted as flushed, in order |
//! | RTR | - | nothing; a doorbell is remembered |
//! | RESET, INIT | - | nothing; a doorbell is forgotten |
//!
//! A responder that refuses a request of a reliable connection goes to ERR itself, as the InfiniBand specification
//! (9.9.3) wants; on an unreliable connection it drops the message.

mod arm;
mod completion;
mod datagram;
mod destroy;
mod doorbell;
mod events;
mod faults;
mod flush;
mod gather;
mod link;
mod receives;
mod recovery;
mod requester;
mod responder;
#[cfg(test)]
mod tests;
mod timers;
mod transitions;
mod turn;
mod wqe;

use std::io;

use crate::{
    config::{self, Config},
    fault::Plan,
    lint,
    port::Port,
    state::{Guard, ProcessIndex, SharedState},
};

pub use events::Event;
pub use transitions::{Attributes, ModifyQueuePair};

/// The device as one process has it open.
#[derive(Debug)]
pub struct Device {
    /// How it behaves.
    pub config: Config,
    /// What all processes share.
    pub state: SharedState,
    /// This process in the tables.
    pub process: ProcessIndex,
    /// The port that all paths lead to.
    port: Port,
    /// What goes wrong without anybody's fault.
    faults: Plan,
}

impl Device {
    /// Opens the state file of `config` and enters this process into its tables.
    ///
    /// # Errors
    /// What the system says to the file, `EMFILE` when the table of processes is full, and `InvalidInput` for a fault
    /// list that is not understood, whose reason is written to standard error too.
    pub fn open(config: Config) -> io::Result<Self> {
        let faults = Plan::parse(&config.faults).map_err(|error| {
            lint::write(&format!("connectx: {}: {error}\n", config::FAULTS));
            io::Error::new(io::ErrorKind::InvalidInput, error)
        })?;
        let state = SharedState::open(&config.state)?;
        let process = state.lock().add_process(std::process::id());
        let process = process.ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
        let port = Port::new(config.link);
        Ok(Self { config, state, process, port, faults })
    }

    /// Takes the device to work on it.
    pub fn lock(&self) -> Guard<'_> {
        self.state.lock()
    }
}
