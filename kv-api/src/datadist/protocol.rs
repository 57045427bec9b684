//! What two clusters say to each other over the control connection.

use pmd_host::control::Refusal;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{CachePlacement, shape::CacheShape, types::KeyName};

/// Request: [`Link`], answered by nothing.
pub(super) const LINK: u16 = 1;
/// Request: [`Link`] again, to take it down; answered by nothing.
pub(super) const UNLINK: u16 = 2;
/// Request: [`Wanted`], answered by [`Found`].
pub(super) const LOOK_UP: u16 = 3;
/// Request: [`Consumed`], answered by nothing.
pub(super) const CONSUMED: u16 = 4;
/// Request: the number of a cache that is no more, answered by nothing.
pub(super) const GONE: u16 = 5;

/// Refusal: the cluster asked for is another one; the detail is its number.
pub(super) const WRONG_CLUSTER: u16 = 1;
/// Refusal: a link between the two is made or taken down just now.
pub(super) const PROCESSING: u16 = 2;
/// Refusal: no such cache.
pub(super) const NO_SUCH_CACHE: u16 = 3;
/// Refusal: the request does not parse.
pub(super) const MALFORMED: u16 = 4;

/// Who asks, and whom it believes to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A cache that is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Wanted {
    Id(i64),
    Name(KeyName),
}

/// A cache as its owner tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) cache_id: i64,
    /// Row that the key stands for.
    pub(super) batch_index: u32,
    pub(super) description: Description,
}

/// What is known of a peer's cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) shape: CacheShape,
    pub(super) placement: CachePlacement,
    pub(super) accessible: bool,
    pub(super) addresses: Vec<u64>,
}

/// Tensors of the row that a key stands for were pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Consumed {
    pub(super) name: KeyName,
    pub(super) first_tensor: u64,
    pub(super) tensors: u64,
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Writing to memory fails for no value of the types above.
    postcard::to_allocvec(value).unwrap_or_default()
}

pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let detail = || format!("{} bytes do not parse: do both sides run the same release?", body.len());
    postcard::from_bytes(body).map_err(|_| Refusal { code: MALFORMED, detail: detail() })
}
