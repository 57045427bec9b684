//! How an engine or fabric is opened: the environment's settings, changed by what the caller names.

use std::{
    collections::HashMap,
    net::{SocketAddr, ToSocketAddrs},
};

use kv_api::environment;
use pmd_host::{
    backend::Transport,
    endpoint::{EndpointConfig, TransportChoice},
    environment::{DATA_ENCRYPTION_VARIABLE, KEY_FILE_VARIABLE, variable},
    lane::Idle,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{device, error, waiting};

/// Keywords that the environment has names for, and that are read as it is.
const VARIABLES: &[(&str, &str)] =
    &[("key_file", KEY_FILE_VARIABLE), ("data_encryption", DATA_ENCRYPTION_VARIABLE)];

/// The environment's configuration, changed by keywords.
///
/// # Errors
/// `ConfigurationError` names what cannot be, `TypeError` a keyword that there is not.
pub(crate) fn config(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<EndpointConfig> {
    let mut given = HashMap::new();
    for (option, name) in VARIABLES {
        let value = options.map(|options| options.get_item(option)).transpose()?.flatten();
        if let Some(value) = value.filter(|value| !value.is_none()) {
            given.insert(*name, value.extract::<String>()?);
        }
    }
    let found = environment::endpoint_config_of(|name| given.get(name).cloned().or_else(|| variable(name)));
    let mut config = found.map_err(|problem| error::environment(py, &problem))?;
    for (name, value) in options.into_iter().flatten().filter(|(_, value)| !value.is_none()) {
        let name = name.extract::<String>()?;
        if !VARIABLES.iter().any(|(option, _)| *option == name) {
            set(&mut config, &name, &value)?;
        }
    }
    Ok(config)
}

fn set(config: &mut EndpointConfig, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = value.py();
    match name {
        "name" => config.name = value.extract()?,
        "listen" => config.listen = Some(address(py, &value.extract::<String>()?)?),
        "transport" => {
            config.transport = choice(py, name, value, "auto, shm, mlx5, verbs or tcp", transport)?
        }
        "device" => config.nic.device = Some(value.extract()?),
        "accelerators" => config.soft.accelerators = device::accelerators(value)?,
        "idle" => config.lane.idle = choice(py, name, value, "spin, yield or park", idle)?,
        "queue_pairs" => config.queue_pairs = value.extract()?,
        "message_bytes" => config.message_bytes = value.extract()?,
        "patience" => config.patience = waiting::duration(value.extract()?)?,
        "keep_alive" => config.keep_alive = waiting::duration(value.extract()?)?,
        "down_after" => config.down_after = waiting::duration(value.extract()?)?,
        _ => return Err(pyo3::exceptions::PyTypeError::new_err(format!("no option named {name:?}"))),
    }
    Ok(())
}

fn choice<T>(
    py: Python<'_>,
    name: &str,
    value: &Bound<'_, PyAny>,
    allowed: &str,
    parse: fn(&str) -> Option<T>,
) -> PyResult<T> {
    let text: String = value.extract()?;
    parse(&text).ok_or_else(|| wrong(py, name, &text, allowed))
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

/// `host:port`, with a name or a number for the host.
///
/// # Errors
/// `ConfigurationError`.
pub(crate) fn address(py: Python<'_>, text: &str) -> PyResult<SocketAddr> {
    let found = py.detach(|| text.to_socket_addrs().ok().and_then(|mut found| found.next()));
    found.ok_or_else(|| wrong(py, "address", text, "host:port, with a host that this machine can look up"))
}

fn wrong(py: Python<'_>, option: &str, value: &str, allowed: &str) -> PyErr {
    let message = format!("{option} is {value:?}, it takes {allowed}");
    error::raise(py, "ConfigurationError", "Configuration", message, &|fields| {
        fields.set_item("variable", option)?;
        fields.set_item("value", value)
    })
}
