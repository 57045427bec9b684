//! The scheduler as a process has it: [`SchedulerState`] behind a control plane.

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
    metadata::{Publication, Standing},
};

use super::{
    Barrier, BarrierError, SchedulerError, StartError,
    machine::{Heard, KIND, Outcome, Outgoing, SchedulerState},
    member::{Member, MemberState},
};
use crate::config::{Config, ConfigError, Group, ProcessRole};

/// Connections without a Hello that are let wait beyond one for each place: others than nodes.
const STRANGERS: usize = 64;

/// Brings the nodes of a cluster together. One thread of its own; dropping it ends the connections to all nodes, which
/// hear [`Event::SchedulerLost`](super::Event::SchedulerLost).
pub struct Scheduler {
    shared: Arc<Shared>,
    address: SocketAddr,
    plane: ControlPlane,
    /// Its entry in the group's directory.
    publication: Option<Box<dyn Publication>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    machine: SchedulerState,
    connections: BTreeMap<u64, Connection>,
}

impl Scheduler {
    /// Listens for nodes, and publishes where, if the configuration names a group: waiting then for a predecessor's entry to
    /// go, at most [`Config::start_timeout`]. Needs the cluster's shape, the address (port 0 lets the system choose), the keep-alive bound
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
        control.key.clone_from(&config.endpoint.security.key);
        control.anonymous_limit = config.shape.places().count() + STRANGERS;
        let state = State { machine: SchedulerState::new(config.shape), connections: BTreeMap::new() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let plane = ControlPlane::start(control, Arc::clone(&shared) as Arc<dyn Service>)?;
        let address = plane.local_address().unwrap_or(address);
        let publish = |group: &Group| group.publish(config, address);
        let publication = config.group.as_ref().map(publish).transpose()?;
        Ok(Self { shared, address, plane, publication })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Whether its group's directory says where it listens; `None` without a group.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.publication.as_ref().map(|publication| publication.standing())
    }

    /// Everybody who has ever come, as it is now, servers first, by rank.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.shared.lock().machine.members()
    }

    /// Waits until every place has been taken.
    ///
    /// # Errors
    /// [`StartError::Missing`].
    pub fn wait_formed(&self, timeout: Duration) -> Result<(), StartError> {
        let formed = |state: &State| state.machine.is_formed().then_some(());
        self.shared.wait(Instant::now() + timeout, formed).ok_or_else(|| {
            let missing = self.shared.lock().machine.missing();
            StartError::Missing { missing, expected: self.places(), waited: timeout }
        })
    }

    /// Waits until the cluster has formed and nobody is up any more; whether that was in time.
    #[must_use]
    pub fn wait_finished(&self, timeout: Duration) -> bool {
        let finished = |state: &State| {
            let up = |member: &Member| member.state == MemberState::Up;
            (state.machine.is_formed() && !state.machine.members().iter().any(up)).then_some(())
        };
        self.shared.wait(Instant::now() + timeout, finished).is_some()
    }

    /// Enters a barrier of the scheduler and others.
    ///
    /// # Errors
    /// [`BarrierError`]; the scheduler is then not at the barrier.
    pub fn barrier(&self, barrier: &Barrier, timeout: Duration) -> Result<(), BarrierError> {
        let begin = Instant::now();
        let number = self.shared.act(|machine| machine.enter(barrier));
        let answered = |state: &State| state.machine.outcome(number);
        let mut outcome = self.shared.wait(begin + timeout, answered);
        if outcome.is_none() {
            self.shared.act(|machine| machine.withdraw(number));
            outcome = answered(&self.shared.lock());
        }
        self.shared.lock().machine.close_ticket(number);
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
        self.shared.lock().machine.barriers()
    }

    fn places(&self) -> usize {
        self.shared.lock().machine.places()
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

    /// Has something happen and tells what comes of it. Under one lock, so that everybody hears everything in one order.
    fn act<T>(&self, action: impl FnOnce(&mut SchedulerState) -> T) -> T {
        let mut state = self.lock();
        let result = action(&mut state.machine);
        for outgoing in state.machine.take_outgoing() {
            state.send(&outgoing);
        }
        drop(state);
        self.changed.notify_all();
        result
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
    fn send(&self, outgoing: &Outgoing) {
        for connection in outgoing.to.iter().filter_map(|number| self.connections.get(number)) {
            let _ = connection.event(KIND, outgoing.body.clone());
        }
    }
}

impl Service for Shared {
    fn connected(&self, connection: &Connection) {
        let mut state = self.lock();
        state.machine.connected(connection.number());
        state.connections.insert(connection.number(), connection.clone());
    }

    fn request(&self, _: &Connection, kind: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        let detail = format!("a scheduler answers no request of kind {kind}");
        Err(Refusal { code: Refusal::UNKNOWN_KIND, detail })
    }

    fn event(&self, connection: &Connection, kind: u16, body: &[u8]) {
        if kind != KIND {
            return;
        }
        let heard = self.act(|machine| machine.heard(connection.number(), connection.remote(), body));
        if heard == Heard::Nonsense {
            connection.close();
        }
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        self.lock().connections.remove(&connection.number());
        self.act(|machine| machine.gone(connection.number(), reason));
    }
}
