//! The verification command: shows that the driver is right, suite by suite.
//!
//! Outside of the product and not published. `catalogue` lists the suites, `install` brings what they need,
//! `runner` runs them, `table` sums up; `style`, `weaken`, `mutants` and `demo` are suites that are code of
//! their own.
//! `softroce` gives a command, or its suite, soft-RoCE devices in a guest, `connectx` a simulated ConnectX, `accelerators`
//! a stand-in for a runtime of accelerators. `simulate` runs the protocols of thousands of nodes. `perf` measures beside other programs, and proves nothing.
//!
//! ```text
//! cargo run --release -p verification -- all
//! cargo run --release -p verification -- list
//! cargo run --release -p verification -- run loom weaken --verbose
//! cargo run --release -p verification -- mutants
//! cargo run --release -p verification -- connectx -- ibv_devinfo -v
//! cargo run --release -p verification -- perf --install
//! cargo run --release -p verification -- simulate -- --nodes 16,2000
//! cargo run --release -p verification -- softroce -- ibv_devinfo -d rxe0
//! cargo run --release -p verification -- accelerators --with cuda -- pmd info
//! ```
//!
//! Exit codes: 0 everything passed and nothing was skipped, 1 a suite failed or was skipped, 2 wrong usage,
//! 3 a package is missing and this user may not install it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};

use count::Tally;
use install::InstallError;
use suite::{Outcome, Report, Suite, Workspace};
use table::Totals;

mod accelerators;
mod capi;
mod catalogue;
mod connectx;
mod connectx_suite;
mod count;
mod demo;
mod examples;
mod foreground;
mod fuzz;
mod hosts;
mod install;
mod instrument;
mod interrupt;
mod mutants;
mod mutation;
mod perf;
mod process;
mod python;
mod runner;
mod sanitise;
mod simulate;
mod softroce;
mod source;
mod style;
mod suite;
mod table;
mod weaken;

/// Wrong usage, as clap gives it.
const USAGE: u8 = 2;
/// Something that was asked for is not on this machine.
const NOT_HERE: u8 = 3;

/// Runs the suites that show that the poll-mode driver is right.
#[derive(Debug, Parser)]
#[command(name = "verification", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Installs what the suites need and runs every suite.
    All(Options),
    /// Lists the suites, what each proves and which packages it needs.
    List,
    /// Installs what these suites need and runs them.
    Run {
        /// Names of suites, as `list` gives them.
        #[arg(required = true)]
        suites: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Plants faults into a copy of the product, and shows that each is caught: the `mutants` suite.
    Mutants(Options),
    /// Fuzzes the targets of the `fuzz` suite for longer, or runs one input again.
    Fuzz(fuzz::Options),
    /// Runs a command with a simulated ConnectX.
    Connectx(connectx::Options),
    /// Runs a command with a stand-in for the runtime of an accelerator.
    Accelerators(accelerators::Options),
    /// Measures this driver beside the programs that it has to beat, and prints the ratios.
    Perf(perf::Options),
    /// Simulates thousands of nodes, and prints how far the design reaches.
    Simulate(simulate::Options),
    /// Runs a command, or the suite's steps, on soft-RoCE devices in a guest.
    Softroce(softroce::Options),
}

#[derive(Debug, Clone, Copy, Args)]
struct Options {
    /// Passes although suites were skipped because packages are missing.
    #[arg(long)]
    allow_missing: bool,
    /// Prints a summary object as the last line.
    #[arg(long)]
    json: bool,
    /// Shows the output of suites that pass as well.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    if let Err(error) = interrupt::install() {
        eprintln!("an interrupt will leave commands running: {error}");
    }
    let action = Command::parse().action;
    // All suites are for a clone that is built once; one of them is for somebody at work.
    let incremental = !matches!(action, Action::All(_));
    let workspace = Workspace { incremental, ..Workspace::of_this_command() };
    let suites = catalogue::suites(&workspace);
    match action {
        Action::List => list(&suites),
        Action::Accelerators(options) => accelerators::command(&workspace, &options),
        Action::Connectx(options) => connectx::command(&workspace, &options),
        Action::Fuzz(options) => fuzz::command(&workspace, options),
        Action::Perf(options) => perf::command(&workspace, &options),
        Action::Simulate(options) => simulate::command(&workspace, &options),
        Action::Softroce(options) => {
            let suites: Vec<Suite> = suites.into_iter().filter(|suite| suite.name == "softroce").collect();
            if let Err(error) = prepare(&suites) {
                eprintln!("{error}");
                return ExitCode::from(NOT_HERE);
            }
            softroce::command(&workspace, &options)
        }
        Action::All(options) => run(&suites, &workspace, options),
        Action::Mutants(options) => {
            let suites: Vec<Suite> = suites.into_iter().filter(|suite| suite.name == "mutants").collect();
            run(&suites, &workspace, options)
        }
        Action::Run { suites: names, options } => match select(suites, &names) {
            Ok(selected) => run(&selected, &workspace, options),
            Err(unknown) => {
                eprintln!("no suite is called {unknown}; `list` names them");
                ExitCode::from(USAGE)
            }
        },
    }
}

