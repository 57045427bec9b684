//! What a node knows: its admission, the members, who came and went, and how its barriers stand.
//!
//! [`Node`](super::Node) feeds it with the scheduler's notices, in order, and lets callers wait for what comes of them.
//! No sockets and no clocks.

use std::collections::{BTreeMap, VecDeque};

use pmd_host::control::DownReason;

use super::{
    member::{DownCause, Member, MemberId, MemberState},
    protocol::{BarrierFailure, Misunderstood, Notice, Refused},
};

/// Most events that wait to be taken; the oldest make way.
const EVENT_LIMIT: usize = 4096;

/// Something has happened to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A member has come, or has come back with a new epoch.
    Joined(Member),
    /// A member is down.
    Down {
        /// As it was.
        member: Member,
        /// Why.
        cause: DownCause,
    },
    /// A member has left in order.
    Left(Member),
    /// The scheduler is gone. The members that are known stay; nobody tells of changes until
    /// [`Node::rejoin`](super::Node::rejoin).
    SchedulerLost(DownReason),
    /// So many events were dropped because nobody took them; [`Node::members`](super::Node::members) has the result.
    Missed(u64),
}

/// How a node's question for places stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is no answer yet.
    Asked,
    /// It has them.
    Granted,
    /// It does not get them.
    Refused(Refused),
    /// The scheduler is of another release.
    Version {
        /// The version that the scheduler speaks.
        theirs: u16,
    },
}

/// How a barrier ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everyone came.
    Released,
    /// The node does not wait any longer; these had not come.
    Missing(Vec<MemberId>),
    /// It cannot come about.
    Failed(BarrierFailure),
    /// The scheduler is gone.
    Lost(DownReason),
}

/// What a node knows.
#[derive(Debug)]
pub(super) struct View {
    pub(super) admission: Admission,
    pub(super) formed: bool,
    /// Said goodbye to by the scheduler, after a leave.
    pub(super) left: bool,
    pub(super) lost: Option<DownReason>,
    members: BTreeMap<MemberId, Member>,
    /// Barriers that callers wait for, by ticket.
    barriers: BTreeMap<u64, Option<Outcome>>,
    next_ticket: u64,
    events: VecDeque<Event>,
    missed: u64,
    /// Whether changes are events: not while the cluster forms.
    listening: bool,
}

impl View {
    pub(super) const fn new() -> Self {
        Self {
            admission: Admission::Asked,
            formed: false,
            left: false,
            lost: None,
            members: BTreeMap::new(),
            barriers: BTreeMap::new(),
            next_ticket: 1,
            events: VecDeque::new(),
            missed: 0,
            listening: false,
        }
    }

    /// From now on changes are events.
    pub(super) const fn listen(&mut self) {
        self.listening = true;
    }

