//! A peer in a process of its own: this test binary again, with a role in its environment.
//!
//! The parent writes one command a line, the child answers one line each, behind a mark.

use std::{
    collections::hash_map::DefaultHasher,
    hash::Hasher,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pmd_core::memory::{RemoteAddress, RemoteKey};
use pmd_host::{
    accelerator::{CpuAccelerator, Hold},
    backend::{Backend, ConnectOptions, QueuePairAddress},
};

use super::{DEADLINE, Memory, Path, SHIELDED, Side, accelerated, all, pattern};

const ROLE: &str = "PMD_SOFT_TEST_PEER";
const MARK: &str = "answer:";
/// Bytes of each of the child's memories.
pub const LENGTH: usize = 4 << 20;

/// The parent's handle of a child; kills it when dropped.
pub struct Peer {
    process: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    pub address: QueuePairAddress,
    arena: RemoteAddress,
    heap: RemoteAddress,
}

type Facts = (QueuePairAddress, (u64, u32), (u64, u32));

impl Peer {
    /// Starts a child whose device takes `path`, and connects it with `side`.
    pub fn start(path: Path, side: &mut Side) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "peer_process", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{path:?}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, answers) = mpsc::channel();
        let output = BufReader::new(process.stdout.take().unwrap());
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Some((_, answer)) = line.split_once(MARK) else { continue };
                if lines.send(answer.to_owned()).is_err() {
                    break;
                }
            }
        });
        let input = process.stdin.take().unwrap();
        let facts = unhex(&answers.recv_timeout(DEADLINE).unwrap());
        let (address, arena, heap): Facts = postcard::from_bytes(&facts).unwrap();
        let remote = |(address, key)| RemoteAddress { address, key: RemoteKey(key) };
        let mut peer = Self { process, input, answers, address, arena: remote(arena), heap: remote(heap) };
        side.backend.connect(side.queue_pair, &peer.address, &ConnectOptions::default()).unwrap();
        let own = side.backend.address(side.queue_pair).unwrap();
        peer.ask(side, &format!("connect {}", hex(&postcard::to_stdvec(&own).unwrap())));
        peer
    }

    /// Sends a command and polls until it is answered.
    pub fn ask(&mut self, side: &mut Side, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        let start = Instant::now();
        loop {
            match self.answers.recv_timeout(Duration::from_micros(50)) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => side.poll(),
                Err(RecvTimeoutError::Disconnected) => panic!("the child ended before it answered {command}"),
            }
            assert!(start.elapsed() < DEADLINE, "no answer to {command}");
        }
    }

    /// A place in the child's arena or heap.
    pub fn remote(&self, arena: bool, offset: usize) -> RemoteAddress {
        let base = if arena { self.arena } else { self.heap };
        RemoteAddress { address: base.address + offset as u64, ..base }
    }

    /// What [`digest`] makes of the child's bytes, by the child.
    pub fn digest(&mut self, side: &mut Side, arena: bool, offset: usize, length: usize) -> u64 {
        let place = if arena { "arena" } else { "heap" };
        self.ask(side, &format!("digest {place} {offset} {length}")).parse().unwrap()
    }

    /// Asks until the answer is this.
    pub fn ask_until(&mut self, side: &mut Side, command: &str, wanted: &str) {
        let start = Instant::now();
        loop {
            let found = self.ask(side, command);
            if found == wanted {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{command}: {found} instead of {wanted}");
        }
    }

    /// SIGSTOP, until every thread has stopped.
    pub fn stop(&self) {
        let tasks = format!("/proc/{}/task", self.process.id());
        self.signal(Signal::SIGSTOP);
        let start = Instant::now();
        let is_stopped = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tT"))
        };
        while !std::fs::read_dir(&tasks).unwrap().all(|task| is_stopped(task.unwrap())) {
            assert!(start.elapsed() < DEADLINE, "the child does not stop");
            thread::yield_now();
        }
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The child's side; returns at once in a parent.
pub fn run() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path =
        super::PATHS.into_iter().chain([Path::Device]).find(|path| format!("{path:?}") == role).unwrap();
    let accelerator = CpuAccelerator::new(SHIELDED);
    let device = if path == Path::Device { accelerated(&accelerator, false) } else { path.device() };
    let mut side = Side::new(&device);
    let arena = Memory::arena(&device, LENGTH, all());
    let heap = match path {
        Path::Device => Memory::on_device(&device, &accelerator, LENGTH, all()),
        _ => Memory::heap(&device, LENGTH, all()),
    };
    arena.write(0, &pattern(1, LENGTH));
    heap.write(0, &pattern(2, LENGTH));
    let keys = |memory: &Memory| (memory.region.address(), memory.region.remote_key().0);
    let facts: Facts = (side.backend.address(side.queue_pair).unwrap(), keys(&arena), keys(&heap));
    answer(&hex(&postcard::to_stdvec(&facts).unwrap()));
    let (lines, commands) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let mut holds = Vec::new();
    let start = Instant::now();
    while start.elapsed() < 3 * DEADLINE {
        side.poll();
        match commands.try_recv() {
            Ok(command) => answer(&obey(&mut side, (&arena, &heap), &accelerator, &mut holds, &command)),
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Disconnected) => break,
        }
    }
}

fn obey(
    side: &mut Side,
    (arena, heap): (&Memory, &Memory),
    accelerator: &CpuAccelerator,
    holds: &mut Vec<Hold>,
    command: &str,
) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let number = |index: usize| words[index].parse::<usize>().unwrap();
    match words[0] {
        "connect" => {
            let remote: QueuePairAddress = postcard::from_bytes(&unhex(words[1])).unwrap();
            side.backend.connect(side.queue_pair, &remote, &ConnectOptions::default()).unwrap();
            String::new()
        }
        "digest" => {
            let memory = if words[1] == "arena" { arena } else { heap };
            digest(&memory.read(number(2), number(3))).to_string()
        }
        "receive" => {
            side.receive(number(1) as u64, &[heap.sge(number(2), number(3))]);
            String::new()
        }
        "read" => {
            let key = RemoteKey(number(2) as u32);
            let remote = RemoteAddress { address: number(1) as u64, key };
            side.post(1, super::read(remote, &[heap.sge(0, number(3))]));
            String::new()
        }
        "hold" => {
            holds.push(accelerator.hold_copies());
            String::new()
        }
        "held" => accelerator.held_copies().to_string(),
        "allocations" => accelerator.allocations().to_string(),
        "received" => {
            side.polled.drain(..).map(|done| format!("{}:{} ", done.id, done.byte_length)).collect()
        }
        other => panic!("unknown command {other}"),
    }
}

fn answer(text: &str) {
    println!("{MARK}{text}");
    std::io::stdout().flush().unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}
