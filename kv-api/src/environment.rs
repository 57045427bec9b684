//! Settings from the environment, for interfaces that have no options of their own.
//!
//! What concerns endpoints is `pmd_host`'s: see [`pmd_host::environment`]. Read once, when an engine is opened.
//!
//! | variable | says | default |
//! |---|---|---|
//! | `PMD_TRANSPORT` | `auto`, `shm`, `mlx5` or `verbs` | `auto` |
//! | `PMD_DEVICE` | name of the NIC (`mlx5_0`) | the first that can be used |
//! | `PMD_IDLE` | what an idle lane does: `spin`, `yield` or `park` | `park` |
//! | `PMD_QUEUE_PAIRS` | queue pairs to each peer, 1 to 64 | 1 |
//! | `PMD_RAILS` | addresses of this host (over TCP) or names of its NICs (`mlx5_0,mlx5_1`) for large transfers, with commas between them; both ends name theirs: see [`RailsConfig`](pmd_host::endpoint::RailsConfig) | none |
//! | `PMD_METRICS` | where each endpoint answers `GET /metrics`: a port of this host alone, or `ADDRESS:PORT` | nowhere |
//! | `PMD_KEY_FILE`, `PMD_DATA_ENCRYPTION` | who may connect, and whether data over TCP is encrypted then: see [`pmd_host::security`] | no key |
//! | `PMD_ACCELERATORS` | whose memory may be registered, and moved over shared memory: `cuda:0`, `rocm:1`, `ascend:0`, `cpu`, with commas between several. Without a number it is the device that the interface is told (`llm.DeviceId`, `local_gpu_idx`), else that of the launcher's local rank, else 0 | none |
//! | `PMD_PIN_ARENAS` | `1` page-locks arenas for those accelerators, so that copies between them go without the processor | `0` |
//! | `PMD_METADATA` | `etcd://host:2379`: where engines publish their names and find each other: [`directory`] | none |
//! | `PMD_NAME` | name of the engine there: [`name`] | of the launcher's rank: `rank-3` |
//! | `PMD_INTERFACE` | where to listen, for interfaces that name no address: see [`Config::if_name`] | loopback |
//! | `PMD_HIXL_STAGE_FOR` | whom HIXL stages memory for that is not registered ([`STAGE_FOR_VARIABLE`]): `host`, `all` or `none` | `host` |
//!
//! Started by `torchrun`, Slurm, MPI or Kubernetes, an engine has the rank that [`pmd_host::launch`] reads from their
//! variables; where two of them contradict each other, the error names both.
//!
//! [`STAGE_FOR_VARIABLE`]: crate::hixl::STAGE_FOR_VARIABLE
//! [`Config::if_name`]: crate::kvtrans::Config::if_name

use std::{env, error::Error, sync::Arc};

use pmd_host::{
    endpoint::EndpointConfig,
    environment::{self, variable},
    launch::{LaunchError, launch_of},
    metadata::Metadata,
    soft::Accelerators,
};
use thiserror::Error;

/// Names the accelerators.
pub const ACCELERATORS_VARIABLE: &str = "PMD_ACCELERATORS";

/// Says where the directory of engines is.
pub const METADATA_VARIABLE: &str = "PMD_METADATA";

/// Names an engine in it.
pub const NAME_VARIABLE: &str = "PMD_NAME";

