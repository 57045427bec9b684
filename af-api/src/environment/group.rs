//! A group that is found by name, as variables name it.

use std::{net::SocketAddr, sync::Arc};

use pmd_host::metadata::Metadata;

use super::{EnvironmentError, Variables};

/// Says where the directory is.
pub const METADATA_VARIABLE: &str = "PMD_METADATA";

/// Names the group in it.
pub const GROUP_VARIABLE: &str = "PMD_GROUP";

/// The group's name where none was given.
const DEFAULT_GROUP: &str = "default";

/// A directory, and an address of it.
pub(super) struct Directory {
    pub(super) metadata: Arc<dyn Metadata>,
    pub(super) group: String,
    /// Whose route tells which of this host's addresses others reach.
    pub(super) towards: SocketAddr,
}

/// The directory that the environment names, if it names any.
pub(super) fn directory(variables: &Variables<'_>) -> Result<Option<Directory>, EnvironmentError> {
    let Some(url) = (variables.0)(METADATA_VARIABLE).filter(|url| !url.is_empty()) else { return Ok(None) };
    let group = (variables.0)(GROUP_VARIABLE).filter(|name| !name.is_empty());
    let (metadata, towards) = open(&url)?;
    Ok(Some(Directory { metadata, group: group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()), towards }))
}

/// The directory at a URL: `etcd://host:2379`. Nothing is asked of it yet.
///
/// # Errors
/// [`EnvironmentError::Directory`].
pub fn directory_at(url: &str) -> Result<Arc<dyn Metadata>, EnvironmentError> {
    Ok(open(url)?.0)
}

#[cfg(feature = "etcd")]
fn open(url: &str) -> Result<(Arc<dyn Metadata>, SocketAddr), EnvironmentError> {
    use std::net::ToSocketAddrs;

    use pmd_etcd::{Etcd, EtcdUrl, Options};

    let failed = |source: Box<dyn std::error::Error + Send + Sync>| EnvironmentError::Directory {
        url: url.to_owned(),
        source,
    };
    let parsed: EtcdUrl = url.parse().map_err(|error| failed(Box::new(error)))?;
    let found = parsed.members.iter().find_map(|member| {
        (member.host.as_str(), member.port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next())
    });
    let towards = found.ok_or_else(|| failed("no member of etcd has an address".into()))?;
    let etcd = Etcd::open(parsed, Options::default()).map_err(|error| failed(Box::new(error)))?;
    Ok((Arc::new(etcd), towards))
}

#[cfg(not(feature = "etcd"))]
fn open(url: &str) -> Result<(Arc<dyn Metadata>, SocketAddr), EnvironmentError> {
    let source = "this program was built without af-api's feature etcd".into();
    Err(EnvironmentError::Directory { url: url.to_owned(), source })
}
