//! The messages of one route: what waits to be sent, credits, and the handler.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use pmd_core::ring::credits::{Account, Arrived};

use super::buffers::Buffers;
use crate::{
    lane::{MINIMUM_RECEIVES, Message, MessageHandler, RouteId, command::OutgoingMessage},
    transfer::RouteFault,
};

/// Bytes before each message: see [`Header`].
pub(in crate::lane) const HEADER_BYTES: usize = 4;

/// What a message starts with: a magic byte, the kind, and the credits that come with it (little endian).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) credits: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// For the handler.
    Data,
    /// Credits alone.
    Credits,
}

impl Header {
    const MAGIC: u8 = 0xd7;

    pub(super) const fn emit(self) -> [u8; HEADER_BYTES] {
        let [low, high] = self.credits.to_le_bytes();
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::Credits => 1,
        };
        [Self::MAGIC, kind, low, high]
    }

    /// Splits a message; `None` when it is not one.
    pub(super) fn parse(message: &[u8]) -> Option<(Self, &[u8])> {
        let (&[magic, kind, low, high], body) = message.split_first_chunk::<HEADER_BYTES>()?;
        let kind = match kind {
            0 => Kind::Data,
            1 if body.is_empty() => Kind::Credits,
            _ => return None,
        };
        let header = Self { kind, credits: u16::from_le_bytes([low, high]) };
        (magic == Self::MAGIC).then_some((header, body))
    }
}

/// Messages of one route.
pub(super) struct Messages {
    /// Sent by the application, with a credit.
    pub(super) outgoing: VecDeque<OutgoingMessage>,
    /// Transfers whose notification is due; each needs a credit.
    pub(super) notifications: VecDeque<u32>,
    pub(super) buffers: Option<Buffers>,
    pub(super) inline_limit: usize,
    handler: Option<Box<dyn MessageHandler>>,
    pub(super) account: Account,
}

impl Messages {
    pub(super) fn new(
        handler: Option<Box<dyn MessageHandler>>,
        buffers: Option<Buffers>,
        receives: u32,
        inline_limit: usize,
    ) -> Self {
        let receives = if buffers.is_some() { receives } else { 0 };
        Self {
            outgoing: VecDeque::new(),
            notifications: VecDeque::new(),
            account: Account::new(receives, MINIMUM_RECEIVES),
            buffers,
            inline_limit,
            handler,
        }
    }

    /// Whether anything waits to be posted.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty() || !self.notifications.is_empty() || self.account.owes()
    }

    /// Whether a message that is posted now overtakes none.
    #[inline]
    pub(super) fn are_all_posted(&self) -> bool {
        self.outgoing.is_empty() && self.notifications.is_empty()
    }

    /// Header for the next message; the credits in it count as given.
    pub(super) fn header(&mut self, kind: Kind) -> Header {
        Header { kind, credits: self.account.attach() }
    }

    /// A header whose message was not posted after all.
    pub(super) fn take_back(&mut self, header: Header) {
        self.account.detach(header.credits);
    }

    /// Gives up the notifications that `is_given_up` names. Returns credits that were kept for them, for anybody.
    pub(super) fn give_up(&mut self, is_given_up: impl Fn(u32) -> bool) -> u32 {
        self.notifications.retain(|&transfer| !is_given_up(transfer));
        self.account.release_reserved(self.notifications.len() as u32)
    }

    /// Takes in the message in a receive's buffer: hands it to the handler and returns the credits that came with it
    /// and are for anybody.
    pub(super) fn take_in(
        &mut self,
        route: RouteId,
        (buffer, length): (u32, u32),
        immediate: Option<u32>,
    ) -> Result<u32, RouteFault> {
        let bytes = self.buffers.as_ref().map_or(&[][..], |buffers| buffers.received(buffer, length));
        let (header, bytes) = Header::parse(bytes).ok_or(RouteFault::Protocol)?;
        if header.kind == Kind::Data {
            hand_over(&mut self.handler, route, Message { bytes, immediate })?;
        }
        let arrived = match header.kind {
            Kind::Data => Arrived::Message,
            Kind::Credits => Arrived::Empty,
        };
        Ok(self.account.arrived(arrived, header.credits, self.notifications.len() as u32))
    }

    /// Takes in a notification that rode on a WRITE: a message without bytes, which took a credit and brings none.
    pub(super) fn take_in_rider(
        &mut self,
        route: RouteId,
        immediate: Option<u32>,
    ) -> Result<u32, RouteFault> {
        hand_over(&mut self.handler, route, Message { bytes: &[], immediate })?;
        Ok(self.account.arrived(Arrived::Message, 0, self.notifications.len() as u32))
    }

    /// Tells the handler that no message follows, once, and drops everything that waits.
    pub(super) fn down(&mut self, route: RouteId, fault: RouteFault) {
        self.outgoing.clear();
        self.notifications.clear();
        if let Some(mut handler) = self.handler.take() {
            // The route is down already; a handler that panics here changes nothing.
            let _ = catch_unwind(AssertUnwindSafe(move || handler.down(route, fault)));
        }
    }
}

/// Gives a message to the handler, if there is one.
fn hand_over(
    handler: &mut Option<Box<dyn MessageHandler>>,
    route: RouteId,
    message: Message<'_>,
) -> Result<(), RouteFault> {
    let Some(handler) = handler else { return Ok(()) };
    catch_unwind(AssertUnwindSafe(|| handler.message(route, message)))
        .map_err(|_| RouteFault::HandlerPanicked)
}

impl fmt::Debug for Messages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Messages")
            .field("outgoing", &self.outgoing.len())
            .field("notifications", &self.notifications.len())
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
