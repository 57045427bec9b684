//! Thousands of nodes in one process: the driver's own protocols with simulated links and clock. The work is
//! `verification/simulate`, and its README.md says where the design stops scaling.
//!
//! Called by `main` for the command `simulate`; the suite of that name runs the program itself.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::foreground::{self, StartError};
use crate::process::Task;
use crate::suite::Workspace;

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Options of the program: `--nodes N,..`, `--seed`, `--links`, `--rails`, `--json`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Builds and runs it, and gives its exit code: 0 where every world kept its promises, else 1.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> ExitCode {
    run(workspace, options).unwrap_or_else(|error| {
        eprintln!("simulate: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, StartError> {
    let build = workspace.cargo().args(["build", "--release", "-p", "simulate", "--bin", "simulate"]);
    let ended = build.run(&mut |_| {}).map_err(|source| StartError { program: "cargo".into(), source })?;
    if !ended.succeeded() {
        eprintln!("{}", ended.output);
        return Ok(ExitCode::FAILURE);
    }
    let program = workspace.target.join("release/simulate").into_os_string();
    let words: Vec<OsString> = std::iter::once(program).chain(options.arguments.iter().cloned()).collect();
    foreground::run(&words, &[]).map(ExitCode::from)
}

/// Worlds of several sizes, as the suite runs them: with debug assertions and overflow checks.
pub(crate) fn suite_task(workspace: &Workspace) -> Task {
    let program = workspace.target.join("debug/simulate");
    Task::new(program, &workspace.root).args(["--nodes", "16,64,256"])
}
