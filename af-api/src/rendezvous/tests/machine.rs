//! Both ends without sockets: what is said goes to whom it is for.

use std::collections::BTreeMap;

use pmd_host::control::DownReason;

use super::*;
use crate::rendezvous::machine::{Admission, Heard, NodeState, Outcome, SchedulerState};

/// A scheduler and nodes, connected by nothing.
struct Cluster {
    scheduler: SchedulerState,
    nodes: BTreeMap<u64, NodeState>,
}

impl Cluster {
    /// One worker on connection 1, one server on connection 2, both let in.
    fn formed() -> Self {
        let mut cluster = Self { scheduler: SchedulerState::new(SHAPE), nodes: BTreeMap::new() };
        for (connection, role) in [(1, ProcessRole::Worker), (2, ProcessRole::Server)] {
            let node = NodeState::new(&node_config(role, (1, 1), 0, address())).unwrap();
            cluster.nodes.insert(connection, node);
            cluster.scheduler.connected(connection);
            let join = cluster.node(connection).join(false);
            cluster.say(connection, &join);
        }
        cluster
    }

    fn node(&mut self, connection: u64) -> &mut NodeState {
        self.nodes.get_mut(&connection).unwrap()
    }

    fn say(&mut self, connection: u64, body: &[u8]) {
        assert_eq!(self.scheduler.heard(connection, address(), body), Heard::Taken);
        self.deliver();
    }

    fn deliver(&mut self) {
        for outgoing in self.scheduler.take_outgoing() {
            for connection in outgoing.to {
                self.node(connection).heard(&outgoing.body);
            }
        }
    }
}

const SHAPE: crate::config::Shape = crate::config::Shape { workers: 1, servers: 1, group_size: 1 };

fn address() -> SocketAddr {
    ([10, 0, 0, 1], 4700).into()
}

#[test]
fn two_nodes_come_together_and_meet_by_bytes_alone() {
    let mut cluster = Cluster::formed();
    assert!(cluster.scheduler.is_formed() && cluster.scheduler.missing().is_empty());
    assert_eq!(cluster.scheduler.places(), 2);
    let members = cluster.scheduler.members();
    for node in cluster.nodes.values() {
        assert!(node.is_formed());
        assert_eq!(*node.admission(), Admission::Granted);
        assert!(node.members().eq(&members));
    }
    let barrier = Barrier::new("both", Roles::WORKER | Roles::SERVER);
    let tickets = [1, 2].map(|connection| {
        let (ticket, say) = cluster.node(connection).enter(&barrier);
        cluster.say(connection, &say.unwrap());
        ticket
    });
    assert_eq!(cluster.node(1).outcome(tickets[0]), Some(Outcome::Released));
    assert_eq!(cluster.node(2).outcome(tickets[1]), Some(Outcome::Released));
    let scheduler_alone = Barrier::new("nobody here", Roles::SCHEDULER);
    assert_eq!(cluster.node(1).enter(&scheduler_alone).1, None);
}

#[test]
fn an_end_is_told_to_the_others_and_nonsense_is_one() {
    let mut cluster = Cluster::formed();
    cluster.node(1).listen();
    let nonsense = [VERSION.to_le_bytes().as_slice(), &[0xff; 3]].concat();
    assert_eq!(cluster.scheduler.heard(2, address(), &nonsense), Heard::Nonsense);
    cluster.deliver();
    let event = cluster.node(1).take_event();
    assert!(matches!(event, Some(Event::Down { cause: DownCause::Protocol, .. })), "{event:?}");
    cluster.scheduler.gone(2, &DownReason::Closed);
    assert_eq!(cluster.scheduler.take_outgoing(), [], "it was down already");

    // Its successor comes with the next epoch.
    cluster.scheduler.connected(3);
    let successor = cluster.nodes.remove(&2).unwrap();
    cluster.nodes.insert(3, successor);
    let join = cluster.node(3).join(false);
    cluster.say(3, &join);
    let event = cluster.node(1).take_event();
    assert!(matches!(&event, Some(Event::Joined(member)) if member.epoch == 2), "{event:?}");
}

#[test]
fn a_scheduler_that_ends_tells_nobody_of_the_ends_that_it_makes() {
    let mut cluster = Cluster::formed();
    cluster.scheduler.gone(1, &DownReason::Local);
    assert_eq!(cluster.scheduler.take_outgoing(), []);
    cluster.node(1).lost(&DownReason::Closed);
    assert_eq!(cluster.node(1).scheduler_lost(), Some(&DownReason::Closed));
    assert_eq!(cluster.node(1).members().count(), 2, "what is known stays");
}

#[test]
fn another_version_is_answered_with_this_one() {
    let mut cluster = Cluster::formed();
    let other = (VERSION + 1).to_le_bytes();
    assert_eq!(cluster.scheduler.heard(2, address(), &other), Heard::Taken);
    let [answer] = &cluster.scheduler.take_outgoing()[..] else { panic!("one answer") };
    assert_eq!((&answer.to[..], &answer.body[..2]), (&[2][..], VERSION.to_le_bytes().as_slice()));
}

#[test]
fn a_scheduler_is_no_node() {
    let config = Config::new(ProcessRole::Scheduler, 1, 1, address());
    assert!(matches!(NodeState::new(&config), Err(crate::config::ConfigError::WrongRole { .. })));
}
