//! Transports as the tests use them: a back end, and memory registered with its device.

use pmd_host::backend::{Backend, Transport};

use super::{TransportChoice, error::PerfError, plan::MemoryChoice};
use crate::memory::Memory;

mod nic;
mod soft;

/// A device that gives registered memory to a test. Its back end is generic beside it.
pub(crate) trait Fabric {
    /// Memory of `length` bytes that a peer may read and write.
    fn memory(&self, length: u64, choice: MemoryChoice) -> Result<Memory, PerfError>;

    /// Name in reports.
    fn device(&self) -> String;
}

/// What is done with an open transport, whichever it is: the same code for all.
pub(super) trait Task {
    /// What it gives.
    type Output;

    /// Does it.
    fn run<B: Backend, F: Fabric>(self, backend: B, fabric: &F) -> Result<Self::Output, PerfError>;
}

/// A transport of this machine, and the NIC that was asked for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) transport: Transport,
    pub(super) device: Option<String>,
}

impl Chosen {
    /// What the command line asks for, if this machine has it.
    pub(super) fn new(choice: TransportChoice, device: Option<String>) -> Result<Self, PerfError> {
        let transport = match choice {
            TransportChoice::Shm => Transport::SharedMemory,
            TransportChoice::Tcp => Transport::Tcp,
            TransportChoice::Mlx5 => nic::check(Transport::Mlx5, device.as_ref())?,
            TransportChoice::Verbs => nic::check(Transport::Verbs, device.as_ref())?,
            TransportChoice::Auto => nic::best(device.as_ref())?,
        };
        Ok(Self { transport, device })
    }

    /// Opens it and runs `task` over it.
    pub(super) fn run<T: Task>(&self, task: T) -> Result<T::Output, PerfError> {
        match self.transport {
            Transport::SharedMemory => soft::run(task),
            Transport::Tcp => soft::run_over_tcp(task),
            transport => nic::run(transport, self.device.as_ref(), task),
        }
    }
}
