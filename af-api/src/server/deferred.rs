//! Responses that wait for the kernels that compute them.

use std::{sync::Arc, time::Instant};

use pmd_core::accelerator::{AcceleratorError, Event, Stream};
use thiserror::Error;

use super::{Request, RespondError, Response, Server};
use crate::{
    gate::{EventError, GateError, Pending},
    tensor::Tensor,
};

/// Why a response that waited for an event was not sent. The worker has been told, or is gone.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeferredError {
    /// The event failed: the response was not computed.
    #[error("not sent: {0}")]
    Event(#[from] EventError),
    /// The stream took no event behind which the response would be.
    #[error("not sent, the stream takes nothing: {0}")]
    Stream(#[from] AcceleratorError),
    /// As many responses wait as are held, or the server closes.
    #[error("not sent: {0}")]
    Gate(#[from] GateError),
    /// It could not be sent when the event was done.
    #[error(transparent)]
    Respond(#[from] RespondError),
}

impl Server {
    /// Responds once an event is done, from the server's thread for events; does not wait. `told` is called there with what
    /// came of it. If the event fails, or is not done by `deadline`, the request is refused as one that was dropped. A worker
    /// can cancel meanwhile.
    ///
    /// # Errors
    /// [`GateError`]: as many responses wait as are held, or the server closes; the request is refused.
    pub fn respond_after(
        &self,
        event: &Arc<dyn Event>,
        (request, tensors): (Request, Vec<Tensor>),
        deadline: Option<Instant>,
        told: impl FnOnce(Result<Response, DeferredError>) + Send + 'static,
    ) -> Result<(), GateError> {
        let action = move |outcome: Result<(), EventError>| match outcome {
            Ok(()) => told(request.respond(&tensors).map_err(DeferredError::from)),
            Err(error) => {
                drop(request);
                told(Err(error.into()));
            }
        };
        let pending = Pending { event: Arc::clone(event), order: None, deadline, action: Box::new(action) };
        // Who is refused drops the request with the action, without calling it.
        self.0.gate.hold(pending).map(drop).map_err(|refused| refused.reason)
    }

    /// As [`Server::respond_after`], behind everything that the stream has been given so far: the kernels that compute the
    /// tensors. They are read until the response has ended; a kernel that writes them anew has to wait for that.
    ///
    /// # Errors
    /// [`DeferredError::Stream`], [`DeferredError::Gate`]; the request is refused.
    pub fn respond_on(
        &self,
        stream: &dyn Stream,
        (request, tensors): (Request, Vec<Tensor>),
        deadline: Option<Instant>,
        told: impl FnOnce(Result<Response, DeferredError>) + Send + 'static,
    ) -> Result<(), DeferredError> {
        let computed = stream.record()?;
        Ok(self.respond_after(&computed, (request, tensors), deadline, told)?)
    }
}
