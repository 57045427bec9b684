//! The protocol of one peer's rails at one end: events in, [`Action`]s out.
//!
//! Every event is one call, in the order in which things happened, with the time where that matters. After any call, and when
//! [`Bundle::next_timer`] has come, [`Bundle::poll`] is asked for what is to be done until it has nothing more. No call waits,
//! and none depends on what the driver does between them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    Action, BundleConfig, ChunkId, Fate, Load, MOST_RAILS, RailId, RailState, Request, Role, TransferId,
    once::Outbox,
    progress::{Notice, Progress},
    rails::Rails,
};
use crate::transfer::{Direction, Priority};

/// Turns in a row that go to transfers of high priority while others wait.
const FAVOUR: u32 = 7;

/// All rails to one peer and the transfers on them, at one end. `F` is what failures are told by.
#[derive(Debug)]
pub struct Bundle<F> {
    config: BundleConfig,
    role: Role,
    rails: Rails,
    transfers: BTreeMap<TransferId, Progress<F>>,
    /// Transfers with chunks that wait, of each priority, in the order of their turns; some may have none any more.
    turns: [VecDeque<TransferId>; 2],
    /// Turns that high priority has had while others waited.
    favoured: u32,
    actions: VecDeque<Action<F>>,
    outbox: Outbox,
    submitted: u64,
    /// Why the peer is gone, if it is.
    down: Option<F>,
}

/// What is submitted, and what becomes of it.
impl<F: Clone> Bundle<F> {
    /// A bundle of `rails` rails, [`MOST_RAILS`] at most, all of them down.
    #[must_use]
    pub fn new(rails: usize, role: Role, config: BundleConfig) -> Self {
        Self {
            config,
            role,
            rails: Rails::new(rails.min(MOST_RAILS)),
            transfers: BTreeMap::new(),
            turns: [VecDeque::new(), VecDeque::new()],
            favoured: 0,
            actions: VecDeque::new(),
            outbox: Outbox::default(),
            submitted: 0,
            down: None,
        }
    }

    /// Takes a transfer. It waits where no rail is up.
    pub fn submit(&mut self, request: &Request<'_>) -> TransferId {
        let id = TransferId(self.submitted);
        self.submitted += 1;
        let mut progress = Progress::new(request);
        progress.failure = self.down.clone();
        if progress.next().is_some() {
            self.turns[turns_of(request.priority)].push_back(id);
        }
        self.transfers.insert(id, progress);
        self.advance(id);
        id
    }

    /// A chunk's bytes are in place: the peer's device has answered for a WRITE, or those of a READ are here.
    pub fn landed(&mut self, rail: RailId, chunk: ChunkId, now: Duration) {
        let Some(progress) = self.transfers.get_mut(&chunk.transfer) else { return };
        let Some(bytes) = progress.land(chunk.index, rail) else { return };
        if let Some(rail) = self.rails.get_mut(rail) {
            rail.load.land(bytes, now);
            rail.succeed(now);
        }
        self.advance(chunk.transfer);
        self.look_at_quiet(rail, now);
    }

    /// A chunk came back unfinished, and nothing of it is outstanding at this end.
    pub fn returned(&mut self, rail: RailId, chunk: ChunkId, fate: Fate<F>, now: Duration) {
        let Some(progress) = self.transfers.get_mut(&chunk.transfer) else { return };
        let Some((bytes, returns)) = progress.come_back(chunk.index, rail) else { return };
        let is_answered_for = matches!(fate, Fate::Stopped(_));
        let is_heard = self.rails.get_mut(rail).is_none_or(|rail| {
            rail.load.remove(bytes);
            rail.heard
        });
        if progress.direction == Direction::Write && !is_answered_for && !is_heard && self.down.is_none() {
            progress.owe(rail);
        }
        self.wait_again(chunk.transfer);
        match fate {
            // What else it has in hand may be answered for.
            Fate::Lost(error) if self.down.is_some() => drop(self.give_up(chunk.transfer, error)),
            Fate::Lost(error) if returns >= self.config.attempts => self.fail(chunk.transfer, error),
            Fate::Lost(_) => {}
            Fate::Failed(error) | Fate::Stopped(error) => self.fail(chunk.transfer, error),
        }
        if !is_answered_for {
            self.lost(rail);
        }
        self.advance(chunk.transfer);
        self.look_at_quiet(rail, now);
    }

