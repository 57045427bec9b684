//! A Python function as the engine's application: answers peers' requests, on the control thread, with the
//! interpreter's lock taken for the call.

use kv_api::engine::Application;
use pmd_host::{control::Refusal, endpoint::Peer as Handle};
use pyo3::{prelude::*, types::PyBytes};

use crate::peer::Peer;

/// Refusal code: the function raised an exception.
pub(crate) const RAISED: u16 = 1;

/// Refusal code: the interpreter is shutting down.
pub(crate) const SHUTTING_DOWN: u16 = 2;

struct Function(Py<PyAny>);

/// The application that calls `function(peer, body) -> bytes`.
pub(super) fn boxed(function: Py<PyAny>) -> Box<dyn Application> {
    Box::new(Function(function))
}

impl Application for Function {
    fn request(&self, peer: &Handle, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        answer(|py| {
            let peer = Bound::new(py, Peer::new(peer.clone()))?;
            self.0.bind(py).call1((peer, PyBytes::new(py, body)))
        })
    }
}

/// Runs a callback that returns bytes. An exception becomes a refusal with its text.
///
/// # Errors
/// [`RAISED`], [`SHUTTING_DOWN`].
pub(crate) fn answer(
    call: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyAny>>,
) -> Result<Vec<u8>, Refusal> {
    let answered = Python::try_attach(|py| {
        let bytes = call(py).and_then(|answer| answer.extract::<Vec<u8>>());
        bytes.map_err(|error| Refusal { code: RAISED, detail: error.to_string() })
    });
    let gone = || Refusal { code: SHUTTING_DOWN, detail: "the interpreter is shutting down".to_owned() };
    answered.unwrap_or_else(|| Err(gone()))
}
