//! What the launcher of a process says of it: which of how many it is, and where the first of them runs.
//!
//! # Place in the flow
//! `af-api` and `kv-api` ask [`launch`] when they take settings from the environment and have not been told ranks or
//! devices in their own variables, which go before. Nothing is looked up on the network, and nothing is started.
//!
//! # What is read
//! | launcher | rank | processes | on this host | host's number |
//! |---|---|---|---|---|
//! | [`Torchrun`](Launcher::Torchrun), and whatever exports its names | `RANK` | `WORLD_SIZE` | `LOCAL_RANK`, `LOCAL_WORLD_SIZE` | `GROUP_RANK` |
//! | [`OpenMpi`](Launcher::OpenMpi): Open MPI's `mpirun` | `OMPI_COMM_WORLD_RANK` | `OMPI_COMM_WORLD_SIZE` | `OMPI_COMM_WORLD_LOCAL_RANK`, `OMPI_COMM_WORLD_LOCAL_SIZE` | |
//! | [`Pmi`](Launcher::Pmi): MPICH's Hydra and its kin | `PMI_RANK` | `PMI_SIZE` | `MPI_LOCALRANKID`, `MPI_LOCALNRANKS` | |
//! | [`Slurm`](Launcher::Slurm): `srun` | `SLURM_PROCID` | `SLURM_STEP_NUM_TASKS`, else `SLURM_NTASKS` | `SLURM_LOCALID` | `SLURM_NODEID` |
//! | [`Kubernetes`](Launcher::Kubernetes): an Indexed Job | `JOB_COMPLETION_INDEX` | `WORLD_SIZE` if set | | |
//! | Kubernetes: a StatefulSet | the number at the end of `HOSTNAME`, where `KUBERNETES_SERVICE_HOST` is set | `WORLD_SIZE` if set | | |
//!
//! The **first host** is `MASTER_ADDR`; without it, under Slurm, the first of `SLURM_STEP_NODELIST` or
//! `SLURM_JOB_NODELIST` ([`hosts`] reads their brackets). The **port** there is one above `MASTER_PORT`, which torch's own
//! store has taken; without it, under Slurm, 20,000 and the last four digits of `SLURM_JOB_ID`, so that jobs that share a
//! host do not meet.
//!
//! # Which one counts
//! Launchers start each other: `srun` one `torchrun` on each node, which starts one process for each device. The table
//! goes from the inside to the outside, and the first whose rank is set counts. Two that count the same number of
//! processes must give the same rank, else it is [`LaunchError::Contradiction`]; except below `torchrun` itself, which
//! numbers nodes as they come and says so by `TORCHELASTIC_RUN_ID`. `PMD_LAUNCHER` decides where that is not what is
//! wanted: `auto`, `torchrun`, `openmpi`, `pmi`, `slurm`, `kubernetes`, or `none`. A batch script of Slurm, outside of
//! `srun`, carries the variables of its first task: set `PMD_LAUNCHER=none` for what is started there by hand.
//!
//! ```
//! use pmd_host::launch::{self, Launcher};
//!
//! let variables = |name: &str| {
//!     let value = match name {
//!         "SLURM_PROCID" => "5",
//!         "SLURM_NTASKS" => "8",
//!         "SLURM_LOCALID" => "1",
//!         "SLURM_JOB_ID" => "441207",
//!         "SLURM_JOB_NODELIST" => "gpu[09-12]",
//!         _ => return None,
//!     };
//!     Some(value.to_owned())
//! };
//! let launch = launch::launch_of(variables)?.expect("srun started it");
//! assert_eq!((launch.launcher, launch.rank.value, launch.local_rank), (Launcher::Slurm, 5, Some(1)));
//! assert_eq!(launch.first, Some(("gpu09".to_owned(), Some(21_207))));
//! # Ok::<(), launch::LaunchError>(())
//! ```

mod node_list;

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::environment::{self, EnvironmentError};

pub use node_list::{MOST_HOSTS, NodeListError, hosts};