    /// A chunk was not posted: its rail has no room for it now. It goes again, and nothing is owed for it.
    pub fn refused(&mut self, rail: RailId, chunk: ChunkId, now: Duration) {
        let Some(progress) = self.transfers.get_mut(&chunk.transfer) else { return };
        let Some(bytes) = progress.take_back(chunk.index, rail) else { return };
        if let Some(rail) = self.rails.get_mut(rail) {
            rail.load.remove(bytes);
            rail.refuse(now + self.config.refused);
        }
        self.wait_again(chunk.transfer);
        self.advance(chunk.transfer);
        self.look_at_quiet(rail, now);
    }

    /// The peer's device has a transfer's notification.
    pub fn notified(&mut self, rail: RailId, transfer: TransferId) {
        let Some(progress) = self.transfers.get_mut(&transfer) else { return };
        if let Notice::Sent { rail: on, sequence } = progress.notice
            && on == rail
        {
            progress.notice = Notice::Done;
            self.outbox.settle(sequence);
            self.advance(transfer);
            self.advance_notices();
            self.let_go(rail);
        }
    }

    /// A notification came back, and nothing of it is outstanding at this end. Whether the peer has it is not known, unless it
    /// was [`Stopped`](Fate::Stopped): then it was never sent.
    pub fn unnotified(&mut self, rail: RailId, transfer: TransferId, fate: Fate<F>) {
        let Some(progress) = self.transfers.get_mut(&transfer) else { return };
        let Notice::Sent { rail: on, sequence } = progress.notice else { return };
        if on != rail {
            return;
        }
        progress.notice = Notice::Unsure { sequence };
        progress.doubts += 1;
        let doubts = progress.doubts;
        if !matches!(fate, Fate::Stopped(_)) {
            self.doubt(transfer, rail);
        }
        match fate {
            // There is nobody to tell any more.
            Fate::Lost(error) if self.down.is_some() => drop(self.give_up(transfer, error)),
            Fate::Lost(error) if doubts >= self.config.attempts => self.fail(transfer, error),
            Fate::Lost(_) => {}
            Fate::Failed(error) | Fate::Stopped(error) => self.fail(transfer, error),
        }
        self.advance(transfer);
        self.advance_notices();
        self.let_go(rail);
    }

    /// Ends a transfer: nothing more of it is posted, and it finishes once nothing of it is in hand and nothing is owed. One
    /// whose notification is on its way goes on, since the peer may know by now that all is there.
    pub fn fail(&mut self, transfer: TransferId, error: F) {
        if self.give_up(transfer, error) {
            self.actions.push_back(Action::Stop { transfer });
        }
        self.advance(transfer);
    }

    /// Posts nothing more of a transfer, and leaves alone what is in hand. Whether there is something that could be stopped.
    fn give_up(&mut self, transfer: TransferId, error: F) -> bool {
        let Some(progress) = self.transfers.get_mut(&transfer) else { return false };
        let is_told = matches!(progress.notice, Notice::Sent { .. } | Notice::Done);
        if progress.failure.is_some() || is_told {
            return false;
        }
        progress.failure = Some(error);
        progress.is_in_hand()
    }

    /// The peer has said goodbye: nothing more is taken or posted, and rails are not opened any more. A transfer of which
    /// everything is posted ends by what is answered for, every other one fails once what it has in hand has come back; nothing
    /// is stopped for that, and a rail is closed with the last that it has in hand. The driver sees to it that this takes a
    /// bounded time.
    pub fn peer_left(&mut self, error: F) {
        self.down = Some(error.clone());
        for progress in self.transfers.values_mut() {
            progress.settle_all();
            if progress.has_unposted() {
                progress.failure.get_or_insert(error.clone());
            }
        }
        let rails: Vec<_> = self.rails.iter().map(|(id, _)| id).collect();
        rails.into_iter().for_each(|rail| self.let_go(rail));
        let transfers: Vec<_> = self.transfers.keys().copied().collect();
        transfers.into_iter().for_each(|id| self.advance(id));
    }

