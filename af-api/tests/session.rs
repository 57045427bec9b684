//! Sessions as processes that are killed in the middle of push-pulls, and come again.
#![allow(unsafe_code)] // fills and looks at tensors

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use af_api::{
    config::{Config, ProcessRole},
    rendezvous::{Event, MemberId, Scheduler},
    server::{BatchError, Gather, RespondError, Server},
    session::Session,
    tensor::{Layout, Tensor},
    worker::{PushPull, Worker},
};

const PATIENCE: Duration = Duration::from_secs(60);

const BYTES: u32 = 64 << 10;

/// Set in the other processes: role, rank, workers, servers, address of the scheduler.
const ROLE: &str = "PMD_TEST_SESSION";

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn config(role: ProcessRole, rank: u32, shape: (u32, u32), scheduler: SocketAddr) -> Config {
    Config::new(role, shape.0, shape.1, scheduler).with_node_rank(rank).with_start_timeout(PATIENCE)
}

fn worker_tensor(worker: &Worker, fill: u8) -> Tensor {
    filled(Tensor::new(&worker.allocate(BYTES as usize).expect("memory"), 0, Layout::of_bytes(BYTES)), fill)
}

fn server_tensor(server: &Server, fill: u8) -> Tensor {
    filled(Tensor::new(&server.allocate(BYTES as usize).expect("memory"), 0, Layout::of_bytes(BYTES)), fill)
}

fn filled(tensor: Result<Tensor, af_api::tensor::TensorError>, fill: u8) -> Tensor {
    let tensor = tensor.expect("it fits");
    // SAFETY: nobody knows of it yet.
    unsafe { tensor.write(&vec![fill; BYTES as usize]) }.expect("it fits");
    tensor
}

fn is_filled(tensor: &Tensor, byte: u8) -> bool {
    // SAFETY: no request uses it.
    unsafe { tensor.read() }.iter().all(|found| *found == byte)
}

