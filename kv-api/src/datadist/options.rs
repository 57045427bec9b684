//! What [`initialize`](super::LlmDataDist::initialize) and [`set_role`](super::LlmDataDist::set_role) are given, parsed.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::DataDistError;

/// Options by name, as upstream takes them.
pub type Options = BTreeMap<String, String>;

/// `ip:port` or `[ip]:port` to listen on: makes the process a server.
pub const OPTION_LISTEN_IP_INFO: &str = "llm.ListenIpInfo";
/// Device of the process, as in `0`: the number of accelerators that `PMD_ACCELERATORS` names without one
/// ([`environment`](crate::environment)). Required.
pub const OPTION_DEVICE_ID: &str = "llm.DeviceId";
/// Milliseconds that a pull or push may take; 1000 unless set.
pub const OPTION_SYNC_CACHE_WAIT_TIME: &str = "llm.SyncKvCacheWaitTime";
/// `0` forbids [`set_role`](super::LlmDataDist::set_role).
pub const OPTION_ENABLE_SET_ROLE: &str = "llm.EnableSwitchRole";
/// Communication resources of upstream's devices; not needed.
pub const OPTION_LOCAL_COMM_RES: &str = "llm.LocalCommRes";
/// Which of upstream's engines moves bytes: `hixl` or nothing. Here it is always this driver.
pub const OPTION_TRANSFER_BACKEND: &str = "llm.TransferBackend";
/// Settings of upstream's engine: a JSON object.
pub const OPTION_GLOBAL_RESOURCE_CONFIG: &str = "llm.GlobalResourceConfig";
/// Bound of the memory that caches on the device are allocated from: `{"memory_size": bytes, "page_shift": 16}`.
/// Without it they are allocated as long as the system has memory.
pub const OPTION_MEMORY_POOL: &str = "llm.MemPoolConfig";
/// The same for caches on the host.
pub const OPTION_HOST_MEMORY_POOL: &str = "llm.HostMemPoolConfig";
/// Most clusters in one call to link or unlink; no limit unless set. Upstream's is 16.
pub const OPTION_CLUSTER_LIMIT: &str = "pmd.ClusterLimit";
/// Most pulls and pushes at once on one link; no limit unless set. Upstream's is 1, and it waits.
pub const OPTION_OPERATION_LIMIT: &str = "pmd.OperationLimit";

/// Another spelling of [`OPTION_LISTEN_IP_INFO`], which upstream's Python uses.
const OPTION_LISTEN_IP_INFO_PYTHON: &str = "llm.listenIpInfo";
/// Another name of [`OPTION_DEVICE_ID`], which upstream's Python uses.
const OPTION_EXEC_DEVICE_ID: &str = "ge.exec.deviceId";

/// Default of [`OPTION_SYNC_CACHE_WAIT_TIME`].
const WAIT_TIME: Duration = Duration::from_millis(1000);
/// Default of `page_shift`.
const PAGE_SHIFT: u32 = 16;

/// All options that mean something here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Number of the process's device, the first if there are several.
    pub(super) device: u32,
    pub(super) listen: Option<SocketAddr>,
    pub(super) wait_time: Duration,
    pub(super) switch_role: bool,
    pub(super) cluster_limit: Option<usize>,
    pub(super) operation_limit: Option<usize>,
    pub(super) device_pool: Option<PoolSettings>,
    pub(super) host_pool: Option<PoolSettings>,
}

/// A pool that is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PoolSettings {
    pub(super) bytes: u64,
    pub(super) page: u64,
}

