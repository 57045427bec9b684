//! The device: executes what the driver queued. Entered when a doorbell is seen (`uar`), when an object changes state
//! (`kernel`), and from each process's service thread when something that waits is due.

use crate::{
    config::Config,
    state::{Guard, ProcessIndex, SharedState},
};

/// The device as one process has it open.
#[derive(Debug)]
pub struct Device {
    /// How it behaves.
    pub config: Config,
    /// What all processes share.
    pub state: SharedState,
    /// This process in the tables.
    pub process: ProcessIndex,
}

impl Device {
    /// Takes the device to work on it.
    pub fn lock(&self) -> Guard<'_> {
        self.state.lock()
    }
}
