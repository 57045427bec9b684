//! How a C program says how a process takes part. Called by `pmd_af_scheduler_start` and `pmd_af_node_start`.
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

use std::{collections::BTreeMap, ffi::c_char};

use af_api::{
    config::{Config, ProcessRole},
    environment::{self, EnvironmentError},
};
use pmd_host::environment::variable;

use crate::{
    boundary::{Place, array, guard, optional_text, text},
    node::{PMD_AF_SCHEDULER, PMD_AF_SERVERS, PMD_AF_WORKERS},
    status::{Failure, pmd_af_status},
};

/// A variable that goes before the environment's.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_variable {
    /// Its name: DMLC_NUM_WORKER, PMD_TRANSPORT, ...
    pub name: *const c_char,
    /// Its value.
    pub value: *const c_char,
}

/// How a process takes part. What is left as `pmd_af_options_clear` makes it is what the environment says, with the
/// names that StepMesh's users export (DMLC_*, STEPMESH_*, PS_*) and this driver's (PMD_TRANSPORT, ...).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_af_options {
    /// Variables that go before the environment's. The other fields go before these.
    pub variables: *const pmd_af_variable,
    /// How many.
    pub variable_count: usize,
    /// `PMD_AF_SCHEDULER`, `PMD_AF_SERVERS`, `PMD_AF_WORKERS`, or the last two together; 0: DMLC_ROLE.
    pub roles: u32,
    /// Number among all instances of the role; negative: DMLC_NODE_RANK and others.
    pub rank: i64,
    /// Groups of workers; 0: DMLC_NUM_WORKER.
    pub workers: u32,
    /// Groups of servers; 0: DMLC_NUM_SERVER.
    pub servers: u32,
    /// Instances of a group; 0: DMLC_GROUP_SIZE.
    pub group_size: u32,
    /// Name or address of the scheduler's host; NULL: DMLC_PS_ROOT_URI.
    pub scheduler_host: *const c_char,
    /// Port of the scheduler; for itself 0 lets the system choose. Negative: DMLC_PS_ROOT_PORT.
    pub scheduler_port: i32,
    /// Name or address that a server listens on for workers; NULL: DMLC_NODE_HOST, DMLC_INTERFACE.
    pub listen_host: *const c_char,
    /// "auto", "shm", "mlx5", "verbs"; NULL: PMD_TRANSPORT.
    pub transport: *const c_char,
    /// Name of the NIC ("mlx5_0"); NULL: PMD_DEVICE.
    pub device: *const c_char,
    /// What an idle lane does: "spin", "yield" or "park"; NULL: PMD_IDLE.
    pub idle: *const c_char,
    /// Name told to the others; for people.
    pub name: *const c_char,
    /// Longest time that a start takes; 0: PMD_START_TIMEOUT.
    pub start_timeout_ms: u64,
    /// Whose memory tensors may lie in beside the host's: "cuda:0", "rocm:1", "ascend:0", with commas between several; NULL:
    /// PMD_ACCELERATORS.
    pub accelerators: *const c_char,
    /// Whether what is pushed to a server arrives in memory of the first of them.
    pub device_areas: bool,
    /// File of the pre-shared key that all processes must have; NULL: PMD_KEY_FILE, or none.
    pub key_file: *const c_char,
    /// With a key, whether data over TCP is encrypted: "on" or "off"; NULL: PMD_DATA_ENCRYPTION.
    pub data_encryption: *const c_char,
}

/// Writes options that say nothing: everything is as the environment says.
///
/// # Safety
/// `options` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_af_options_clear(options: *mut pmd_af_options) -> pmd_af_status {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { Place::new(options, "the place for the options")? }.put(CLEAR);
        Ok(())
    })
}

const CLEAR: pmd_af_options = pmd_af_options {
    variables: std::ptr::null(),
    variable_count: 0,
    roles: 0,
    rank: -1,
    workers: 0,
    servers: 0,
    group_size: 0,
    scheduler_host: std::ptr::null(),
    scheduler_port: -1,
    listen_host: std::ptr::null(),
    transport: std::ptr::null(),
    device: std::ptr::null(),
    idle: std::ptr::null(),
    name: std::ptr::null(),
    start_timeout_ms: 0,
    accelerators: std::ptr::null(),
    device_areas: false,
    key_file: std::ptr::null(),
    data_encryption: std::ptr::null(),
};

