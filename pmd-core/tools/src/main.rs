//! The `pmd` command: what a driver engineer asks of a machine.
//!
//! ```text
//!  pmd info      what is here: devices, libraries, accelerators, what the soft HCA may use    (pmd-sys, accelerators)
//!  pmd dump      work-queue and completion-queue entries, decoded                             (pmd-core's wire)
//!  pmd perf      latency and bandwidth between two processes, the CPU cost of post and poll   (pmd-host's back ends)
//!  pmd top       what processes move at this moment, by the metrics that they serve           (pmd-host's metrics)
//!  pmd pingpong  a game with rdma-core's ibv_rc_pingpong, as its client or server             (pmd-host's NICs)
//! ```
//! With `--json` the last line of output is one object. Exit codes: 0 done and verified, 1 a transfer failed or did
//! not verify, 2 wrong usage, 3 something asked for is not on this machine.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::outcome::Outcome;

mod dump;
mod info;
mod memory;
mod outcome;
mod perf;
mod pingpong;
mod statistics;
mod top;

/// Looks at RDMA devices, queue entries and the speed of the poll-mode driver.
#[derive(Debug, Parser)]
#[command(name = "pmd", version, after_help = outcome::EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is on this machine and what is missing.
    Info(info::Arguments),
    /// Decodes work-queue and completion-queue entries.
    Dump(dump::Arguments),
    /// Measures the driver: latency, bandwidth, CPU cost.
    Perf(perf::Arguments),
    /// Shows what processes of this host move at this moment, from the metrics that they serve.
    Top(top::Arguments),
    /// Plays with ibv_rc_pingpong, as its client or server, and checks every message.
    Pingpong(pingpong::Arguments),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().command {
        Command::Info(arguments) => info::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments).unwrap_or_else(|error| outcome::tell(&error)),
        Command::Perf(arguments) => perf::run(&arguments).unwrap_or_else(|error| outcome::tell(&error)),
        Command::Top(arguments) => top::run(&arguments).unwrap_or_else(|error| outcome::tell(&error)),
        Command::Pingpong(arguments) => {
            pingpong::run(&arguments).unwrap_or_else(|error| outcome::tell(&error))
        }
    };
    outcome.into()
}

/// An error that knows how the command ends with it.
trait Failure: std::error::Error {
    /// How the command ends.
    fn outcome(&self) -> Outcome;
}
