//! Questions about the cluster.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use super::PATIENCE;
use crate::{
    config::{Config, ProcessRole},
    rendezvous::{MemberId, Node, Role, Roles, Scheduler},
    simple::{Postoffice, member_of},
};

/// One worker and two servers.
fn cluster() -> (Scheduler, Vec<Postoffice>) {
    let config = |role, address| Config::new(role, 1, 2, address).with_start_timeout(PATIENCE);
    let scheduler =
        Scheduler::start(&config(ProcessRole::Scheduler, ([127, 0, 0, 1], 0).into())).expect("a port");
    let address = scheduler.local_address();
    let start = |(role, rank)| {
        let config = config(role, address).with_node_rank(rank);
        thread::spawn(move || Postoffice::new(Arc::new(Node::start(config).expect("it joins"))))
    };
    let nodes = [(ProcessRole::Worker, 0), (ProcessRole::Server, 0), (ProcessRole::Server, 1)].map(start);
    (scheduler, nodes.into_iter().map(|thread| thread.join().expect("no panic")).collect())
}

#[test]
fn numbers_are_those_of_ps_lite() {
    assert_eq!(member_of(1), Some(MemberId::SCHEDULER));
    assert_eq!(
        [8, 9, 12, 13].map(member_of),
        [
            Some(MemberId::server(0)),
            Some(MemberId::worker(0)),
            Some(MemberId::server(2)),
            Some(MemberId::worker(2)),
        ]
    );
    assert_eq!([0, 2, 7, u64::MAX].map(member_of), [None; 4]);
    let known = [MemberId::SCHEDULER, MemberId::server(70), MemberId::worker(71)];
    assert_eq!(known.map(|member| member_of(member.ps_lite_id())), known.map(Some));
}

#[test]
fn a_cluster_is_told_as_it_is() {
    let (_scheduler, nodes) = cluster();
    let [worker, server, other] = [&nodes[0], &nodes[1], &nodes[2]];
    assert_eq!((worker.workers(), worker.servers()), (1, 2));
    assert_eq!((worker.rank(Role::Worker), worker.rank(Role::Server)), (Some(0), None));
    assert_eq!((server.rank(Role::Server), other.rank(Role::Server)), (Some(0), Some(1)));
    assert_eq!(worker.node_ids(Roles::all()), [1, 8, 9, 10]);
    assert_eq!(worker.node_ids(Roles::SERVER), [8, 10]);
    assert_eq!(worker.server_key_ranges().len(), 2);
    assert!(worker.dead_nodes().is_empty());

    thread::scope(|scope| {
        let entering = [worker, server, other]
            .map(|office| scope.spawn(|| office.barrier(Roles::WORKER | Roles::SERVER, PATIENCE)));
        assert!(entering.into_iter().all(|thread| thread.join().expect("no panic").is_ok()));
    });
}

#[test]
fn finalising_runs_what_was_registered() {
    let (_scheduler, nodes) = cluster();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = nodes
        .into_iter()
        .enumerate()
        .map(|(index, office)| {
            for turn in 0..2 {
                let ran = Arc::clone(&ran);
                office.at_exit(move || ran.lock().expect("no panic").push((index, turn)));
            }
            thread::spawn(move || office.finalize(Some(PATIENCE)))
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().expect("no panic").is_ok()));
    let mut ran = ran.lock().expect("no panic").clone();
    ran.sort_unstable();
    assert_eq!(ran, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
}
