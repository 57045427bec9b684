//! One turn: events into the bundle, actions out of it.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, PoisonError, TryLockError, mpsc::SendError},
    time::{Duration, Instant},
};

use super::{
    RailReport, Rails, Word, chunks,
    keeper::Job,
    keys::{Answer, Aside, Asking, Beside, Keys},
    notices::Header,
};
use crate::{
    endpoint::handshake::{self, RESERVED},
    lane::Route,
    outage::LAST_WORDS,
    rail::{Action, Bundle, ChunkId, Fate, RailId, RailSet, RailState, Request, TransferId},
    transfer::{
        Completer, Direction, Notification, Observer, Outcome, Priority, RouteFault, SubmitError, Transfer,
        TransferEnd, TransferError, TransferObserver, TransferOptions, WorkList, WorkListBuilder,
        WorkListLimits,
    },
};

/// Pause before a notification is posted again for which the lane's ring was full.
const AGAIN: Duration = Duration::from_millis(1);

/// A transfer on its way to the bundle.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) completer: Completer,
    pub(super) work: Arc<WorkList>,
    pub(super) options: TransferOptions,
}

/// Something that happened.
#[derive(Debug)]
pub(super) enum Event {
    /// With this end's keys, where rails have devices of their own.
    Submitted(Box<Submission>, Option<Beside>),
    /// The peer tells its keys for a transfer.
    Keys(Answer),
    /// The route has carried a transfer that was to go over rails.
    AsideEnded {
        number: u64,
        end: TransferEnd,
    },
    /// Transfers were asked to stop.
    Stops,
    /// What was posted on a rail has ended.
    Ended {
        rail: RailId,
        load: Load,
        outcome: Result<Outcome, TransferError>,
    },
    Opened(RailId),
    Lost(RailId),
    Closed(RailId),
    Heard(RailId),
    PeerDown,
    /// The peer has said goodbye.
    PeerLeft,
    /// A timer has come.
    Time,
}

/// What a transfer of a lane carries for a bundle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    Chunk(ChunkId),
    Notification(TransferId, Header),
    Probe,
}

/// Who tells the outcomes of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Whoever has the turn.
    Here,
    /// The keeper.
    Keeper,
}

/// What a turn has hold of.
#[derive(Debug)]
pub(super) struct State {
    bundle: Bundle<TransferError>,
    running: BTreeMap<TransferId, Running>,
    /// Notifications and probes for which there was no room.
    unsent: Vec<(RailId, Load)>,
    /// Transfers that wait for the peer's keys, and those that the route carries after all; some of these wait for room.
    pub(super) asking: BTreeMap<u64, Asking>,
    pub(super) aside: BTreeMap<u64, Aside>,
    pub(super) again: Vec<u64>,
    /// The last number of one of them.
    number: u64,
    /// Those of them that are to be told.
    over: Vec<End>,
    /// By rail.
    carried: Vec<Carried>,
    /// What the keeper was asked for last.
    timer: Option<Duration>,
}

/// What has landed over a rail in all of its lives.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    bytes: u64,
    chunks: u64,
}

/// A transfer that has not ended.
#[derive(Debug)]
struct Running {
    completer: Completer,
    work: Arc<WorkList>,
    options: TransferOptions,
    /// Where rails have devices of their own.
    keys: Option<Keys>,
    chunks: Vec<Range<u32>>,
    /// Chunks on rails.
    in_hand: BTreeMap<u32, Transfer>,
}

/// An end to be told, once nothing is held.
#[derive(Debug)]
pub(super) struct End {
    running: Running,
    outcome: Result<Outcome, TransferError>,
    /// Entries from the first on that have landed.
    landed: u32,
}

impl State {
    pub(super) fn new(bundle: Bundle<TransferError>, rails: usize) -> Self {
        Self {
            bundle,
            running: BTreeMap::new(),
            unsent: Vec::new(),
            asking: BTreeMap::new(),
            aside: BTreeMap::new(),
            again: Vec::new(),
            number: 0,
            over: Vec::new(),
            carried: vec![Carried::default(); rails],
            timer: None,
        }
    }