    /// The peer is gone: every transfer fails once what is in hand has come back, and rails are not opened any more. Nothing
    /// is owed by a process that is no more, or that cannot be told anything.
    pub fn peer_down(&mut self, error: F) {
        self.down = Some(error.clone());
        let transfers: Vec<_> = self.transfers.keys().copied().collect();
        for id in &transfers {
            self.fail(*id, error.clone());
        }
        let rails: Vec<_> = self.rails.iter().map(|(id, _)| id).collect();
        rails.into_iter().for_each(|rail| self.lost(rail));
        for progress in self.transfers.values_mut() {
            progress.settle_all();
            if progress.notice != Notice::None && progress.notice != Notice::Done {
                progress.failure.get_or_insert(error.clone());
            }
        }
        transfers.into_iter().for_each(|id| self.advance(id));
    }

    /// Transfers that have not ended.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.transfers.len()
    }
}

/// The lives of rails.
impl<F: Clone> Bundle<F> {
    /// Where a rail stands.
    #[must_use]
    pub fn state(&self, number: u16) -> Option<RailState> {
        self.rails.get(number).map(|rail| rail.state)
    }

    /// The present life of a rail.
    #[must_use]
    pub fn rail(&self, number: u16) -> Option<RailId> {
        self.rails.get(number).map(|rail| RailId { number, life: rail.life })
    }

    /// What a rail has in hand, and how fast it is.
    #[must_use]
    pub fn load(&self, number: u16) -> Option<Load> {
        self.rails.get(number).map(|rail| rail.load)
    }

    /// The peer opens a rail: this end is to do the same. Whether it may; it may not under a life that is not new, or while the
    /// one before is not over.
    pub fn offered(&mut self, rail: RailId) -> bool {
        let Some(known) = self.rails.numbered_mut(rail.number) else { return false };
        let fits = known.state == RailState::Down && rail.life > known.life && self.down.is_none();
        if fits && self.role == Role::Awaits {
            known.begin(rail.life);
            return true;
        }
        false
    }

    /// Both ends of a rail are open.
    pub fn opened(&mut self, rail: RailId, now: Duration) {
        let Some(known) = self.rails.get_mut(rail) else { return };
        if known.becomes(RailState::Probing) {
            known.ask(now);
            self.actions.push_back(Action::Probe { rail });
        }
    }

    /// A round trip was made on a rail.
    pub fn answered(&mut self, rail: RailId, now: Duration) {
        let Some(known) = self.rails.get_mut(rail) else { return };
        known.prove(now);
        if known.becomes(RailState::Up) {
            self.advance_notices();
        }
    }

    /// A rail is lost, or was never got.
    pub fn lost(&mut self, rail: RailId) {
        let waits = self.down.is_none();
        if self.rails.get_mut(rail).is_some_and(|known| known.lose(waits)) {
            self.actions.push_back(Action::Close { rail });
        }
    }

    /// This end of a lost rail is closed: nothing of it but what has not been told yet can touch this process's memory.
    pub fn closed(&mut self, rail: RailId, now: Duration) {
        if let Some(known) = self.rails.get_mut(rail).filter(|known| known.state == RailState::Quieting) {
            known.close();
        }
        self.look_at_quiet(rail, now);
    }

    /// The peer says that its end of a rail is quiet: this end has lost the rail too, if it did not know, and nothing is owed
    /// for it any more. What is in hand comes back by itself.
    pub fn heard(&mut self, rail: RailId, now: Duration) {
        let Some(known) = self.rails.numbered_mut(rail.number) else { return };
        if self.role == Role::Awaits && rail.life > known.life && known.state == RailState::Down {
            // The peer tried to open it, and it was never heard of here: so it is quiet.
            known.life = rail.life;
            self.actions.push_back(Action::Tell { rail });
            return;
        }
        if rail.life != known.life || known.state == RailState::Down {
            return;
        }
        known.heard = true;
        if known.drain() {
            // What the peer's end said last, a refusal above all, may come later than this word.
            self.actions.push_back(Action::Drain { rail });
        } else if known.state != RailState::Quieting {
            self.lost(rail);
        }
        self.transfers.values_mut().for_each(|progress| progress.settle(rail));
        let transfers: Vec<_> = self.transfers.keys().copied().collect();
        transfers.into_iter().for_each(|id| self.advance(id));
        self.advance_notices();
        self.look_at_quiet(rail, now);
    }

