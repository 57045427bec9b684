//! What peers send: kept until Python asks for it. Requests are answered by a Python function, on the control thread.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kv_api::fabric::Handler;
use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::Peer as Handle,
    lane,
};
use pyo3::{prelude::*, types::PyBytes};

use crate::{engine::answer, peer::Peer, waiting::Detached};

/// What a fabric's peers have done.
pub(super) struct Service {
    on_request: Option<Py<PyAny>>,
    arrivals: Mutex<Arrivals>,
    arrived: Condvar,
}

#[derive(Default)]
struct Arrivals {
    connected: VecDeque<Handle>,
    down: VecDeque<(Handle, DownReason)>,
    messages: VecDeque<(Handle, Vec<u8>, Option<u32>)>,
}

/// A message of a peer.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Message {
    peer: Detached<Handle>,
    bytes: Vec<u8>,
    /// The number beside the bytes, or None.
    #[pyo3(get)]
    immediate: Option<u32>,
}

#[pymethods]
impl Message {
    /// Who sent it.
    #[getter]
    fn peer(&self) -> Option<Peer> {
        self.peer.as_ref().cloned().map(Peer::new)
    }

    /// What it says.
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes)
    }
}

impl Service {
    pub(super) fn new(on_request: Option<Py<PyAny>>) -> Self {
        Self { on_request, arrivals: Mutex::default(), arrived: Condvar::new() }
    }

    pub(super) fn connected(&self, patience: Duration) -> Option<Handle> {
        self.wait(patience, |arrivals| arrivals.connected.pop_front())
    }

    pub(super) fn down(&self, patience: Duration) -> Option<(Handle, DownReason)> {
        self.wait(patience, |arrivals| arrivals.down.pop_front())
    }

    pub(super) fn message(&self, patience: Duration) -> Option<Message> {
        let (peer, bytes, immediate) = self.wait(patience, |arrivals| arrivals.messages.pop_front())?;
        Some(Message { peer: Detached::new(peer), bytes, immediate })
    }

    fn wait<T>(&self, patience: Duration, mut take: impl FnMut(&mut Arrivals) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut arrivals = self.arrivals();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match take(&mut arrivals) {
                None if left.is_zero() => return None,
                None => {}
                found => return found,
            }
            arrivals = self.arrived.wait_timeout(arrivals, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, change: impl FnOnce(&mut Arrivals)) {
        change(&mut self.arrivals());
        self.arrived.notify_all();
    }
}

impl Handler for Service {
    fn connected(&self, peer: &Handle) {
        self.arrive(|arrivals| arrivals.connected.push_back(peer.clone()));
    }

    fn request(&self, peer: &Handle, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let Some(function) = &self.on_request else {
            return Err(Refusal {
                code: Refusal::UNKNOWN_KIND,
                detail: format!("no request of kind {kind}"),
            });
        };
        answer(|py| {
            let peer = Bound::new(py, Peer::new(peer.clone()))?;
            function.bind(py).call1((peer, kind, PyBytes::new(py, body)))
        })
    }

    fn message(&self, peer: &Handle, message: lane::Message<'_>) {
        let message = (peer.clone(), message.bytes.to_vec(), message.immediate);
        self.arrive(|arrivals| arrivals.messages.push_back(message));
    }

    fn down(&self, peer: &Handle, reason: &DownReason) {
        self.arrive(|arrivals| arrivals.down.push_back((peer.clone(), reason.clone())));
    }
}
