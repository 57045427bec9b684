//! Why a NIC, or a back end on it, could not be opened.

use std::{fmt, io};

use pmd_sys::{LoadError, devices::DevicesError};
use thiserror::Error;

use super::{GidChoice, GidEntry, PortState};
use crate::backend::SetupError;

/// Why no device was opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no library, no kernel support or no device; the text says which.
    #[error(transparent)]
    Devices(#[from] DevicesError),
    /// A function is missing from the installed library.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// No device of that name.
    #[error("no RDMA device {name}: there are {}", candidates.join(", "))]
    NoSuchDevice {
        /// What was asked for.
        name: String,
        /// What there is.
        candidates: Vec<String>,
    },
    /// No device was asked for by name, and none can be used.
    #[error("none of the RDMA devices can be used: {}; or use --transport shm", Listed(tried))]
    NoneUsable {
        /// Every device with its reason.
        tried: Vec<Candidate>,
    },
    /// The device speaks something else than InfiniBand or RoCE.
    #[error("{device} is not an InfiniBand or RoCE device")]
    OtherProtocol {
        /// Device name.
        device: String,
    },
    /// The device has no such port.
    #[error("{device} has ports 1 to {ports}, not {port}")]
    NoSuchPort {
        /// Device name.
        device: String,
        /// What was asked for.
        port: u8,
        /// Ports of the device.
        ports: u8,
    },
    /// The port asked for, or every port, is down.
    #[error(
        "{device} port {port} is {state}: check the cable, the switch and, on InfiniBand, the subnet manager"
    )]
    PortNotActive {
        /// Device name.
        device: String,
        /// Port number.
        port: u8,
        /// State it is in.
        state: PortState,
    },
    /// No entry of the GID table is what was asked for.
    #[error("{device} port {port} has no GID for {wanted}: it has {}", Listed(table))]
    NoGid {
        /// Device name.
        device: String,
        /// Port number.
        port: u8,
        /// What was asked for.
        wanted: GidChoice,
        /// What there is.
        table: Vec<GidEntry>,
    },
    /// A system or library call failed.
    #[error("{device}: {call} failed")]
    System {
        /// Device name.
        device: String,
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// A device that was tried and cannot be used.
#[derive(Debug)]
pub struct Candidate {
    /// Device name.
    pub device: String,
    /// Why not.
    pub reason: Box<OpenError>,
}

impl fmt::Display for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.reason)
    }
}

/// Why a device offers no back end of the kind asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// libmlx5 does not drive the device.
    #[error("{device} is not driven by mlx5: use --transport verbs")]
    NotMlx5 {
        /// Device name.
        device: String,
    },
    /// libmlx5 is not installed, or too old.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// Creating the completion queue, or what belongs to it, failed.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The library handed out memory that is no completion queue.
    #[error("the completion queue that libmlx5 handed out cannot be driven")]
    Queue(#[from] pmd_core::queue::QueueError),
}

/// A list for an error text.
struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        for (index, item) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{item}")?;
        }
        Ok(())
    }
}
