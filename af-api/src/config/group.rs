//! A group that is found by name: who brings its processes together, and which numbers are free, is asked of a directory.
//!
//! ```text
//!  af/GROUP/scheduler      address of the scheduler, while it lives
//!  af/GROUP/server/0       a claimed number of servers, while its process lives; worker and joint alike
//! ```

use std::{net::SocketAddr, sync::Arc};

use pmd_host::metadata::{Claim, Metadata, MetadataError, Publication};

use super::{Config, ConfigError, ProcessRole};

/// Where a group's processes find each other.
#[derive(Clone, Debug)]
pub struct Group {
    /// The directory.
    pub metadata: Arc<dyn Metadata>,
    /// The group's name there: another one for each cluster.
    pub name: String,
    /// Whether a worker or server takes the first number that is free, instead of the rank that is configured.
    pub claims_rank: bool,
}

impl Group {
    /// A group of this name, whose processes know their ranks.
    #[must_use]
    pub fn new(metadata: Arc<dyn Metadata>, name: impl Into<String>) -> Self {
        Self { metadata, name: name.into(), claims_rank: false }
    }

    /// Takes the first number that is free.
    #[must_use]
    pub const fn claiming_rank(mut self) -> Self {
        self.claims_rank = true;
        self
    }

    /// Name under which the scheduler's address is published.
    #[must_use]
    pub fn scheduler_name(&self) -> String {
        format!("af/{}/scheduler", self.name)
    }

    /// What stands before the claimed numbers of a role.
    #[must_use]
    pub fn prefix(&self, role: ProcessRole) -> String {
        format!("af/{}/{}/", self.name, role.name())
    }

    /// The scheduler's address as it is published now.
    pub(crate) fn scheduler(&self) -> Result<SocketAddr, ConfigError> {
        let name = self.scheduler_name();
        let failed = |source| ConfigError::Group { group: self.name.clone(), source };
        let missing =
            || failed(MetadataError::Missing { name: name.clone(), waited: std::time::Duration::ZERO });
        let value = self.metadata.find(&name).map_err(failed)?.ok_or_else(missing)?;
        value.parse().map_err(|_| ConfigError::GroupAddress { group: self.name.clone(), value })
    }

    /// Publishes where the scheduler listens, waiting for a predecessor's entry to go.
    pub(crate) fn publish(
        &self,
        config: &Config,
        address: SocketAddr,
    ) -> Result<Box<dyn Publication>, ConfigError> {
        if address.ip().is_unspecified() {
            return Err(ConfigError::Anywhere { address });
        }
        let (name, value) = (self.scheduler_name(), address.to_string());
        let published = self.metadata.publish_within(&name, &value, config.start_timeout);
        published.map_err(|source| ConfigError::Group { group: self.name.clone(), source })
    }

    /// Claims a number for a process, as its rank.
    pub(crate) fn claim(&self, config: &Config) -> Result<Claim, ConfigError> {
        let role = config.role.roles()[0];
        let count = config.shape.instances(role);
        let claimed = self.metadata.claim(&self.prefix(config.role), count, &config.name);
        claimed.map_err(|source| ConfigError::Group { group: self.name.clone(), source })
    }
}
