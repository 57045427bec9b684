//! Workers and servers as processes that are killed, or fall silent, idle and with requests in flight. Who talked to them is
//! told, by a typed error and within the bound, nothing of them writes afterwards, and the others go on.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use af_api::{
    server::{BatchError, Gather, RespondError, Server, ServerConfig},
    tensor::{Layout, Tensor},
    wire::NodeIdentity,
    worker::{
        CancelOutcome, DownCause, Failure, FailureCause, Handle, PushPull, PushPullError, WaitError, Worker,
        WorkerConfig,
    },
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use pmd_host::{control::DownReason, endpoint::EndpointConfig};

const PATIENCE: Duration = Duration::from_secs(60);

/// Silence after which somebody is down, where a test waits for it.
const BOUND: Duration = Duration::from_secs(2);

/// The same in the other tests: longer than a busy machine takes for anything.
const NEVER: Duration = Duration::from_secs(30);

/// Set in the other processes: what it is, and the address that a worker connects to.
const ROLE: &str = "PMD_TEST_PEER";

const BYTES: u32 = 1 << 20;

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn node(rank: u32) -> NodeIdentity {
    NodeIdentity { rank, instance: 0, epoch: 1 }
}

fn bounded(endpoint: EndpointConfig, bound: Duration) -> EndpointConfig {
    EndpointConfig { keep_alive: Duration::from_millis(100), down_after: bound, ..endpoint }
}

fn server(rank: u32) -> Server {
    let config = ServerConfig::default();
    let endpoint = bounded(config.endpoint.clone(), NEVER);
    Server::open(ServerConfig { identity: node(rank), endpoint, ..config }).expect("a server")
}

fn worker(rank: u32, bound: Duration) -> Worker {
    let config = WorkerConfig::default();
    let endpoint = bounded(config.endpoint.clone(), bound);
    Worker::open(WorkerConfig { identity: node(rank), endpoint, ..config }).expect("a worker")
}

fn tensor(memory: &af_api::tensor::Memory, fill: u8) -> Tensor {
    let tensor = Tensor::new(memory, 0, Layout::of_bytes(BYTES)).expect("it fits");
    write(&tensor, fill);
    tensor
}

#[expect(unsafe_code, reason = "prepares memory that no request uses")]
fn write(tensor: &Tensor, fill: u8) {
    // SAFETY: called while no request uses the tensor.
    unsafe { tensor.write(&vec![fill; tensor.bytes() as usize]) }.expect("it fits");
}

#[expect(unsafe_code, reason = "looks at memory that no request uses")]
fn is_filled(tensor: &Tensor, fill: u8) -> bool {
    // SAFETY: called once no request uses the tensor.
    unsafe { tensor.read() }.iter().all(|byte| *byte == fill)
}

/// The other process: this test, with the role set. Lives until it is killed.
#[test]
fn other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    match words[0] {
        "server" => server_process(),
        role => worker_process(role, words[1].parse().expect("an address")),
    }
}

/// Answers requests with tag 1, and keeps the others in hands for ever.
fn server_process() {
    let server = server(0);
    println!("\nup {}", server.local_address().expect("it listens"));
    let answer = tensor(&server.allocate(BYTES as usize).expect("memory"), 7);
    let mut kept = Vec::new();
    loop {
        // The test's worker goes before its server does.
        let Ok(requests) = server.batch(Gather::Any, None) else { return };
        for request in requests {
            if request.tag() == 1 {
                let answers = vec![answer.clone(); request.pulls().count()];
                // The worker may have given this server up by now.
                let _ = request.respond(&answers);
            } else {
                kept.push(request);
                println!("\nkept {}", kept.len());
            }
        }
    }
}

/// Is connected, and if it is to be busy has asked for something.
fn worker_process(role: &str, address: SocketAddr) {
    let worker = worker(0, NEVER);
    worker.connect(0, address).expect("a server");
    let memory = worker.allocate(BYTES as usize).expect("memory");
    let tensor = tensor(&memory, 5);
    let asked = (role == "busy").then(|| {
        let request = PushPull::new().push(1, &tensor).pull(2, &tensor);
        worker.push_pull(&request, soon()).expect("submitted")
    });
    println!("\nup");
    thread::sleep(PATIENCE);
    drop(asked);
}