fn list(suites: &[Suite]) -> ExitCode {
    for suite in suites {
        let needs = if suite.packages.is_empty() {
            String::new()
        } else {
            format!(" (needs {})", suite.packages.join(", "))
        };
        println!("{:<12} {}{needs}", suite.name, suite.proves);
    }
    ExitCode::SUCCESS
}

/// The suites of these names, in the catalogue's order; the first name that there is not, else.
fn select(suites: Vec<Suite>, names: &[String]) -> Result<Vec<Suite>, String> {
    if let Some(unknown) = names.iter().find(|name| suites.iter().all(|suite| suite.name != name.as_str())) {
        return Err(unknown.clone());
    }
    Ok(suites.into_iter().filter(|suite| names.iter().any(|name| name == suite.name)).collect())
}

fn run(suites: &[Suite], workspace: &Workspace, options: Options) -> ExitCode {
    if let Err(error) = prepare(suites) {
        eprintln!("{error}");
        if matches!(error, InstallError::NotRoot { .. }) && !options.allow_missing {
            return ExitCode::from(NOT_HERE);
        }
    }
    let missing = install::missing(suites);
    let start = Instant::now();
    let reports = runner::run_all(suites, |suite| {
        let lacks: Vec<&str> =
            suite.packages.iter().copied().filter(|package| missing.contains(package)).collect();
        if lacks.is_empty() { runner::run(suite, workspace, options.verbose) } else { skip(suite, &lacks) }
    });
    let elapsed = start.elapsed();
    print!("\n{}", table::render(&reports, elapsed));
    if options.json {
        println!("{}", table::json(&reports, elapsed));
    }
    if is_good(Totals::of(&reports), options.allow_missing) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Installs what is missing.
fn prepare(suites: &[Suite]) -> Result<(), InstallError> {
    let missing = install::missing(suites);
    if missing.is_empty() { Ok(()) } else { install::install(&missing) }
}

fn skip(suite: &Suite, lacks: &[&str]) -> Report {
    let reason = format!("not installed: {}", lacks.join(" "));
    println!("{}: skipped, {reason}", suite.name);
    Report {
        name: suite.name,
        tally: Tally::default(),
        time: Duration::ZERO,
        outcome: Outcome::Skipped { reason },
    }
}

/// Good is: something passed, nothing failed, and nothing was skipped unless that is allowed.
fn is_good(totals: Totals, allow_missing: bool) -> bool {
    totals.passed > 0 && totals.failed == 0 && (totals.skipped == 0 || allow_missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Suite> {
        catalogue::suites(&Workspace { root: "/w".into(), target: "/w/target".into(), incremental: true })
    }

    #[test]
    fn suites_are_selected_by_name_in_their_order() {
        let names = ["loom", "format"].map(str::to_owned);
        let selected: Vec<&str> =
            select(all(), &names).expect("known").iter().map(|suite| suite.name).collect();
        assert_eq!(selected, ["format", "loom"]);
    }

    #[test]
    fn an_unknown_suite_is_named() {
        assert_eq!(select(all(), &["lom".to_owned()]).err(), Some("lom".to_owned()));
    }

    #[test]
    fn skipping_is_good_only_when_allowed() {
        let totals = |passed, failed, skipped| Totals { passed, failed, skipped };
        assert!(is_good(totals(3, 0, 0), false));
        assert!(!is_good(totals(3, 0, 1), false));
        assert!(is_good(totals(3, 0, 1), true));
        assert!(!is_good(totals(3, 1, 0), true));
        assert!(!is_good(totals(0, 0, 0), true));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Command::command().debug_assert();
        assert!(Command::try_parse_from(["verification", "run"]).is_err());
        assert!(Command::try_parse_from(["verification", "all", "--allow-missing", "--json"]).is_ok());
    }
}
