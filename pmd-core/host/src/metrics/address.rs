//! Where metrics are served: `--metrics`, `PMD_METRICS`, and what `pmd top` looks at.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
};

use thiserror::Error;

/// The port of an address that names none.
pub const DEFAULT_PORT: u16 = 9490;

/// Ports that are tried, the one that was named first: several processes of a host, and several endpoints of a process,
/// are told the same address.
pub const PORTS: u16 = 32;

/// An address to serve metrics on: this host's loopback unless an address is named, and the first free one of
/// [`PORTS`] ports. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricsAddress(pub SocketAddr);

impl Default for MetricsAddress {
    fn default() -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT))
    }
}

impl MetricsAddress {
    /// The addresses in the order in which they are tried.
    pub fn candidates(self) -> impl Iterator<Item = SocketAddr> {
        let first = self.0.port();
        let ports: RangeInclusive<u16> =
            if first == 0 { 0..=0 } else { first..=first.saturating_add(PORTS - 1) };
        ports.map(move |port| SocketAddr::new(self.0.ip(), port))
    }
}

/// `PORT`, `ADDRESS:PORT` or `ADDRESS`.
impl FromStr for MetricsAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let default = Self::default().0;
        let port = || text.parse().ok().map(|port: u16| SocketAddr::new(default.ip(), port));
        let host = || text.parse().ok().map(|host: IpAddr| SocketAddr::new(host, DEFAULT_PORT));
        let whole = || text.parse().ok();
        port().or_else(whole).or_else(host).map(Self).ok_or_else(|| AddressError { given: text.to_owned() })
    }
}

impl fmt::Display for MetricsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A text is no address for metrics.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{given:?} is no address for metrics: give a port (of this host alone), or an IP address and a port")]
pub struct AddressError {
    /// The text.
    pub given: String,
}
