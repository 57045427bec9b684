//! Messages on rails: notifications of transfers, numbered, and probes.
//!
//! | bytes | |
//! |---|---|
//! | none | a probe, for nobody |
//! | 0..8 | number of the notification (u64, little-endian) |
//! | 8..16 | every number below is settled at the sender (u64, little-endian) |
//! | 16.. | what the application said |
//!
//! A notification whose rail was lost goes again under its number, and is taken once: all rails to a peer share one [`Inbox`].

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{Rails, turn::Event};
use crate::{
    lane::Message,
    rail::{Inbox, NOTICE_BYTES, RailId, Taken},
    transfer::Notification,
};

const SEQUENCE: Range<usize> = 0..8;
const SETTLED: Range<usize> = 8..NOTICE_BYTES;

/// What a notification begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its number.
    pub(super) sequence: u64,
    /// Every number below is settled.
    pub(super) settled: u64,
}

impl Header {
    fn emit(self) -> [u8; NOTICE_BYTES] {
        let mut bytes = [0; NOTICE_BYTES];
        bytes[SEQUENCE].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[SETTLED].copy_from_slice(&self.settled.to_le_bytes());
        bytes
    }

    /// Splits a message; `None` where it is too short.
    fn parse(message: &[u8]) -> Option<(Self, &[u8])> {
        let (sequence, rest) = message.split_first_chunk()?;
        let (settled, rest) = rest.split_first_chunk()?;
        let header = Self { sequence: u64::from_le_bytes(*sequence), settled: u64::from_le_bytes(*settled) };
        Some((header, rest))
    }

    /// The notification as it travels on a rail.
    pub(super) fn put_before(self, Notification { bytes, immediate }: &Notification) -> Notification {
        Notification { bytes: [&self.emit()[..], bytes.as_slice()].concat(), immediate: *immediate }
    }
}

/// Something that no end sends which keeps to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nonsense;

/// What came from one peer, over all rails.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<Inbox>);

impl Notices {
    /// The notification in a message, unless that is a probe or has been here before.
    fn take<'a>(&self, message: Message<'a>) -> Result<Option<Message<'a>>, Nonsense> {
        if message.bytes.is_empty() {
            return Ok(None);
        }
        let (Header { sequence, settled }, bytes) = Header::parse(message.bytes).ok_or(Nonsense)?;
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(sequence, settled);
        match taken {
            Taken::New => Ok(Some(Message { bytes, ..message })),
            Taken::Again => Ok(None),
            Taken::Nonsense => Err(Nonsense),
        }
    }
}

impl Rails {
    /// Takes a message of a rail. The application's share of it runs while nothing is held.
    pub(super) fn message(&self, rail: RailId, message: Message<'_>) {
        match self.notices.take(message) {
            Ok(notification) => {
                notification.into_iter().for_each(|notification| self.relay.hand_on(notification));
            }
            Err(Nonsense) => self.happen(Event::Lost(rail)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(sequence: u64, settled: u64, bytes: &[u8], immediate: Option<u32>) -> Notification {
        Header { sequence, settled }.put_before(&Notification { bytes: bytes.to_vec(), immediate })
    }

    /// What the application is told of a message.
    fn told(notices: &Notices, Notification { bytes, immediate }: &Notification) -> Option<Vec<u8>> {
        let message = Message { bytes, immediate: *immediate };
        let taken = notices.take(message).expect("it keeps to the protocol");
        taken.map(|told| {
            assert_eq!(told.immediate, *immediate);
            told.bytes.to_vec()
        })
    }

    #[test]
    fn a_header_comes_back_as_it_was_and_nothing_shorter_is_one() {
        let header = Header { sequence: 0x0102_0304_0506_0708, settled: u64::MAX };
        let bytes = header.emit();
        assert_eq!(bytes[..9], [8, 7, 6, 5, 4, 3, 2, 1, 0xff]);
        assert_eq!(Header::parse(&bytes), Some((header, &[][..])));
        assert_eq!(Header::parse(&[&bytes[..], b"all"].concat()), Some((header, &b"all"[..])));
        assert!((0..NOTICE_BYTES).all(|length| Header::parse(&bytes[..length]).is_none()));
    }

    #[test]
    fn a_notification_is_told_once_whichever_rail_brings_it_and_a_probe_never() {
        let notices = Notices::default();
        let [first, second] = [sent(0, 0, b"first", None), sent(1, 0, b"", Some(7))];
        assert_eq!(told(&notices, &Notification { bytes: Vec::new(), immediate: None }), None);
        assert_eq!(told(&notices, &second), Some(Vec::new()), "one without bytes is none the less told");
        assert_eq!(told(&notices, &first), Some(b"first".to_vec()));
        assert_eq!([&first, &second].map(|again| told(&notices, again)), [None, None]);
        assert_eq!(told(&notices, &sent(2, 2, b"third", None)), Some(b"third".to_vec()));
        assert_eq!(told(&notices, &first), None, "what is settled is old");
    }

    #[test]
    fn what_no_sender_says_is_told_as_such() {
        let notices = Notices::default();
        let of = |bytes: &[u8]| notices.take(Message { bytes, immediate: None }).map(|told| told.is_some());
        assert_eq!(of(&[1]), Err(Nonsense));
        assert_eq!(of(&[0; NOTICE_BYTES - 1]), Err(Nonsense));
        assert_eq!(of(&sent(3, 4, b"", None).bytes), Err(Nonsense), "settled before it was sent");
        assert_eq!(of(&sent(0, 0, b"", None).bytes), Ok(true), "nothing of that was remembered");
    }
}
