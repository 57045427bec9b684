//! Messages to one peer: what waits for room, what waits for the peer's word, and what the peer is to be told.
//!
//! Everything goes through [`Outgoing::pump`], which packs as many records into a message of the lane as fit. It never
//! waits: what the lane does not take stays, and the progress thread comes back for it.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_host::{lane::Route, transfer::SendError};

use super::{
    EAGER_BYTES, MessageError, Refused,
    delivery::Cell,
    frame::{self, Malformed, Record},
    payload::Offered,
};

/// Longest frame.
pub(super) const FRAME_BYTES: usize = frame::frame_bytes(EAGER_BYTES);

/// What a message costs of the window beside its bytes.
const MESSAGE_COST: usize = 64;

/// The sending half of a channel.
#[derive(Debug)]
pub(super) struct Outgoing {
    window: usize,
    frame: Vec<u8>,
    /// Encoded and not sent yet, oldest first.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Sent and not acknowledged, oldest first.
    sent: VecDeque<Sent>,
    /// Messages that the peer has taken: the sequence of the first one in `sent`.
    acknowledged: u64,
    in_window: usize,
    since_asked: usize,
    due: Due,
    /// Payloads of notifications that travel with transfers, by token.
    parked: HashMap<u64, Offered>,
    next_number: u64,
    fault: Option<MessageError>,
    /// The lane took nothing more when it was last tried.
    lane_is_full: bool,
    /// The progress thread knows that the lane was full.
    polled: bool,
    /// The peer was asked how many it has taken and has not said.
    asked: bool,
    /// When the progress thread looks at what is under way.
    look_at: Option<Instant>,
}

/// How long something may be under way before the progress thread asks for it and looks whether the route still stands.
const LOOK: Duration = Duration::from_millis(50);

/// A message that is not sent yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: Vec<u8>,
    pub(super) deadline: Option<Instant>,
    pub(super) delivery: Option<Arc<Cell>>,
    pub(super) offered: Option<Offered>,
}

#[derive(Debug)]
struct Sent {
    cost: usize,
    deadline: Option<Instant>,
    delivery: Option<Arc<Cell>>,
    offered: Option<Offered>,
}

/// What the peer is to be told.
#[derive(Debug, Default)]
struct Due {
    taken: Option<u64>,
    finished: Vec<u64>,
    refused: Vec<(bool, u64, Refused)>,
    ask: bool,
}

/// What is left to do once the lock is released.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    completed: Vec<(Arc<Cell>, Result<(), MessageError>)>,
    /// Registrations that go; not on a lane's thread.
    pub(super) offered: Vec<Offered>,
}

impl Aftermath {
    pub(super) fn complete(&mut self) {
        self.completed.drain(..).for_each(|(cell, outcome)| cell.complete(outcome));
    }
}

impl Outgoing {
    pub(super) fn new(window: usize) -> Self {
        Self {
            window,
            frame: Vec::with_capacity(FRAME_BYTES),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sent: VecDeque::new(),
            acknowledged: 0,
            in_window: 0,
            since_asked: 0,
            due: Due::default(),
            parked: HashMap::new(),
            next_number: 1,
            fault: None,
            lane_is_full: false,
            polled: false,
            asked: false,
            look_at: None,
        }
    }

    pub(super) const fn fault(&self) -> Option<&MessageError> {
        self.fault.as_ref()
    }

    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether the lane has to be tried again: nothing tells when it has room.
    pub(super) fn is_stuck(&self) -> bool {
        self.fault.is_none() && self.lane_is_full
    }

    /// Whether the progress thread has to be told of what changed.
    pub(super) fn needs_progress(&mut self) -> bool {
        if self.fault.is_some() {
            return false;
        }
        let polls = self.is_stuck() && !self.polled;
        let looks = !self.is_empty() && self.look_at.is_none();
        self.polled |= polls;
        polls || looks
    }

