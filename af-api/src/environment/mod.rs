//! The configuration from the environment, with the names that users of StepMesh already export.
//!
//! Drop-in interfaces call [`config`] once, when they start; a program with options of its own fills a
//! [`Config`] instead. A value that a variable cannot have is an error that names the variable, and so is a variable that
//! must be set and is not.
//!
//! # What is honoured
//! | variable | says | default |
//! |---|---|---|
//! | `DMLC_ROLE` | `scheduler`, `worker`, `server` or `joint` | must be set |
//! | `DMLC_NUM_WORKER`, `DMLC_NUM_SERVER` | groups of workers, of servers | must be set |
//! | `DMLC_GROUP_SIZE` | instances of each group | 1 |
//! | `DMLC_NODE_RANK` | number of this node among those of its role | 0 |
//! | `STEPMESH_GPU`, or `STEPAF_GPU` | number of the accelerator: [`Config::accelerator`]. The rank is group size x node rank + this + rank offset | 0 |
//! | `DMLC_RANK_OFFSET` | added to the rank; may be negative | 0 |
//! | `DMLC_INSTANCE_ID` | number of this process in its group, for barriers of one instance | the rank modulo the group size |
//! | `DMLC_PS_ROOT_URI`, `DMLC_PS_ROOT_PORT` | name or address, and port, of the scheduler, which listens there | must be set |
//! | `DMLC_NODE_HOST` | name or address that a server's endpoint listens on | see `DMLC_INTERFACE` |
//! | `DMLC_INTERFACE` | the same as a network interface or an RDMA device, which is then the NIC to use; `auto`: the address from which this host reaches the scheduler | `auto` |
//! | `DMLC_PORT` | port of that endpoint, 0 for any | 0 |
//! | `STEPMESH_BACKEND`, or `STEPMESH_BAKCEND` | `CPU` or `GPU`: [`Config::backend`] | not said |
//! | `STEPMESH_BIND_CPU_CORE` | `1` pins the first lane to the core that the next three give, further lanes to the next cores | `0` |
//! | `STEPMESH_CPU_START_OFFSET` | first core of accelerator 0 | 10 |
//! | `STEPMESH_CPU_CORES_PER_GPU` | cores from the first of a pair of accelerators to the second | 5 |
//! | `STEPMESH_CPU_CORES_PER_SOCKET` | each half of so many cores serves a pair of accelerators | 48 |
//! | `STEPAF_QP_NUM` | queue pairs to each peer, 1 to 64 | 1 |
//! | `STEPAF_BUSY_POLL_ENABLE` | `1`: an idle lane polls on and yields; `0`: it sleeps | as `PMD_IDLE` |
//! | `PS_VERBOSE` | 0 to 4: [`Config::verbosity`] | 0 |
//! | `PS_HEARTBEAT_INTERVAL` | seconds between keep-alives; 0 is the default | 1, or a fifth of the time-out |
//! | `PS_HEARTBEAT_TIMEOUT` | seconds of silence after which a process is down; 0 is the default | 5 intervals |
//! | `PMD_START_TIMEOUT` | seconds that a start may take | 60 |
//! | `PMD_ACCELERATORS` | whose memory tensors may lie in, and whose streams are followed: `cuda:0`, `rocm:1`, `ascend:0`, `cpu`, with commas between several. One without a number has that of `STEPMESH_GPU` | none |
//! | `PMD_TRANSPORT`, `PMD_DEVICE`, `PMD_IDLE`, `PMD_QUEUE_PAIRS` | as everywhere: [`pmd_host::environment`]. They go before the names above | |
//!
//! # What is accepted and means nothing here
//! | variable | why |
//! |---|---|
//! | `DMLC_ENABLE_RDMA` | the transport is chosen by peer, or by `PMD_TRANSPORT`; without a NIC, shared memory has the same semantics |
//! | `STEPMESH_SPLIT_QP_LAG` | queue pairs are spread by the NIC; their number is `STEPAF_QP_NUM` |
//! | `STEPMESH_MEM_SYNC` | a push waits for its event by the accelerator's own means |
//! | `PS_RESEND`, `PS_RESEND_TIMEOUT` | connections are reliable; nothing has to be sent again |
//! | `PS_DROP_MSG` | faults are injected by tests, not in production |
//!
//! ```
//! let variables = |name: &str| {
//!     let value = match name {
//!         "DMLC_ROLE" => "server",
//!         "DMLC_NUM_WORKER" | "DMLC_NUM_SERVER" => "2",
//!         "DMLC_NODE_RANK" => "1",
//!         "DMLC_PS_ROOT_URI" => "127.0.0.1",
//!         "DMLC_PS_ROOT_PORT" => "8123",
//!         _ => return None,
//!     };
//!     Some(value.to_owned())
//! };
//! let config = af_api::environment::config_of(variables)?;
//! assert_eq!(config.rank(), 1);
//! assert_eq!(config.endpoint.listen, Some(([127, 0, 0, 1], 0).into()));
//! # Ok::<(), af_api::environment::EnvironmentError>(())
//! ```

