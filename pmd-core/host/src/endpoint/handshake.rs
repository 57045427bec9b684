//! What two endpoints say to each other before a route is open.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::EndpointError;
use crate::{
    backend::{QueuePairAddress, Transport},
    control::Refusal,
};

/// Request kinds from here on are this module's; applications use those below.
pub(super) const FIRST_RESERVED_KIND: u16 = 0xff00;

/// The reserved requests.
pub(super) struct Reserved {
    /// Which transports the peer has.
    pub(super) transports: u16,
    /// Open a route: [`Opening`], answered by [`Opened`].
    pub(super) open: u16,
    /// The connecting side is ready.
    pub(super) ready: u16,
}

/// Their numbers.
pub(super) const RESERVED: Reserved = Reserved { transports: 0xff01, open: 0xff02, ready: 0xff03 };

/// Refusal codes of these requests.
const NOT_OPEN: u16 = 0xff10;
const REFUSED: u16 = 0xff11;

/// The addresses of each route's queue pairs. The side that is connected to opens as many.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) transport: Transport,
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
