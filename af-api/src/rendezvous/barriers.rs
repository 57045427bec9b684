//! The scheduler's barriers: who has entered which, and who is still missing. No sockets and no clocks.
//!
//! [`Cluster`](super::cluster::Cluster) calls it and sends what comes of it. A barrier is there from the first that
//! enters until everyone is released or the last has withdrawn; after that its name begins anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    member::{MemberId, Role},
    protocol::{BarrierFailure, Key, Scope},
};

/// Who is told: a connection, and the ticket under which it entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    pub(super) connection: u64,
    pub(super) number: u64,
}

/// A place that a barrier may wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) id: MemberId,
    /// Number of its group among those of its role.
    pub(super) group: u32,
    pub(super) down: bool,
}

impl Expected {
    const fn group_of_role(&self) -> (Role, u32) {
        (self.id.role, self.group)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entrant {
    ticket: Ticket,
    /// Waits although members are down: they may come back.
    patient: bool,
}

#[derive(Debug, Default)]
struct Gathering {
    entrants: BTreeMap<MemberId, Entrant>,
}

/// All barriers that somebody is at.
#[derive(Debug, Default)]
pub(super) struct Barriers(BTreeMap<Key, Gathering>);

impl Barriers {
    /// Lets members in under one ticket.
    pub(super) fn enter(
        &mut self,
        key: &Key,
        ticket: Ticket,
        members: &[MemberId],
        patient: bool,
    ) -> Result<(), BarrierFailure> {
        if let Some(gathering) = self.0.get(key)
            && let Some(there) = members.iter().find(|member| gathering.entrants.contains_key(member))
        {
            return Err(BarrierFailure::AlreadyThere(*there));
        }
        let gathering = self.0.entry(key.clone()).or_default();
        gathering.entrants.extend(members.iter().map(|member| (*member, Entrant { ticket, patient })));
        Ok(())
    }

    /// Ends the barrier if everyone has come; tells whose tickets are released.
    pub(super) fn release(&mut self, key: &Key, expected: &[Expected]) -> Vec<Ticket> {
        if !self.missing(key, expected).is_empty() {
            return Vec::new();
        }
        self.0.remove(key).map(|gathering| gathering.tickets(|_| true)).unwrap_or_default()
    }

    /// Who is expected and has not come.
    pub(super) fn missing(&self, key: &Key, expected: &[Expected]) -> Vec<MemberId> {
        self.absent(key, expected).map(|place| place.id).collect()
    }

    /// Who has not come and cannot: members that are down. Where one of a group is enough, only of groups that are down
    /// as a whole.
    pub(super) fn blocked(&self, key: &Key, expected: &[Expected]) -> Vec<MemberId> {
        let another = |place: &Expected| {
            key.scope == Scope::Groups
                && expected.iter().any(|other| other.group_of_role() == place.group_of_role() && !other.down)
        };
        let absent = self.absent(key, expected).filter(|place| place.down);
        absent.filter(|place| !another(place)).map(|place| place.id).collect()
    }

    fn absent<'a>(&self, key: &Key, expected: &'a [Expected]) -> impl Iterator<Item = &'a Expected> {
        let entrants = self.0.get(key).map(|gathering| gathering.entrants.keys().copied().collect());
        let here: BTreeSet<MemberId> = entrants.unwrap_or_default();
        let represented: BTreeSet<(Role, u32)> = match key.scope {
            Scope::Groups => {
                let came = expected.iter().filter(|place| here.contains(&place.id));
                came.map(Expected::group_of_role).collect()
            }
            Scope::Everyone | Scope::Instance(_) => BTreeSet::new(),
        };
        let absent = expected.iter().filter(move |place| !here.contains(&place.id));
        absent.filter(move |place| !represented.contains(&place.group_of_role()))
    }

    /// Takes out those who do not wait for members that are down; tells their tickets.
    pub(super) fn give_up(&mut self, key: &Key) -> Vec<Ticket> {
        let Some(gathering) = self.0.get_mut(key) else { return Vec::new() };
        let tickets = gathering.tickets(|entrant| !entrant.patient);
        gathering.entrants.retain(|_, entrant| entrant.patient);
        self.forget_empty(key);
        tickets
    }

    /// Takes a ticket out; tells which barrier it was at.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Key> {
        let at = |gathering: &Gathering| gathering.entrants.values().any(|entrant| entrant.ticket == ticket);
        let key = self.0.iter().find(|(_, gathering)| at(gathering))?.0.clone();
        self.0.get_mut(&key)?.entrants.retain(|_, entrant| entrant.ticket != ticket);
        self.forget_empty(&key);
        Some(key)
    }

    /// Takes everything of a connection out.
    pub(super) fn remove_connection(&mut self, connection: u64) {
        self.0.retain(|_, gathering| {
            gathering.entrants.retain(|_, entrant| entrant.ticket.connection != connection);
            !gathering.entrants.is_empty()
        });
    }

    /// At how many barriers a connection is.
    pub(super) fn count(&self, connection: u64) -> usize {
        let tickets = self.0.values().flat_map(|gathering| gathering.tickets(|_| true));
        tickets.filter(|ticket| ticket.connection == connection).count()
    }

    /// Every barrier that somebody is at.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.0.keys().cloned().collect()
    }

    fn forget_empty(&mut self, key: &Key) {
        if self.0.get(key).is_some_and(|gathering| gathering.entrants.is_empty()) {
            self.0.remove(key);
        }
    }
}

impl Gathering {
    fn tickets(&self, wanted: impl Fn(&Entrant) -> bool) -> Vec<Ticket> {
        let wanted = self.entrants.values().filter(|entrant| wanted(entrant));
        let tickets: BTreeSet<Ticket> = wanted.map(|entrant| entrant.ticket).collect();
        tickets.into_iter().collect()
    }
}
