//! Atomics and cells, from core or from loom.
