//! Sessions that move tensors: eager and lazy, joint, servers that come again, ends.
#![allow(unsafe_code)] // fills and looks at tensors

use std::thread;

use pmd_host::identity::DeviceId;

use super::*;
use crate::{
    config::{ProcessRole, WaitFor},
    rendezvous::{BarrierError, BarrierFailure, Event, Scheduler, StartError},
    server::Gather,
    tensor::{Layout, Tensor},
    worker::PushPull,
};

const PATIENCE: Duration = Duration::from_secs(30);

const SHORT: Duration = Duration::from_millis(200);

const BYTES: u32 = 100_000;

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn scheduler(workers: u32, servers: u32) -> Scheduler {
    // One that is started again finds its port free: no other test listens at this address.
    Scheduler::start(&Config::new(ProcessRole::Scheduler, workers, servers, ([127, 18, 0, 2], 0).into()))
        .unwrap()
}

fn config(scheduler: &Scheduler, role: ProcessRole, shape: (u32, u32), rank: u32) -> Config {
    Config::new(role, shape.0, shape.1, scheduler.local_address())
        .with_node_rank(rank)
        .with_start_timeout(PATIENCE)
        .with_keep_alive(Duration::from_millis(200), Duration::from_secs(10))
}

fn form(
    scheduler: &Scheduler,
    workers: u32,
    servers: u32,
    connecting: Connecting,
) -> (Vec<Session>, Vec<Session>) {
    let start = |role, rank| {
        let config = config(scheduler, role, (workers, servers), rank);
        let options = SessionOptions { connecting, ..SessionOptions::default() };
        thread::spawn(move || Session::start_with(config, options).unwrap())
    };
    let join = |threads: Vec<thread::JoinHandle<Session>>| {
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    };
    let worker_threads = (0..workers).map(|rank| start(ProcessRole::Worker, rank)).collect();
    let server_threads = (0..servers).map(|rank| start(ProcessRole::Server, rank)).collect();
    (join(worker_threads), join(server_threads))
}

/// Pushes bytes to every server, which respond with twice of each; checks what comes back.
fn round(workers: &[&Session], servers: &[&Session], value: u8) {
    let tensors: Vec<(Tensor, Vec<Tensor>)> = workers
        .iter()
        .map(|session| {
            let worker = session.worker().unwrap();
            let tensor = || {
                Tensor::new(&worker.allocate(BYTES as usize).unwrap(), 0, Layout::of_bytes(BYTES)).unwrap()
            };
            let push = tensor();
            // SAFETY: no request uses it.
            unsafe { push.write(&vec![value; BYTES as usize]) }.unwrap();
            (push, servers.iter().map(|_| tensor()).collect())
        })
        .collect();
    thread::scope(|scope| {
        for session in servers {
            scope.spawn(|| serve(session.server().unwrap(), workers.len()));
        }
        for (session, (push, pulls)) in workers.iter().zip(&tensors) {
            let ranks = servers.iter().map(|server| server.node().ids()[0].rank);
            let request = PushPull::new().servers(ranks.clone()).push(1, push);
            let request =
                ranks.zip(pulls).fold(request, |request, (rank, pull)| request.pull_from(rank, 2, pull));
            let handle = session.worker().unwrap().push_pull(&request, soon()).unwrap();
            handle.wait(soon()).unwrap();
        }
    });
    for pull in tensors.iter().flat_map(|(_, pulls)| pulls) {
        // SAFETY: the request is done.
        assert!(unsafe { pull.read() }.iter().all(|found| *found == 2 * value));
    }
}

fn serve(server: &Server, requests: usize) {
    for _ in 0..requests {
        let request = server.batch(Gather::Any, soon()).unwrap().remove(0);
        let pushed = request.pushes().next().unwrap().tensor().unwrap();
        // SAFETY: the slot is this request's until it is responded to.
        let answer: Vec<u8> = unsafe { pushed.read() }.iter().map(|byte| byte * 2).collect();
        let tensor =
            Tensor::new(&server.allocate(answer.len()).unwrap(), 0, Layout::of_bytes(BYTES)).unwrap();
        // SAFETY: nobody knows of it yet.
        unsafe { tensor.write(&answer) }.unwrap();
        request.respond(&[tensor]).unwrap().wait(soon()).unwrap();
    }
}

