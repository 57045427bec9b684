//! A worker and its servers in one process: the whole way of a push-pull.

mod exchange;
pub(crate) mod support;
