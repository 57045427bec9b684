//! A process's end of the rendezvous: [`NodeState`] behind a control connection, with deadlines.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pmd_host::{
    control::{
        ConnectError, Connection, ControlConfig, ControlPlane, DownReason, FrameError, PeerIdentity, Refusal,
        RequestError, Service,
    },
    identity::{DeviceId, HostId},
    metadata::{Claim, MetadataError},
};

use super::{
    Barrier, BarrierError, Event, LeaveError, StartError, WaitError,
    machine::{Admission, KIND, NodeState, Outcome},
    member::{DataAddress, Member, MemberId, MemberState, Role},
    protocol::{BarrierFailure, Refused},
    view::View,
};
use crate::config::{Config, ConfigError, ProcessRole, WaitFor};

/// Longest attempt to connect to the scheduler.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Pause between two questions to a directory, which many nodes ask at once.
const GROUP_PAUSE: Duration = Duration::from_millis(250);

/// A process's place in the cluster. Dropping it leaves in order; dropping it in a panic counts as going down.
///
/// May be used from any thread; every wait has a deadline.
pub struct Node {
    config: Config,
    members: Vec<MemberId>,
    shared: Arc<Shared>,
    connection: Mutex<Connection>,
    /// Held by whoever joins or announces: one at a time.
    joining: Mutex<()>,
    plane: ControlPlane,
    /// What keeps the rank this process's, where it was claimed. Let go of last.
    _claim: Option<Claim>,
}

#[derive(Debug)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Debug)]
struct Watched {
    state: NodeState,
    /// Number of the connection whose notices count.
    connection: u64,
}

impl Node {
    /// Joins the cluster, and waits for those that [`Config::wait_for`] names, at most [`Config::start_timeout`] in all.
    ///
    /// # Errors
    /// [`StartError`]; the places are free again.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let begin = Instant::now();
        let node = Self::connect(config, begin)?;
        node.join(begin, false)?;
        node.wait_formed(begin)?;
        node.lock().state.listen();
        Ok(node)
    }

    /// Takes its places and waits for nobody: the members of this process are known here, with their epochs, and the others
    /// do not hear of them before [`Node::announce`]. For an endpoint that is to say its epoch when it is opened.
    ///
    /// # Errors
    /// [`StartError`]; the places are free again.
    pub fn reserve(config: Config) -> Result<Self, StartError> {
        let begin = Instant::now();
        let node = Self::connect(config, begin)?;
        node.join(begin, true)?;
        Ok(node)
    }

    /// Tells the others of this process's members, and where those take push-pulls that are listed; then waits as
    /// [`Node::start`] does, at most [`Config::start_timeout`] again. A second call changes the addresses.
    ///
    /// # Errors
    /// [`StartError`]; the others may have been told all the same.
    pub fn announce(&self, data: &[(Role, DataAddress)]) -> Result<(), StartError> {
        let _turn = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let say = self.lock().state.announce(data);
        self.ask(&say, begin)??;
        self.wait_formed(begin)?;
        self.lock().state.listen();
        Ok(())
    }

    fn connect(mut config: Config, begin: Instant) -> Result<Self, StartError> {
        if config.role == ProcessRole::Scheduler {
            return Err(ConfigError::WrongRole { role: config.role }.into());
        }
        let claim = claim(&mut config, begin)?;
        let members = config.members()?;
        let watched = Watched { state: NodeState::new(&config)?, connection: 0 };
        let shared = Arc::new(Shared { watched: Mutex::new(watched), changed: Condvar::new() });
        let plane = start_plane(&config, &shared)?;
        let connection = Mutex::new(connect(&plane, &config, begin + config.start_timeout)?);
        let joining = Mutex::default();
        Ok(Self { config, members, shared, connection, joining, plane, _claim: claim })
    }

    /// Joins again: the scheduler that was started in the place of one that is lost, or the same after it took this node
    /// for dead. The members take their places with new epochs, and changes that were not heard of become events. Waits
    /// as [`Node::start`] does.
    ///
    /// # Errors
    /// [`StartError`]; the node may try again.
    pub fn rejoin(&self) -> Result<(), StartError> {
        let _turn = self.joining.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        // Its end is no news.
        self.lock().connection = 0;
        self.connection().close();
        let connection = connect(&self.plane, &self.config, begin + self.config.start_timeout)?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
        self.join(begin, false)?;
        self.wait_formed(begin)
    }

    /// The configuration that it was started with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The members that this process is: one, or a server and a worker.
    #[must_use]
    pub fn ids(&self) -> &[MemberId] {
        &self.members
    }

    /// Everybody who has ever come, as it is now, servers first, by rank.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.lock().state.members().cloned().collect()
    }

    /// The members of a role, by rank.
    #[must_use]
    pub fn members_of(&self, role: Role) -> Vec<Member> {
        self.lock().state.members().filter(|member| member.id.role == role).cloned().collect()
    }

    /// A member, if it has ever come.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<Member> {
        self.lock().state.view.member(id).cloned()
    }

    /// Whether every place has been taken, all at one time.
    #[must_use]
    pub fn is_formed(&self) -> bool {
        self.lock().state.is_formed()
    }

    /// How the scheduler went, if it has.
    #[must_use]
    pub fn scheduler_lost(&self) -> Option<DownReason> {
        self.lock().state.scheduler_lost().cloned()
    }

    /// Waits until a member is up with an epoch above `after`: 0 for any.
    ///
    /// # Errors
    /// [`WaitError`].
    pub fn wait_member(&self, id: MemberId, after: u64, timeout: Duration) -> Result<Member, WaitError> {
        let is_there = |view: &View| {
            let member =
                view.member(id).filter(|member| member.state == MemberState::Up && member.epoch > after);
            match (member, &view.lost) {
                (Some(member), _) => Some(Ok(member.clone())),
                (None, Some(reason)) => {
                    Some(Err(WaitError::SchedulerLost { member: id, reason: reason.clone() }))
                }
                (None, None) => None,
            }
        };
        self.wait(Instant::now() + timeout, is_there)
            .unwrap_or(Err(WaitError::Missing { member: id, waited: timeout }))
    }

    /// The oldest event that has not been taken yet, or `None`.
    #[must_use]
    pub fn try_event(&self) -> Option<Event> {
        self.lock().state.take_event()
    }

    /// Waits for an event; `None` when there was none in time. Who wants to leave a wait early takes short ones.
    #[must_use]
    pub fn wait_event(&self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now() + timeout;
        self.wait_mut(deadline, View::take_event)
    }

    /// Leaves in order: the others hear [`Event::Left`], and barriers no longer wait for this process. The node is
    /// disconnected then, and knows what it knew, until [`Node::rejoin`].
    ///
    /// # Errors
    /// [`LeaveError`]; the node has disconnected all the same.
    pub fn leave(&self, timeout: Duration) -> Result<(), LeaveError> {
        let lost = |view: &View| view.lost.clone().map(|reason| Err(LeaveError::SchedulerLost(reason)));
        if let Err(RequestError::Down(reason)) = self.say(NodeState::leave()) {
            return Err(LeaveError::SchedulerLost(reason));
        }
        let said_bye = |view: &View| if view.left { Some(Ok(())) } else { lost(view) };
        let answer = self.wait(Instant::now() + timeout, said_bye);
        // The end of the connection is no news.
        self.lock().connection = 0;
        self.connection().close();
        answer.unwrap_or(Err(LeaveError::Timeout { waited: timeout }))
    }
}

