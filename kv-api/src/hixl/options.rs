//! Options of an engine: HIXL's names, defaults and bounds, and what of them means something here.

use std::{collections::BTreeMap, env, fs, io, path::Path};

use serde_json::{Map, Value};

use super::HixlError;

/// Accepted and without effect: memory is always reached the fastest way that there is. Turns staging off, as the two
/// exclude each other.
pub const OPTION_ENABLE_USE_FABRIC_MEM: &str = "EnableUseFabricMem";
/// Traffic class of NIC queue pairs: 0 to 255, a multiple of 4; 132 if neither this nor `HCCL_RDMA_TC` says otherwise.
pub const OPTION_RDMA_TRAFFIC_CLASS: &str = "RdmaTrafficClass";
/// Service level of NIC queue pairs: 0 to 7; 4 if neither this nor `HCCL_RDMA_SL` says otherwise.
pub const OPTION_RDMA_SERVICE_LEVEL: &str = "RdmaServiceLevel";
/// Staging buffers as `number:MiB`; `4:8` if not given, `0:0` for none.
pub const OPTION_BUFFER_POOL: &str = "BufferPool";
/// A JSON object: `connect_pool.thread_num`, `connect_pool.task_queue_capacity`, `channel_pool.max_channel`,
/// `channel_pool.high_waterline`, `channel_pool.low_waterline`. Keys about Ascend's devices are checked and ignored.
pub const OPTION_GLOBAL_RESOURCE_CONFIG: &str = "GlobalResourceConfig";
/// `1`: the first transfer makes the link, and one that fails takes it down. `0` if not given.
pub const OPTION_AUTO_CONNECT: &str = "AutoConnect";
/// Ascend's communication resources, as JSON: checked to be that, and ignored.
pub const OPTION_LOCAL_COMM_RES: &str = "LocalCommRes";

/// Whom this engine stages memory for that it has not registered: `host` (the default), `all` or `none`.
pub const STAGE_FOR_VARIABLE: &str = "PMD_HIXL_STAGE_FOR";

/// Name that the older engine of the same library gives its options.
const OLD_PREFIX: &str = "adxl.";
/// Largest file of communication resources.
const FILE_LIMIT: u64 = 1 << 20;

/// What an engine was told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    pub(super) traffic_class: u8,
    pub(super) service_level: u8,
    pub(super) staging: Option<Staging>,
    pub(super) stage_for: StageFor,
    pub(super) auto_connect: bool,
    pub(super) connect_pool: ConnectPool,
    pub(super) link_pool: Option<LinkPool>,
}

/// Staging buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Staging {
    pub(super) buffers: usize,
    /// Bytes of each.
    pub(super) bytes: usize,
}

/// Peers that may have memory staged that nobody registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StageFor {
    Nobody,
    /// Those that share memory with this process: the kernel lets them reach all of it anyway.
    Host,
    Everybody,
}

/// Who connects and disconnects asynchronously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectPool {
    pub(super) threads: usize,
    pub(super) capacity: usize,
}

/// Bounds of links that transfers make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkPool {
    /// With so many links, idle ones are taken down before another is made.
    pub(super) high: usize,
    /// So many are left then.
    pub(super) low: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            traffic_class: 132,
            service_level: 4,
            staging: Some(Staging { buffers: 4, bytes: 8 << 20 }),
            stage_for: StageFor::Host,
            auto_connect: false,
            connect_pool: ConnectPool { threads: 2, capacity: 128 },
            link_pool: None,
        }
    }
}

impl Options {
    /// What the caller and the environment say.
    pub(super) fn parse(given: &BTreeMap<String, String>) -> Result<Self, HixlError> {
        Self::read(given, |name| env::var(name).ok())
    }