    /// Called by the progress thread: asks for what is under way for long. When it is to look again.
    pub(super) fn look(&mut self, now: Instant) -> Option<Instant> {
        self.polled = self.is_stuck();
        if self.is_empty() {
            self.look_at = None;
        } else if self.look_at.is_none_or(|at| at <= now) {
            // The first look is a while after the message.
            if self.look_at.is_some() && !self.asked {
                self.ask();
            }
            self.look_at = Some(now + LOOK);
        }
        self.look_at
    }

    /// Whether everything has been taken by the peer.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.parked.is_empty()
    }

    /// A number that was not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn enqueue(&mut self, message: Waiting) {
        self.waiting_bytes += message.record.len();
        self.waiting.push_back(message);
    }

    pub(super) fn park(&mut self, token: u64, offered: Offered) {
        self.parked.insert(token, offered);
    }

    pub(super) fn unpark(&mut self, token: u64) -> Option<Offered> {
        self.parked.remove(&token)
    }

    pub(super) fn tell_taken(&mut self, taken: u64) {
        self.due.taken = Some(taken);
    }

    pub(super) fn tell_finished(&mut self, token: u64) {
        self.due.finished.push(token);
    }

    pub(super) fn tell_refused(&mut self, loose: bool, which: u64, why: Refused) {
        self.due.refused.push((loose, which, why));
    }

    pub(super) fn ask(&mut self) {
        self.due.ask = !self.sent.is_empty() || !self.waiting.is_empty();
    }

    /// Hands the lane what it takes.
    ///
    /// # Errors
    /// Why nothing will be taken any more.
    pub(super) fn pump(&mut self, route: &Route) -> Result<(), SendError> {
        loop {
            frame::begin(&mut self.frame);
            let empty = self.frame.len();
            self.due.emit(&mut self.frame);
            let (count, cost, since_asked) = self.pack();
            self.lane_is_full = false;
            if self.frame.len() == empty {
                return Ok(());
            }
            match route.send(&self.frame, None) {
                Ok(()) => self.commit(count, cost, since_asked),
                Err(SendError::Full) => {
                    self.lane_is_full = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Copies waiting records into the frame: how many, what they cost of the window, and the cost since the peer was
    /// last asked to acknowledge.
    fn pack(&mut self) -> (usize, usize, usize) {
        let (mut count, mut cost, mut since_asked) = (0, 0, self.since_asked);
        for message in &self.waiting {
            let more = message.cost();
            let in_window = self.in_window + cost;
            if self.frame.len() + message.record.len() > FRAME_BYTES
                || in_window > 0 && in_window + more > self.window
            {
                break;
            }
            let start = self.frame.len();
            self.frame.extend_from_slice(&message.record);
            (count, cost, since_asked) = (count + 1, cost + more, since_asked + more);
            if message.delivery.is_some() || since_asked > self.window / 4 {
                frame::set_ask(&mut self.frame[start..]);
                since_asked = 0;
            }
        }
        (count, cost, since_asked)
    }

    /// The lane has taken the frame.
    fn commit(&mut self, count: usize, cost: usize, since_asked: usize) {
        self.asked |= self.due.ask || count > 0 && since_asked < cost;
        self.due.clear();
        self.in_window += cost;
        self.since_asked = since_asked;
        for message in self.waiting.drain(..count) {
            let cost = message.cost();
            let Waiting { record, deadline, delivery, offered } = message;
            self.waiting_bytes -= record.len();
            self.sent.push_back(Sent { cost, deadline, delivery, offered });
        }
    }

    /// The peer has taken this many messages since the connection was made.
    pub(super) fn acknowledge(&mut self, taken: u64) -> Result<Aftermath, Malformed> {
        let mut aftermath = Aftermath::default();
        self.asked = false;
        while self.acknowledged < taken {
            let sent = self.sent.pop_front().ok_or(Malformed)?;
            self.acknowledged += 1;
            self.in_window -= sent.cost;
            aftermath.completed.extend(sent.delivery.map(|cell| (cell, Ok(()))));
            aftermath.offered.extend(sent.offered);
        }
        Ok(aftermath)
    }

    /// The peer does not take a message.
    pub(super) fn refuse(&mut self, loose: bool, which: u64, why: Refused) -> Result<Aftermath, Malformed> {
        let mut aftermath = Aftermath::default();
        if loose {
            aftermath.offered.extend(self.parked.remove(&which));
            return Ok(aftermath);
        }
        let index = which.checked_sub(self.acknowledged).ok_or(Malformed)?;
        let sent = self.sent.get_mut(index as usize).ok_or(Malformed)?;
        let refused = Err(MessageError::Refused(why));
        aftermath.completed.extend(sent.delivery.take().map(|cell| (cell, refused)));
        Ok(aftermath)
    }

    /// Fails what should have been taken by now. What is on its way stays on its way. Returns the next deadline.
    pub(super) fn expire(&mut self, now: Instant) -> (Aftermath, Option<Instant>) {
        let (mut aftermath, mut next) = (Aftermath::default(), None::<Instant>);
        let mut overdue = |deadline: Option<Instant>| match deadline {
            Some(deadline) if deadline <= now => true,
            Some(deadline) => {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
                false
            }
            None => false,
        };
        for sent in self.sent.iter_mut().filter(|sent| sent.delivery.is_some()) {
            if overdue(sent.deadline) {
                let late = Err(MessageError::DeadlineExceeded);
                aftermath.completed.extend(sent.delivery.take().map(|cell| (cell, late)));
            }
        }
        let (late, waiting) =
            mem::take(&mut self.waiting).into_iter().partition(|message| overdue(message.deadline));
        self.waiting = waiting;
        let late: VecDeque<Waiting> = late;
        for message in late {
            self.waiting_bytes -= message.record.len();
            let failed = message.delivery.map(|cell| (cell, Err(MessageError::DeadlineExceeded)));
            aftermath.completed.extend(failed);
            aftermath.offered.extend(message.offered);
        }
        (aftermath, next)
    }

    /// Fails everything, now and from now on; the first fault counts.
    pub(super) fn fail(&mut self, fault: &MessageError) -> Aftermath {
        self.fault.get_or_insert_with(|| fault.clone());
        let waiting =
            mem::take(&mut self.waiting).into_iter().map(|message| (message.delivery, message.offered));
        let sent = mem::take(&mut self.sent).into_iter().map(|message| (message.delivery, message.offered));
        let mut aftermath = Aftermath::default();
        for (delivery, offered) in sent.chain(waiting) {
            aftermath.completed.extend(delivery.map(|cell| (cell, Err(fault.clone()))));
            aftermath.offered.extend(offered);
        }
        aftermath.offered.extend(mem::take(&mut self.parked).into_values());
        (self.waiting_bytes, self.in_window, self.due) = (0, 0, Due::default());
        aftermath
    }
}

impl Waiting {
    const fn cost(&self) -> usize {
        self.record.len() + MESSAGE_COST
    }
}

impl Due {
    fn clear(&mut self) {
        // What did not fit into the frame stays.
        self.finished.drain(..self.finished.len().min(Self::MOST));
        self.refused.drain(..self.refused.len().min(Self::MOST));
        self.ask = false;
        if self.refused.is_empty() {
            self.taken = None;
        }
    }

    /// Records of one kind in a frame.
    const MOST: usize = 128;

    /// A refusal comes before the acknowledgement that counts its message as taken.
    fn emit(&self, frame: &mut Vec<u8>) {
        for (loose, which, why) in self.refused.iter().take(Self::MOST) {
            Record::Refused { loose: *loose, which: *which, why: *why }.emit(frame);
        }
        for token in self.finished.iter().take(Self::MOST) {
            Record::Finished { token: *token }.emit(frame);
        }
        if let Some(taken) = self.taken.filter(|_| self.refused.len() <= Self::MOST) {
            Record::Acknowledge { taken }.emit(frame);
        }
        if self.ask {
            Record::Ask.emit(frame);
        }
    }
}
