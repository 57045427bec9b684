//! Everything that can end the command, and its exit code.

use std::{error::Error, io, path::PathBuf, time::Duration};

use af_api::{
    environment::EnvironmentError as GroupError,
    rendezvous::{BarrierError, DownCause, LeaveError, MemberId, SchedulerError, StartError},
    server::{BatchError, OpenError, RespondError, ResponseWaitError},
    tensor::{CopyError, MemoryError, TensorError},
    worker::{ConnectError, PushPullError, TraceError, WaitError},
};
use pmd_accelerators::OpenError as DeviceError;
use pmd_core::accelerator::AcceleratorError;
use pmd_host::{endpoint::EndpointError, environment::EnvironmentError, soft::AllocateError};
use thiserror::Error;

/// Why the command did not succeed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Leave(#[from] LeaveError),
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    #[error(transparent)]
    OpenWorker(#[from] EndpointError),
    #[error(transparent)]
    OpenServer(#[from] OpenError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    PushPull(#[from] PushPullError),
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Respond(#[from] RespondError),
    #[error(transparent)]
    Response(#[from] ResponseWaitError),
    #[error("worker {worker} is at step {found}, not at {expected}")]
    OutOfStep { worker: u32, expected: u32, found: u32 },
    #[error("worker {worker} pushed nothing")]
    NothingPushed { worker: u32 },
    #[error(
        "worker {worker}, layer {layer}, stage {stage}: the result of server {server} is wrong from element {element} on"
    )]
    Wrong { worker: u32, server: u32, layer: u32, stage: u32, element: usize },
    #[error("workers are still there after {patience:?}")]
    WorkersStay { patience: Duration },
    #[error("{member} went down: {cause}")]
    MemberDown { member: MemberId, cause: DownCause },
    #[error("iteration {iteration}: what {what} differs from what was sent")]
    Differs { what: &'static str, iteration: u32 },
    #[error("the {role} process ended with {status}{}", .said.as_deref().map_or_else(String::new, |said| format!(": {said}")))]
    Child { role: &'static str, status: String, said: Option<String>, code: u8 },
    #[error("the {role} process said nothing for {patience:?}")]
    ChildSilent { role: &'static str, patience: Duration },
    #[error("the {role} process said something unexpected: {line:?}")]
    ChildBabbles { role: &'static str, line: String },
    #[error("report {path:?} cannot be written")]
    File { path: PathBuf, source: io::Error },
    #[error("starting the {role} process")]
    Spawn { role: &'static str, source: io::Error },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Child { code, .. } => *code,
            Self::Environment(_) | Self::Group(_) => 2,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 2,
            Self::OpenWorker(error) | Self::OpenServer(OpenError::Endpoint(error))
                if matches!(error, EndpointError::TransportMissing { .. }) =>
            {
                3
            }
            Self::Device(_)
            | Self::Memory(MemoryError::Accelerator(AcceleratorError::OutOfMemory { .. })) => 3,
            Self::Memory(MemoryError::Allocate(
                AllocateError::NoSpace { .. } | AllocateError::NoHugePages { .. },
            )) => 3,
            _ => 1,
        }
    }
}

/// The error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
