//! Errors of the driver as Python exceptions: classes of `pmd_af.errors`, with the values that explain them as
//! attributes.

use af_api::{
    environment::{ACCELERATORS_VARIABLE, EnvironmentError},
    gate::GateError,
    graph::CaptureError,
    rendezvous::{BarrierError, MemberId, SchedulerError, StartError},
    server::{BatchError, DeferredError, OfferError, RespondError},
    simple::{AppError, KvError},
    tensor::{CopyError, MemoryError, TensorError},
    worker::{ConnectError, Failure, FailureCause, PushPullError, TraceError},
};
use pmd_core::accelerator::AcceleratorError;
use pmd_host::control::RequestError;
use pmd_python::raising::{Exceptions, kind};
use pyo3::prelude::*;

/// Where the classes are.
const EXCEPTIONS: Exceptions = Exceptions("pmd_af.errors");

/// An error whose kind says it all.
pub(crate) fn plain(py: Python<'_>, class: &str, error: &impl std::error::Error) -> PyErr {
    EXCEPTIONS.plain(py, class, error)
}

/// Nothing happened in time.
pub(crate) fn timeout(py: Python<'_>, what: &str, seconds: Option<f64>) -> PyErr {
    EXCEPTIONS.timeout(py, what, seconds)
}

/// The object was closed before.
pub(crate) fn closed(py: Python<'_>, what: &str) -> PyErr {
    EXCEPTIONS.closed(py, what)
}

/// An option that cannot be.
pub(crate) fn option(py: Python<'_>, name: &str, message: String) -> PyErr {
    EXCEPTIONS.raise(py, "ConfigurationError", "Option", message, &|fields| fields.set_item("variable", name))
}

/// The environment gives no configuration.
pub(crate) fn environment(py: Python<'_>, error: &EnvironmentError) -> PyErr {
    let variable = match error {
        EnvironmentError::Accelerator { .. } => Some(ACCELERATORS_VARIABLE),
        EnvironmentError::Value(value) => Some(value.variable),
        EnvironmentError::Missing { variable, .. } => Some(*variable),
        _ => None,
    };
    let message = error.to_string();
    EXCEPTIONS.raise(py, "ConfigurationError", &kind(error), message, &|fields| {
        fields.set_item("variable", variable)
    })
}

/// A scheduler did not start.
pub(crate) fn scheduler(py: Python<'_>, error: &SchedulerError) -> PyErr {
    let class = if matches!(error, SchedulerError::Config(_)) { "ConfigurationError" } else { "StartError" };
    plain(py, class, error)
}

/// A node did not start, or not everybody came.
pub(crate) fn start(py: Python<'_>, error: &StartError) -> PyErr {
    match error {
        StartError::Missing { missing, .. } => {
            EXCEPTIONS.raise(py, "Incomplete", "Missing", error.to_string(), &|fields| {
                fields.set_item("missing", names(missing))
            })
        }
        StartError::Config(_) => plain(py, "ConfigurationError", error),
        StartError::SchedulerLost { .. } => plain(py, "SchedulerLost", error),
        _ => plain(py, "StartError", error),
    }
}

/// A barrier did not release everybody.
pub(crate) fn barrier(py: Python<'_>, error: &BarrierError) -> PyErr {
    let (kind, message) = (kind(error), error.to_string());
    match error {
        BarrierError::Missing { name, missing, .. } => {
            EXCEPTIONS.raise(py, "BarrierTimeout", &kind, message, &|fields| {
                fields.set_item("name", name)?;
                fields.set_item("missing", names(missing))
            })
        }
        BarrierError::Failed { name, .. } => {
            EXCEPTIONS.raise(py, "BarrierFailed", &kind, message, &|fields| fields.set_item("name", name))
        }
        _ => plain(py, "SchedulerLost", error),
    }
}

/// A server was not connected.
pub(crate) fn connect(py: Python<'_>, server: u32, error: &ConnectError) -> PyErr {
    let message = format!("server {server}: {error}");
    EXCEPTIONS.raise(py, "EndpointError", &kind(error), message, &|fields| fields.set_item("server", server))
}

/// Memory was not allocated or registered.
pub(crate) fn memory(py: Python<'_>, error: &MemoryError) -> PyErr {
    plain(py, "MemoryFailed", error)
}

/// A tensor that cannot be.
pub(crate) fn tensor(py: Python<'_>, error: &TensorError) -> PyErr {
    plain(py, "TensorError", error)
}

/// Bytes were not copied to or from a device.
pub(crate) fn copy(py: Python<'_>, error: &CopyError) -> PyErr {
    let class = match error {
        CopyError::Tensor(_) => "TensorError",
        CopyError::Timeout => "WaitTimeout",
        _ => "MemoryFailed",
    };
    plain(py, class, error)
}

/// A push-pull was not taken.
pub(crate) fn push_pull(py: Python<'_>, error: &PushPullError) -> PyErr {
    let class = match error {
        PushPullError::ServerDown { .. } => "PeerDown",
        PushPullError::Full { .. } => "Full",
        PushPullError::Timeout { .. } => "WaitTimeout",
        PushPullError::Capacity { .. } => "CapacityError",
        PushPullError::Tensor(_) => "TensorError",
        PushPullError::Stream(_) => "StreamError",
        _ => "PushPullError",
    };
    EXCEPTIONS.raise(py, class, &kind(error), error.to_string(), &|fields| match error {
        PushPullError::UnknownServer { server }
        | PushPullError::Full { server }
        | PushPullError::Timeout { server }
        | PushPullError::NoBatch { server }
        | PushPullError::MessageTooShort { server } => fields.set_item("server", server),
        PushPullError::ServerDown { server, cause } => {
            fields.set_item("server", server)?;
            fields.set_item("reason", cause.to_string())
        }
        PushPullError::Capacity { server, key, given, capacity } => {
            fields.set_item("server", server)?;
            fields.set_item("key", key)?;
            fields.set_item("given", given)?;
            fields.set_item("capacity", capacity)
        }
        PushPullError::Depth { key, .. } | PushPullError::ForeignMemory { key } => {
            fields.set_item("key", key)
        }
        PushPullError::Unreachable { server, key }
        | PushPullError::NoLanding { server, key, .. }
        | PushPullError::Agreement { server, key, .. } => {
            fields.set_item("server", server)?;
            fields.set_item("key", key)
        }
        _ => Ok(()),
    })
}

