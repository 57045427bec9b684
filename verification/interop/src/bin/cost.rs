//! `cost`: instructions and time of posting and polling, our queue pair beside libmlx5's, on a ConnectX of this machine or
//! a simulated one.
//!
//! ```text
//! cost --device mlx5_0
//! ```
//! The last line is an object: for each of `instructions` and `ns` a figure by name, size-batch-poster-part. Exit codes: 0
//! measured, 1 not, 2 wrong usage, 3 valgrind is not on this machine.
#![allow(unsafe_code)] // sets environment variables, which libmlx5 reads

use std::{collections::BTreeMap, env, process::ExitCode};

use clap::Parser;
use counts::{
    command::{self, CountError},
    meter::Meter,
};
use interoperation::bytes::cost::{self, Figures, Gauge};
use serde_json::json;

/// Rounds under valgrind: counts repeat.
const COUNTED_ROUNDS: u64 = 4;

/// The simulated device takes doorbells by their fault, and reads the instruction at which it came: valgrind knows that
/// exactly where it translates one instruction at a time.
const PRECISELY: [&str; 2] = ["--vex-guest-max-insns=1", "--vex-iropt-register-updates=allregs-at-each-insn"];

/// Measures posting and polling beside libmlx5.
#[derive(Debug, Parser)]
#[command(name = "cost")]
struct Command {
    /// The device that libmlx5 drives; it executes one empty write for each case.
    #[arg(long)]
    device: String,
    /// Rounds of 256 requests of which the clock takes the shortest.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Does the work that callgrind counts; this command starts itself with it.
    #[arg(long, hide = true)]
    counted: bool,
}

fn main() -> ExitCode {
    for (name, value) in cost::SETTINGS {
        // SAFETY: there is one thread yet.
        unsafe { env::set_var(name, value) };
    }
    let Command { device, rounds, counted } = Command::parse();
    if counted {
        let mut gauge = Gauge::Instructions(Meter::new());
        cost::measure(&device, COUNTED_ROUNDS, &mut gauge);
        gauge.said().for_each(|line| println!("{line}"));
        return ExitCode::SUCCESS;
    }
    let mut gauge = Gauge::clock();
    cost::measure(&device, rounds, &mut gauge);
    match command::count(&["--counted", "--device", &device], &PRECISELY) {
        Ok(counts) => {
            let of_one = |(name, hundredths): (String, u64)| (name, hundredths as f64 / 100.0);
            let instructions: BTreeMap<String, f64> = counts.into_iter().map(of_one).collect();
            let ns = gauge.figures();
            print!("{}", table(&instructions, &ns));
            println!("{}", json!({ "op": "cost", "instructions": instructions, "ns": ns, "verified": true }));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::from(if matches!(error, CountError::NoValgrind) { 3 } else { 1 })
        }
    }
}

fn table(instructions: &Figures, ns: &Figures) -> String {
    let mut text = format!("{:<28} {:>12} {:>8}\n", "of one request", "instructions", "ns");
    for (name, count) in instructions {
        let time = ns.get(name).copied().unwrap_or(f64::NAN);
        text += &format!("{name:<28} {count:>12.1} {time:>8.1}\n");
    }
    text
}
