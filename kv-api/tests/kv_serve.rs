//! `kv serve` and `kv fetch` as a user runs them, on one host.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// A `kv serve` that is killed at the end of the test, if it has not ended.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = kv(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("it says where it listens").expect("text");
        let (_summary, listening) = (line(), line());
        let address = listening.strip_prefix("listening on ").expect(&listening).to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for one that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kv(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kv"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kv starts")
}

/// Waits for the end of a process; kills it after a bound, so that no test hangs.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child");
            panic!("kv took longer than {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

fn fetch(address: &str, arguments: &[&str]) -> Output {
    finish(kv(&[&["fetch", address], arguments].concat()))
}

#[test]
fn a_file_is_fetched_five_ways_by_one_peer_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    let content: Vec<u8> = (0..300_001_u32).map(|index| (index % 251) as u8).collect();
    fs::write(&input, &content).expect("written");
    let server = Server::start(&["--input", input.to_str().expect("text")]);
    for _ in 0..2 {
        let _ = fs::remove_file(&output);
        let arguments = ["--output", output.to_str().expect("text"), "--json"];
        let fetched = fetch(&server.address, &arguments);
        assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
        let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
        let figures: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&figures["op"], &figures["verified"]), (&Value::from("fetch"), &Value::from(true)));
        assert_eq!(figures["rows"].as_array().map(Vec::len), Some(5));
        assert_eq!(fs::read(&output).expect("the output"), content);
    }
}

#[test]
fn once_ends_when_the_peer_has_gone() {
    let mut server = Server::start(&["--model", "llama-3-8b", "--tokens", "16", "--once"]);
    let fetched = fetch(&server.address, &[]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert_eq!(String::from_utf8_lossy(&fetched.stdout).matches(" yes").count(), 5);
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match server.child.try_wait().expect("a child") {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "it stays after its peer has gone"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    server.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn a_peer_that_is_killed_leaves_the_server_to_others() {
    let server = Server::start(&["--tokens", "2048"]);
    for pause in [0, 30, 150] {
        let mut killed = kv(&["fetch", &server.address]);
        thread::sleep(Duration::from_millis(pause));
        killed.kill().expect("a child");
        killed.wait().expect("a child");
    }
    let fetched = fetch(&server.address, &[]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
}

#[test]
fn nobody_to_fetch_from_and_wrong_addresses_are_told() {
    let refused = fetch("127.0.0.1:1", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is the peer running and listening there"));
    assert_eq!(fetch("somewhere", &[]).status.code(), Some(2));
}
