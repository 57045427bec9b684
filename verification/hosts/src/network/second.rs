//! A second link between the hosts of a pair, a network of its own: for programs that use several. Cases of rails take it.

use std::net::Ipv4Addr;

use super::{Host, Network, NetworkError};

/// The device of the second link, in each host the same.
const SECOND: &str = "pmd1";

impl Network {
    /// Two hosts and two pairs of veth devices between them.
    ///
    /// # Errors
    /// [`NetworkError`]: what this machine or this user lacks.
    pub(crate) fn two_links() -> Result<Self, NetworkError> {
        let network = Self::pair()?;
        network.link(SECOND)?;
        network.hosts().iter().try_for_each(|host| host.raise_at(SECOND, host.second_address()))?;
        Ok(network)
    }
}

impl Host {
    /// Its address on the second link.
    pub(crate) const fn second_address(&self) -> Ipv4Addr {
        let [first, second, _, last] = self.address().octets();
        Ipv4Addr::new(first, second, 1, last)
    }

    /// As [`Host::set_link`].
    ///
    /// # Errors
    /// [`NetworkError`].
    pub(crate) fn set_second_link(&self, up: bool) -> Result<(), NetworkError> {
        self.set(SECOND, up)
    }

    /// As [`Host::received`].
    ///
    /// # Errors
    /// [`NetworkError`].
    pub(crate) fn received_over_second_link(&self) -> Result<u64, NetworkError> {
        self.received_over(SECOND)
    }
}
