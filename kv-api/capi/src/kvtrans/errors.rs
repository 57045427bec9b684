//! Which of KVTrans' errors becomes which status.

use kv_api::{
    fabric::{DeviceFault, FabricError},
    kvtrans::{
        AcceptError, ConnectError, ConnectionFault, OpenError, PostError, ReceiveError, RegisterError,
        SendError,
    },
};

use crate::status::{Failure, chain, of_endpoint, pmd_kv_status};

/// Implements `From` with a status for each error.
macro_rules! statuses {
    ($($error:ty => $status:ident;)*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new($status(&error), chain(&error))
            }
        })*
    };
}

statuses! {
    OpenError => of_open;
    ConnectError => of_connect;
    AcceptError => of_accept;
    RegisterError => of_register;
    PostError => of_post;
    SendError => of_send;
    ReceiveError => of_receive;
}

const fn of_open(error: &OpenError) -> pmd_kv_status {
    match error {
        OpenError::Lanes { .. } | OpenError::ChunkBytes { .. } | OpenError::MessageBytes { .. } => {
            pmd_kv_status::InvalidArgument
        }
        OpenError::Interface(_) => pmd_kv_status::Unavailable,
        OpenError::Fabric(error) => of_fabric(error),
        _ => pmd_kv_status::Failed,
    }
}

const fn of_connect(error: &ConnectError) -> pmd_kv_status {
    match error {
        ConnectError::Fabric(error) => of_fabric(error),
        ConnectError::Closed => pmd_kv_status::InvalidHandle,
        _ => pmd_kv_status::ConnectFailed,
    }
}

const fn of_accept(error: &AcceptError) -> pmd_kv_status {
    match error {
        AcceptError::Timeout(_) => pmd_kv_status::Timeout,
        _ => pmd_kv_status::InvalidHandle,
    }
}

const fn of_register(error: &RegisterError) -> pmd_kv_status {
    match error {
        RegisterError::UnknownConnection(_) | RegisterError::Unknown(_) | RegisterError::Closed => {
            pmd_kv_status::InvalidHandle
        }
        RegisterError::Fabric(error) => of_fabric(error),
        _ => pmd_kv_status::Failed,
    }
}

fn of_post(error: &PostError) -> pmd_kv_status {
    match error {
        PostError::UnknownKv(_) | PostError::UnknownMemory(_) | PostError::UnknownConnection(_) => {
            pmd_kv_status::InvalidHandle
        }
        PostError::Register(error) => of_fabric(error),
        PostError::Unreachable => pmd_kv_status::Unavailable,
        PostError::TooManyInFlight { .. } => pmd_kv_status::Busy,
        PostError::Connection(fault) => of_fault(fault),
        _ => pmd_kv_status::Failed,
    }
}

fn of_send(error: &SendError) -> pmd_kv_status {
    match error {
        SendError::Post(error) => of_post(error),
        SendError::Timeout { .. } => pmd_kv_status::DeadlineExceeded,
        SendError::TooLong { .. } => pmd_kv_status::Mismatch,
        SendError::Cancelled => pmd_kv_status::Cancelled,
        SendError::Connection(fault) => of_fault(fault),
        _ => pmd_kv_status::Failed,
    }
}

fn of_receive(error: &ReceiveError) -> pmd_kv_status {
    match error {
        ReceiveError::Post(error) => of_post(error),
        ReceiveError::Timeout => pmd_kv_status::DeadlineExceeded,
        ReceiveError::TooLong { .. } => pmd_kv_status::Mismatch,
        ReceiveError::Cancelled => pmd_kv_status::Cancelled,
        ReceiveError::Connection(fault) => of_fault(fault),
        _ => pmd_kv_status::Failed,
    }
}

const fn of_fault(fault: &ConnectionFault) -> pmd_kv_status {
    match fault {
        ConnectionFault::Protocol => pmd_kv_status::Failed,
        _ => pmd_kv_status::PeerDown,
    }
}

const fn of_fabric(error: &FabricError) -> pmd_kv_status {
    match error.device_fault() {
        Some(DeviceFault::Argument) => return pmd_kv_status::InvalidArgument,
        Some(DeviceFault::NoSpace) => return pmd_kv_status::Memory,
        Some(DeviceFault::Unsupported) => return pmd_kv_status::Unavailable,
        Some(DeviceFault::Failed) | None => {}
    }
    match error {
        FabricError::Endpoint(error) => of_endpoint(error),
        FabricError::Allocate(_) | FabricError::Register(_) => pmd_kv_status::Memory,
        _ => pmd_kv_status::Failed,
    }
}
