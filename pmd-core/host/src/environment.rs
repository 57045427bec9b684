//! Settings of an endpoint from the environment, for interfaces that have no options of their own.
//!
//! Drop-in interfaces keep their originals' signatures, which know nothing of transports or lanes. What a program cannot
//! say there, its surroundings say here. `kv-api` and `af-api` read it once, when they open an endpoint.
//!
//! | variable | says | default |
//! |---|---|---|
//! | `PMD_TRANSPORT` | `auto`, `shm`, `mlx5` or `verbs` | `auto` |
//! | `PMD_DEVICE` | name of the NIC (`mlx5_0`) | the first that can be used |
//! | `PMD_IDLE` | what an idle lane does: `spin`, `yield` or `park` | `park` |
//! | `PMD_QUEUE_PAIRS` | queue pairs to each peer, 1 to 64 | 1 |

use std::env::{self, VarError};

use thiserror::Error;

use crate::{
    backend::Transport,
    endpoint::{EndpointConfig, TransportChoice},
    lane::Idle,
};

/// Most queue pairs to a peer that `PMD_QUEUE_PAIRS` may ask for.
const MOST_QUEUE_PAIRS: usize = 64;

/// The default configuration of an endpoint, changed by the environment.
///
/// # Errors
/// [`EnvironmentError`] when a variable has a value that it cannot have.
pub fn endpoint_config() -> Result<EndpointConfig, EnvironmentError> {
    endpoint_config_of(variable)
}

/// What a variable is set to. Bytes that are no text are replaced, so that whoever parses them refuses them.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    match env::var(name) {
        Ok(value) => Some(value),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
    }
}

/// The default configuration of an endpoint, changed by variables that the caller looks up: for interfaces with
/// parameters of their own, which go before the environment.
///
/// # Errors
/// As [`endpoint_config`].
pub fn endpoint_config_of(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<EndpointConfig, EnvironmentError> {
    let mut config = EndpointConfig::default();
    let parse = |name, allowed, apply: &mut dyn FnMut(&str) -> bool| match variable(name) {
        Some(value) if !apply(&value) => Err(EnvironmentError { variable: name, value, allowed }),
        _ => Ok(()),
    };
    parse("PMD_TRANSPORT", "auto, shm, mlx5, verbs or tcp", &mut |value| {
        set(&mut config.transport, transport(value))
    })?;
    parse("PMD_DEVICE", "the name of a device", &mut |value| {
        config.nic.device = Some(value.to_owned());
        !value.is_empty()
    })?;
    parse("PMD_IDLE", "spin, yield or park", &mut |value| set(&mut config.lane.idle, idle(value)))?;
    parse("PMD_QUEUE_PAIRS", "a number from 1 to 64", &mut |value| {
        let number = value.parse().ok().filter(|number| (1..=MOST_QUEUE_PAIRS).contains(number));
        set(&mut config.queue_pairs, number)
    })?;
    Ok(config)
}

/// Whether there was a value to set.
fn set<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

fn transport(name: &str) -> Option<TransportChoice> {
    let only = || Transport::ALL.into_iter().find(|transport| transport.name() == name);
    if name == "auto" { Some(TransportChoice::Auto) } else { only().map(TransportChoice::Only) }
}

fn idle(name: &str) -> Option<Idle> {
    match name {
        "spin" => Some(Idle::Spin),
        "yield" => Some(Idle::Yield),
        "park" => Some(Idle::Park),
        _ => None,
    }
}

/// A variable has a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{variable} is {value:?}, it takes {allowed}: correct or unset it")]
pub struct EnvironmentError {
    /// Which variable.
    pub variable: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be set to.
    pub allowed: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<EndpointConfig, EnvironmentError> {
        endpoint_config_of(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn nothing_set_is_the_default() {
        let config = endpoint_config_of(|_| None).expect("the default");
        assert_eq!((config.transport, config.lane.idle), (TransportChoice::Auto, Idle::Park));
        assert_eq!((config.nic.device, config.queue_pairs), (None, 1));
    }

    #[test]
    fn every_variable_is_heard() {
        for transport in Transport::ALL {
            let config = with("PMD_TRANSPORT", transport.name()).expect("a transport");
            assert_eq!(config.transport, TransportChoice::Only(transport));
        }
        assert_eq!(with("PMD_TRANSPORT", "auto").expect("auto").transport, TransportChoice::Auto);
        for (name, idle) in [("spin", Idle::Spin), ("yield", Idle::Yield), ("park", Idle::Park)] {
            assert_eq!(with("PMD_IDLE", name).expect("an idle policy").lane.idle, idle);
        }
        assert_eq!(with("PMD_DEVICE", "mlx5_1").expect("a device").nic.device.as_deref(), Some("mlx5_1"));
        assert_eq!(with("PMD_QUEUE_PAIRS", "64").expect("a number").queue_pairs, 64);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let wrong = [
            ("PMD_TRANSPORT", "tpc"),
            ("PMD_DEVICE", ""),
            ("PMD_IDLE", "SPIN"),
            ("PMD_QUEUE_PAIRS", "0"),
            ("PMD_QUEUE_PAIRS", "65"),
            ("PMD_QUEUE_PAIRS", "many"),
        ];
        for (name, value) in wrong {
            let error = with(name, value).expect_err(value);
            assert_eq!((error.variable, error.value.as_str()), (name, value));
            assert!(error.to_string().contains(error.allowed));
        }
    }
}