/// Barriers.
impl Node {
    /// Enters a barrier, for all members of this process that it waits for, and waits until everybody has.
    ///
    /// Returns at most [`Config::down_after`] later than `timeout`: that long the scheduler may take to tell who is
    /// missing.
    ///
    /// # Errors
    /// [`BarrierError`]; this process is then not at the barrier.
    pub fn barrier(&self, barrier: &Barrier, timeout: Duration) -> Result<(), BarrierError> {
        let begin = Instant::now();
        let (ticket, say) = self.lock().state.enter(barrier);
        let ended = self.wait_at(barrier, (ticket, say), begin + timeout);
        self.lock().state.close_ticket(ticket);
        let name = || barrier.name.clone();
        match ended? {
            Outcome::Released => Ok(()),
            Outcome::Missing(missing) => {
                Err(BarrierError::Missing { name: name(), missing, waited: begin.elapsed() })
            }
            Outcome::Failed(failure) => Err(BarrierError::Failed { name: name(), failure }),
            Outcome::Lost(reason) => Err(lost(barrier, reason)),
        }
    }

    fn wait_at(
        &self,
        barrier: &Barrier,
        (ticket, say): (u64, Option<Vec<u8>>),
        deadline: Instant,
    ) -> Result<Outcome, BarrierError> {
        let Some(say) = say else { return Ok(Outcome::Failed(BarrierFailure::Nobody)) };
        let untold = |source| match source {
            RequestError::Down(reason) => lost(barrier, reason),
            source => BarrierError::Untold { name: barrier.name.clone(), source },
        };
        self.say(say).map_err(untold)?;
        let answered = |view: &View| view.outcome(ticket);
        if let Some(outcome) = self.wait(deadline, answered) {
            return Ok(outcome);
        }
        self.say(NodeState::withdraw(ticket)).map_err(untold)?;
        let silence = self.config.down_after;
        let answer = self.wait(Instant::now() + silence, answered);
        Ok(answer.unwrap_or(Outcome::Lost(DownReason::Silent(silence))))
    }
}

