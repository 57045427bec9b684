//! The command that runs `kv`, `af` and plain endpoints on several hosts: network namespaces with links between them.
//!
//! ```text
//! hosts                                  # every case, of about a minute
//! hosts kv:: --list
//! hosts soak --soak-seconds 3600         # 32 processes on 8 hosts for an hour
//! hosts between -- COMMAND               # gives COMMAND two hosts: $HOST_0 and $HOST_1 at $ADDRESS_0 and $ADDRESS_1
//! hosts agent                            # what some cases run on their hosts: an endpoint that is told by lines what to do
//! ```
//! # Place in the flow
//! The verification suites `hosts` and `soak` run it. It finds `kv` and `af` beside itself, as cargo builds them, and needs root.
//! `network` makes hosts and what is between them, `programs` knows the commands, `agent` is an endpoint that is ordered
//! about, `cases` has what must hold.
//!
//! The output is that of libtest. Exit codes: 0 everything passed, 101 a case failed or hung, 2 wrong usage, 3 this
//! machine or this user can make no hosts.

mod agent;
mod between;
mod cases;
mod network;
mod programs;
mod trial;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use libtest_mimic::Arguments;

use self::{
    network::{Faults, Network, NetworkError},
    programs::{Context, Programs, Soak},
};

/// This machine cannot show it.
const NOT_HERE: u8 = 3;

/// Runs the cases.
#[derive(Debug, Parser)]
#[command(name = "hosts")]
struct Options {
    /// The folder with `kv` and `af`; by default that of this program.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// How long the soak goes on at least.
    #[arg(long, default_value_t = 5)]
    soak_seconds: u64,
    /// The soak begins a round at most every so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    soak_every: u64,
    /// Decides which packets meet faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    arguments: Arguments,
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let first = words.nth(1).unwrap_or_default();
    if first == "between" {
        return between::main(words);
    }
    if first == "agent" {
        return agent::main();
    }
    let options = Options::parse();
    if let Err(error) = check() {
        eprintln!("hosts: {error}");
        return ExitCode::from(NOT_HERE);
    }
    let programs = options.programs.map_or_else(Programs::beside_this, |folder| Programs::of(&folder));
    let soak = Soak {
        lasts: Duration::from_secs(options.soak_seconds),
        round_every: Duration::from_secs(options.soak_every),
    };
    let context = Context { programs, soak, seed: options.seed };
    let trials = cases::all().map(|case| trial::make(case, context.clone())).collect();
    let mut arguments = options.arguments;
    // Each has two hosts' work to do, and some look at the clock.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Whether hosts of both kinds can be had.
fn check() -> Result<(), NetworkError> {
    drop(Network::pair()?);
    drop(Network::switched(2, Faults::default(), 0)?);
    Ok(())
}
