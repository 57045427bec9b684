//! Members of a cluster as processes that are killed, or fall silent: worker, server and scheduler, idle and in a
//! barrier. The test's own process is one worker among them.

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use af_api::{
    config::{Config, ProcessRole},
    rendezvous::{
        Barrier, BarrierError, BarrierFailure, DownCause, Event, Member, MemberId, MemberState, Node, Role,
        Roles, Scheduler, SchedulerError, StartError,
    },
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use pmd_host::control::{ControlError, DownReason};

const PATIENCE: Duration = Duration::from_secs(60);

/// Silence after which somebody is down, where a test waits for it.
const BOUND: Duration = Duration::from_secs(3);

/// The same in the other tests: longer than a busy machine takes for anything.
const NEVER: Duration = Duration::from_secs(30);

/// Set in the other processes: role, rank, address of the scheduler, bound in milliseconds.
const ROLE: &str = "PMD_TEST_MEMBER";

/// Where the scheduler listens: no other test does, so that one that is started again finds its port free.
const APART: ([u8; 4], u16) = ([127, 18, 0, 4], 0);

const WORKERS: u32 = 2;

const SERVERS: u32 = 1;

fn config(role: ProcessRole, rank: u32, scheduler: SocketAddr, bound: Duration) -> Config {
    Config::new(role, WORKERS, SERVERS, scheduler)
        .with_node_rank(rank)
        .with_keep_alive(Duration::from_millis(100), bound)
        .with_start_timeout(PATIENCE)
}

fn everybody() -> Barrier {
    Barrier::new("everybody", Roles::WORKER | Roles::SERVER)
}

/// The other process: this test, with the role set. Does what its input says, until that ends.
#[test]
fn other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let words: Vec<&str> = role.split(' ').collect();
    let (rank, address) = (words[1].parse().unwrap_or(0), words[2].parse().expect("an address"));
    let bound = Duration::from_millis(words[3].parse().expect("a time"));
    let commands = lines_of(BufReader::new(std::io::stdin()));
    match words[0] {
        "poor" => poor_process(words[1], address, bound),
        "scheduler" => {
            let scheduler =
                Scheduler::start(&config(ProcessRole::Scheduler, rank, address, bound)).expect("a scheduler");
            println!("\nup {}", scheduler.local_address());
            let _ = commands.recv();
        }
        role => {
            let role = if role == "worker" { ProcessRole::Worker } else { ProcessRole::Server };
            node_process(&Node::start(config(role, rank, address, bound)).expect("a node"), &commands);
        }
    }
}

fn node_process(node: &Node, commands: &mpsc::Receiver<String>) {
    let epoch = |node: &Node| node.member(node.ids()[0]).expect("itself").epoch;
    println!("\nup {}", epoch(node));
    while let Ok(command) = commands.recv() {
        match command.as_str() {
            "barrier" => {
                println!("\nentering");
                let released = node.barrier(&everybody(), PATIENCE);
                println!(
                    "\nbarrier {}",
                    released.map_or_else(|error| error.to_string(), |()| "released".into())
                );
            }
            "rejoin" => {
                while node.scheduler_lost().is_none() {
                    let _ = node.wait_event(BOUND);
                }
                node.rejoin().expect("joined again");
                println!("\nup {}", epoch(node));
            }
            other => panic!("no command {other:?}"),
        }
    }
}

/// Starts a node and a scheduler where the process may open no more files, or has no memory for another thread, and says
/// why they did not start.
fn poor_process(lacking: &str, address: SocketAddr, bound: Duration) {
    let (mut files, mut memory) = (Vec::new(), Vec::new());
    if lacking == "files" {
        files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
    } else {
        // Down to less than the stack of a thread.
        for power in (20..31).rev() {
            let reserve = || {
                let mut block = Vec::<u8>::new();
                block.try_reserve_exact(1 << power).ok().map(|()| block)
            };
            memory.extend(std::iter::from_fn(reserve));
        }
    }
    let node = Node::start(config(ProcessRole::Worker, 0, address, bound)).err();
    let scheduler = Scheduler::start(&config(ProcessRole::Scheduler, 0, address, bound)).err();
    drop((files, memory));
    let node = match node {
        Some(StartError::Identity(_)) => "identity".to_owned(),
        Some(StartError::Control(ControlError::Start { .. })) => "control".to_owned(),
        other => format!("{other:?}"),
    };
    let scheduler = match scheduler {
        Some(SchedulerError::Identity(_)) => "identity".to_owned(),
        Some(SchedulerError::Control(ControlError::Start { .. })) => "control".to_owned(),
        other => format!("{other:?}"),
    };
    println!("\nfound {node} {scheduler}");
}

