//! The scheduler, and a process's place in the cluster: barriers, members, who comes and goes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use af_api::{
    config::Config,
    rendezvous::{
        Barrier, BarrierError, Event, Member, MemberId, MemberState, Node as Handle, Role, Roles,
        Scheduler as SchedulerHandle, Scope,
    },
};
use pmd_python::waiting::{self, Detached};
use pyo3::{
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{config, error};

/// A barrier is left and entered again so often, to hear Ctrl-C; nobody is released by fewer than all.
const SLICE: Duration = Duration::from_secs(1);

/// How a member is told of: role, rank, epoch, state.
type Told = (String, u32, u64, String);

/// A barrier of roles ("worker", "server", "scheduler"), for "all" instances, those of the "same" number, or "one" of
/// each group.
fn barrier(
    py: Python<'_>,
    name: &str,
    roles: &[String],
    instances: &str,
    instance: u32,
) -> PyResult<Barrier> {
    let mut set = Roles::empty();
    for role in roles {
        set |= match role.as_str() {
            "worker" => Roles::WORKER,
            "server" => Roles::SERVER,
            "scheduler" => Roles::SCHEDULER,
            _ => {
                let message = format!("a role is {role:?}, it takes worker, server or scheduler");
                return Err(error::option(py, "roles", message));
            }
        };
    }
    let scope = match instances {
        "all" => Scope::Everyone,
        "same" => Scope::Instance(instance),
        "one" => Scope::Groups,
        _ => {
            let message = format!("instances is {instances:?}, it takes all, same or one");
            return Err(error::option(py, "instances", message));
        }
    };
    Ok(Barrier::new(name, set).with_scope(scope))
}

/// Enters a barrier again and again, until everybody is there or the timeout is over.
fn enter(
    py: Python<'_>,
    timeout: Option<f64>,
    mut enter: impl FnMut(Duration) -> Result<(), BarrierError> + Send,
) -> PyResult<()> {
    let deadline = waiting::deadline(timeout)?;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let problem = match py.detach(|| enter(left.map_or(SLICE, |left| left.min(SLICE)))) {
            Ok(()) => return Ok(()),
            Err(problem) => problem,
        };
        py.check_signals()?;
        let over = left.is_some_and(|left| left <= SLICE);
        if over || !matches!(problem, BarrierError::Missing { .. }) {
            return Err(error::barrier(py, &problem));
        }
    }
}

/// Brings the processes of a cluster together.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Scheduler(Detached<Mutex<Option<Arc<SchedulerHandle>>>>);

impl Scheduler {
    fn handle(&self, py: Python<'_>) -> PyResult<Arc<SchedulerHandle>> {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "scheduler"))
    }
}

#[pymethods]
impl Scheduler {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let (config, _) = config::config(py, Some("scheduler"), options)?;
        let scheduler = py.detach(|| SchedulerHandle::start(&config));
        let scheduler = scheduler.map_err(|problem| error::scheduler(py, &problem))?;
        Ok(Self(Detached::new(Mutex::new(Some(Arc::new(scheduler))))))
    }

    /// Where it listens.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.handle(py)?.local_address().to_string())
    }

    /// Everybody who has ever come: role, rank, epoch, and "up", "left" or why it is down.
    fn members(&self, py: Python<'_>) -> PyResult<Vec<Told>> {
        Ok(self.handle(py)?.members().iter().map(told).collect())
    }

    /// Waits until every place has been taken.
    #[pyo3(signature = (timeout=None))]
    fn wait_formed(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let handle = self.handle(py)?;
        let formed = waiting::until(py, timeout, |patience| handle.wait_formed(patience).ok())?;
        match formed {
            Some(()) => Ok(()),
            None => handle.wait_formed(Duration::ZERO).map_err(|problem| error::start(py, &problem)),
        }
    }

    /// Waits until everybody has come and is gone again.
    #[pyo3(signature = (timeout=None))]
    fn wait_finished(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let handle = self.handle(py)?;
        let finished = waiting::until(py, timeout, |patience| handle.wait_finished(patience).then_some(()))?;
        finished.ok_or_else(|| error::timeout(py, "the nodes to leave", timeout))
    }

    /// Enters a barrier of the scheduler and others, and waits until everybody has.
    #[pyo3(signature = (name="", roles=vec!["worker".into(), "server".into(), "scheduler".into()], timeout=None),
           text_signature = "(self, name='', roles=('worker', 'server', 'scheduler'), timeout=None)")]
    fn barrier(&self, py: Python<'_>, name: &str, roles: Vec<String>, timeout: Option<f64>) -> PyResult<()> {
        let (handle, barrier) = (self.handle(py)?, barrier(py, name, &roles, "all", 0)?);
        enter(py, timeout, |patience| handle.barrier(&barrier, patience))
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_what))]
    fn __exit__(&self, py: Python<'_>, _what: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    /// Ends the connections to all nodes.
    fn close(&self, py: Python<'_>) {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| drop(held));
    }
}

/// A process's place in the cluster.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Node(Detached<Mutex<Option<Arc<Handle>>>>);

