//! Whether the caches fit, asked before any is allocated: the kernel would sooner kill a process than refuse it pages.

use std::fs;

use crate::failure::Failure;

/// Checks that there is memory for `copies` caches of `bytes` bytes each, in this process and the other together.
pub(super) fn check(bytes: u64, copies: u64) -> Result<(), Failure> {
    let wanted = bytes.saturating_mul(copies);
    match fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)) {
        Some(available) if available < wanted => Err(Failure::NoMemory { bytes: wanted }),
        _ => Ok(()),
    }
}

/// From the text of /proc/meminfo, in bytes.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    3 kB\n"), Some(3072));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(available("MemAvailable: much\n"), None);
    }

    #[test]
    fn what_cannot_fit_is_refused() {
        check(1, 1).unwrap();
        assert!(matches!(check(u64::MAX, 3), Err(Failure::NoMemory { bytes: u64::MAX })));
    }
}