mod accelerators;

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    str::FromStr,
    time::Duration,
};

pub use accelerators::{ACCELERATORS_VARIABLE, accelerators};
use pmd_host::{
    endpoint::EndpointConfig,
    environment::{EnvironmentError as ValueError, endpoint_config_of, variable},
    interface::{self, InterfaceError},
    lane::Idle,
};
use thiserror::Error;

use crate::config::{Backend, Config, ConfigError, ProcessRole};

/// Most queue pairs that `STEPAF_QP_NUM` may ask for.
const MOST_QUEUE_PAIRS: usize = 64;

/// Longest time in seconds that a variable may say: a day.
const MOST_SECONDS: u64 = 24 * 3600;

/// The configuration that the environment gives.
///
/// # Errors
/// [`EnvironmentError`].
pub fn config() -> Result<Config, EnvironmentError> {
    config_of(variable)
}

/// The configuration that variables give which the caller looks up.
///
/// # Errors
/// [`EnvironmentError`].
pub fn config_of(look_up: impl Fn(&str) -> Option<String>) -> Result<Config, EnvironmentError> {
    let variables = Variables(&look_up);
    let mut config = cluster(&variables)?;
    ranks(&variables, &mut config)?;
    let message_bytes = config.endpoint.message_bytes;
    config.endpoint = EndpointConfig { message_bytes, ..endpoint_config_of(&look_up)? };
    timing(&variables, &mut config)?;
    lanes(&variables, &mut config)?;
    let names = look_up(ACCELERATORS_VARIABLE).filter(|_| config.role != ProcessRole::Scheduler);
    if let Some(names) = names {
        config.endpoint.soft.accelerators = accelerators(&names, config.accelerator)?;
    }
    // Ranks and shape that cannot be are told before anything is looked up on the network.
    config.members()?;
    if matches!(config.role, ProcessRole::Server | ProcessRole::Joint) {
        listen(&variables, &mut config)?;
    }
    Ok(config)
}

/// Role, shape and scheduler.
fn cluster(variables: &Variables<'_>) -> Result<Config, EnvironmentError> {
    let role = variables.required("DMLC_ROLE", "scheduler, worker, server or joint", |role| match role {
        "scheduler" => Some(ProcessRole::Scheduler),
        "worker" => Some(ProcessRole::Worker),
        "server" => Some(ProcessRole::Server),
        "joint" => Some(ProcessRole::Joint),
        _ => None,
    })?;
    let workers = variables.required("DMLC_NUM_WORKER", "a number", number)?;
    let servers = variables.required("DMLC_NUM_SERVER", "a number", number)?;
    let host = variables.required("DMLC_PS_ROOT_URI", "a name or an address", text)?;
    let port = variables.required("DMLC_PS_ROOT_PORT", "a port", number)?;
    let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
    let mut config = Config::new(role, workers, servers, unknown);
    config.scheduler_host = host;
    config.shape.group_size = variables.optional("DMLC_GROUP_SIZE", "a number", number)?.unwrap_or(1);
    Ok(config)
}

