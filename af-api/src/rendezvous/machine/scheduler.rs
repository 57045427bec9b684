//! The scheduler's end: what nodes say goes in, what is to be sent to whom comes out.

use std::{collections::BTreeSet, net::SocketAddr};

use pmd_host::control::DownReason;

use crate::{
    config::Shape,
    rendezvous::{
        Barrier,
        barriers::Ticket,
        cluster::{Audience, Cluster, LOCAL, Request},
        member::{DownCause, Member, MemberId},
        protocol::{Key, Misunderstood, Notice, Say, decode, encode},
        view::{Outcome, View},
    },
};

/// The scheduler: who is connected, who holds which place, who is at which barrier.
#[derive(Debug)]
pub struct SchedulerState {
    cluster: Cluster,
    connections: BTreeSet<u64>,
    /// The scheduler's own barriers.
    local: View,
    outgoing: Vec<Outgoing>,
}

/// An event of kind [`KIND`](super::KIND) that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// On these connections.
    pub to: Vec<u64>,
    /// What it carries.
    pub body: Vec<u8>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Heard {
    /// It was understood, or answered that it was not.
    Taken,
    /// It is none: what was held is given up, and the connection is to be closed.
    Nonsense,
}

impl SchedulerState {
    /// A scheduler that nobody has come to yet.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self {
            cluster: Cluster::new(shape),
            connections: BTreeSet::new(),
            local: View::new(),
            outgoing: Vec::new(),
        }
    }

    /// A connection was made, under a number above 0 that is never used again.
    pub fn connected(&mut self, connection: u64) {
        self.connections.insert(connection);
    }

    /// A message has come on a connection, whose other end is at `remote`.
    pub fn heard(&mut self, connection: u64, remote: SocketAddr, body: &[u8]) -> Heard {
        let ticket = |number| Ticket { connection, number };
        match decode(body) {
            Ok(Say::Join { shape, name, places, held }) => {
                self.cluster.join(connection, remote, &Request { shape, name: &name, places: &places, held });
            }
            Ok(Say::Announce(data)) => self.cluster.announce(connection, &data),
            Ok(Say::Enter { ticket: number, barrier, members, patient }) => {
                self.cluster.enter(ticket(number), &barrier, &members, patient);
            }
            Ok(Say::Withdraw { ticket: number }) => self.cluster.withdraw(ticket(number)),
            Ok(Say::Leave) => self.cluster.leave(connection),
            // The answer is of this version, and that says it.
            Err(Misunderstood::Version { .. }) => self.send(vec![connection], &Notice::OtherVersion),
            Err(Misunderstood::Malformed) => {
                self.cluster.down(connection, &DownCause::Protocol);
                self.address();
                return Heard::Nonsense;
            }
        }
        self.address();
        Heard::Taken
    }

    /// A connection has ended. Where this scheduler ends itself ([`DownReason::Local`]) its nodes hear that, and not of each
    /// other's ends.
    pub fn gone(&mut self, connection: u64, reason: &DownReason) {
        self.connections.remove(&connection);
        if *reason != DownReason::Local {
            self.cluster.down(connection, &DownCause::from(reason));
            self.address();
        }
    }

    /// What is to be sent since the last call, in order.
    #[must_use]
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// Everybody who has ever come, as it is now, servers first, by rank.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.cluster.members()
    }

    /// Whether every place has been taken once, all at one time.
    #[must_use]
    pub const fn is_formed(&self) -> bool {
        self.cluster.is_formed()
    }

    /// Places that nobody holds now.
    #[must_use]
    pub fn missing(&self) -> Vec<MemberId> {
        self.cluster.missing()
    }

    /// How many places there are.
    #[must_use]
    pub fn places(&self) -> usize {
        self.cluster.places()
    }

    /// The scheduler itself enters a barrier, under the ticket that is returned.
    pub(in crate::rendezvous) fn enter(&mut self, barrier: &Barrier) -> u64 {
        let key = Key::from(barrier);
        let number = self.local.open_ticket();
        let ticket = Ticket { connection: LOCAL, number };
        self.cluster.enter(ticket, &key, &[MemberId::SCHEDULER], barrier.patient);
        self.address();
        number
    }

    /// The scheduler does not wait any longer.
    pub(in crate::rendezvous) fn withdraw(&mut self, number: u64) {
        self.cluster.withdraw(Ticket { connection: LOCAL, number });
        self.address();
    }

    /// How the scheduler's own barrier ended, if it has.
    pub(in crate::rendezvous) fn outcome(&self, number: u64) -> Option<Outcome> {
        self.local.outcome(number)
    }

    /// Nobody asks for the scheduler's ticket any more.
    pub(in crate::rendezvous) fn close_ticket(&mut self, number: u64) {
        self.local.close_ticket(number);
    }

    /// Barriers that somebody is at.
    #[cfg(test)]
    pub(in crate::rendezvous) fn barriers(&self) -> usize {
        self.cluster.barriers()
    }

    /// Finds out whom each notice goes to.
    fn address(&mut self) {
        for (audience, notice) in self.cluster.take_outbox() {
            match audience {
                Audience::One(LOCAL) => self.local.apply(Ok(notice)),
                Audience::One(number) if !self.connections.contains(&number) => {}
                Audience::One(number) => self.send(vec![number], &notice),
                Audience::AllBut(number) => {
                    let mut others = self.cluster.holders();
                    others.retain(|other| *other != number && self.connections.contains(other));
                    self.send(others.into_iter().collect(), &notice);
                }
            }
        }
    }

    fn send(&mut self, to: Vec<u64>, notice: &Notice) {
        if !to.is_empty() {
            self.outgoing.push(Outgoing { to, body: encode(notice) });
        }
    }
}
