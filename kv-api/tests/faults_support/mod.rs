//! Processes of the `kv` command for the fault tests, and what they leave behind.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kv_api::engine::Engine;
use pmd_host::{
    endpoint::EndpointConfig,
    lane::{Idle, LaneConfig},
};

/// Longest that any step may take.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until there is an answer.
pub fn within<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "nothing happened within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn kv(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, which comes in time or by force. It prints little.
pub fn run(arguments: &[&str]) -> Output {
    // A role ends when its input does.
    let mut child = kv(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("kv {arguments:?} took longer than {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// `kv role prefill`: an engine that listens and has a cache named "prefill". Killed and reaped at the end.
pub struct Prefill {
    child: Child,
    _lifeline: ChildStdin,
    pub address: SocketAddr,
}

impl Prefill {
    pub fn start(tokens: &str) -> Self {
        let mut child = kv(&["role", "prefill", "--model", "llama-3-8b", "--tokens", tokens])
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            let line = output.lines().map_while(Result::ok).next();
            let _ = sender.send(line);
        });
        let line = said.recv_timeout(PATIENCE).unwrap().expect("it says where it listens");
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = said["address"].as_str().unwrap().parse().unwrap();
        let lifeline = child.stdin.take().unwrap();
        Self { child, _lifeline: lifeline, address }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL; neither the process nor a zombie is left.
    pub fn kill(mut self) {
        let pid = self.pid();
        self.child.kill().unwrap();
        within(|| self.child.try_wait().unwrap());
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
    }
}

impl Drop for Prefill {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `kv role decode`: gets the cache of a prefill process in all ways and verifies every byte.
pub fn decode_verifies(address: SocketAddr) {
    let output = run(&["role", "decode", "--connect", &address.to_string(), "--idle", "park"]);
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    assert_eq!(said.lines().filter(|line| line.contains(r#""verified":true"#)).count(), 5, "{said}");
}

/// An engine of this process.
pub fn engine(name: &str) -> Engine {
    Engine::open(EndpointConfig {
        name: name.into(),
        listen: Some(([127, 0, 0, 1], 0).into()),
        lane: LaneConfig { idle: Idle::Park, grace: PATIENCE, ..LaneConfig::default() },
        down_after: PATIENCE,
        patience: PATIENCE,
        ..EndpointConfig::default()
    })
    .unwrap()
}

/// Files of /dev/shm that a process has open or mapped.
pub fn files_of_dev_shm(pid: u32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mapped = maps.lines().filter(|line| line.contains("/dev/shm")).map(str::to_owned);
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let opened = targets.map(|target| target.display().to_string()).filter(|path| path.contains("/dev/shm"));
    mapped.chain(opened).collect()
}

/// Names in /dev/shm that could be this driver's.
pub fn shared_memory_files() -> Vec<String> {
    let names = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("pmd") || name.contains("kv"))
        .collect();
    names.sort_unstable();
    names
}
