//! A group of `af-api` that forms by name, and outlives etcd.

use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
    time::Instant,
};

use af_api::{
    config::{Config, ProcessRole},
    rendezvous::{MemberId, Role, Scheduler},
    server::Gather,
    session::Session,
    tensor::{Layout, Tensor},
    worker::PushPull,
};
use pmd_host::metadata::{Metadata, Standing};

use super::{PATIENCE, until};
use crate::server::Server;

const BYTES: u32 = 64 << 10;

/// Push-pulls of each time: etcd there, gone, and there again.
const ROUNDS: usize = 20;

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn config(server: &Server, role: ProcessRole) -> Config {
    // Only the scheduler uses the address: it listens there.
    Config::new(role, 2, 2, ([127, 0, 0, 1], 0).into())
        .with_start_timeout(PATIENCE)
        .in_group(Arc::new(server.directory()), "ffn")
        .claiming_rank()
}

/// Sessions of a role, by their ranks, which they have claimed.
fn sessions(server: &Server, role: ProcessRole) -> Vec<thread::JoinHandle<Session>> {
    let start = |_| {
        let mut config = config(server, role);
        config.endpoint.listen = (role == ProcessRole::Server).then(|| ([127, 0, 0, 1], 0).into());
        thread::spawn(move || Session::start(config).expect("a session"))
    };
    (0..2).map(start).collect()
}

fn joined(threads: Vec<thread::JoinHandle<Session>>) -> Vec<Session> {
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

/// Answers batches, as many as it is told to.
fn serve(session: &Session, rounds: usize) {
    let server = session.server().expect("it is one");
    for _ in 0..rounds {
        for request in server.batch(Gather::All, soon()).expect("a batch") {
            request.respond(&[]).expect("an answer");
        }
    }
}

fn work(session: &Session, pushed: &Tensor, rounds: usize) {
    let worker = session.worker().expect("it is one");
    for _ in 0..rounds {
        let handle = worker.push_pull(&PushPull::new().push(1, pushed), soon()).expect("submitted");
        handle.wait(soon()).expect("answered");
    }
}

/// So many rounds of every worker with every server.
fn rounds(
    workers: &[(Session, Tensor)],
    servers: &[Session],
    told: &Sender<&'static str>,
    when: &'static str,
) {
    thread::scope(|scope| {
        servers.iter().for_each(|server| drop(scope.spawn(|| serve(server, ROUNDS))));
        workers.iter().for_each(|(worker, pushed)| drop(scope.spawn(|| work(worker, pushed, ROUNDS))));
    });
    told.send(when).expect("the case listens");
}

pub(super) fn forms_and_outlives() {
    let mut etcd = Server::start();
    // Nodes may come first: they wait for the scheduler's name.
    let (servers, workers) = (sessions(&etcd, ProcessRole::Server), sessions(&etcd, ProcessRole::Worker));
    let scheduler = Scheduler::start(&config(&etcd, ProcessRole::Scheduler)).expect("a scheduler");
    let (servers, workers) = (joined(servers), joined(workers));
    let mut ranks: Vec<MemberId> =
        servers.iter().chain(&workers).flat_map(|session| session.node().ids().to_vec()).collect();
    ranks.sort();
    let all = [Role::Server, Role::Worker].map(|role| [0, 1].map(|rank| MemberId { role, rank }));
    assert_eq!(ranks, all.concat());
    let with_tensor = |session: Session| {
        let memory = session.worker().expect("it is one").allocate(BYTES as usize).expect("memory");
        let pushed = Tensor::new(&memory, 0, Layout::of_bytes(BYTES)).expect("a tensor");
        (session, pushed)
    };
    let workers: Vec<_> = workers.into_iter().map(with_tensor).collect();
    let (told, heard) = channel();
    rounds(&workers, &servers, &told, "there");
    etcd.kill();
    until("the scheduler's entry is away", || scheduler.standing() == Some(Standing::Away));
    rounds(&workers, &servers, &told, "gone");
    etcd.start_again();
    rounds(&workers, &servers, &told, "back");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["there", "gone", "back"]);
    until("the scheduler's entry is back", || scheduler.standing() == Some(Standing::Published));
    let watching = etcd.directory();
    until("every entry is back", || watching.list("af/ffn/").is_ok_and(|entries| entries.len() == 5));

    // Another scheduler, somewhere else: nodes find it by the name.
    drop(scheduler);
    let second = Scheduler::start(&config(&etcd, ProcessRole::Scheduler)).expect("a scheduler");
    let rejoining = |session: &Session| session.rejoin().expect("the second one is found");
    thread::scope(|scope| {
        servers.iter().for_each(|session| drop(scope.spawn(|| rejoining(session))));
        workers.iter().for_each(|(session, _)| drop(scope.spawn(|| rejoining(session))));
    });
    assert_eq!(second.members().len(), 4);
    rounds(&workers, &servers, &told, "with the second");
    // Who leaves gives its number back.
    drop((workers, servers));
    until("numbers are free", || watching.list("af/ffn/").is_ok_and(|entries| entries.len() == 1));
}
