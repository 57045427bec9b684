//! Builds what runs on soft-RoCE, with the profiles with which other suites build it. Called by `softroce`.

use std::path::PathBuf;

use serde_json::Value;

use super::error::SoftroceError;
use crate::capi::{self, Installed, attention};
use crate::examples::{self, Device, Runnable};
use crate::process::Task;
use crate::suite::Workspace;

/// The programs under test, as paths on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// `kv`.
    pub(super) kv: PathBuf,
    /// `af`.
    pub(super) af: PathBuf,
    /// `pmd`.
    pub(super) pmd: PathBuf,
    /// The suite that every back end passes.
    pub(super) conformance: PathBuf,
    /// This program.
    pub(super) verification: PathBuf,
    /// Examples of `kv-api`.
    pub(super) examples: Vec<Runnable>,
    /// Programs of `af-api`, with their paths.
    pub(super) attention: Vec<(&'static attention::Program, PathBuf)>,
}

impl Programs {
    /// Builds all of them.
    pub(super) fn build(
        workspace: &Workspace,
        watch: &mut dyn FnMut(Option<&str>),
    ) -> Result<Self, SoftroceError> {
        let cargo = |arguments: &[&str]| {
            workspace
                .cargo()
                .args(arguments.iter().copied())
                .args(["--message-format=json-render-diagnostics"])
        };
        let kv = cargo(&["build", "--release", "-p", "kv-api", "--bin", "kv"]);
        let af = cargo(&["build", "--release", "-p", "af-api", "--bin", "af"]);
        // For the whole workspace, as `unit` does: the features are then the same, and so are the libraries.
        let pmd = cargo(&["build", "--workspace", "--bin", "pmd"]);
        let conformance = cargo(&["build", "--workspace", "--bin", "conformance"]);
        Ok(Self {
            kv: build(&kv, "kv", watch)?,
            af: build(&af, "af", watch)?,
            pmd: build(&pmd, "pmd", watch)?,
            conformance: build(&conformance, "conformance", watch)?,
            verification: std::env::current_exe().map_err(SoftroceError::file("/proc/self/exe".as_ref()))?,
            examples: examples(workspace, watch)?,
            attention: attention(workspace, watch)?,
        })
    }
}

/// Builds the examples that can run in the guest: those in Rust, C and C++.
fn examples(
    workspace: &Workspace,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<Vec<Runnable>, SoftroceError> {
    let installed = Installed::of(workspace);
    let mut tasks = vec![examples::build_rust(workspace)];
    tasks.extend(installed.install(workspace).map(|(_, task)| task));
    tasks.iter().try_for_each(|task| output(task, "cargo", watch).map(drop))?;
    for example in examples::of(capi::LANGUAGES).filter(|example| !installed.is_current(example)) {
        output(&installed.compile_example(example), "g++", watch)?;
    }
    let native = examples::of(capi::LANGUAGES).map(|example| installed.runnable(example));
    let all = examples::rust(workspace).chain(native);
    Ok(all.filter(|runnable| runnable.example.left_out(Device::SoftRoce).is_none()).collect())
}

/// Builds the programs of `af-api` in C and C++; its library is there.
fn attention(
    workspace: &Workspace,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<Vec<(&'static attention::Program, PathBuf)>, SoftroceError> {
    let installed = Installed::of(workspace);
    output(&installed.install_attention(), "sh", watch)?;
    let build = |program| {
        output(&installed.compile_attention(program), "g++", watch)?;
        Ok((program, installed.attention_program(program)))
    };
    attention::PROGRAMS.iter().map(build).collect()
}

fn build(
    cargo: &Task,
    name: &'static str,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<PathBuf, SoftroceError> {
    executable(&output(cargo, "cargo", watch)?, name).ok_or(SoftroceError::NotBuilt { name })
}

/// Runs what builds; `package` has what it needs.
fn output(
    task: &Task,
    package: &'static str,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<String, SoftroceError> {
    watch(Some(&format!("$ {}", task.line())));
    // Cargo's messages for programs are not for people.
    let mut filtered = |line: Option<&str>| watch(line.filter(|line| !line.starts_with('{')));
    let failed = |source| SoftroceError::NoProgram { program: task.line(), package, source };
    let ended = task.run(&mut filtered).map_err(failed)?;
    if !ended.succeeded() {
        return Err(SoftroceError::Command {
            line: task.line(),
            how: ended.describe(),
            output: ended.stderr,
        });
    }
    Ok(ended.stdout)
}

/// The program of this name among the artifacts that cargo reports.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == name);
    programs.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"kv\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"kv\"},\"executable\":\"/t/kv\"}\n\
            not json\n";
        assert_eq!(executable(messages, "kv"), Some("/t/kv".into()));
        assert_eq!(executable(messages, "pmd"), None);
        assert_eq!(executable("", "kv"), None);
    }
}
