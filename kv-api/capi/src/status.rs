//! Results of the C functions, and which of the engine's errors becomes which. Used by every module.
#![allow(non_camel_case_types)] // names as C programs see them

use std::error::Error;

use kv_api::{engine::EngineError, planner::PlanError};
use pmd_capi::BadCall;
pub(crate) use pmd_capi::chain;
use pmd_host::{
    control::RequestError,
    endpoint::EndpointError,
    transfer::{SubmitError, TransferError, WaitError},
};

/// What a function of this library did. `pmd_kv_last_error()` says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum pmd_kv_status {
    /// Done.
    Ok = 0,
    /// The transfer goes on.
    Pending = 1,
    /// A pointer is NULL that must not be.
    NullPointer = 2,
    /// There is no such object, or no more: it was released, or is of another kind.
    InvalidHandle = 3,
    /// An argument that cannot be: a range beyond its cache, text that is no address or not UTF-8, a size of zero.
    InvalidArgument = 4,
    /// The caller's memory is too small; the length that is needed was written.
    BufferTooSmall = 5,
    /// It did not happen in the time given.
    Timeout = 6,
    /// The peer has nothing of that name.
    NotFound = 7,
    /// The name, or the tag of a stream, is taken in this engine.
    NameTaken = 8,
    /// The two sides differ: caches in shape, or a message is longer than the receive that it met.
    Mismatch = 9,
    /// There is not enough memory, or it cannot be registered.
    Memory = 10,
    /// The machine does not have what was asked for: the transport, the device, the address to listen on.
    Unavailable = 11,
    /// Nobody answers at that address.
    ConnectFailed = 12,
    /// The peer is gone.
    PeerDown = 13,
    /// The transfer failed; a part of its bytes may have moved.
    Failed = 14,
    /// The transfer was cancelled and is quiet; a part of its bytes may have moved.
    Cancelled = 15,
    /// The transfer's deadline passed; it is quiet, and a part of its bytes may have moved.
    DeadlineExceeded = 16,
    /// A defect of this library, caught before it reached the caller.
    Panic = 17,
    /// So much is under way already: wait for some of it.
    Busy = 18,
}

/// A status that is not `Ok`, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: pmd_kv_status,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: pmd_kv_status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(pmd_kv_status::InvalidArgument, text)
    }

    pub(crate) fn of(status: pmd_kv_status, error: &dyn Error) -> Self {
        Self::new(status, chain(error))
    }
}

impl From<BadCall> for Failure {
    fn from(error: BadCall) -> Self {
        let status = match &error {
            BadCall::Null { .. } => pmd_kv_status::NullPointer,
            BadCall::Handle { .. } => pmd_kv_status::InvalidHandle,
            BadCall::NoRoom { .. } => pmd_kv_status::BufferTooSmall,
            BadCall::NotUtf8 { .. } | BadCall::Array { .. } | BadCall::Setting { .. } => {
                pmd_kv_status::InvalidArgument
            }
        };
        Self::of(status, &error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let status = match &error {
            EngineError::Endpoint(error) => of_endpoint(error),
            EngineError::Request(error) => of_request(error),
            EngineError::Allocate(_) | EngineError::Register(_) => pmd_kv_status::Memory,
            EngineError::Plan(PlanError::Mismatch { .. }) => pmd_kv_status::Mismatch,
            EngineError::Layout(_) | EngineError::Plan(_) => pmd_kv_status::InvalidArgument,
            EngineError::Submit(error) => of_submit(error),
            EngineError::NameTaken { .. } | EngineError::TagTaken { .. } => pmd_kv_status::NameTaken,
            EngineError::NoSuchCache { .. } => pmd_kv_status::NotFound,
            EngineError::NotRegistered { .. }
            | EngineError::NotDriven { .. }
            | EngineError::KeptIn { .. } => pmd_kv_status::Unavailable,
            EngineError::Timeout { .. } => pmd_kv_status::Timeout,
            _ => pmd_kv_status::Failed,
        };
        Self::of(status, &error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let status = match error {
            TransferError::Cancelled => pmd_kv_status::Cancelled,
            TransferError::DeadlineExceeded => pmd_kv_status::DeadlineExceeded,
            error if error.is_route_down() => pmd_kv_status::PeerDown,
            _ => pmd_kv_status::Failed,
        };
        Self::of(status, &error)
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Timeout => Self::of(pmd_kv_status::Timeout, &error),
            WaitError::Failed(error) => error.into(),
        }
    }
}

pub(crate) const fn of_endpoint(error: &EndpointError) -> pmd_kv_status {
    match error {
        EndpointError::Connect(_) => pmd_kv_status::ConnectFailed,
        EndpointError::Request(error) => of_request(error),
        EndpointError::Malformed { .. } | EndpointError::AlreadyOpen => pmd_kv_status::Failed,
        _ => pmd_kv_status::Unavailable,
    }
}

const fn of_request(error: &RequestError) -> pmd_kv_status {
    match error {
        RequestError::Down(_) => pmd_kv_status::PeerDown,
        RequestError::Timeout { .. } => pmd_kv_status::Timeout,
        _ => pmd_kv_status::Failed,
    }
}

const fn of_submit(error: &SubmitError) -> pmd_kv_status {
    match error {
        SubmitError::RouteFailed(_) | SubmitError::NotConnected => pmd_kv_status::PeerDown,
        SubmitError::NotificationTooLong { .. } => pmd_kv_status::InvalidArgument,
        SubmitError::Full(_) => pmd_kv_status::DeadlineExceeded,
        _ => pmd_kv_status::Failed,
    }
}
