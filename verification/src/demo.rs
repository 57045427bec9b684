//! Runs the main jobs as a user would, and looks at what they leave on the machine. Run by the `demo` suite.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::count::Tally;
use crate::process::{Ended, Task, running};
use crate::suite::{Journal, Workspace};

/// Interfaces of `kv-api`, as `kv bench --api` names them.
pub(crate) const INTERFACES: [&str; 5] = ["engine", "kvtrans", "datadist", "hixl", "agent"];

/// Where shared memory has names.
const SHARED_MEMORY: &str = "/dev/shm";

/// How long names and processes may take to go after the command has ended.
const GRACE: Duration = Duration::from_secs(2);

/// A command whose last line says that everything was verified.
struct Command {
    package: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
}

/// A cache between two processes; a model's layers between six; round trips between two.
const COMMANDS: [Command; 3] = [
    Command { package: "kv-api", program: "kv", arguments: &["demo", "--json"] },
    Command { package: "af-api", program: "af", arguments: &["demo", "--json"] },
    Command {
        package: "af-api",
        program: "af",
        arguments: &["bench", "--iters", "200", "--compare-memcpy", "--json"],
    },
];

/// Runs the commands one after the other and checks of each its exit, its answer and what it leaves.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    let mut tally = Tally::default();
    for command in &COMMANDS {
        tally += check_command(workspace, journal, command, deadline);
    }
    tally
}

fn check_command(
    workspace: &Workspace,
    journal: &mut Journal<'_>,
    command: &Command,
    deadline: Instant,
) -> Tally {
    let Command { package, program, arguments } = *command;
    let selection = ["--release", "-p", package, "--bin", program];
    let left = || deadline.saturating_duration_since(Instant::now());
    let build = workspace.cargo().args(["build"]).args(selection).limit(left());
    if !run(&build, journal).is_some_and(|ended| ended.succeeded()) {
        journal.fail(format!("{program} does not build"));
        return Tally::default();
    }
    let before = names(Path::new(SHARED_MEMORY));
    let task = workspace.cargo().args(["run"]).args(selection).args(["--"]).args(arguments.iter().copied());
    let Some(ended) = run(&task.limit(left()), journal) else { return Tally::default() };
    let name = format!("{program} {}", arguments.join(" "));
    let mut tally = Tally::default();
    let mut expect = |holds: bool, problem: String| {
        tally += Tally { passed: usize::from(holds), failed: usize::from(!holds), ignored: 0 };
        if !holds {
            journal.fail(problem);
        }
    };
    expect(ended.succeeded(), format!("{name}: {}", ended.describe()));
    expect(is_verified(&ended.stdout), format!("{name}: its last line is no object with \"verified\": true"));
    let names_left = settled(|| names(Path::new(SHARED_MEMORY)).difference(&before).cloned().collect());
    expect(names_left.is_empty(), format!("{name} left in {SHARED_MEMORY}: {}", names_left.join(", ")));
    let mut processes = settled(|| processes_of(&workspace.target.join("release").join(program)));
    processes.extend(ended.left_behind);
    expect(processes.is_empty(), format!("{name} left running: {}", processes.join(", ")));
    tally
}

fn run(task: &Task, journal: &mut Journal<'_>) -> Option<Ended> {
    journal.line(format!("$ {}", task.line()));
    match task.run(journal.watch()) {
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

/// Whether the last line is an object that says that every block was verified.
fn is_verified(stdout: &str) -> bool {
    let last = stdout.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str::<Value>(last).is_ok_and(|answer| answer["verified"] == true)
}

/// What is left after a moment for what is about to go.
fn settled(leftovers: impl Fn() -> Vec<String>) -> Vec<String> {
    let deadline = Instant::now() + GRACE;
    loop {
        let found = leftovers();
        if found.is_empty() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Processes that run this program.
fn processes_of(program: &Path) -> Vec<String> {
    let runs = |id: i32| fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == program);
    running().filter(|process| runs(process.id)).map(|process| process.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_verified_last_line_passes() {
        assert!(is_verified("a table\n{\"verified\": true, \"bytes\": 1}\n\n"));
        assert!(!is_verified("{\"verified\": true}\nmore\n"));
        assert!(!is_verified("{\"verified\": false}\n"));
        assert!(!is_verified("{\"verified\": \"true\"}\n"));
        assert!(!is_verified(""));
    }

    #[test]
    fn processes_are_found_by_their_program() {
        let this = std::env::current_exe().expect("the path of this test");
        // Beside this process there may be children of other tests that have not yet become what they run.
        let id = format!("({})", std::process::id());
        let found = processes_of(&this);
        assert_eq!(
            found.iter().filter(|process| process.ends_with(&id)).count(),
            1,
            "{found:?} without {id}"
        );
        assert_eq!(processes_of(Path::new("/no/such/program")), Vec::<String>::new());
    }

    #[test]
    fn new_names_in_a_folder_are_seen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let before = names(folder.path());
        fs::write(folder.path().join("left"), "").expect("a file");
        let after = names(folder.path());
        assert_eq!(after.difference(&before).collect::<Vec<_>>(), ["left"]);
    }
}