    pub(super) const fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// A transfer has ended of which nothing was on a rail.
    pub(super) fn ended_unposted(
        &mut self,
        Submission { completer, work, options }: Submission,
        outcome: Result<Outcome, TransferError>,
        landed: u32,
    ) {
        let (keys, chunks, in_hand) = (None, Vec::new(), BTreeMap::new());
        let running = Running { completer, work, options, keys, chunks, in_hand };
        self.over.push(End { running, outcome, landed });
    }

    pub(super) fn has_rail(&mut self) -> bool {
        (0..self.carried.len() as u16).any(|number| self.bundle.state(number) == Some(RailState::Up))
    }

    pub(super) fn offered(&mut self, rail: RailId) -> bool {
        self.bundle.offered(rail)
    }

    pub(super) fn report(&mut self) -> Vec<RailReport> {
        let report = |(number, &Carried { bytes, chunks }): (u16, &Carried)| {
            let lives = self.bundle.rail(number)?.life;
            let (state, load) = (self.bundle.state(number)?, self.bundle.load(number)?);
            (lives > 0).then_some(RailReport { number, state, lives, bytes, chunks, rate: load.rate() })
        };
        (0..).zip(&self.carried).filter_map(report).collect()
    }

    /// Nobody is left to go on.
    pub(super) fn abandon(&mut self, error: TransferError) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.completer.complete(Err(error), 0);
        }
        self.stop_asking(|_| true, error);
        for aside in std::mem::take(&mut self.aside).into_values() {
            aside.submission.completer.complete(Err(error), 0);
        }
        std::mem::take(&mut self.over).into_iter().for_each(End::tell);
    }
}