/// Says which launcher counts.
pub const LAUNCHER_VARIABLE: &str = "PMD_LAUNCHER";

/// First of the ports that are made of the numbers of Slurm's jobs.
const FIRST_PORT: u16 = 20_000;

/// Longest number at the end of a pod's name that is taken for its ordinal; random endings are longer.
const ORDINAL_DIGITS: usize = 4;

/// Who starts processes and numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Launcher {
    /// `torchrun`, or anything that exports its variables.
    Torchrun,
    /// Open MPI's `mpirun`.
    OpenMpi,
    /// MPICH's `mpiexec` and others that speak PMI.
    Pmi,
    /// Slurm's `srun`.
    Slurm,
    /// An Indexed Job or a StatefulSet.
    Kubernetes,
}

impl Launcher {
    /// From the inside to the outside.
    const ALL: [Self; 5] = [Self::Torchrun, Self::OpenMpi, Self::Pmi, Self::Slurm, Self::Kubernetes];

    /// Its name in `PMD_LAUNCHER`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torchrun => "torchrun",
            Self::OpenMpi => "openmpi",
            Self::Pmi => "pmi",
            Self::Slurm => "slurm",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// Its variables for ranks, numbers of processes, local ranks, local numbers, and numbers of hosts. The first that is
    /// set counts.
    const fn names(self) -> Names {
        const NONE: &[&str] = &[];
        let (rank, size, local_rank, local_size, node_rank): (_, &[_], &[_], &[_], &[_]) = match self {
            Self::Torchrun => {
                ("RANK", &["WORLD_SIZE"], &["LOCAL_RANK"], &["LOCAL_WORLD_SIZE"], &["GROUP_RANK"])
            }
            Self::OpenMpi => (
                "OMPI_COMM_WORLD_RANK",
                &["OMPI_COMM_WORLD_SIZE"],
                &["OMPI_COMM_WORLD_LOCAL_RANK"],
                &["OMPI_COMM_WORLD_LOCAL_SIZE"],
                NONE,
            ),
            Self::Pmi => ("PMI_RANK", &["PMI_SIZE"], &["MPI_LOCALRANKID"], &["MPI_LOCALNRANKS"], NONE),
            Self::Slurm => (
                "SLURM_PROCID",
                &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
                &["SLURM_LOCALID"],
                NONE,
                &["SLURM_NODEID"],
            ),
            Self::Kubernetes => ("JOB_COMPLETION_INDEX", &["WORLD_SIZE"], NONE, NONE, NONE),
        };
        Names { rank, size, local_rank, local_size, node_rank }
    }
}

struct Names {
    rank: &'static str,
    size: &'static [&'static str],
    local_rank: &'static [&'static str],
    local_size: &'static [&'static str],
    node_rank: &'static [&'static str],
}

/// A number, and the variable that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which variable.
    pub variable: &'static str,
    /// What it says.
    pub value: u32,
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.variable, self.value)
    }
}

/// What a launcher says of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who says it.
    pub launcher: Launcher,
    /// Number of this process, from 0.
    pub rank: Setting,
    /// How many there are, if that is said.
    pub size: Option<Setting>,
    /// Number of this process among those of its host: that of its device, usually.
    pub local_rank: Option<u32>,
    /// How many of them run on this host.
    pub local_size: Option<u32>,
    /// Number of this host.
    pub node_rank: Option<u32>,
    /// Host of the first process, and a port there that is left to this job.
    pub first: Option<(String, Option<u16>)>,
}

/// What the launcher says in this process's environment; `None` when none has started it.
///
/// # Errors
/// [`LaunchError`].
pub fn launch() -> Result<Option<Launch>, LaunchError> {
    launch_of(environment::variable)
}

