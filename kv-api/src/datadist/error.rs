//! Why a call failed, and which status that is.

use std::net::IpAddr;

use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::RegisterError,
    soft::AllocateError,
    transfer::{RouteFault, TransferError},
};
use thiserror::Error;

use super::{ArgumentError, CachePlacement, RemoteCache, Status};
use crate::{
    environment::EnvironmentError,
    fabric::{DeviceFault, FabricError},
};

/// Why a call failed. [`DataDistError::status`] is the number that upstream's interface gives for it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataDistError {
    /// Before `initialize`, or after `finalize`.
    #[error("not initialised: call initialize first; after finalize a handle can be initialised again")]
    NotInitialised,
    /// An option that cannot be left out.
    #[error("option {name} is missing: set it, as in {example}")]
    OptionMissing {
        /// Its name.
        name: &'static str,
        /// A value.
        example: &'static str,
    },
    /// An option has a value that it cannot have.
    #[error("option {name} is {value:?}, it takes {allowed}")]
    Option {
        /// Its name.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// A variable of the environment has a value that it cannot have.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// Not an address.
    #[error("{text:?} is not an IP address")]
    Address {
        /// What was given.
        text: String,
    },
    /// An argument cannot be.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A feature that an option turned off.
    #[error("option {option} turns this off: leave it out")]
    Disabled {
        /// The option.
        option: &'static str,
    },
    /// This process has no such cache.
    #[error("no cache {cache_id} here: it was never registered, or is unregistered")]
    NoSuchCache {
        /// Number asked for.
        cache_id: i64,
    },
    /// The peer has no such cache.
    #[error("the cluster has no cache {cache:?}: check the key, and whether it is still registered there")]
    NoSuchRemoteCache {
        /// What was asked for.
        cache: RemoteCache,
    },
    /// There is no link to the cluster.
    #[error("no link to cluster {cluster_id}: link it first")]
    NotLinked {
        /// The cluster.
        cluster_id: u64,
    },
    /// The link is down: the peer ended, was restarted, or cannot be reached.
    #[error("the link to cluster {cluster_id} is down ({reason}): link it again")]
    LinkDown {
        /// The cluster.
        cluster_id: u64,
        /// What took it down.
        reason: LinkFault,
    },
    /// There is a link already.
    #[error("cluster {cluster_id} is linked already")]
    AlreadyLinked {
        /// The cluster.
        cluster_id: u64,
    },
    /// Another call makes or takes down the same link.
    #[error("another call links or unlinks cluster {cluster_id} just now: try again")]
    Linking {
        /// The cluster.
        cluster_id: u64,
    },
    /// The cluster could not be connected to.
    #[error("cannot link cluster {cluster_id} at {ip}:{port}: {source}")]
    Connect {
        /// The cluster.
        cluster_id: u64,
        /// Its address.
        ip: IpAddr,
        /// Its port.
        port: u16,
        /// Why not.
        source: Box<FabricError>,
    },
    /// The cluster was connected to but did not take the link.
    #[error("cluster {cluster_id} does not take the link: {source}")]
    Handshake {
        /// The cluster.
        cluster_id: u64,
        /// What it answered.
        source: RequestError,
    },
    /// Another cluster listens at the address.
    #[error("cluster {found} listens there, not cluster {wanted}: check remote_ip_infos")]
    WrongCluster {
        /// The cluster that was to be linked.
        wanted: u64,
        /// The one that answered.
        found: u64,
    },
    /// A cluster that is not linked here could not be reached to be told so.
    #[error("cluster {cluster_id} is not linked here and cannot be reached at {ip}:{port}: {source}")]
    Unreachable {
        /// The cluster.
        cluster_id: u64,
        /// Its address.
        ip: IpAddr,
        /// Its port.
        port: u16,
        /// Why not.
        source: Box<FabricError>,
    },
    /// The link is gone here; the other side was not told, or did not say so.
    #[error("the link to cluster {cluster_id} is gone here but the cluster did not confirm it: {reason}")]
    NotConfirmed {
        /// The cluster.
        cluster_id: u64,
        /// Why not.
        reason: LinkFault,
    },
    /// More clusters in one call than option `pmd.ClusterLimit` allows.
    #[error("{given} clusters in one call, option pmd.ClusterLimit allows {limit}")]
    TooManyClusters {
        /// Clusters given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// The role cannot change while there are links.
    #[error("{links} links are up: unlink them before the role changes")]
    LinksExist {
        /// Live links.
        links: usize,
    },
    /// More operations at once on a link than option `pmd.OperationLimit` allows.
    #[error(
        "{limit} operations run on the link to cluster {cluster_id}, which is what option pmd.OperationLimit allows"
    )]
    Busy {
        /// The cluster.
        cluster_id: u64,
        /// The limit.
        limit: usize,
    },
    /// The transfer was not done in time. It is quiet now.
    #[error("not done within {millis} ms: raise llm.SyncKvCacheWaitTime; a part of the bytes may have moved")]
    Timeout {
        /// Time given.
        millis: u64,
    },
    /// The peer did not answer a question in time.
    #[error("cluster {cluster_id} did not answer within {millis} ms")]
    NoAnswer {
        /// The cluster.
        cluster_id: u64,
        /// Time given.
        millis: u64,
    },
    /// Memory was not allocated.
    #[error("no space for a cache of {bytes} bytes: {reason}")]
    NoSpace {
        /// Where it was to lie.
        placement: CachePlacement,
        /// Bytes asked for.
        bytes: u64,
        /// Why not.
        reason: NoSpace,
    },
    /// Memory was not registered.
    #[error("tensor memory at {address:#x} was not registered: {source}")]
    Register {
        /// First byte.
        address: u64,
        /// Why not.
        source: Box<RegisterError>,
    },
    /// The fabric.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// The transfer failed. It is quiet now.
    #[error("the transfer failed: {0}")]
    Transfer(TransferError),
    /// A layer synchroniser panicked.
    #[error("the synchroniser of layer {layer} panicked")]
    SynchroniserPanicked {
        /// The layer.
        layer: u32,
    },
    /// A layer synchroniser said no.
    #[error("the synchroniser of layer {layer} gave up: the layer was not sent")]
    NotSynchronised {
        /// The layer.
        layer: u32,
    },
    /// The system has no thread left.
    #[error("cannot start a thread")]
    Thread {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl DataDistError {
    /// The number that upstream's interface gives for it.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::OptionMissing { .. }
            | Self::Option { .. }
            | Self::Environment(_)
            | Self::Address { .. }
            | Self::Argument(_)
            | Self::NotSynchronised { .. } => Status::ParamInvalid,
            Self::Disabled { .. } => Status::FeatureNotEnabled,
            Self::NoSuchCache { .. } | Self::NoSuchRemoteCache { .. } => Status::KvCacheNotExist,
            Self::NotLinked { .. } | Self::LinkDown { .. } => Status::NotYetLink,
            Self::AlreadyLinked { .. } => Status::AlreadyLink,
            Self::Linking { .. } => Status::ProcessingLink,
            Self::Connect { .. } | Self::Handshake { .. } | Self::WrongCluster { .. } => Status::LinkFailed,
            Self::Unreachable { .. } => Status::UnlinkFailed,
            Self::NotConfirmed { .. } => Status::NotifyPromptUnlinkFailed,
            Self::TooManyClusters { .. } => Status::ClusterNumberExceedsLimit,
            Self::LinksExist { .. } => Status::ExistLink,
            Self::Busy { .. } => Status::LinkBusy,
            Self::Timeout { .. } => Status::Timeout,
            Self::NoAnswer { .. } => Status::WaitProcessTimeout,
            Self::NoSpace { placement: CachePlacement::Device, .. } => Status::DeviceOutOfMemory,
            Self::NoSpace { placement: CachePlacement::Host, .. } => Status::OutOfMemory,
            Self::Fabric(error) => of_device(error.device_fault()),
            Self::Register { source, .. } => of_device(DeviceFault::of_registering(source)),
            Self::NotInitialised
            | Self::Transfer(_)
            | Self::SynchroniserPanicked { .. }
            | Self::Thread { .. } => Status::Failed,
        }
    }
}

const fn of_device(fault: Option<DeviceFault>) -> Status {
    match fault {
        Some(DeviceFault::Argument) => Status::ParamInvalid,
        Some(DeviceFault::NoSpace) => Status::DeviceOutOfMemory,
        Some(DeviceFault::Unsupported) => Status::FeatureNotEnabled,
        Some(DeviceFault::Failed) | None => Status::Failed,
    }
}

/// What took a link down, or kept its end from being confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkFault {
    /// The connection is gone.
    #[error(transparent)]
    Down(#[from] DownReason),
    /// A transfer failed, or the device took the queue pairs down.
    #[error(transparent)]
    Route(#[from] RouteFault),
    /// The peer did not answer, or refused.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Why memory was not allocated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NoSpace {
    /// The pool that an option bounds is full.
    #[error("the memory pool of {size} bytes has no {wanted} bytes in one piece")]
    Pool {
        /// Bytes of the pool.
        size: u64,
        /// Bytes wanted, rounded up to pages.
        wanted: u64,
    },
    /// The system has none.
    #[error(transparent)]
    System(#[from] AllocateError),
    /// The accelerator has none.
    #[error(transparent)]
    Accelerator(#[from] FabricError),
}
