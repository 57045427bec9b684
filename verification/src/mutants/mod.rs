//! Shows that the checks look where it matters: plants a named fault and expects the named check to fail.
//!
//! Run by the `mutants` suite and by `verification mutants`. `list` holds the faults: reordered and forgotten steps, wrong
//! bytes, lost credits, copies after the end. [`mutation`](crate::mutation) builds all of them into one copy, `edit` finds
//! their places. A fault whose text is not in the source any more, that its check does not notice, or whose check fails
//! without it, fails the suite. Orderings and barriers are not here: `weaken` finds and tries those by itself.

mod edit;
mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::catalogue::{loom_cargo, on_connectx};
use crate::count::Tally;
use crate::mutation::plant::Fault;
use crate::mutation::sandbox::{Built, Sandbox};
use crate::mutation::verdict::{self, Verdict};
use crate::mutation::{left, patience, tabulate, try_all};
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

use edit::Edit;

/// A fault, and what has to notice it.
struct Mutant {
    /// What is wrong.
    name: &'static str,
    /// Where, all at once.
    edits: &'static [Edit],
    /// The check that must fail.
    check: Check,
}

/// A test of one binary, by its full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Check {
    /// A loom model of pmd-core.
    Model(&'static str),
    /// A test of a target, named as [`Built::Binaries`] does.
    Test(&'static str, &'static str),
    /// The same, of a test that would wait for ever, or for longer than a suite can: it is ended, which counts as caught.
    Hangs(&'static str, &'static str),
    /// A case of the conformance suite on the soft HCA.
    Conformance(&'static str),
    /// The same, on memory that only an accelerator's streams may touch: who does is ended by the signal for it, which
    /// counts as caught.
    Touches(&'static str),
    /// A case of the conformance suite on the simulated ConnectX, whose lint must say this.
    OnConnectx(&'static str, &'static str),
}

impl Check {
    fn test(&self) -> &'static str {
        match self {
            Self::Model(test) | Self::Test(_, test) | Self::Hangs(_, test) => test,
            Self::Conformance(case) | Self::Touches(case) | Self::OnConnectx(case, _) => case,
        }
    }

    /// The binary that has it, among those of both builds.
    fn binary(&self) -> String {
        match self {
            Self::Model(_) => MODELS.to_owned(),
            Self::Test(target, _) | Self::Hangs(target, _) => (*target).to_owned(),
            Self::Conformance(_) | Self::Touches(_) | Self::OnConnectx(..) => CONFORMANCE.to_owned(),
        }
    }

    /// The command that runs it.
    fn task(&self, workspace: &Workspace, binary: &Path) -> Task {
        let task = match self {
            Self::OnConnectx(..) => on_connectx(workspace, &["--quiet"]).args([binary]),
            _ => Task::new(binary, &workspace.root),
        };
        match self {
            Self::Model(test) | Self::Test(_, test) | Self::Hangs(_, test) => {
                task.args([test, "--exact", "--nocapture", "--test-threads=1"])
            }
            Self::Conformance(case) | Self::Touches(case) => task.args(["--bed", "soft", case]).args(BRIEFLY),
            Self::OnConnectx(case, _) => {
                task.args(["--bed", "mlx5", "--device", "mlx5_0", case]).args(BRIEFLY)
            }
        }
    }

    /// How long it may take with a fault, having taken `unchanged` without.
    fn patience(&self, unchanged: Duration, deadline: Instant) -> Duration {
        /// A test that does not hang would have ended by then.
        const HANGS: Duration = Duration::from_secs(5);
        match self {
            Self::Hangs(..) => (3 * unchanged).max(HANGS).min(left(deadline)),
            _ => patience(unchanged, deadline),
        }
    }
}

/// The longest that a check may take with nothing switched on.
const LONGEST: Duration = Duration::from_secs(60);

/// How the conformance suite runs one case.
const BRIEFLY: [&str; 5] = ["--exact", "--effort", "quick", "--patience", "2"];

/// The conformance suite's program.
const CONFORMANCE: &str = "conformance/conformance";

/// The loom build's binary, beside those that are named after their targets.
const MODELS: &str = "loom";

/// What is planted in each file.
type Faults = BTreeMap<PathBuf, Vec<Fault>>;

/// Test binaries by name.
type Binaries = BTreeMap<String, PathBuf>;

/// How long each check takes with nothing switched on.
type Times = BTreeMap<Check, Duration>;

/// Plants every fault of the list and counts those that are caught by the check that the list names.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    try_list(&list::all(), workspace, journal, deadline).unwrap_or_else(|error| {
        journal.fail(format!("the product cannot be copied or built: {error}"));
        Tally::default()
    })
}

