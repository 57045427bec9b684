//! Why the KVTrans engine could not do what it was asked: one enum for each operation.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use pmd_host::{
    control::DownReason,
    interface::InterfaceError,
    transfer::{RouteFault, TransferError},
};
use thiserror::Error;

use super::{ConnectionId, KvId, MemoryId};
use crate::fabric::FabricError;

/// Why an engine was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The interface to listen on.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// So many lanes and queue pairs there cannot be.
    #[error(
        "{ncpus} lanes of {nconn_per_cpu} queue pairs: take 1 to {most_lanes} lanes and {most_queue_pairs} queue pairs in all"
    )]
    Lanes {
        /// Lanes asked for.
        ncpus: u32,
        /// Queue pairs of each.
        nconn_per_cpu: u32,
        /// Most lanes.
        most_lanes: usize,
        /// Most queue pairs.
        most_queue_pairs: usize,
    },
    /// Pieces of fewer bytes than a page, or of more than a work request can have.
    #[error("chunks of {bytes} bytes: take {least} to {most}")]
    ChunkBytes {
        /// Bytes asked for.
        bytes: u32,
        /// Fewest.
        least: u32,
        /// Most.
        most: u32,
    },
    /// The connection's messages need more room.
    #[error("messages of {given} bytes: the endpoint needs at least {least}")]
    MessageBytes {
        /// Bytes configured.
        given: usize,
        /// Fewest.
        least: usize,
    },
    /// Devices, or the address to listen on.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// The engine's thread could not be started.
    #[error("cannot start the engine's thread")]
    Thread(#[source] io::Error),
}

/// Why a peer was not connected to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It cannot be reached, or shares no transport.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// Something else of this driver listens there.
    #[error("{address} is not a KVTrans engine: {detail}")]
    NotKvTrans {
        /// Address asked for.
        address: SocketAddr,
        /// What it answered.
        detail: String,
    },
    /// The peer speaks another version.
    #[error("{address} speaks version {theirs} of the protocol, this engine {ours}: run the same release")]
    Version {
        /// Address asked for.
        address: SocketAddr,
        /// This engine's version.
        ours: u16,
        /// The peer's.
        theirs: u16,
    },
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed,
}

/// Why no connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Nobody connected in time.
    #[error("nobody connected within {0:?}")]
    Timeout(Duration),
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed,
}

/// Why memory was not registered, or not released.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No connection has this number.
    #[error("no connection has number {}: connect or accept first", .0.0)]
    UnknownConnection(ConnectionId),
    /// No registration has this number.
    #[error("no registration has number {0}: it never had, or was released")]
    Unknown(u64),
    /// The memory cannot be registered.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// The engine is closed.
    #[error("the engine is closed")]
    Closed,
}

/// Why a send or receive was not begun. Nothing was said to the peer.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PostError {
    /// No `reg_kv` gave this number.
    #[error("no kv has number {}: register it with reg_kv", .0.0)]
    UnknownKv(KvId),
    /// No `reg_memory` gave this number.
    #[error("no memory has number {}: register it with reg_memory", .0.0)]
    UnknownMemory(MemoryId),
    /// No connection has this number.
    #[error("no connection has number {}: connect or accept first", .0.0)]
    UnknownConnection(ConnectionId),
    /// Memory that is not part of the registration could not be registered for the operation.
    #[error(transparent)]
    Register(Arc<FabricError>),
    /// The memory cannot be reached over the connection's transport.
    #[error("the memory was not registered for the transport of this connection")]
    Unreachable,
    /// So many operations are under way already.
    #[error("{limit} operations are under way on this connection: wait for some")]
    TooManyInFlight {
        /// Most at one time, sends and receives apart.
        limit: usize,
    },
    /// The connection is down.
    #[error(transparent)]
    Connection(#[from] ConnectionFault),
}

/// What took a connection down. Connect again to go on; other connections are not affected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectionFault {
    /// The peer is gone.
    #[error("the peer is down: {0}")]
    PeerDown(DownReason),
    /// The queue pairs to the peer failed.
    #[error("the connection failed: {0}")]
    Route(RouteFault),
    /// The peer sent what no peer sends.
    #[error("the peer does not keep to the protocol: do both sides run the same release?")]
    Protocol,
    /// The peer lives but did not answer a withdrawn receive.
    #[error("the peer did not answer a withdrawn receive in time")]
    Unresponsive,
    /// This side closed the connection.
    #[error("the connection was closed by this side")]
    Closed,
}

/// What became of a send that failed. It is quiet: nothing reads the caller's memory any more.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// It was not begun.
    #[error(transparent)]
    Post(#[from] PostError),
    /// Its deadline passed. `met` says whether a receive had met it; that one fails too.
    #[error("not done by its deadline; {}", if *met { "a part of it was written" } else { "the peer has not received in time" })]
    Timeout {
        /// Whether writing had begun.
        met: bool,
    },
    /// The receive that it met is smaller. That one fails too, and the connection goes on.
    #[error("a message of {length} bytes met a receive of {room}: nothing was written")]
    TooLong {
        /// Bytes of the message.
        length: u64,
        /// Bytes that the receive has room for.
        room: u64,
    },
    /// The receiver gave its receive up while it was being written.
    #[error("the receiver withdrew its receive while it was being written")]
    Withdrawn,
    /// It was cancelled. A receive that it had met fails too.
    #[error("cancelled")]
    Cancelled,
    /// The device failed it.
    #[error(transparent)]
    Transfer(TransferError),
    /// The connection went down.
    #[error(transparent)]
    Connection(ConnectionFault),
}

/// What became of a receive that failed. It is quiet: nothing writes the caller's memory any more. A part of a message
/// may have been written.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It was not begun.
    #[error(transparent)]
    Post(#[from] PostError),
    /// Its deadline passed. A send that had begun to write it fails too; one that had not meets the next receive.
    #[error("nothing was received by the deadline")]
    Timeout,
    /// The message is longer than there is room. The send fails too, and the connection goes on.
    #[error("a message of {length} bytes met a receive of {room}: nothing was written")]
    TooLong {
        /// Bytes of the message.
        length: u64,
        /// Bytes that the receive has room for.
        room: u64,
    },
    /// The sender stopped while it wrote.
    #[error("the sender stopped while it wrote: {0}")]
    SenderStopped(SenderStop),
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The connection went down.
    #[error(transparent)]
    Connection(ConnectionFault),
}

/// Why a sender stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SenderStop {
    /// Its deadline passed.
    #[error("its deadline passed")]
    TimedOut,
    /// It was cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// Its device refused a work request.
    #[error("its device refused a work request")]
    Refused,
}
