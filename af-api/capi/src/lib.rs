//! Attention-FFN disaggregation for C and C++: `libpmd_af`.
//!
//! # Place in the flow
//! A program in C or C++ includes `pmd_af.h`, or, if it was written for StepMesh, that library's headers under the same
//! names (`ps/ps.h`, `ps/af_tensor_app.h`), which are classes over the same C functions:
//!
//! ```text
//!  C++ program            C program
//!  ps/ps.h                    |
//!        |                    |
//!        +------ pmd_af.h ----+
//!  -------------------------------------- the C boundary: this crate
//!    node       worker       server       handles, statuses, panics caught, last error
//!        |          |            |
//!                 af-api
//! ```
//! | module | holds |
//! |---|---|
//! | `node` | scheduler and nodes: places, barriers, who comes and goes |
//! | `worker` | push-pulls and their requests |
//! | `server` | batches of requests, and responses |
//! | `capture` | push-pulls and batches in captured graphs |
//! | `app` | small requests between applications |
//! | `memory` | registered memory, and tensors as DLPack describes them |
//! | `options` | how a process takes part |
//! | `status` | what functions return |
//! | `boundary` | the frame of every function; `pmd_capi` has what it shares with other C interfaces |
//!
//! # The boundary
//! - A handle is a number that looks like a pointer; it is looked up at every call. One that was released gives
//!   `PMD_AF_STATUS_INVALID_HANDLE`.
//! - A panic is caught and becomes `PMD_AF_STATUS_PANIC`. Exceptions of C++ handlers are caught in the headers.
//! - Every place for a result is checked before anything is done.
//! - `include/pmd_af.h` is written by cbindgen from this crate; a test compares.

pub mod app;
mod boundary;
pub mod capture;
pub mod memory;
pub mod node;
mod options;
pub mod server;
mod status;
#[cfg(test)]
mod tests;
pub mod worker;

pub use boundary::pmd_af_last_error;
pub use options::{pmd_af_options, pmd_af_options_clear, pmd_af_variable};
pub use status::pmd_af_status;
