//! The machine on which figures were taken; stands above every table.

use std::{fmt, fs, thread};

/// What a reader of figures wants to know of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    /// The processor's name, as the kernel has it.
    pub(super) processor: String,
    /// Processors that this command may use.
    pub(super) cores: usize,
    /// The kernel's release.
    pub(super) kernel: String,
    /// Runnable processes, average of the last minute, before the first row.
    pub(super) load: String,
}

impl Machine {
    /// The machine on which this runs; what it does not tell is `unknown`.
    pub(super) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let first = |text: &str| text.split_whitespace().next().unwrap_or("unknown").to_owned();
        Self {
            processor: processor(&read("/proc/cpuinfo")).to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: first(&read("/proc/sys/kernel/osrelease")),
            load: first(&read("/proc/loadavg")),
        }
    }
}

/// The first processor's name in /proc/cpuinfo.
pub(super) fn processor(cpuinfo: &str) -> &str {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim())
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, load } = self;
        write!(formatter, "{cores} cores of {processor}, Linux {kernel}, load {load}")
    }
}
