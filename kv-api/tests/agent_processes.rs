//! Agents in two processes: transfers both ways, notifications, and a peer that is killed in the middle and comes back.
#![allow(unsafe_code)] // looks at memory that transfers write

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    slice,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kv_api::agent::{
    Agent, AgentConfig, AgentError, DescriptorList, Phase, Request, Status, backend::Registration,
};
use pmd_host::{soft::ArenaOptions, transfer::Direction};

const PATIENCE: Duration = Duration::from_secs(60);

const BLOCK: u64 = 4096;

const BLOCKS: u64 = 256;

/// Set in the other process.
const ROLE: &str = "PMD_TEST_AGENT";

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn blocks(start: u64) -> DescriptorList {
    DescriptorList::dram((0..BLOCKS).map(|index| (start + index * BLOCK, BLOCK)))
}

fn bytes(registration: &Registration) -> &[u8] {
    // SAFETY: the tests look at memory only while no transfer writes it.
    unsafe { slice::from_raw_parts(registration.address() as *const u8, registration.length() as usize) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// The other process: this test, with the role set. Says its metadata and its list, then answers each notification with
/// one of the same bytes, until its input ends.
#[test]
fn other_process() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let agent = Agent::open(AgentConfig::new("other")).expect("an agent");
    let memory = agent.allocate((BLOCKS * BLOCK) as usize, ArenaOptions::default()).expect("memory");
    // SAFETY: nobody knows of the memory yet.
    unsafe { (memory.address() as *mut u8).write_bytes(0xee, memory.length() as usize) };
    println!("\nmetadata {} {}", hex(&agent.local_metadata()), hex(&blocks(memory.address()).to_bytes()));
    let answering = agent.clone();
    thread::spawn(move || {
        loop {
            for notification in answering.wait_notifications(soon()) {
                // Nobody answers one that has not introduced itself.
                let _ = answering.notify(&notification.agent, &notification.bytes);
            }
        }
    });
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
        let answer = agent.load_remote_metadata(&from_hex(line.trim()));
        println!("\nloaded {}", answer.expect("metadata"));
        line.clear();
    }
}

struct Other {
    child: Child,
    input: ChildStdin,
    said: mpsc::Receiver<String>,
    metadata: Vec<u8>,
    list: DescriptorList,
}

impl Other {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["other_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let said = lines(child.stdout.take().expect("piped"));
        let input = child.stdin.take().expect("piped");
        let mut other = Self { child, input, said, metadata: Vec::new(), list: DescriptorList::default() };
        let words = other.wait("metadata ");
        let (metadata, list) = words.split_once(' ').expect("two words");
        other.metadata = from_hex(metadata);
        other.list = DescriptorList::from_bytes(&from_hex(list)).expect("a list");
        other
    }

    /// What it says after a word.
    fn wait(&self, word: &str) -> String {
        loop {
            let line = self.said.recv_timeout(PATIENCE).expect("it says something");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.to_owned();
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn request(
    here: &Agent,
    memory: &Registration,
    other: &Other,
    direction: Direction,
) -> Result<Request, AgentError> {
    let local = here.prepare_local(&blocks(memory.address()))?;
    let remote = here.prepare_remote("other", &other.list)?;
    let (from, to): (Vec<u32>, Vec<u32>) =
        (0..BLOCKS as u32).map(|index| (index, index * 37 % BLOCKS as u32)).unzip();
    here.make_request(direction, &local, &from, &remote, &to)
}

fn memory(here: &Agent) -> Registration {
    here.allocate((BLOCKS * BLOCK) as usize, ArenaOptions::default()).expect("memory")
}

#[test]
fn blocks_and_notifications_go_both_ways() {
    let mut other = Other::start();
    let here = Agent::open(AgentConfig::new("here")).expect("an agent");
    let memory = memory(&here);
    here.load_remote_metadata(&other.metadata).expect("loaded");
    let said = hex(&here.local_metadata());
    writeln!(other.input, "{said}").expect("written");
    assert_eq!(other.wait("loaded "), "here");

    let read = request(&here, &memory, &other, Direction::Read).expect("made");
    read.post(Some(b"read")).expect("posted");
    assert_eq!(read.wait(Some(soon())).expect("done"), Status::Success);
    assert!(bytes(&memory).iter().all(|byte| *byte == 0xee));
    assert_eq!(here.wait_notifications(soon())[0].bytes, b"read");

    for index in 0..BLOCKS {
        let block = (memory.address() + index * BLOCK) as *mut u8;
        // SAFETY: no transfer runs.
        unsafe { block.write_bytes(index as u8, BLOCK as usize) };
    }
    let long = vec![7; 1 << 20];
    let write = request(&here, &memory, &other, Direction::Write).expect("made");
    for _ in 0..3 {
        write.post(Some(&long)).expect("posted");
        assert_eq!(write.wait(Some(soon())).expect("done"), Status::Success);
        assert!(here.wait_notifications(soon())[0].bytes == long);
    }
    // SAFETY: no transfer runs.
    unsafe { (memory.address() as *mut u8).write_bytes(0, memory.length() as usize) };
    read.post(None).expect("posted");
    assert_eq!(read.wait(Some(soon())).expect("done"), Status::Success);
    let blocks = bytes(&memory).chunks(BLOCK as usize).enumerate();
    blocks.for_each(|(index, block)| assert!(block.iter().all(|byte| usize::from(*byte) == index)));
}

#[test]
fn a_killed_agent_ends_what_is_in_flight_and_its_successor_is_another() {
    let mut other = Other::start();
    let here = Agent::open(AgentConfig::new("here")).expect("an agent");
    let memory = memory(&here);
    here.load_remote_metadata(&other.metadata).expect("loaded");
    let write = request(&here, &memory, &other, Direction::Write).expect("made");
    write.post(None).expect("posted");
    assert_eq!(write.wait(Some(soon())).expect("done"), Status::Success);

    // Requests go on while it dies; each one ends.
    let deadline = soon();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        other.kill();
        other
    });
    let lost = loop {
        let ended = write.post(Some(b"?")).and_then(|_| write.wait(Some(deadline)));
        match ended {
            Ok(status) => assert_eq!(status, Status::Success, "it never ends"),
            Err(error) => break error,
        }
    };
    assert_eq!(lost.status(), Status::RemoteDisconnect, "{lost}");
    assert!(!matches!(write.phase(), Phase::Active | Phase::Aborting));
    drop(killer.join().expect("killed"));
    let notify = || here.notify("other", b"?").map_err(|error| error.status());
    while notify() != Err(Status::RemoteDisconnect) {
        assert!(Instant::now() < deadline, "notifications to the dead are taken");
    }

    let successor = Other::start();
    // Its death is known, or will be soon: then the successor takes its place.
    while let Err(error) = here.load_remote_metadata(&successor.metadata) {
        assert_eq!(error.status(), Status::NotAllowed, "{error}");
        assert!(Instant::now() < deadline, "its death is never known");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(write.post(None).expect_err("made for the former life").status(), Status::NotFound);
    let write = request(&here, &memory, &successor, Direction::Write).expect("made");
    write.post(None).expect("posted");
    assert_eq!(write.wait(Some(soon())).expect("done"), Status::Success);
    let memory_again = DescriptorList::dram([(memory.address(), memory.length())]);
    here.deregister(&memory_again).expect("nothing uses it");
}