    /// Once the peer has left, closes a rail that has nothing in hand: no chunk, and no notification either.
    fn let_go(&mut self, rail: RailId) {
        if self.down.is_none() {
            return;
        }
        let chunks = self.rails.get(rail.number).map_or(0, |known| known.load.chunks());
        let is_notice = |notice| matches!(notice, Notice::Sent { rail: on, .. } if on == rail);
        if chunks == 0 && !self.transfers.values().any(|progress| is_notice(progress.notice)) {
            self.lost(rail);
        }
    }

    /// Whether a lost rail has become quiet, here or at both ends.
    fn look_at_quiet(&mut self, rail: RailId, now: Duration) {
        if self.rails.get_mut(rail).is_some_and(|known| known.is_drained()) {
            self.lost(rail);
        }
        self.let_go(rail);
        let Some(known) = self.rails.get_mut(rail) else { return };
        if known.is_to_be_told() {
            self.actions.push_back(Action::Tell { rail });
        }
        known.settle(now, &self.config);
    }
}

/// What is to be done.
impl<F: Clone> Bundle<F> {
    /// Checks that rails have in hand what transfers have on them, and no more than they may.
    #[cfg(test)]
    pub(super) fn check(&self) {
        for (id, rail) in self.rails.iter() {
            let on = self.transfers.values().flat_map(Progress::on_rails).filter(|(on, _)| *on == id);
            let (chunks, bytes) = on.fold((0, 0), |(chunks, sum), (_, bytes)| (chunks + 1, sum + bytes));
            assert_eq!((chunks, bytes), (rail.load.chunks(), rail.load.bytes()), "{id:?}");
            assert!(chunks <= 1 || bytes <= self.config.window, "{id:?} has {bytes} in hand");
            assert!(
                chunks == 0 || matches!(rail.state, RailState::Up | RailState::Quieting),
                "{:?}",
                rail.state
            );
        }
        let on_rails = self.transfers.values().flat_map(Progress::on_rails).count();
        assert_eq!(on_rails, self.rails.iter().map(|(_, rail)| rail.load.chunks() as usize).sum::<usize>());
        assert!(self.transfers.values().all(Progress::adds_up));
    }

    /// The next thing to do, if there is one now.
    pub fn poll(&mut self, now: Duration) -> Option<Action<F>> {
        self.look_at_times(now);
        self.actions.pop_front().or_else(|| self.post(now))
    }

    /// When to [poll](Self::poll) again although nothing has happened.
    #[must_use]
    pub fn next_timer(&self) -> Option<Duration> {
        let is_there = self.down.is_none();
        is_there.then(|| self.rails.next_timer(self.role == Role::Opens, &self.config)).flatten()
    }

    fn look_at_times(&mut self, now: Duration) {
        if self.down.is_some() {
            // What is in hand comes back, and there is nothing else to wait for.
            return;
        }
        while let Some(rail) = self.rails.stalled(now, &self.config) {
            self.lost(rail);
        }
        while let Some(rail) = self.rails.silent(now, &self.config) {
            self.lost(rail);
        }
        let opens = self.role == Role::Opens;
        for (number, rail) in self.rails.iter_mut() {
            rail.forget_refusal(now);
            if opens && rail.is_due(now) {
                rail.begin(rail.life + 1);
                self.actions.push_back(Action::Open { rail: RailId { number, life: rail.life } });
            }
            if opens && rail.is_to_be_probed(now, &self.config) {
                rail.ask(now);
                self.actions.push_back(Action::Probe { rail: RailId { number, life: rail.life } });
            }
        }
    }

