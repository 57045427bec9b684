//! A copy of the product in which faults are planted, and the test binaries that are built from it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::plant::{Fault, Overlap, SWITCH, VARIABLE, plant};
use crate::process::{Ended, Task};
use crate::suite::Workspace;

/// A copy of pmd-core's folder in a workspace of its own.
pub(crate) struct Sandbox {
    /// The copy's workspace, which holds nothing else.
    workspace: Workspace,
    /// The copied folder.
    folder: PathBuf,
}

/// What a build gave.
pub(crate) enum Built {
    /// The binaries of this source, by package and target: `pmd-core` for a library's own tests, `pmd-core/queue_wrap`
    /// for those of a file, `conformance/conformance` for a program.
    Binaries(BTreeMap<String, PathBuf>),
    /// The source does not build, with what the compiler said.
    Broken(String),
}

impl Sandbox {
    /// Copies pmd-core's folder, as the workspace of the packages in `members`: paths in that folder, empty for
    /// pmd-core itself.
    ///
    /// Cargo tells packages of a shared target folder apart by their path within their workspace, so the copy has a
    /// `name` that no other copy has.
    pub(crate) fn new(original: &Workspace, parent: &Path, name: &str, members: &[&str]) -> io::Result<Self> {
        let root = parent.join(name);
        let folder = root.join(name);
        copy_folder(&original.root.join("pmd-core"), &folder)?;
        fs::copy(original.root.join("Cargo.lock"), root.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(original.root.join("Cargo.toml"))?;
        fs::write(root.join("Cargo.toml"), rename(&manifest, name, members))?;
        // Built once, below a folder that goes.
        let workspace = Workspace { root, target: original.target.clone(), incremental: false };
        Ok(Self { workspace, folder })
    }

    /// Copies another package, to be a member as `member`.
    pub(crate) fn add(&self, original: &Workspace, package: &str, member: &str) -> io::Result<()> {
        copy_folder(&original.root.join(package), &self.folder.join(member))
    }

    /// Where the copy is built.
    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Plants faults into files of the copied folder.
    pub(crate) fn plant(&self, faults: &BTreeMap<PathBuf, Vec<Fault>>) -> io::Result<()> {
        self.add_switch()?;
        for (file, faults) in faults {
            let source = fs::read_to_string(self.folder.join(file))?;
            let switch = if file.starts_with("src") { "crate" } else { "pmd_core" };
            let planted = plant(&source, faults, &format!("{switch}::planted::number"));
            let overlaps = |overlap: Overlap| io::Error::other(format!("{}: {overlap}", file.display()));
            fs::write(self.folder.join(file), planted.map_err(overlaps)?)?;
        }
        Ok(())
    }

    /// Gives pmd-core the module that says which fault is switched on.
    fn add_switch(&self) -> io::Result<()> {
        let library = self.folder.join("src/lib.rs");
        let source = fs::read_to_string(&library)?;
        fs::write(self.folder.join("src/planted.rs"), SWITCH)?;
        fs::write(library, format!("{source}\npub mod planted;\n"))
    }

    /// Runs a cargo command that builds binaries.
    pub(crate) fn build(&self, cargo: Task, limit: Duration) -> io::Result<Built> {
        let task = cargo.args(["--message-format=json-render-diagnostics"]);
        let ended = task.limit(limit).run(&mut |_| ())?;
        if !ended.succeeded() {
            return Ok(Built::Broken(compiler_says(&ended)));
        }
        Ok(Built::Binaries(binaries(&ended.stdout)))
    }

    /// Runs tests of a binary by their full names, one at a time, with one fault switched on (0: none); with no names
    /// it lists all tests.
    pub(crate) fn run(
        &self,
        binary: &Path,
        tests: &[&str],
        number: usize,
        limit: Duration,
    ) -> io::Result<Ended> {
        let task = Task::new(binary, &self.folder);
        let task = match tests {
            [] => task.args(["--list", "--format=terse"]),
            tests => task.args(tests).args(["--exact", "--nocapture", "--test-threads=1"]),
        };
        self.run_task(task, number, limit)
    }

    /// Runs any command with one fault switched on.
    pub(crate) fn run_task(&self, task: Task, number: usize, limit: Duration) -> io::Result<Ended> {
        task.limit(limit).env(VARIABLE, number.to_string()).run(&mut |_| ())
    }
}

fn compiler_says(ended: &Ended) -> String {
    let lines: Vec<&str> = ended.output.lines().collect();
    let errors = lines.windows(2).filter(|pair| pair[0].starts_with("error"));
    let said: Vec<String> = errors.map(|pair| format!("{} {}", pair[0], pair[1].trim())).collect();
    if said.is_empty() { ended.describe() } else { said.join("; ") }
}

/// The binaries that this build made; one left from another source is none.
fn binaries(stdout: &str) -> BTreeMap<String, PathBuf> {
    let messages = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built = messages.filter(|message| message["fresh"] == false);
    built
        .filter_map(|message| {
            let binary = message["executable"].as_str()?;
            let target = message["target"]["name"].as_str()?;
            let is_library = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "lib");
            let package = package(message["package_id"].as_str()?);
            let name = if is_library { package } else { format!("{package}/{target}") };
            Some((name, PathBuf::from(binary)))
        })
        .collect()
}

