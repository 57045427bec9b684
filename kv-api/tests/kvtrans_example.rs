//! The KVTrans example and the benchmark as users run them: in one process and in two.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(90);

/// Cargo builds examples beside the tests' folder, unless it was told to build this test alone.
fn example() -> PathBuf {
    let test = env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/kvtrans_send_recv");
    assert!(example.exists(), "build it first: cargo build -p kv-api --examples");
    example
}

fn start(program: PathBuf, arguments: &[&str]) -> Child {
    Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Waits for the end, which comes in time or by force.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it took longer than {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn the_example_runs_in_one_process() {
    let output = finish(start(example(), &[]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("received 67108864 bytes from 127.0.0.1, as sent"), "{said}");
}

#[test]
fn the_example_runs_in_two_processes() {
    for bytes in ["1", "5000001"] {
        let mut receiver = start(example(), &["receive"]);
        let mut output = BufReader::new(receiver.stdout.take().unwrap());
        let (sender, line) = mpsc::channel();
        let reading = thread::spawn(move || {
            let mut first = String::new();
            output.read_line(&mut first).unwrap();
            sender.send(first).unwrap();
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            rest
        });
        let first = line.recv_timeout(PATIENCE).unwrap();
        let address = first.trim().strip_prefix("listening on ").unwrap().to_owned();
        let sent = finish(start(example(), &["send", &address, bytes]));
        assert!(sent.status.success());
        let ended = finish(receiver);
        let said = reading.join().unwrap();
        assert!(ended.status.success(), "{said}");
        assert!(said.contains(&format!("received {bytes} bytes from 127.0.0.1, as sent")), "{said}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    assert!(!finish(start(example(), &["receive", "this"])).status.success());
}

#[test]
fn the_benchmark_verifies_what_kvtrans_moves() {
    for operation in ["read", "write"] {
        for memory in ["heap", "arena"] {
            let case =
                ["bench", "--api", "kvtrans", "--op", operation, "--memory", memory, "--verify", "all"];
            let shape =
                ["--blocks", "64", "--block-size", "4096", "--iters", "3", "--idle", "park", "--json"];
            let output = finish(start(env!("CARGO_BIN_EXE_kv").into(), &[&case[..], &shape[..]].concat()));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}");
            let figures: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            assert_eq!((&figures["verified"], &figures["api"]), (&true.into(), &"kvtrans".into()), "{said}");
            assert_eq!(figures["work_requests"], 64);
        }
    }
}
