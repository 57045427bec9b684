//! Rails as text: `--rails`, `PMD_RAILS`.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use thiserror::Error;

use super::{RailPort, RailsConfig};
use crate::{nic::NicOptions, rail::MOST_RAILS};

/// Addresses of this host ([`RailsConfig::over`]), or names of its NICs ([`RailsConfig::on`]), with commas between them.
///
/// ```
/// use pmd_host::endpoint::RailsConfig;
///
/// assert_eq!("10.0.0.1, fd00::1".parse::<RailsConfig>()?.addresses.len(), 2);
/// assert_eq!("mlx5_0,mlx5_1".parse::<RailsConfig>()?.ports.len(), 2);
/// assert!("10.0.0.1,mlx5_1".parse::<RailsConfig>().is_err());
/// # Ok::<(), pmd_host::endpoint::RailsTextError>(())
/// ```
impl FromStr for RailsConfig {
    type Err = RailsTextError;

    fn from_str(text: &str) -> Result<Self, RailsTextError> {
        let given: Vec<&str> = text.split(',').map(str::trim).collect();
        if given.len() > MOST_RAILS {
            return Err(RailsTextError::TooMany { given: given.len(), limit: MOST_RAILS });
        }
        let (mut addresses, mut names) = (Vec::new(), BTreeSet::new());
        for part in &given {
            if let Ok(address) = part.parse::<IpAddr>() {
                addresses.push(address);
            } else if !is_name(part) {
                return Err(RailsTextError::Neither { given: (*part).to_owned() });
            } else if !names.insert(*part) {
                return Err(RailsTextError::Twice { given: (*part).to_owned() });
            }
        }
        match (addresses.first(), names.first()) {
            (Some(address), Some(name)) => {
                Err(RailsTextError::Mixed { address: *address, name: (*name).to_owned() })
            }
            (Some(_), None) => Ok(Self::over(addresses)),
            (None, _) => Ok(Self::on(given.into_iter().map(nic).collect())),
        }
    }
}

fn nic(name: &str) -> RailPort {
    RailPort::Nic(NicOptions { device: Some(name.to_owned()), ..NicOptions::default() })
}

/// Whether an RDMA device may be called so. What has points or colons was meant to be an address.
fn is_name(text: &str) -> bool {
    let may_be = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    !text.is_empty() && text.chars().all(may_be)
}

/// A text does not say what rails are on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RailsTextError {
    /// A part of it is no address and no name.
    #[error("{given:?} is neither an IP address of this host nor the name of a NIC (mlx5_0)")]
    Neither {
        /// The part.
        given: String,
    },
    /// Rails are on addresses of the device that carries the route, or on devices of their own.
    #[error("{address} is an address and {name} a NIC: name addresses alone (over TCP), or NICs alone")]
    Mixed {
        /// The first address.
        address: IpAddr,
        /// One of the names.
        name: String,
    },
    /// A NIC is one device of rails.
    #[error("{given} is named twice: a rail to each device of the peer comes by itself")]
    Twice {
        /// Its name.
        given: String,
    },
    /// There are more than there may be rails.
    #[error("{given} addresses or NICs for rails: name {limit} at most")]
    TooMany {
        /// Parts of the text.
        given: usize,
        /// Most of them.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RailsConfig, RailsTextError> {
        text.parse()
    }

    #[test]
    fn rails_are_on_addresses_or_on_nics() {
        let addresses = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(read("10.0.0.1, fd00::1"), Ok(RailsConfig::over(addresses)));
        let names = ["mlx5_10", "rocep1s0f0", "mlx5_bond_0"];
        assert_eq!(read(" mlx5_10,rocep1s0f0 ,mlx5_bond_0"), Ok(RailsConfig::on(names.map(nic).to_vec())));
        assert_eq!(read("mlx5_0").unwrap().count, MOST_RAILS, "as many as there are pairs");
    }

    #[test]
    fn what_is_neither_or_both_is_refused() {
        for given in ["", "10.0.0.300", "fd00::g", "mlx5_0:1", "eth 1"] {
            assert_eq!(read(given), Err(RailsTextError::Neither { given: given.to_owned() }));
        }
        assert_eq!(read("mlx5_0,"), Err(RailsTextError::Neither { given: String::new() }));
        let (address, name) = ("10.0.0.1".parse().unwrap(), "mlx5_0".to_owned());
        assert_eq!(read("mlx5_0,10.0.0.1"), Err(RailsTextError::Mixed { address, name }));
        assert_eq!(read("mlx5_1,mlx5_1"), Err(RailsTextError::Twice { given: "mlx5_1".to_owned() }));
        let many = |count: usize| vec!["10.0.0.1"; count].join(",");
        assert_eq!(read(&many(MOST_RAILS)).unwrap().count, MOST_RAILS);
        let (given, limit) = (MOST_RAILS + 1, MOST_RAILS);
        assert_eq!(read(&many(given)), Err(RailsTextError::TooMany { given, limit }));
    }
}
