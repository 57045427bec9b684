//! Results of the C functions, and which of the crate's errors becomes which. Used by every module.
#![allow(non_camel_case_types)] // names as C programs see them

use std::error::Error;

use af_api::rendezvous::{BarrierError, LeaveError, SchedulerError, StartError, WaitError};
use pmd_capi::{BadCall, chain};

/// What a function of this library did. `pmd_af_last_error()` says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum pmd_af_status {
    /// Done.
    Ok = 0,
    /// It goes on.
    Pending = 1,
    /// A pointer is NULL that must not be.
    NullPointer = 2,
    /// There is no such object, or no more: it was released, or is of another kind.
    InvalidHandle = 3,
    /// An argument that cannot be: a tensor with gaps, a shape that does not fit, a setting that there is not.
    InvalidArgument = 4,
    /// The caller's memory is too small; how much is needed was written.
    BufferTooSmall = 5,
    /// It did not happen in the time given.
    Timeout = 6,
    /// There is nothing of that name or number.
    NotFound = 7,
    /// The two sides differ: a response of another size or another number of tensors than was asked for.
    Mismatch = 8,
    /// A push is larger than the room that was declared for its key.
    Capacity = 9,
    /// There is not enough memory, or it cannot be registered.
    Memory = 10,
    /// The machine does not have what was asked for: the transport, the device, the address to listen on.
    Unavailable = 11,
    /// Nobody answers at that address.
    ConnectFailed = 12,
    /// The peer, or the scheduler, is gone.
    PeerDown = 13,
    /// Not everybody has come; the last error names who is missing.
    Missing = 14,
    /// It failed; the last error says how.
    Failed = 15,
    /// It was cancelled, and is quiet.
    Cancelled = 16,
    /// The other side refused it.
    Refused = 17,
    /// So much is under way already: wait for some of it.
    Busy = 18,
    /// A defect of this library, caught before it reached the caller.
    Panic = 19,
}

/// A status that is not `Ok`, and its text.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) status: pmd_af_status,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(status: pmd_af_status, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(pmd_af_status::InvalidArgument, text)
    }

    pub(crate) fn of(status: pmd_af_status, error: &dyn Error) -> Self {
        Self::new(status, chain(error))
    }
}

impl From<BadCall> for Failure {
    fn from(error: BadCall) -> Self {
        let status = match &error {
            BadCall::Null { .. } => pmd_af_status::NullPointer,
            BadCall::Handle { .. } => pmd_af_status::InvalidHandle,
            BadCall::NoRoom { .. } => pmd_af_status::BufferTooSmall,
            BadCall::NotUtf8 { .. } | BadCall::Array { .. } | BadCall::Setting { .. } => {
                pmd_af_status::InvalidArgument
            }
        };
        Self::of(status, &error)
    }
}

/// Implements `From` with a status for each error.
macro_rules! statuses {
    ($($error:ty => $status:ident;)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of($status(&error), &error)
            }
        })*
    };
}
pub(crate) use statuses;

statuses! {
    StartError => of_start;
    SchedulerError => of_scheduler;
    BarrierError => of_barrier;
    WaitError => of_wait;
    LeaveError => of_leave;
}

const fn of_start(error: &StartError) -> pmd_af_status {
    match error {
        StartError::Config(_) => pmd_af_status::InvalidArgument,
        StartError::Control(_) | StartError::Identity(_) => pmd_af_status::Unavailable,
        StartError::Unreachable { .. } | StartError::NoAnswer { .. } => pmd_af_status::ConnectFailed,
        StartError::Refused(_)
        | StartError::Version { .. }
        | StartError::Key { .. }
        | StartError::KeepAlive { .. } => pmd_af_status::Refused,
        StartError::SchedulerLost { .. } => pmd_af_status::PeerDown,
        StartError::Missing { .. } => pmd_af_status::Missing,
        _ => pmd_af_status::Failed,
    }
}

const fn of_scheduler(error: &SchedulerError) -> pmd_af_status {
    match error {
        SchedulerError::Config(_) => pmd_af_status::InvalidArgument,
        SchedulerError::Control(_) | SchedulerError::Identity(_) => pmd_af_status::Unavailable,
        _ => pmd_af_status::Failed,
    }
}

const fn of_barrier(error: &BarrierError) -> pmd_af_status {
    match error {
        BarrierError::Missing { .. } => pmd_af_status::Missing,
        BarrierError::SchedulerLost { .. } | BarrierError::Untold { .. } => pmd_af_status::PeerDown,
        BarrierError::Failed { failure, .. } => match failure {
            af_api::rendezvous::BarrierFailure::Down(_) => pmd_af_status::PeerDown,
            _ => pmd_af_status::InvalidArgument,
        },
        _ => pmd_af_status::Failed,
    }
}

const fn of_wait(error: &WaitError) -> pmd_af_status {
    match error {
        WaitError::Missing { .. } => pmd_af_status::Missing,
        WaitError::SchedulerLost { .. } => pmd_af_status::PeerDown,
        _ => pmd_af_status::Failed,
    }
}

const fn of_leave(error: &LeaveError) -> pmd_af_status {
    match error {
        LeaveError::SchedulerLost(_) => pmd_af_status::PeerDown,
        LeaveError::Timeout { .. } => pmd_af_status::Timeout,
        _ => pmd_af_status::Failed,
    }
}
