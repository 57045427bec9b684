//! Why there is no network between hosts. Made by the modules beside it; told by `main`.

use std::{io, time::Duration};

/// What this machine or this user lacks for a network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    /// A program is not installed, or does not start.
    #[error("{program} does not start ({source}); it is in Debian's package iproute2")]
    NoProgram {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// `ip` refused.
    #[error("{command}: {said} (network namespaces need root, or CAP_NET_ADMIN and CAP_SYS_ADMIN)")]
    Refused {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// `ip` did not end.
    #[error("{command}: did not end within {patience:?}")]
    Slow {
        /// The command.
        command: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// There are no TUN devices, or not for this user.
    #[error("{device}: {source} (a kernel with TUN, and root, are needed)")]
    Tunnel {
        /// The file, or the device.
        device: String,
        /// What the system said.
        source: io::Error,
    },
    /// The thread of a switch does not start.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
}
