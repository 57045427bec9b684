//! `verification perf`: this driver beside the programs it has to beat, in one run on the same cores, as one table.
//!
//! ```text
//!  rows      what is compared: our command, the peer's, which figure of each, the goal
//!  program   runs one command, a server beside it where it needs one, and reads its figure
//!  copy      the peers that are no program: memcpy loops over the same bytes and the same permutation
//!  cost      posting and polling beside libmlx5 on the simulated ConnectX: instructions and time
//!  nixl      the plugin beside UCX in NIXL's own agent: a comparison of its own, which reads both at once
//!  table     ratios, text and JSON            report    the same and curves by size, as a page
//!  trials    `--trials`: what the machine gives by itself, way by way
//! ```
//! Ours and the peer's run in turns, round after round, so that both meet the same machine; a row's figure is the median
//! of its rounds. Figures are reported and decide nothing: exit code 1 is for a transfer that failed or did not verify,
//! 3 for a peer that is not on this machine (`--install` brings it).

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{install, suite::Workspace};

mod copy;
mod cost;
mod machine;
mod nixl;
mod program;
mod report;
mod rows;
mod table;
#[cfg(test)]
mod tests;
mod trials;

use machine::Machine;
use program::ProgramError;
use rows::Row;
use table::Measured;

/// Options of the command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Installs the peers that are missing: apt for UCX, iperf3, libmlx5 and valgrind, pip for NIXL.
    #[arg(long)]
    install: bool,
    /// Measures the machine instead, in the ways between which the driver had to choose; of the others only `--only` and
    /// `--json` matter then.
    #[arg(long, conflicts_with_all = ["install", "rounds", "report"])]
    trials: bool,
    /// Turns of ours and the peer's.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only rows whose name contains this; several are a list with commas.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Passes although peers are missing.
    #[arg(long)]
    allow_missing: bool,
    /// Prints one object as the last line.
    #[arg(long)]
    json: bool,
    /// Writes a page with the table and the curves.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Measures, prints, and says by the exit code whether everything ran.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> ExitCode {
    if options.trials {
        return trials::command(&options.only, options.json);
    }
    match run(workspace, options) {
        Ok(measured) => verdict(&measured, options.allow_missing),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(workspace: &Workspace, options: &Options) -> Result<Vec<Measured>, ProgramError> {
    let rows: Vec<Row> = rows::all().into_iter().filter(|row| is_wanted(row.name, &options.only)).collect();
    if options.install {
        prepare(&rows)?;
    }
    program::build(workspace)?;
    let machine = Machine::here();
    println!("{machine}");
    let mut measured: Vec<Measured> =
        rows.iter().map(|row| measure(workspace, row, options.rounds)).collect();
    if is_wanted(cost::NAME, &options.only) {
        measured.extend(cost::measure(workspace, options.install));
    }
    if is_wanted(nixl::NAME, &options.only) {
        measured.extend(nixl::measure(workspace, options.install));
    }
    print!("\n{}", table::render(&measured));
    if let Some(file) = &options.report {
        let curves = report::Curves::measure(workspace);
        let page = report::page(&machine, &measured, &curves);
        page.write(file).map_err(|error| ProgramError::Report { file: file.clone(), error })?;
        println!("written: {}", file.display());
    }
    if options.json {
        println!("{}", table::json(&machine, options.rounds, &measured));
    }
    Ok(measured)
}

fn is_wanted(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

/// Installs the packages of these rows' peers.
fn prepare(rows: &[Row]) -> Result<(), ProgramError> {
    let needed = rows.iter().filter_map(|row| row.peer.package()).collect();
    let missing = install::missing_of(needed);
    if missing.is_empty() { Ok(()) } else { Ok(install::install(&missing)?) }
}

/// Rounds of one row, ours first in the even ones.
fn measure(workspace: &Workspace, row: &Row, rounds: u32) -> Measured {
    println!("{}: {} against {}", row.name, row.ours.line(), row.peer.line());
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for our_turn in [round % 2 == 0, round % 2 != 0] {
            let figure = if our_turn { row.ours.figure(workspace) } else { row.peer.figure(workspace) };
            match figure {
                Ok(figure) if our_turn => ours.push(figure),
                Ok(figure) => peer.push(figure),
                Err(error) => return Measured::failed(row, error),
            }
        }
    }
    Measured::new(row, &ours, &peer)
}

/// Good is: every row has its figures.
fn verdict(measured: &[Measured], allow_missing: bool) -> ExitCode {
    let errors = || measured.iter().filter_map(|row| row.error.as_ref());
    if measured.is_empty() || errors().any(|error| !error.is_missing()) {
        return ExitCode::FAILURE;
    }
    match errors().next() {
        Some(error) if !allow_missing => ExitCode::from(error.exit_code()),
        _ => ExitCode::SUCCESS,
    }
}
