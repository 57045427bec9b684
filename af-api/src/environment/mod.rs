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
//! | `PMD_PIN_ARENAS` | `1` page-locks arenas for those accelerators, so that copies between them go without the processor | `0` |
//! | `PMD_TRANSPORT`, `PMD_DEVICE`, `PMD_IDLE`, `PMD_QUEUE_PAIRS`, `PMD_KEY_FILE`, `PMD_DATA_ENCRYPTION` | as everywhere: [`pmd_host::environment`]. They go before the names above | |
//!
//! # Started by a launcher
//! Below `torchrun`, Slurm, MPI or Kubernetes ([`pmd_host::launch`] says which variables that is) less has to be set:
//! `DMLC_NUM_WORKER` and `DMLC_NUM_SERVER` always.
//! - **The rank**, where none of `DMLC_NODE_RANK`, `DMLC_INSTANCE_ID`, `STEPMESH_GPU`, `STEPAF_GPU` and `DMLC_RANK_OFFSET` is
//!   set. With one launch for each role (`DMLC_ROLE` set, as many processes as the role has) it is the launcher's. With one
//!   launch for the whole cluster, ranks go to servers first, then to workers; one process more than there are places, and
//!   the first is the scheduler. `DMLC_ROLE` need not be set then, and must not say otherwise. The accelerator is the local
//!   rank.
//! - **The scheduler's address**, where `DMLC_PS_ROOT_URI` is not set: the first host, at `DMLC_PS_ROOT_PORT`, or at the
//!   port that the launcher leaves to the job.
//!
//! Variables of the cluster that are set go before the launcher's. What cannot both be is
//! [`EnvironmentError::Contradiction`], which names the two.
//!
//! # Found by name
//! | variable | says | default |
//! |---|---|---|
//! | `PMD_METADATA` | `etcd://host:2379`: where the scheduler publishes its address and the others find it, instead of `DMLC_PS_ROOT_URI`. Goes before what the launcher says of it | none |
//! | `PMD_GROUP` | name of the cluster there | `default` |
//!
//! A scheduler then listens at `DMLC_PS_ROOT_URI` and `DMLC_PS_ROOT_PORT` if they are set, else as `DMLC_NODE_HOST` and
//! `DMLC_INTERFACE` say, at any port. A worker or server to which neither variables nor a launcher give a rank takes the first
//! that is free ([`Config::claiming_rank`]).
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
mod group;
mod launch;

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

pub use accelerators::{ACCELERATORS_VARIABLE, accelerators};
pub use group::{GROUP_VARIABLE, METADATA_VARIABLE, directory_at};
use pmd_host::{
    endpoint::EndpointConfig,
    environment::{EnvironmentError as ValueError, endpoint_config_of, variable},
    interface::{self, InterfaceError},
    lane::Idle,
    launch::{LaunchError, Setting},
};
use thiserror::Error;

use self::{
    group::{Directory, directory},
    launch::Launched,
};
use crate::config::{Backend, Config, ConfigError, Group, ProcessRole, Shape};

/// Most queue pairs that `STEPAF_QP_NUM` may ask for.
const MOST_QUEUE_PAIRS: usize = 64;

/// Longest time in seconds that a variable may say: a day.
const MOST_SECONDS: u64 = 24 * 3600;

/// What `DMLC_ROLE` may say.
const ROLES: &str = "scheduler, worker, server or joint";

/// Variables of the cluster that give a rank; where one is set, a launcher's rank is not asked for.
const OWN_RANKS: [&str; 5] =
    ["DMLC_NODE_RANK", "DMLC_INSTANCE_ID", "STEPMESH_GPU", "STEPAF_GPU", "DMLC_RANK_OFFSET"];

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
    let mut launched = Launched::new(&variables);
    let directory = directory(&variables)?;
    let mut config = cluster(&variables, &mut launched, directory.as_ref())?;
    ranks(&variables, &mut config)?;
    if let Some(launch) = launched.of_rank()? {
        launch::rank(&launch, &mut config)?;
    } else if directory.is_some() && !OWN_RANKS.iter().any(|name| variables.is_set(name)) {
        config = config.claiming_rank();
    }
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
        listen(&variables, directory.as_ref(), &mut config)?;
    }
    Ok(config)
}

/// Role, shape and scheduler.
fn cluster(
    variables: &Variables<'_>,
    launched: &mut Launched<'_>,
    directory: Option<&Directory>,
) -> Result<Config, EnvironmentError> {
    let role = variables.optional("DMLC_ROLE", ROLES, |role| match role {
        "scheduler" => Some(ProcessRole::Scheduler),
        "worker" => Some(ProcessRole::Worker),
        "server" => Some(ProcessRole::Server),
        "joint" => Some(ProcessRole::Joint),
        _ => None,
    })?;
    // What is missing is told in this order.
    let launch = if role.is_none() { launched.of_rank()? } else { None };
    let missing = || EnvironmentError::Missing { variable: "DMLC_ROLE", allowed: ROLES };
    if role.is_none() && launch.is_none() {
        return Err(missing());
    }
    let workers = variables.required("DMLC_NUM_WORKER", "a number", number)?;
    let servers = variables.required("DMLC_NUM_SERVER", "a number", number)?;
    let group_size = variables.optional("DMLC_GROUP_SIZE", "a number", number)?.unwrap_or(1);
    let shape = Shape { workers, servers, group_size };
    let of_launch = launch.map(|launch| launch::role(&launch, shape)).transpose()?.flatten();
    let role = role.or(of_launch).ok_or_else(missing)?;
    let mut config = Config::new(role, workers, servers, (Ipv4Addr::UNSPECIFIED, 0).into());
    config.shape.group_size = group_size;
    if let Some(Directory { metadata, group, .. }) = directory {
        config.group = Some(Group::new(Arc::clone(metadata), group));
    }
    scheduler(variables, launched, directory, &mut config)?;
    Ok(config)
}

