//! Both halves of the messages between this process and one peer.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Context,
    time::{Duration, Instant},
};

use pmd_host::{endpoint::Peer, transfer::SendError};

use super::{
    Attachment, EAGER_BYTES, HEADER_BYTES, MessageError, MessageLimits, Receiver,
    delivery::Cell,
    frame::{self, Content, Malformed, MessageRecord, Record, Records, Source},
    incoming::{Incoming, With},
    outgoing::{Aftermath, Outgoing, Waiting},
    payload::Offered,
};
use crate::fabric::Fabric;

/// How soon to come back to what the lane did not take.
const SOON: Duration = Duration::from_micros(100);

/// How soon somebody who waits for a peer looks whether it still has a route.
const LOOK: Duration = Duration::from_millis(50);

/// Messages to and from one peer. Locks are taken in the order `incoming`, `outgoing`.
pub(super) struct Channel {
    peer: Peer,
    limits: MessageLimits,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
    /// Something was taken, or the channel failed.
    changed: Condvar,
}

/// Registrations that are to be dropped on the progress thread, and whether it has to look.
#[derive(Debug, Default)]
pub(super) struct Chores {
    pub(super) offered: Vec<Offered>,
    pub(super) look: bool,
}

impl Channel {
    pub(super) fn new(peer: Peer, limits: MessageLimits) -> Self {
        let outgoing = Mutex::new(Outgoing::new(limits.window_bytes));
        Self { peer, limits, incoming: Mutex::default(), outgoing, changed: Condvar::new() }
    }

    /// Whether the progress thread has to be told.
    pub(super) fn post(
        &self,
        fabric: &Fabric,
        number: u16,
        header: &[u8],
        payload: Cow<'_, [u8]>,
        delivery: Option<Arc<Cell>>,
        deadline: Option<Instant>,
    ) -> Result<bool, MessageError> {
        let mut outgoing = self.room(deadline)?;
        let (record, offered) = self.encode(fabric, &mut outgoing, number, header, payload, false)?;
        let keep = delivery.as_ref().and(deadline);
        outgoing.enqueue(Waiting { record, deadline: keep, delivery, offered });
        self.pump(&mut outgoing)?;
        Ok(outgoing.needs_progress() || keep.is_some())
    }

    pub(super) fn attach(
        &self,
        fabric: &Fabric,
        number: u16,
        header: &[u8],
        payload: &[u8],
    ) -> Result<Attachment, MessageError> {
        let mut outgoing = self.outgoing();
        if let Some(fault) = outgoing.fault() {
            return Err(fault.clone());
        }
        let payload = Cow::Borrowed(payload);
        let (record, offered) = self.encode(fabric, &mut outgoing, number, header, payload, true)?;
        let mut bytes = Vec::with_capacity(frame::frame_bytes(record.len()));
        frame::begin(&mut bytes);
        bytes.extend_from_slice(&record);
        let token = offered.map(|offered| {
            let token = outgoing.number();
            // The record ends with the token.
            let end = bytes.len();
            bytes[end - 8..].copy_from_slice(&token.to_le_bytes());
            outgoing.park(token, offered);
            token
        });
        Ok(Attachment { bytes, token })
    }

    pub(super) fn detach(&self, token: u64) {
        let offered = self.outgoing().unpark(token);
        drop(offered);
    }

    /// Takes a frame from the lane. Returns chores for the progress thread.
    pub(super) fn frame(&self, receiver: &dyn Receiver, bytes: &[u8]) -> Result<Chores, Malformed> {
        let (mut chores, mut aftermath) = (Chores::default(), Aftermath::default());
        let mut incoming = self.incoming();
        for record in Records::of(bytes)? {
            match record? {
                Record::Message(message) => chores.look |= incoming.arrived(receiver, &self.peer, &message),
                Record::Ask => incoming.ask(),
                Record::Acknowledge { taken } => aftermath = self.outgoing().acknowledge(taken)?,
                Record::Refused { loose, which, why } => {
                    aftermath = self.outgoing().refuse(loose, which, why)?
                }
                Record::Finished { token } => chores.offered.extend(self.outgoing().unpark(token)),
            }
            chores.offered.append(&mut aftermath.offered);
            aftermath.complete();
        }
        let mut outgoing = self.outgoing();
        incoming.report(&mut outgoing);
        // A route that takes nothing more is found by the progress thread.
        chores.look |= self.pump(&mut outgoing).is_err() || outgoing.needs_progress();
        drop(outgoing);
        self.changed.notify_all();
        Ok(chores)
    }

