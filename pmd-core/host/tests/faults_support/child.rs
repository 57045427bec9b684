//! Peers in processes of their own: the test executable runs itself again, as the test `part`, which plays the part
//! that the environment names.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
};

use pmd_core::memory::{Access, RemoteAddress, RemoteKey};

use super::{Memory, PATIENCE, Seen, open, within};

const PART: &str = "PMD_FAULTS_PART";
const MARK: &str = "says: ";

/// A peer that offers an arena and heap memory. Killed and reaped at the end at the latest.
pub struct Process {
    child: Child,
    _lifeline: ChildStdin,
    pub address: std::net::SocketAddr,
    arena: RemoteAddress,
    heap: RemoteAddress,
}

impl Process {
    /// Starts a peer whose memories have `length` bytes of value `byte` each.
    pub fn start(name: &str, length: usize, byte: u8) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "part", "--nocapture", "--test-threads=1"])
            .env(PART, format!("{name} {length} {byte}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        let reader = thread::spawn(move || {
            let said = output.lines().map_while(Result::ok);
            said.filter_map(|line| line.split_once(MARK).map(|(_, text)| text.to_owned()))
                .take(1)
                .for_each(|text| drop(sender.send(text)));
        });
        let lifeline = child.stdin.take().unwrap();
        let said = said.recv_timeout(PATIENCE).expect("the child says where it is");
        reader.join().unwrap();
        let words: Vec<&str> = said.split(' ').collect();
        let place = |at: usize| RemoteAddress {
            address: words[at].parse().unwrap(),
            key: RemoteKey(words[at + 1].parse().unwrap()),
        };
        let address = words[0].parse().unwrap();
        Self { child, _lifeline: lifeline, address, arena: place(1), heap: place(3) }
    }

    /// A place in the peer's arena or heap.
    pub fn remote(&self, arena: bool, offset: usize) -> RemoteAddress {
        let base = if arena { self.arena } else { self.heap };
        RemoteAddress { address: base.address + offset as u64, ..base }
    }

    /// SIGKILL, and waits for the end: neither the process nor a zombie is left.
    pub fn kill(mut self) {
        let pid = self.child.id();
        assert_eq!(files_of_dev_shm(pid), [""; 0], "would be left behind");
        self.child.kill().unwrap();
        within(|| self.child.try_wait().unwrap());
        assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "nothing is left of the process");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child process runs; returns at once in a parent.
pub fn run() {
    let Ok(part) = env::var(PART) else { return };
    let words: Vec<&str> = part.split(' ').collect();
    let (length, byte) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    let node = open(words[0]);
    let arena = Memory::arena(&node.endpoint, length, Access::READ_WRITE);
    let heap = Memory::heap(&node.endpoint, length, Access::READ_WRITE);
    arena.fill(byte);
    heap.fill(byte);
    let keys = [&arena, &heap].map(|memory| format!("{} {}", memory.address(), memory.key()));
    println!("{MARK}{} {} {}", node.endpoint.local_address().unwrap(), keys[0], keys[1]);
    std::io::stdout().flush().unwrap();
    thread::spawn(move || {
        // Ends with its parent, however that ends.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    while !matches!(node.seen.recv(), Ok(Seen::Message(_, bytes)) if bytes == b"end") {}
}

/// Files of /dev/shm that a process has open or mapped.
fn files_of_dev_shm(pid: u32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mapped = maps.lines().filter(|line| line.contains("/dev/shm")).map(str::to_owned);
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    let opened = targets.map(|target| target.display().to_string()).filter(|path| path.contains("/dev/shm"));
    mapped.chain(opened).collect()
}

/// Names in /dev/shm that could be this driver's.
pub fn shared_memory_files() -> BTreeSet<String> {
    let names = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("pmd") || name.contains("kv"))
        .collect()
}

/// What this process holds: its descriptors, and the bytes of memory files that it has mapped.
pub fn holdings() -> (usize, u64) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter(|line| line.contains("/memfd:pmd-")).map(length).sum();
    (fs::read_dir("/proc/self/fd").unwrap().count(), mapped)
}

/// Bytes of the range that a line of /proc/self/maps begins with.
fn length(line: &str) -> u64 {
    let (first, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let [first, end] = [first, end].map(|text| u64::from_str_radix(text, 16).unwrap());
    end - first
}
