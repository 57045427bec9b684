//! What a back end is created with: the engine's parameters, else the environment. Called by `seam`.

use std::{collections::HashMap, env};

use kv_api::{
    agent::backend::BackendConfig,
    environment::{self, EnvironmentError},
    kvtrans::{self, InterfaceError},
};
use thiserror::Error;

/// Every parameter and the variable that speaks where it is absent or empty.
pub(crate) const PARAMETERS: [(&str, &str); 8] = [
    ("transport", "PMD_TRANSPORT"),
    ("device", "PMD_DEVICE"),
    ("idle", "PMD_IDLE"),
    ("queue_pairs", "PMD_QUEUE_PAIRS"),
    ("accelerators", environment::ACCELERATORS_VARIABLE),
    ("interface", INTERFACE),
    ("key_file", "PMD_KEY_FILE"),
    ("data_encryption", "PMD_DATA_ENCRYPTION"),
];

/// Names the interface to listen on.
const INTERFACE: &str = "PMD_INTERFACE";

/// Why a back end is not created.
#[derive(Debug, Error)]
pub(crate) enum ParameterError {
    /// Not one of ours.
    #[error("there is no parameter {name}: it takes {}", PARAMETERS.map(|(name, _)| name).join(", "))]
    Unknown {
        /// What was given.
        name: String,
    },
    /// A value that cannot be.
    #[error("wrong parameter, or variable for want of it")]
    Value(#[from] EnvironmentError),
    /// No such interface.
    #[error("no address to listen on: correct the parameter interface or PMD_INTERFACE")]
    Interface(#[from] InterfaceError),
}

/// How the back end of `agent` is made.
pub(crate) fn config(agent: &str, given: &HashMap<String, String>) -> Result<BackendConfig, ParameterError> {
    let known = |name: &String| PARAMETERS.iter().any(|(known, _)| known == name);
    if let Some(name) = given.keys().find(|name| !known(name)) {
        return Err(ParameterError::Unknown { name: name.clone() });
    }
    let value = |variable: &str| {
        let name = PARAMETERS.iter().find_map(|(name, of)| (*of == variable).then_some(*name))?;
        let parameter = given.get(name).filter(|value| !value.is_empty()).cloned();
        parameter.or_else(|| env::var_os(variable).map(|value| value.to_string_lossy().into_owned()))
    };
    let mut endpoint = environment::endpoint_config_of(value)?;
    endpoint.name = agent.to_owned();
    endpoint.listen = Some(kvtrans::listen_address(&value(INTERFACE).unwrap_or_default(), 0)?);
    Ok(BackendConfig { endpoint, ..BackendConfig::new(agent) })
}

#[cfg(test)]
mod tests {
    use pmd_host::{backend::Transport, endpoint::TransportChoice, lane::Idle};

    use super::*;

    fn with(name: &str, value: &str) -> Result<BackendConfig, ParameterError> {
        config("a", &HashMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn every_parameter_is_heard() {
        let shm = with("transport", "shm").expect("a transport").endpoint;
        assert_eq!(shm.transport, TransportChoice::Only(Transport::SharedMemory));
        assert_eq!(shm.name, "a");
        assert_eq!(
            with("device", "mlx5_1").expect("a device").endpoint.nic.device.as_deref(),
            Some("mlx5_1")
        );
        assert_eq!(with("idle", "yield").expect("an idle policy").endpoint.lane.idle, Idle::Yield);
        assert_eq!(with("queue_pairs", "3").expect("a number").endpoint.queue_pairs, 3);
        let accelerators = with("accelerators", "cpu:1").expect("ordinary memory").endpoint.soft.accelerators;
        assert_eq!(accelerators.iter().map(|of| of.identity().ordinal).collect::<Vec<_>>(), [1]);
        let listen = with("interface", "127.0.0.2").expect("an address").endpoint.listen;
        assert_eq!(listen, Some(([127, 0, 0, 2], 0).into()));
    }

    #[test]
    fn an_empty_parameter_is_as_good_as_none() {
        for (name, _) in PARAMETERS {
            let config = with(name, "").expect("the defaults").endpoint;
            assert_eq!((config.transport, config.queue_pairs), (TransportChoice::Auto, 1), "{name}");
            assert_eq!(config.listen, Some(([127, 0, 0, 1], 0).into()));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(
            matches!(with("num_threads", "4"), Err(ParameterError::Unknown { name }) if name == "num_threads")
        );
        assert!(
            matches!(with("idle", "sleep"), Err(ParameterError::Value(EnvironmentError::Variable(error))) if error.value == "sleep")
        );
        assert!(matches!(
            with("accelerators", "gpu"),
            Err(ParameterError::Value(EnvironmentError::Accelerator { name, .. })) if name == "gpu:0"
        ));
        assert!(matches!(with("interface", "no such"), Err(ParameterError::Interface(_))));
    }
}
