//! The scheduler: brings nodes together, and does nothing else.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pmd_host::{
    control::{Connection, ControlConfig, ControlPlane, DownReason, PeerIdentity, Refusal, Service},
    identity::{DeviceId, HostId},
};

use super::{
    Barrier, BarrierError, SchedulerError, StartError,
    barriers::Ticket,
    cluster::{Audience, Cluster, LOCAL, Request},
    member::{DownCause, Member, MemberId, MemberState},
    protocol::{KIND, Key, Misunderstood, Notice, Say, decode, encode},
    view::{Outcome, View},
};
use crate::config::{Config, ConfigError, ProcessRole};

/// Connections without a Hello that are let wait beyond one for each place: others than nodes.
const STRANGERS: usize = 64;

/// Brings the nodes of a cluster together. One thread of its own; dropping it ends the connections to all nodes, which
/// hear [`Event::SchedulerLost`](super::Event::SchedulerLost).
pub struct Scheduler {
    shared: Arc<Shared>,
    address: SocketAddr,
    plane: ControlPlane,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    cluster: Cluster,
    connections: BTreeMap<u64, Connection>,
    /// The scheduler's own barriers.
    local: View,
}

impl Scheduler {
    /// Listens for nodes. Needs the cluster's shape, the address (port 0 lets the system choose), the keep-alive bound
    /// and the name of the configuration.
    ///
    /// # Errors
    /// [`SchedulerError`].
    pub fn start(config: &Config) -> Result<Self, SchedulerError> {
        if config.role != ProcessRole::Scheduler {
            return Err(ConfigError::WrongRole { role: config.role }.into());
        }
        config.members()?;
        let identity = PeerIdentity {
            incarnation: DeviceId::random().map_err(SchedulerError::Identity)?,
            name: config.name.clone(),
            host: HostId::current().map_err(SchedulerError::Identity)?,
        };
        let address = config.scheduler_addresses()?[0];
        let mut control = ControlConfig::new(identity, Some(address));
        (control.interval, control.timeout) = (config.keep_alive, config.down_after);
        control.anonymous_limit = config.shape.places().count() + STRANGERS;
        let state =
            State { cluster: Cluster::new(config.shape), connections: BTreeMap::new(), local: View::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let plane = ControlPlane::start(control, Arc::clone(&shared) as Arc<dyn Service>)?;
        let address = plane.local_address().unwrap_or(address);
        Ok(Self { shared, address, plane })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Everybody who has ever come, as it is now, servers first, by rank.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.shared.lock().cluster.members()
    }

    /// Waits until every place has been taken.
    ///
    /// # Errors
    /// [`StartError::Missing`].
    pub fn wait_formed(&self, timeout: Duration) -> Result<(), StartError> {
        let formed = |state: &State| state.cluster.is_formed().then_some(());
        self.shared.wait(Instant::now() + timeout, formed).ok_or_else(|| {
            let missing = self.shared.lock().cluster.missing();
            StartError::Missing { missing, expected: self.places(), waited: timeout }
        })
    }

    /// Waits until the cluster has formed and nobody is up any more; whether that was in time.
    #[must_use]
    pub fn wait_finished(&self, timeout: Duration) -> bool {
        let finished = |state: &State| {
            let up = |member: &Member| member.state == MemberState::Up;
            (state.cluster.is_formed() && !state.cluster.members().iter().any(up)).then_some(())
        };
        self.shared.wait(Instant::now() + timeout, finished).is_some()
    }

    /// Enters a barrier of the scheduler and others.
    ///
    /// # Errors
    /// [`BarrierError`]; the scheduler is then not at the barrier.
    pub fn barrier(&self, barrier: &Barrier, timeout: Duration) -> Result<(), BarrierError> {
        let begin = Instant::now();
        let key = Key { name: barrier.name.clone(), roles: barrier.roles.bits(), scope: barrier.scope };
        let number = self.shared.lock().local.open_ticket();
        let ticket = Ticket { connection: LOCAL, number };
        let members = [MemberId::SCHEDULER];
        self.shared.act(|cluster| cluster.enter(ticket, &key, &members, barrier.patient));
        let answered = |state: &State| state.local.outcome(number);
        let mut outcome = self.shared.wait(begin + timeout, answered);
        if outcome.is_none() {
            self.shared.act(|cluster| cluster.withdraw(ticket));
            outcome = answered(&self.shared.lock());
        }
        self.shared.lock().local.close_ticket(number);
        let name = barrier.name.clone();
        match outcome {
            Some(Outcome::Released) => Ok(()),
            Some(Outcome::Failed(failure)) => Err(BarrierError::Failed { name, failure }),
            Some(Outcome::Missing(missing)) => {
                Err(BarrierError::Missing { name, missing, waited: begin.elapsed() })
            }
            Some(Outcome::Lost(reason)) => Err(BarrierError::SchedulerLost { name, reason }),
            None => Err(BarrierError::Missing { name, missing: Vec::new(), waited: begin.elapsed() }),
        }
    }

    /// Barriers that somebody is at.
    #[cfg(test)]
    pub(super) fn barriers(&self) -> usize {
        self.shared.lock().cluster.barriers()
    }

    fn places(&self) -> usize {
        self.shared.lock().cluster.places()
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Scheduler")
            .field("address", &self.address)
            .field("plane", &self.plane)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the cluster and tells what comes of it. Under one lock, so that everybody hears everything in
    /// one order.
    fn act(&self, action: impl FnOnce(&mut Cluster)) {
        let mut state = self.lock();
        action(&mut state.cluster);
        for (audience, notice) in state.cluster.take_outbox() {
            state.tell(audience, notice);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn wait<T>(&self, deadline: Instant, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// A connection that takes no more is about to be down: nothing is lost on anybody who lives.
    fn tell(&mut self, audience: Audience, notice: Notice) {
        match audience {
            Audience::One(LOCAL) => self.local.apply(Ok(notice)),
            Audience::One(number) => {
                if let Some(connection) = self.connections.get(&number) {
                    let _ = connection.event(KIND, encode(&notice));
                }
            }
            Audience::AllBut(number) => {
                let bytes = encode(&notice);
                let others = self.connections.iter().filter(|(other, _)| **other != number);
                for (_, connection) in others.filter(|(other, _)| self.cluster.holds(**other)) {
                    let _ = connection.event(KIND, bytes.clone());
                }
            }
        }
    }
}

impl Service for Shared {
    fn connected(&self, connection: &Connection) {
        self.lock().connections.insert(connection.number(), connection.clone());
    }

    fn request(&self, _: &Connection, kind: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        let detail = format!("a scheduler answers no request of kind {kind}");
        Err(Refusal { code: Refusal::UNKNOWN_KIND, detail })
    }

    fn event(&self, connection: &Connection, kind: u16, body: &[u8]) {
        if kind != KIND {
            return;
        }
        let number = connection.number();
        let ticket = |number| Ticket { connection: connection.number(), number };
        match decode(body) {
            Ok(Say::Join { shape, name, places, held }) => {
                let request = Request { shape, name: &name, places: &places, held };
                self.act(|cluster| cluster.join(number, connection.remote(), &request));
            }
            Ok(Say::Announce(data)) => self.act(|cluster| cluster.announce(number, &data)),
            Ok(Say::Enter { ticket: of, barrier, members, patient }) => {
                self.act(|cluster| cluster.enter(ticket(of), &barrier, &members, patient));
            }
            Ok(Say::Withdraw { ticket: of }) => self.act(|cluster| cluster.withdraw(ticket(of))),
            Ok(Say::Leave) => self.act(|cluster| cluster.leave(number)),
            // The answer is of this version, and that says it.
            Err(Misunderstood::Version { .. }) => {
                let _ = connection.event(KIND, encode(&Notice::OtherVersion));
            }
            Err(Misunderstood::Malformed) => {
                self.act(|cluster| cluster.down(number, &DownCause::Protocol));
                connection.close();
            }
        }
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        let number = connection.number();
        self.lock().connections.remove(&number);
        // This scheduler ends: its nodes hear that, and not of each other's ends.
        if *reason == DownReason::Local {
            return;
        }
        self.act(|cluster| cluster.down(number, &DownCause::from(reason)));
    }
}