    /// What the progress thread does for this peer; returns when to come back, if nothing wakes it before.
    pub(super) fn progress(
        &self,
        fabric: &Fabric,
        receiver: &dyn Receiver,
        context: &mut Context<'_>,
    ) -> Option<Instant> {
        let now = Instant::now();
        let (mut again, mut next) = (false, None);
        let mut aftermath = {
            let mut incoming = self.incoming();
            let mut outgoing = self.outgoing();
            if !incoming.is_empty() {
                let mut with = With {
                    endpoint: fabric.endpoint(),
                    peer: &self.peer,
                    receiver,
                    limits: &self.limits,
                    outgoing: &mut outgoing,
                    context,
                };
                again = incoming.progress(&mut with);
            }
            incoming.report(&mut outgoing);
            let _ = outgoing.look(now);
            let pumped = self.pump(&mut outgoing);
            let lost = pumped.err().or_else(|| self.lost());
            if let Some(fault) = lost {
                outgoing.fail(&fault)
            } else {
                let (late, deadline) = outgoing.expire(now);
                next = [deadline, outgoing.look(now)].into_iter().flatten().min();
                again |= outgoing.is_stuck();
                late
            }
        };
        aftermath.complete();
        self.changed.notify_all();
        if again { Some(now + SOON) } else { next }
    }

    /// Fails everything to this peer, for good.
    pub(super) fn fail(&self, fault: &MessageError) {
        let mut aftermath = self.outgoing().fail(fault);
        aftermath.complete();
        self.changed.notify_all();
    }

    /// Asks the peer how much it has taken.
    pub(super) fn ask(&self) {
        let mut outgoing = self.outgoing();
        outgoing.ask();
        // A route that takes nothing more is found by the progress thread.
        let _ = self.pump(&mut outgoing);
    }

    /// Waits until the peer has taken everything.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut outgoing = self.outgoing();
        while !outgoing.is_empty() && outgoing.fault().is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let wait = self.changed.wait_timeout(outgoing, left.min(LOOK));
            outgoing = wait.unwrap_or_else(PoisonError::into_inner).0;
            if let Some(fault) = self.lost() {
                outgoing.fail(&fault).complete();
            }
        }
        outgoing.is_empty()
    }

    /// Waits for room, until the deadline.
    fn room(&self, deadline: Option<Instant>) -> Result<MutexGuard<'_, Outgoing>, MessageError> {
        let mut outgoing = self.outgoing();
        loop {
            if let Some(fault) = outgoing.fault() {
                return Err(fault.clone());
            }
            let (waiting, limit) = (outgoing.waiting_bytes(), self.limits.waiting_bytes);
            if waiting <= limit {
                return Ok(outgoing);
            }
            let left = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(MessageError::Full { waiting, limit });
            }
            outgoing = self.changed.wait_timeout(outgoing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The record of a message, and its payload if that does not come along.
    fn encode(
        &self,
        fabric: &Fabric,
        outgoing: &mut Outgoing,
        number: u16,
        header: &[u8],
        payload: Cow<'_, [u8]>,
        loose: bool,
    ) -> Result<(Vec<u8>, Option<Offered>), MessageError> {
        if header.len() > HEADER_BYTES {
            return Err(MessageError::HeaderTooLong { given: header.len(), limit: HEADER_BYTES });
        }
        let (length, mut offered) = (payload.len() as u64, None);
        let content = if header.len() + payload.len() <= EAGER_BYTES {
            Content::Eager(&payload)
        } else {
            let here = Offered::new(fabric.endpoint(), payload.to_vec())?;
            let unregistered = || MessageError::Register { detail: "not on the peer's transport".to_owned() };
            let key = here.key(self.peer.transport()).ok_or_else(unregistered)?;
            let source = Source { address: here.address(), key, token: outgoing.number() };
            offered = Some(here);
            Content::Rendezvous { length, source }
        };
        let eager = if offered.is_some() { 0 } else { payload.len() };
        let mut record = Vec::with_capacity(frame::RECORD_BYTES + header.len() + eager);
        Record::Message(MessageRecord { number, ask: false, loose, header, content }).emit(&mut record);
        Ok((record, offered))
    }

    fn pump(&self, outgoing: &mut Outgoing) -> Result<(), MessageError> {
        if let Some(fault) = outgoing.fault() {
            return Err(fault.clone());
        }
        outgoing.pump(self.peer.route()).map_err(|error| self.fault(error))
    }

    /// Why nothing arrives any more, if that is so.
    fn lost(&self) -> Option<MessageError> {
        if self.peer.down_reason().is_some() {
            return Some(MessageError::PeerDown);
        }
        self.peer.route().fault().map(|fault| self.fault(SendError::RouteFailed(fault)))
    }

    fn fault(&self, error: SendError) -> MessageError {
        match error {
            SendError::RouteFailed(_) if self.peer.down_reason().is_some() => MessageError::PeerDown,
            error => MessageError::Route(error),
        }
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Channel").field("peer", &self.peer).finish_non_exhaustive()
    }
}
