//! Why a push-pull was not taken, and why one that was failed.

use pmd_core::accelerator::AcceleratorError;
use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::EndpointError,
    transfer::{RouteFault, TransferError},
};
use thiserror::Error;

use crate::{
    gate::EventError,
    tensor::{LandingError, TensorError},
    wire::{Refusal, WireError},
};

/// Why a server was not connected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no way to it.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// It did not take the introduction.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What answers there is another server.
    #[error("server {found} answers where server {wanted} was expected")]
    OtherServer {
        /// Rank asked for.
        wanted: u32,
        /// Rank that answers.
        found: u32,
    },
    /// It does not speak this protocol.
    #[error(
        "the answer does not parse: do both sides run the same release, and is a server listening there?"
    )]
    Malformed,
}

/// Why a push-pull was not taken. Nothing was sent, to no server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PushPullError {
    /// No server is connected, or the request names none.
    #[error("no server to push to: connect to one, or name one")]
    NoServers,
    /// Not a server that the worker is connected to.
    #[error("server {server} is not connected")]
    UnknownServer {
        /// Its rank.
        server: u32,
    },
    /// The server is down.
    #[error("server {server} is down: {cause}; connect to its successor")]
    ServerDown {
        /// Its rank.
        server: u32,
        /// Why.
        cause: DownCause,
    },
    /// The normal answer where too much is in flight: slots become free as responses arrive.
    #[error("too much is in flight to server {server}: try again when a response has arrived")]
    Full {
        /// Its rank.
        server: u32,
    },
    /// No room until the deadline.
    #[error("too much was in flight to server {server} until the deadline")]
    Timeout {
        /// Its rank.
        server: u32,
    },
    /// A push larger than the declared capacity of its key, or than the buffer that the server gave for it.
    #[error("{given} bytes pushed under key {key}, which has room for {capacity} at server {server}")]
    Capacity {
        /// The server's rank.
        server: u32,
        /// The key.
        key: u64,
        /// Bytes pushed.
        given: u64,
        /// Bytes that fit.
        capacity: u64,
    },
    /// More tensors under one key in one request than may be in flight.
    #[error(
        "{given} tensors under key {key} in one request, {depth} may be in flight: declare more, or use other keys"
    )]
    Depth {
        /// The key.
        key: u64,
        /// Tensors given.
        given: usize,
        /// Pushes that may be in flight.
        depth: u16,
    },
    /// Pull tensors that do not go round.
    #[error("{given} tensors to pull cannot be shared out among {servers} servers: give as many for each")]
    PullCount {
        /// Tensors given.
        given: usize,
        /// Servers addressed.
        servers: usize,
    },
    /// The tensor's memory was registered with another endpoint.
    #[error(
        "the tensor under key {key} is not in this worker's memory: register it with this worker's endpoint"
    )]
    ForeignMemory {
        /// The key.
        key: u64,
    },
    /// No device of the transport reaches the tensor.
    #[error("the tensor under key {key} is not reachable over the transport to server {server}")]
    Unreachable {
        /// The key.
        key: u64,
        /// The server's rank.
        server: u32,
    },
    /// The NIC to the server does not reach the device that has the tensor, and there is no memory of the host in which what
    /// is pulled could land.
    #[error("the tensor under key {key} cannot be pulled into from server {server}: {reason}")]
    NoLanding {
        /// The key.
        key: u64,
        /// The server's rank.
        server: u32,
        /// Why not.
        reason: LandingError,
    },
    /// Rows that the tensor does not have, or too many of them.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The server gave no room for a key.
    #[error("server {server} gave no room for key {key}: {error}")]
    Agreement {
        /// Its rank.
        server: u32,
        /// The key.
        key: u64,
        /// What it said.
        error: RequestError,
    },
    /// A middle or last part, and this thread has begun no batch to the server, or has ended it.
    #[error(
        "no batch to server {server} has been begun by this thread: begin one with its first part, or give a batch that several threads submit a number"
    )]
    NoBatch {
        /// The server's rank.
        server: u32,
    },
    /// As many wait for their events as are held.
    #[error("{held} requests wait for their events, and no more are held: wait for one of them")]
    Events {
        /// How many are held.
        held: usize,
    },
    /// The thread that waits for events did not start, or this worker is closing.
    #[error("nobody can wait for the event: no thread starts, or the worker closes")]
    NoEvents,
    /// The worker was opened without an accelerator, whose streams it could follow.
    #[error("this worker has no accelerator whose streams it could follow: open it with one")]
    NoAccelerator,
    /// The accelerator's stream took nothing.
    #[error("not in the turn of the stream: {0}")]
    Stream(#[from] AcceleratorError),
    /// A message of the route holds less than one tensor's entry.
    #[error("the messages to server {server} are too short for a header: configure longer ones")]
    MessageTooShort {
        /// Its rank.
        server: u32,
    },
}

/// What became of a push-pull that failed, at the first server (in the order of the request) at which it did.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("server {server}: {cause}")]
pub struct Failure {
    /// Rank of the server.
    pub server: u32,
    /// What happened.
    pub cause: FailureCause,
}

/// Why a server's part of a push-pull failed. Nothing writes its pull tensors any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FailureCause {
    /// The server is down, or the route to it.
    #[error("down: {0}")]
    Down(#[from] DownCause),
    /// It gave no data.
    #[error("gave no data: {0:?}")]
    Refused(Refusal),
    /// The pushed data did not get there; the route lives.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The event that it was to wait for failed: nothing was sent.
    #[error("not sent: {0}")]
    Event(#[from] EventError),
    /// The pulled data is here, and no stream copied it to the device, which the NIC does not reach.
    #[error("arrived, and was not copied to the device: {0}")]
    Landing(EventError),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The lane took no more work until the deadline of the submission.
    #[error("the lane was busy until the deadline; nothing was sent")]
    Busy,
}

/// Why a server is down, as its worker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DownCause {
    /// The control connection ended.
    #[error(transparent)]
    Peer(#[from] DownReason),
    /// The route failed.
    #[error(transparent)]
    Route(#[from] RouteFault),
    /// It sent something that does not parse.
    #[error(transparent)]
    Protocol(#[from] WireError),
    /// It answered something else than what was asked.
    #[error("its response does not fit the request")]
    WrongResponse,
    /// It did not answer a cancel.
    #[error("it did not answer a cancel")]
    Unresponsive,
    /// This worker closed.
    #[error("this worker closed")]
    Closed,
}

/// Why waiting ended without the result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WaitError {
    /// The deadline passed; the request goes on, and data may still arrive. Cancel it to be sure that none does.
    #[error("not done by the deadline; the request goes on")]
    Timeout,
    /// The request failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}
