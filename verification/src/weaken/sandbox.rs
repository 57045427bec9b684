//! A copy of pmd-core in which one ordering at a time is weakened, and the loom models that are built from it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::catalogue::loom_cargo;
use crate::process::{Ended, Task};
use crate::suite::Workspace;

/// A copy of the package in a workspace of its own.
pub(super) struct Sandbox {
    /// The copy's workspace, which holds nothing but the package.
    workspace: Workspace,
    /// The package's folder.
    package: PathBuf,
}

/// What a build gave.
pub(super) enum Built {
    /// The test binary of this source.
    Binary(PathBuf),
    /// The source does not build, with what the compiler said.
    Broken(String),
}

impl Sandbox {
    /// Copies pmd-core into `folder`.
    ///
    /// Cargo tells packages of a shared target folder apart by their path within their workspace, so every copy
    /// that is built at the same time needs a `name` of its own.
    pub(super) fn new(original: &Workspace, folder: &Path, name: &str) -> io::Result<Self> {
        let root = folder.join(name);
        let package = root.join(name);
        copy_folder(&original.root.join("pmd-core"), &package)?;
        fs::copy(original.root.join("Cargo.lock"), root.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(original.root.join("Cargo.toml"))?;
        fs::write(root.join("Cargo.toml"), rename(&manifest, name))?;
        Ok(Self { workspace: Workspace { root, target: original.target.clone() }, package })
    }

    /// Reads a file of the package.
    pub(super) fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(self.package.join(file))
    }

    /// Replaces a file of the package.
    pub(super) fn write(&self, file: &Path, source: &str) -> io::Result<()> {
        fs::write(self.package.join(file), source)
    }

    /// Builds the package's loom models.
    pub(super) fn build(&self, limit: Duration) -> io::Result<Built> {
        let task = loom_cargo(&self.workspace).args(["--no-run", "--message-format=json-render-diagnostics"]);
        let ended = task.limit(limit).run(&mut |_| ())?;
        if !ended.succeeded() {
            return Ok(Built::Broken(compiler_says(&ended)));
        }
        Ok(binary(&ended.stdout)
            .map_or_else(|| Built::Broken("cargo built no test".to_owned()), Built::Binary))
    }

    /// Runs tests of a binary by their full names, one thread at a time; with no names it lists all tests.
    pub(super) fn run(&self, binary: &Path, tests: &[String], limit: Duration) -> io::Result<Ended> {
        let task = Task::new(binary, &self.workspace.root).limit(limit);
        if tests.is_empty() {
            return task.args(["--list", "--format=terse"]).run(&mut |_| ());
        }
        task.args(tests).args(["--exact", "--nocapture", "--test-threads=1"]).run(&mut |_| ())
    }
}

fn compiler_says(ended: &Ended) -> String {
    let error = ended.output.lines().find(|line| line.starts_with("error"));
    error.map_or_else(|| ended.describe(), str::to_owned)
}

/// The test binary that this build made; one left from another source is none.
fn binary(stdout: &str) -> Option<PathBuf> {
    let messages = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut built = messages.filter(|message| message["fresh"] == false);
    built.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The workspace's manifest with one member, whose folder has another name.
fn rename(manifest: &str, name: &str) -> String {
    let (before, after) = manifest.split_once("members = [").unwrap_or((manifest, ""));
    let after = after.split_once(']').map_or("", |(_, after)| after);
    let moved = after.replace("path = \"pmd-core", &format!("path = \"{name}"));
    format!("{before}members = [\"{name}\"]{moved}")
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copys_manifest_names_the_copy_alone() {
        let manifest = "[workspace]\nmembers = [\n    \"pmd-core\",\n    \"af-api\",\n]\n\n[workspace.dependencies]\n\
            pmd-core = { path = \"pmd-core\" }\npmd-sys = { path = \"pmd-core/sys\" }\n";
        let expected = "[workspace]\nmembers = [\"copy\"]\n\n[workspace.dependencies]\n\
            pmd-core = { path = \"copy\" }\npmd-sys = { path = \"copy/sys\" }\n";
        assert_eq!(rename(manifest, "copy"), expected);
    }

    #[test]
    fn only_a_binary_of_this_build_counts() {
        let fresh = "{\"reason\":\"compiler-artifact\",\"fresh\":true,\"executable\":\"/old\"}\n";
        let built = "{\"reason\":\"compiler-artifact\",\"fresh\":false,\"executable\":\"/new\"}\n";
        assert_eq!(binary(fresh), None);
        assert_eq!(binary(&[fresh, built].concat()), Some(PathBuf::from("/new")));
    }
}
