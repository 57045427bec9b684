//! The workspace's top level is fixed; what comes later goes into one of its rooms.

use std::fs;
use std::io;
use std::path::Path;

use super::Violation;

/// What may stand at the top, beside dotfiles and ignored build outputs.
const ALLOWED: [&str; 11] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "pmd-core",
    "gpu-direct",
    "accel-ascend",
    "accel-rocm",
    "af-api",
    "kv-api",
    "verification",
];

/// Entries that do not belong at the top.
pub(super) fn check(root: &Path) -> io::Result<Vec<Violation>> {
    let names = fs::read_dir(root)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    Ok(names
        .into_iter()
        .filter(|name| !ALLOWED.contains(&name.as_str()) && !name.starts_with('.') && !is_ignored(name))
        .map(|name| Violation {
            file: name,
            line: 0,
            what: "is not an entry of the fixed top level".to_owned(),
        })
        .collect())
}

/// What .gitignore names.
fn is_ignored(name: &str) -> bool {
    name == "target" || name.starts_with("target-") || name.ends_with(".profraw")
}
