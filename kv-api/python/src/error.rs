//! Errors of the driver as Python exceptions: classes of `pmd_kv.errors`, with the values that explain them as
//! attributes.

use kv_api::{
    engine::{EngineError, LayerError, StreamError},
    environment::{ACCELERATORS_VARIABLE, EnvironmentError},
    fabric::FabricError,
    planner::BlockSet,
};
use pmd_core::accelerator::AcceleratorError;
use pmd_host::{
    control::RequestError,
    endpoint::EndpointError,
    transfer::{SubmitError, TransferError},
};
use pmd_python::raising::{Exceptions, Fields, kind};
use pyo3::prelude::*;

use crate::{blocks::ranges, peer::Peer};

/// Where the classes are.
const EXCEPTIONS: Exceptions = Exceptions("pmd_kv.errors");

/// An exception of a class of `pmd_kv.errors`. What fails on the way there becomes the exception.
pub(crate) fn raise<'py>(
    py: Python<'py>,
    class: &str,
    kind: &str,
    message: String,
    fields: Fields<'_, 'py>,
) -> PyErr {
    EXCEPTIONS.raise(py, class, kind, message, fields)
}

/// As [`raise`], for an error whose kind says it all.
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

/// What became of a transfer, and of which blocks that is.
pub(crate) fn transfer(py: Python<'_>, error: TransferError, blocks: Option<&BlockSet>) -> PyErr {
    let class = match error {
        TransferError::Cancelled => "TransferCancelled",
        TransferError::DeadlineExceeded => "DeadlineExceeded",
        error if error.is_route_down() => "PeerDown",
        _ => "TransferFailed",
    };
    let (kind, message) = (kind(&error), error.to_string());
    raise(py, class, &kind, message, &|fields| {
        if let Some(blocks) = blocks {
            fields.set_item("blocks", ranges(py, blocks)?)?;
        }
        match error {
            error if error.is_route_down() => Ok(()),
            TransferError::Failed { syndrome, vendor, entry, remote } => {
                fields.set_item("syndrome", syndrome.to_string())?;
                fields.set_item("vendor", vendor)?;
                fields.set_item("entry", entry)?;
                fields.set_item("remote_address", remote.address)
            }
            TransferError::NotificationFailed { syndrome, vendor } => {
                fields.set_item("syndrome", syndrome.to_string())?;
                fields.set_item("vendor", vendor)
            }
            TransferError::Refused { entry, .. } => fields.set_item("entry", entry),
            _ => Ok(()),
        }
    })
}

/// What became of a stream's layer at the sending side.
pub(crate) fn stream(py: Python<'_>, error: &StreamError) -> PyErr {
    let of = |class, layer: &u32| {
        raise(py, class, &kind(error), error.to_string(), &|fields| fields.set_item("layer", layer))
    };
    match error {
        StreamError::NoSuchLayer { layer, .. } | StreamError::AlreadyReleased { layer } => {
            of("LayerError", layer)
        }
        StreamError::Ended { layer } | StreamError::Post { layer, .. } => of("LayerNotSent", layer),
        StreamError::Failed { layer, error } => {
            let raised = transfer(py, *error, None);
            // What fails on the way there is told instead.
            raised.value(py).setattr("layer", layer).err().unwrap_or(raised)
        }
        error => plain(py, "Error", error),
    }
}

/// Why a layer will not land at the receiving side.
pub(crate) fn layer(py: Python<'_>, error: &LayerError) -> PyErr {
    match error {
        LayerError::Lost { layer, peer, reason, blocks } => {
            raise(py, "LayerLost", &kind(reason), error.to_string(), &|fields| {
                fields.set_item("layer", layer)?;
                fields.set_item("peer", Bound::new(py, Peer::new(peer.clone()))?)?;
                fields.set_item("reason", reason.to_string())?;
                fields.set_item("blocks", ranges(py, blocks)?)
            })
        }
        LayerError::SenderDown { layer, peer, reason } => {
            raise(py, "PeerDown", "SenderDown", error.to_string(), &|fields| {
                fields.set_item("layer", layer)?;
                fields.set_item("peer", Bound::new(py, Peer::new(peer.clone()))?)?;
                fields.set_item("reason", reason.to_string())
            })
        }
        error => plain(py, "Error", error),
    }
}

