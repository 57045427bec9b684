//! What the launcher says, where variables of the cluster do not.

use pmd_host::launch::{Launch, LaunchError, Setting, launch_of};

use super::{EnvironmentError, OWN_RANKS, Variables};
use crate::{
    config::{Config, ProcessRole, Shape},
    rendezvous::Role,
};

/// What the launcher says, asked at most once and only where it is needed: who has set everything does not depend on it.
pub(super) struct Launched<'a> {
    variables: &'a Variables<'a>,
    asked: Option<Result<Option<Launch>, LaunchError>>,
}

impl<'a> Launched<'a> {
    pub(super) const fn new(variables: &'a Variables<'a>) -> Self {
        Self { variables, asked: None }
    }

    pub(super) fn launch(&mut self) -> Result<Option<Launch>, EnvironmentError> {
        let look_up = self.variables.0;
        Ok(self.asked.get_or_insert_with(|| launch_of(look_up)).clone()?)
    }

    /// The launch that gives the rank: none where variables of the cluster do.
    pub(super) fn of_rank(&mut self) -> Result<Option<Launch>, EnvironmentError> {
        let is_own = OWN_RANKS.iter().any(|name| self.variables.is_set(name));
        if is_own { Ok(None) } else { self.launch() }
    }
}

/// The role of a process whose launcher has started the whole cluster: the scheduler, if there is one process more than
/// places, then servers, then workers.
pub(super) fn role(launch: &Launch, shape: Shape) -> Result<Option<ProcessRole>, EnvironmentError> {
    let Some(size) = launch.size else { return Ok(None) };
    let place = whole(launch, shape, size).ok_or_else(|| mismatch(shape, "DMLC_NUM_SERVER", size))?;
    Ok(Some(match place {
        Place::Scheduler => ProcessRole::Scheduler,
        Place::Of(Role::Server, _) => ProcessRole::Server,
        Place::Of(..) => ProcessRole::Worker,
    }))
}

/// Gives the process the rank that it has among those of its role.
pub(super) fn rank(launch: &Launch, config: &mut Config) -> Result<(), EnvironmentError> {
    let role = config.role;
    if role == ProcessRole::Scheduler {
        return Ok(());
    }
    let rank = match launch.size {
        None => launch.rank.value,
        // One launch for each role.
        Some(size) if is_role_alone(config, size) => launch.rank.value,
        Some(size) => match whole(launch, config.shape, size) {
            Some(Place::Of(of, rank)) if role.roles() == [of] => rank,
            Some(_) => {
                let own = format!("DMLC_ROLE={}", role.name());
                return Err(EnvironmentError::Contradiction { own, launcher: launch.rank });
            }
            None => return Err(mismatch(config.shape, number_of(role), size)),
        },
    };
    let group_size = config.shape.group_size.max(1);
    (config.node_rank, config.instance) = (rank / group_size, rank % group_size);
    config.accelerator = launch.local_rank.unwrap_or(config.instance);
    Ok(())
}

fn is_role_alone(config: &Config, size: Setting) -> bool {
    config.role.roles().iter().all(|role| config.shape.instances(*role) == size.value)
}

enum Place {
    Scheduler,
    Of(Role, u32),
}

/// The place of a process whose launcher has started all of the cluster, if the number fits.
fn whole(launch: &Launch, shape: Shape, size: Setting) -> Option<Place> {
    let servers = shape.instances(Role::Server);
    let places = servers.checked_add(shape.instances(Role::Worker))?;
    let scheduler = size.value.checked_sub(places).filter(|more| *more <= 1)?;
    let Some(rank) = launch.rank.value.checked_sub(scheduler) else { return Some(Place::Scheduler) };
    let of_worker = rank.checked_sub(servers);
    Some(of_worker.map_or(Place::Of(Role::Server, rank), |rank| Place::Of(Role::Worker, rank)))
}

const fn number_of(role: ProcessRole) -> &'static str {
    match role {
        ProcessRole::Server => "DMLC_NUM_SERVER",
        _ => "DMLC_NUM_WORKER",
    }
}

fn mismatch(shape: Shape, variable: &str, launcher: Setting) -> EnvironmentError {
    let number = if variable == "DMLC_NUM_SERVER" { shape.servers } else { shape.workers };
    EnvironmentError::Contradiction { own: format!("{variable}={number}"), launcher }
}