struct Process {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Process {
    fn spawn(role: &str) -> Self {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["other_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, said }
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

    fn signal(&self, signal: Signal) {
        kill(self.id(), signal).expect("a signal");
    }

    /// Stops it while it has nothing to do: when this returns, none of its threads runs. One that is stopped in the middle of
    /// moving bytes may write them when it goes on, so that nobody can be told before that that it does not.
    fn stop_idle(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.is_asleep() {
            assert!(Instant::now() < until, "it never rests");
            thread::yield_now();
        }
        self.signal(Signal::SIGSTOP);
        let stopped = WaitStatus::Stopped(self.id(), Signal::SIGSTOP);
        assert_eq!(waitpid(self.id(), Some(WaitPidFlag::WUNTRACED)), Ok(stopped));
    }

    /// Whether all of its threads sleep: lanes do only between two rounds of moving bytes.
    fn is_asleep(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("it is there");
        threads.map_while(Result::ok).all(|thread| {
            // One that has ended meanwhile does nothing. The state stands behind the name in brackets: proc(5).
            let line = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            line.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('S'))
        })
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server as a process, and its address.
fn server_elsewhere() -> (Process, SocketAddr) {
    let process = Process::spawn("server");
    let address = process.wait("up ").parse().expect("an address");
    (process, address)
}

fn cause_of(handle: &Handle) -> DownCause {
    match handle.wait(soon()) {
        Err(WaitError::Failed(Failure { server: 0, cause: FailureCause::Down(cause) })) => cause,
        other => panic!("{other:?}"),
    }
}

fn ask(worker: &Worker, request: &PushPull) -> Handle {
    worker.push_pull(request, soon()).expect("submitted")
}

#[test]
fn a_server_that_is_killed_busy_fails_what_it_owes_and_its_successor_goes_on() {
    let (mut process, address) = server_elsewhere();
    let other = server(1);
    let worker = worker(0, NEVER);
    worker.connect(0, address).expect("connected");
    worker.connect(1, other.local_address().expect("it listens")).expect("connected");
    let memory = worker.allocate(BYTES as usize).expect("memory");
    let tensor = tensor(&memory, 3);
    let served = PushPull::new().push_to(0, 1, &tensor).pull_from(0, 2, &tensor).tag(1);
    ask(&worker, &served).wait(soon()).expect("served");
    assert!(is_filled(&tensor, 7));

    let kept = ask(&worker, &PushPull::new().push_to(0, 1, &tensor).pull_from(0, 2, &tensor));
    process.wait("kept ");
    process.kill();
    // What is seen first depends on who looks first: the device, or the control connection.
    let cause = cause_of(&kept);
    assert!(matches!(cause, DownCause::Peer(DownReason::Closed) | DownCause::Route(_)), "{cause}");
    let refused = worker.push_pull(&served, soon()).expect_err("it is down");
    assert_eq!(refused, PushPullError::ServerDown { server: 0, cause });
    let alone = ask(&worker, &PushPull::new().push_to(1, 1, &tensor));
    for request in other.batch(Gather::All, soon()).expect("a batch") {
        request.respond(&[]).expect("a response");
    }
    alone.wait(soon()).expect("the other goes on");

    let (_successor, address) = server_elsewhere();
    worker.connect(0, address).expect("connected");
    write(&tensor, 0);
    ask(&worker, &served).wait(soon()).expect("served");
    assert!(is_filled(&tensor, 7));
}

#[test]
fn a_server_that_is_killed_idle_is_known_to_be_down() {
    let (mut process, address) = server_elsewhere();
    let worker = worker(0, NEVER);
    worker.connect(0, address).expect("connected");
    process.kill();
    let until = Instant::now() + PATIENCE;
    while worker.servers()[0].1.is_none() {
        assert!(Instant::now() < until, "nobody noticed");
        thread::yield_now();
    }
    assert!(matches!(
        worker.try_push_pull(&PushPull::new()),
        Err(PushPullError::ServerDown { server: 0, .. })
    ));
}

#[test]
fn a_server_that_falls_silent_is_down_within_the_bound_and_writes_nothing_when_it_goes_on() {
    let (process, address) = server_elsewhere();
    let worker = worker(0, BOUND);
    worker.connect(0, address).expect("connected");
    let memory = worker.allocate(BYTES as usize).expect("memory");
    let tensor = tensor(&memory, 3);
    let pull = PushPull::new().pull(2, &tensor).tag(1);
    ask(&worker, &pull).wait(soon()).expect("served");
    process.stop_idle();
    let handles: Vec<_> = (0..4).map(|_| ask(&worker, &pull)).collect();
    for handle in &handles {
        let cause = cause_of(handle);
        assert!(matches!(cause, DownCause::Peer(DownReason::Silent(_)) | DownCause::Route(_)), "{cause}");
    }
    assert!(matches!(handles[0].cancel(), CancelOutcome::Failed(_)));
    write(&tensor, 9);
    process.signal(Signal::SIGCONT);
    thread::sleep(Duration::from_millis(300));
    assert!(is_filled(&tensor, 9), "written by a server that was given up");
}

#[test]
fn a_worker_that_is_killed_is_told_and_the_others_are_served() {
    for role in ["busy", "idle"] {
        let server = server(0);
        let address = server.local_address().expect("it listens");
        let mut process = Process::spawn(&format!("{role} {address}"));
        process.wait("up");
        let in_hands =
            (role == "busy").then(|| server.batch(Gather::Any, soon()).expect("a request").remove(0));
        process.kill();
        let told = server.batch(Gather::Any, soon()).expect_err("it is down");
        assert!(matches!(told, BatchError::WorkerDown { worker, .. } if worker == node(0)), "{told}");
        if let Some(request) = in_hands {
            let pushed = request.pushes().next().and_then(|push| push.tensor()).expect("a tensor").clone();
            assert!(is_filled(&pushed, 5), "what it pushed is there still");
            let refused = request.respond(&[pushed]);
            assert!(matches!(refused, Err(RespondError::WorkerDown { worker }) if worker == node(0)));
        }
        let other = worker(1, NEVER);
        other.connect(0, address).expect("connected");
        let handle = ask(&other, &PushPull::new());
        for request in server.batch(Gather::All, soon()).expect("a batch") {
            request.respond(&[]).expect("a response");
        }
        handle.wait(soon()).expect("served");
    }
}
