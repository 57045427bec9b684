//! What recorders know, as Python's own values.

use af_api::trace::{PeerReport, StragglerReport, Summary};
use pyo3::{prelude::*, types::PyDict};

/// One dictionary for each peer: name, requests, failed, offset of its clock and how certain that is, and its phases.
pub(crate) fn peers<'py>(py: Python<'py>, reports: &[PeerReport]) -> PyResult<Vec<Bound<'py, PyDict>>> {
    reports.iter().map(|report| peer(py, report)).collect()
}

fn peer<'py>(py: Python<'py>, report: &PeerReport) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("name", &report.name)?;
    told.set_item("requests", report.requests)?;
    told.set_item("failed", report.failed)?;
    told.set_item("offset", report.offset.map(|offset| (offset.nanoseconds, offset.uncertainty)))?;
    let phases = PyDict::new(py);
    for (phase, figures) in &report.phases {
        phases.set_item(phase.name(), summary(py, figures)?)?;
    }
    told.set_item("phases", phases)?;
    Ok(told)
}

/// One dictionary for each server that others were waited for with: name, shared requests, by how much it was the last.
pub(crate) fn stragglers<'py>(
    py: Python<'py>,
    reports: &[StragglerReport],
) -> PyResult<Vec<Bound<'py, PyDict>>> {
    let told = |report: &StragglerReport| {
        let told = PyDict::new(py);
        told.set_item("name", &report.name)?;
        told.set_item("shared", report.shared)?;
        told.set_item("behind", summary(py, &report.behind)?)?;
        told.set_item("cost", report.cost)?;
        Ok(told)
    };
    reports.iter().map(told).collect()
}

/// Nanoseconds.
fn summary<'py>(py: Python<'py>, figures: &Summary) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    for (name, value) in [
        ("count", figures.count),
        ("mean", figures.mean),
        ("minimum", figures.minimum),
        ("p50", figures.p50),
        ("p90", figures.p90),
        ("p99", figures.p99),
        ("maximum", figures.maximum),
    ] {
        told.set_item(name, value)?;
    }
    Ok(told)
}