fn lost(barrier: &Barrier, reason: DownReason) -> BarrierError {
    BarrierError::SchedulerLost { name: barrier.name.clone(), reason }
}

/// Joining.
impl Node {
    /// Takes the places.
    fn join(&self, begin: Instant, held: bool) -> Result<(), StartError> {
        let deadline = begin + self.config.start_timeout;
        // A predecessor that was killed with its host holds the place until its silence is noticed.
        let patience = Instant::now() + self.config.down_after;
        loop {
            let number = self.connection().number();
            let mut watched = self.lock();
            let say = watched.state.join(held);
            watched.connection = number;
            drop(watched);
            match self.ask(&say, begin)? {
                Ok(()) => return Ok(()),
                Err(Refused::Taken { .. }) if Instant::now() < patience.min(deadline) => thread::sleep(PAUSE),
                Err(refused) => return Err(refused.into()),
            }
        }
    }

    /// Waits for those whom the configuration names.
    fn wait_formed(&self, begin: Instant) -> Result<(), StartError> {
        if self.config.wait_for == WaitFor::Nobody {
            return Ok(());
        }
        let formed = |view: &View| match &view.lost {
            _ if view.formed => Some(Ok(())),
            Some(reason) => Some(Err(self.start_lost(reason.clone()))),
            None => None,
        };
        let deadline = begin + self.config.start_timeout;
        self.wait(deadline, formed).unwrap_or_else(|| Err(self.missing(begin.elapsed())))
    }

    /// Asks the scheduler once, for places or to announce them.
    fn ask(&self, say: &[u8], begin: Instant) -> Result<Result<(), Refused>, StartError> {
        let address = self.connection().remote();
        if let Err(error) = self.say(say.to_vec()) {
            return Err(match error {
                RequestError::Down(reason) => self.start_lost(reason),
                _ => StartError::NoAnswer { address, waited: begin.elapsed() },
            });
        }
        let answered = |view: &View| match (&view.admission, &view.lost) {
            (Admission::Granted, _) => Some(Ok(Ok(()))),
            (Admission::Refused(refused), _) => Some(Ok(Err(refused.clone()))),
            (Admission::Version { theirs }, _) => Some(Err(StartError::Version { theirs: *theirs })),
            (Admission::Asked, Some(reason)) => Some(Err(self.start_lost(reason.clone()))),
            (Admission::Asked, None) => None,
        };
        let silent = || Err(StartError::NoAnswer { address, waited: begin.elapsed() });
        self.wait(begin + self.config.start_timeout, answered).unwrap_or_else(silent)
    }

    fn start_lost(&self, reason: DownReason) -> StartError {
        StartError::SchedulerLost { address: self.connection().remote(), reason }
    }

    fn missing(&self, waited: Duration) -> StartError {
        let watched = self.lock();
        let is_up = |id: &MemberId| {
            watched.state.view.member(*id).is_some_and(|member| member.state == MemberState::Up)
        };
        let missing = self.config.shape.places().filter(|id| !is_up(id)).collect();
        StartError::Missing { missing, expected: self.config.shape.places().count(), waited }
    }
}

/// Telling and waiting.
impl Node {
    fn say(&self, say: Vec<u8>) -> Result<(), RequestError> {
        self.connection().event(KIND, say)
    }

    fn connection(&self) -> Connection {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.shared.lock()
    }

    #[cfg(test)]
    pub(super) fn open_tickets(&self) -> usize {
        self.lock().state.view.open_tickets()
    }

    fn wait<T>(&self, deadline: Instant, look: impl Fn(&View) -> Option<T>) -> Option<T> {
        self.wait_mut(deadline, |view| look(view))
    }

