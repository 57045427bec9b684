//! What a process wants of the stand-in: read from the environment once, by [`Runtime::from_environment`].
//!
//! [`Runtime::from_environment`]: crate::Runtime::from_environment

use std::{env, path::PathBuf, str::FromStr, time::Duration};

/// How many devices, how large, what fails, and what becomes of misuse.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Devices; their ordinals begin at 0.
    pub devices: u32,
    /// Bytes of each device's memory.
    pub memory: u64,
    /// As `FAKE_DEVICE_FAULTS`.
    pub faults: String,
    /// A file to which lines of misuse are appended.
    pub report: Option<PathBuf>,
    /// Whether misuse changes the status with which the process exits.
    pub fail_at_exit: bool,
    /// Whether programs may touch device memory, which a device does not let them.
    pub touchable: bool,
    /// How long freeing waits for operations that touch the memory, before that is misuse.
    pub patience: Duration,
}

impl Default for Settings {
    /// Two devices of 4 GiB; nothing fails; misuse is only told.
    fn default() -> Self {
        Self {
            devices: 2,
            memory: 4 << 30,
            faults: String::new(),
            report: None,
            fail_at_exit: false,
            touchable: false,
            patience: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// From the variables that the crate's page lists.
    #[must_use]
    pub fn from_environment() -> Self {
        let normal = Self::default();
        Self {
            devices: number("FAKE_DEVICE_COUNT").unwrap_or(normal.devices),
            memory: number("FAKE_DEVICE_MEMORY").unwrap_or(normal.memory),
            faults: env::var("FAKE_DEVICE_FAULTS").unwrap_or_default(),
            report: env::var_os("FAKE_DEVICE_REPORT").map(PathBuf::from),
            fail_at_exit: env::var("FAKE_DEVICE_MISUSE").as_deref() != Ok("allow"),
            touchable: env::var("FAKE_DEVICE_TOUCH").as_deref() == Ok("allow"),
            patience: normal.patience,
        }
    }
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}
