//! The host layer: opens devices, registers memory, owns lanes and talks to peers.
//!
//! Below it is `pmd-core` (queue pairs, wire formats, rings); above it `kv-api` and `af-api`. This crate has the
//! operating system that `pmd-core` does without: descriptors, sockets, threads, shared memory.
//!
//! ```text
//!   kv-api / af-api
//!        | transfers, messages                     ^ handles, notifications
//!   lane          one thread polls one backend's queue pairs and completion queue
//!        | work requests                           ^ completions
//!   backend       soft HCA | ConnectX (mlx5dv) | any verbs NIC
//! ```
pub mod backend;
pub mod control;
pub mod endpoint;
pub mod identity;
pub mod lane;
pub mod mlx5;
pub mod nic;
pub mod region;
pub mod registration;
pub mod soft;
pub mod transfer;
pub mod verbs;
