//! Where etcd is, as options and variables write it.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// etcd's port for clients.
pub const DEFAULT_PORT: u16 = 2379;

/// What all keys begin with, unless the URL says otherwise.
pub const DEFAULT_ROOT: &str = "pmd";

const SCHEME: &str = "etcd://";

/// `etcd://host:port,host:port/root`: the members of etcd to ask, and what all keys begin with. Ports and the root may be
/// left out; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUrl {
    /// Whom to ask; at least one.
    pub members: Vec<Member>,
    /// What all keys begin with, without a slash at either end.
    pub root: String,
}

/// Host and port of a member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
}

impl FromStr for EtcdUrl {
    type Err = NotAUrl;

    fn from_str(text: &str) -> Result<Self, NotAUrl> {
        let refused = || NotAUrl { text: text.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(refused)?;
        let (members, root) = rest.split_once('/').unwrap_or((rest, DEFAULT_ROOT));
        let root = root.trim_matches('/');
        let root = if root.is_empty() { DEFAULT_ROOT } else { root };
        let members: Option<Vec<Member>> = members.split(',').map(member).collect();
        let members = members.filter(|_| !root.chars().any(char::is_control)).ok_or_else(refused)?;
        Ok(Self { members, root: root.to_owned() })
    }
}

fn member(text: &str) -> Option<Member> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map(|(host, rest)| (host, rest.strip_prefix(':')))?,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?;
    let possible = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]".contains(&byte);
    let allowed = !host.is_empty() && host.bytes().all(possible);
    allowed.then(|| Member { host: host.to_owned(), port })
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(formatter, "[{host}]:{port}")
        } else {
            write!(formatter, "{host}:{port}")
        }
    }
}

impl fmt::Display for EtcdUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<String> = self.members.iter().map(ToString::to_string).collect();
        write!(formatter, "{SCHEME}{}/{}", members.join(","), self.root)
    }
}

/// A text that does not say where etcd is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not where etcd is: write etcd://host:2379, with further members behind commas")]
pub struct NotAUrl {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_ports_and_the_root_are_read_and_written() {
        let cases = [
            ("etcd://a", "etcd://a:2379/pmd"),
            ("etcd://10.0.0.1:1,b/", "etcd://10.0.0.1:1,b:2379/pmd"),
            ("etcd://[::1]:2380/team/x/", "etcd://[::1]:2380/team/x"),
            ("etcd://[fe80::1]", "etcd://[fe80::1]:2379/pmd"),
        ];
        for (text, shown) in cases {
            let url: EtcdUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(shown.parse(), Ok(url));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let texts = [
            "",
            "a:2379",
            "http://a",
            "etcd://",
            "etcd://a,",
            "etcd://a:",
            "etcd://a:b",
            "etcd://a:70000",
            "etcd://::1",
            "etcd://[::1",
            "etcd://a b",
            "etcd://u@a",
            "etcd://a:1\r\nx",
        ];
        for text in texts {
            assert_eq!(text.parse::<EtcdUrl>(), Err(NotAUrl { text: text.to_owned() }), "{text}");
        }
    }
}
