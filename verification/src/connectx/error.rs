//! Why a command does not get a simulated device.

use std::io;
use std::path::PathBuf;

use connectx::fault::FaultError;

use crate::foreground::StartError;

/// What went wrong before or around the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectxError {
    /// Two settings exclude each other.
    #[error("{0} cannot be had with {1}")]
    Contradiction(&'static str, &'static str),
    /// The fault list is not understood.
    #[error("--faults: {0}")]
    Faults(#[from] FaultError),
    /// The preloaded library does not build.
    #[error("the simulated device does not build:\n{0}")]
    Build(String),
    /// A file or folder cannot be made or read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The command does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl ConnectxError {
    /// For results about a file.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// 2 for wrong usage, 3 for what is not on this machine, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Contradiction(..) | Self::Faults(_) => 2,
            Self::Start(error) => error.exit_code(),
            Self::Build(_) | Self::File { .. } => 1,
        }
    }
}
