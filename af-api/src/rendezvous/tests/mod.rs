//! The rendezvous in one process: the scheduler's state without sockets, then schedulers and nodes as threads. Nodes
//! that are killed are in `tests/rendezvous.rs`.

mod barriers;
mod cluster;
mod machine;
mod scale;
mod starting;

use std::{net::SocketAddr, thread, time::Duration};

use super::*;
use crate::config::{Config, ProcessRole};

const PATIENCE: Duration = Duration::from_secs(30);

const SHORT: Duration = Duration::from_millis(150);

fn scheduler(workers: u32, servers: u32, group_size: u32) -> Scheduler {
    let config = Config::new(ProcessRole::Scheduler, workers, servers, ([127, 0, 0, 1], 0).into());
    Scheduler::start(&quick(config).with_instance(group_size, 0)).unwrap()
}

/// Noticed within the patience of a test, and not by a busy machine.
fn quick(config: Config) -> Config {
    config.with_keep_alive(Duration::from_millis(100), Duration::from_secs(10)).with_start_timeout(PATIENCE)
}

fn node_config(role: ProcessRole, shape: (u32, u32), rank: u32, scheduler: SocketAddr) -> Config {
    quick(Config::new(role, shape.0, shape.1, scheduler))
        .with_node_rank(rank)
        .with_name(format!("{role:?} {rank}"))
}

/// Every node of a cluster of single instances: the workers and the servers, by rank.
fn form(scheduler: &Scheduler, workers: u32, servers: u32) -> (Vec<Node>, Vec<Node>) {
    let address = scheduler.local_address();
    let start = |role, rank| {
        let config = node_config(role, (workers, servers), rank, address);
        thread::spawn(move || Node::start(config).unwrap())
    };
    let join = |threads: Vec<thread::JoinHandle<Node>>| {
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    };
    let worker_threads = (0..workers).map(|rank| start(ProcessRole::Worker, rank)).collect();
    let server_threads = (0..servers).map(|rank| start(ProcessRole::Server, rank)).collect();
    (join(worker_threads), join(server_threads))
}

/// What comes of an attempt with little time, or with ever more where the machine is too busy for that.
fn patiently<T>(attempt: impl Fn(Duration) -> Result<T, String>) -> T {
    let mut patience = SHORT;
    loop {
        match attempt(patience) {
            Ok(found) => return found,
            Err(other) => assert!(patience < PATIENCE, "unexpected: {other}"),
        }
        patience *= 4;
    }
}

fn ids(members: &[Member]) -> Vec<MemberId> {
    members.iter().map(|member| member.id).collect()
}

/// The next event, which must come.
fn event(node: &Node) -> Event {
    node.wait_event(PATIENCE).expect("an event")
}
