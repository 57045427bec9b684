//! Tests of the table and of what runs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;

const DEVICES: [Device; 4] = [Device::SharedMemory, Device::Mlx5, Device::Verbs, Device::SoftRoce];

/// Two processes, one of which reads what the other writes.
static TWO: Example =
    Example::pair(&["{0} {folder}/file", "{1} {folder}/file"], &["first 20000", "second 20001"]);
/// Its processes write less than that.
static SILENT: Example = Example::pair(&["{0} {folder}/file", "{1} {folder}/file"], &["third"]);

fn run_script(script: &str) -> Ended {
    let task = Task::new("sh", "/").args(["-eu", "-c", script]).limit(Duration::from_secs(20));
    task.run(&mut |_| {}).expect("a shell")
}

fn runnable(example: &'static Example, first: &str, second: &str) -> Runnable {
    Runnable { example, commands: [first, second].map(str::to_owned).to_vec() }
}

const WRITER: &str = "sh -c 'echo first $0; echo there >$1; sleep 0.1'";
const READER: &str = "sh -c 'until [ -s $1 ]; do sleep 0.02; done; echo second $0'";

#[test]
fn every_example_of_every_language_is_in_the_table() {
    let root = Workspace::of_this_command().root;
    let files = ["kv-api/examples", "kv-api/capi/examples", "kv-api/python/examples"].map(|folder| {
        let entries = fs::read_dir(root.join(folder)).expect(folder);
        entries.map(move |entry| PathBuf::from(folder).join(entry.expect("an entry").file_name()))
    });
    let is_program = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        path.extension().is_some_and(|suffix| suffix != "h") && !name.contains("common")
    };
    let found: BTreeSet<PathBuf> = files.into_iter().flatten().filter(is_program).collect();
    let listed: BTreeSet<PathBuf> = EXAMPLES.iter().map(Example::source).collect();
    assert_eq!(found, listed);
    assert_eq!(listed.len(), EXAMPLES.len());
}

#[test]
fn every_example_runs_on_every_device_but_for_a_reason() {
    for example in EXAMPLES {
        assert!((1..=2).contains(&example.calls.len()), "{}", example.program);
        let left_out: Vec<_> = DEVICES.iter().filter_map(|device| example.left_out(*device)).collect();
        assert!(left_out.iter().all(|why| !why.is_empty()));
        assert!(left_out.is_empty() || example.language == Language::Python, "{}", example.program);
    }
}

/// The interface's own second is too short for a guest on a busy machine.
#[test]
fn no_example_gives_up_after_the_default_time() {
    let root = Workspace::of_this_command().root;
    let in_rust = EXAMPLES.iter().filter(|example| example.language == Language::Rust);
    let sources: Vec<PathBuf> = in_rust.map(|example| root.join(example.source())).collect();
    assert!(!sources.is_empty());
    for source in sources {
        let text = fs::read_to_string(&source).expect("an example");
        assert!(!text.contains("DEFAULT_TIMEOUT"), "{}", source.display());
    }
}

#[test]
fn scripts_fill_in_ports_and_a_folder() {
    for example in EXAMPLES {
        let script = script(&Runnable::new(example, "'/it is/a program'"), Device::SoftRoce, 20_000);
        assert!(script.contains("export PMD_DEVICE=rxe0\n"));
        let calls = script.lines().filter(|line| line.starts_with('\''));
        assert_eq!(calls.clone().count(), example.calls.len());
        assert!(
            calls.clone().all(|line| !line.split("||").next().expect("a call").contains("{")),
            "{script}"
        );
    }
}

#[test]
fn both_processes_run_and_their_output_is_looked_through() {
    let ended = run_script(&script(&runnable(&TWO, WRITER, READER), Device::SharedMemory, 20_000));
    assert!(ended.succeeded(), "{}", ended.output);
    assert_eq!(ended.output, "first 20000\nsecond 20001\n");
    let ended = run_script(&script(&runnable(&SILENT, WRITER, READER), Device::SharedMemory, 20_000));
    assert_eq!(ended.status.and_then(|status| status.code()), Some(1));
    assert!(ended.output.ends_with("nothing says: third\n"), "{}", ended.output);
}

#[test]
fn the_failure_of_either_process_is_the_examples() {
    let fails = |first, second| {
        let ended = run_script(&script(&runnable(&TWO, first, second), Device::SharedMemory, 20_000));
        ended.status.and_then(|status| status.code())
    };
    assert_eq!(fails("sh -c 'echo first 20000; exit 3'", "sh -c 'echo second 20001'"), Some(3));
    // The first would wait for a minute.
    let waits = "sh -c 'echo first 20000; exec sleep 60'";
    assert!(fails(waits, "sh -c 'echo second 20001; exit 4'").is_some_and(|code| code != 0));
}

#[test]
fn ports_are_free_and_in_a_row() {
    let first = free_ports(100).expect("ports");
    assert!(PORT_RANGE.contains(&first) && PORT_RANGE.contains(&(first + 99)));
    let held = TcpListener::bind(("127.0.0.1", first + 50)).expect("it is free");
    let other = free_ports(100).expect("other ports");
    assert!(!(other..other + 100).contains(&(first + 50)));
    drop(held);
}

#[test]
fn jobs_run_at_once_and_all_are_heard() {
    let job = |number: usize| Job {
        name: number.to_string(),
        task: Task::new("sh", "/").args(["-c", &format!("sleep 0.05; exit {}", number % 2)]),
    };
    let mut heard = BTreeSet::new();
    work_off((0..10).map(job).collect(), Duration::from_secs(20), |done| {
        let number: usize = done.name.parse().expect("a number");
        assert_eq!(done.ended.expect("a shell").succeeded(), number.is_multiple_of(2));
        heard.insert(number);
    });
    assert_eq!(heard, (0..10).collect());
}