fn try_list(
    mutants: &[&Mutant],
    workspace: &Workspace,
    journal: &mut Journal<'_>,
    deadline: Instant,
) -> io::Result<Tally> {
    let faults = match faults(mutants, &workspace.root.join("pmd-core"))? {
        Ok(faults) => faults,
        Err(stale) => {
            stale.iter().for_each(|stale| journal.fail(stale));
            return Ok(Tally { failed: stale.len(), ..Tally::default() });
        }
    };
    journal.line(format!("{} faults; building all of them", mutants.len()));
    let folder = tempfile::tempdir()?;
    let sandbox =
        Sandbox::new(workspace, folder.path(), "pmd-core-mutated", &["", "sys", "host", "conformance"])?;
    sandbox.add(workspace, "verification/conformance", "conformance")?;
    sandbox.plant(&faults)?;
    let Some(binaries) = build(&sandbox, mutants, journal, deadline)? else { return Ok(Tally::default()) };
    let Some(times) = unchanged(workspace, &sandbox, &binaries, mutants, journal, deadline)? else {
        return Ok(Tally::default());
    };
    let attempt = |index: usize| {
        try_one(workspace, &sandbox, &binaries, mutants[index], index + 1, &times, deadline)
            .unwrap_or_else(|error| Verdict::Broken { why: error.to_string() })
    };
    let verdicts = try_all(mutants.len(), deadline, attempt, |index, verdict| {
        (journal.watch())(Some(&format!("{}: {}", mutants[index].name, verdict.describe())));
    });
    Ok(tabulate(&verdicts, |index| mutants[index].name.to_owned(), journal))
}

/// The faults by file, numbered from 1 in the order of the list; or every edit whose place is not found.
fn faults(mutants: &[&Mutant], folder: &Path) -> io::Result<Result<Faults, Vec<String>>> {
    let mut faults = Faults::new();
    let mut stale = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        for edit in mutant.edits {
            let source = fs::read_to_string(folder.join(edit.file))?;
            match edit.place(&source) {
                Ok(range) => {
                    let replacement = edit.with.to_owned();
                    let fault = Fault { number: index + 1, range, replacement };
                    faults.entry(edit.file.into()).or_default().push(fault);
                }
                Err(reason) => stale.push(format!("stale mutant: {}: {}: {reason}", mutant.name, edit.file)),
            }
        }
    }
    Ok(if stale.is_empty() { Ok(faults) } else { Err(stale) })
}

/// Builds the models and the test targets that the list names.
fn build(
    sandbox: &Sandbox,
    mutants: &[&Mutant],
    journal: &mut Journal<'_>,
    deadline: Instant,
) -> io::Result<Option<Binaries>> {
    let mut binaries = Binaries::new();
    let models = sandbox.build(loom_cargo(sandbox.workspace()).args(["--no-run"]), left(deadline))?;
    let tests = sandbox.build(cargo(sandbox.workspace(), mutants), left(deadline))?;
    let conformance = sandbox.workspace().cargo().args(["build", "-p", "conformance"]);
    let conformance = sandbox.build(conformance, left(deadline))?;
    for (built, is_loom) in [(models, true), (tests, false), (conformance, false)] {
        match built {
            Built::Binaries(found) if is_loom => {
                binaries.extend(found.into_values().map(|path| (MODELS.to_owned(), path)));
            }
            Built::Binaries(found) => binaries.extend(found),
            Built::Broken(why) => {
                journal.fail(format!("the faults do not build: {why}"));
                return Ok(None);
            }
        }
    }
    Ok(Some(binaries))
}

