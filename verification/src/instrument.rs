//! Building with what only an unstable compiler flag adds: sanitisers and coverage. Used by `fuzz` and `sanitise`.
//!
//! The flags are unlocked by an environment variable, so that the stable compiler serves. The standard library is
//! the one that the toolchain ships, which is not instrumented: what it does between two instrumented places is not
//! seen.

use std::path::Path;

use crate::process::Task;
use crate::suite::Workspace;

/// A cargo command in `folder` that compiles for this machine with `flags`, into a target folder of its own.
///
/// The target is named, so that build scripts and macros, which run in the compiler, are left as they are.
pub(crate) fn cargo(folder: &Path, target: &Path, flags: &[&str], verb: &str) -> Option<Task> {
    let task = Task::new("cargo", folder).args([verb, "--target", &host()?]);
    // Separated as cargo has it, since a flag may name a path with spaces.
    let task = task.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Some(task.env("CARGO_TARGET_DIR", target).env("CARGO_INCREMENTAL", "0"))
}

/// The platform of this machine, as the compiler names it.
pub(crate) fn host() -> Option<String> {
    let root = Workspace::of_this_command().root;
    let ended = Task::new("rustc", root).args(["-vV"]).run(&mut |_| ()).ok()?;
    host_of(&ended.stdout)
}

fn host_of(version: &str) -> Option<String> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(|name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_read_from_the_compilers_version() {
        let version = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(host_of(version).as_deref(), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host_of("rustc 1.95.0\n"), None);
    }
}
