//! Waiting without the interpreter's lock. Every call that waits goes through here, so that no thread of the driver
//! ever waits for a thread that waits for it, and so that Ctrl-C is heard.

use std::time::{Duration, Instant};

use pyo3::{exceptions::PyValueError, prelude::*};

/// Longest time for which Python's signal handlers go unheard.
const SLICE: Duration = Duration::from_millis(100);

/// A timeout in seconds as a duration.
///
/// # Errors
/// `ValueError` for negative numbers and those that no clock reaches.
pub fn duration(seconds: f64) -> PyResult<Duration> {
    let problem =
        |_| PyValueError::new_err(format!("a timeout of {seconds} s: give seconds from 0 up, or None"));
    Duration::try_from_secs_f64(seconds).map_err(problem)
}

/// The instant after an optional timeout in seconds.
///
/// # Errors
/// As [`duration`].
pub fn deadline(seconds: Option<f64>) -> PyResult<Option<Instant>> {
    let after = seconds.map(duration).transpose()?;
    Ok(after.and_then(|after| Instant::now().checked_add(after)))
}

/// Calls `attempt` with a short time to wait, again and again, until it has a result or the timeout is over; `None`
/// then. The interpreter's lock is released meanwhile.
///
/// # Errors
/// What a signal handler raised (`KeyboardInterrupt`), or a bad timeout.
pub fn until<T: Send>(
    py: Python<'_>,
    seconds: Option<f64>,
    mut attempt: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<Option<T>> {
    let deadline = deadline(seconds)?;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        if let Some(found) = py.detach(|| attempt(slice)) {
            return Ok(Some(found));
        }
        py.check_signals()?;
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(None);
        }
    }
}

/// Something whose end may wait for other threads of the driver, such as one that is in a callback into Python. Python
/// ends objects with the interpreter's lock held, so it is released first.
///
/// Only for fields of Python classes: these are dropped by the interpreter, with the lock held.
pub struct Detached<T: Send>(Option<T>);

impl<T: Send> Detached<T> {
    /// Holds a value.
    pub const fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send> std::ops::Deref for Detached<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T: Send> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            Python::attach(|py| py.detach(|| drop(value)));
        }
    }
}