/// The name in a package id: `path+file:///w/pmd-core/host#pmd-host@0.1.0`; cargo leaves it out where the folder has
/// the same one.
fn package(id: &str) -> String {
    let (path, version) = id.rsplit_once('#').unwrap_or((id, ""));
    let folder = path.rsplit('/').next().unwrap_or_default();
    version.split_once('@').map_or(folder, |(name, _)| name).to_owned()
}

/// What a copy's checks run once is compiled for longer than it runs. Other crates are as the workspace has them, so that
/// what is built of them is shared.
const UNOPTIMISED: [&str; 2] = ["conformance", "pmd-host"];

/// Where the manifest has the packages' own settings for tests.
const DEV_PACKAGES: &str = "\n[profile.dev.package]\n";

/// The workspace's manifest with the copied folder's members alone, under its new name.
fn rename(manifest: &str, name: &str, members: &[&str]) -> String {
    let (before, after) = manifest.split_once("members = [").unwrap_or((manifest, ""));
    let after = after.split_once(']').map_or("", |(_, after)| after);
    let moved = after.replace("path = \"pmd-core", &format!("path = \"{name}"));
    let members: Vec<String> =
        members.iter().map(|member| format!("\"{}\"", Path::new(name).join(member).display())).collect();
    let lines = UNOPTIMISED.map(|package| format!("{package}.opt-level = 0\n")).concat();
    let moved = moved.replace(DEV_PACKAGES, &format!("{DEV_PACKAGES}{lines}"));
    format!("{before}members = [{}]{moved}", members.join(", "))
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
            pmd-core = { path = \"pmd-core\" }\npmd-sys = { path = \"pmd-core/sys\" }\n\
            \n[profile.dev.package]\nx.opt-level = 1\n";
        let expected = "[workspace]\nmembers = [\"copy/\", \"copy/sys\"]\n\n[workspace.dependencies]\n\
            pmd-core = { path = \"copy\" }\npmd-sys = { path = \"copy/sys\" }\n\
            \n[profile.dev.package]\nconformance.opt-level = 0\npmd-host.opt-level = 0\nx.opt-level = 1\n";
        assert_eq!(rename(manifest, "copy", &["", "sys"]), expected);
    }

    #[test]
    fn only_binaries_of_this_build_count() {
        let message = |fresh, kind: &str, target: &str, id: &str| {
            format!(
                "{{\"fresh\":{fresh},\"executable\":\"/{target}\",\
                 \"target\":{{\"name\":\"{target}\",\"kind\":[\"{kind}\"]}},\"package_id\":\"{id}\"}}\n"
            )
        };
        let host = "path+file:///w/copy/host#pmd-host@0.1.0";
        let output = [
            message(false, "lib", "pmd_host", host),
            message(false, "test", "lane_soft", host),
            message(false, "lib", "pmd_core", "path+file:///w/pmd-core#0.1.0"),
            message(true, "test", "old", host),
            message(false, "bin", "tool", host),
        ]
        .concat();
        let found: Vec<String> = binaries(&output).into_keys().collect();
        assert_eq!(found, ["pmd-core", "pmd-host", "pmd-host/lane_soft", "pmd-host/tool"]);
    }

    #[test]
    fn packages_are_named_by_their_id() {
        assert_eq!(package("path+file:///w/pmd-core/host#pmd-host@0.1.0"), "pmd-host");
        assert_eq!(package("path+file:///w/pmd-core#0.1.0"), "pmd-core");
    }
}
