//! Thousands of nodes in one process: the driver's own protocols, with simulated links and a simulated clock.
//!
//! ```text
//!   scenario    what a world goes through, and what must be so after each part
//!      |
//!   world       events in the order of their time, one generator, no threads, no clock but its own (`clock`)
//!      |------- office     af_api::rendezvous::machine::SchedulerState, behind simulated connections
//!      |------- node       af_api::rendezvous::machine::NodeState
//!      '------- line       pmd_host::rail::Bundle and Inbox, pmd_core::ring::credits, at both ends of every link
//!                 traffic      what NICs, queue pairs and sockets would do with what these ask for
//! ```
//! What is **real**: who is told what, in which order and in how many bytes; which chunk goes on which rail, when, and again;
//! who may send a message; what all this allocates. What is **assumed**: latencies, bandwidths, losses, what a system call
//! costs ([`Assumptions`]). What is **copied**: the rule by which a control connection sends keep-alives and takes a silent
//! peer for dead, which in the driver looks at the clock itself.
//!
//! The same settings give the same world, event by event: [`Run::digest`]. The command `simulate` prints the table that
//! README.md beside this package discusses; the suite of the same name runs it.

mod clock;
mod line;
mod memory;
mod node;
mod office;
mod run;
mod scenario;
mod settings;
#[cfg(test)]
mod tests;
mod traffic;
mod violation;
mod world;

pub use memory::PeerMemory;
pub use run::{Run, table};
pub use scenario::run;
pub use settings::{Assumptions, Settings};
pub use violation::Violation;

/// Promises that the smallest and the largest of some worlds do not keep together: what should not depend on the number of
/// nodes does.
#[must_use]
pub fn not_flat(runs: &[Run]) -> Vec<Violation> {
    match (runs.first(), runs.last()) {
        (Some(small), Some(large)) => scenario::flatness(small, large),
        _ => Vec::new(),
    }
}