/// What the launcher says in variables that the caller looks up.
///
/// # Errors
/// [`LaunchError`].
pub fn launch_of(look_up: impl Fn(&str) -> Option<String>) -> Result<Option<Launch>, LaunchError> {
    let variables = Variables(&look_up);
    let Some(launcher) = variables.launcher()? else { return Ok(None) };
    let Names { local_rank, local_size, node_rank, .. } = launcher.names();
    let rank = variables.rank(launcher)?;
    let rank = rank.ok_or(LaunchError::NotLaunched { launcher, rank: launcher.names().rank })?;
    let size = variables.size(launcher, rank)?;
    within(rank, size)?;
    let (local_rank, local_size) = (variables.first(local_rank)?, variables.first(local_size)?);
    if let Some(local_rank) = local_rank {
        within(local_rank, local_size)?;
    }
    variables.agree(launcher, rank, size)?;
    let value = |setting: Setting| setting.value;
    Ok(Some(Launch {
        launcher,
        rank,
        size,
        local_rank: local_rank.map(value),
        local_size: local_size.map(value),
        node_rank: variables.first(node_rank)?.map(value),
        first: variables.first_host(launcher)?,
    }))
}

fn within(rank: Setting, size: Option<Setting>) -> Result<(), LaunchError> {
    match size {
        Some(size) if rank.value >= size.value => Err(LaunchError::OutOfRange { rank, size }),
        _ => Ok(()),
    }
}

/// The caller's variables.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    /// The launcher that counts.
    fn launcher(&self) -> Result<Option<Launcher>, LaunchError> {
        const ALLOWED: &str = "auto, torchrun, openmpi, pmi, slurm, kubernetes or none";
        let asked = (self.0)(LAUNCHER_VARIABLE).unwrap_or_default();
        match &*asked {
            "none" => return Ok(None),
            "" | "auto" => {}
            name => {
                let found = Launcher::ALL.into_iter().find(|launcher| launcher.name() == name);
                let wrong = || EnvironmentError {
                    variable: LAUNCHER_VARIABLE,
                    value: asked.clone(),
                    allowed: ALLOWED,
                };
                return Ok(Some(found.ok_or_else(wrong)?));
            }
        }
        for launcher in Launcher::ALL {
            if self.rank(launcher)?.is_some() {
                return Ok(Some(launcher));
            }
        }
        Ok(None)
    }

    fn rank(&self, launcher: Launcher) -> Result<Option<Setting>, LaunchError> {
        let rank = self.first(&[launcher.names().rank])?;
        Ok(rank.or_else(|| self.ordinal().filter(|_| launcher == Launcher::Kubernetes)))
    }

    /// A pod's number in its StatefulSet.
    fn ordinal(&self) -> Option<Setting> {
        (self.0)("KUBERNETES_SERVICE_HOST")?;
        let name = (self.0)("HOSTNAME")?;
        let (_, digits) = name.split('.').next()?.rsplit_once('-')?;
        let plausible = digits.len() <= ORDINAL_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        let value = digits.parse().ok().filter(|_| plausible)?;
        Some(Setting { variable: "HOSTNAME", value })
    }

    /// Pods are not told how many they are.
    fn size(&self, launcher: Launcher, rank: Setting) -> Result<Option<Setting>, LaunchError> {
        let names = launcher.names().size;
        let size = self.first(names)?;
        if size.is_none() && launcher != Launcher::Kubernetes {
            return Err(LaunchError::Missing { variable: names[names.len() - 1], rank });
        }
        Ok(size)
    }

    /// Whether another launcher counts the same processes otherwise.
    fn agree(&self, launcher: Launcher, rank: Setting, size: Option<Setting>) -> Result<(), LaunchError> {
        let Some(size) = size else { return Ok(()) };
        let own_numbers = launcher == Launcher::Torchrun && (self.0)("TORCHELASTIC_RUN_ID").is_some();
        let was_asked_for = (self.0)(LAUNCHER_VARIABLE).is_some_and(|asked| asked == launcher.name());
        if own_numbers || was_asked_for {
            return Ok(());
        }
        let others = Launcher::ALL.into_iter().filter(|other| !matches!(*other, Launcher::Kubernetes));
        for other in others.filter(|other| *other != launcher) {
            let Names { rank: name, size: sizes, .. } = other.names();
            if let (Some(other_rank), Some(other_size)) = (self.first(&[name])?, self.first(sizes)?)
                && other_size.value == size.value
                && other_rank.value != rank.value
            {
                return Err(LaunchError::Contradiction { one: rank, other: other_rank });
            }
        }
        Ok(())
    }

    fn first_host(&self, launcher: Launcher) -> Result<Option<(String, Option<u16>)>, LaunchError> {
        let master = (self.0)("MASTER_ADDR").filter(|host| !host.is_empty());
        let listed = || match launcher {
            Launcher::Slurm => self.first_node(),
            _ => Ok(None),
        };
        let Some(host) = master.map_or_else(listed, |host| Ok(Some(host)))? else { return Ok(None) };
        let beside = |port: u16| port.checked_add(1);
        let port = self.number::<u16>("MASTER_PORT", "a port below 65535")?.and_then(beside);
        let of_job = || match launcher {
            Launcher::Slurm => self.number::<u64>("SLURM_JOB_ID", "a number"),
            _ => Ok(None),
        };
        let port = match port {
            Some(port) => Some(port),
            // Of four digits: it fits.
            None => of_job()?.and_then(|job| u16::try_from(job % 10_000).ok()).map(|job| FIRST_PORT + job),
        };
        Ok(Some((host, port)))
    }

    /// The first host of a job of Slurm.
    fn first_node(&self) -> Result<Option<String>, LaunchError> {
        for variable in ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"] {
            if let Some(list) = (self.0)(variable) {
                let named =
                    hosts(&list).map_err(|source| LaunchError::NodeList { variable, list, source })?;
                return Ok(named.into_iter().next());
            }
        }
        Ok(None)
    }

    fn first(&self, names: &[&'static str]) -> Result<Option<Setting>, LaunchError> {
        for &variable in names {
            if let Some(value) = self.number(variable, "a number")? {
                return Ok(Some(Setting { variable, value }));
            }
        }
        Ok(None)
    }

    fn number<T: FromStr>(
        &self,
        variable: &'static str,
        allowed: &'static str,
    ) -> Result<Option<T>, LaunchError> {
        let Some(value) = (self.0)(variable) else { return Ok(None) };
        let parsed = value.trim().parse().ok();
        parsed.map(Some).ok_or_else(|| EnvironmentError { variable, value, allowed }.into())
    }
}

