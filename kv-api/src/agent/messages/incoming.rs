//! Messages from one peer, in its order: handed to the receiver as they come, or kept until a payload has been read or
//! the receiver has room again.

use std::{
    borrow::Cow,
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pmd_core::memory::RemoteAddress;
use pmd_host::{
    endpoint::{Endpoint, Peer},
    transfer::{Direction, KeepAlive, SubmitError, Transfer, TransferOptions, WorkListBuilder},
};

use super::{
    ActiveMessage, MessageLimits, Receiver, Refused,
    frame::{Content, MessageRecord, Source},
    outgoing::Outgoing,
    payload::Landing,
};

/// The receiving half of a channel.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pending: VecDeque<Pending>,
    /// Sequenced messages that were taken or refused.
    taken: u64,
    /// The peer wants to know how many.
    asked: bool,
    /// Bytes of payloads that are being read or wait for the receiver.
    held: u64,
}

#[derive(Debug)]
struct Pending {
    number: u16,
    ask: bool,
    loose: bool,
    header: Vec<u8>,
    payload: Payload,
    /// Bytes that it counts for in [`Incoming::held`].
    held: u64,
}

#[derive(Debug)]
enum Payload {
    Here(Vec<u8>),
    Announced { length: u64, source: Source },
    Reading { transfer: Transfer, landing: Arc<Landing>, token: u64 },
    Lost(Refused),
}

impl Incoming {
    /// Takes in a message that has just come. Returns whether the progress thread has to look.
    pub(super) fn arrived(
        &mut self,
        receiver: &dyn Receiver,
        peer: &Peer,
        record: &MessageRecord<'_>,
    ) -> bool {
        if let Content::Eager(payload) = record.content
            && self.pending.is_empty()
            && receiver.has_room()
        {
            let message = ActiveMessage {
                number: record.number,
                header: record.header,
                payload: Cow::Borrowed(payload),
            };
            match deliver(receiver, peer, message) {
                Ok(()) => self.note(record.loose, record.ask),
                Err(why) => self.keep(record, Payload::Lost(why)),
            }
            return !self.pending.is_empty();
        }
        let payload = match record.content {
            Content::Eager(payload) => Payload::Here(payload.to_vec()),
            Content::Rendezvous { length, source } => Payload::Announced { length, source },
        };
        self.keep(record, payload);
        true
    }

    fn keep(&mut self, record: &MessageRecord<'_>, payload: Payload) {
        let MessageRecord { number, ask, loose, header, .. } = *record;
        self.pending.push_back(Pending { number, ask, loose, header: header.to_vec(), payload, held: 0 });
    }

    /// The peer wants to know how many were taken.
    pub(super) const fn ask(&mut self) {
        self.asked = true;
    }

    /// Leaves what the peer is to be told.
    pub(super) fn report(&mut self, outgoing: &mut Outgoing) {
        if self.asked {
            self.asked = false;
            outgoing.tell_taken(self.taken);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Reads payloads, hands over what is here. Returns whether to come back soon, although nothing will wake.
    pub(super) fn progress(&mut self, with: &mut With<'_, '_>) -> bool {
        let again = self.read(with);
        while let Some(first) = self.pending.front_mut() {
            if first.payload.is_on_its_way() || first.payload.is_here() && !with.receiver.has_room() {
                break;
            }
            let Some(first) = self.pending.pop_front() else { break };
            self.hand_over(with, first);
        }
        again
    }

    fn hand_over(&mut self, with: &mut With<'_, '_>, first: Pending) {
        self.held -= first.held;
        let refused = match first.payload {
            Payload::Here(payload) => {
                let message = ActiveMessage {
                    number: first.number,
                    header: &first.header,
                    payload: Cow::Owned(payload),
                };
                deliver(with.receiver, with.peer, message).err()
            }
            Payload::Lost(why) => Some(why),
            Payload::Announced { .. } | Payload::Reading { .. } => None,
        };
        if let Some(why) = refused.filter(|_| !first.loose) {
            with.outgoing.tell_refused(false, self.taken, why);
        }
        self.note(first.loose, first.ask || refused.is_some());
    }

    fn note(&mut self, loose: bool, ask: bool) {
        self.taken += u64::from(!loose);
        self.asked |= ask;
    }

    /// Starts reads as far as the budget goes and looks at those that run.
    fn read(&mut self, with: &mut With<'_, '_>) -> bool {
        let mut again = false;
        for pending in &mut self.pending {
            if let Payload::Announced { length, source } = pending.payload {
                let fits = self.held == 0 || self.held + length <= with.limits.fetch_bytes;
                if !fits {
                    break;
                }
                match start(with, length, source) {
                    Ok(reading) => {
                        (pending.payload, pending.held) = (reading, length);
                        self.held += length;
                    }
                    Err(Start::Later) => again = true,
                    Err(Start::Never(why)) => {
                        pending.payload = Payload::Lost(why);
                        if pending.loose {
                            with.outgoing.tell_refused(true, source.token, why);
                        }
                    }
                }
            }
            pending.look(with);
        }
        again
    }
}

/// What the progress thread works with.
pub(super) struct With<'a, 'b> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) peer: &'a Peer,
    pub(super) receiver: &'a dyn Receiver,
    pub(super) limits: &'a MessageLimits,
    pub(super) outgoing: &'a mut Outgoing,
    pub(super) context: &'a mut Context<'b>,
}

enum Start {
    Later,
    Never(Refused),
}

fn start(with: &With<'_, '_>, length: u64, source: Source) -> Result<Payload, Start> {
    if length > with.limits.longest_payload {
        return Err(Start::Never(Refused::TooLong));
    }
    let landing = Arc::new(Landing::new(with.endpoint, length).map_err(Start::Never)?);
    let piece = landing.piece(with.peer.transport()).ok_or(Start::Never(Refused::NoMemory))?;
    let mut work = WorkListBuilder::new(Direction::Read, with.peer.route().limits());
    work.push(piece, RemoteAddress { address: source.address, key: source.key });
    let keep_alive = Some(KeepAlive(Arc::clone(&landing) as _));
    let options = TransferOptions { keep_alive, ..TransferOptions::default() };
    match with.peer.route().submit(&Arc::new(work.finish()), options) {
        Ok(transfer) => Ok(Payload::Reading { transfer, landing, token: source.token }),
        Err(SubmitError::Full(_)) => Err(Start::Later),
        Err(_) => Err(Start::Never(Refused::ReadFailed)),
    }
}

impl Pending {
    /// Takes the payload if it has been read by now.
    fn look(&mut self, with: &mut With<'_, '_>) {
        let Payload::Reading { transfer, token, .. } = &mut self.payload else { return };
        let Poll::Ready(outcome) = Pin::new(transfer).poll(with.context) else { return };
        let token = *token;
        let lost = Payload::Lost(Refused::ReadFailed);
        if let Payload::Reading { landing, .. } = std::mem::replace(&mut self.payload, lost)
            && outcome.is_ok()
            // The lane let go of it before it gave the outcome.
            && let Ok(landing) = Arc::try_unwrap(landing)
        {
            self.payload = Payload::Here(landing.into_bytes());
            if self.loose {
                with.outgoing.tell_finished(token);
            }
        }
    }
}

impl Payload {
    const fn is_on_its_way(&self) -> bool {
        matches!(self, Self::Announced { .. } | Self::Reading { .. })
    }

    const fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }
}

fn deliver(receiver: &dyn Receiver, peer: &Peer, message: ActiveMessage<'_>) -> Result<(), Refused> {
    catch_unwind(AssertUnwindSafe(|| receiver.message(peer, message))).map_err(|_| Refused::Panicked)
}