impl Node {
    /// Joins, and waits for whom the configuration names.
    ///
    /// # Errors
    /// As `pmd_af.errors.StartError` and its classes.
    pub(crate) fn start(py: Python<'_>, config: Config) -> PyResult<Self> {
        let node = py.detach(|| Handle::start(config)).map_err(|problem| error::start(py, &problem))?;
        Ok(Self(Detached::new(Mutex::new(Some(Arc::new(node))))))
    }

    pub(crate) fn handle(&self, py: Python<'_>) -> PyResult<Arc<Handle>> {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "node"))
    }
}

#[pymethods]
impl Node {
    /// Number among all instances of the role.
    #[getter]
    fn rank(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.ids().first().map_or(0, |id| id.rank))
    }

    /// Number in the group.
    #[getter]
    fn instance(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.config().instance)
    }

    /// Workers of the cluster: groups times instances.
    #[getter]
    fn workers(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.config().shape.instances(Role::Worker))
    }

    /// Servers of the cluster: groups times instances.
    #[getter]
    fn servers(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.config().shape.instances(Role::Server))
    }

    /// Where its scheduler is.
    #[getter]
    fn scheduler(&self, py: Python<'_>) -> PyResult<String> {
        let node = self.handle(py)?;
        let config = node.config();
        Ok(format!("{}:{}", config.scheduler_host, config.scheduler_port))
    }

    /// How often this place has been taken: 1 at first, one more for each restarted process.
    #[getter]
    fn epoch(&self, py: Python<'_>) -> PyResult<u64> {
        let node = self.handle(py)?;
        Ok(node.ids().first().and_then(|id| node.member(*id)).map_or(0, |member| member.epoch))
    }

    /// Everybody who has ever come: role, rank, epoch, and "up", "left" or why it is down.
    fn members(&self, py: Python<'_>) -> PyResult<Vec<Told>> {
        Ok(self.handle(py)?.members().iter().map(told).collect())
    }

    /// Waits for the next change: what ("joined", "down", "left", "scheduler lost", "missed"), and of whom.
    #[pyo3(signature = (timeout=None))]
    fn wait_event<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyTuple>> {
        let node = self.handle(py)?;
        let event = waiting::until(py, timeout, |patience| node.wait_event(patience))?;
        match event.ok_or_else(|| error::timeout(py, "an event", timeout))? {
            Event::Joined(member) => ("joined", told(&member)).into_pyobject(py),
            Event::Down { member, .. } => ("down", told(&member)).into_pyobject(py),
            Event::Left(member) => ("left", told(&member)).into_pyobject(py),
            Event::SchedulerLost(reason) => ("scheduler lost", reason.to_string()).into_pyobject(py),
            Event::Missed(count) => ("missed", count).into_pyobject(py),
            other => ("other", format!("{other:?}")).into_pyobject(py),
        }
    }

    /// Waits until a server or worker is up whose epoch is above `after`; its epoch.
    #[pyo3(signature = (role, rank, after=0, timeout=None))]
    fn wait_member(
        &self,
        py: Python<'_>,
        role: &str,
        rank: u32,
        after: u64,
        timeout: Option<f64>,
    ) -> PyResult<u64> {
        let node = self.handle(py)?;
        let id = match role {
            "worker" => MemberId::worker(rank),
            "server" => MemberId::server(rank),
            _ => {
                let message = format!("role is {role:?}, it takes worker or server");
                return Err(error::option(py, "role", message));
            }
        };
        let member = waiting::until(py, timeout, |patience| match node.wait_member(id, after, patience) {
            Ok(member) => Some(Ok(member.epoch)),
            Err(af_api::rendezvous::WaitError::Missing { .. }) => None,
            Err(lost) => Some(Err(lost)),
        })?;
        match member {
            Some(epoch) => epoch.map_err(|problem| error::plain(py, "SchedulerLost", &problem)),
            None => Err(error::timeout(py, &format!("{role} {rank}"), timeout)),
        }
    }

    /// Enters a barrier and waits until everybody has. `instances` are "all", those of the "same" number in their group,
    /// or "one" of each group.
    #[pyo3(signature = (name="", roles=vec!["worker".into(), "server".into()], instances="all", timeout=None),
           text_signature = "(self, name='', roles=('worker', 'server'), instances='all', timeout=None)")]
    fn barrier(
        &self,
        py: Python<'_>,
        name: &str,
        roles: Vec<String>,
        instances: &str,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let node = self.handle(py)?;
        let barrier = barrier(py, name, &roles, instances, node.config().instance)?;
        enter(py, timeout, |patience| node.barrier(&barrier, patience))
    }

    /// Joins a scheduler that was started in the place of one that is lost.
    fn rejoin(&self, py: Python<'_>) -> PyResult<()> {
        let node = self.handle(py)?;
        py.detach(|| node.rejoin()).map_err(|problem| error::start(py, &problem))
    }

    /// Leaves in order.
    pub(crate) fn close(&self, py: Python<'_>) {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| drop(held));
    }
}

fn told(member: &Member) -> Told {
    let state = match &member.state {
        MemberState::Up => "up".to_owned(),
        MemberState::Left => "left".to_owned(),
        MemberState::Down(cause) => cause.to_string(),
    };
    (member.id.role.to_string(), member.id.rank, member.epoch, state)
}
