//! Counts of an engine as Python dictionaries. Called by `Engine.metrics`.

use kv_api::engine::{LinkFigures, Metrics, PeerMetrics, TransferCounters};
use pyo3::{prelude::*, types::PyDict};

/// All of them: `{"total": .., "caches": .., "peers": [..]}`.
///
/// # Errors
/// `MemoryError`.
pub(super) fn dictionary<'py>(py: Python<'py>, metrics: &Metrics) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("total", counters(py, &metrics.total)?)?;
    all.set_item("caches", metrics.caches)?;
    let peers = metrics.peers.iter().map(|one| peer(py, one)).collect::<PyResult<Vec<_>>>()?;
    all.set_item("peers", peers)?;
    Ok(all)
}

fn peer<'py>(py: Python<'py>, metrics: &PeerMetrics) -> PyResult<Bound<'py, PyDict>> {
    let PeerMetrics { name, incarnation, connection, transport, counters: counts, link } = metrics;
    let one = PyDict::new(py);
    one.set_item("name", name)?;
    one.set_item("incarnation", incarnation)?;
    one.set_item("connection", connection)?;
    one.set_item("transport", transport.name())?;
    one.set_item("counters", counters(py, counts)?)?;
    one.set_item("link", figures(py, link)?)?;
    Ok(one)
}

fn counters<'py>(py: Python<'py>, counters: &TransferCounters) -> PyResult<Bound<'py, PyDict>> {
    let counts = PyDict::new(py);
    let named = [
        ("posted", counters.posted),
        ("completed", counters.completed),
        ("failed", counters.failed),
        ("cancelled", counters.cancelled),
        ("overdue", counters.overdue),
        ("bytes", counters.bytes),
        ("work_requests", counters.work_requests),
        ("notifications", counters.notifications),
        ("reported", counters.reported),
    ];
    named.into_iter().try_for_each(|(name, count)| counts.set_item(name, count))?;
    Ok(counts)
}

fn figures<'py>(py: Python<'py>, link: &LinkFigures) -> PyResult<Bound<'py, PyDict>> {
    let figures = PyDict::new(py);
    figures.set_item("bytes_per_second", link.bytes_per_second)?;
    figures.set_item("request_seconds", link.request_seconds)?;
    figures.set_item("observations", link.observations)?;
    Ok(figures)
}
