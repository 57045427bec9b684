//! How the device behaves, from the environment; written by the launcher, read once by each process.

use std::{env, ffi::OsString, path::PathBuf};

/// The state file; without it the preloaded library does nothing.
pub const STATE: &str = "CONNECTX_STATE";
/// How doorbells are seen: `trap` (default), `step`, `thread`.
pub const MODE: &str = "CONNECTX_MODE";
/// Link layer of the port: `ib` (default) or `roce`.
pub const LINK: &str = "CONNECTX_LINK";
/// UAR pages: `dynamic` (default, what today's kernels do) or `static`.
pub const UAR: &str = "CONNECTX_UAR";
/// What a broken rule does: `abort` (default) or `report`.
pub const LINT: &str = "CONNECTX_LINT";
/// Faults to inject, as [`crate::fault`] parses them.
pub const FAULTS: &str = "CONNECTX_FAULTS";
/// Uverbs interface: `ioctl` (default) or `write`, the older one.
pub const INTERFACE: &str = "CONNECTX_INTERFACE";
/// Largest payload that the device scatters into a CQE: `off` (default) or `on`.
pub const SCATTER: &str = "CONNECTX_SCATTER_TO_CQE";
/// How the device reaches memory of an accelerator: `none` (default), `dma-buf`, `peer`.
pub const DEVICE_MEMORY: &str = "CONNECTX_DEVICE_MEMORY";

/// Why the environment cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?} is not one of: {choices}")]
pub struct ConfigError {
    /// The variable.
    pub variable: &'static str,
    /// What it is set to.
    pub value: OsString,
    /// What it may be.
    pub choices: String,
}

/// How the device sees stores to UAR pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every store faults and is executed at once: sees each one, in order. For conformance.
    Trap,
    /// The device looks at its UAR pages when `ibv_poll_cq` is called. For perftest.
    Step,
    /// A thread looks at them every few hundred microseconds. For long runs.
    Thread,
}

/// What the port is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// LIDs, no need of a GID.
    InfiniBand,
    /// RoCE v2: GIDs of MAC and IPv4 addresses.
    Ethernet,
}

/// What happens when the driver breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnViolation {
    /// It is written to standard error and counted, and the process aborts.
    Abort,
    /// It is written and counted; the launcher fails at the end.
    Report,
}

/// How the device reaches memory that the stand-in of an accelerator's runtime has allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceMemory {
    /// Not at all: a kernel without dma-bufs for RDMA, and no peer memory module.
    None,
    /// By a descriptor that the runtime exports.
    DmaBuf,
    /// By its address, as with `nvidia-peermem`.
    Peer,
}

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that holds [`crate::state`].
    pub state: PathBuf,
    /// How doorbells are seen.
    pub mode: Mode,
    /// Link layer.
    pub link: Link,
    /// Whether UAR pages are allocated by `UAR_OBJ_ALLOC` rather than with the context.
    pub dynamic_uars: bool,
    /// Whether uverbs ioctls are understood; else `ENOTTY`, and the library falls back to write().
    pub ioctl: bool,
    /// What a broken rule does.
    pub on_violation: OnViolation,
    /// Whether small receives are scattered into the CQE for queue pairs that ask for it.
    pub scatter_to_cqe: bool,
    /// How it reaches memory of an accelerator.
    pub device_memory: DeviceMemory,
    /// The fault list, not parsed yet.
    pub faults: String,
}

impl Config {
    /// From this process's environment; `None` where no state file is named.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable that is not understood.
    pub fn from_environment() -> Result<Option<Self>, ConfigError> {
        Self::from_lookup(|name| env::var_os(name))
    }

    /// From any lookup of variables.
    ///
    /// # Errors
    /// As [`Config::from_environment`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, ConfigError> {
        let Some(state) = lookup(STATE).filter(|value| !value.is_empty()) else { return Ok(None) };
        let modes = [("trap", Mode::Trap), ("step", Mode::Step), ("thread", Mode::Thread)];
        let links = [("ib", Link::InfiniBand), ("roce", Link::Ethernet)];
        let lints = [("abort", OnViolation::Abort), ("report", OnViolation::Report)];
        let device_memories =
            [("none", DeviceMemory::None), ("dma-buf", DeviceMemory::DmaBuf), ("peer", DeviceMemory::Peer)];
        Ok(Some(Self {
            state: state.into(),
            mode: choose(&lookup, MODE, &modes)?,
            link: choose(&lookup, LINK, &links)?,
            dynamic_uars: choose(&lookup, UAR, &[("dynamic", true), ("static", false)])?,
            ioctl: choose(&lookup, INTERFACE, &[("ioctl", true), ("write", false)])?,
            on_violation: choose(&lookup, LINT, &lints)?,
            scatter_to_cqe: choose(&lookup, SCATTER, &[("off", false), ("on", true)])?,
            device_memory: choose(&lookup, DEVICE_MEMORY, &device_memories)?,
            faults: lookup(FAULTS).unwrap_or_default().to_string_lossy().into_owned(),
        }))
    }
}

/// The choice that the variable names; the first where it is not set.
fn choose<T: Copy>(
    lookup: &impl Fn(&str) -> Option<OsString>,
    variable: &'static str,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let Some(value) = lookup(variable) else { return Ok(choices[0].1) };
    let found = choices.iter().find(|(name, _)| value.to_str() == Some(name));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        ConfigError { variable, value, choices: names.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup<'a>(set: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    #[test]
    fn nothing_is_configured_without_a_state_file() {
        assert_eq!(Config::from_lookup(lookup(&[(MODE, "nonsense")])), Ok(None));
        assert_eq!(Config::from_lookup(lookup(&[(STATE, "")])), Ok(None));
    }

    #[test]
    fn defaults_are_the_strictest() {
        let config = Config::from_lookup(lookup(&[(STATE, "/s")])).expect("valid").expect("named");
        assert_eq!((config.mode, config.on_violation), (Mode::Trap, OnViolation::Abort));
        assert!(config.dynamic_uars && config.ioctl && !config.scatter_to_cqe);
        assert_eq!(config.device_memory, DeviceMemory::None);
    }

    #[test]
    fn a_value_that_is_not_known_is_named_with_its_choices() {
        let error = Config::from_lookup(lookup(&[(STATE, "/s"), (MODE, "fast")])).expect_err("not a mode");
        assert_eq!(error.to_string(), "CONNECTX_MODE=\"fast\" is not one of: trap, step, thread");
    }
}
