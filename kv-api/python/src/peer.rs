//! A process at the other end.

use std::hash::{Hash, Hasher};

use pmd_host::endpoint::Peer as Handle;
use pyo3::prelude::*;

use crate::waiting::Detached;

/// A peer with an open route.
#[pyclass(frozen, eq, hash, module = "pmd_kv")]
pub(crate) struct Peer(Detached<Handle>);

impl Peer {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self(Detached::new(handle))
    }

    /// The peer itself; there as long as this is.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref()
    }
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        self.handle() == other.handle()
    }
}

impl Hash for Peer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.handle().map(|handle| handle.connection().number()).hash(state);
    }
}

#[pymethods]
impl Peer {
    /// Its name, as its configuration gives it; not unique.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.handle().map(|handle| handle.identity().name.as_str())
    }

    /// Drawn when it started: a restarted process of the same name has another.
    #[getter]
    fn incarnation(&self) -> Option<String> {
        self.handle().map(|handle| format!("{:?}", handle.identity().incarnation))
    }

    /// What carries the bytes: "shm", "mlx5" or "verbs".
    #[getter]
    fn transport(&self) -> Option<&'static str> {
        self.handle().map(|handle| handle.transport().name())
    }

    /// Why it is down, or None while it lives.
    #[getter]
    fn down_reason(&self) -> Option<String> {
        Some(self.handle()?.down_reason()?.to_string())
    }

    /// Says goodbye: what is in flight fails on both sides.
    fn close(&self, py: Python<'_>) {
        if let Some(handle) = self.handle() {
            py.detach(|| handle.close());
        }
    }

    fn __repr__(&self) -> String {
        let state = self.down_reason().map_or_else(String::new, |reason| format!(", {reason}"));
        format!(
            "<Peer {:?} over {}{state}>",
            self.name().unwrap_or_default(),
            self.transport().unwrap_or_default()
        )
    }
}
