//! What two endpoints say to each other before a route is open.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    EndpointError,
    choice::{Carrier, Findings, Known, Terms},
};
use crate::{backend::QueuePairAddress, control::Refusal, identity::LinkId};

/// Request kinds from here on are this module's; applications use those below.
pub(super) const FIRST_RESERVED_KIND: u16 = 0xff00;

/// The reserved requests.
pub(super) struct Reserved {
    /// The peer's terms: [`Terms`], answered by [`Heard`].
    pub(super) terms: u16,
    /// Open a route: [`Opening`], answered by [`Opened`].
    pub(super) open: u16,
    /// The connecting side is ready.
    pub(super) ready: u16,
    /// Open the other end of a rail: [`Offer`](super::rails::Offer).
    pub(super) offer: u16,
    /// Event: an end of a rail is quiet, [`Word`](super::rails::Word).
    pub(super) word: u16,
    /// Event: what are regions called on the devices of rails?
    pub(super) ask: u16,
    /// Event: they are called so.
    pub(super) keys: u16,
    /// Which devices rails have: [`PortTerms`](super::ports::PortTerms).
    pub(super) ports: u16,
}

/// Their numbers. Those of earlier releases, 0xff01 and 0xff02, are not given out again.
pub(super) const RESERVED: Reserved = Reserved {
    terms: 0xff04,
    open: 0xff05,
    ready: 0xff03,
    offer: 0xff06,
    word: 0xff07,
    ask: 0xff08,
    keys: 0xff09,
    ports: 0xff0a,
};

/// Refusal codes of these requests.
const NOT_OPEN: u16 = 0xff10;
const REFUSED: u16 = 0xff11;

/// An end's terms, and what it found on its way to the one whose terms it has heard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) terms: Terms,
    pub(super) found: Findings,
}

impl Heard {
    pub(super) const fn known(&self) -> Known<'_> {
        Known { terms: &self.terms, found: &self.found }
    }
}

/// What was chosen, of what, and the addresses of each route's queue pairs. The side that is connected to opens as many.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) link: LinkId,
    pub(super) carrier: Carrier,
    /// Of the side that connects.
    pub(super) ours: Heard,
    /// What the other side found, as it said: it keeps nothing of a peer that has not opened.
    pub(super) yours: Findings,
    pub(super) routes: Vec<Vec<QueuePairAddress>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opened {
    pub(super) routes: Vec<Vec<QueuePairAddress>>,
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Only a failing writer makes this fail, and a vector does not.
    postcard::to_allocvec(value).unwrap_or_default()
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EndpointError> {
    postcard::from_bytes(bytes).map_err(|_| EndpointError::Malformed { length: bytes.len() })
}

/// For a request that needs an open route.
pub(super) fn not_open() -> Refusal {
    Refusal { code: NOT_OPEN, detail: "no route is open on this connection".into() }
}

/// For an opening that failed on this side.
pub(super) fn refused(error: &EndpointError) -> Refusal {
    Refusal { code: REFUSED, detail: error.to_string() }
}
