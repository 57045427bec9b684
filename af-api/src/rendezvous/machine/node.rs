//! A node's end: what it says comes out, what the scheduler says goes in.

use pmd_host::control::DownReason;

use crate::{
    config::{Config, ConfigError, ProcessRole, Shape},
    rendezvous::{
        Barrier, Event,
        member::{DataAddress, Member, MemberId, Role},
        protocol::{Key, Place, Say, decode, encode},
        view::{Admission, Outcome, View},
    },
};

/// A node: its members, who else there is, and how its barriers stand.
#[derive(Debug)]
pub struct NodeState {
    shape: Shape,
    name: String,
    instance: u32,
    /// Its members, and where each takes push-pulls.
    places: Vec<(MemberId, Option<DataAddress>)>,
    pub(in crate::rendezvous) view: View,
}

impl NodeState {
    /// A node that has not said anything. Needs role, shape, ranks, name and data addresses of the configuration.
    ///
    /// # Errors
    /// [`ConfigError`]; a scheduler is no node.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.role == ProcessRole::Scheduler {
            return Err(ConfigError::WrongRole { role: config.role });
        }
        let places = config.members()?.into_iter().map(|id| (id, config.data(id.role))).collect();
        let (shape, name, instance) = (config.shape, config.name.clone(), config.instance);
        Ok(Self { shape, name, instance, places, view: View::new() })
    }

    /// Asks for its places, at first or on another connection: under a later epoch than any it has had. Barriers of the
    /// connection before are lost. `held`: the others are not to hear of it before [`NodeState::announce`].
    #[must_use]
    pub fn join(&mut self, held: bool) -> Vec<u8> {
        self.view.ask_again();
        let after = |id| self.view.member(id).map_or(0, |member| member.epoch);
        let place = |(id, data): &(MemberId, _)| Place {
            id: *id,
            instance: self.instance,
            data: *data,
            after: after(*id),
        };
        let places = self.places.iter().map(place).collect();
        encode(&Say::Join { shape: self.shape, name: self.name.clone(), places, held })
    }

    /// Has the others told of its members, and where those take push-pulls that are listed.
    #[must_use]
    pub fn announce(&mut self, data: &[(Role, DataAddress)]) -> Vec<u8> {
        for (id, known) in &mut self.places {
            *known = data.iter().find(|(role, _)| *role == id.role).map(|(_, data)| *data);
        }
        self.view.admission = Admission::Asked;
        encode(&Say::Announce(self.places.clone()))
    }

    /// Enters a barrier: the ticket by which to look after it, and what to say, or nothing where no member of this node is
    /// one that the barrier waits for.
    #[must_use]
    pub fn enter(&mut self, barrier: &Barrier) -> (u64, Option<Vec<u8>>) {
        let ticket = self.view.open_ticket();
        let members = self.entering(barrier);
        let (barrier, patient) = (Key::from(barrier), barrier.patient);
        let say = (!members.is_empty()).then(|| encode(&Say::Enter { ticket, barrier, members, patient }));
        (ticket, say)
    }

    /// Does not wait at a barrier any longer.
    #[must_use]
    pub fn withdraw(ticket: u64) -> Vec<u8> {
        encode(&Say::Withdraw { ticket })
    }

    /// Leaves in order.
    #[must_use]
    pub fn leave() -> Vec<u8> {
        encode(&Say::Leave)
    }

    /// A message of the scheduler has come.
    pub fn heard(&mut self, body: &[u8]) {
        self.view.apply(decode(body));
    }

    /// The connection to the scheduler has ended.
    pub fn lost(&mut self, reason: &DownReason) {
        self.view.lose(reason);
    }

    /// From now on changes are events: [`NodeState::take_event`].
    pub const fn listen(&mut self) {
        self.view.listen();
    }

    /// The members that it is.
    pub fn ids(&self) -> impl Iterator<Item = MemberId> {
        self.places.iter().map(|(id, _)| *id)
    }

    /// How its question for places stands.
    #[must_use]
    pub const fn admission(&self) -> &Admission {
        &self.view.admission
    }

    /// Whether every place has been taken, all at one time.
    #[must_use]
    pub const fn is_formed(&self) -> bool {
        self.view.formed
    }

    /// How the scheduler went, if it has.
    #[must_use]
    pub const fn scheduler_lost(&self) -> Option<&DownReason> {
        self.view.lost.as_ref()
    }

    /// Everybody who has ever come, servers first, by rank.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.view.members()
    }

    /// How a barrier ended, if it has.
    #[must_use]
    pub fn outcome(&self, ticket: u64) -> Option<Outcome> {
        self.view.outcome(ticket)
    }

    /// Nobody asks for the ticket any more.
    pub fn close_ticket(&mut self, ticket: u64) {
        self.view.close_ticket(ticket);
    }

    /// The oldest event that has not been taken.
    #[must_use]
    pub fn take_event(&mut self) -> Option<Event> {
        self.view.take_event()
    }

    fn entering(&self, barrier: &Barrier) -> Vec<MemberId> {
        if !barrier.entering.is_empty() {
            return barrier.entering.clone();
        }
        let expected = |id: &MemberId| {
            barrier.roles.contains(id.role.as_roles()) && barrier.scope.includes(self.instance)
        };
        self.ids().filter(expected).collect()
    }
}