/// The place that the process takes.
fn ranks(variables: &Variables<'_>, config: &mut Config) -> Result<(), EnvironmentError> {
    const ALLOWED: &str = "a number";
    config.node_rank = variables.optional("DMLC_NODE_RANK", ALLOWED, number)?.unwrap_or(0);
    let former = variables.optional("STEPAF_GPU", ALLOWED, number)?;
    config.accelerator = variables.optional("STEPMESH_GPU", ALLOWED, number)?.or(former).unwrap_or(0);
    let offset: i64 = variables.optional::<i32>("DMLC_RANK_OFFSET", ALLOWED, number)?.unwrap_or(0).into();
    let accelerator = i64::from(config.accelerator);
    let group_size = i64::from(config.shape.group_size).max(1);
    let natural = (group_size * i64::from(config.node_rank) + accelerator + offset).rem_euclid(group_size);
    let instance = variables.optional("DMLC_INSTANCE_ID", ALLOWED, number)?;
    config.instance = instance.unwrap_or_else(|| u32::try_from(natural).unwrap_or(0));
    // The accelerator counts for the rank, whatever the instance is.
    config.rank_offset = offset + accelerator - i64::from(config.instance);
    config.backend = variables.backend("STEPMESH_BAKCEND")?;
    config.backend = variables.backend("STEPMESH_BACKEND")?.or(config.backend);
    let verbosity = |value: &str| number(value).filter(|level| *level <= 4);
    config.verbosity = variables.optional("PS_VERBOSE", "a number from 0 to 4", verbosity)?.unwrap_or(0);
    Ok(())
}

fn timing(variables: &Variables<'_>, config: &mut Config) -> Result<(), EnvironmentError> {
    let interval = variables.seconds("PS_HEARTBEAT_INTERVAL")?;
    let bound = variables.seconds("PS_HEARTBEAT_TIMEOUT")?;
    (config.keep_alive, config.down_after) = match (interval, bound) {
        (None, None) => (config.keep_alive, config.down_after),
        (Some(interval), None) => (interval, interval * 5),
        (None, Some(bound)) => (bound / 5, bound),
        (Some(interval), Some(bound)) => (interval, bound),
    };
    (config.endpoint.keep_alive, config.endpoint.down_after) = (config.keep_alive, config.down_after);
    if let Some(timeout) = variables.seconds("PMD_START_TIMEOUT")? {
        config.start_timeout = timeout;
    }
    Ok(())
}

/// What drives the queue pairs, and how many there are.
fn lanes(variables: &Variables<'_>, config: &mut Config) -> Result<(), EnvironmentError> {
    let queue_pairs = |value: &str| number(value).filter(|number| (1..=MOST_QUEUE_PAIRS).contains(number));
    let queue_pairs = variables.optional("STEPAF_QP_NUM", "a number from 1 to 64", queue_pairs)?;
    if let Some(queue_pairs) = queue_pairs.filter(|_| !variables.is_set("PMD_QUEUE_PAIRS")) {
        config.endpoint.queue_pairs = queue_pairs;
    }
    let busy = variables.optional("STEPAF_BUSY_POLL_ENABLE", "0 or 1", switch)?;
    if let Some(busy) = busy.filter(|_| !variables.is_set("PMD_IDLE")) {
        config.endpoint.lane.idle = if busy { Idle::Yield } else { Idle::Park };
    }
    let pinned = variables.optional("STEPMESH_BIND_CPU_CORE", "0 or 1", switch)?.unwrap_or(false);
    let cores = |name, default: u16| {
        Ok::<_, EnvironmentError>(usize::from(
            variables.optional(name, "a number of cores", number)?.unwrap_or(default),
        ))
    };
    let first = cores("STEPMESH_CPU_START_OFFSET", 10)?;
    let each = cores("STEPMESH_CPU_CORES_PER_GPU", 5)?;
    let socket = cores("STEPMESH_CPU_CORES_PER_SOCKET", 48)?;
    if pinned {
        let accelerator = config.accelerator as usize;
        config.endpoint.lane.core = Some(first + accelerator % 2 * each + accelerator / 2 * (socket / 2));
    }
    Ok(())
}

