//! What is in flight, as an awaitable of whatever event loop runs. The part that is Python is in `outcome.py`.

use pyo3::{ffi::c_str, prelude::*, sync::PyOnceLock};

use crate::bell::Bell;

/// The function `outcome` of `outcome.py`.
static OUTCOME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// What `__await__` of an object in flight returns: the iterator of an awaitable of what its `wait()` gives.
///
/// The object has `wait()`, `request_cancel()`, and `_ring_when_done(bell, token)`, as
/// [`Signal::ring_when_done`](crate::signal::Signal::ring_when_done) does it.
///
/// # Errors
/// `RuntimeError` where no event loop runs, once it is awaited.
pub fn awaitable<'py>(pending: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = pending.py();
    let outcome = OUTCOME.get_or_try_init(py, || load(py))?;
    outcome.bind(py).call1((pending,))?.call_method0("__await__")
}

fn load(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let source = c_str!(include_str!("outcome.py"));
    let module = PyModule::from_code(py, source, c"outcome.py", c"pmd_outcome")?;
    module.add_class::<Bell>()?;
    Ok(module.getattr("outcome")?.unbind())
}