    pub(super) fn read(
        given: &BTreeMap<String, String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, HixlError> {
        let mut options = Self::default();
        let mut named = Named::new(given)?;
        named.inherit(OPTION_RDMA_TRAFFIC_CLASS, variable("HCCL_RDMA_TC"));
        named.inherit(OPTION_RDMA_SERVICE_LEVEL, variable("HCCL_RDMA_SL"));
        named.read(OPTION_RDMA_TRAFFIC_CLASS, "a multiple of 4 from 0 to 252", |value| {
            let class = value.parse::<u8>().ok().filter(|class| class.is_multiple_of(4));
            set(&mut options.traffic_class, class)
        })?;
        named.read(OPTION_RDMA_SERVICE_LEVEL, "a number from 0 to 7", |value| {
            set(&mut options.service_level, value.parse::<u8>().ok().filter(|level| *level <= 7))
        })?;
        named.read(OPTION_AUTO_CONNECT, "0 or 1", |value| set(&mut options.auto_connect, flag(value)))?;
        options.read_staging(&named)?;
        if let Some(who) = variable(STAGE_FOR_VARIABLE) {
            options.stage_for = stage_for(&who)?;
        }
        if let Some(config) = named.filled(OPTION_GLOBAL_RESOURCE_CONFIG) {
            options.read_resources(config, named.filled(OPTION_LOCAL_COMM_RES).is_some())?;
        }
        named.read(OPTION_LOCAL_COMM_RES, "a JSON object or nothing", |value| {
            value.is_empty() || serde_json::from_str::<Map<String, Value>>(value).is_ok()
        })?;
        Ok(options)
    }

    fn read_staging(&mut self, named: &Named) -> Result<(), HixlError> {
        let mut fabric_memory = false;
        let flagged = |value: &str| value.is_empty() || set(&mut fabric_memory, flag(value));
        named.read(OPTION_ENABLE_USE_FABRIC_MEM, "0 or 1", flagged)?;
        if fabric_memory {
            if named.filled(OPTION_BUFFER_POOL).is_some() {
                return Err(HixlError::ExclusiveOptions);
            }
            self.staging = None;
        }
        named.read(OPTION_BUFFER_POOL, "number:MiB, both above 0, or 0:0 for none", |value| {
            value.is_empty() || set(&mut self.staging, staging(value))
        })
    }

    fn read_resources(&mut self, config: &str, has_resources: bool) -> Result<(), HixlError> {
        let not_json = |_| HixlError::Option {
            option: OPTION_GLOBAL_RESOURCE_CONFIG.into(),
            value: config.to_owned(),
            allowed: "a JSON object",
        };
        let resources = Resources(serde_json::from_str(config).map_err(not_json)?);
        let pool = &mut self.connect_pool;
        resources.number("connect_pool.thread_num", (1, 64), &mut pool.threads)?;
        resources.number("connect_pool.task_queue_capacity", (1, 65_535), &mut pool.capacity)?;
        self.link_pool = resources.link_pool()?;
        resources.check_devices()?;
        if has_resources { Ok(()) } else { resources.check_file() }
    }
}

/// Whether there was a value to set.
fn set<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// `Some(None)` for none.
fn staging(value: &str) -> Option<Option<Staging>> {
    if value == "0:0" {
        return Some(None);
    }
    let (buffers, mebibytes) = value.split_once(':')?;
    let above_zero = |number: &str| number.parse::<usize>().ok().filter(|number| *number > 0);
    let (buffers, bytes) = (above_zero(buffers)?, above_zero(mebibytes)?.checked_mul(1 << 20)?);
    let total = buffers.checked_mul(bytes)?;
    (total <= isize::MAX as usize).then_some(Some(Staging { buffers, bytes }))
}

fn stage_for(value: &str) -> Result<StageFor, HixlError> {
    match value {
        "host" => Ok(StageFor::Host),
        "all" => Ok(StageFor::Everybody),
        "none" => Ok(StageFor::Nobody),
        _ => Err(wrong(STAGE_FOR_VARIABLE, value, "host, all or none")),
    }
}

fn wrong(option: &str, value: &str, allowed: &'static str) -> HixlError {
    HixlError::Option { option: option.to_owned(), value: value.to_owned(), allowed }
}

/// The options that were given, by HIXL's name.
struct Named(BTreeMap<String, String>);

impl Named {
    const KNOWN: [&str; 7] = [
        OPTION_ENABLE_USE_FABRIC_MEM,
        OPTION_RDMA_TRAFFIC_CLASS,
        OPTION_RDMA_SERVICE_LEVEL,
        OPTION_BUFFER_POOL,
        OPTION_GLOBAL_RESOURCE_CONFIG,
        OPTION_AUTO_CONNECT,
        OPTION_LOCAL_COMM_RES,
    ];

    fn new(given: &BTreeMap<String, String>) -> Result<Self, HixlError> {
        let mut named = BTreeMap::new();
        for (option, value) in given {
            let name = option.strip_prefix(OLD_PREFIX).unwrap_or(option);
            if !Self::KNOWN.contains(&name) {
                return Err(HixlError::UnknownOption { option: option.clone() });
            }
            // Of two names for one option the newer one counts.
            if name == option || !given.contains_key(name) {
                named.insert(name.to_owned(), value.clone());
            }
        }
        Ok(Self(named))
    }

    /// Takes a value from elsewhere if none was given.
    fn inherit(&mut self, name: &'static str, value: Option<String>) {
        if self.filled(name).is_none() {
            self.0.remove(name);
            self.0.extend(value.filter(|value| !value.is_empty()).map(|value| (name.to_owned(), value)));
        }
    }

