//! Both ends of the rendezvous without sockets, threads and clocks: bytes in, bytes out.
//!
//! [`Scheduler`](super::Scheduler) and [`Node`](super::Node) carry the bytes over control connections, keep the deadlines and
//! let threads wait. Whoever carries them in another way, a simulation of thousands of nodes for one, runs the same protocol.
//!
//! ```text
//!   NodeState                                  SchedulerState
//!     join, announce, enter -- bytes -->  heard
//!     heard                <-- Outgoing -- take_outgoing
//!     lost                                 gone
//! ```
//! Bytes travel as events of kind [`KIND`] on a connection that keeps their order. No call waits.
//!
//! ```
//! use af_api::config::{Config, ProcessRole};
//! use af_api::rendezvous::machine::{NodeState, SchedulerState};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address = ([10, 0, 0, 1], 4000).into();
//! let config = Config::new(ProcessRole::Server, 1, 1, address);
//! let (mut scheduler, mut node) = (SchedulerState::new(config.shape), NodeState::new(&config)?);
//! scheduler.connected(7);
//! scheduler.heard(7, address, &node.join(false));
//! for outgoing in scheduler.take_outgoing() {
//!     assert_eq!(outgoing.to, [7]);
//!     node.heard(&outgoing.body);
//! }
//! assert_eq!(node.members().count(), 1);
//! assert_eq!(scheduler.missing().len(), 1);
//! # Ok(())
//! # }
//! ```

mod node;
mod scheduler;

pub use super::{
    protocol::KIND,
    view::{Admission, Outcome},
};
pub use node::NodeState;
pub use scheduler::{Heard, Outgoing, SchedulerState};
