//! The rails of a bundle at this end: their lives, and which one a chunk goes to.

use std::time::Duration;

use super::{BundleConfig, Load, RailId, RailSet, RailState, load::time_of};

/// Bytes a second of a rail while none is measured: any number does, where all are equal.
const UNKNOWN_RATE: u64 = 1 << 30;

/// One rail.
#[derive(Debug, Default)]
pub(super) struct Rail {
    pub(super) state: RailState,
    pub(super) life: u32,
    pub(super) load: Load,
    /// While it is quieting: this end can touch nothing any more, except through what is still in hand.
    closed: bool,
    /// While it is quieting: it is closed with the last that is in hand, and not before.
    draining: bool,
    /// This end has said that it is quiet.
    told: bool,
    /// The peer has said that its end is quiet.
    pub(super) heard: bool,
    /// When it may be opened again.
    reopen_at: Duration,
    /// Lives in a row that landed nothing.
    failures: u32,
    /// It takes nothing before.
    refused_until: Duration,
    /// When something last came back over it.
    proven: Duration,
    /// When a probe went out that has not come back.
    asked: Option<Duration>,
}

/// All of them, by number.
#[derive(Debug)]
pub(super) struct Rails(Vec<Rail>);

impl Rails {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count).map(|_| Rail::default()).collect())
    }

    /// The rail, if this is its present life.
    pub(super) fn get_mut(&mut self, id: RailId) -> Option<&mut Rail> {
        self.0.get_mut(usize::from(id.number)).filter(|rail| rail.life == id.life)
    }

    pub(super) fn get(&self, number: u16) -> Option<&Rail> {
        self.0.get(usize::from(number))
    }

    pub(super) fn numbered_mut(&mut self, number: u16) -> Option<&mut Rail> {
        self.0.get_mut(usize::from(number))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RailId, &Rail)> {
        (0..).zip(&self.0).map(|(number, rail)| (RailId { number, life: rail.life }, rail))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut Rail)> {
        (0..).zip(&mut self.0)
    }

    fn up(&self) -> impl Iterator<Item = (RailId, &Rail)> {
        self.iter().filter(|(_, rail)| rail.state == RailState::Up)
    }

    pub(super) fn count_up(&self) -> usize {
        self.up().count()
    }

    /// Whether any rail takes chunks now.
    pub(super) fn have_room(&self, now: Duration, config: &BundleConfig) -> bool {
        self.up().any(|(_, rail)| rail.has_room(1, now, config))
    }

    /// The rail for a chunk: of those with room the one that is likely to be done with it first. None, if that is done with it
    /// only after all rails together are done with all that is in hand and `waiting`; then a faster one without room at this
    /// moment is the better choice.
    pub(super) fn choose(
        &mut self,
        (bytes, waiting): (u64, u64),
        near: RailSet,
        now: Duration,
        config: &BundleConfig,
    ) -> Option<RailId> {
        self.0.iter_mut().for_each(|rail| rail.load.forget_rate(now, config.forget_rate));
        let rails = &*self;
        let any_near = rails.up().any(|(id, _)| near.contains(id.number));
        let candidates = || rails.up().filter(move |(id, _)| !any_near || near.contains(id.number));
        // What was not measured counts as fast, so that it is.
        let fastest = candidates().filter_map(|(_, rail)| rail.load.rate()).max().unwrap_or(UNKNOWN_RATE);
        let finish = |rail: &Rail| (rail.load.time_for(bytes, fastest), rail.load.bytes());
        let best = candidates().map(|(_, rail)| finish(rail)).min()?;
        let with_room = candidates().filter(|(_, rail)| rail.has_room(bytes, now, config));
        let (id, rail) = with_room.min_by_key(|(_, rail)| finish(rail))?;
        let in_hand: u64 = candidates().map(|(_, rail)| rail.load.bytes()).sum();
        let rates = candidates().map(|(_, rail)| rail.load.rate().unwrap_or(fastest));
        let rate = rates.fold(0, u64::saturating_add);
        let everything = time_of(in_hand.saturating_add(waiting), rate);
        (finish(rail).0 <= everything.max(best.0)).then_some(id)
    }

    /// The rail that a notification goes on.
    pub(super) fn least_loaded(&self) -> Option<RailId> {
        self.up().min_by_key(|(_, rail)| rail.load.bytes()).map(|(id, _)| id)
    }

    /// Rails that show no progress, all but the last one up.
    pub(super) fn stalled(&self, now: Duration, config: &BundleConfig) -> Option<RailId> {
        let stalled = |rail: &Rail| rail.stalls_at(config).is_some_and(|at| at <= now);
        self.up().find(|(_, rail)| self.count_up() > 1 && stalled(rail)).map(|(id, _)| id)
    }

    /// Rails with nothing in hand over which a probe does not come back.
    pub(super) fn silent(&self, now: Duration, config: &BundleConfig) -> Option<RailId> {
        let silent = |rail: &Rail| rail.silent_at(config).is_some_and(|at| at <= now);
        self.iter().find(|(_, rail)| silent(rail)).map(|(id, _)| id)
    }

    /// When to look at them next.
    pub(super) fn next_timer(&self, opens: bool, config: &BundleConfig) -> Option<Duration> {
        let stalls = self.up().filter(|_| self.count_up() > 1).filter_map(|(_, rail)| rail.stalls_at(config));
        let refused =
            self.up().filter(|(_, rail)| !rail.refused_until.is_zero()).map(|(_, rail)| rail.refused_until);
        let down = self.iter().filter(|(_, rail)| opens && rail.state == RailState::Down);
        let silent = self.iter().filter_map(|(_, rail)| rail.silent_at(config));
        let idle = self.iter().filter(|_| opens).filter_map(|(_, rail)| rail.idle_until(config));
        let down = down.map(|(_, rail)| rail.reopen_at);
        stalls.chain(refused).chain(down).chain(silent).chain(idle).min()
    }
}

