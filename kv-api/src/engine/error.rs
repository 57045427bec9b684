//! Why the engine could not do what it was asked.

use std::{net::SocketAddr, time::Duration};

use pmd_host::{
    backend::Transport,
    control::RequestError,
    endpoint::{EndpointError, RegisterError},
    metadata::MetadataError,
    soft::AllocateError,
    transfer::SubmitError,
};
use thiserror::Error;

use crate::{layout::LayoutError, planner::PlanError};

/// Why the engine could not do what it was asked. Nothing was moved.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The endpoint was not opened, or the peer not connected to.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The peer refused, or went down.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The directory of names does not answer, or says no.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The engine has no address that could be published.
    #[error("the engine {} and cannot be published: listen on an address that others reach",
        .address.map_or_else(|| "does not listen".to_owned(), |address| format!("listens on {address}")))]
    Unreachable {
        /// Where it listens.
        address: Option<SocketAddr>,
    },
    /// What is published under a name is no engine's address.
    #[error("{value:?} is published as {name}, and is no address")]
    PublishedAddress {
        /// The name.
        name: String,
        /// What is published.
        value: String,
    },
    /// There is not enough memory.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// The memory cannot be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The cache cannot look like that.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The selection does not fit the caches.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The lane did not take the transfer.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The device memory is smaller than the cache.
    #[error(
        "the cache takes {needed} bytes, the device memory has {length}: allocate {needed} on the device"
    )]
    TooSmall {
        /// Bytes of the memory.
        length: u64,
        /// Bytes of the cache.
        needed: u64,
    },
    /// Tensors lie in none of the device memories that were given for them.
    #[error(
        "tensors of {length} bytes from {address:#x} on are inside none of the device memories of the cache"
    )]
    OutsideMemory {
        /// First byte of the run of tensors.
        address: u64,
        /// Bytes of it.
        length: u64,
    },
    /// A cache of this name is registered here.
    #[error("a cache named {name:?} is registered already: drop it first or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The layers of another stream of this tag are expected already.
    #[error("layers of tag {tag} are expected already: drop those or choose another tag")]
    TagTaken {
        /// The tag.
        tag: u64,
    },
    /// The peer's cache is in memory of an accelerator of this host that this engine was not opened with, so that it
    /// cannot post transfers with it.
    #[error(
        "cache {name:?} of the peer is on a {kind} device that this engine does not drive: open it with the accelerator, \
         or have the peer post the transfer"
    )]
    NotDriven {
        /// The peer's cache.
        name: String,
        /// Name of the accelerator's runtime.
        kind: String,
    },
    /// The peer has no such cache.
    #[error("the peer has no cache named {name:?}")]
    NoSuchCache {
        /// The name.
        name: String,
    },
    /// The peer's cache is in memory that others do not reach: that of a device, without a way for the NIC. The peer itself can
    /// push out of it and pull into it.
    #[error(
        "cache {name:?} of the peer is not reached over {}: have the peer post the transfer, or see to it that its NIC \
         reaches its device ({reasons})", transport.name()
    )]
    KeptIn {
        /// The peer's cache.
        name: String,
        /// The peer's transport.
        transport: Transport,
        /// Which ways its NIC did not have, in the peer's words.
        reasons: String,
    },
    /// The cache is not registered with the device that reaches the peer.
    #[error("the cache is not registered for transport {}", transport.name())]
    NotRegistered {
        /// The peer's transport.
        transport: Transport,
    },
    /// The peer's answer does not parse.
    #[error("the peer's answer of {length} bytes does not parse: do both sides run the same release?")]
    Malformed {
        /// Bytes of the answer.
        length: usize,
    },
    /// It did not happen in time.
    #[error("waited {patience:?} for {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        patience: Duration,
    },
}
