//! The scheduler's view of the cluster: who holds which place, and what everybody must be told. No sockets and no
//! clocks: [`SchedulerState`](super::machine::SchedulerState) feeds it with what arrives and sends its notices.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{
    barriers::{Barriers, Expected, Ticket},
    member::{DataAddress, DownCause, Member, MemberId, MemberState, Role, Roles},
    protocol::{BARRIER_LIMIT, BarrierFailure, Key, NAME_LIMIT, Notice, Place, Refused, Scope},
};
use crate::config::Shape;

/// The scheduler itself, where connections are numbered: theirs start at 1.
pub(super) const LOCAL: u64 = 0;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    One(u64),
    /// Every node that has joined.
    AllBut(u64),
}

/// The cluster and what is to be told.
#[derive(Debug)]
pub(super) struct Cluster {
    shape: Shape,
    holders: BTreeMap<MemberId, Holder>,
    formed: bool,
    barriers: Barriers,
    outbox: Vec<(Audience, Notice)>,
}

#[derive(Debug)]
struct Holder {
    member: Member,
    connection: u64,
    remote: SocketAddr,
    /// Whether the others have been told; until then the place is taken, and nobody there yet.
    announced: bool,
}

/// What a node asks for when it joins.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) shape: Shape,
    pub(super) name: &'a str,
    pub(super) places: &'a [Place],
    /// The node will announce its members later.
    pub(super) held: bool,
}

