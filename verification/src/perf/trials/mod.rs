//! `verification perf --trials`: what this machine gives, way by way, where the driver had to choose one.
//!
//! ```text
//!  copies   copy kernels by size (kernel: the kernels)     pages    huge pages, first touches (region: the memory)
//!  iovecs   process_vm_readv by entries of a call           tcp      sends over loopback, copied or not; system calls
//!  turns    an answer of 8 bytes over loopback              wakes    one thread waiting for another; lines of the cache
//!  figure   what a trial gives, and the table
//! ```
//! Trials measure the machine and not the driver, which runs in none of them. In each group one line is what the driver does;
//! the others stand beside it. Bytes are compared, since a way that moves them wrongly has no figure; times decide nothing.
//! What was made of the figures is in `verification/PERFORMANCE.md`.

use std::{io, process::ExitCode};

use super::machine::Machine;

mod copies;
mod figure;
mod iovecs;
mod kernel;
mod pages;
mod region;
mod tcp;
#[cfg(test)]
mod tests;
mod turns;
mod wakes;

use figure::Figure;
pub(super) use kernel::{Kernel, Move};

/// How much is measured: tests need the answers and not the figures.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Bytes that are moved in a pass.
    bytes: usize,
    /// Passes; the figure is the shortest's, or where two threads take turns the median.
    passes: usize,
    /// Longest time of a pass that is counted in turns of two threads, in milliseconds.
    milliseconds: u64,
}

impl Effort {
    /// What the command does: more bytes than the largest cache holds.
    const FULL: Self = Self { bytes: 64 << 20, passes: 7, milliseconds: 200 };
}

/// One question to the machine.
struct Trial {
    /// For `--only`.
    name: &'static str,
    /// Gives its lines of the table.
    run: fn(Effort) -> Result<Vec<Figure>, TrialError>,
}

/// All of them, in the table's order.
const TRIALS: [Trial; 10] = [
    Trial { name: "copies", run: copies::kernels },
    Trial { name: "handed-on", run: copies::handed_on },
    Trial { name: "huge-pages", run: pages::huge },
    Trial { name: "pre-fault", run: pages::faults },
    Trial { name: "iovecs", run: iovecs::batches },
    Trial { name: "tcp", run: tcp::sends },
    Trial { name: "system-calls", run: tcp::calls },
    Trial { name: "tcp-turns", run: turns::round_trips },
    Trial { name: "wakes", run: wakes::hands },
    Trial { name: "false-sharing", run: wakes::lines },
];

/// Why a trial has no figures.
#[derive(Debug, thiserror::Error)]
enum TrialError {
    /// The system refuses a call without which there is nothing to measure.
    #[error("{call}: {error}")]
    System {
        /// Which.
        call: &'static str,
        /// What it said.
        error: io::Error,
    },
    /// Bytes are not where they should be: the way is wrong, or the trial.
    #[error("{what}: the bytes are not those that were sent")]
    Corrupt {
        /// Which way they took.
        what: String,
    },
    /// Nothing came for ten seconds.
    #[error("{what}: nothing for ten seconds")]
    Silent {
        /// What was waited for.
        what: &'static str,
    },
}

impl TrialError {
    /// For `map_err`, with the call's name.
    fn system<E: Into<io::Error>>(call: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::System { call, error: error.into() }
    }
}

/// Runs the trials whose names contain one of `only`, or all; prints the machine, the table, and with `json` an object.
pub(super) fn command(only: &[String], json: bool) -> ExitCode {
    let machine = Machine::here();
    println!("{machine}");
    let (mut figures, mut code) = (Vec::new(), ExitCode::SUCCESS);
    let mut wanted = TRIALS.iter().filter(|trial| super::is_wanted(trial.name, only)).peekable();
    if wanted.peek().is_none() {
        eprintln!("no trial has such a name; there are {}", TRIALS.map(|trial| trial.name).join(", "));
        return ExitCode::from(2);
    }
    for trial in wanted {
        match (trial.run)(Effort::FULL) {
            Ok(more) => figures.extend(more),
            Err(error) => {
                eprintln!("{}: {error}", trial.name);
                code = ExitCode::FAILURE;
            }
        }
    }
    print!("\n{}", figure::render(&figures));
    if json {
        println!("{}", figure::json(&machine, &figures));
    }
    code
}