/// What an engine was asked in vain.
pub(crate) fn engine(py: Python<'_>, error: EngineError) -> PyErr {
    match error {
        EngineError::Endpoint(error) => endpoint(py, &error),
        EngineError::Request(error) => request(py, &error),
        EngineError::Submit(error) => submit(py, &error),
        EngineError::Allocate(error) => plain(py, "AllocateError", &error),
        EngineError::Register(error) => plain(py, "RegisterError", &error),
        EngineError::Layout(error) => plain(py, "LayoutError", &error),
        EngineError::Plan(error) => plain(py, "PlanError", &error),
        EngineError::NameTaken { name } => {
            named(py, "NameTaken", &EngineError::NameTaken { name: name.clone() }, &name)
        }
        EngineError::NoSuchCache { name } => {
            named(py, "NoSuchCache", &EngineError::NoSuchCache { name: name.clone() }, &name)
        }
        EngineError::TagTaken { tag } => {
            raise(py, "TagTaken", "TagTaken", error.to_string(), &|fields| fields.set_item("tag", tag))
        }
        error @ (EngineError::NotDriven { .. } | EngineError::KeptIn { .. }) => {
            plain(py, "DeviceError", &error)
        }
        other => plain(py, "Error", &other),
    }
}

fn named(py: Python<'_>, class: &str, error: &EngineError, name: &str) -> PyErr {
    raise(py, class, class, error.to_string(), &|fields| fields.set_item("name", name))
}

/// What a fabric was asked in vain.
pub(crate) fn fabric(py: Python<'_>, error: FabricError) -> PyErr {
    match error {
        FabricError::Endpoint(error) => endpoint(py, &error),
        FabricError::Request(error) => request(py, &error),
        FabricError::Submit(error) => submit(py, &error),
        FabricError::Allocate(error) => plain(py, "AllocateError", &error),
        FabricError::Register(error) | FabricError::Unreachable(error) => plain(py, "RegisterError", &error),
        FabricError::Accelerator(error) => accelerator(py, error),
        FabricError::NoDevice { .. } => plain(py, "DeviceError", &error),
        FabricError::Local { index, address, length } | FabricError::Remote { index, address, length } => {
            let (kind, message) = (kind(&error), error.to_string());
            raise(py, "DescriptorError", &kind, message, &|fields| {
                fields.set_item("index", index)?;
                fields.set_item("address", address)?;
                fields.set_item("length", length)
            })
        }
        other => plain(py, "Error", &other),
    }
}

/// An accelerator did not do what it was asked.
pub(crate) fn accelerator(py: Python<'_>, error: AcceleratorError) -> PyErr {
    let class = match error {
        AcceleratorError::OutOfMemory { .. } => "AllocateError",
        _ => "DeviceError",
    };
    plain(py, class, &error)
}

/// A device, a listener or a connection.
pub(crate) fn endpoint(py: Python<'_>, error: &EndpointError) -> PyErr {
    plain(py, "EndpointError", error)
}

/// A peer did not answer as wished.
pub(crate) fn request(py: Python<'_>, error: &RequestError) -> PyErr {
    match error {
        RequestError::Down(reason) => {
            let reason = reason.to_string();
            raise(py, "PeerDown", "Down", error.to_string(), &|fields| fields.set_item("reason", &reason))
        }
        RequestError::Timeout { patience } => timeout(py, "the peer's answer", Some(patience.as_secs_f64())),
        RequestError::Refused(refusal) => {
            raise(py, "RequestRefused", "Refused", refusal.detail.clone(), &|fields| {
                fields.set_item("code", refusal.code)
            })
        }
        other => plain(py, "Error", other),
    }
}

/// A lane did not take a transfer.
fn submit(py: Python<'_>, error: &SubmitError) -> PyErr {
    plain(py, "SubmitError", error)
}

/// A setting of the environment.
pub(crate) fn environment(py: Python<'_>, error: &EnvironmentError) -> PyErr {
    let (kind, variable, value) = match error {
        EnvironmentError::Variable(error) => ("Environment", error.variable, error.value.as_str()),
        EnvironmentError::Accelerator { name, .. } => ("Accelerator", ACCELERATORS_VARIABLE, name.as_str()),
        _ => ("Environment", "", ""),
    };
    raise(py, "ConfigurationError", kind, error.to_string(), &|fields| {
        fields.set_item("variable", variable)?;
        fields.set_item("value", value)
    })
}
