//! Builds the targets with coverage and the address sanitiser, and runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::instrument;
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

use super::verdict::{self, Verdict};
use super::{PLANTED, Plan};

/// Coverage counters for libFuzzer, comparisons that it can learn from, and the address sanitiser.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "--cfg=fuzzing",
];

/// A single input may take this many seconds before it counts as a hang.
const SLOWEST_INPUT: u32 = 20;

/// What a run may take beyond the time that it was asked to fuzz: reading the seeds, looking for leaks.
const OVERHEAD: Duration = Duration::from_secs(60);

/// The built targets.
pub(super) struct Fuzzer {
    /// The package with its seeds.
    package: PathBuf,
    /// Where the programs are.
    programs: PathBuf,
    /// Where inputs are left that fail or that are worth keeping.
    findings: PathBuf,
    deadline: Instant,
}

impl Fuzzer {
    /// Builds all targets; says why in the journal when they do not build.
    pub(super) fn build(workspace: &Workspace, journal: &mut Journal<'_>, deadline: Instant) -> Option<Self> {
        let package = workspace.root.join("verification/fuzz");
        let target = workspace.target.join("fuzz");
        let Some((build, host)) =
            instrument::cargo(&package, &target, &FLAGS, "build").zip(instrument::host())
        else {
            journal.fail("rustc does not say for which platform it compiles");
            return None;
        };
        let build = build.args(["--release", "--locked"]).limit(left(deadline));
        journal.line(format!("$ {}", build.line()));
        match build.run(journal.watch()) {
            Ok(ended) if ended.succeeded() => {}
            Ok(ended) => {
                journal.output(&ended.output);
                journal.fail(format!("the targets do not build: {}", ended.describe()));
                return None;
            }
            Err(error) => {
                journal.fail(format!("cargo does not start: {error}"));
                return None;
            }
        }
        let programs = target.join(host).join("release");
        Some(Self { package, programs, findings: target.join("findings"), deadline })
    }

    /// What is wrong with the committed seeds.
    pub(super) fn check_seeds(&self) -> Option<String> {
        let task = Task::new(self.programs.join("seeds"), &self.package).args(["--check"]);
        match task.limit(left(self.deadline)).run(&mut |_| ()) {
            Ok(ended) if ended.succeeded() => None,
            Ok(ended) => Some(format!("the seeds are not what their generator makes:\n{}", ended.output)),
            Err(error) => Some(format!("the seeds' generator does not start: {error}")),
        }
    }

    /// What is wrong with the fuzzer, which must find the planted fault, and find it again in the input that it left.
    pub(super) fn find_planted(&self) -> Option<String> {
        let plan = Plan { targets: Vec::new(), time: Duration::from_secs(60), seed: Some(1), keep: false };
        let Verdict::Failed { input: Some(input), says, .. } = self.explore(PLANTED, &plan) else {
            return Some("the planted fault was not found: the fuzzer does not explore".to_owned());
        };
        if !says.contains("planted") {
            return Some(format!("something else than the planted fault was found: {says}"));
        }
        let again = self.once(PLANTED, &input);
        let found_again = again.is_some_and(|ended| !ended.succeeded() && ended.output.contains("planted"));
        (!found_again).then(|| format!("{} does not show the planted fault again", input.display()))
    }

    /// Runs one input and shows what it does.
    pub(super) fn reproduce(&self, target: &str, input: &Path, journal: &mut Journal<'_>) {
        let input = fs::canonicalize(input).unwrap_or_else(|_| input.to_owned());
        // Targets that carry actions out print them.
        let task = self.task(target).args([&input]).env("PMD_FUZZ_TRACE", "1").limit(OVERHEAD);
        match task.run(&mut |_| ()).ok() {
            Some(ended) => {
                journal.output(&ended.output);
                ended.output.lines().for_each(|line| println!("{line}"));
                if !ended.succeeded() {
                    journal.fail(format!("{target} fails on {}: {}", input.display(), ended.describe()));
                }
            }
            None => journal.fail(format!("{target} does not start")),
        }
    }

    /// Fuzzes a target from its seeds on.
    pub(super) fn explore(&self, target: &str, plan: &Plan) -> Verdict {
        let (kept, findings) = (self.findings.join(target).join("corpus"), self.findings.join(target));
        if !plan.keep {
            // Left by earlier runs; that there is none is as well.
            let _ = fs::remove_dir_all(&kept);
        }
        if let Err(error) = fs::create_dir_all(&kept) {
            return Verdict::broken(format!("{}: {error}", kept.display()));
        }
        let Some(empty) = self.coverage_of_nothing(target) else {
            return Verdict::broken(format!("{target} does not run on an empty input"));
        };
        let task =
            self.task(target).args([kept.into_os_string(), self.seeds(target).into_os_string()]).args([
                format!("-max_total_time={}", plan.time.as_secs()),
                format!("-timeout={SLOWEST_INPUT}"),
                format!("-seed={}", plan.seed.unwrap_or(0)),
                format!("-artifact_prefix={}/", findings.display()),
                "-print_final_stats=1".to_owned(),
            ]);
        match task.limit((plan.time + OVERHEAD).min(left(self.deadline))).run(&mut |_| ()) {
            Ok(ended) => verdict::read(&ended, empty),
            Err(error) => Verdict::broken(format!("{target} does not start: {error}")),
        }
    }

    /// The code that an empty input reaches: what any more must be measured against.
    fn coverage_of_nothing(&self, target: &str) -> Option<u64> {
        let ended = self.task(target).args(["-runs=0"]).limit(OVERHEAD).run(&mut |_| ()).ok()?;
        verdict::coverage(&ended.output, "INITED")
    }

    fn once(&self, target: &str, input: &Path) -> Option<Ended> {
        self.task(target).args([input]).limit(OVERHEAD).run(&mut |_| ()).ok()
    }

    fn task(&self, target: &str) -> Task {
        Task::new(self.programs.join(target), &self.package)
    }

    fn seeds(&self, target: &str) -> PathBuf {
        self.package.join("seeds").join(target)
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