struct Process {
    child: Child,
    input: ChildStdin,
    said: mpsc::Receiver<String>,
    /// What it said when it was up: its epoch, or a scheduler's address.
    up: String,
}

impl Process {
    fn spawn(role: &str, rank: u32, address: SocketAddr, bound: Duration) -> Self {
        let role = format!("{role} {rank} {address} {}", bound.as_millis());
        Self::run(Command::new(env::current_exe().expect("this test")), &role)
    }

    /// Within a limit, as `ulimit` takes it.
    fn spawn_within(limit: &str, lacking: &str) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script]).arg(env::current_exe().expect("this test"));
        Self::run(shell, &format!("poor {lacking} 127.18.0.4:0 1000"))
    }

    fn run(mut command: Command, role: &str) -> Self {
        let mut child = command
            .args(["other_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let said = lines(child.stdout.take().expect("piped"));
        let input = child.stdin.take().expect("piped");
        Self { child, input, said, up: String::new() }
    }

    fn wait_up(mut self) -> Self {
        self.up = self.wait("up ");
        self
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("written");
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

    /// Stops it: when this returns, none of its threads runs.
    fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let stopped = WaitStatus::Stopped(self.id(), Signal::SIGSTOP);
        assert_eq!(waitpid(self.id(), Some(WaitPidFlag::WUNTRACED)), Ok(stopped));
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

fn lines(output: ChildStdout) -> mpsc::Receiver<String> {
    lines_of(BufReader::new(output))
}

fn lines_of(output: impl BufRead + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A scheduler, worker 1 and the server as processes; worker 0 is here.
struct Cluster {
    scheduler: Process,
    address: SocketAddr,
    worker: Process,
    server: Process,
    here: Node,
}

impl Cluster {
    fn start(bound: Duration) -> Self {
        let scheduler = Process::spawn("scheduler", 0, APART.into(), bound).wait_up();
        let address = scheduler.up.parse().expect("an address");
        let worker = Process::spawn("worker", 1, address, bound);
        let server = Process::spawn("server", 0, address, bound);
        let here = Node::start(config(ProcessRole::Worker, 0, address, bound)).expect("a node");
        Self { scheduler, address, worker: worker.wait_up(), server: server.wait_up(), here }
    }

    fn event(&self) -> Event {
        self.here.wait_event(PATIENCE).expect("an event")
    }

    /// Everybody is released from one barrier.
    fn is_well(&mut self) {
        self.worker.tell("barrier");
        self.server.tell("barrier");
        self.here.barrier(&everybody(), PATIENCE).expect("released");
        assert_eq!(self.worker.wait("barrier "), "released");
        assert_eq!(self.server.wait("barrier "), "released");
    }
}

fn down(event: Event) -> (Member, DownCause) {
    match event {
        Event::Down { member, cause } => (member, cause),
        other => panic!("not down: {other:?}"),
    }
}

#[test]
fn a_process_without_files_or_memory_for_it_is_told_so() {
    assert_eq!(Process::spawn_within("-n 64", "files").wait("found "), "identity identity");
    assert_eq!(Process::spawn_within("-v 3000000", "memory").wait("found "), "control control");
}

#[test]
fn members_that_are_killed_idle_are_told_and_come_back_with_new_epochs() {
    let mut cluster = Cluster::start(NEVER);
    cluster.is_well();
    for epoch in 1..=2 {
        cluster.worker.kill();
        let (member, cause) = down(cluster.event());
        assert_eq!((member.id, member.epoch, cause), (MemberId::worker(1), epoch, DownCause::Closed));
        cluster.worker = Process::spawn("worker", 1, cluster.address, NEVER).wait_up();
        assert_eq!(cluster.worker.up, (epoch + 1).to_string());
        let back = cluster.here.wait_member(MemberId::worker(1), epoch, PATIENCE).expect("it is back");
        assert_eq!(cluster.event(), Event::Joined(back));
    }
    cluster.server.kill();
    assert_eq!(down(cluster.event()).0.id, MemberId::server(0));
    cluster.server = Process::spawn("server", 0, cluster.address, NEVER).wait_up();
    assert!(matches!(cluster.event(), Event::Joined(member) if member.epoch == 2));
    cluster.is_well();
}

#[test]
fn a_barrier_ends_for_all_when_a_member_in_it_is_killed() {
    let mut cluster = Cluster::start(NEVER);
    let killed = [MemberId::worker(1), MemberId::server(0)];
    for victim in killed {
        let (dying, other) = if victim.role == Role::Worker {
            (&mut cluster.worker, &mut cluster.server)
        } else {
            (&mut cluster.server, &mut cluster.worker)
        };
        dying.tell("barrier");
        dying.wait("entering");
        other.tell("barrier");
        other.wait("entering");
        dying.kill();
        assert!(other.wait("barrier ").contains(&victim.to_string()));
        assert_eq!(down(cluster.event()).0.id, victim);
        let error = cluster.here.barrier(&everybody(), PATIENCE).expect_err("it is down");
        let failure = BarrierFailure::Down(vec![victim]);
        assert_eq!(error, BarrierError::Failed { name: "everybody".into(), failure });
        let process = Process::spawn(&victim.role.to_string(), victim.rank, cluster.address, NEVER).wait_up();
        match victim.role {
            Role::Worker => cluster.worker = process,
            _ => cluster.server = process,
        }
        assert!(matches!(cluster.event(), Event::Joined(member) if member.id == victim && member.epoch == 2));
        cluster.is_well();
    }
}

#[test]
fn a_scheduler_that_is_killed_ends_barriers_and_its_successor_gathers_everybody_again() {
    let mut cluster = Cluster::start(NEVER);
    cluster.server.tell("barrier");
    cluster.server.wait("entering");
    cluster.scheduler.kill();
    assert!(cluster.server.wait("barrier ").contains("the scheduler is lost"));
    assert_eq!(cluster.event(), Event::SchedulerLost(DownReason::Closed));
    let error = cluster.here.barrier(&everybody(), PATIENCE).expect_err("nobody releases");
    assert_eq!(error, BarrierError::SchedulerLost { name: "everybody".into(), reason: DownReason::Closed });
    assert_eq!(cluster.here.members().len(), 3, "push-pulls go on among those who are known");

    cluster.scheduler = Process::spawn("scheduler", 0, cluster.address, NEVER).wait_up();
    cluster.worker.tell("rejoin");
    cluster.server.tell("rejoin");
    cluster.here.rejoin().expect("joined again");
    cluster.worker.wait("up ");
    cluster.server.wait("up ");
    cluster.is_well();
}

#[test]
fn a_member_that_falls_silent_is_down_within_the_bound_and_rejoins() {
    let mut cluster = Cluster::start(BOUND);
    cluster.worker.stop();
    let begin = Instant::now();
    let (member, cause) = down(cluster.event());
    assert_eq!(member.id, MemberId::worker(1));
    assert!(matches!(cause, DownCause::Silent(silence) if silence >= BOUND), "{cause:?}");
    assert!(begin.elapsed() < PATIENCE);
    // A successor may take the place already; here the process itself wakes up and asks for it.
    cluster.worker.signal(Signal::SIGCONT);
    cluster.worker.tell("rejoin");
    let back = cluster.here.wait_member(MemberId::worker(1), 1, PATIENCE).expect("it is back");
    assert_eq!((back.epoch, &back.state), (2, &MemberState::Up));
    assert_eq!(cluster.worker.wait("up "), "2");
    cluster.is_well();
}

#[test]
fn a_scheduler_that_falls_silent_ends_a_barrier_within_the_bound() {
    let cluster = Cluster::start(BOUND);
    cluster.scheduler.stop();
    let begin = Instant::now();
    let error = cluster.here.barrier(&everybody(), PATIENCE).expect_err("nobody releases");
    let silent = |reason: &DownReason| matches!(reason, DownReason::Silent(silence) if *silence >= BOUND);
    assert!(matches!(&error, BarrierError::SchedulerLost { reason, .. } if silent(reason)), "{error}");
    assert!(begin.elapsed() < PATIENCE);
    assert!(matches!(cluster.event(), Event::SchedulerLost(reason) if silent(&reason)));
}
