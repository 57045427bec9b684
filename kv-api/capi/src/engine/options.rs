//! How a C program says how an engine is made. Called by `pmd_kv_engine_open`.

use std::{ffi::c_char, time::Duration};

use kv_api::environment;
use pmd_capi::{idle_policy, socket_address, transport_choice};
use pmd_host::{
    endpoint::EndpointConfig,
    environment::{DATA_ENCRYPTION_VARIABLE, KEY_FILE_VARIABLE, variable},
};

use super::optional;
use crate::status::{Failure, chain, pmd_kv_status};

/// How an engine is made. What is zero or NULL is what the environment says (PMD_TRANSPORT, PMD_DEVICE, PMD_IDLE,
/// PMD_QUEUE_PAIRS, PMD_ACCELERATORS, PMD_KEY_FILE, PMD_DATA_ENCRYPTION), or the default: write
/// `pmd_kv_engine_options options = {0};` and then what you want.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_engine_options {
    /// Name told to peers.
    pub name: *const c_char,
    /// Address to listen on, "ip:port"; port 0 lets the system choose. NULL: the engine only connects.
    pub listen: *const c_char,
    /// "auto", "shm", "mlx5", "verbs", ...
    pub transport: *const c_char,
    /// Name of the NIC ("mlx5_0").
    pub device: *const c_char,
    /// What an idle lane does: "spin", "yield" or "park".
    pub idle: *const c_char,
    /// Queue pairs to each peer; both ends need the same number.
    pub queue_pairs: u32,
    /// Longest notification in bytes.
    pub message_bytes: u32,
    /// Longest wait for a peer's answer while connecting, in milliseconds.
    pub patience_ms: u32,
    /// Silence after which a peer is down, in milliseconds.
    pub down_after_ms: u32,
    /// Whose memory may be registered beside the host's: "cuda:0", "rocm:0,rocm:1", "ascend:0".
    pub accelerators: *const c_char,
    /// File of the pre-shared key that all processes must have (PMD_KEY_FILE).
    pub key_file: *const c_char,
    /// With a key, whether data over TCP is encrypted: "on" or "off" (PMD_DATA_ENCRYPTION).
    pub data_encryption: *const c_char,
}

/// The configuration that the options ask for.
///
/// # Safety
/// `options` is null or points to options whose texts end with a zero byte.
pub(super) unsafe fn endpoint_config(
    options: *const pmd_kv_engine_options,
) -> Result<EndpointConfig, Failure> {
    // SAFETY: the caller's promise.
    let options = unsafe { options.as_ref() };
    // SAFETY: the caller's promise.
    let security = unsafe { options.map_or(Ok(Vec::new()), |options| security(options))? };
    let named =
        |name: &str| security.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone());
    let found = environment::endpoint_config_of(|name| named(name).or_else(|| variable(name)));
    let mut config = found.map_err(|error| Failure::argument(chain(&error)))?;
    let Some(options) = options else { return Ok(config) };
    // SAFETY: the caller's promise, for each of the texts.
    let texts = unsafe {
        (
            optional(options.name, "options.name")?,
            optional(options.listen, "options.listen")?,
            optional(options.transport, "options.transport")?,
            optional(options.device, "options.device")?,
            optional(options.idle, "options.idle")?,
            optional(options.accelerators, "options.accelerators")?,
        )
    };
    let (name, listen, transport, device, idle, accelerators) = texts;
    set(&mut config.name, name.map(str::to_owned));
    config.listen = listen.map(|text| socket_address(text, "options.listen")).transpose()?;
    set(
        &mut config.transport,
        transport.map(|name| transport_choice(name, "options.transport")).transpose()?,
    );
    config.nic.device = device.map(str::to_owned).or(config.nic.device);
    set(&mut config.lane.idle, idle.map(|name| idle_policy(name, "options.idle")).transpose()?);
    let accelerators = accelerators.map(|names| environment::accelerators(names, 0)).transpose();
    let accelerators =
        accelerators.map_err(|error| Failure::new(pmd_kv_status::Unavailable, error.to_string()))?;
    set(&mut config.soft.accelerators, accelerators);
    set(&mut config.queue_pairs, number(options.queue_pairs).map(|number| number as usize));
    set(&mut config.message_bytes, number(options.message_bytes).map(|number| number as usize));
    set(&mut config.patience, milliseconds(options.patience_ms));
    set(&mut config.down_after, milliseconds(options.down_after_ms));
    // A peer is not down before it was due to say that it lives.
    config.keep_alive = config.keep_alive.min(config.down_after / 4);
    Ok(config)
}

/// What the options say of the key, by the names of the environment, before which they go.
///
/// # Safety
/// The texts of `options` end with a zero byte.
unsafe fn security(options: &pmd_kv_engine_options) -> Result<Vec<(&'static str, String)>, Failure> {
    let texts = [
        (KEY_FILE_VARIABLE, options.key_file, "options.key_file"),
        (DATA_ENCRYPTION_VARIABLE, options.data_encryption, "options.data_encryption"),
    ];
    let mut given = Vec::new();
    for (name, text, what) in texts {
        // SAFETY: the caller's promise.
        given.extend(unsafe { optional(text, what)? }.map(|text| (name, text.to_owned())));
    }
    Ok(given)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn number(value: u32) -> Option<u32> {
    (value != 0).then_some(value)
}

fn milliseconds(value: u32) -> Option<Duration> {
    number(value).map(|value| Duration::from_millis(value.into()))
}
