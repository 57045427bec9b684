//! Sets of blocks as Python sees them. Called by what tells of failures.

use kv_api::planner::BlockSet;
use pyo3::{
    prelude::*,
    types::{PyList, PyRange},
};

/// A list of (layers, blocks), each a `range`.
///
/// # Errors
/// `MemoryError`.
pub(crate) fn ranges<'py>(py: Python<'py>, blocks: &BlockSet) -> PyResult<Bound<'py, PyList>> {
    let range = |range: &std::ops::Range<u32>| PyRange::new(py, range.start as isize, range.end as isize);
    let list = PyList::empty(py);
    for extent in blocks.extents() {
        for run in &extent.blocks {
            list.append((range(&extent.layers)?, range(run)?))?;
        }
    }
    Ok(list)
}
