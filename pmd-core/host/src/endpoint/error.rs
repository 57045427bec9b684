//! Why an endpoint or a peer could not be opened.

use std::{io, net::SocketAddr};

use thiserror::Error;

use super::ChoiceError;
use crate::{
    backend::Transport,
    control::{ConnectError, ControlError, RequestError},
    lane::{LaneError, RouteError},
    nic, soft,
};

/// Why an endpoint or a peer could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The soft HCA could not be opened.
    #[error(transparent)]
    Soft(#[from] soft::OpenError),
    /// The transport asked for is not on this machine.
    #[error("transport {} is not on this machine: {reason}", transport.name())]
    TransportMissing {
        /// Transport asked for.
        transport: Transport,
        /// What is missing, and what to do.
        reason: MissingReason,
    },
    /// No transport carries bytes to the peer as both ends wish.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The peer has come to another transport by the same facts.
    #[error("the ends do not choose the same transport: do both sides run the same release?")]
    Disagreement,
    /// The identity of this process could not be found out.
    #[error("cannot find out this process's identity: is /proc mounted?")]
    Identity {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The control plane did not start.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The peer could not be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The peer refused or went down while the route was opened.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The lane did not start.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The route was not opened or connected.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The soft HCA's back end could not be made.
    #[error(transparent)]
    Setup(#[from] crate::backend::SetupError),
    /// The NIC's back end could not be made.
    #[error(transparent)]
    Backend(#[from] nic::BackendError),
    /// A NIC that rails are to be on could not be opened.
    #[error("a rail's NIC: {0}")]
    RailNic(#[source] nic::OpenError),
    /// A soft HCA that rails are to be on could not be opened.
    #[error(
        "a rail's soft HCA cannot be reached at {listen}: choose a free port (0 lets the system choose) of an address of this host"
    )]
    RailSoft {
        /// Where it was to listen.
        listen: SocketAddr,
        /// Why it does not.
        #[source]
        source: crate::soft::OpenError,
    },
    /// There are more devices for rails than rails.
    #[error("{given} devices for rails: name {limit} at most")]
    RailPortCount {
        /// Devices named.
        given: usize,
        /// Most of them.
        limit: usize,
    },
    /// Rails have devices of their own at both ends or at none, and of kinds that reach each other.
    #[error(
        "rails cannot join {ours} devices of this end with {theirs} of the peer: name devices for rails at both ends, all of them NICs of one fabric or all of them soft"
    )]
    RailPorts {
        /// Devices that this end has for rails.
        ours: usize,
        /// Devices that the peer has for them.
        theirs: usize,
    },
    /// The peer asked for a rail on a device that there is not.
    #[error("a rail was to be on device {port} of {ports}: do both sides run the same release?")]
    NoRailPort {
        /// Place of the device, from 0.
        port: usize,
        /// Devices that this end has for rails.
        ports: usize,
    },
    /// The peer sent something that does not parse.
    #[error("the peer's answer of {length} bytes does not parse: do both sides run the same release?")]
    Malformed {
        /// Bytes of the answer.
        length: usize,
    },
    /// An endpoint has at least one lane for each transport.
    #[error("an endpoint needs at least one lane for each transport")]
    NoLanes,
    /// The connecting side opens fewer or more routes or queue pairs than there can be.
    #[error(
        "{routes} routes with {queue_pairs} queue pairs in all: a peer has at least one route, {route_limit} at most, and {queue_pair_limit} queue pairs"
    )]
    Routes {
        /// Routes asked for, one for each lane.
        routes: usize,
        /// Queue pairs of all of them.
        queue_pairs: usize,
        /// Most routes.
        route_limit: usize,
        /// Most queue pairs.
        queue_pair_limit: usize,
    },
    /// Metrics cannot be served where that was asked for.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::ServerError),
    /// The peer asked for a second route on one connection.
    #[error("a route is open on this connection already")]
    AlreadyOpen,
}

/// Why a transport is not on this machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MissingReason {
    /// No NIC can be opened.
    #[error(transparent)]
    Nic(nic::OpenError),
    /// There is a NIC, but libmlx5 does not drive it.
    #[error("{device} is not driven by mlx5; use --transport verbs")]
    NotMlx5 {
        /// Device name.
        device: String,
    },
    /// The endpoint did not open such a device.
    #[error("this endpoint was opened without it")]
    NotOpen,
}

impl EndpointError {
    pub(super) const fn identity(source: io::Error) -> Self {
        Self::Identity { source }
    }
}
