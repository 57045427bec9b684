//! A peer's cache: looked up by name over the control connection, then a source or a target of transfers.

use std::time::Duration;

use pmd_host::{
    control::{Refusal, RequestError},
    endpoint::Peer,
};

use super::{Cache, EngineError, Prepared};
use crate::{
    layout::CacheDescriptor,
    planner::{Direction, Selection},
};

/// Kinds of the engine's requests.
pub(super) mod request {
    /// Name of a cache, answered by its descriptor.
    pub(in crate::engine) const CACHE: u16 = 1;
    /// Whatever the application above says.
    pub(in crate::engine) const APPLICATION: u16 = 2;
}

/// Refusal code: no cache of that name.
const NO_SUCH_CACHE: u16 = 1;

/// A cache of a peer.
#[derive(Clone, Debug)]
pub struct RemoteCache {
    peer: Peer,
    descriptor: CacheDescriptor,
}

impl RemoteCache {
    pub(super) fn look_up(peer: &Peer, name: &str, patience: Duration) -> Result<Self, EngineError> {
        let answer =
            peer.request(request::CACHE, name.as_bytes().to_vec(), patience).map_err(
                |error| match error {
                    RequestError::Refused(Refusal { code: NO_SUCH_CACHE, .. }) => {
                        EngineError::NoSuchCache { name: name.to_owned() }
                    }
                    other => other.into(),
                },
            )?;
        let malformed = |_| EngineError::Malformed { length: answer.len() };
        let descriptor: CacheDescriptor = postcard::from_bytes(&answer).map_err(malformed)?;
        Ok(Self { peer: peer.clone(), descriptor: descriptor.validated()? })
    }

    /// Whose cache it is.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Shape, addresses and keys.
    #[must_use]
    pub const fn descriptor(&self) -> &CacheDescriptor {
        &self.descriptor
    }

    /// Plans moving the selected blocks of this cache into `local`.
    ///
    /// # Errors
    /// [`EngineError::Plan`].
    pub fn pull(&self, local: &Cache, selection: Selection<'_>) -> Result<Prepared, EngineError> {
        Prepared::plan(Direction::Pull, local, self, selection)
    }

    /// Plans moving the selected blocks of `local` into this cache.
    ///
    /// # Errors
    /// [`EngineError::Plan`].
    pub fn push(&self, local: &Cache, selection: Selection<'_>) -> Result<Prepared, EngineError> {
        Prepared::plan(Direction::Push, local, self, selection)
    }
}

/// Answers a look-up.
pub(super) fn describe(
    peer: &Peer,
    name: &[u8],
    find: impl FnOnce(&str) -> Option<Cache>,
) -> Result<Vec<u8>, Refusal> {
    let name = String::from_utf8_lossy(name);
    let descriptor = find(&name).and_then(|cache| cache.descriptor(peer.transport()));
    let missing = || Refusal { code: NO_SUCH_CACHE, detail: format!("no cache named {name:?}") };
    let encoded = descriptor.and_then(|descriptor| postcard::to_allocvec(&descriptor).ok());
    encoded.ok_or_else(missing)
}
