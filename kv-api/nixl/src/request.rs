//! A prepared transfer as the shim holds it. Called by `seam`.

use std::time::{Duration, Instant};

use kv_api::agent::{
    AgentError, Status,
    backend::{CostEstimate, Request},
};
use pmd_core::sync::{AtomicBool, Ordering};

/// How long a release waits for a request that it stopped: a few times what a lane needs that is awake.
const GRACE: Duration = Duration::from_millis(1);

/// A request, and whether a release of it was refused.
pub(crate) struct Handle {
    request: Request,
    refused: AtomicBool,
}

impl Handle {
    pub(crate) fn new(request: Request) -> Self {
        Self { request, refused: AtomicBool::new(false) }
    }

    pub(crate) fn post(&self, notification: Option<&[u8]>) -> Result<Status, AgentError> {
        self.request.post(notification)
    }

    pub(crate) fn check(&self) -> Result<Status, AgentError> {
        self.request.check()
    }

    /// Whether the handle may be freed. The first time, only if the request is quiet.
    ///
    /// # Errors
    /// [`AgentError::Aborting`].
    pub(crate) fn release(&self) -> Result<Status, AgentError> {
        let released = self.request.release().or_else(|_| {
            // The outcome does not matter, only that there is one.
            let _ = self.request.wait(Some(Instant::now() + GRACE));
            self.request.release()
        });
        let again = self.refused.swap(released.is_err(), Ordering::Relaxed);
        match released {
            Err(error) if !again => Err(error),
            // NIXL frees its own handle the second time whatever is said.
            _ => Ok(Status::Success),
        }
    }

    pub(crate) fn estimate(&self) -> CostEstimate {
        self.request.estimate()
    }
}