impl Rails {
    /// Time since the epoch of the bundle.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Deals with all events, unless another thread is at that.
    pub(super) fn turn(&self, telling: Telling) {
        loop {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever has it looks at the queue again after letting go.
                Err(TryLockError::WouldBlock) => return,
            };
            let mut ends = Vec::new();
            loop {
                let events = std::mem::take(&mut *self.queue());
                if events.is_empty() {
                    break;
                }
                events.into_iter().for_each(|event| self.take_in(&mut state, event));
                self.act(&mut state, &mut ends);
            }
            self.set_timer(&mut state);
            drop(state);
            self.tell(ends, telling);
            if self.queue().is_empty() {
                return;
            }
        }
    }

    fn tell(&self, ends: Vec<End>, telling: Telling) {
        if ends.is_empty() {
            return;
        }
        let left = match telling {
            Telling::Here => ends,
            // Without a keeper there is nobody but this thread.
            Telling::Keeper => match self.keeper.send(Job::Tell(ends)) {
                Err(SendError(Job::Tell(ends))) => ends,
                _ => return,
            },
        };
        left.into_iter().for_each(End::tell);
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_in(&self, state: &mut State, event: Event) {
        let now = self.now();
        match event {
            Event::Submitted(submission, None) => self.begin(state, *submission, None),
            Event::Submitted(submission, Some(beside)) => self.ask(state, *submission, beside),
            Event::Keys(answer) => self.keys_come(state, answer),
            Event::AsideEnded { number, end } => state.aside_ended(number, end),
            Event::Stops => {
                state.stop_unposted();
                let asked = |running: &Running| running.completer.cancel_requested();
                state.fail(asked, TransferError::Cancelled);
            }
            Event::Ended { rail, load, outcome } => self.ended(state, rail, load, outcome),
            Event::Opened(rail) => state.bundle.opened(rail, now),
            Event::Lost(rail) => state.bundle.lost(rail),
            Event::Closed(rail) => state.bundle.closed(rail, now),
            Event::Heard(rail) => state.bundle.heard(rail, now),
            Event::PeerDown => {
                state.stop_asking(|_| true, TransferError::PeerDown);
                state.bundle.peer_down(TransferError::PeerDown);
            }
            Event::PeerLeft => {
                state.stop_asking(|_| true, TransferError::PeerDown);
                state.bundle.peer_left(TransferError::PeerDown);
                // Each brings what it has in hand back within that time, and then its loss.
                self.routes().by_number.iter().flatten().for_each(|(_, route)| route.peer_left(LAST_WORDS));
            }
            Event::Time => {
                state.timer = None;
                let at = Instant::now();
                let late =
                    |running: &Running| running.options.deadline.is_some_and(|deadline| deadline <= at);
                state.fail(late, TransferError::DeadlineExceeded);
                state.stop_late(at);
                self.post_asides(state);
                for (rail, load) in std::mem::take(&mut state.unsent) {
                    match load {
                        Load::Notification(transfer, header) => self.notify(state, rail, transfer, header),
                        Load::Probe => self.probe(state, rail),
                        Load::Chunk(_) => {}
                    }
                }
            }
        }
    }

    /// Gives a transfer to the bundle.
    pub(super) fn begin(&self, state: &mut State, submission: Submission, keys: Option<Keys>) {
        let Submission { completer, work, options } = submission;
        let chunks = chunks::cut(&work, self.config.chunk);
        let bytes: Vec<u64> = chunks.iter().map(|entries| chunks::bytes(&work, entries)).collect();
        let id = state.bundle.submit(&Request {
            chunks: &bytes,
            direction: work.direction(),
            notify: options.notify.is_some(),
            priority: options.priority,
            near: keys.as_ref().map_or(RailSet::ALL, |keys| keys.ours.nearest.rails(self.our_devices())),
        });
        let running = Running { completer, work, options, keys, chunks, in_hand: BTreeMap::new() };
        state.running.insert(id, running);
    }

    fn ended(&self, state: &mut State, rail: RailId, load: Load, outcome: Result<Outcome, TransferError>) {
        let now = self.now();
        let fate = |error| self.fate(rail, error);
        match load {
            Load::Chunk(chunk) => {
                let running = state.running.get_mut(&chunk.transfer);
                let range = running.and_then(|running| {
                    running.in_hand.remove(&chunk.index);
                    running.chunks.get(chunk.index as usize).cloned()
                });
                let first = range.map_or(0, |range| range.start);
                match outcome {
                    Ok(Outcome { bytes }) => {
                        if let Some(carried) = state.carried.get_mut(usize::from(rail.number)) {
                            carried.bytes += bytes;
                            carried.chunks += 1;
                        }
                        state.bundle.landed(rail, chunk, now);
                    }
                    Err(error) => state.bundle.returned(rail, chunk, fate(shifted(error, first)), now),
                }
            }
            Load::Notification(transfer, _) => match outcome {
                Ok(_) => state.bundle.notified(rail, transfer),
                Err(error) => state.bundle.unnotified(rail, transfer, fate(error)),
            },
            Load::Probe => match outcome {
                Ok(_) => {
                    let RailId { number, life } = rail;
                    let is_present = state.bundle.rail(number) == Some(rail);
                    if is_present && state.bundle.state(number) == Some(RailState::Probing) {
                        tracing::info!(peer = %self.connection.remote(), rail = number, life, "rail up");
                        self.prove_place(number);
                    }
                    state.bundle.answered(rail, now);
                }
                Err(_) => state.bundle.lost(rail),
            },
        }
    }

    /// What the failure of a chunk or of a notification means.
    fn fate(&self, rail: RailId, error: TransferError) -> Fate<TransferError> {
        if error.is_route_down() {
            return Fate::Lost(error);
        }
        // Stopped within the lane's time of grace, all that was posted has been answered for. Otherwise its route was taken down.
        let is_down = self.route(rail).is_none_or(|route| route.fault().is_some());
        let stopped = matches!(
            error,
            TransferError::Cancelled | TransferError::DeadlineExceeded | TransferError::Refused { .. }
        );
        if stopped && !is_down { Fate::Stopped(error) } else { Fate::Failed(error) }
    }

    fn act(&self, state: &mut State, ends: &mut Vec<End>) {
        while let Some(action) = state.bundle.poll(self.now()) {
            match action {
                Action::Post { rail, chunk } => self.post(state, rail, chunk),
                Action::Notify { rail, transfer, sequence, settled } => {
                    self.notify(state, rail, transfer, Header { sequence, settled });
                }
                Action::Probe { rail } => self.probe(state, rail),
                // A keeper that is gone goes with the rails.
                Action::Open { rail } => drop(self.keeper.send(Job::Open(rail))),
                Action::Close { rail } => {
                    self.log_lost(rail);
                    drop(self.keeper.send(Job::Close(rail)));
                }
                Action::Drain { rail } => {
                    if let Some(route) = self.route(rail) {
                        route.peer_closed(LAST_WORDS);
                    }
                }
                Action::Tell { rail } => {
                    let word = Word { number: rail.number, life: rail.life };
                    // A connection that cannot take it is down.
                    drop(self.connection.event(RESERVED.word, handshake::encode(&word)));
                }
                Action::Stop { transfer } => {
                    if let Some(running) = state.running.get(&transfer) {
                        running.in_hand.values().for_each(Transfer::request_cancel);
                    }
                }
                Action::Finish { transfer, outcome, landed } => {
                    let running = state.running.remove(&transfer);
                    let outcome = outcome.map(|bytes| Outcome { bytes });
                    ends.extend(running.map(|running| {
                        let last = landed.checked_sub(1).and_then(|last| running.chunks.get(last as usize));
                        let landed = last.map_or(0, |range| range.end);
                        End { running, outcome, landed }
                    }));
                }
            }
        }
        ends.append(&mut state.over);
    }

    /// That rails go with their peer is no news.
    fn log_lost(&self, RailId { number, life }: RailId) {
        if self.connection.down_reason().is_none() {
            tracing::warn!(peer = %self.connection.remote(), rail = number, life, "rail lost");
        }
    }

    fn post(&self, state: &mut State, rail: RailId, chunk: ChunkId) {
        let Some(running) = state.running.get_mut(&chunk.transfer) else { return };
        let range = running.chunks[chunk.index as usize].clone();
        let part = running.work.part(range.start as usize..range.end as usize);
        let part = match (&running.keys, self.devices_of(rail.number)) {
            (Some(keys), Some(devices)) => keys.translated(part, devices),
            (None, None) => Some(part),
            // A peer that opens rails of both kinds.
            _ => None,
        };
        let options = TransferOptions {
            deadline: running.options.deadline,
            priority: running.options.priority,
            ..TransferOptions::default()
        };
        let posted = match part {
            Some(part) => {
                self.submit_on(self.route(rail), &Arc::new(part), options, rail, Load::Chunk(chunk))
            }
            None => Err(SubmitError::RouteFailed(RouteFault::Closed)),
        };
        match posted {
            Ok(transfer) => {
                running.in_hand.insert(chunk.index, transfer);
            }
            Err(error) => {
                state.bundle.refused(rail, chunk, self.now());
                if !matches!(error, SubmitError::Full(_)) {
                    state.bundle.lost(rail);
                }
            }
        }
    }

    fn notify(&self, state: &mut State, rail: RailId, transfer: TransferId, header: Header) {
        let Some(running) = state.running.get(&transfer) else { return };
        let options = TransferOptions {
            notify: running.options.notify.as_ref().map(|notify| header.put_before(notify)),
            deadline: running.options.deadline,
            priority: Priority::High,
            ..TransferOptions::default()
        };
        let load = Load::Notification(transfer, header);
        let fate = match self.submit_on(self.route(rail), &nothing(), options, rail, load) {
            Ok(_) => return,
            Err(SubmitError::Full(_)) => return state.unsent.push((rail, load)),
            Err(SubmitError::RouteFailed(fault)) => Fate::Lost(fault.transfer_error()),
            // No rail takes it, since all are made alike.
            Err(_) => Fate::Stopped(TransferError::RouteClosed),
        };
        state.bundle.unnotified(rail, transfer, fate);
    }

    /// The bundle sees when it takes too long: then the rail is closed, and the probe comes back with that.
    fn probe(&self, state: &mut State, rail: RailId) {
        let notify = Some(Notification { bytes: Vec::new(), immediate: None });
        let options = TransferOptions { notify, ..TransferOptions::default() };
        match self.submit_on(self.route(rail), &nothing(), options, rail, Load::Probe) {
            Ok(_) => {}
            Err(SubmitError::Full(_)) => state.unsent.push((rail, Load::Probe)),
            Err(_) => self.queue().push(Event::Lost(rail)),
        }
    }

    fn submit_on(
        &self,
        route: Option<Route>,
        work: &Arc<WorkList>,
        options: TransferOptions,
        rail: RailId,
        load: Load,
    ) -> Result<Transfer, SubmitError> {
        let route = route.ok_or(SubmitError::RouteFailed(RouteFault::Closed))?;
        let rails = self.this.upgrade().ok_or(SubmitError::RouteFailed(RouteFault::Closed))?;
        let observer = Some(Observer(Arc::new(Watcher { rails, rail, load })));
        route.submit(work, TransferOptions { observer, ..options })
    }

    fn set_timer(&self, state: &mut State) {
        let now = self.now();
        let deadlines = state.running.values().filter_map(|running| running.options.deadline);
        let deadline =
            deadlines.chain(state.asking_deadline()).min().map(|at| at.saturating_duration_since(self.epoch));
        let waits = !state.unsent.is_empty() || !state.again.is_empty();
        let unsent = waits.then(|| now + AGAIN);
        let next = [state.bundle.next_timer(), deadline.map(|at| at.max(now + AGAIN)), unsent]
            .into_iter()
            .flatten()
            .min();
        if let Some(at) = next
            && state.timer.is_none_or(|timer| at < timer)
        {
            state.timer = Some(at);
            drop(self.keeper.send(Job::Timer(at)));
        }
    }
}