/// The other process: this test, with the role set. A server answers every request with its rank + 1, a worker pushes
/// without end.
#[test]
fn other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    // It ends with its parent, whatever it is doing.
    thread::spawn(|| {
        let _ = std::io::stdin().read_line(&mut String::new());
        std::process::exit(0);
    });
    let words: Vec<&str> = role.split(' ').collect();
    let number = |index: usize| words[index].parse().expect("a number");
    let role = if words[0] == "worker" { ProcessRole::Worker } else { ProcessRole::Server };
    let address = words[4].parse().expect("an address");
    let session =
        Session::start(config(role, number(1), (number(2), number(3)), address)).expect("a session");
    println!("\nup");
    if let Some(server) = session.server() {
        let answer = server_tensor(server, number(1) as u8 + 1);
        loop {
            match server.batch(Gather::Any, soon()) {
                Ok(requests) => requests.into_iter().for_each(|request| {
                    let _ = request.respond(std::slice::from_ref(&answer));
                }),
                Err(BatchError::WorkerDown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    let worker = session.worker().expect("it is one");
    let (push, pull) = (worker_tensor(worker, 7), worker_tensor(worker, 0));
    loop {
        let request = PushPull::new().push(1, &push).pull(2, &pull);
        worker.push_pull(&request, soon()).expect("taken").wait(soon()).expect("answered");
    }
}

struct Process {
    child: Child,
    _input: ChildStdin,
}

impl Process {
    fn start(role: &str, rank: u32, shape: (u32, u32), scheduler: SocketAddr) -> mpsc::Receiver<Self> {
        let mut child = Command::new(env::current_exe().expect("this test"))
            .args(["other_process", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{role} {rank} {} {} {scheduler}", shape.0, shape.1))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let output = child.stdout.take().expect("piped");
        let input = child.stdin.take().expect("piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut process = Some(Self { child, _input: input });
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line == "up" {
                    let _ = process.take().map(|process| sender.send(process));
                }
            }
        });
        receiver
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

fn up(process: &mpsc::Receiver<Process>) -> Process {
    process.recv_timeout(PATIENCE).expect("it is up")
}

fn scheduler(shape: (u32, u32)) -> Scheduler {
    Scheduler::start(&config(ProcessRole::Scheduler, 0, shape, ([127, 0, 0, 1], 0).into()))
        .expect("a scheduler")
}

#[test]
fn a_server_killed_in_the_middle_of_push_pulls_fails_only_its_own() {
    let shape = (1, 2);
    let scheduler = scheduler(shape);
    let address = scheduler.local_address();
    let starting = [0, 1].map(|rank| Process::start("server", rank, shape, address));
    let session = Session::start(config(ProcessRole::Worker, 0, shape, address)).expect("a session");
    let [_first, mut second] = starting.map(|process| up(&process));
    let worker = session.worker().expect("it is one");
    let (push, pulls) = (worker_tensor(worker, 7), [worker_tensor(worker, 0), worker_tensor(worker, 0)]);
    let to = |rank: u32| {
        let request =
            PushPull::new().servers([rank]).push(1, &push).pull_from(rank, 2, &pulls[rank as usize]);
        let handle = worker.push_pull(&request, soon()).map_err(|error| error.to_string())?;
        handle.wait(soon()).map(drop).map_err(|error| error.to_string())
    };
    (0..100).for_each(|_| (0..2).for_each(|rank| to(rank).expect("answered")));

    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        second.kill();
    });
    let deadline = Instant::now() + PATIENCE;
    while to(1).is_ok() {
        to(0).expect("the other goes on");
        assert!(Instant::now() < deadline, "it never ends");
    }
    killer.join().expect("killed");
    to(0).expect("the other goes on");
    assert!(to(1).is_err(), "it stays down");
    let event = session.node().wait_event(PATIENCE).expect("an event");
    assert!(matches!(event, Event::Down { member, .. } if member.id == MemberId::server(1)));

    let _third = up(&Process::start("server", 1, shape, address));
    assert_eq!(session.connect(1, PATIENCE).expect("connected").epoch, 2);
    (0..2).for_each(|rank| to(rank).expect("answered"));
    assert!(is_filled(&pulls[0], 1) && is_filled(&pulls[1], 2));
}

#[test]
fn a_worker_killed_in_the_middle_of_push_pulls_is_told_and_its_successor_is_served() {
    let shape = (2, 1);
    let scheduler = scheduler(shape);
    let address = scheduler.local_address();
    let starting = [0, 1].map(|rank| Process::start("worker", rank, shape, address));
    let session = Session::start(config(ProcessRole::Server, 0, shape, address)).expect("a session");
    let [_first, mut second] = starting.map(|process| up(&process));
    let server = session.server().expect("it is one");
    let answer = server_tensor(server, 1);
    let answer_all = |rounds: u32| {
        for _ in 0..rounds {
            let requests = server.batch(Gather::All, soon())?;
            assert_eq!(requests.iter().map(|request| request.worker().rank).collect::<Vec<_>>(), [0, 1]);
            for request in requests {
                let response = request.respond(std::slice::from_ref(&answer)).expect("sent");
                response.wait(soon()).expect("written");
            }
        }
        Ok::<(), BatchError>(())
    };
    answer_all(50).expect("both ask");
    // A request of the dying one is in the server's hands.
    let held = server.batch(Gather::All, soon()).expect("both ask");
    second.kill();
    let Err(down) = server.batch(Gather::All, soon()) else {
        panic!("one of them has an answer to wait for")
    };
    assert!(
        matches!(down, BatchError::WorkerDown { worker, .. } if worker.rank == 1 && worker.epoch == 1),
        "{down}"
    );
    for request in held {
        let rank = request.worker().rank;
        match request.respond(std::slice::from_ref(&answer)) {
            Ok(response) => assert!(rank == 0 && response.wait(soon()).is_ok()),
            Err(error) => assert!(rank == 1 && matches!(error, RespondError::WorkerDown { .. }), "{error}"),
        }
    }
    // The other is served alone meanwhile.
    for _ in 0..10 {
        let request = server.batch(Gather::Any, soon()).expect("it asks").remove(0);
        assert_eq!(request.worker().rank, 0);
        request.respond(std::slice::from_ref(&answer)).expect("sent").wait(soon()).expect("written");
    }
    let _third = up(&Process::start("worker", 1, shape, address));
    answer_all(10).expect("both ask");
    let epochs: Vec<_> = server.workers().iter().map(|worker| (worker.rank, worker.epoch)).collect();
    assert_eq!(epochs, [(0, 1), (1, 2)]);
}
