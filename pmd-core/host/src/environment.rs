//! Settings of an endpoint from the environment, for interfaces that have no options of their own.
//!
//! Drop-in interfaces keep their originals' signatures, which know nothing of transports or lanes. What a program cannot
//! say there, its surroundings say here. `kv-api` and `af-api` read it once, when they open an endpoint.
//!
//! | variable | says | default |
//! |---|---|---|
//! | `PMD_TRANSPORT` | `auto`, `shm`, `mlx5`, `verbs` or `tcp` | `auto` |
//! | `PMD_DEVICE` | name of the NIC (`mlx5_0`) | the first that can be used |
//! | `PMD_IDLE` | what an idle lane does: `spin`, `yield` or `park` | `park` |
//! | `PMD_QUEUE_PAIRS` | queue pairs to each peer, 1 to 64 | 1 |
//! | `PMD_RAILS` | addresses of this host (over TCP) or names of its NICs (`mlx5_0,mlx5_1`) for large transfers, with commas between them ([`RailsConfig`](crate::endpoint::RailsConfig)): rails on each | none |
//! | `PMD_METRICS` | where each endpoint answers `GET /metrics`, durations of transfers among them: a port of this host alone, or `ADDRESS:PORT`; the first free one of 32 ports ([`MetricsAddress`]) | nowhere |
//! | `PMD_KEY_FILE` | file of the pre-shared key, see [`security`](crate::security) | no key |
//! | `PMD_DATA_ENCRYPTION` | with a key, whether data over TCP is encrypted: `on` or `off` | `on` |
//! | `PMD_PIN_ARENAS` | `1` page-locks arenas for the accelerators ([`DeviceConfig::pin_arenas`](crate::soft::DeviceConfig::pin_arenas)), `0` does not | `0` |

use std::{
    env::{self, VarError},
    path::Path,
};

use thiserror::Error;

use crate::{
    backend::Transport,
    endpoint::{EndpointConfig, TransportChoice},
    lane::Idle,
    metrics::MetricsAddress,
    security::{KeyError, PreSharedKey, Security},
};

/// Names the file of the pre-shared key.
pub const KEY_FILE_VARIABLE: &str = "PMD_KEY_FILE";

/// Says whether data over TCP is encrypted.
pub const DATA_ENCRYPTION_VARIABLE: &str = "PMD_DATA_ENCRYPTION";

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
    let places = "IP addresses of this host, or names of its NICs, with commas between them, 64 at most";
    parse("PMD_RAILS", places, &mut |value| set(&mut config.rails, value.parse().ok()))?;
    parse("PMD_METRICS", "a port, or an IP address and a port", &mut |value| {
        let address = value.parse::<MetricsAddress>().ok();
        config.lane.latencies = address.is_some();
        set(&mut config.metrics.listen, address.map(Some))
    })?;
    parse("PMD_PIN_ARENAS", "0 or 1", &mut |value| set(&mut config.soft.pin_arenas, switch(value)))?;
    config.security = security_of(variable)?;
    Ok(config)
}

/// What peers must know, as the variables say.
///
/// # Errors
/// [`EnvironmentError`]: a key file that gives no key is never taken for no key.
pub fn security_of(variable: impl Fn(&str) -> Option<String>) -> Result<Security, EnvironmentError> {
    let mut security = Security::default();
    if let Some(value) = variable(KEY_FILE_VARIABLE) {
        let key = PreSharedKey::from_file(Path::new(&value));
        let refused = |error: KeyError| EnvironmentError {
            variable: KEY_FILE_VARIABLE,
            value,
            allowed: error.advice(),
        };
        security.key = Some(key.map_err(refused)?);
    }
    match variable(DATA_ENCRYPTION_VARIABLE).as_deref() {
        None | Some("on") => {}
        Some("off") => security.seal_data = false,
        Some(value) => {
            let (variable, value) = (DATA_ENCRYPTION_VARIABLE, value.to_owned());
            return Err(EnvironmentError { variable, value, allowed: "on or off" });
        }
    }
    Ok(security)
}

