//! The rings and the soft HCA under the thread and the address sanitiser. Run by the suites `tsan` and `asan`.
//!
//! Each suite first lets its sanitiser find faults that are planted inside of pmd-core (`tests/sanitiser_planted.rs`):
//! one that reports nothing there proves nothing elsewhere.
//!
//! # What is not seen
//! The toolchain's standard library is not instrumented, and its source, to build one that is, does not come with the
//! toolchain. So the address sanitiser sees the heap and this code's accesses, but not those of std's own code; and the
//! thread sanitiser would miss the edges that lie inside of std, so that what crosses them looks like a race. Those of
//! `Mutex`, `RwLock`, `Condvar`, `OnceLock` and scopes of threads, where they wait, it is told ([`edges`]; pmd-core's
//! `tests/sanitiser_edges.rs` has each of them wait). The last drop of an `Arc` is ordered by a fence, and channels park
//! threads: reports that go through their code are suppressed by name ([`THREAD_SUPPRESSIONS`]).
//!
//! The thread sanitiser knows memory by its address. Two devices of one process map their link and each other's
//! segment twice, so what one thread releases at one address another acquires at the other, and no edge is seen:
//! tests in which a thread reads bytes that only such an edge hands over are left out ([`NOT_FOR_THREADS`]). The rings
//! themselves are tested by threads at one address, in pmd-core. Fences are no edges for it either; the rings' tests
//! do not rest on fences alone, and loom checks them.
//!
//! Code in other processes is under the sanitiser of its own process. What the kernel copies is not seen.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::count::{Count, Tally};
use crate::instrument;
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

mod edges;
#[cfg(test)]
mod tests;

/// Functions of std whose edges the thread sanitiser does not see. The last is the test harness's own: it drops its share of a
/// test's closure after the thread that has taken the closure out, where that thread was fast. The thread's own functions have
/// longer names.
const THREAD_SUPPRESSIONS: &str =
    "race:<alloc::sync::Arc<\nrace:std::sync::mpmc\nrace:std::sync::mpsc\nrace:^test::run_test$\n";

/// Left out under the thread sanitiser: tests that share transferred bytes between threads by memory that is mapped at two
/// addresses, and the long ones that have one thread.
const NOT_FOR_THREADS: [&str; 4] = [
    "a_message_comes_after_the_writes_before_it",
    "nothing_is_written_after_the_flush",
    "packet::tests::hostile::",
    "packet::tests::property::",
];

/// Left out under the address sanitiser: worlds of rails, simulated by safe code alone.
const NOT_FOR_ADDRESSES: [&str; 1] = ["rail::tests::world::"];

/// Tests beside pmd-host whose names begin so are the soft HCA's.
const SOFT_TEST: &str = "soft_";

/// One sanitiser: how to compile for it, and what to run.
struct Sanitiser {
    /// Name of the suite and of its target folder.
    name: &'static str,
    flags: &'static [&'static str],
    /// Whether it is told of the edges inside of std.
    edges: bool,
    /// Variable with its options.
    options: &'static str,
    /// What it is not to report; none for nothing.
    suppressions: &'static str,
    /// Tests that must not pass, and what the sanitiser says about each.
    planted: &'static [(&'static str, &'static str)],
    /// Names of pmd-host's unit tests begin so; none for all of them.
    host_filter: Option<&'static str>,
    /// Tests that are left out.
    skipped: &'static [&'static str],
    /// Tests run one after the other: what they share by chance (what proptest makes once for all tests, in a lock of
    /// std) is handed on without an edge that the sanitiser sees.
    one_by_one: bool,
}

const THREAD: Sanitiser = Sanitiser {
    name: "tsan",
    flags: &["-Zsanitizer=thread", "-Cunsafe-allow-abi-mismatch=sanitizer"],
    edges: true,
    options: "TSAN_OPTIONS",
    suppressions: THREAD_SUPPRESSIONS,
    planted: &[("two_producers_of_one_ring_race", "ThreadSanitizer: data race")],
    host_filter: Some("soft::"),
    skipped: &NOT_FOR_THREADS,
    one_by_one: true,
};

