//! Engines that find each other by name, in a directory that all of them reach.

use std::{
    thread,
    time::{Duration, Instant},
};

use pmd_host::{
    endpoint::Peer,
    metadata::{Metadata, MetadataError, Publication},
};

use super::{Engine, EngineError};

/// What stands before the names of engines.
const PREFIX: &str = "kv/";

/// Pause between two attempts to connect to an engine whose entry may be that of a dead one.
const PAUSE: Duration = Duration::from_millis(100);

/// Names.
impl Engine {
    /// Publishes where the engine listens under a name, for as long as the value is held and the process lives. A name whose
    /// holder has died is free a while later: [`Metadata::publish_within`] waits for that, and so does this.
    ///
    /// Peers that are linked depend on the directory no more: it may go, and come back.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`], [`EngineError::Metadata`].
    pub fn publish(
        &self,
        metadata: &dyn Metadata,
        name: &str,
        patience: Duration,
    ) -> Result<Box<dyn Publication>, EngineError> {
        let address = self.local_address();
        let reachable = address.filter(|address| !address.ip().is_unspecified());
        let reachable = reachable.ok_or(EngineError::Unreachable { address })?;
        Ok(metadata.publish_within(&format!("{PREFIX}{name}"), &reachable.to_string(), patience)?)
    }

    /// Connects to the engine of a name, waiting until there is one that answers.
    ///
    /// # Errors
    /// [`EngineError::Metadata`], [`EngineError::PublishedAddress`]; [`EngineError::Endpoint`] where the last attempt to
    /// connect failed.
    pub fn connect_to(
        &self,
        metadata: &dyn Metadata,
        name: &str,
        patience: Duration,
    ) -> Result<Peer, EngineError> {
        let deadline = Instant::now() + patience;
        let name = format!("{PREFIX}{name}");
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let value = match metadata.wait_for(&name, left) {
                Err(MetadataError::Missing { name, .. }) => {
                    return Err(MetadataError::Missing { name, waited: patience }.into());
                }
                answer => answer?,
            };
            let Ok(address) = value.parse() else {
                return Err(EngineError::PublishedAddress { name, value });
            };
            match self.connect(address) {
                // Of an engine that has died a moment ago; its successor publishes another.
                Err(EngineError::Endpoint(_)) if Instant::now() + PAUSE < deadline => thread::sleep(PAUSE),
                answer => return answer,
            }
        }
    }
}
