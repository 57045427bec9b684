//! A prepared transfer as the shim holds it. Called by `seam`.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kv_api::agent::{
    AgentError, Status,
    backend::{CostEstimate, Request},
};
use pmd_core::sync::{AtomicBool, Ordering};
use pmd_host::transfer::TransferError;

/// How long a release waits for a request that it stopped: a few times what a lane needs that is awake.
const GRACE: Duration = Duration::from_millis(1);

/// How long a failed transfer may still turn out to be a dead agent's: its memory goes first, its connections with it a
/// moment later.
const AUTOPSY: Duration = Duration::from_millis(200);

/// A request, and whether a release of it was refused.
pub(crate) struct Handle {
    request: Request,
    refused: AtomicBool,
    /// When its failure was first seen.
    failed: Mutex<Option<Instant>>,
}

impl Handle {
    pub(crate) fn new(request: Request) -> Self {
        Self { request, refused: AtomicBool::new(false), failed: Mutex::new(None) }
    }

    pub(crate) fn post(&self, notification: Option<&[u8]>) -> Result<Status, AgentError> {
        *self.failed() = None;
        self.request.post(notification)
    }

    /// Where the transfer stands. One that failed stays in progress until it is known whether the agent lives: NIXL forgets
    /// an agent that is gone, and its callers have to tell that from a failure that leaves it alive.
    pub(crate) fn check(&self) -> Result<Status, AgentError> {
        match self.request.check() {
            Err(AgentError::Transfer(error)) if error_status(error) == Status::Backend => {
                if self.request.is_agent_down() {
                    return Err(AgentError::Down { agent: self.request.agent().to_owned() });
                }
                let seen = *self.failed().get_or_insert_with(Instant::now);
                if seen.elapsed() < AUTOPSY { Ok(Status::InProgress) } else { Err(error.into()) }
            }
            result => result,
        }
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

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn error_status(error: TransferError) -> Status {
    AgentError::Transfer(error).status()
}
