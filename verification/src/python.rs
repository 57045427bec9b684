//! The Python packages, installed with pip into a virtual environment of their own: their tests, those of device memory on
//! stand-ins for its runtimes, and every example as processes, over shared memory and on a simulated ConnectX. Run by the
//! `python` suite.
//!
//! The environment stays under the target folder. Only what changed is installed again: a user's `pip install` builds
//! for release, this one with the workspace's dev profile, whose dependencies other suites have built.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::accelerators::{self, Runtime};
use crate::connectx::{Settings, Simulated};
use crate::count::Tally;
use crate::examples::{self, Device, Example, Language, Runnable};
use crate::process::Task;
use crate::suite::{Journal, Workspace};

/// The interpreter, what makes virtual environments, and the libraries that the simulated ConnectX needs.
pub(crate) const PACKAGES: &[&str] = &["python3", "python3-venv", "ibverbs-providers", "libibverbs1"];

/// What the packages are built with, and what their tests need.
const REQUIREMENTS: &[&str] = &["maturin>=1.8,<2", "ml_dtypes>=0.5", "numpy>=1.26", "pytest>=8"];

/// The packages, from the workspace's root.
const ALL: &[&str] = &["kv-api/python", "af-api/python"];

/// How long installing from the index may take.
const INSTALL: Duration = Duration::from_secs(240);

/// How long one run of the tests may take.
const TESTS: Duration = Duration::from_secs(240);

/// Installs the packages, and runs their tests.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let (environment, deadline) = (environment(workspace), Instant::now() + limit);
    let mut bench = Bench { workspace, journal, environment, deadline, tally: Tally::default() };
    if bench.prepare() && ALL.iter().all(|package| bench.install(package)) {
        for package in ALL {
            bench.tests(&format!("{package}/tests"), &[]);
        }
        bench.devices();
        bench.examples();
        bench.clusters();
    }
    bench.tally
}

struct Bench<'a, 'b> {
    workspace: &'a Workspace,
    journal: &'a mut Journal<'b>,
    environment: PathBuf,
    deadline: Instant,
    tally: Tally,
}

impl Bench<'_, '_> {
    fn program(&self, name: &str) -> PathBuf {
        self.environment.join("bin").join(name)
    }

    /// The environment's interpreter, at the workspace's root.
    fn python(&self) -> Task {
        Task::new(self.program("python"), &self.workspace.root)
    }

