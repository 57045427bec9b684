//! The commands, which this program lies beside.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::PATIENCE;
use crate::server::Server;

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for one that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let beside = std::env::current_exe().expect("this program").with_file_name(name);
    let mut command = Command::new(beside);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(name: &str, arguments: &[&str]) -> Output {
    let mut running = command(name, arguments).spawn().expect("it is built");
    let deadline = Instant::now() + PATIENCE;
    while running.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            running.kill().expect("a child");
            panic!("{name} takes too long");
        }
        thread::sleep(Duration::from_millis(10));
    }
    running.wait_with_output().expect("its output")
}

fn verified(output: &Output) {
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{failed}");
    let answer: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
    assert_eq!(answer["verified"], true, "{said}");
}

pub(super) fn kv_fetches() {
    let mut etcd = Server::start();
    let url = etcd.url().to_string();
    let place = ["--listen", "127.0.0.1:0", "--model", "llama-3-8b", "--tokens", "16"];
    let named = ["--metadata", &url, "--name", "prefill-0"];
    let mut serving =
        Running(command("kv", &[&["serve"], &place[..], &named].concat()).spawn().expect("it is built"));
    let lines = BufReader::new(serving.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!({ lines }.any(|line| line.starts_with("listening on ")), "it does not listen");
    let fetch = |name| run("kv", &["fetch", name, "--metadata", &url, "--json"]);
    verified(&fetch("prefill-0"));
    let unnamed = run("kv", &["serve", "--metadata", &url, "--listen", "127.0.0.1:0", "--tokens", "16"]);
    assert_eq!(unnamed.status.code(), Some(2), "{}", String::from_utf8_lossy(&unnamed.stderr));
    etcd.kill();
    etcd.start_again();
    verified(&fetch("prefill-0"));
}

pub(super) fn af_runs() {
    let etcd = Server::start();
    let url = etcd.url().to_string();
    let model =
        ["--layers", "3", "--rows", "8", "--columns", "256", "--workers", "2", "--servers", "2", "--json"];
    verified(&run("af", &[&["demo", "--metadata", &url], &model[..]].concat()));
}
