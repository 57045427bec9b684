//! How the NIC of this machine is taken to reach memory of the accelerator.

use clap::ValueEnum;
use pmd_host::region::RegionPath;

/// A way between a NIC and an accelerator's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// It does not: bytes are staged in the host's memory.
    Staged,
    /// By a dma-buf.
    DmaBuf,
    /// By the accelerator's kernel module.
    Peer,
}

impl Way {
    /// As the command line has it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::DmaBuf => "dma-buf",
            Self::Peer => "peer",
        }
    }

    /// The way of a text.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|way| way.text() == text)
    }

    /// As registered memory tells it.
    pub(crate) const fn path(self) -> RegionPath {
        match self {
            Self::Staged => RegionPath::Staged,
            Self::DmaBuf => RegionPath::DmaBuf,
            Self::Peer => RegionPath::PeerMemory,
        }
    }
}