    /// Its value, if it has one that is not empty.
    fn filled(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn read(
        &self,
        name: &'static str,
        allowed: &'static str,
        mut apply: impl FnMut(&str) -> bool,
    ) -> Result<(), HixlError> {
        match self.0.get(name) {
            Some(value) if !apply(value) => Err(wrong(name, value, allowed)),
            _ => Ok(()),
        }
    }
}

/// What `GlobalResourceConfig` holds. Numbers may be written as strings.
struct Resources(Map<String, Value>);

impl Resources {
    fn number(&self, key: &'static str, bounds: (u64, u64), place: &mut usize) -> Result<bool, HixlError> {
        let Some(value) = self.0.get(key) else { return Ok(false) };
        let number = match value {
            Value::String(text) => text.parse::<u64>().ok(),
            value => value.as_u64(),
        };
        let number = number.filter(|number| (bounds.0..=bounds.1).contains(number));
        match number.and_then(|number| usize::try_from(number).ok()) {
            Some(number) => *place = number,
            None => return Err(wrong(key, &value.to_string(), allowed(bounds))),
        }
        Ok(true)
    }

    fn ratio(&self, key: &'static str) -> Result<Option<f64>, HixlError> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        let ratio = match value {
            Value::String(text) => text.parse::<f64>().ok(),
            value => value.as_f64(),
        };
        match ratio.filter(|ratio| *ratio > 0.0 && *ratio < 1.0) {
            Some(ratio) => Ok(Some(ratio)),
            None => Err(wrong(key, &value.to_string(), "a number between 0 and 1")),
        }
    }

    fn link_pool(&self) -> Result<Option<LinkPool>, HixlError> {
        const MOST: &str = "channel_pool.max_channel";
        const HIGH: &str = "channel_pool.high_waterline";
        let mut most = 512;
        let has_most = self.number(MOST, (1, 512), &mut most)?;
        let (high, low) = (self.ratio(HIGH)?, self.ratio("channel_pool.low_waterline")?);
        let (Some(high), Some(low)) = (high, low) else {
            let pair = high.is_some() || low.is_some() || has_most;
            let missing = || wrong(HIGH, "nothing", "a ratio, together with channel_pool.low_waterline");
            return if pair { Err(missing()) } else { Ok(None) };
        };
        let mark = |ratio: f64| ((most as f64 * ratio) as usize).max(1);
        let pool = LinkPool { high: mark(high), low: mark(low) };
        if pool.high <= pool.low {
            return Err(wrong(
                HIGH,
                &high.to_string(),
                "at least one link more than channel_pool.low_waterline",
            ));
        }
        Ok(Some(pool))
    }

    /// Settings of Ascend's devices: a program that has them wrong is told here, as it would be there.
    fn check_devices(&self) -> Result<(), HixlError> {
        let mut ignored = 0;
        self.number("comm_resource_config.listen_port", (1, 65_535), &mut ignored)?;
        self.number("comm_resource_config.max_active_channels", (1, u64::from(u32::MAX)), &mut ignored)?;
        self.number("comm_resource_config.qos", (0, 7), &mut ignored)?;
        self.number("fabric_memory.max_capacity", (1, 1024), &mut ignored)?;
        self.number("fabric_memory.start_address", (0, 1024), &mut ignored)?;
        self.number("fabric_memory.task_stream_num", (1, 8), &mut ignored)?;
        Ok(())
    }

    fn check_file(&self) -> Result<(), HixlError> {
        const KEY: &str = "local_comm_res_path";
        let Some(value) = self.0.get(KEY) else { return Ok(()) };
        let path = value.as_str().filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| wrong(KEY, &value.to_string(), "the path of a file"))?;
        let failed = |source| HixlError::File { path: path.to_owned(), source };
        let text = read_file(Path::new(path)).map_err(failed)?;
        match serde_json::from_str::<Map<String, Value>>(&text) {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong(KEY, path, "a file with a JSON object")),
        }
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let facts = fs::metadata(path)?;
    if !facts.is_file() || !(1..=FILE_LIMIT).contains(&facts.len()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file of 1 byte to 1 MiB"));
    }
    fs::read_to_string(path)
}

fn allowed(bounds: (u64, u64)) -> &'static str {
    match bounds {
        (0, 7) => "a number from 0 to 7",
        (1, 8) => "a number from 1 to 8",
        (1, 64) => "a number from 1 to 64",
        (1, 512) => "a number from 1 to 512",
        (0, 1024) => "a number from 0 to 1024",
        (1, 1024) => "a number from 1 to 1024",
        (1, 65_535) => "a number from 1 to 65535",
        _ => "a number above 0",
    }
}