/// `cargo test` of just the targets that the list names, in the profile of the `unit` suite, which shares what both
/// build of other crates.
fn cargo(workspace: &Workspace, mutants: &[&Mutant]) -> Task {
    let mut files = BTreeSet::new();
    for mutant in mutants {
        if let Check::Test(target, _) | Check::Hangs(target, _) = mutant.check {
            files.extend(target.split_once('/').map(|(_, file)| file));
        }
    }
    let files = files.into_iter().flat_map(|file| ["--test", file]);
    workspace.cargo().args(["test", "--no-run", "-p", "pmd-core", "-p", "pmd-host", "--lib"]).args(files)
}

/// Runs every check with nothing switched on: one that fails as it is cannot show anything.
fn unchanged(
    workspace: &Workspace,
    sandbox: &Sandbox,
    binaries: &Binaries,
    mutants: &[&Mutant],
    journal: &mut Journal<'_>,
    deadline: Instant,
) -> io::Result<Option<Times>> {
    let checks: BTreeSet<Check> = mutants.iter().map(|mutant| mutant.check).collect();
    let mut times = Times::new();
    for check in checks {
        let Some(binary) = binaries.get(&check.binary()) else {
            journal.fail(format!("no test target {} was built", check.binary()));
            return Ok(None);
        };
        let start = Instant::now();
        let task = check.task(workspace, binary);
        let ended = sandbox.run_task(task, 0, left(deadline).min(LONGEST))?;
        times.insert(check, start.elapsed());
        if !ended.succeeded() || !ended.output.contains("1 passed") {
            journal.output(&ended.output);
            let how = if ended.succeeded() { "there is no such test".to_owned() } else { ended.describe() };
            journal.fail(format!("{}, {} with nothing switched on: {how}", check.binary(), check.test()));
            return Ok(None);
        }
    }
    Ok(Some(times))
}

/// Runs the check of a fault with the fault switched on.
fn try_one(
    workspace: &Workspace,
    sandbox: &Sandbox,
    binaries: &Binaries,
    mutant: &Mutant,
    number: usize,
    times: &Times,
    deadline: Instant,
) -> io::Result<Verdict> {
    let (Some(binary), Some(time)) = (binaries.get(&mutant.check.binary()), times.get(&mutant.check)) else {
        return Ok(Verdict::NotTried);
    };
    let patience = mutant.check.patience(*time, deadline);
    let task = mutant.check.task(workspace, binary);
    let ended = sandbox.run_task(task, number, patience)?;
    Ok(match (verdict::read(mutant.check.test(), &ended), mutant.check) {
        (_, Check::OnConnectx(case, rule)) if ended.output.contains(rule) => {
            Verdict::Caught { check: case.to_owned(), says: format!("the lint: {rule}") }
        }
        (Some(Verdict::Caught { check, says }), Check::OnConnectx(..)) => {
            Verdict::Crashed { how: format!("{check} failed and the lint did not: {says}") }
        }
        (Some(Verdict::Crashed { .. }), Check::Touches(case)) if was_forbidden(&ended) => {
            Verdict::Caught { check: case.to_owned(), says: "ended by SIGSEGV".to_owned() }
        }
        (Some(Verdict::Hung { check }), Check::Hangs(..)) => {
            Verdict::Caught { check, says: format!("hangs, ended after {} s", patience.as_secs()) }
        }
        (verdict, _) => verdict.unwrap_or(Verdict::Survived),
    })
}

/// Whether the kernel ended it for what it touched.
fn was_forbidden(ended: &Ended) -> bool {
    ended.status.and_then(|status| status.signal()) == Some(Signal::SIGSEGV as i32)
}

#[cfg(test)]
mod tests;
