//! Everything that can end the command, and its exit code.

use std::{error::Error, io, path::PathBuf, time::Duration};

use kv_api::{
    agent::AgentError, engine::EngineError, environment::EnvironmentError as NamesError,
    geometry::UnknownModel, layout::LayoutError, planner::PlanError,
};
use pmd_core::accelerator::AcceleratorError;
use pmd_host::{
    endpoint::EndpointError, environment::EnvironmentError, soft::AllocateError, transfer::WaitError,
};
use thiserror::Error;

/// Why the command did not succeed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Agent(Box<AgentError>),
    #[error("the transfer failed")]
    Transfer(#[from] WaitError),
    #[error(transparent)]
    Model(#[from] UnknownModel),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("{what} {path:?} cannot be used")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("input file {path:?} is empty: nothing to move")]
    EmptyInput { path: PathBuf },
    #[error("input file {path:?} has {found} bytes, the cache of --model and --tokens takes {wanted}")]
    ShortInput { path: PathBuf, found: u64, wanted: u64 },
    #[error("{mode}: what arrived differs from what was sent, first in layer {layer}")]
    NotVerified { mode: String, layer: u32 },
    #[error("{operation}: what arrived in iteration {iteration} differs from what was sent")]
    Differs { operation: &'static str, iteration: u32 },
    #[error("the {role} process ended with {status}{}", .said.as_deref().map_or_else(String::new, |said| format!(": {said}")))]
    Child { role: &'static str, status: String, said: Option<String>, code: u8 },
    #[error("the {role} process said nothing for {patience:?}")]
    ChildSilent { role: &'static str, patience: Duration },
    #[error("the {role} process said something unexpected: {line:?}")]
    ChildBabbles { role: &'static str, line: String },
    #[error("starting the {role} process")]
    Spawn { role: &'static str, source: io::Error },
    #[error("{given:?} is no address and port; a name is looked up where --metadata says")]
    NotAnAddress { given: String },
    #[error(
        "rails on addresses are for TCP, and what carries the bytes is {transport}: add --transport tcp, or name NICs"
    )]
    NoRailsOver { transport: &'static str },
    #[error("an engine that is published has a name: give --name")]
    NoName,
    #[error(transparent)]
    Names(#[from] NamesError),
    #[error("{given:?} is no address that can be connected to")]
    Address { given: String },
    #[error("{api} failed")]
    Api { api: &'static str, source: Box<dyn Error + Send + Sync> },
    #[error(transparent)]
    Device(#[from] pmd_host::soft::OpenError),
    #[error(transparent)]
    NoDevice(#[from] pmd_accelerators::OpenError),
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    #[error("no memory for {bytes} bytes")]
    NoMemory { bytes: u64 },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Environment(_)
            | Self::Model(_)
            | Self::NotAnAddress { .. }
            | Self::NoRailsOver { .. }
            | Self::NoName
            | Self::Names(NamesError::Directory { .. })
            | Self::EmptyInput { .. }
            | Self::ShortInput { .. }
            | Self::Layout(_)
            | Self::Engine(
                EngineError::Layout(_)
                | EngineError::Plan(PlanError::BlockRange { .. })
                | EngineError::Endpoint(EndpointError::RailPorts { .. }),
            ) => 2,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 2,
            Self::NoMemory { .. }
            | Self::NoDevice(_)
            | Self::Accelerator(AcceleratorError::OutOfMemory { .. })
            | Self::Engine(
                EngineError::Endpoint(
                    EndpointError::TransportMissing { .. }
                    | EndpointError::Choice(_)
                    | EndpointError::RailNic(_),
                )
                | EngineError::Allocate(AllocateError::NoSpace { .. } | AllocateError::NoHugePages { .. }),
            ) => 3,
            Self::Child { code, .. } => *code,
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
