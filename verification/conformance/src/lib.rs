//! One suite that every back end passes.
//!
//! Cases are written once, against [`Backend`](pmd_host::backend::Backend), lanes and endpoints; a
//! [`Bed`](bed::Bed) puts them on a device. The command `conformance` runs them:
//!
//! ```text
//!   main       options -> beds x cases -> tests, each under a deadline
//!     cases    what must hold
//!       stage  two places, queue pairs between them, completions sorted by queue pair
//!         bed  fake | soft (four paths) | verbs | mlx5: devices, back ends, memory, and what is not possible there
//! ```
//! What a bed cannot do is a stated limit: the case is reported as ignored, with the reason. Nothing is skipped
//! silently.
#![allow(unreachable_pub)] // the command is the only user

pub mod any;
pub mod bed;
pub mod cases;
pub mod context;
pub mod memory;
pub mod stage;
