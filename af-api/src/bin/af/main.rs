//! The `af` command: push-pulls between attention and feed-forward processes, verified and measured.
//!
//! `af demo` is the main job, a model's layers with every result checked; `af bench` measures round trips. Both start a
//! scheduler, servers and workers as child processes of the same executable (`af role ...`), which end with their parent.
//!
//! Exit codes: 0 done and verified, 1 a push-pull failed or did not verify, 2 wrong usage, 3 something that was asked
//! for is not on this machine.

mod bench;
mod child;
mod cluster;
mod demo;
mod failure;
mod memory;
mod options;
mod report;
mod statistics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::failure::Failure;

/// Pushes activations and pulls results over the poll-mode RDMA driver.
#[derive(Debug, Parser)]
#[command(name = "af", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a model's layers over workers and servers, in stages that overlap, and checks every result.
    Demo(demo::Arguments),
    /// Measures round trips: a push and a pull to every server.
    Bench(bench::Arguments),
    /// One process of the above.
    #[command(hide = true, subcommand)]
    Role(Role),
}

/// What a child process does.
#[derive(Debug, Subcommand)]
enum Role {
    /// Brings the others together.
    Scheduler(cluster::SchedulerArguments),
    /// The demo's feed-forward process.
    DemoServer(demo::RoleArguments),
    /// The demo's attention process.
    DemoWorker(demo::RoleArguments),
    /// The benchmark's answering process.
    BenchServer(bench::RoleArguments),
    /// The benchmark's asking process.
    BenchWorker(bench::RoleArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Role(Role::Scheduler(arguments)) => cluster::schedule(&arguments),
        Command::Role(Role::DemoServer(arguments)) => demo::serve(&arguments),
        Command::Role(Role::DemoWorker(arguments)) => demo::work(&arguments),
        Command::Role(Role::BenchServer(arguments)) => bench::serve(&arguments),
        Command::Role(Role::BenchWorker(arguments)) => bench::work(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("af: {}", failure::chain(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// What the commands return.
type Outcome = Result<(), Failure>;