impl Cluster {
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            holders: BTreeMap::new(),
            formed: false,
            barriers: Barriers::default(),
            outbox: Vec::new(),
        }
    }

    /// What is to be told since the last call, in order.
    pub(super) fn take_outbox(&mut self) -> Vec<(Audience, Notice)> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether every place has been taken once, all at one time.
    pub(super) const fn is_formed(&self) -> bool {
        self.formed
    }

    /// Everybody who has ever come, as it is now.
    pub(super) fn members(&self) -> Vec<Member> {
        self.members_for(LOCAL)
    }

    /// Those that have been announced, and the connection's own.
    fn members_for(&self, connection: u64) -> Vec<Member> {
        let told = |holder: &&Holder| holder.announced || holder.connection == connection;
        self.holders.values().filter(told).map(|holder| holder.member.clone()).collect()
    }

    /// Places that nobody holds now.
    pub(super) fn missing(&self) -> Vec<MemberId> {
        self.shape.places().filter(|id| !self.is_there(*id)).collect()
    }

    /// How many places there are.
    pub(super) fn places(&self) -> usize {
        self.shape.places().count()
    }

    /// Barriers that somebody is at.
    #[cfg(test)]
    pub(super) fn barriers(&self) -> usize {
        self.barriers.keys().len()
    }

    /// Whether a connection holds places.
    fn holds(&self, connection: u64) -> bool {
        self.places_of(connection).next().is_some()
    }

    /// The connections that hold places.
    pub(super) fn holders(&self) -> BTreeSet<u64> {
        let up = self.holders.values().filter(|holder| holder.member.state == MemberState::Up);
        up.map(|holder| holder.connection).collect()
    }

    /// A node asks for places.
    pub(super) fn join(&mut self, connection: u64, remote: SocketAddr, request: &Request<'_>) {
        if let Err(refused) = self.admissible(connection, request) {
            return self.tell(Audience::One(connection), Notice::Refused(refused));
        }
        let admit = |place| self.admit(connection, remote, request, place);
        let members: Vec<Member> = request.places.iter().map(admit).collect();
        let forms = self.forms();
        let known = self.members_for(connection);
        self.tell(Audience::One(connection), Notice::Admitted { members: known, formed: self.formed });
        if !request.held {
            self.introduce(connection, members, forms);
        }
    }

    /// A node that holds places is open for push-pulls.
    pub(super) fn announce(&mut self, connection: u64, data: &[(MemberId, Option<DataAddress>)]) {
        let mut members = Vec::new();
        for holder in self.holders.values_mut() {
            if holder.connection == connection && holder.member.state == MemberState::Up {
                let given = data.iter().find(|(id, _)| *id == holder.member.id).and_then(|(_, data)| *data);
                holder.member.data = given.map(|data| reachable(data, holder.remote));
                holder.announced = true;
                members.push(holder.member.clone());
            }
        }
        if members.is_empty() {
            return self.tell(Audience::One(connection), Notice::Refused(Refused::Places));
        }
        let forms = self.forms();
        let own = Notice::Announced { members: members.clone(), formed: self.formed };
        self.tell(Audience::One(connection), own);
        self.introduce(connection, members, forms);
    }

    fn introduce(&mut self, connection: u64, members: Vec<Member>, forms: bool) {
        self.tell(Audience::AllBut(connection), Notice::Joined(members));
        if forms {
            self.tell(Audience::AllBut(connection), Notice::Formed);
        }
    }

    /// Whether the cluster is complete now and was not before.
    fn forms(&mut self) -> bool {
        let forms = !self.formed && self.missing().is_empty();
        self.formed |= forms;
        forms
    }

    fn admissible(&self, connection: u64, request: &Request<'_>) -> Result<(), Refused> {
        let Request { shape, name, places, .. } = *request;
        if shape != self.shape {
            return Err(Refused::Shape { theirs: self.shape, ours: shape });
        }
        if name.len() > NAME_LIMIT {
            return Err(Refused::Name { length: name.len() });
        }
        let distinct: BTreeSet<MemberId> = places.iter().map(|place| place.id).collect();
        if places.is_empty() || distinct.len() < places.len() || self.holds(connection) {
            return Err(Refused::Places);
        }
        places.iter().try_for_each(|place| self.is_free(place))
    }

    fn is_free(&self, place: &Place) -> Result<(), Refused> {
        let (id, group_size) = (place.id, self.shape.group_size);
        if id.role == Role::Scheduler {
            return Err(Refused::Places);
        }
        let count = self.shape.instances(id.role);
        if id.rank >= count {
            return Err(Refused::Rank { id, count });
        }
        if place.instance >= group_size {
            return Err(Refused::Instance { id, instance: place.instance, group_size });
        }
        match self.holders.get(&id) {
            Some(Holder { member, remote, .. }) if member.state == MemberState::Up => {
                Err(Refused::Taken { id, holder: member.name.clone(), address: *remote })
            }
            _ => Ok(()),
        }
    }

    fn admit(&mut self, connection: u64, remote: SocketAddr, request: &Request<'_>, place: &Place) -> Member {
        let before = self.holders.get(&place.id).map_or(0, |holder| holder.member.epoch);
        let epoch = before.max(place.after).saturating_add(1);
        let member = Member {
            id: place.id,
            instance: place.instance,
            epoch,
            name: request.name.to_owned(),
            data: place.data.map(|data| reachable(data, remote)),
            state: MemberState::Up,
        };
        let announced = !request.held;
        self.holders.insert(place.id, Holder { member: member.clone(), connection, remote, announced });
        member
    }

    /// A node leaves in order. Nobody waits for its members any more.
    pub(super) fn leave(&mut self, connection: u64) {
        let members = self.retire(connection, &MemberState::Left);
        self.tell(Audience::One(connection), Notice::Bye);
        if members.is_empty() {
            return;
        }
        self.tell(Audience::AllBut(connection), Notice::Left(members));
        self.barriers.keys().iter().for_each(|key| self.settle(key));
    }

    /// A connection has ended.
    pub(super) fn down(&mut self, connection: u64, cause: &DownCause) {
        let members = self.retire(connection, &MemberState::Down(cause.clone()));
        if members.is_empty() {
            return;
        }
        self.tell(
            Audience::AllBut(connection),
            Notice::Down { members: members.clone(), cause: cause.clone() },
        );
        self.barriers.keys().iter().for_each(|key| self.settle(key));
    }

    /// Changes the state of a connection's members that are up, and takes them out of all barriers. Returns those that
    /// the others know of.
    fn retire(&mut self, connection: u64, state: &MemberState) -> Vec<MemberId> {
        self.barriers.remove_connection(connection);
        let up =
            |holder: &&mut Holder| holder.connection == connection && holder.member.state == MemberState::Up;
        let mut members = Vec::new();
        for holder in self.holders.values_mut().filter(up) {
            holder.member.state = state.clone();
            if holder.announced {
                members.push(holder.member.id);
            }
        }
        members
    }

    fn places_of(&self, connection: u64) -> impl Iterator<Item = MemberId> {
        let up =
            move |holder: &&Holder| holder.connection == connection && holder.member.state == MemberState::Up;
        self.holders.values().filter(up).map(|holder| holder.member.id)
    }

    /// Whether a member is up and has been announced.
    fn is_there(&self, id: MemberId) -> bool {
        self.holders.get(&id).is_some_and(|holder| holder.announced && holder.member.state == MemberState::Up)
    }

    fn tell(&mut self, audience: Audience, notice: Notice) {
        self.outbox.push((audience, notice));
    }
}