    /// Puts the next chunk on a rail.
    fn post(&mut self, now: Duration) -> Option<Action<F>> {
        if !self.rails.have_room(now, &self.config) {
            return None;
        }
        let waiting = self.transfers.values().map(Progress::waiting).fold(0, u64::saturating_add);
        let favours = self.favoured < FAVOUR || self.turns[NORMAL].is_empty();
        let order = if favours { [HIGH, NORMAL] } else { [NORMAL, HIGH] };
        order.into_iter().find_map(|turn| {
            let transfers = self.turns[turn].len();
            (0..transfers).find_map(|_| self.post_of(turn, waiting, now))
        })
    }

    /// Puts a chunk of the transfer whose turn it is on a rail, and ends its turn.
    fn post_of(&mut self, turn: usize, waiting: u64, now: Duration) -> Option<Action<F>> {
        let transfer = self.turns[turn].pop_front()?;
        let progress = self.transfers.get_mut(&transfer)?;
        let (index, bytes) = progress.next()?;
        self.turns[turn].push_back(transfer);
        let rail = self.rails.choose((bytes, waiting), progress.near, now, &self.config)?;
        progress.post(rail);
        self.rails.get_mut(rail)?.load.post(bytes, now);
        self.favoured = if turn == HIGH && !self.turns[NORMAL].is_empty() { self.favoured + 1 } else { 0 };
        Some(Action::Post { rail, chunk: ChunkId { transfer, index } })
    }

    /// A transfer has chunks that wait again.
    fn wait_again(&mut self, transfer: TransferId) {
        let Some(progress) = self.transfers.get(&transfer) else { return };
        let turns = &mut self.turns[turns_of(progress.priority)];
        if !turns.contains(&transfer) {
            turns.push_front(transfer);
        }
    }

    /// Takes a transfer as far as it can go now: its notification goes out, or it is done.
    fn advance(&mut self, transfer: TransferId) {
        let Some(progress) = self.transfers.get_mut(&transfer) else { return };
        if !progress.is_quiet() {
            return;
        }
        let is_told = matches!(progress.notice, Notice::None | Notice::Done);
        if progress.failure.is_some() || progress.is_complete() && is_told {
            self.finish(transfer);
        } else if progress.is_complete() {
            self.notify(transfer);
        }
    }

    /// Sends a notification whose transfer is complete and owes nothing, if there is a rail.
    fn notify(&mut self, transfer: TransferId) {
        let Some(rail) = self.rails.least_loaded() else { return };
        let Some(progress) = self.transfers.get_mut(&transfer) else { return };
        let sequence = match progress.notice {
            Notice::Wanted => self.outbox.number(),
            Notice::Unsure { sequence } => Some(sequence),
            _ => None,
        };
        let Some(sequence) = sequence else { return };
        progress.notice = Notice::Sent { rail, sequence };
        let settled = self.outbox.settled();
        self.actions.push_back(Action::Notify { rail, transfer, sequence, settled });
    }

    /// Notifications may have got a rail, or a number.
    fn advance_notices(&mut self) {
        let waits =
            |progress: &Progress<F>| matches!(progress.notice, Notice::Wanted | Notice::Unsure { .. });
        let waiting: Vec<_> =
            self.transfers.iter().filter(|(_, progress)| waits(progress)).map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.advance(id));
    }

    /// A notification came back from a lost rail: the peer's word tells that no copy of it is to come from there.
    fn doubt(&mut self, transfer: TransferId, rail: RailId) {
        let is_heard = self.rails.get_mut(rail).is_none_or(|rail| rail.heard);
        if let Some(progress) = self.transfers.get_mut(&transfer)
            && !is_heard
            && self.down.is_none()
        {
            progress.owe(rail);
        }
        self.lost(rail);
    }

    fn finish(&mut self, transfer: TransferId) {
        let Some(progress) = self.transfers.remove(&transfer) else { return };
        if let Notice::Unsure { sequence } = progress.notice {
            self.outbox.settle(sequence);
        }
        let landed = progress.landed_prefix();
        let outcome = progress.outcome();
        self.actions.push_back(Action::Finish { transfer, outcome, landed });
    }
}

/// Places of priorities in the turns.
const NORMAL: usize = 0;
const HIGH: usize = 1;

const fn turns_of(priority: Priority) -> usize {
    match priority {
        Priority::Normal => NORMAL,
        Priority::High => HIGH,
    }
}
