//! How the processes of a cluster find each other: a scheduler, places with ranks, barriers, and word of who comes and
//! goes.
//!
//! # Place in the flow
//! Every process calls it first. A server opens its endpoint, announces it ([`Config::with_endpoint`]) and starts its
//! [`Node`]; a worker starts its node and connects to the servers that it finds among the members. The data path does not
//! pass here: push-pulls go on while the scheduler is away.
//!
//! ```text
//!   Scheduler                                  one process (or a thread of one): counts places and barriers
//!      ^  | control connections: join, barriers, keep-alive; notices of who comes, goes, is released
//!      |  v
//!   Node  Node  Node ...                       each process: its members, who else there is, events
//! ```
//! | module | holds |
//! |---|---|
//! | `member` | roles, places, what is known of a member |
//! | `protocol` | the messages |
//! | [`machine`] | the two ends without sockets and clocks |
//! | `cluster`, `barriers`, `view` | what the scheduler knows, what a node knows |
//! | `scheduler`, `node` | the two ends as processes have them |
//!
//! # Concepts
//! - **Place** ([`MemberId`]): a role and a rank. `workers x group_size` places are workers, `servers x group_size` are
//!   servers; ranks are unique in their role and run from 0. A rank beyond that, or one that a living process holds, is
//!   refused with a reason ([`Refused`]).
//! - **Member** ([`Member`]): who holds a place: its data address, and its **epoch**, which counts how often the place was
//!   taken. A restarted process takes its old place with the next epoch; the others hear [`Event::Joined`].
//! - **Start**: [`Node::start`] returns when every place has been taken, or names those that are missing
//!   ([`StartError::Missing`]) at its deadline. After the cluster has formed once, a node that comes back does not wait
//!   for others.
//! - **Barrier** ([`Barrier`]): named, for some roles, for every instance, for those of one number, or for one of each
//!   group. It ends with everyone released; with a deadline and who is missing; or at once when a member that it waits for
//!   is down, unless the caller waits [`patiently`](Barrier::patiently) for its return. Who has left in order is not waited
//!   for.
//! - **Liveness**: each side hears the other at least every [`Config::keep_alive`]. A node that is killed is down at once,
//!   a host that falls silent after [`Config::down_after`]; every other member hears [`Event::Down`]. A node whose terms do
//!   not work with the scheduler's hears so at its start ([`StartError::KeepAlive`]).
//! - **The scheduler is lost**: nodes hear [`Event::SchedulerLost`], barriers fail with
//!   [`BarrierError::SchedulerLost`], the members stay known and push-pulls go on. [`Node::rejoin`] joins the scheduler
//!   that was started in its place.
//!
//! # Example
//! A scheduler, a server and a worker; here in one process.
//! ```
//! use std::{thread, time::Duration};
//!
//! use af_api::config::{Config, ProcessRole};
//! use af_api::rendezvous::{Barrier, MemberId, Node, Roles, Scheduler};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = |role, address| Config::new(role, 1, 1, address);
//! let scheduler = Scheduler::start(&config(ProcessRole::Scheduler, ([127, 0, 0, 1], 0).into()))?;
//! let address = scheduler.local_address();
//! let server = thread::spawn(move || Node::start(config(ProcessRole::Server, address)));
//! let worker = Node::start(config(ProcessRole::Worker, address))?;
//! let server = server.join().expect("no panic")?;
//! assert_eq!(worker.members().len(), 2);
//! assert_eq!(server.member(MemberId::worker(0)).map(|worker| worker.epoch), Some(1));
//!
//! let both = Barrier::new("loaded", Roles::WORKER | Roles::SERVER);
//! let other = thread::spawn({
//!     let both = both.clone();
//!     move || server.barrier(&both, Duration::from_secs(10))
//! });
//! worker.barrier(&both, Duration::from_secs(10))?;
//! other.join().expect("no panic")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Security
//! As the control plane's: without a key the scheduler's port neither authenticates nor encrypts, listen on a trusted network
//! then. The key of [`Config::endpoint`](crate::config::Config::endpoint) is the scheduler's and its nodes' too:
//! [`pmd_host::security`].
//!
//! [`Config`]: crate::config::Config
//! [`Config::with_endpoint`]: crate::config::Config::with_endpoint
//! [`Config::keep_alive`]: crate::config::Config::keep_alive
//! [`Config::down_after`]: crate::config::Config::down_after

mod barriers;
mod cluster;
mod error;
pub mod machine;
mod member;
mod node;
mod protocol;
mod scheduler;
mod view;

pub use error::{BarrierError, LeaveError, SchedulerError, StartError, WaitError};
pub use member::{DataAddress, DownCause, Member, MemberId, MemberState, Role, Roles};
pub use node::Node;
pub use protocol::{BARRIER_LIMIT, BarrierFailure, NAME_LIMIT, Refused, Scope, VERSION};
pub use scheduler::Scheduler;
pub use view::Event;

/// A barrier: everyone who enters it waits until all who are expected have entered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// Its name. Barriers of other names, roles or scopes are other barriers.
    pub name: String,
    /// Whose members it waits for.
    pub roles: Roles,
    /// Which instances of them.
    pub scope: Scope,
    /// Whether to wait for the return of members that are down.
    pub patient: bool,
    /// Which members of this process enter; all that are expected where empty.
    pub entering: Vec<MemberId>,
}

impl Barrier {
    /// A barrier for every instance of some roles.
    #[must_use]
    pub fn new(name: impl Into<String>, roles: Roles) -> Self {
        Self { name: name.into(), roles, scope: Scope::Everyone, patient: false, entering: Vec::new() }
    }

    /// Only for these instances.
    #[must_use]
    pub const fn with_scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Goes on waiting where a member is down, until it has come back or the deadline passes.
    #[must_use]
    pub const fn patiently(mut self) -> Self {
        self.patient = true;
        self
    }

    /// Enters for one member only, in a process that is worker and server.
    #[must_use]
    pub fn entering(mut self, member: MemberId) -> Self {
        self.entering.push(member);
        self
    }
}

#[cfg(test)]
mod tests;