impl Rail {
    /// Begins a life that is to be opened.
    pub(super) fn begin(&mut self, life: u32) {
        let (reopen_at, failures) = (self.reopen_at, self.failures);
        *self = Self { state: RailState::Opening, life, reopen_at, failures, ..Self::default() };
    }

    /// Changes the state where the table allows it. Whether it did.
    pub(super) fn becomes(&mut self, next: RailState) -> bool {
        let allowed = self.state.may_become(next);
        if allowed {
            self.state = next;
        }
        allowed
    }

    /// Takes nothing more, and leaves what is in hand to come back by itself, if there is something. Whether this begins now.
    pub(super) fn drain(&mut self) -> bool {
        let begins = self.load.chunks() > 0 && self.becomes(RailState::Quieting);
        self.draining |= begins;
        begins
    }

    /// Is lost. Whether it is to be closed, which it is once: one that drains with the last that it has in hand, unless that is
    /// not waited for.
    pub(super) fn lose(&mut self, waits: bool) -> bool {
        let is_drained = self.draining && (!waits || self.load.chunks() == 0);
        self.draining &= !is_drained;
        is_drained || self.becomes(RailState::Quieting)
    }

    /// Whether all that it waited for has come back.
    pub(super) const fn is_drained(&self) -> bool {
        self.draining && self.load.chunks() == 0
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.state == RailState::Down && self.reopen_at <= now
    }

    /// This end has closed its queue pairs.
    pub(super) const fn close(&mut self) {
        self.closed = true;
    }

    /// Whether this end has become quiet and has not said so.
    pub(super) fn is_to_be_told(&mut self) -> bool {
        let quiet = self.state == RailState::Quieting && self.closed && self.load.chunks() == 0;
        quiet && !std::mem::replace(&mut self.told, true)
    }

    /// Takes a rail down that is quiet at both ends. Whether it did.
    pub(super) fn settle(&mut self, now: Duration, config: &BundleConfig) -> bool {
        if !(self.told && self.heard && self.becomes(RailState::Down)) {
            return false;
        }
        let pause = config.reopen.saturating_mul(1 << self.failures.min(16)).min(config.reopen_limit);
        self.reopen_at = now + pause;
        self.failures += 1;
        true
    }

    /// It has carried something: the next failure is the first again.
    pub(super) const fn succeed(&mut self, now: Duration) {
        self.failures = 0;
        self.refused_until = Duration::ZERO;
        self.proven = now;
    }

    /// A probe goes out.
    pub(super) const fn ask(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    /// A probe has come back.
    pub(super) const fn prove(&mut self, now: Duration) {
        (self.asked, self.proven) = (None, now);
    }

    /// Whether it has been idle for so long that it is to be probed.
    pub(super) fn is_to_be_probed(&self, now: Duration, config: &BundleConfig) -> bool {
        self.idle_until(config).is_some_and(|at| at <= now)
    }

    /// It has no place for another chunk at the moment.
    pub(super) fn refuse(&mut self, until: Duration) {
        self.refused_until = until;
    }

    /// Its time is over.
    pub(super) fn forget_refusal(&mut self, now: Duration) {
        if self.refused_until <= now {
            self.refused_until = Duration::ZERO;
        }
    }

    fn has_room(&self, bytes: u64, now: Duration, config: &BundleConfig) -> bool {
        let fits = self.load.chunks() == 0 || self.load.bytes().saturating_add(bytes) <= config.window;
        fits && self.refused_until <= now
    }

    /// When it is probed, if it has nothing in hand until then.
    fn idle_until(&self, config: &BundleConfig) -> Option<Duration> {
        let is_idle = self.state == RailState::Up && self.load.chunks() == 0 && self.asked.is_none();
        (is_idle && !config.idle.is_zero()).then(|| self.proven + config.idle)
    }

    /// When it counts as dead for the probe that has not come back. What has chunks in hand is judged by those.
    fn silent_at(&self, config: &BundleConfig) -> Option<Duration> {
        let waits = matches!(self.state, RailState::Probing | RailState::Up) && self.load.chunks() == 0;
        self.asked.filter(|_| waits).map(|asked| asked.max(self.proven) + config.probe)
    }

    /// When it counts as stalled, if nothing lands before.
    fn stalls_at(&self, config: &BundleConfig) -> Option<Duration> {
        let busy_since = self.load.busy_since()?;
        let expected = self.load.expected_turn().saturating_mul(8);
        Some(busy_since + config.stall.max(expected))
    }
}