/// The configuration that options ask for; the environment's where they are null.
///
/// # Safety
/// `options` is null or points to options whose texts end with a zero byte and whose variables have their count.
pub(crate) unsafe fn config_at(options: *const pmd_af_options) -> Result<Config, Failure> {
    // SAFETY: the caller's promise.
    let options = unsafe { options.as_ref() }.copied().unwrap_or(CLEAR);
    // SAFETY: the caller's promise.
    let given = unsafe { variables_of(&options)? };
    let found = environment::config_of(|name| given.get(name).cloned().or_else(|| variable(name)));
    let mut config = found.map_err(|error| {
        let missing = matches!(error, EnvironmentError::Accelerator { .. });
        let status = if missing { pmd_af_status::Unavailable } else { pmd_af_status::InvalidArgument };
        Failure::of(status, &error)
    })?;
    if options.rank >= 0 {
        place(&mut config, options.rank);
    }
    // SAFETY: the caller's promise.
    if let Some(name) = unsafe { optional_text(options.name, "options.name")? } {
        config.name = name.to_owned();
    }
    if options.start_timeout_ms > 0 {
        config.start_timeout = crate::boundary::milliseconds(options.start_timeout_ms);
    }
    Ok(config)
}

/// Whether options ask for receive areas on the device.
///
/// # Safety
/// `options` is null or points to options.
pub(crate) unsafe fn device_areas_at(options: *const pmd_af_options) -> bool {
    // SAFETY: the caller's promise.
    unsafe { options.as_ref() }.is_some_and(|options| options.device_areas)
}

/// The place of a rank: its node and its instance.
fn place(config: &mut Config, rank: i64) {
    let group_size = i64::from(config.shape.group_size).max(1);
    config.node_rank = u32::try_from(rank / group_size).unwrap_or(u32::MAX);
    config.instance = u32::try_from(rank % group_size).unwrap_or(0);
    config.rank_offset = 0;
}

/// What the fields and the variables say, by the names of the environment.
///
/// # Safety
/// As [`config_at`].
unsafe fn variables_of(options: &pmd_af_options) -> Result<BTreeMap<String, String>, Failure> {
    // SAFETY: the caller's promise.
    let variables = unsafe { array(options.variables, options.variable_count, "the array of variables")? };
    let mut given = BTreeMap::new();
    for variable in variables {
        // SAFETY: the caller's promise.
        let (name, value) = unsafe {
            (text(variable.name, "a variable's name")?, text(variable.value, "a variable's value")?)
        };
        given.insert(name.to_owned(), value.to_owned());
    }
    let mut say = |name: &str, value: String| given.insert(name.to_owned(), value);
    if options.roles != 0 {
        say("DMLC_ROLE", role_of(options.roles)?.to_owned());
    }
    let numbers = [
        ("DMLC_NUM_WORKER", options.workers),
        ("DMLC_NUM_SERVER", options.servers),
        ("DMLC_GROUP_SIZE", options.group_size),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        say(name, number.to_string());
    }
    if options.scheduler_port >= 0 {
        say("DMLC_PS_ROOT_PORT", options.scheduler_port.to_string());
    }
    let texts = [
        ("DMLC_PS_ROOT_URI", options.scheduler_host, "options.scheduler_host"),
        ("DMLC_NODE_HOST", options.listen_host, "options.listen_host"),
        ("PMD_TRANSPORT", options.transport, "options.transport"),
        ("PMD_DEVICE", options.device, "options.device"),
        ("PMD_IDLE", options.idle, "options.idle"),
        ("PMD_ACCELERATORS", options.accelerators, "options.accelerators"),
        ("PMD_KEY_FILE", options.key_file, "options.key_file"),
        ("PMD_DATA_ENCRYPTION", options.data_encryption, "options.data_encryption"),
    ];
    for (name, value, what) in texts {
        // SAFETY: the caller's promise.
        if let Some(value) = unsafe { optional_text(value, what)? } {
            say(name, value.to_owned());
        }
    }
    Ok(given)
}

fn role_of(roles: u32) -> Result<&'static str, Failure> {
    const BOTH: u32 = PMD_AF_SERVERS | PMD_AF_WORKERS;
    match roles {
        PMD_AF_SCHEDULER => Ok("scheduler"),
        PMD_AF_SERVERS => Ok("server"),
        PMD_AF_WORKERS => Ok("worker"),
        BOTH => Ok("joint"),
        _ => Err(Failure::argument(format!(
            "options.roles is {roles}: a process is scheduler, server, worker or both"
        ))),
    }
}

/// Whether a process of this role takes part in push-pulls.
pub(crate) const fn is_node(role: ProcessRole) -> bool {
    !matches!(role, ProcessRole::Scheduler)
}
