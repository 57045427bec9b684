//! Fuzzing: the targets of `verification/fuzz`, for a while in the `fuzz` suite and for as long as one likes by
//! `verification fuzz --seconds N`.
//!
//! What is found is shown with the input's path, its bytes and the line that runs it again; nothing is written into
//! the repository. The suite mistrusts itself: a planted fault must be found, and a target must reach code beyond
//! that which an empty input reaches, so that a fuzzer that runs nothing does not pass.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::count::Tally;
use crate::suite::{Journal, Workspace};

use fuzzer::Fuzzer;
use verdict::Verdict;

mod fuzzer;
mod verdict;

/// The targets.
const TARGETS: [&str; 7] = ["two_sided", "control", "handshake", "planner", "push_pull", "cqe", "wqe"];

/// The target that has a fault on purpose.
const PLANTED: &str = "planted";

/// Targets that run at the same time: the clock bounds each, so that more at once are done sooner.
const WORKERS: usize = 4;

/// How long the suite fuzzes each target.
const SMOKE: Duration = Duration::from_secs(30);

/// What `verification fuzz` does.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Only this target; may be repeated.
    #[arg(long = "target", value_parser = TARGETS)]
    targets: Vec<String>,
    /// Runs this input once instead, to reproduce what was found; needs one target.
    #[arg(long, requires = "targets")]
    input: Option<PathBuf>,
}

/// Which targets run, and how.
struct Plan {
    targets: Vec<String>,
    time: Duration,
    /// Where the random numbers start; none for another start each time.
    seed: Option<u32>,
    /// Go on from the inputs that earlier runs found, and keep the new ones, in the target folder.
    keep: bool,
}

/// The suite: every target for a short time, from the same start.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let targets = TARGETS.map(str::to_owned).to_vec();
    run(workspace, &Plan { targets, time: SMOKE, seed: Some(1), keep: false }, journal, limit)
}

/// The command: chosen targets for a chosen time, or one input.
pub(crate) fn command(workspace: &Workspace, options: Options) -> ExitCode {
    let mut watch = |line: Option<&str>| line.into_iter().for_each(|line| println!("{line}"));
    let mut journal = Journal::new(&mut watch);
    let Options { seconds, mut targets, input } = options;
    if targets.is_empty() {
        targets = TARGETS.map(str::to_owned).to_vec();
    }
    let time = Duration::from_secs(seconds);
    let limit = Duration::from_secs(600) + time * targets.len() as u32;
    match input {
        Some(input) => {
            if let Some(fuzzer) = Fuzzer::build(workspace, &mut journal, Instant::now() + limit) {
                for target in &targets {
                    fuzzer.reproduce(target, &input, &mut journal);
                }
            }
        }
        None => {
            run(workspace, &Plan { targets, time, seed: None, keep: true }, &mut journal, limit);
        }
    }
    if journal.problem.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(workspace: &Workspace, plan: &Plan, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    let Some(fuzzer) = Fuzzer::build(workspace, journal, deadline) else { return Tally::default() };
    let mut tally = Tally::default();
    let mut count = |problem: Option<String>, journal: &mut Journal<'_>| {
        tally.passed += usize::from(problem.is_none());
        tally.failed += usize::from(problem.is_some());
        problem.into_iter().for_each(|problem| journal.fail(problem));
    };
    count(fuzzer.check_seeds(), journal);
    count(fuzzer.find_planted(), journal);
    for (target, verdict) in in_parallel(&fuzzer, plan, journal) {
        for line in verdict.explain(&target) {
            journal.line(line);
        }
        count(verdict.problem(&target), journal);
    }
    tally
}

/// Fuzzes the plan's targets, some at a time.
fn in_parallel(fuzzer: &Fuzzer, plan: &Plan, journal: &mut Journal<'_>) -> Vec<(String, Verdict)> {
    let next = AtomicUsize::new(0);
    let (sender, verdicts) = channel();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(target) = plan.targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = fuzzer.explore(target, plan);
                    // The receiver lives as long as this scope.
                    let _ = sender.send((target.clone(), verdict));
                }
            });
        }
        drop(sender);
        let mut found = Vec::new();
        for (target, verdict) in verdicts {
            journal.line(format!("{target}: {}", verdict.describe()));
            found.push((target, verdict));
        }
        found
    })
}
