//! Runs suites, two at a time, and says what happens while it happens. Called by `main`.
//!
//! [`order`] says which suite comes next; here it is run.

use std::time::{Duration, Instant};

use crate::count::Tally;
use crate::suite::{Journal, Outcome, Report, Step, Suite, Work, Workspace};

pub(crate) use order::run_all;

mod order;
#[cfg(test)]
mod tests;

/// A suite that runs for long says every so often that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Runs one suite; prints its start, its end, and its output if it fails or `verbose` asks for it.
pub(crate) fn run(suite: &Suite, workspace: &Workspace, verbose: bool) -> Report {
    println!("{}: started ({})", suite.name, suite.proves);
    let start = Instant::now();
    let mut progress = Progress::new(suite.name, verbose);
    let mut watch = |line: Option<&str>| progress.hear(line);
    let mut journal = Journal::new(&mut watch);
    let tally = match &suite.work {
        Work::Commands(steps) => commands(steps, workspace, &mut journal, suite.limit),
        Work::Own(check) => check(workspace, &mut journal, suite.limit),
    };
    let outcome = match (journal.problem.take(), journal.missing.take()) {
        (None, Some(reason)) => Outcome::Skipped { reason },
        (problem, _) => judge(tally, problem),
    };
    if let (Outcome::Failed { reason }, false) = (&outcome, verbose) {
        // The reason first: of a long log often only a part is kept.
        print!("{}: FAILED: {reason}; it wrote:\n{}", suite.name, journal.text);
    }
    let report = Report { name: suite.name, tally, time: start.elapsed(), outcome };
    println!(
        "{}: {} after {:.1} s{}",
        report.name,
        report.outcome.word(),
        report.time.as_secs_f64(),
        why(&report)
    );
    report
}

fn why(report: &Report) -> String {
    match &report.outcome {
        Outcome::Passed => format!(", {} tests", report.tally.passed),
        Outcome::Failed { reason } | Outcome::Skipped { reason } => format!(": {reason}"),
    }
}

/// A suite passes when nothing went wrong and something ran.
fn judge(tally: Tally, problem: Option<String>) -> Outcome {
    let reason = match problem {
        Some(reason) => reason,
        None if tally.failed > 0 => format!("{} tests failed", tally.failed),
        None if tally.passed == 0 => "no test ran".to_owned(),
        None => return Outcome::Passed,
    };
    Outcome::Failed { reason }
}

/// Runs the commands in order within one bound on time, until one fails.
fn commands(steps: &[Step], workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    let mut tally = Tally::default();
    for Step { task, count } in steps {
        journal.line(format!("$ {}", task.line()));
        let left = deadline.saturating_duration_since(Instant::now());
        let ended = match task.clone().limit(left).run(journal.watch()) {
            Ok(ended) => ended,
            Err(error) => {
                journal.fail(format!("{} does not start: {error}", task.line()));
                return tally;
            }
        };
        journal.output(&ended.output);
        tally += count.of(&ended, &workspace.root);
        if ended.status.is_none() {
            journal.fail(format!("timed out after {} s: {}", limit.as_secs(), task.line()));
            return tally;
        }
        if !ended.succeeded() {
            journal.fail(format!("{}: {}", ended.describe(), task.line()));
            return tally;
        }
    }
    tally
}

/// Shows a running suite: every line when asked to, else a sign of life now and then.
struct Progress {
    name: &'static str,
    verbose: bool,
    start: Instant,
    spoken: Instant,
    last: String,
}

impl Progress {
    fn new(name: &'static str, verbose: bool) -> Self {
        let now = Instant::now();
        Self { name, verbose, start: now, spoken: now, last: String::new() }
    }

    fn hear(&mut self, line: Option<&str>) {
        if let Some(line) = line {
            if self.verbose {
                println!("{}| {line}", self.name);
                self.spoken = Instant::now();
            }
            // Cargo's messages for programs say nothing to a reader.
            if !line.trim().is_empty() && !line.starts_with('{') {
                line.trim().clone_into(&mut self.last);
            }
        }
        if self.spoken.elapsed() >= SIGN_OF_LIFE {
            self.spoken = Instant::now();
            let last: String = self.last.chars().take(100).collect();
            println!("{}: running for {} s: {last}", self.name, self.start.elapsed().as_secs());
        }
    }
}
