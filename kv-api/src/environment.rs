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
//! | `PMD_ACCELERATORS` | whose memory may be registered, and moved over shared memory: `cuda:0`, `rocm:1`, `ascend:0`, `cpu`, with commas between several. Without a number it is the device that the interface is told (`llm.DeviceId`, `local_gpu_idx`), else 0 | none |
//! | `PMD_INTERFACE` | where to listen, for interfaces that name no address: see [`Config::if_name`] | loopback |
//! | `PMD_HIXL_STAGE_FOR` | whom HIXL stages memory for that is not registered ([`STAGE_FOR_VARIABLE`]): `host`, `all` or `none` | `host` |
//!
//! [`STAGE_FOR_VARIABLE`]: crate::hixl::STAGE_FOR_VARIABLE
//! [`Config::if_name`]: crate::kvtrans::Config::if_name

use std::{env, error::Error};

use pmd_host::{
    endpoint::EndpointConfig,
    environment::{self, variable},
    soft::Accelerators,
};
use thiserror::Error;

/// Names the accelerators.
pub const ACCELERATORS_VARIABLE: &str = "PMD_ACCELERATORS";

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
    configured(device, variable)
}

/// The default configuration of an endpoint, changed by variables that the caller looks up: for interfaces with
/// parameters of their own, which go before the environment.
///
/// # Errors
/// As [`endpoint_config`].
pub fn endpoint_config_of(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EndpointConfig, EnvironmentError> {
    configured(0, variable)
}

fn configured(
    device: u32,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EndpointConfig, EnvironmentError> {
    let mut config = environment::endpoint_config_of(&variable)?;
    if let Some(names) = variable(ACCELERATORS_VARIABLE) {
        config.soft.accelerators = accelerators(&names, device)?;
    }
    Ok(config)
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

type Opened = Result<std::sync::Arc<dyn pmd_core::accelerator::Accelerator>, Box<dyn Error + Send + Sync>>;

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
        let config = configured(device, |asked| (asked == ACCELERATORS_VARIABLE).then(|| names.to_owned()))?;
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

    #[test]
    fn other_variables_are_refused_as_pmd_host_refuses_them() {
        let refused = endpoint_config_of(|asked| (asked == "PMD_IDLE").then(|| "sleep".to_owned()));
        let Err(EnvironmentError::Variable(refused)) = refused else { panic!("{refused:?}") };
        assert_eq!((refused.variable, &*refused.value), ("PMD_IDLE", "sleep"));
    }
}