impl Settings {
    pub(super) fn parse(options: &Options) -> Result<Self, DataDistError> {
        let device = first_device(options)?;
        choice(options, OPTION_TRANSFER_BACKEND, "\"hixl\" or nothing", |value| {
            matches!(value, "" | "hixl")
        })?;
        for name in [OPTION_GLOBAL_RESOURCE_CONFIG, OPTION_LOCAL_COMM_RES] {
            choice(options, name, "a JSON object", |value| value.is_empty() || is_object(value))?;
        }
        let flag = "\"0\" or \"1\"";
        choice(options, OPTION_ENABLE_SET_ROLE, flag, |value| matches!(value, "0" | "1"))?;
        let wait_time = number(options, OPTION_SYNC_CACHE_WAIT_TIME, i32::MAX as u64)?;
        Ok(Self {
            device,
            listen: listen_address(options)?,
            wait_time: wait_time.map_or(WAIT_TIME, Duration::from_millis),
            switch_role: options.get(OPTION_ENABLE_SET_ROLE).is_none_or(|value| value != "0"),
            cluster_limit: number(options, OPTION_CLUSTER_LIMIT, u32::MAX.into())?
                .map(|limit| limit as usize),
            operation_limit: number(options, OPTION_OPERATION_LIMIT, u32::MAX.into())?
                .map(|limit| limit as usize),
            device_pool: pool(options, OPTION_MEMORY_POOL)?,
            host_pool: pool(options, OPTION_HOST_MEMORY_POOL)?,
        })
    }
}

/// Where the options say to listen.
pub(super) fn listen_address(options: &Options) -> Result<Option<SocketAddr>, DataDistError> {
    [OPTION_LISTEN_IP_INFO, OPTION_LISTEN_IP_INFO_PYTHON]
        .into_iter()
        .find_map(|name| options.get(name).map(|value| (name, value)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let wrong = || refuse(name, value, "an address and a port, as in 192.168.1.1:26000");
            socket_address(value).ok_or_else(wrong)
        })
        .transpose()
}

/// `ip:port`, `[ip]:port`. A port of more than 16 bits is none.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let ip: IpAddr = match ip.strip_prefix('[').map(|ip| ip.strip_suffix(']')) {
        Some(ip) => IpAddr::V6(ip?.parse().ok()?),
        None => IpAddr::V4(ip.parse().ok()?),
    };
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

/// One number, or several with semicolons.
fn first_device(options: &Options) -> Result<u32, DataDistError> {
    let given = [OPTION_DEVICE_ID, OPTION_EXEC_DEVICE_ID]
        .into_iter()
        .find_map(|name| options.get(name).map(|value| (name, value)));
    let missing = DataDistError::OptionMissing { name: OPTION_DEVICE_ID, example: "0" };
    let (name, value) = given.ok_or(missing)?;
    let device = |item: &str| item.parse::<i32>().ok().and_then(|device| u32::try_from(device).ok());
    let devices: Option<Vec<u32>> = value.split(';').map(device).collect();
    let first = devices.and_then(|devices| devices.first().copied());
    first.ok_or_else(|| refuse(name, value, "the number of a device, as in 0"))
}

fn choice(
    options: &Options,
    name: &'static str,
    allowed: &'static str,
    is_allowed: impl Fn(&str) -> bool,
) -> Result<(), DataDistError> {
    match options.get(name) {
        Some(value) if !is_allowed(value) => Err(refuse(name, value, allowed)),
        _ => Ok(()),
    }
}

fn number(options: &Options, name: &'static str, most: u64) -> Result<Option<u64>, DataDistError> {
    let parse = |value: &String| {
        let number = value.parse().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| refuse(name, value, "a number from 1 to 2^31 - 1"))
    };
    options.get(name).map(parse).transpose()
}

fn pool(options: &Options, name: &'static str) -> Result<Option<PoolSettings>, DataDistError> {
    let parse = |value: &String| {
        let allowed = r#"{"memory_size": bytes, "page_shift": 10 to 30}"#;
        pool_settings(value).ok_or_else(|| refuse(name, value, allowed))
    };
    options.get(name).filter(|value| !value.is_empty()).map(parse).transpose()
}

fn pool_settings(text: &str) -> Option<PoolSettings> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let bytes = json.get("memory_size")?.as_u64().filter(|bytes| *bytes > 0)?;
    let shift = match json.get("page_shift") {
        Some(shift) => shift.as_u64().filter(|shift| (10..31).contains(shift))? as u32,
        None => PAGE_SHIFT,
    };
    Some(PoolSettings { bytes, page: 1 << shift })
}

fn is_object(text: &str) -> bool {
    serde_json::from_str(text).is_ok_and(|json: serde_json::Value| json.is_object())
}

fn refuse(name: &'static str, value: &str, allowed: &'static str) -> DataDistError {
    DataDistError::Option { name, value: value.to_owned(), allowed }
}
