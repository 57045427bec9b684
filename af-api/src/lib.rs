//! Attention-FFN disaggregation over the poll-mode driver.
//!
//! # Place in the flow
//!
//! The top of the stack, beside `kv-api`: an engine that keeps attention and feed-forward layers on different nodes
//! links this crate to push activations to FFN nodes and to pull their results back, layer after layer. Below it,
//! `pmd-host` owns devices, lanes and peers, and `pmd-core` turns work requests into queue entries.
//!
//! # What it does today
//!
//! Nothing yet: the crate holds its place in the workspace, and exports no item. KV caches move through `kv-api`.
