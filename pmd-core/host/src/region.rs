//! A registered range of memory, the same handle for every back end.
//!
//! Registration (`soft`, `mlx5`, `verbs`) makes it; work requests carry its keys; dropping it takes the keys back.

use std::{fmt, io};

use pmd_core::{
    accelerator::AcceleratorError,
    memory::{Access, LocalKey, RemoteAddress, RemoteKey, Sge},
};
use pmd_sys::LoadError;
use thiserror::Error;

/// Registered memory. Dropping it deregisters: when the drop returns, no device and no peer touches the range on
/// behalf of its keys any more.
#[derive(Debug)]
pub struct Region {
    facts: RegionFacts,
    refusals: Vec<PathRefusal>,
    registration: Box<dyn Registration>,
}

impl Region {
    /// The handle of what `registration` undoes when it is dropped.
    pub(crate) fn new(facts: RegionFacts, registration: Box<dyn Registration>) -> Self {
        Self { facts, refusals: Vec::new(), registration }
    }

    /// All of these, for a handle that wraps this one.
    pub(crate) const fn facts(&self) -> RegionFacts {
        self.facts
    }

    /// Notes which better ways there were not.
    pub(crate) fn with_refusals(self, refusals: Vec<PathRefusal>) -> Self {
        Self { refusals, ..self }
    }

    /// First byte, as this process addresses it.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.facts.address
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.facts.length
    }

    /// Key for this process's own work requests.
    #[must_use]
    pub const fn local_key(&self) -> LocalKey {
        self.facts.local_key
    }

    /// Key for peers, good for what [`Region::access`] says.
    #[must_use]
    pub const fn remote_key(&self) -> RemoteKey {
        self.facts.remote_key
    }

    /// What the region may be used for.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.facts.access
    }

    /// How the bytes are reached.
    #[must_use]
    pub const fn path(&self) -> RegionPath {
        self.facts.path
    }

    /// Which better ways to reach the bytes were not possible, best first, and why. Empty for memory of the host, and for
    /// memory of an accelerator that is reached in the best way.
    #[must_use]
    pub fn refusals(&self) -> &[PathRefusal] {
        &self.refusals
    }

    /// Scatter-gather entry for `length` bytes at `offset`, or `None` when they are not all inside the region.
    #[must_use]
    pub fn sge(&self, offset: u64, length: u32) -> Option<Sge> {
        self.contains(offset, u64::from(length)).then(|| Sge {
            address: self.facts.address + offset,
            length,
            key: self.facts.local_key,
        })
    }

    /// What a peer puts into a work request to reach `offset`, or `None` when that is beyond the region.
    #[must_use]
    pub fn remote_address(&self, offset: u64) -> Option<RemoteAddress> {
        self.contains(offset, 0)
            .then(|| RemoteAddress { address: self.facts.address + offset, key: self.facts.remote_key })
    }

    /// Takes the keys back and waits until nothing touches the memory on their behalf. The same as dropping.
    pub fn deregister(self) {
        drop(self.registration);
    }

    fn contains(&self, offset: u64, length: u64) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.facts.length)
    }
}

/// What a back end found out and decided when it registered a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionFacts {
    pub(crate) address: u64,
    pub(crate) length: u64,
    pub(crate) local_key: LocalKey,
    pub(crate) remote_key: RemoteKey,
    pub(crate) access: Access,
    pub(crate) path: RegionPath,
}

/// A back end's side of a region: deregisters when it is dropped, and returns from that only when the memory is quiet.
pub(crate) trait Registration: Send + Sync + fmt::Debug {}

/// How a region's bytes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RegionPath {
    /// Peers of this host have the memory mapped and copy it themselves.
    Mapped,
    /// Peers of this host ask the kernel to copy (`process_vm_readv`, `process_vm_writev`), or get packets where it
    /// refuses.
    ProcessMemory,
    /// The engine sends it and receives into it, over TCP.
    Streams,
    /// Pinned in host memory for the NIC.
    Pinned,
    /// The NIC reaches an accelerator's memory through a dma-buf.
    DmaBuf,
    /// The NIC reaches an accelerator's memory through the accelerator's kernel module (peer memory).
    PeerMemory,
    /// The accelerator's streams copy it, with that of peers of this host too.
    DeviceCopy,
    /// The NIC does not reach it: bytes of this side's own requests go through pinned memory of the host, to which and from
    /// which the accelerator's streams copy. Peers do not reach it at all.
    Staged,
}

/// A way to reach the bytes of a region that was not possible.
#[derive(Debug, Error)]
#[error("not by {path}: {reason}")]
pub struct PathRefusal {
    /// Which.
    pub path: RegionPath,
    /// Why.
    #[source]
    pub reason: PathReason,
}

/// Why a NIC does not reach an accelerator's memory in some way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PathReason {
    /// The accelerator gave no dma-buf.
    #[error("no descriptor: {0}")]
    NotExported(#[source] AcceleratorError),
    /// The memory came without one, and without a word why.
    #[error("its owner gave no descriptor of it")]
    NoDescriptor,
    /// The installed library has no such call.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// The device or the kernel refused.
    #[error("{call} failed: {source}")]
    Refused {
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl RegionPath {
    /// Name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::ProcessMemory => "process memory",
            Self::Streams => "streams",
            Self::Pinned => "pinned",
            Self::DmaBuf => "dma-buf",
            Self::PeerMemory => "peer memory",
            Self::DeviceCopy => "device copy",
            Self::Staged => "staged",
        }
    }
}

impl fmt::Display for RegionPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
