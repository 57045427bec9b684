//! ps-lite's simple API: key-values, and small requests between applications. `pmd_af.simple` gives it Python's arrays.
//!
//! Handlers run on threads of the simple API, which take the interpreter's lock for the call; lanes never do.

pub(crate) mod app;
pub(crate) mod kv;