const ADDRESS: Sanitiser = Sanitiser {
    name: "asan",
    flags: &["-Zsanitizer=address"],
    edges: false,
    options: "ASAN_OPTIONS",
    suppressions: "",
    planted: &[
        ("a_ring_that_is_longer_than_its_memory_overflows", "AddressSanitizer: heap-buffer-overflow"),
        ("a_ring_that_is_forgotten_leaks", "LeakSanitizer: detected memory leaks"),
    ],
    host_filter: None,
    skipped: &NOT_FOR_ADDRESSES,
    one_by_one: false,
};

/// The `tsan` suite.
pub(crate) fn threads(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    check(&THREAD, workspace, journal, limit)
}

/// The `asan` suite.
pub(crate) fn addresses(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    check(&ADDRESS, workspace, journal, limit)
}

fn check(sanitiser: &Sanitiser, workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    match Bench::new(sanitiser, workspace) {
        Ok(bench) => bench.run(journal, deadline),
        Err(problem) => {
            journal.fail(problem);
            Tally::default()
        }
    }
}

/// A sanitiser at work.
struct Bench<'a> {
    sanitiser: &'a Sanitiser,
    root: PathBuf,
    target: PathBuf,
    flags: Vec<String>,
    suppressions: PathBuf,
    /// Names of the soft HCA's tests beside pmd-host.
    soft_tests: Vec<String>,
}

impl<'a> Bench<'a> {
    fn new(sanitiser: &'a Sanitiser, workspace: &Workspace) -> Result<Self, String> {
        let target = workspace.target.join(sanitiser.name);
        let suppressions = target.join("suppressions");
        fs::create_dir_all(&target)
            .and_then(|()| fs::write(&suppressions, sanitiser.suppressions))
            .map_err(|error| format!("{}: {error}", suppressions.display()))?;
        let own = sanitiser.flags.iter().map(ToString::to_string);
        let edges = if sanitiser.edges { edges::flags(&target)? } else { Vec::new() };
        let flags = own.chain(edges).collect();
        let root = workspace.root.clone();
        let folder = root.join("pmd-core/host/tests");
        let soft_tests = soft_tests(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { sanitiser, root, target, flags, suppressions, soft_tests })
    }

    fn run(&self, journal: &mut Journal<'_>, deadline: Instant) -> Tally {
        let mut tally = Tally::default();
        let packages = ["-p", "pmd-core", "-p", "pmd-host", "--lib"].map(str::to_owned).to_vec();
        let build = [
            packages,
            tests(&["ring_threads", "sanitiser_edges", "sanitiser_planted"]),
            tests(&self.soft_tests),
        ]
        .concat();
        // Once for all: the commands that follow find everything built.
        match self.cargo(build, &["--no-run"]).map(|task| self.ended(&task, journal, deadline)) {
            Some(Some(ended)) if ended.succeeded() => {}
            _ => {
                journal.fail("the tests do not build");
                return tally;
            }
        }
        for (test, report) in self.sanitiser.planted {
            let problem = self.find_planted(test, report, journal, deadline);
            tally.passed += usize::from(problem.is_none());
            tally.failed += usize::from(problem.is_some());
            problem.into_iter().for_each(|problem| journal.fail(problem));
        }
        for (selection, filter) in self.selections() {
            tally += self.run_tests(selection, filter, journal, deadline);
        }
        tally
    }