    /// Looks at every change until there is what is looked for.
    fn wait_mut<T>(&self, deadline: Instant, mut look: impl FnMut(&mut View) -> Option<T>) -> Option<T> {
        let mut watched = self.lock();
        loop {
            if let Some(found) = look(&mut watched.state.view) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.shared.changed.wait_timeout(watched, left);
            watched = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !thread::panicking() {
            // The goodbye comes after it; who does not hear it hears the end of the connection.
            let _ = self.say(NodeState::leave());
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Node")
            .field("members", &self.members)
            .field("scheduler", &self.connection().remote())
            .field("scheduler_lost", &self.scheduler_lost())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, connection: &Connection, change: impl FnOnce(&mut NodeState)) {
        let mut watched = self.lock();
        if watched.connection == connection.number() {
            change(&mut watched.state);
        }
        drop(watched);
        self.changed.notify_all();
    }
}

impl Service for Shared {
    fn connected(&self, _: &Connection) {}

    fn request(&self, _: &Connection, kind: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        Err(Refusal {
            code: Refusal::UNKNOWN_KIND,
            detail: format!("a node answers no request of kind {kind}"),
        })
    }

    fn event(&self, connection: &Connection, kind: u16, body: &[u8]) {
        if kind == KIND {
            self.change(connection, |state| state.heard(body));
        }
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        self.change(connection, |state| state.lost(reason));
    }
}

fn start_plane(config: &Config, shared: &Arc<Shared>) -> Result<ControlPlane, StartError> {
    let identity = PeerIdentity {
        incarnation: DeviceId::random().map_err(StartError::Identity)?,
        name: config.name.clone(),
        host: HostId::current().map_err(StartError::Identity)?,
    };
    let mut control = ControlConfig::new(identity, None);
    (control.interval, control.timeout) = (config.keep_alive, config.down_after);
    control.key.clone_from(&config.endpoint.security.key);
    Ok(ControlPlane::start(control, Arc::clone(shared) as Arc<dyn Service>)?)
}

/// Connects to the scheduler, which may be started later than its nodes.
fn connect(plane: &ControlPlane, config: &Config, deadline: Instant) -> Result<Connection, StartError> {
    let begin = Instant::now();
    let mut addresses = find(config, deadline)?;
    loop {
        let mut last = None;
        for address in &addresses {
            let left = deadline.saturating_duration_since(Instant::now());
            match plane.connect(*address, left.clamp(Duration::from_millis(1), ATTEMPT)) {
                Ok(connection) => return Ok(connection),
                Err(ConnectError::Down(DownReason::Protocol(FrameError::Version { theirs }))) => {
                    return Err(StartError::Version { theirs });
                }
                Err(ConnectError::Down(DownReason::Protocol(
                    fault @ (FrameError::OnlyOneKey { .. } | FrameError::WrongKey),
                ))) => return Err(StartError::Key { address: *address, source: fault }),
                Err(ConnectError::Down(DownReason::KeepAlive(source))) => {
                    return Err(StartError::KeepAlive { address: *address, source });
                }
                Err(error) => last = Some((*address, error)),
            }
        }
        if Instant::now() + PAUSE >= deadline {
            let waited = begin.elapsed();
            let (address, source) = last.unwrap_or_else(|| no_address(config));
            return Err(StartError::Unreachable { address, waited, source });
        }
        thread::sleep(PAUSE);
        if config.group.is_some() {
            // Another one may have been started in its place.
            thread::sleep(GROUP_PAUSE.min(deadline.saturating_duration_since(Instant::now())));
            addresses = find(config, deadline)?;
        }
    }
}

/// Where the scheduler is. In a group it may be published later, and the directory be away.
fn find(config: &Config, deadline: Instant) -> Result<Vec<SocketAddr>, ConfigError> {
    patiently(deadline, || config.scheduler_addresses())
}

/// Claims the rank of a process that is to have any; a predecessor's is free a while after its death.
fn claim(config: &mut Config, begin: Instant) -> Result<Option<Claim>, ConfigError> {
    let Some(group) = config.group.clone().filter(|group| group.claims_rank) else { return Ok(None) };
    config.shape.check()?;
    let claim = patiently(begin + config.start_timeout, || group.claim(config))?;
    let group_size = config.shape.group_size;
    (config.node_rank, config.instance) = (claim.number / group_size, claim.number % group_size);
    config.rank_offset = 0;
    Ok(Some(claim))
}

/// Asks the directory again until it has an answer.
fn patiently<T>(deadline: Instant, ask: impl Fn() -> Result<T, ConfigError>) -> Result<T, ConfigError> {
    loop {
        match ask() {
            Err(ConfigError::Group { source, .. })
                if !matches!(source, MetadataError::Name { .. } | MetadataError::Value { .. })
                    && Instant::now() + GROUP_PAUSE < deadline =>
            {
                thread::sleep(GROUP_PAUSE);
            }
            answer => return answer,
        }
    }
}

/// A look-up that finds nothing is an error before; this keeps it one.
fn no_address(config: &Config) -> (SocketAddr, ConnectError) {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], config.scheduler_port));
    (nowhere, ConnectError::Silent { remote: nowhere, patience: Duration::ZERO })
}