/// What a push-pull failed with.
pub(crate) fn failure(py: Python<'_>, failure: &Failure) -> PyErr {
    let class = match failure.cause {
        FailureCause::Down(_) => "PeerDown",
        FailureCause::Refused(_) => "Refused",
        FailureCause::Cancelled => "Cancelled",
        FailureCause::Busy => "Full",
        FailureCause::Event(_) | FailureCause::Landing(_) => "StreamError",
        _ => "TransferFailed",
    };
    EXCEPTIONS.raise(py, class, &kind(&failure.cause), failure.to_string(), &|fields| {
        fields.set_item("server", failure.server)?;
        if let FailureCause::Down(cause) = &failure.cause {
            fields.set_item("reason", cause.to_string())?;
        }
        Ok(())
    })
}

/// What a stream was given failed, or it takes nothing more.
pub(crate) fn stream(py: Python<'_>, error: &AcceleratorError) -> PyErr {
    plain(py, "StreamError", error)
}

/// A response was not held back for its event; the request is refused.
pub(crate) fn gate(py: Python<'_>, error: &GateError) -> PyErr {
    plain(py, if matches!(error, GateError::Full { .. }) { "Full" } else { "StreamError" }, error)
}

/// A response was not sent behind what a stream was given; the request is refused.
pub(crate) fn deferred(py: Python<'_>, error: &DeferredError) -> PyErr {
    match error {
        DeferredError::Gate(error) => gate(py, error),
        DeferredError::Stream(error) => stream(py, error),
        _ => plain(py, "StreamError", error),
    }
}

/// A push-pull or a service was not captured.
pub(crate) fn capture(py: Python<'_>, error: &CaptureError) -> PyErr {
    match error {
        CaptureError::PushPull(error) => push_pull(py, error),
        CaptureError::Accelerator(error) => stream(py, error),
        _ => plain(py, "PushPullError", error),
    }
}

/// Key-values were not pushed or pulled.
pub(crate) fn key_values(py: Python<'_>, error: &KvError) -> PyErr {
    match error {
        KvError::Post(error) => push_pull(py, error),
        KvError::Failed(error) => failure(py, error),
        KvError::Track(error) => plain(py, "UnknownHandle", error),
        _ => plain(py, "PushPullError", error),
    }
}

/// An application's request was not sent, or not answered.
pub(crate) fn app(py: Python<'_>, error: &AppError) -> PyErr {
    let class = match error {
        AppError::Down(_) | AppError::Nobody => "PeerDown",
        AppError::Busy { .. } => "Full",
        AppError::Track(_) => "UnknownHandle",
        _ => "PushPullError",
    };
    plain(py, class, error)
}

/// A server did not tell its stamps.
pub(crate) fn trace(py: Python<'_>, error: &TraceError) -> PyErr {
    let server = match error {
        TraceError::Request { server, .. } | TraceError::Message { server, .. } => Some(*server),
        _ => None,
    };
    let class = match error {
        TraceError::Request { error: RequestError::Down(_), .. } => "PeerDown",
        TraceError::Request { error: RequestError::Timeout { .. }, .. } => "WaitTimeout",
        _ => "Error",
    };
    EXCEPTIONS.raise(py, class, &kind(error), error.to_string(), &|fields| fields.set_item("server", server))
}

/// There is no batch.
pub(crate) fn batch(py: Python<'_>, error: &BatchError) -> PyErr {
    match error {
        BatchError::WorkerDown { worker, reason } => {
            EXCEPTIONS.raise(py, "PeerDown", "WorkerDown", error.to_string(), &|fields| {
                fields.set_item("worker", worker.rank)?;
                fields.set_item("reason", reason.to_string())
            })
        }
        BatchError::Timeout { .. } => plain(py, "WaitTimeout", error),
        _ => plain(py, "Closed", error),
    }
}

/// A response was not taken.
pub(crate) fn respond(py: Python<'_>, worker: u32, error: &RespondError) -> PyErr {
    let class = match error {
        RespondError::Count { .. } | RespondError::Size { .. } | RespondError::ForeignMemory { .. } => {
            "ResponseError"
        }
        RespondError::Cancelled => "Cancelled",
        RespondError::WorkerDown { .. } => "PeerDown",
        _ => "TransferFailed",
    };
    EXCEPTIONS.raise(py, class, &kind(error), error.to_string(), &|fields| fields.set_item("worker", worker))
}

/// A receive buffer was not taken, or not given back.
pub(crate) fn offer(py: Python<'_>, error: &OfferError) -> PyErr {
    let class = if matches!(error, OfferError::Timeout { .. }) { "WaitTimeout" } else { "TensorError" };
    plain(py, class, error)
}

/// A request was answered before.
pub(crate) fn answered(py: Python<'_>, worker: u32) -> PyErr {
    let message = format!("the request of worker {worker} was answered before");
    EXCEPTIONS.raise(py, "ResponseError", "Answered", message, &|fields| fields.set_item("worker", worker))
}

fn names(members: &[MemberId]) -> Vec<String> {
    members.iter().map(ToString::to_string).collect()
}