/// Whether there was a value to set.
fn set<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

fn transport(name: &str) -> Option<TransportChoice> {
    let only = || Transport::ALL.into_iter().find(|transport| transport.name() == name);
    if name == "auto" { Some(TransportChoice::Auto) } else { only().map(TransportChoice::Only) }
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::endpoint::RailsConfig;

    fn with(name: &'static str, value: &'static str) -> Result<EndpointConfig, EnvironmentError> {
        endpoint_config_of(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn nothing_set_is_the_default() {
        let config = endpoint_config_of(|_| None).expect("the default");
        assert_eq!((config.transport, config.lane.idle), (TransportChoice::Auto, Idle::Park));
        assert_eq!((config.nic.device, config.queue_pairs), (None, 1));
        assert_eq!((config.metrics.listen, config.lane.latencies), (None, false));
        assert_eq!(config.security, Security::default());
        assert!(!config.soft.pin_arenas);
        assert_eq!(config.rails, RailsConfig::default());
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
        let rails = with("PMD_RAILS", "10.0.0.1, fd00::1").expect("addresses").rails;
        let addresses: Vec<_> = rails.addresses.iter().map(ToString::to_string).collect();
        assert_eq!((rails.count, addresses.concat().as_str()), (2, "10.0.0.1fd00::1"));
        let rails = with("PMD_RAILS", "mlx5_0,mlx5_1").expect("NICs").rails;
        assert_eq!((rails.ports.len(), rails.addresses.len()), (2, 0));
        let config = with("PMD_METRICS", "9500").expect("a port");
        let address = config.metrics.listen.expect("asked for");
        assert_eq!((address.to_string().as_str(), config.lane.latencies), ("127.0.0.1:9500", true));
        for (value, pins) in [("0", false), ("1", true)] {
            assert_eq!(with("PMD_PIN_ARENAS", value).expect("a switch").soft.pin_arenas, pins);
        }
    }

    #[test]
    fn a_key_is_read_from_its_file_and_data_is_encrypted_unless_told_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let name = path.to_str().expect("text").to_owned();
        let variable = |asked: &str, encryption: Option<&str>| match asked {
            KEY_FILE_VARIABLE => Some(name.clone()),
            DATA_ENCRYPTION_VARIABLE => encryption.map(str::to_owned),
            _ => None,
        };
        let read = |encryption| endpoint_config_of(|asked| variable(asked, encryption));
        let error = read(None).expect_err("there is no file");
        assert_eq!((error.variable, &error.value), (KEY_FILE_VARIABLE, &name));
        std::fs::write(&path, "5a".repeat(32)).expect("written");
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, open).expect("permissions");
        let error = read(None).expect_err("others can read it");
        assert!(error.allowed.contains("600"), "{error}");
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("permissions");
        let key = Some(PreSharedKey::from_bytes(&[0x5a; 32]));
        for (encryption, seal_data) in [(None, true), (Some("on"), true), (Some("off"), false)] {
            let security = read(encryption).expect("a key").security;
            assert_eq!(security, Security { key: key.clone(), seal_data });
        }
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
            ("PMD_RAILS", ""),
            ("PMD_RAILS", "10.0.0.1,eth1"),
            ("PMD_METRICS", "localhost:9490"),
            ("PMD_METRICS", ""),
            ("PMD_KEY_FILE", "/nowhere/key"),
            ("PMD_DATA_ENCRYPTION", "yes"),
            ("PMD_PIN_ARENAS", "yes"),
        ];
        for (name, value) in wrong {
            let error = with(name, value).expect_err(value);
            assert_eq!((error.variable, error.value.as_str()), (name, value));
            assert!(error.to_string().contains(error.allowed));
        }
    }
}
