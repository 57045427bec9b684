//! How much memory this process can still get, from what the kernel publishes.

use std::{fs, path::Path};

/// Bytes available: the smaller of the machine's and of the control groups' that the process is in; `None` where
/// /proc does not say.
pub(super) fn available() -> Option<u64> {
    let machine = machine(&fs::read_to_string("/proc/meminfo").ok()?)?;
    Some(control_groups().map_or(machine, |limit| limit.min(machine)))
}

/// From the text of /proc/meminfo.
fn machine(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Some((field("MemAvailable")? + field("SwapFree").unwrap_or(0)) << 10)
}

/// The tightest limit of the unified hierarchy from this process's group to the root.
fn control_groups() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let path = Path::new("/sys/fs/cgroup").join(group);
    path.ancestors().take_while(|path| path.starts_with("/sys/fs/cgroup")).filter_map(group_room).min()
}

/// What one control group leaves. Pages of files count as used there but can be given up.
fn group_room(group: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let files = ["inactive_file ", "active_file "]
        .iter()
        .filter_map(|name| statistics.lines().find_map(|line| line.strip_prefix(name))?.parse::<u64>().ok())
        .sum::<u64>();
    let limit = number("memory.max")?;
    Some(limit.saturating_sub(number("memory.current")?.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_and_swap_are_added() {
        let text = "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:    40 kB\nSwapFree:        2 kB\n";
        assert_eq!(machine(text), Some(42 << 10));
        assert_eq!(machine("MemTotal: 100 kB\n"), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available().is_none_or(|bytes| bytes > 0));
    }
}
