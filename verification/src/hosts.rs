//! The commands between hosts, as a user runs them, and endpoints that are hosts or users to each other: network
//! namespaces, veth, and a switch that loses, delays and cuts off.
//! The work is `verification/hosts`. Run by the suites `hosts` and `soak`.

use std::time::{Duration, Instant};

use crate::count::{Count, Tally};
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

/// What makes namespaces and devices, and users of its own (`unshare`, `setpriv`).
pub(crate) const PACKAGES: &[&str] = &["iproute2", "util-linux"];

/// With this the program says that this machine, or this user, can make no hosts.
const NOT_HERE: i32 = 3;

/// The case that goes on for as long as it is told to.
const SOAK: &str = "soak::";

/// How the soak goes as a suite: for two minutes, and so that most of that time goes by between its rounds. Connections that
/// carry nothing for a while have to live too, and other suites have the cores.
const SOAK_PACE: [&str; 4] = ["--soak-seconds", "120", "--soak-every", "24"];

/// Builds, and runs every case but the soak. Where there can be no hosts the suite is skipped, with the reason.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    cases(workspace, journal, limit, &["--skip", SOAK])
}

/// Builds, and soaks.
pub(crate) fn soak(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    cases(workspace, journal, limit, &[&[SOAK], &SOAK_PACE[..]].concat())
}

fn cases(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration, arguments: &[&str]) -> Tally {
    let deadline = Instant::now() + limit;
    let programs = ["hosts", "kv", "af"].into_iter().flat_map(|program| ["--bin", program]);
    let build = workspace.cargo().args(["build", "--workspace"]).args(programs);
    let cases = Task::new(workspace.target.join("debug/hosts"), &workspace.root).args(arguments);
    if !run(build, deadline, journal).is_some_and(|ended| ended.succeeded()) {
        journal.fail("the programs do not build");
        return Tally::default();
    }
    let Some(ended) = run(cases, deadline, journal) else { return Tally::default() };
    if ended.status.and_then(|status| status.code()) == Some(NOT_HERE) {
        journal.skip(ended.stderr.trim());
    } else if !ended.succeeded() {
        journal.fail(format!("hosts: {}", ended.describe()));
    }
    Count::TestResults.of(&ended, &workspace.root)
}

fn run(task: Task, deadline: Instant, journal: &mut Journal<'_>) -> Option<Ended> {
    journal.line(format!("$ {}", task.line()));
    match task.clone().limit(deadline.saturating_duration_since(Instant::now())).run(journal.watch()) {
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
