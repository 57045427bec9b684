//! The `af` command: push-pulls between attention and feed-forward processes, verified and measured.
//!
//! `af demo` is the main job, a model's layers with every result checked; `af bench` measures round trips. Both start a
//! scheduler, servers and workers as child processes of the same executable (`af role ...`), which end with their parent.
//! `af scheduler`, `af server` and `af worker` are the demo's processes on several hosts, started by hand.
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
use pmd_host::security::command::SecurityOptions;

use self::failure::Failure;

/// Pushes activations and pulls results over the poll-mode RDMA driver.
#[derive(Debug, Parser)]
#[command(name = "af", version, about)]
struct Arguments {
    /// Talk only to processes that have the key in this file, of 64 hexadecimal digits (openssl rand -hex 32), and encrypt.
    /// By default PMD_KEY_FILE says where it is; without either nothing is authenticated.
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<String>,
    /// With a key: whether data over TCP is encrypted, on or off. It is where one side wants it.
    #[arg(long, global = true, value_name = "ON|OFF")]
    data_encryption: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a model's layers over workers and servers, in stages that overlap, and checks every result.
    Demo(demo::Arguments),
    /// Measures round trips: a push and a pull to every server.
    Bench(bench::Arguments),
    /// Brings the servers and workers of a demo on several hosts together, until all of them have left.
    Scheduler(demo::SchedulerArguments),
    /// The demo's feed-forward process on this host, until all workers have left.
    Server(demo::ServerArguments),
    /// The demo's attention process on this host.
    Worker(demo::WorkerArguments),
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
    let Arguments { key_file, data_encryption, command } = Arguments::parse();
    let security = SecurityOptions { key_file, data_encryption }.apply();
    match security.map_err(Failure::from).and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("af: {}", failure::chain(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Scheduler(arguments) => demo::schedule(&arguments),
        Command::Server(arguments) => demo::serve_alone(&arguments),
        Command::Worker(arguments) => demo::work_alone(&arguments),
        Command::Role(Role::Scheduler(arguments)) => cluster::schedule(&arguments),
        Command::Role(Role::DemoServer(arguments)) => demo::serve(&arguments),
        Command::Role(Role::DemoWorker(arguments)) => demo::work(&arguments),
        Command::Role(Role::BenchServer(arguments)) => bench::serve(&arguments),
        Command::Role(Role::BenchWorker(arguments)) => bench::work(&arguments),
    }
}

/// What the commands return.
type Outcome = Result<(), Failure>;
