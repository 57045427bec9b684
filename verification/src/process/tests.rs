//! Commands that end well, badly, late and not alone.

use super::*;

fn shell(script: &str) -> Task {
    Task::new("sh", "/").args(["-c", script]).limit(Duration::from_secs(20))
}

fn run(task: &Task) -> Ended {
    task.run(&mut |_| ()).expect("the shell starts")
}

/// Whether a process that was killed ends within a few seconds; a zombie that waits for its parent has ended.
fn ends(process: &str) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while running().any(|running| running.id.to_string() == process) {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

#[test]
fn a_process_is_read_from_its_stat_whatever_its_name() {
    let process = parse_stat("12 (a) b) S 1 34 5 6").expect("a process");
    assert_eq!((process.id, process.name.as_str(), process.group), (12, "a) b", 34));
    assert!(parse_stat("12 (a) Z 1 34 5").is_none());
    assert!(parse_stat("nonsense").is_none());
}

#[test]
fn output_is_kept_whole_and_apart() {
    let ended = run(&shell("echo one; echo two >&2; printf three"));
    assert!(ended.succeeded());
    assert_eq!(ended.stdout, "one\nthree");
    assert_eq!(ended.stderr, "two\n");
    let mut lines: Vec<&str> = ended.output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"]);
}

#[test]
fn a_failing_command_gives_its_code() {
    let ended = run(&shell("exit 7"));
    assert!(!ended.succeeded());
    assert_eq!(ended.describe(), "exit status: 7");
}

#[test]
fn every_line_is_watched() {
    let mut seen = Vec::new();
    shell("echo a; echo b").run(&mut |line| seen.extend(line.map(str::to_owned))).expect("the shell starts");
    assert_eq!(seen, ["a", "b"]);
}

#[test]
fn a_command_past_its_time_is_ended_with_what_it_started() {
    let ended = run(&shell("sleep 300 & echo $!; sleep 300").limit(Duration::from_millis(500)));
    assert_eq!(ended.describe(), "timed out after 0 s");
    assert!(!ended.succeeded());
    assert!(ends(ended.stdout.trim()), "a process of the group lives on");
}

#[test]
fn what_a_command_leaves_running_is_ended() {
    let ended = run(&shell("sleep 300 & echo $!"));
    assert!(ended.succeeded());
    let process = ended.stdout.trim().to_owned();
    assert_eq!(ended.left_behind, [format!("sleep ({process})")]);
    assert!(ends(&process), "the process lives on");
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let error = Task::new("no-such-program", "/").run(&mut |_| ()).expect_err("there is no such program");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_line_shows_environment_program_and_arguments() {
    assert_eq!(Task::new("cargo", "/").args(["test", "-p"]).env("A", "b").line(), "A=b cargo test -p");
}
