//! The simulated ConnectX: gives a command a device `mlx5_0` that is not there.
//!
//! ```text
//! settings (command line) ─→ simulated (folder: state, sysfs tree; preloaded library) ─→ foreground (COMMAND) ─→ counters
//! ```
//! The device itself is the package `connectx`; this module makes what it needs, runs COMMAND with it, and says what
//! happened. A rule of the hardware that COMMAND's driver broke fails it.
//!
//! Called by `main` for the command `connectx`, and by the suites that run on the device.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

use crate::foreground;
use crate::suite::Workspace;

pub(crate) use error::ConnectxError;
pub(crate) use settings::Settings;
pub(crate) use simulated::Simulated;

mod error;
mod settings;
mod simulated;
mod sysfs;

/// Runs COMMAND, or a shell, with a ConnectX `mlx5_0` that is simulated under the installed libmlx5.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Says nothing about what the device did, unless a rule was broken.
    #[arg(long)]
    quiet: bool,
    /// A command and its arguments; else $SHELL.
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Does what the command line asks for. The exit code is COMMAND's, 128 and the signal's number where one ended it; 1
/// where COMMAND ended with 0 and its driver broke a rule, or where the device could not be made; 2 for settings that
/// exclude each other; 3 where COMMAND is not on this machine.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> ExitCode {
    run(workspace, options).unwrap_or_else(|error| {
        eprintln!("connectx: {error}");
        ExitCode::from(error.exit_code())
    })
}

fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, ConnectxError> {
    options.settings.check()?;
    let mut hidden = |_: Option<&str>| {};
    let simulated = Simulated::new(workspace, &options.settings, &mut hidden)?;
    let code = foreground::run(&foreground::words(&options.command), &simulated.environment())?;
    let counters = simulated.counters()?;
    if !options.quiet || counters.violations > 0 {
        eprintln!("connectx: {}", simulated::summary(&counters));
    }
    Ok(ExitCode::from(verdict(code, counters.violations)))
}

/// A command that succeeded although its driver broke a rule has not.
fn verdict(code: u8, violations: u64) -> u8 {
    if code == 0 && violations > 0 { 1 } else { code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_rules_fail_a_command_that_succeeded() {
        assert_eq!([verdict(0, 0), verdict(0, 1), verdict(134, 1), verdict(5, 0)], [0, 1, 134, 5]);
    }
}
