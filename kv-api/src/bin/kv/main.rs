//! The `kv` command: moves KV caches between processes, verifies them and measures.
//!
//! `kv demo` is the main job; `kv serve` and `kv fetch` do it between two hosts; `kv bench` measures one operation. Demo
//! and benchmark start their peers as child processes of the same executable (`kv role ...`), which end with their parent.
//!
//! Exit codes: 0 done and verified, 1 a transfer failed or did not verify, 2 wrong usage, 3 something that was asked
//! for is not on this machine.

mod bench;
mod child;
mod demo;
mod failure;
mod memory;
mod options;
mod pattern;
mod report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pmd_host::security::command::SecurityOptions;

use self::failure::Failure;

/// Moves KV caches between processes over the poll-mode RDMA driver.
#[derive(Debug, Parser)]
#[command(name = "kv", version, about)]
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
    /// Moves a cache from a prefill to a decode process by pull, by blocks, by push and layer by layer.
    Demo(demo::Arguments),
    /// Fills a cache and lets `kv fetch` of this or another host read and write it.
    Serve(demo::ServeArguments),
    /// Gets a cache that `kv serve` serves, in all ways of the demo, and verifies every byte.
    Fetch(demo::FetchArguments),
    /// Measures reading or writing permuted blocks between two processes.
    Bench(bench::Arguments),
    /// One process of the above.
    #[command(hide = true, subcommand)]
    Role(Role),
}

/// What a child process does.
#[derive(Debug, Subcommand)]
enum Role {
    /// The demo's prefill process.
    Prefill(demo::PrefillArguments),
    /// The demo's decode process.
    Decode(demo::DecodeArguments),
    /// The benchmark's other process.
    BenchPeer(bench::PeerArguments),
}

fn main() -> ExitCode {
    let Arguments { key_file, data_encryption, command } = Arguments::parse();
    let security = SecurityOptions { key_file, data_encryption }.apply();
    match security.map_err(Failure::from).and_then(|()| run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kv: {}", failure::chain(&failure));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Serve(arguments) => demo::serve(&arguments),
        Command::Fetch(arguments) => demo::fetch(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Role(Role::Prefill(arguments)) => demo::prefill(&arguments),
        Command::Role(Role::Decode(arguments)) => demo::decode(&arguments),
        Command::Role(Role::BenchPeer(arguments)) => bench::peer(&arguments),
    }
}

/// What the commands return.
type Outcome = Result<(), Failure>;