    /// What is run, with the beginning of the tests' names.
    fn selections(&self) -> [(Vec<String>, Option<&'static str>); 3] {
        let package = |name: &str| vec!["-p".to_owned(), name.to_owned()];
        let lib = || vec!["--lib".to_owned()];
        [
            ([package("pmd-core"), lib(), tests(&["ring_threads", "sanitiser_edges"])].concat(), None),
            ([package("pmd-host"), lib()].concat(), self.sanitiser.host_filter),
            ([package("pmd-host"), tests(&self.soft_tests)].concat(), None),
        ]
    }

    fn run_tests(
        &self,
        selection: Vec<String>,
        filter: Option<&'static str>,
        journal: &mut Journal<'_>,
        deadline: Instant,
    ) -> Tally {
        let skipped = self.sanitiser.skipped.iter().flat_map(|test| ["--skip", test]);
        let one_by_one = self.sanitiser.one_by_one.then_some("--test-threads=1");
        let arguments: Vec<&str> = filter.into_iter().chain(skipped).chain(one_by_one).collect();
        let Some(task) = self.cargo(selection, &["--no-fail-fast", "--"]) else { return Tally::default() };
        let task = task.args(arguments);
        let Some(ended) = self.ended(&task, journal, deadline) else { return Tally::default() };
        if let Some(complaint) = complaint(&ended.output) {
            journal.fail(complaint);
        } else if !ended.succeeded() {
            journal.fail(format!("{}: {}", ended.describe(), task.line()));
        }
        Count::TestResults.of(&ended, &self.root)
    }

    /// What is wrong with the sanitiser, which must report the fault of this test in pmd-core's own code.
    fn find_planted(
        &self,
        test: &str,
        report: &str,
        journal: &mut Journal<'_>,
        deadline: Instant,
    ) -> Option<String> {
        let selection = ["-p", "pmd-core", "--test", "sanitiser_planted"].map(str::to_owned).to_vec();
        let task = self.cargo(selection, &["--", "--ignored", "--exact", test])?.env("PMD_PLANTED", "1");
        let ended = task.limit(left(deadline)).run(journal.watch()).ok()?;
        let found = !ended.succeeded() && ended.output.contains(report) && names_the_ring(&ended.output);
        if found {
            journal.line(format!("{test}: reported, as it must be"));
            return None;
        }
        journal.output(&ended.output);
        Some(format!(
            "{test} is not reported as \"{report}\" in pmd_core::ring: the sanitiser is not at work"
        ))
    }

    fn cargo(&self, selection: Vec<String>, rest: &[&str]) -> Option<Task> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let task = instrument::cargo(&self.root, &self.target, &flags, "test")?.args(selection).args(rest);
        // The tests wait more than they compute: what optimising saves them it costs several times over.
        let task = task.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
        Some(task.env(
            self.sanitiser.options,
            format!("detect_leaks=1:suppressions={}", self.suppressions.display()),
        ))
    }

    fn ended(&self, task: &Task, journal: &mut Journal<'_>, deadline: Instant) -> Option<Ended> {
        journal.line(format!("$ {}", task.line()));
        match task.clone().limit(left(deadline)).run(journal.watch()) {
            Ok(ended) => {
                journal.output(&ended.output);
                Some(ended)
            }
            Err(error) => {
                journal.fail(format!("{} does not start: {error}", task.line()));
                None
            }
        }
    }
}

/// `--test NAME` for each.
fn tests(names: &[impl AsRef<str>]) -> Vec<String> {
    names.iter().flat_map(|name| ["--test".to_owned(), name.as_ref().to_owned()]).collect()
}

/// The soft HCA's test programs in a folder, by name.
fn soft_tests(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        names.extend(file.strip_suffix(".rs").filter(|name| name.starts_with(SOFT_TEST)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// A sanitiser's first report, in a line.
fn complaint(output: &str) -> Option<String> {
    let report = |line: &&str| line.contains("Sanitizer: ") && !line.starts_with("SUMMARY");
    let line = output.lines().find(report)?.trim();
    let place = output.lines().find_map(|line| line.strip_prefix("SUMMARY: "));
    Some(format!("{line} ({})", place.unwrap_or("no summary").trim()))
}

/// Whether a stack goes through the rings of pmd-core.
fn names_the_ring(output: &str) -> bool {
    let frames = output.lines().filter(|line| line.trim_start().starts_with('#'));
    frames.filter(|line| line.contains("pmd_core::ring::") || line.contains("src/ring/")).count() > 0
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
