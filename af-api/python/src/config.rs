//! How a process takes part: the environment's settings, changed by what the caller names.

use std::{collections::HashMap, time::Duration};

use af_api::{
    config::{Config, WaitFor},
    environment,
};
use pmd_host::environment::variable;
use pmd_python::waiting;
use pyo3::{exceptions::PyTypeError, prelude::*, types::PyDict};

use crate::error;

/// Options that the environment has names for.
const VARIABLES: &[(&str, &str)] = &[
    ("workers", "DMLC_NUM_WORKER"),
    ("servers", "DMLC_NUM_SERVER"),
    ("group_size", "DMLC_GROUP_SIZE"),
    ("rank", "DMLC_NODE_RANK"),
    ("instance", "STEPMESH_GPU"),
    ("interface", "DMLC_INTERFACE"),
    ("transport", "PMD_TRANSPORT"),
    ("device", "PMD_DEVICE"),
    ("accelerators", "PMD_ACCELERATORS"),
    ("idle", "PMD_IDLE"),
    ("queue_pairs", "PMD_QUEUE_PAIRS"),
    ("key_file", "PMD_KEY_FILE"),
    ("data_encryption", "PMD_DATA_ENCRYPTION"),
];

/// Options of workers and servers.
#[derive(Default)]
pub(crate) struct Limits {
    /// Pushes of one key in flight to one server.
    pub(crate) depth: Option<u16>,
    /// Requests in flight to one server.
    pub(crate) requests: Option<u16>,
    /// Bytes up to which a tensor travels inside a message.
    pub(crate) inline_bytes: Option<u32>,
    /// Longest wait for an answer over the control connection.
    pub(crate) patience: Option<Duration>,
    /// Whether a server's pushes arrive in memory of its accelerator.
    pub(crate) device_areas: bool,
    /// Whether instances have to do with those of the same number only.
    pub(crate) rail: bool,
}

/// The configuration of a role (`scheduler`, `worker`, `server`); where none is given the environment says it.
///
/// # Errors
/// `ConfigurationError` names what cannot be, `TypeError` an option that there is not.
pub(crate) fn config(
    py: Python<'_>,
    role: Option<&str>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<(Config, Limits)> {
    let mut variables = HashMap::new();
    if let Some(role) = role {
        variables.insert("DMLC_ROLE", role.to_owned());
    }
    let mut rest = Vec::new();
    for (name, value) in options.into_iter().flatten().filter(|(_, value)| !value.is_none()) {
        let name = name.extract::<String>()?;
        if let Some((_, variable)) = VARIABLES.iter().find(|(option, _)| *option == name) {
            variables.insert(*variable, value.str()?.to_string());
        } else if name == "scheduler" || name == "listen" {
            let (host, port) = address(py, &name, &value.extract::<String>()?)?;
            let names = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NODE_HOST", "DMLC_PORT");
            let (to, at) = if name == "scheduler" { (names.0, names.1) } else { (names.2, names.3) };
            variables.insert(to, host);
            variables.insert(at, port);
        } else {
            rest.push((name, value));
        }
    }
    let look_up = |name: &str| variables.get(name).cloned().or_else(|| variable(name));
    let config = py.detach(|| environment::config_of(look_up));
    let mut config = config.map_err(|problem| error::environment(py, &problem))?;
    let mut limits = Limits::default();
    for (name, value) in rest {
        set(&mut config, &mut limits, &name, &value)?;
    }
    Ok((config, limits))
}

fn set(config: &mut Config, limits: &mut Limits, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let seconds = || waiting::duration(value.extract()?);
    match name {
        "name" => {
            config.name = value.extract()?;
            config.endpoint.name.clone_from(&config.name);
        }
        "start_timeout" => config.start_timeout = seconds()?,
        "keep_alive" => {
            config.keep_alive = seconds()?;
            config.endpoint.keep_alive = config.keep_alive;
        }
        "down_after" => {
            config.down_after = seconds()?;
            config.endpoint.down_after = config.down_after;
        }
        "wait_for_all" => {
            config.wait_for = if value.is_truthy()? { WaitFor::Everybody } else { WaitFor::Nobody };
        }
        "rail" => limits.rail = value.is_truthy()?,
        "device_areas" => limits.device_areas = value.is_truthy()?,
        "depth" => limits.depth = Some(value.extract()?),
        "requests" => limits.requests = Some(value.extract()?),
        "inline_bytes" => limits.inline_bytes = Some(value.extract()?),
        "patience" => limits.patience = Some(seconds()?),
        _ => return Err(PyTypeError::new_err(format!("no option named {name:?}"))),
    }
    Ok(())
}

/// Host and port of `host:port`; a bracketed host is an IPv6 address.
fn address(py: Python<'_>, option: &str, text: &str) -> PyResult<(String, String)> {
    let wrong = || error::option(py, option, format!("{option} is {text:?}, it takes host:port"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok((bare.to_owned(), port.to_owned()))
}