fn all(sessions: &[Session]) -> Vec<&Session> {
    sessions.iter().collect()
}

#[test]
fn workers_reach_every_server_from_the_start() {
    let scheduler = scheduler(3, 2);
    let (workers, servers) = form(&scheduler, 3, 2, Connecting::Eager);
    for session in &workers {
        assert!(session.server().is_none());
        let ranks: Vec<_> =
            session.worker().unwrap().servers().iter().map(|(server, _)| server.rank).collect();
        assert_eq!(ranks, [0, 1]);
    }
    assert_eq!(servers[1].server().unwrap().identity(), NodeIdentity { rank: 1, instance: 0, epoch: 1 });
    round(&all(&workers), &all(&servers), 3);
    assert!(matches!(servers[0].connect(0, SHORT), Err(SessionError::NoWorker)));
    thread::scope(|scope| {
        for session in workers.into_iter().chain(servers) {
            scope.spawn(|| session.finish(PATIENCE).unwrap());
        }
    });
    assert!(scheduler.wait_finished(PATIENCE));
}

#[test]
fn a_lazy_worker_connects_to_whom_it_needs() {
    let scheduler = scheduler(1, 3);
    let (workers, servers) = form(&scheduler, 1, 3, Connecting::Lazy);
    let worker = workers[0].worker().unwrap();
    assert_eq!(worker.servers(), []);
    for _ in 0..2 {
        assert_eq!(workers[0].connect(2, PATIENCE).unwrap(), NodeIdentity { rank: 2, instance: 0, epoch: 1 });
    }
    assert_eq!(worker.servers().len(), 1);
    assert_eq!(servers[2].server().unwrap().workers().len(), 1, "one connection for two calls");
    round(&[&workers[0]], &[&servers[2]], 5);
    let error = workers[0].connect(3, SHORT).unwrap_err();
    assert!(matches!(error, SessionError::Wait(WaitError::Missing { .. })), "{error}");
}

#[test]
fn a_joint_process_is_its_own_server_too() {
    let scheduler = scheduler(1, 1);
    let joint = Session::start(config(&scheduler, ProcessRole::Joint, (1, 1), 0)).unwrap();
    round(&[&joint], &[&joint], 7);
}

#[test]
fn a_server_that_comes_again_is_connected_anew_while_the_others_go_on() {
    let scheduler = scheduler(1, 2);
    let (workers, mut servers) = form(&scheduler, 1, 2, Connecting::Eager);
    drop(servers.remove(1));
    // Before it has heard of that it takes the server for connected.
    let left = workers[0].node().wait_event(PATIENCE);
    assert!(matches!(&left, Some(Event::Left(member)) if member.id == MemberId::server(1)), "{left:?}");
    let error = workers[0].connect(1, SHORT).unwrap_err();
    assert!(matches!(error, SessionError::Wait(WaitError::Missing { .. })), "{error}");
    round(&[&workers[0]], &[&servers[0]], 9);
    servers.push(Session::start(config(&scheduler, ProcessRole::Server, (1, 2), 1)).unwrap());
    assert_eq!(workers[0].connect(1, PATIENCE).unwrap().epoch, 2);
    round(&[&workers[0]], &all(&servers), 11);
}

#[test]
fn push_pulls_go_on_without_the_scheduler_and_with_its_successor() {
    let first = scheduler(1, 1);
    let address = first.local_address();
    let (workers, servers) = form(&first, 1, 1, Connecting::Eager);
    drop(first);
    while workers[0].node().scheduler_lost().is_none() {
        let _ = workers[0].node().wait_event(SHORT);
    }
    round(&all(&workers), &all(&servers), 1);
    assert_eq!(workers[0].connect(0, PATIENCE).unwrap().epoch, 1, "it is still connected");
    let second = Scheduler::start(&Config::new(ProcessRole::Scheduler, 1, 1, address)).unwrap();
    thread::scope(|scope| {
        workers.iter().chain(&servers).for_each(|session| drop(scope.spawn(|| session.rejoin().unwrap())));
    });
    assert_eq!(servers[0].server().unwrap().identity().epoch, 2);
    assert_eq!(workers[0].connect(0, PATIENCE).unwrap().epoch, 2);
    round(&all(&workers), &all(&servers), 2);
    drop(second);
}

