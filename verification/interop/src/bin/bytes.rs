//! `bytes`: compares what our driver writes and reads with libmlx5's, on a ConnectX of this machine or a simulated one.
//!
//! ```text
//! bytes --device mlx5_0 [--cases 100] [--seed 1] [PART OF A NAME]...
//! ```
//! Answers like a test program. Exit codes: 0 all passed, 1 something differs or nothing was run, 2 wrong usage.
#![allow(unsafe_code)] // sets environment variables, which libmlx5 reads

use std::{env, process::ExitCode};

use clap::Parser;
use interoperation::{
    bytes::{self, Options},
    harness::Harness,
};

/// Compares queue entries with libmlx5's, byte by byte.
#[derive(Debug, Parser)]
#[command(name = "bytes")]
struct Command {
    /// The device that libmlx5 drives; it executes one empty write for each case.
    #[arg(long)]
    device: String,
    /// Cases of each check; a case is some dozens of requests or entries.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    cases: u32,
    /// Where the generator starts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Run only checks whose name contains one of these.
    only: Vec<String>,
}

/// What libmlx5 is told. By default it copies every single work request to BlueFlame that fits; our driver does so with
/// inline payload only, which is libmlx5's other setting. Its report of each failed completion is of no use here.
const SETTINGS: [(&str, &str); 2] = [("MLX5_POST_SEND_PREFER_BF", "0"), ("MLX5_DEBUG_FILE", "/dev/null")];

fn main() -> ExitCode {
    for (name, value) in SETTINGS {
        // SAFETY: there is one thread yet.
        unsafe { env::set_var(name, value) };
    }
    let Command { device, cases, seed, only } = Command::parse();
    let mut harness = Harness::new(only);
    bytes::check(&mut harness, &Options { device, cases, seed });
    harness.finish()
}
