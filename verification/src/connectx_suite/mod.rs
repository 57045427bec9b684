//! What runs on the simulated ConnectX: Debian's verbs programs and perftest, this driver, and mishaps.
//!
//! ```text
//! plan (programs and what to expect) ─┐
//! ours, accelerated (this driver's)  ─┼─→ check ─→ connectx::Simulated (one for each way to start the device)
//! mishaps (what must end cleanly)    ─┘                    │
//!                                      pair (server, client) ─→ expect (their output)
//! ```
//! Called by the suite `connectx`.

use std::time::{Duration, Instant};

use crate::connectx::Simulated;
use crate::count::Tally;
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

use expect::Unexpected;
use plan::{Bench, Case};

mod accelerated;
mod expect;
mod mishaps;
mod ours;
mod pair;
mod plan;

/// Debian's libraries and programs.
pub(crate) const PACKAGES: &[&str] =
    &["libibverbs1", "ibverbs-providers", "librdmacm1", "ibverbs-utils", "perftest"];

/// Runs everything, and asks for broken rules at the end of each device.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let mut run = Run { workspace, journal, deadline: Instant::now() + limit, tally: Tally::default() };
    let cases = plan::cases();
    for cases in cases.chunk_by(|one, next| one.bench == next.bench) {
        run.on_a_device(cases[0].bench, |run, device| cases.iter().for_each(|case| run.case(device, case)));
    }
    ours::check(&mut run);
    ours::examples(&mut run);
    accelerated::check(&mut run);
    mishaps::check(&mut run);
    run.tally
}

/// Why a case failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// A side could not be run.
    #[error("does not start: {0}")]
    Start(#[from] std::io::Error),
    /// The server ended before it listened.
    #[error("the server did not listen")]
    NoServer,
    /// A side failed.
    #[error("{side}: {how}")]
    Ended {
        /// Which.
        side: &'static str,
        /// How it ended.
        how: String,
    },
    /// A side ended well, and wrote something else.
    #[error("{side}: {what}")]
    Output {
        /// Which.
        side: &'static str,
        /// What is wrong.
        what: Unexpected,
    },
    /// What the device counted is not what must have happened.
    #[error("{0}")]
    Counters(String),
}

/// The suite while it runs.
struct Run<'a, 'b> {
    workspace: &'a Workspace,
    journal: &'a mut Journal<'b>,
    deadline: Instant,
    tally: Tally,
}

impl Run<'_, '_> {
    /// Starts a device, works on it, and looks at what it counted.
    fn on_a_device(&mut self, bench: Bench, work: impl FnOnce(&mut Self, &Simulated)) {
        let device = match Simulated::new(self.workspace, &bench.settings(), self.journal.watch()) {
            Ok(device) => device,
            Err(error) => {
                return self.result(&format!("device ({bench})"), Err(Failure::Counters(error.to_string())));
            }
        };
        work(self, &device);
        let violations = device.counters().map(|counters| (counters.violations, counters.work_requests > 0));
        let outcome = match violations {
            Ok((0, true)) => Ok(()),
            Ok((0, false)) => Err(Failure::Counters("no work request was executed".to_owned())),
            Ok((violations, _)) => Err(Failure::Counters(format!("{violations} rules were broken"))),
            Err(error) => Err(Failure::Counters(error.to_string())),
        };
        self.result(&format!("every rule is kept ({bench})"), outcome);
    }

    fn case(&mut self, device: &Simulated, case: &Case) {
        let limit = case.limit.min(self.deadline.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        let outcome = if case.is_pair {
            self.pair(device, case, limit)
        } else {
            let task = self.task(device, &case.command, &[]).limit(limit);
            let watch = &mut |_: Option<&str>| {};
            task.run(watch).map_err(Failure::from).and_then(|ended| self.judge("program", &ended, case, true))
        };
        let name = format!("{} [{:.1} s]", case.name(), start.elapsed().as_secs_f64());
        self.result(&name, outcome);
    }

    fn pair(&mut self, device: &Simulated, case: &Case, limit: Duration) -> Result<(), Failure> {
        let port = pair::free_port()?;
        let server = self.task(device, &case.command, &["-p", &port.to_string()]);
        let client = self.task(device, &case.command, &["-p", &port.to_string(), "localhost"]);
        let ended = pair::run(server, &client, port, limit)?;
        let client = match &ended.client {
            Some(client) => self.judge("client", client, case, true),
            None => Err(Failure::NoServer),
        };
        client.and(self.judge("server", &ended.server, case, case.both_report))
    }

    /// A command of words without spaces.
    fn task(&self, device: &Simulated, command: &str, more: &[&str]) -> Task {
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default();
        on(device, Task::new(program, &self.workspace.root).args(words).args(more.iter().copied()))
    }

    fn judge(
        &mut self,
        side: &'static str,
        ended: &Ended,
        case: &Case,
        reports: bool,
    ) -> Result<(), Failure> {
        let outcome = if !ended.succeeded() {
            Err(Failure::Ended { side, how: ended.describe() })
        } else if reports {
            case.expect.check(&ended.output).map_err(|what| Failure::Output { side, what })
        } else {
            Ok(())
        };
        if outcome.is_err() {
            self.journal.line(format!("{side} of {}:", case.name()));
            ended.output.lines().for_each(|line| self.journal.line(line));
        }
        outcome
    }

    /// Counts a result.
    fn result(&mut self, name: &str, outcome: Result<(), Failure>) {
        self.tally +=
            Tally { passed: usize::from(outcome.is_ok()), failed: usize::from(outcome.is_err()), ignored: 0 };
        match outcome {
            Ok(()) => self.journal.line(format!("ok      {name}")),
            Err(failure) => self.journal.fail(format!("FAILED  {name}: {failure}")),
        }
    }
}

/// A command that has the device.
fn on(device: &Simulated, task: Task) -> Task {
    device.environment().into_iter().fold(task, |task, (name, value)| task.env(name, value))
}
