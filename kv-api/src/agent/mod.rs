//! NIXL's agent semantics over this driver, in layers:
//!
//! ```text
//!  nixl plug-in (C++)
//!        v
//!     backend    registrations, connections, requests, notifications
//!        v
//!     messages   active messages of any size
//!        v
//!     fabric     memory by address
//! ```
//! | module | holds |
//! |---|---|
//! | [`backend`] | what a NIXL back-end plug-in needs |
//! | [`messages`] | active messages: header, payload, a handler at the receiver |
pub mod backend;
mod error;
pub mod messages;
mod status;

pub use error::{AgentError, Side};
pub use status::Status;