/// Why the environment says nothing that can be of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// A variable has a value that it cannot have.
    #[error(transparent)]
    Value(#[from] EnvironmentError),
    /// `PMD_LAUNCHER` names a launcher that did not start this process.
    #[error(
        "{LAUNCHER_VARIABLE} is {}, and {rank} is not set: start the process with it, or unset {LAUNCHER_VARIABLE}",
        .launcher.name()
    )]
    NotLaunched {
        /// The one named.
        launcher: Launcher,
        /// Its variable.
        rank: &'static str,
    },
    /// There is a rank and nothing says among how many.
    #[error("{rank} is set and {variable} is not: set both, or {LAUNCHER_VARIABLE}=none")]
    Missing {
        /// What is not set.
        variable: &'static str,
        /// What is.
        rank: Setting,
    },
    /// The rank is not below the number of processes.
    #[error("{rank} does not go with {size}: ranks run from 0")]
    OutOfRange {
        /// The rank.
        rank: Setting,
        /// The number of processes.
        size: Setting,
    },
    /// Two launchers count the same number of processes and give this one different ranks.
    #[error(
        "{one} contradicts {other}: unset what is left over of another launch, or say which in {LAUNCHER_VARIABLE}"
    )]
    Contradiction {
        /// Of the launcher that would count.
        one: Setting,
        /// Of the other.
        other: Setting,
    },
    /// A list of hosts does not parse.
    #[error("{variable} is {list:?}: {source}")]
    NodeList {
        /// Which variable.
        variable: &'static str,
        /// What it says.
        list: String,
        /// Where it goes wrong.
        source: NodeListError,
    },
}

#[cfg(test)]
mod tests;