#[test]
fn a_server_that_is_not_what_was_announced_is_not_taken_for_it() {
    let scheduler = scheduler(1, 3);
    let lazy = SessionOptions { connecting: Connecting::Lazy, ..SessionOptions::default() };
    let worker = config(&scheduler, ProcessRole::Worker, (1, 3), 0).with_wait_for(WaitFor::Nobody);
    let worker = Session::start_with(worker, lazy).unwrap();
    let other =
        Server::open(ServerConfig { identity: NodeIdentity::default(), ..ServerConfig::default() }).unwrap();
    let announce = |rank, data: Option<DataAddress>| {
        let config = config(&scheduler, ProcessRole::Server, (1, 3), rank).with_wait_for(WaitFor::Nobody);
        Node::start(Config { server_data: data, ..config }).unwrap()
    };
    let address = other.local_address().unwrap();
    let stale = DataAddress { address, incarnation: DeviceId([1; 16]) };
    let _nodes = [announce(0, Some(stale)), announce(1, Some(stale)), announce(2, None)];
    (0..3).for_each(|rank| drop(worker.node().wait_member(MemberId::server(rank), 0, PATIENCE).unwrap()));
    let error = worker.connect(0, SHORT).unwrap_err();
    assert!(matches!(error, SessionError::Stale { rank: 0, address: at } if at == address), "{error}");
    let error = worker.connect(1, SHORT).unwrap_err();
    assert!(matches!(error, SessionError::Connect { rank: 1, .. }), "another rank answers: {error}");
    let error = worker.connect(2, SHORT).unwrap_err();
    assert!(matches!(error, SessionError::NoAddress { rank: 2 }), "{error}");
    assert_eq!(worker.worker().unwrap().servers(), [], "none of them is kept");
}

#[test]
fn what_does_not_open_is_told_and_frees_its_place() {
    let scheduler = scheduler(1, 1);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = config(&scheduler, ProcessRole::Server, (1, 1), 0);
    server.endpoint.listen = Some(holder.local_addr().unwrap());
    assert!(matches!(Session::start(server).unwrap_err(), SessionError::Server(_)));
    let mut worker = config(&scheduler, ProcessRole::Worker, (1, 1), 0);
    worker.endpoint.lanes = 0;
    assert!(matches!(Session::start(worker).unwrap_err(), SessionError::Worker(_)));
    // A busy machine may need longer to find out.
    let alone = |patience| {
        let alone = config(&scheduler, ProcessRole::Worker, (1, 1), 0).with_start_timeout(patience);
        Session::start(alone).unwrap_err()
    };
    let one = |error: &SessionError| matches!(error, SessionError::Start(StartError::Missing { missing, .. }) if missing.len() == 1);
    assert!([SHORT, 10 * SHORT, PATIENCE].into_iter().map(alone).any(|error| one(&error)));
    form(&scheduler, 1, 1, Connecting::Eager);
}

#[test]
fn an_end_that_is_not_together_says_who_is_missing() {
    let scheduler = scheduler(2, 1);
    let (mut workers, servers) = form(&scheduler, 2, 1, Connecting::Lazy);
    let panicked = workers.remove(1);
    let panicked = thread::spawn(move || {
        let _session = panicked;
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.join().is_err());
    let error = workers.remove(0).finish(PATIENCE).unwrap_err();
    let failure = BarrierFailure::Down(vec![MemberId::worker(1)]);
    assert!(
        matches!(&error, FinishError::Barrier(BarrierError::Failed { failure: found, .. }) if *found == failure),
        "{error}"
    );
    drop(scheduler);
    let node = servers[0].node();
    while node.scheduler_lost().is_none() {
        let _ = node.wait_event(SHORT);
    }
    let error = servers.into_iter().next().unwrap().finish(PATIENCE).unwrap_err();
    assert!(matches!(error, FinishError::Leave(_)), "{error}");
}