impl State {
    fn fail(&mut self, which: impl Fn(&Running) -> bool, error: TransferError) {
        let failed = self.running.iter().filter(|(_, running)| which(running));
        for id in failed.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.bundle.fail(id, error);
        }
    }
}

impl End {
    /// Gives the outcome, and with it everything that was kept alive.
    pub(super) fn tell(self) {
        let Self { running: Running { completer, work, options, in_hand, .. }, outcome, landed } = self;
        // Before the outcome: who has it may count on nothing being held any more.
        drop((work, options, in_hand));
        completer.complete(outcome, landed);
    }
}

/// Brings the end of what was posted for a bundle.
struct Watcher {
    rails: Arc<Rails>,
    rail: RailId,
    load: Load,
}

impl TransferObserver for Watcher {
    fn ended(&self, end: TransferEnd) {
        self.rails.happen(Event::Ended { rail: self.rail, load: self.load, outcome: end.outcome });
    }
}

/// A list of no work: for what is only notified.
fn nothing() -> Arc<WorkList> {
    Arc::new(WorkListBuilder::new(Direction::Write, WorkListLimits::default()).finish())
}

/// An error of a part, as one of the whole list.
fn shifted(error: TransferError, first: u32) -> TransferError {
    match error {
        TransferError::Failed { syndrome, vendor, entry, remote } => {
            TransferError::Failed { syndrome, vendor, entry: entry + first, remote }
        }
        TransferError::Device { fault, entry, remote } => {
            TransferError::Device { fault, entry: entry + first, remote }
        }
        TransferError::Refused { entry, error } => TransferError::Refused { entry: entry + first, error },
        other => other,
    }
}
