//! What a suite is, and what it comes to. `catalogue` writes suites down, `runner` runs them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::count::{Count, Tally};
use crate::process::Task;

/// One suite: a claim about the workspace, and the work that shows it.
#[derive(Clone)]
pub(crate) struct Suite {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// What is known once it has passed.
    pub(crate) proves: &'static str,
    /// Debian packages that it cannot do without.
    pub(crate) packages: &'static [&'static str],
    /// Its bound on time, for all of its work together.
    pub(crate) limit: Duration,
    /// What it does.
    pub(crate) work: Work,
    /// What it may run beside.
    pub(crate) lane: Lane,
    /// Suites earlier in the list that have to have ended before it starts, where they run too: both write to the same
    /// folder.
    pub(crate) after: &'static [&'static str],
}

impl Suite {
    /// The same suite, run in this lane.
    pub(crate) fn lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The same suite, run when those of these names have ended.
    pub(crate) fn after(self, after: &'static [&'static str]) -> Self {
        Self { after, ..self }
    }
}

/// What a suite may run beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// It builds in the shared target folder: one of these at a time.
    Shared,
    /// It builds in a folder of its own, or little in the shared one, and looks at nothing but what it has started.
    Beside,
    /// Like that, and it waits far more than it computes: it takes no core from the others.
    Background,
}

/// What a suite does.
#[derive(Clone)]
pub(crate) enum Work {
    /// Runs these commands in order, until one fails.
    Commands(Vec<Step>),
    /// Calls a check of this crate.
    Own(fn(&Workspace, &mut Journal<'_>, Duration) -> Tally),
}

/// A command and how to count what it ran.
#[derive(Clone)]
pub(crate) struct Step {
    /// The command.
    pub(crate) task: Task,
    /// How its tests are counted.
    pub(crate) count: Count,
}

/// Where the work takes place.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Whether builds leave what makes the next one of changed sources quicker and what a debugger reads, which costs time
    /// itself.
    pub(crate) incremental: bool,
}

impl Workspace {
    /// The workspace from which this command was built, with the target folder that cargo uses for it.
    pub(crate) fn of_this_command() -> Self {
        let package = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = package.parent().unwrap_or(Path::new("/")).to_owned();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |name| root.join(name));
        Self { root, target, incremental: true }
    }

    /// A cargo command at the root.
    pub(crate) fn cargo(&self) -> Task {
        self.building(Task::new("cargo", &self.root))
    }

    /// A command that starts cargo: with the same settings it finds what other suites have built.
    pub(crate) fn building(&self, task: Task) -> Task {
        if self.incremental {
            return task;
        }
        // A panic names its line without tables for a debugger. Four units a crate take a seventh less of the compiler's time
        // than sixteen, which make the same generic code again and again, and keep two cores as busy.
        let task = task.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
        task.env("CARGO_PROFILE_DEV_CODEGEN_UNITS", "4")
    }
}

/// Where a suite's work writes: kept for a failure, shown at once when asked to.
pub(crate) struct Journal<'a> {
    /// What was written.
    pub(crate) text: String,
    /// Whether something went wrong, with a line for the summary.
    pub(crate) problem: Option<String>,
    /// Why this machine cannot show it, with a line for the summary.
    pub(crate) missing: Option<String>,
    watch: &'a mut dyn FnMut(Option<&str>),
}

impl<'a> Journal<'a> {
    /// An empty journal; `watch` hears each line, and nothing in particular while work goes on silently.
    pub(crate) fn new(watch: &'a mut dyn FnMut(Option<&str>)) -> Self {
        Self { text: String::new(), problem: None, missing: None, watch }
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        (self.watch)(Some(line.as_ref()));
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// Writes what a command wrote, which `watch` has heard before.
    ///
    /// Cargo's messages for programs are left out: no reader wants them.
    pub(crate) fn output(&mut self, output: &str) {
        let lines = output.lines().filter(|line| !line.starts_with("{\"reason\""));
        self.text.extend(lines.flat_map(|line| [line, "\n"]));
    }

    /// Writes down a problem; the first one is the summary's.
    pub(crate) fn fail(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        self.line(&problem);
        self.problem.get_or_insert(problem);
    }

    /// Writes down what this machine lacks for the work, which then counts as skipped.
    pub(crate) fn skip(&mut self, missing: impl Into<String>) {
        let missing = missing.into();
        self.line(&missing);
        self.missing = Some(missing);
    }

    /// Hears a running command's lines.
    pub(crate) fn watch(&mut self) -> &mut dyn FnMut(Option<&str>) {
        self.watch
    }
}

/// What a suite came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything that it ran passed, and it ran something.
    Passed,
    /// Something failed, or nothing ran.
    Failed {
        /// Why, in a line.
        reason: String,
    },
    /// It was not run.
    Skipped {
        /// Why, in a line.
        reason: String,
    },
}

impl Outcome {
    /// One word for tables.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// A suite's line in the summary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The suite's name.
    pub(crate) name: &'static str,
    /// What ran.
    pub(crate) tally: Tally,
    /// How long it took.
    pub(crate) time: Duration,
    /// What it came to.
    pub(crate) outcome: Outcome,
}
