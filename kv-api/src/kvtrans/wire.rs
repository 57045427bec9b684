//! What the two ends of a connection tell each other: messages over its first route, and the notification of each
//! stripe, which comes over the route or the rails that carried the stripe.

use serde::{Deserialize, Serialize};

/// Version of this protocol. Ends of different versions refuse each other.
pub(super) const VERSION: u16 = 2;

/// Request of the connecting side, with a [`Hello`]; answered by one.
pub(super) const HELLO: u16 = 0x4b56;

/// Most bytes of a message in its wire form.
pub(super) const LONGEST: usize = 64;

/// One end's introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u16,
    /// Where the sender of it listens.
    pub(super) listen_port: u16,
    /// What its owner calls it.
    pub(super) label: u32,
}

/// What is said about a receive. The receiver numbers its receives: that is the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// Receiver: the next send may be written here.
    Offer { ticket: u64, address: u64, room: u64, key: u32 },
    /// Receiver: it is not wanted any more. The sender answers, whatever it has done already.
    Withdraw { ticket: u64 },
    /// Sender: one stripe is in place, of `stripes` that make up `length` bytes.
    Landed { ticket: u64, stripes: u16, length: u64 },
    /// Sender: the message has `length` bytes, more than the offer has room for. Nothing was written.
    TooLong { ticket: u64, length: u64 },
    /// Sender: nothing is written any more. A part may have been.
    Abandoned { ticket: u64, reason: Reason },
    /// On every route: this side is about to close. Whatever it said before on that route has been heard. Of all the stripes
    /// that it has written so far, over rails too, this many are in place: each has a `Landed`.
    Goodbye { landed: u64 },
    /// The answer to all of them: everything was heard, and nothing is being written.
    Farewell,
}

/// Why a sender writes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reason {
    /// The receiver withdrew the offer.
    Withdrawn,
    /// The sender's deadline passed.
    TimedOut,
    /// The sender cancelled.
    Cancelled,
    /// The sender's device refused.
    Refused,
}

pub(super) fn emit(value: &impl Serialize) -> Vec<u8> {
    // Only a failing writer makes this fail, and a vector does not.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// The value that all of `bytes` is.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}
