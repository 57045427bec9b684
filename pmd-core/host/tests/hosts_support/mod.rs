//! Endpoints in processes of their own that are hosts to each other: each in a network namespace without a name, which
//! goes with its last process, however that ends. The test executable runs itself again, as the test `agent`.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

pub mod agent;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// Longest that any wait may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What an agent's lines begin with, among those of the test harness.
const MARK: &str = "says: ";

/// Whether this machine lets a test make namespaces. Says so where not: then there is nothing to see here.
pub fn can_unshare(what: &[&str]) -> bool {
    let made = Command::new("unshare").args(what).arg("true").stderr(Stdio::null()).status();
    let can = made.is_ok_and(|status| status.success()) && Command::new("ip").arg("-V").output().is_ok();
    if !can {
        println!("left out: no right to unshare {what:?} here, or no ip(8)");
    }
    can
}

/// An agent in a process of its own. Killed and reaped at the end at the latest.
pub struct Process {
    child: Child,
    orders: ChildStdin,
    said: Receiver<String>,
}

impl Process {
    /// Starts one, apart from this process by what unshare(1) is told.
    pub fn start(apart: &[&str]) -> Self {
        let executable = env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.args(apart).arg("--").arg(executable);
        Self::run(command)
    }

    /// Starts one by a command that runs this executable.
    pub fn run(mut command: Command) -> Self {
        let mut child = command
            .args(["--exact", "agent", "--nocapture", "--test-threads=1"])
            .env(agent::PART, "yes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            lines
                .filter_map(|line| line.split_once(MARK).map(|(_, text)| text.to_owned()))
                .for_each(|text| drop(sender.send(text)));
        });
        let orders = child.stdin.take().unwrap();
        let process = Self { child, orders, said };
        assert_eq!(process.says(), "ready");
        process
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to do something.
    pub fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What it says next.
    pub fn says(&self) -> String {
        match self.said.recv_timeout(PATIENCE) {
            Ok(text) => text,
            Err(RecvTimeoutError::Timeout) => panic!("an agent said nothing within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("an agent ended"),
        }
    }

    /// What follows `word` in what it says next that begins with it.
    pub fn says_of(&self, word: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let said = self.says();
            if let Some(rest) = said.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("an agent did not say {word}");
    }

    /// Listens at an address with a wish; where it does.
    pub fn listens(&mut self, address: &str, wish: &str) -> String {
        self.order(&format!("listen {address} {wish}"));
        self.says_of("listens")
    }

    /// Connects to where another listens, and moves bytes there and back. What was chosen, or why nothing was.
    pub fn connects(&mut self, address: &str, wish: &str) -> Result<String, String> {
        self.order(&format!("connect {address} {wish}"));
        loop {
            let said = self.says();
            match said.split_once(' ') {
                Some(("linked", choice)) => return Ok(choice.to_owned()),
                Some(("refused", why)) => return Err(why.to_owned()),
                // The endpoint before it has gone.
                Some(("down", _)) => {}
                _ => panic!("{said}"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two hosts with a cable between them: 10.9.0.1 and 10.9.0.2.
pub struct Hosts {
    pub one: Process,
    pub other: Process,
}

impl Hosts {
    pub fn start() -> Self {
        let hosts = Self { one: Process::start(&["--net"]), other: Process::start(&["--net"]) };
        let (one, other) = (hosts.one.pid().to_string(), hosts.other.pid().to_string());
        ip(&[
            "link", "add", "cable", "netns", &one, "type", "veth", "peer", "name", "cable", "netns", &other,
        ]);
        for (process, address) in [(&one, "10.9.0.1/24"), (&other, "10.9.0.2/24")] {
            within(process, &["address", "add", address, "dev", "cable"]);
            for interface in ["lo", "cable"] {
                within(process, &["link", "set", interface, "up"]);
            }
        }
        hosts
    }

    /// Cuts the cable, or mends it.
    pub fn cable(&self, works: bool) {
        let state = if works { "up" } else { "down" };
        within(&self.other.pid().to_string(), &["link", "set", "cable", state]);
    }
}

/// ip(8) in the namespace of a process.
fn within(process: &str, arguments: &[&str]) {
    let done = Command::new("nsenter").args(["--net", "--target", process, "ip"]).args(arguments).output();
    let done = done.unwrap();
    assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).output().unwrap();
    assert!(done.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
