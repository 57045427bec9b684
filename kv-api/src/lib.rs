//! KV-cache transfer between prefill and decode over the poll-mode RDMA driver.
pub mod engine;
pub mod geometry;
pub mod layout;
pub mod planner;