/// Where the scheduler is, or is to listen.
fn scheduler(
    variables: &Variables<'_>,
    launched: &mut Launched<'_>,
    directory: Option<&Directory>,
    config: &mut Config,
) -> Result<(), EnvironmentError> {
    const URI: &str = "DMLC_PS_ROOT_URI";
    let host = variables.optional(URI, "a name or an address", text)?;
    let port = variables.optional("DMLC_PS_ROOT_PORT", "a port", number)?;
    let missing = |variable, allowed| EnvironmentError::Missing { variable, allowed };
    let (host, of_launch) = match (host, directory) {
        (Some(host), _) => (host, None),
        (None, Some(directory)) => {
            if config.role == ProcessRole::Scheduler {
                let address = own_address(variables, config, |_| Ok(directory.towards), port.unwrap_or(0))?;
                (config.scheduler_host, config.scheduler_port) = (address.ip().to_string(), address.port());
            }
            return Ok(());
        }
        (None, None) => {
            let first = launched.launch()?.and_then(|launch| launch.first);
            first.ok_or_else(|| missing(URI, "a name or an address"))?
        }
    };
    // A scheduler that publishes where it listens need not listen at a known port.
    let any = directory.map(|_| 0);
    let port = port.or(of_launch).or(any);
    config.scheduler_port = port.ok_or_else(|| missing("DMLC_PS_ROOT_PORT", "a port"))?;
    config.scheduler_host = host;
    Ok(())
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
fn listen(
    variables: &Variables<'_>,
    directory: Option<&Directory>,
    config: &mut Config,
) -> Result<(), EnvironmentError> {
    let port = variables.optional("DMLC_PORT", "a port", number)?.unwrap_or(0);
    let towards = |config: &Config| match directory {
        Some(directory) => Ok(directory.towards),
        None => Ok(config.scheduler_addresses()?[0]),
    };
    config.endpoint.listen = Some(own_address(variables, config, towards, port)?);
    Ok(())
}

/// The address of this host that its variables name, or from which it reaches an address.
fn own_address(
    variables: &Variables<'_>,
    config: &mut Config,
    towards: impl Fn(&Config) -> Result<SocketAddr, EnvironmentError>,
    port: u16,
) -> Result<SocketAddr, EnvironmentError> {
    let host = variables.optional("DMLC_NODE_HOST", "a name or an address", text)?;
    let name = variables.optional("DMLC_INTERFACE", "a network interface, an RDMA device or auto", text)?;
    match (host, name) {
        (Some(host), _) => of_host(host, port),
        (None, Some(name)) if name != "auto" => {
            let found = interface::find(&name, port)?;
            config.endpoint.nic.device = config.endpoint.nic.device.take().or(found.device);
            Ok(found.address)
        }
        // A name is not looked up where it is of no use.
        (None, _) => Ok(route(towards(config)?, port)),
    }
}

fn of_host(host: String, port: u16) -> Result<SocketAddr, EnvironmentError> {
    let found = (host.as_str(), port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let allowed = "a name or an address of this host";
    found.ok_or_else(|| ValueError { variable: "DMLC_NODE_HOST", value: host, allowed }.into())
}

/// The address from which this host reaches another; this machine's own where there is no route to it.
fn route(towards: SocketAddr, port: u16) -> SocketAddr {
    let any: IpAddr =
        if towards.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a datagram socket looks the route up and sends nothing.
    let route = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(towards)?;
        socket.local_addr()
    });
    (route.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip()), port).into()
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
    /// What the launcher says cannot be.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// What the launcher says and what variables of the cluster say cannot both be.
    #[error(
        "{own} contradicts {launcher}: correct the one, or set DMLC_ROLE and DMLC_NODE_RANK, or PMD_LAUNCHER=none"
    )]
    Contradiction {
        /// The cluster's variable and its value.
        own: String,
        /// The launcher's.
        launcher: Setting,
    },
    /// The directory that `PMD_METADATA` names cannot be used.
    #[error("PMD_METADATA is {url:?}: {source}")]
    Directory {
        /// What it names.
        url: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The values contradict each other.
    #[error("the variables DMLC_* and PS_* contradict each other: {0}")]
    Config(#[from] ConfigError),
}

#[cfg(test)]
mod tests;
