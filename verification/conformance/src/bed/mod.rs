//! Where cases run: a bed opens devices, makes back ends and registers memory, and says what it cannot do.
//!
//! `main` opens the beds that the command line names; [`Stage`](crate::stage::Stage) is the only caller of the rest.

pub mod fake;
mod nic;
mod soft;

use std::{fmt, sync::Arc};

use pmd_core::memory::Access;
use pmd_host::{accelerator::CpuAccelerator, backend::ConnectOptions, endpoint::EndpointConfig};
use thiserror::Error;

use crate::{any::AnyBackend, memory::Memory};
pub use nic::{Driver, NicBed};
pub use soft::{Path, SoftBed};

/// Which of a case's two places a device stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The side that starts most operations.
    Left,
    /// Its peer.
    Right,
}

impl Place {
    /// Both, left first.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// What a case may need and a bed may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ability {
    /// NOP requests.
    Nop,
    /// Errors carry the syndrome that the InfiniBand specification names.
    ExactErrors,
    /// The peer notices a request that it refuses: its queue pair goes to the error state.
    RefusalFailsPeer,
    /// A write waits until the messages before it were received.
    MessageOrder,
    /// Peers in other processes.
    Processes,
    /// Memory that only an accelerator's streams touch.
    DeviceMemory,
    /// The same, of which this side's requests can be, and the peer's not; and memory that the NIC reaches itself.
    Staging,
}

impl fmt::Display for Ability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nop => "NOP",
            Self::ExactErrors => "exact error codes",
            Self::RefusalFailsPeer => "errors at the peer that refuses",
            Self::MessageOrder => "writes that wait for earlier messages",
            Self::Processes => "peers in other processes",
            Self::DeviceMemory => "memory of an accelerator",
            Self::Staging => "memory of an accelerator beside a NIC",
        })
    }
}

/// A place for cases to run on.
pub trait Bed: Send + Sync {
    /// Name, the first part of a test's.
    fn name(&self) -> &str;

    /// Why this bed lacks `ability`; `None` where it has it.
    fn lacks(&self, ability: Ability) -> Option<&'static str>;

    /// The device of a place. Each call opens it anew, with a protection domain of its own.
    fn device(&self, place: Place) -> Arc<dyn Device>;

    /// How an endpoint is opened that uses this bed's devices; `None` where there are no other processes.
    fn endpoint(&self, place: Place) -> Option<EndpointConfig> {
        let _ = place;
        None
    }

    /// Names this bed to a process of its own, for [`of_part`].
    fn part(&self) -> Option<String> {
        None
    }

    /// Whether memory for endpoints comes from arenas, which peers map.
    fn maps_memory(&self) -> bool {
        false
    }

    /// How queue pairs are connected here.
    fn options(&self) -> ConnectOptions {
        usual_options()
    }
}

/// The bed that a parent process named by [`Bed::part`].
#[must_use]
pub fn of_part(part: &str) -> Option<Arc<dyn Bed>> {
    let words: Vec<&str> = part.split(' ').collect();
    match words[..] {
        [name] => {
            let path = Path::ALL.into_iter().find(|path| SoftBed(*path).name() == name)?;
            Some(Arc::new(SoftBed(path)))
        }
        [name, left, right] => {
            let driver = [Driver::Verbs, Driver::Mlx5].into_iter().find(|driver| driver.name() == name)?;
            Some(Arc::new(NicBed::open(driver, left, Some(right)).ok()?))
        }
        _ => None,
    }
}

fn usual_options() -> ConnectOptions {
    ConnectOptions { timeout: 14, retry_count: 6, rnr_retry: 6, ..ConnectOptions::default() }
}

/// An open device.
pub trait Device: Send + Sync {
    /// A back end with a completion queue of at least `completions` entries.
    fn backend(&self, completions: u32) -> AnyBackend;

    /// Zeroed memory of `length` bytes, registered for the queue pairs of this device.
    fn memory(&self, length: usize, access: Access) -> Memory;

    /// As [`Device::memory`], of an accelerator; for beds that have [`Ability::DeviceMemory`].
    fn device_memory(&self, length: usize, access: Access) -> Memory {
        panic!("{length} bytes with {access:?} of an accelerator, on a bed without one")
    }

    /// Memory of an accelerator that the NIC does not reach, for its owner's requests; for beds that have
    /// [`Ability::Staging`].
    fn staged_memory(&self, length: usize) -> Memory {
        panic!("{length} bytes of an accelerator, on a bed without a NIC")
    }

    /// Memory of the same accelerator that the NIC does reach.
    fn direct_memory(&self, length: usize, access: Access) -> Memory {
        panic!("{length} bytes with {access:?} of an accelerator, on a bed without a NIC")
    }

    /// The accelerator of [`Device::device_memory`] and [`Device::staged_memory`].
    fn accelerator(&self) -> Option<&CpuAccelerator> {
        None
    }

    /// As [`Device::memory`], in a protection domain that none of this device's queue pairs is in.
    fn foreign_memory(&self, length: usize, access: Access) -> Memory;
}

/// Why a bed cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BedError {
    /// A device was not named.
    #[error("bed {bed} runs on an RDMA device: name it with --device")]
    NoDevice {
        /// Name of the bed.
        bed: &'static str,
    },
    /// A device cannot be used.
    #[error("device {device}: {source}")]
    Open {
        /// Name of the device.
        device: String,
        /// Why.
        source: pmd_host::nic::OpenError,
    },
    /// mlx5 does not drive the device.
    #[error("device {device} is not driven by mlx5: take --bed verbs")]
    NotMlx5 {
        /// Name of the device.
        device: String,
    },
}
