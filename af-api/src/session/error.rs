//! Why a process is not ready for push-pulls, or did not end well.

use std::net::SocketAddr;

use pmd_host::endpoint::EndpointError;
use thiserror::Error;

use crate::{
    rendezvous::{BarrierError, LeaveError, StartError, WaitError},
    server::OpenError,
    worker::ConnectError,
};

/// Why a session did not start, or a server was not connected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No place in the cluster, or not everybody came.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server did not open.
    #[error(transparent)]
    Server(#[from] OpenError),
    /// The worker's endpoint did not open.
    #[error(transparent)]
    Worker(EndpointError),
    /// Only workers connect.
    #[error("this process is no worker: only workers connect to servers")]
    NoWorker,
    /// The server is not there.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// The server did not say where it listens.
    #[error("server {rank} has not said where it listens: start it as a session, or announce its endpoint")]
    NoAddress {
        /// Rank of the server.
        rank: u32,
    },
    /// The server cannot be connected to.
    #[error("cannot connect to server {rank} at {address}")]
    Connect {
        /// Rank of the server.
        rank: u32,
        /// Where it was announced.
        address: SocketAddr,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// Another server answers at the address than was announced there.
    #[error("what answers at {address} is not the server {rank} that was announced: was it started again?")]
    Stale {
        /// Rank of the server.
        rank: u32,
        /// Where it was announced.
        address: SocketAddr,
    },
}

/// Why a session did not end together with the others. It is closed all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FinishError {
    /// Not everybody came to the end.
    #[error(transparent)]
    Barrier(#[from] BarrierError),
    /// The others could not be told of the leave.
    #[error(transparent)]
    Leave(#[from] LeaveError),
}