    /// Asks anew: what is known of the members stays until the answer. Barriers of the connection before are lost.
    pub(super) fn ask_again(&mut self) {
        self.lose_barriers(&DownReason::Local);
        (self.admission, self.lost, self.left, self.formed) = (Admission::Asked, None, false, false);
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Takes a notice of the scheduler.
    pub(super) fn apply(&mut self, notice: Result<Notice, Misunderstood>) {
        match notice {
            Ok(Notice::Admitted { members, formed }) => self.admit(members, formed),
            Ok(Notice::Announced { members, formed }) => {
                self.members.extend(members.into_iter().map(|member| (member.id, member)));
                (self.admission, self.formed) = (Admission::Granted, formed);
            }
            Ok(Notice::Refused(refused)) => self.admission = Admission::Refused(refused),
            Ok(Notice::Joined(members)) => members.into_iter().for_each(|member| self.join(member)),
            Ok(Notice::Formed) => self.formed = true,
            Ok(Notice::Down { members, cause }) => {
                members.iter().for_each(|id| self.retire(*id, MemberState::Down(cause.clone())));
            }
            Ok(Notice::Left(members)) => members.iter().for_each(|id| self.retire(*id, MemberState::Left)),
            Ok(Notice::Released { ticket }) => self.end(ticket, Outcome::Released),
            Ok(Notice::Withdrawn { ticket, missing }) => self.end(ticket, Outcome::Missing(missing)),
            Ok(Notice::Failed { ticket, failure }) => self.end(ticket, Outcome::Failed(failure)),
            Ok(Notice::Bye) => self.left = true,
            Err(Misunderstood::Version { theirs }) => self.admission = Admission::Version { theirs },
            // Answers nobody: whoever waits has a deadline.
            Ok(Notice::OtherVersion) | Err(Misunderstood::Malformed) => {}
        }
    }

    /// The scheduler is gone.
    pub(super) fn lose(&mut self, reason: &DownReason) {
        self.lose_barriers(reason);
        if self.lost.is_none() {
            self.lost = Some(reason.clone());
            self.note(Event::SchedulerLost(reason.clone()));
        }
    }

    fn lose_barriers(&mut self, reason: &DownReason) {
        for slot in self.barriers.values_mut() {
            slot.get_or_insert_with(|| Outcome::Lost(reason.clone()));
        }
    }

    /// Takes the scheduler's list for what is so now; differences are events.
    fn admit(&mut self, members: Vec<Member>, formed: bool) {
        let before = std::mem::take(&mut self.members);
        for member in members {
            let known = before.get(&member.id);
            if known.is_none_or(|known| (known.epoch, &known.state) != (member.epoch, &member.state)) {
                self.note_state(&member);
            }
            self.members.insert(member.id, member);
        }
        for (id, mut gone) in before {
            // A scheduler that was restarted has not seen it yet.
            if !self.members.contains_key(&id) && gone.state == MemberState::Up {
                gone.state = MemberState::Down(DownCause::Closed);
                self.note_state(&gone);
                self.members.insert(id, gone);
            }
        }
        (self.admission, self.formed) = (Admission::Granted, formed);
    }

    fn join(&mut self, member: Member) {
        self.note_state(&member);
        self.members.insert(member.id, member);
    }

    fn retire(&mut self, id: MemberId, state: MemberState) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.state = state;
        let member = member.clone();
        self.note_state(&member);
    }

    fn note_state(&mut self, member: &Member) {
        let member = member.clone();
        self.note(match &member.state {
            MemberState::Up => Event::Joined(member),
            MemberState::Left => Event::Left(member),
            MemberState::Down(cause) => Event::Down { cause: cause.clone(), member },
        });
    }

    fn note(&mut self, event: Event) {
        if !self.listening {
            return;
        }
        if self.events.len() == EVENT_LIMIT {
            self.events.pop_front();
            self.missed += 1;
        }
        self.events.push_back(event);
    }

    /// The oldest event; the count of those that were dropped before it.
    pub(super) fn take_event(&mut self) -> Option<Event> {
        match std::mem::take(&mut self.missed) {
            0 => self.events.pop_front(),
            missed => Some(Event::Missed(missed)),
        }
    }

    /// A ticket for a barrier.
    pub(super) fn open_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.barriers.insert(ticket, None);
        ticket
    }

    /// How the barrier ended, if it has.
    pub(super) fn outcome(&self, ticket: u64) -> Option<Outcome> {
        self.barriers.get(&ticket).cloned().flatten()
    }

    /// Nobody asks for the ticket any more.
    pub(super) fn close_ticket(&mut self, ticket: u64) {
        self.barriers.remove(&ticket);
    }

    /// Barriers that callers wait for.
    #[cfg(test)]
    pub(super) fn open_tickets(&self) -> usize {
        self.barriers.len()
    }

    /// The first answer counts; one for a ticket that nobody waits for is dropped.
    fn end(&mut self, ticket: u64, outcome: Outcome) {
        if let Some(slot) = self.barriers.get_mut(&ticket) {
            slot.get_or_insert(outcome);
        }
    }
}
