//! Names of engines: where a server listens, or where a client is.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::HixlError;

/// `ip:port` or `[v6]:port` for a server; `ip`, `[v6]`, or a port that is not above 0, for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EngineName {
    ip: IpAddr,
    port: Option<u16>,
}

impl EngineName {
    pub(super) fn parse(given: &str) -> Result<Self, HixlError> {
        Self::read(given).ok_or_else(|| HixlError::Name { given: given.to_owned() })
    }

    /// Where the engine listens, if it does.
    pub(super) fn listening(&self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.ip, port))
    }

    /// Where to connect to an engine of that name.
    pub(super) fn reachable(given: &str) -> Result<SocketAddr, HixlError> {
        Self::parse(given)?.listening().ok_or_else(|| HixlError::IsClient { given: given.to_owned() })
    }

    fn read(given: &str) -> Option<Self> {
        let (ip, port) = match given.strip_prefix('[') {
            Some(rest) => {
                let (ip, port) = rest.split_once(']')?;
                let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
                (IpAddr::V6(ip.parse::<Ipv6Addr>().ok()?), port)
            }
            None => {
                let (ip, port) = given.split_once(':').map_or((given, None), |(ip, port)| (ip, Some(port)));
                (IpAddr::V4(ip.parse::<Ipv4Addr>().ok()?), port)
            }
        };
        let port = match port.map(str::parse::<i32>) {
            None => None,
            Some(Ok(..=0)) => None,
            Some(number) => Some(u16::try_from(number.ok()?).ok()?),
        };
        Some(Self { ip, port })
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.listening() {
            Some(address) => address.fmt(formatter),
            None => self.ip.fmt(formatter),
        }
    }
}
