//! The messages of one route: what waits to be sent, credits, and the handler.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::buffers::Buffers;
use crate::{
    lane::{MINIMUM_RECEIVES, Message, MessageHandler, RouteId, command::OutgoingMessage},
    transfer::RouteFault,
};

/// Bytes before each message: see [`Header`].
pub(in crate::lane) const HEADER_BYTES: usize = 4;

/// Receives beyond those that credits are given for, for empty messages. At most three can be on their way: each but
/// the first follows half of the credits being used, and a peer that has not taken them cannot use more than all.
pub(in crate::lane) const RESERVED_RECEIVES: u32 = 4;

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
    /// Credits set aside for notifications.
    reserved: u32,
    /// Credits that the peer is to be given.
    due: u32,
    /// So many are due before an empty message goes.
    threshold: u32,
    /// The peer has sent something, so it is there.
    heard: bool,
}

impl Messages {
    pub(super) fn new(
        handler: Option<Box<dyn MessageHandler>>,
        buffers: Option<Buffers>,
        receives: u32,
        inline_limit: usize,
    ) -> Self {
        Self {
            outgoing: VecDeque::new(),
            notifications: VecDeque::new(),
            due: if buffers.is_some() { receives.saturating_sub(MINIMUM_RECEIVES) } else { 0 },
            buffers,
            inline_limit,
            handler,
            reserved: 0,
            threshold: receives.div_ceil(2).max(1),
            heard: false,
        }
    }

    /// Whether anything waits to be posted.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outgoing.is_empty() || !self.notifications.is_empty() || self.owes_credits()
    }

    /// Whether an empty message has to carry credits back.
    pub(super) fn owes_credits(&self) -> bool {
        self.heard && self.due >= self.threshold
    }

    /// Header for the next message; the credits in it count as given.
    pub(super) fn header(&mut self, kind: Kind) -> Header {
        let credits = self.due.min(u32::from(u16::MAX)) as u16;
        self.due -= u32::from(credits);
        Header { kind, credits }
    }

    /// A header whose message was not posted after all.
    pub(super) fn take_back(&mut self, header: Header) {
        self.due += u32::from(header.credits);
    }

    /// Takes a credit that was set aside for notifications.
    pub(super) fn take_reserved(&mut self) -> bool {
        let some = self.reserved > 0;
        self.reserved -= u32::from(some);
        some
    }

    pub(super) fn put_reserved(&mut self) {
        self.reserved += 1;
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
        if let (Kind::Data, Some(handler)) = (header.kind, self.handler.as_mut()) {
            catch_unwind(AssertUnwindSafe(|| handler.message(route, Message { bytes, immediate })))
                .map_err(|_| RouteFault::HandlerPanicked)?;
        }
        Ok(self.heard(header))
    }

    /// Notes what came with a message, and returns the credits that are for anybody: waiting notifications come first.
    fn heard(&mut self, header: Header) -> u32 {
        self.heard = true;
        self.due += u32::from(header.kind == Kind::Data);
        let waiting = (self.notifications.len() as u32).saturating_sub(self.reserved);
        let kept = waiting.min(u32::from(header.credits));
        self.reserved += kept;
        u32::from(header.credits) - kept
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

impl fmt::Debug for Messages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Messages")
            .field("outgoing", &self.outgoing.len())
            .field("notifications", &self.notifications.len())
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