/// Where to listen, as `PMD_INTERFACE` says; empty when it does not.
#[must_use]
pub fn interface() -> String {
    env::var_os("PMD_INTERFACE").map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The default configuration of an endpoint, changed by the environment.
///
/// # Errors
/// [`EnvironmentError`] when a variable has a value that it cannot have.
pub fn endpoint_config() -> Result<EndpointConfig, EnvironmentError> {
    endpoint_config_of(variable)
}

/// As [`endpoint_config`], for an interface that is told the number of its device: accelerators that are named without
/// one have this.
///
/// # Errors
/// As [`endpoint_config`].
pub fn endpoint_config_on(device: u32) -> Result<EndpointConfig, EnvironmentError> {
    configured(Some(device), variable)
}

/// The default configuration of an endpoint, changed by variables that the caller looks up: for interfaces with
/// parameters of their own, which go before the environment.
///
/// # Errors
/// As [`endpoint_config`].
pub fn endpoint_config_of(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EndpointConfig, EnvironmentError> {
    configured(None, variable)
}

fn configured(
    device: Option<u32>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EndpointConfig, EnvironmentError> {
    let mut config = environment::endpoint_config_of(&variable)?;
    if let Some(names) = variable(ACCELERATORS_VARIABLE) {
        let of_launch = || Ok::<_, LaunchError>(launch_of(&variable)?.and_then(|launch| launch.local_rank));
        let device = device.map_or_else(of_launch, |device| Ok(Some(device)))?;
        config.soft.accelerators = accelerators(&names, device.unwrap_or(0))?;
    }
    Ok(config)
}

/// The name under which an engine of this process is found: `PMD_NAME`, else that of its rank, if a launcher gave it one.
///
/// # Errors
/// [`EnvironmentError::Launch`].
pub fn name() -> Result<Option<String>, EnvironmentError> {
    name_of(variable)
}

/// As [`name`], of variables that the caller looks up.
///
/// # Errors
/// As [`name`].
pub fn name_of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<String>, EnvironmentError> {
    if let Some(name) = variable(NAME_VARIABLE).filter(|name| !name.is_empty()) {
        return Ok(Some(name));
    }
    Ok(launch_of(variable)?.map(|launch| format!("rank-{}", launch.rank.value)))
}

/// The directory that `PMD_METADATA` names, if it is set.
///
/// # Errors
/// [`EnvironmentError::Directory`].
pub fn directory() -> Result<Option<Arc<dyn Metadata>>, EnvironmentError> {
    let url = variable(METADATA_VARIABLE).filter(|url| !url.is_empty());
    url.map(|url| directory_at(&url)).transpose()
}

/// The directory at a URL: `etcd://host:2379`. Nothing is asked of it yet.
///
/// # Errors
/// [`EnvironmentError::Directory`].
pub fn directory_at(url: &str) -> Result<Arc<dyn Metadata>, EnvironmentError> {
    open_directory(url).map_err(|source| EnvironmentError::Directory { url: url.to_owned(), source })
}

type Directory = Result<Arc<dyn Metadata>, Box<dyn Error + Send + Sync>>;

#[cfg(feature = "etcd")]
fn open_directory(url: &str) -> Directory {
    Ok(Arc::new(pmd_etcd::Etcd::open(url.parse()?, pmd_etcd::Options::default())?))
}

#[cfg(not(feature = "etcd"))]
fn open_directory(_: &str) -> Directory {
    Err("this program was built without kv-api's feature etcd".into())
}

/// Opens accelerators by their names, with commas between them; no name is no accelerator. Those without a number have
/// number `device`.
///
/// # Errors
/// [`EnvironmentError::Accelerator`] for the first that is not here, with the runtime's reason.
pub fn accelerators(names: &str, device: u32) -> Result<Accelerators, EnvironmentError> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let opened = names.map(|name| {
        let numbered = if name.contains(':') { name.to_owned() } else { format!("{name}:{device}") };
        open(&numbered).map_err(|source| EnvironmentError::Accelerator { name: numbered, source })
    });
    Ok(Accelerators::new(opened.collect::<Result<_, _>>()?))
}

type Opened = Result<Arc<dyn pmd_core::accelerator::Accelerator>, Box<dyn Error + Send + Sync>>;

#[cfg(feature = "accelerators")]
fn open(name: &str) -> Opened {
    Ok(pmd_accelerators::open(name.parse()?)?)
}

#[cfg(not(feature = "accelerators"))]
fn open(_: &str) -> Opened {
    Err("this program was built without kv-api's feature accelerators".into())
}

/// A setting of the environment cannot be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A variable has a value that it cannot have.
    #[error(transparent)]
    Variable(#[from] environment::EnvironmentError),
    /// What the launcher says cannot be.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The directory cannot be used.
    #[error("{url:?} is no directory of engines: {source}")]
    Directory {
        /// Where it should be.
        url: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An accelerator is not here.
    #[error("accelerator {name} is not here: {source}")]
    Accelerator {
        /// Its name, with a number.
        name: String,
        /// The runtime's reason.
        source: Box<dyn Error + Send + Sync>,
    },
}

#[cfg(all(test, feature = "accelerators"))]
mod tests {
    use pmd_core::accelerator::AcceleratorKind;

    use super::*;

    fn with(device: u32, names: &str) -> Result<Vec<(AcceleratorKind, u32)>, EnvironmentError> {
        let config =
            configured(Some(device), |asked| (asked == ACCELERATORS_VARIABLE).then(|| names.to_owned()))?;
        let identity = |of: &std::sync::Arc<dyn pmd_core::accelerator::Accelerator>| {
            (of.identity().kind, of.identity().ordinal)
        };
        Ok(config.soft.accelerators.iter().map(identity).collect())
    }

    #[test]
    fn accelerators_are_named_with_a_number_or_have_that_of_the_interface() {
        use AcceleratorKind::Cpu;
        assert_eq!(with(3, "").expect("none"), []);
        assert_eq!(with(3, "cpu").expect("one"), [(Cpu, 3)]);
        assert_eq!(with(3, "cpu:1, cpu,").expect("two"), [(Cpu, 1), (Cpu, 3)]);
    }

    #[test]
    fn one_that_is_not_here_is_named_with_the_reason() {
        for (names, named, reason) in
            [("gpu", "gpu:0", "names no device"), ("cpu,cuda:4000", "cuda:4000", "")]
        {
            match with(0, names) {
                Err(EnvironmentError::Accelerator { name, source }) => {
                    assert_eq!(name, named);
                    assert!(source.to_string().contains(reason), "{source}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn set<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |asked| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_launcher_gives_the_device_and_the_name() {
        let torchrun = [("PMD_ACCELERATORS", "cpu"), ("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "2")];
        let config = endpoint_config_of(set(&torchrun)).expect("a configuration");
        assert_eq!(config.soft.accelerators.iter().next().expect("one").identity().ordinal, 2);
        assert_eq!(name_of(set(&torchrun)).expect("a launch"), Some("rank-5".to_owned()));
        let told = configured(Some(7), set(&torchrun)).expect("a configuration");
        assert_eq!(told.soft.accelerators.iter().next().expect("one").identity().ordinal, 7);
        let named = [("PMD_NAME", "decode"), ("RANK", "5")];
        assert_eq!(name_of(set(&named)).expect("a name"), Some("decode".to_owned()));
        assert_eq!(name_of(set(&[])).expect("nothing"), None);
        let slurm = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "8")];
        let refused = name_of(set(&[&torchrun[..], &slurm].concat())).expect_err("two ranks");
        assert!(matches!(refused, EnvironmentError::Launch(LaunchError::Contradiction { .. })), "{refused}");
    }

    #[test]
    fn other_directories_are_refused() {
        let refused = directory_at("consul://a").expect_err("no such directory");
        assert!(
            matches!(refused, EnvironmentError::Directory { ref url, .. } if url == "consul://a"),
            "{refused}"
        );
    }

    #[test]
    fn other_variables_are_refused_as_pmd_host_refuses_them() {
        let refused = endpoint_config_of(|asked| (asked == "PMD_IDLE").then(|| "sleep".to_owned()));
        let Err(EnvironmentError::Variable(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!((refused.variable, &*refused.value), ("PMD_IDLE", "sleep"));
    }
}