/// Barriers.
impl Cluster {
    /// Members enter a barrier.
    pub(super) fn enter(&mut self, ticket: Ticket, key: &Key, members: &[MemberId], patient: bool) {
        let expected = self.expected(key);
        let entered = self
            .may_enter(ticket, key, members, &expected)
            .and_then(|()| self.barriers.enter(key, ticket, members, patient));
        match entered {
            Err(failure) => self.fail(ticket, failure),
            Ok(()) => self.settle(key),
        }
    }

    /// Members do not wait any longer. A ticket that is not there was answered before.
    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        if let Some(key) = self.barriers.withdraw(ticket) {
            let mut missing = self.barriers.missing(&key, &self.expected(&key));
            missing.retain(|id| !self.places_of(ticket.connection).any(|own| own == *id));
            if ticket.connection == LOCAL {
                missing.retain(|id| *id != MemberId::SCHEDULER);
            }
            self.tell(Audience::One(ticket.connection), Notice::Withdrawn { ticket: ticket.number, missing });
        }
    }

    fn may_enter(
        &self,
        ticket: Ticket,
        key: &Key,
        members: &[MemberId],
        expected: &[Expected],
    ) -> Result<(), BarrierFailure> {
        if key.name.len() > NAME_LIMIT {
            return Err(BarrierFailure::Name { length: key.name.len() });
        }
        if members.is_empty() {
            return Err(BarrierFailure::Nobody);
        }
        if self.barriers.count(ticket.connection) >= BARRIER_LIMIT {
            return Err(BarrierFailure::TooMany);
        }
        let own: Vec<MemberId> = if ticket.connection == LOCAL {
            vec![MemberId::SCHEDULER]
        } else {
            self.places_of(ticket.connection).collect()
        };
        if let Some(stranger) = members.iter().find(|member| !own.contains(member)) {
            return Err(BarrierFailure::NotYours(*stranger));
        }
        let waits_for = |member: &&MemberId| expected.iter().any(|place| place.id == **member);
        members
            .iter()
            .find(|member| !waits_for(member))
            .map_or(Ok(()), |excluded| Err(BarrierFailure::NotExpected(*excluded)))
    }

    /// Releases a barrier that is complete. Where it waits for members that are down, those who do not wait for their
    /// return are told.
    fn settle(&mut self, key: &Key) {
        let expected = self.expected(key);
        let down = self.barriers.blocked(key, &expected);
        if down.is_empty() {
            for ticket in self.barriers.release(key, &expected) {
                self.tell(Audience::One(ticket.connection), Notice::Released { ticket: ticket.number });
            }
        } else {
            for ticket in self.barriers.give_up(key) {
                self.fail(ticket, BarrierFailure::Down(down.clone()));
            }
        }
    }

    fn fail(&mut self, ticket: Ticket, failure: BarrierFailure) {
        self.tell(Audience::One(ticket.connection), Notice::Failed { ticket: ticket.number, failure });
    }

    /// Whom a barrier waits for: the places of its roles and scope, but for those who have left.
    fn expected(&self, key: &Key) -> Vec<Expected> {
        let roles = Roles::from_bits_truncate(key.roles);
        let scheduler = roles.contains(Roles::SCHEDULER).then_some(Expected {
            id: MemberId::SCHEDULER,
            group: 0,
            down: false,
        });
        let places = self.shape.places().filter(|id| roles.contains(id.role.as_roles()));
        scheduler.into_iter().chain(places.filter_map(|id| self.expects(key.scope, id))).collect()
    }

    fn expects(&self, scope: Scope, id: MemberId) -> Option<Expected> {
        let member = self.holders.get(&id).map(|holder| &holder.member);
        if member.is_some_and(|member| member.state == MemberState::Left) {
            return None;
        }
        let instance = member.map_or(id.rank % self.shape.group_size, |member| member.instance);
        if !scope.includes(instance) {
            return None;
        }
        let down = member.is_some_and(|member| matches!(member.state, MemberState::Down(_)));
        Some(Expected { id, group: id.rank / self.shape.group_size, down })
    }
}

/// A member that listens on every address of its host is reached at the one that the scheduler sees.
fn reachable(data: DataAddress, remote: SocketAddr) -> DataAddress {
    if data.address.ip().is_unspecified() {
        let address = SocketAddr::new(remote.ip(), data.address.port());
        DataAddress { address, ..data }
    } else {
        data
    }
}