    /// Makes the environment, unless it is there with all that it needs.
    fn prepare(&mut self) -> bool {
        let (stamp, wanted) = (self.environment.join("requirements"), REQUIREMENTS.join("\n"));
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return true;
        }
        let make = Task::new("python3", &self.workspace.root)
            .args(["-m", "venv", "--clear"])
            .args([&self.environment]);
        let pip = self.python().args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"]);
        let install = pip.args(REQUIREMENTS.iter().copied()).limit(INSTALL);
        let made = self.succeeds(&make.limit(INSTALL)) && self.succeeds(&install);
        made && self.written(fs::write(stamp, wanted))
    }

    fn install(&mut self, package: &str) -> bool {
        let mut path = self.environment.join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let flags = [
            "--disable-pip-version-check",
            "--quiet",
            "--no-build-isolation",
            "--no-deps",
            "--force-reinstall",
        ];
        let install = self
            .python()
            .args(["-m", "pip", "install"])
            .args(flags)
            .args([format!("./{package}")])
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", &self.workspace.target)
            .env("MATURIN_PEP517_ARGS", "--profile dev")
            .limit(self.left());
        let installed = self.succeeds(&self.workspace.building(install));
        self.tally += Tally { passed: usize::from(installed), failed: usize::from(!installed), ignored: 0 };
        installed
    }

    fn tests(&mut self, tests: &str, variables: &[(OsString, OsString)]) {
        let what = format!("{tests} pass");
        let quiet = ["-m", "pytest", "--quiet", "--no-header", "-p", "no:cacheprovider"];
        let task = self.python().args(quiet).args([tests]);
        let task = variables.iter().fold(task, |task, (name, value)| task.env(name, value));
        let task = task.env("PYTHONDONTWRITEBYTECODE", "1").limit(TESTS.min(self.left()));
        self.journal.line(format!("$ {}", task.line()));
        let ended = match task.run(self.journal.watch()) {
            Ok(ended) => ended,
            Err(error) => return self.failed(format!("{what}: does not start: {error}")),
        };
        self.journal.output(&ended.output);
        let tally = summary(&ended.stdout);
        self.tally += tally;
        if !ended.succeeded() || tally.passed == 0 || !ended.left_behind.is_empty() {
            let left = ended.left_behind.join(", ");
            self.failed(format!("not so: {what}: {}, left running: [{left}]", ended.describe()));
        }
    }

    /// What takes memory of accelerators, on the stand-in for each runtime.
    fn devices(&mut self) {
        if !accelerators::stand_ins(self.workspace).iter().all(|task| self.succeeds(task)) {
            return;
        }
        for runtime in Runtime::ALL {
            let device = format!("fake-{}:0", runtime.name());
            let path = runtime.folder(self.workspace).into_os_string();
            let variables = [("PMD_TEST_DEVICE".into(), device.into()), ("LD_LIBRARY_PATH".into(), path)];
            for package in ALL {
                self.tests(&format!("{package}/tests/test_devices.py"), &variables);
            }
        }
    }

    /// On a simulated ConnectX; over shared memory they are tests of the packages.
    fn examples(&mut self) {
        let (left, journal) = (self.left(), &mut *self.journal);
        let runnables: Vec<Runnable> = runnables(self.workspace).collect();
        self.tally += examples::run(self.workspace, journal, &Device::CONNECTX, &runnables, left);
    }

    /// `af-api`'s examples on a simulated ConnectX: they are clusters, which a test of the package starts.
    fn clusters(&mut self) {
        let simulated = match Simulated::new(self.workspace, &Settings::default(), self.journal.watch()) {
            Ok(simulated) => simulated,
            Err(error) => return self.failed(error.to_string()),
        };
        let device = Device::Mlx5.environment().iter().map(|(name, value)| (name.into(), value.into()));
        let variables: Vec<_> = simulated.environment().into_iter().chain(device).collect();
        self.tests("af-api/python/tests/test_examples.py", &variables);
        self.tally += examples::inspect(&simulated, self.journal);
    }

    fn failed(&mut self, problem: String) {
        self.tally.failed = self.tally.failed.max(1);
        self.journal.fail(problem);
    }

    fn succeeds(&mut self, task: &Task) -> bool {
        self.journal.line(format!("$ {}", task.line()));
        match task.run(self.journal.watch()) {
            Ok(ended) if ended.succeeded() => true,
            Ok(ended) => {
                self.journal.output(&ended.output);
                self.failed(format!("{}: {}", task.line(), ended.describe()));
                false
            }
            Err(error) => {
                self.failed(format!("{} does not start: {error}", task.line()));
                false
            }
        }
    }

    fn written(&mut self, result: std::io::Result<()>) -> bool {
        result
            .map_err(|error| {
                self.failed(format!("cannot write below {}: {error}", self.environment.display()))
            })
            .is_ok()
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

fn environment(workspace: &Workspace) -> PathBuf {
    workspace.target.join("python")
}

/// The examples, once the packages have been installed.
pub(crate) fn runnables(workspace: &Workspace) -> impl Iterator<Item = Runnable> {
    let python = environment(workspace).join("bin/python");
    let command = move |example: &Example| {
        let source = workspace.root.join(example.source());
        format!("'{}' -B '{}'", python.display(), source.display())
    };
    examples::of(&[Language::Python]).map(move |example| Runnable::new(example, &command(example)))
}

/// What pytest's last line says, such as `1 failed, 79 passed, 2 skipped in 5.74s`.
fn summary(output: &str) -> Tally {
    let is_summary =
        |line: &&str| line.contains(" in ") && (line.contains(" passed") || line.contains(" failed"));
    let Some(line) = output.lines().rev().find(is_summary) else { return Tally::default() };
    let words: Vec<&str> = line.split([' ', ',', '=']).filter(|word| !word.is_empty()).collect();
    let figure = |what: &str| {
        let numbers = words.windows(2).filter(|pair| pair[1].starts_with(what));
        numbers.filter_map(|pair| pair[0].parse::<usize>().ok()).sum()
    };
    let failed: usize = figure("failed") + figure("error");
    Tally { passed: figure("passed"), failed, ignored: figure("skipped") + figure("xfailed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_counted() {
        let output =
            "....F\nFAILED tests/a.py::b - 1 passed in spirit\n1 failed, 79 passed, 2 skipped in 5.74s\n";
        assert_eq!(summary(output), Tally { passed: 79, failed: 1, ignored: 2 });
        assert_eq!(
            summary("=== 80 passed in 61.02s (0:01:01) ==="),
            Tally { passed: 80, failed: 0, ignored: 0 }
        );
        assert_eq!(summary("2 failed, 1 error in 0.12s"), Tally { passed: 0, failed: 3, ignored: 0 });
    }

    #[test]
    fn what_did_not_run_counts_as_nothing() {
        assert_eq!(summary(""), Tally::default());
        assert_eq!(summary("no tests ran in 0.01s"), Tally::default());
        assert_eq!(summary("ImportError: no module named pmd_kv"), Tally::default());
    }
}