/// Where a server's endpoint listens.
fn listen(variables: &Variables<'_>, config: &mut Config) -> Result<(), EnvironmentError> {
    let port = variables.optional("DMLC_PORT", "a port", number)?.unwrap_or(0);
    let host = variables.optional("DMLC_NODE_HOST", "a name or an address", text)?;
    let name = variables.optional("DMLC_INTERFACE", "a network interface, an RDMA device or auto", text)?;
    let address = match (host, name) {
        (Some(host), _) => of_host(host, port)?,
        (None, Some(name)) if name != "auto" => {
            let found = interface::find(&name, port)?;
            config.endpoint.nic.device = config.endpoint.nic.device.take().or(found.device);
            found.address
        }
        (None, _) => towards(config, port)?,
    };
    config.endpoint.listen = Some(address);
    Ok(())
}

fn of_host(host: String, port: u16) -> Result<SocketAddr, EnvironmentError> {
    let found = (host.as_str(), port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let allowed = "a name or an address of this host";
    found.ok_or_else(|| ValueError { variable: "DMLC_NODE_HOST", value: host, allowed }.into())
}

/// The address from which this host reaches the scheduler; this machine's own where there is no route to it.
fn towards(config: &Config, port: u16) -> Result<SocketAddr, EnvironmentError> {
    let scheduler = config.scheduler_addresses()?[0];
    let any: IpAddr = if scheduler.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    // Connecting a datagram socket looks the route up and sends nothing.
    let route = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(scheduler)?;
        socket.local_addr()
    });
    Ok((route.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip()), port).into())
}

/// The caller's variables.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn optional<T>(
        &self,
        name: &'static str,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, EnvironmentError> {
        let Some(value) = (self.0)(name) else { return Ok(None) };
        let parsed = parse(value.trim());
        parsed.map(Some).ok_or_else(|| ValueError { variable: name, value, allowed }.into())
    }

    fn required<T>(
        &self,
        name: &'static str,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, EnvironmentError> {
        let missing = || EnvironmentError::Missing { variable: name, allowed };
        self.optional(name, allowed, parse)?.ok_or_else(missing)
    }

    fn is_set(&self, name: &str) -> bool {
        (self.0)(name).is_some()
    }

    fn backend(&self, name: &'static str) -> Result<Option<Backend>, EnvironmentError> {
        self.optional(name, "CPU or GPU", |value| match value {
            "CPU" => Some(Backend::Cpu),
            "GPU" => Some(Backend::Gpu),
            _ => None,
        })
    }

    /// A time, unless it is not set or nothing.
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, EnvironmentError> {
        let seconds = |value: &str| number(value).filter(|seconds| *seconds <= MOST_SECONDS);
        let seconds = self.optional(name, "a number of seconds, at most a day", seconds)?;
        Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }
}

fn number<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// Why the environment gives no configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// A variable has a value that it cannot have.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A variable must be set and is not.
    #[error("{variable} is not set, it takes {allowed}")]
    Missing {
        /// Which variable.
        variable: &'static str,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// `DMLC_INTERFACE` names no interface with an address.
    #[error("DMLC_INTERFACE: {0}")]
    Interface(#[from] InterfaceError),
    /// An accelerator is not here.
    #[error("accelerator {name} is not here: {source}")]
    Accelerator {
        /// Its name, with a number.
        name: String,
        /// The runtime's reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The values contradict each other.
    #[error("the variables DMLC_* and PS_* contradict each other: {0}")]
    Config(#[from] ConfigError),
}

#[cfg(test)]
mod tests;
