//! How a C program says how an engine is made. Called by `pmd_kv_engine_open`.

use std::{ffi::c_char, time::Duration};

use kv_api::environment;
use pmd_capi::{idle_policy, socket_address, transport_choice};
use pmd_host::endpoint::EndpointConfig;

use super::optional;
use crate::status::{Failure, chain, pmd_kv_status};

/// How an engine is made. What is zero or NULL is what the environment says (PMD_TRANSPORT, PMD_DEVICE, PMD_IDLE,
/// PMD_QUEUE_PAIRS, PMD_ACCELERATORS), or the default: write `pmd_kv_engine_options options = {0};` and then what you want.
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
}

/// The configuration that the options ask for.
///
/// # Safety
/// `options` is null or points to options whose texts end with a zero byte.
pub(super) unsafe fn endpoint_config(
    options: *const pmd_kv_engine_options,
) -> Result<EndpointConfig, Failure> {
    let mut config = environment::endpoint_config().map_err(|error| Failure::argument(chain(&error)))?;
    // SAFETY: the caller's promise.
    let Some(options) = (unsafe { options.as_ref() }) else { return Ok(config) };
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
