//! KV-cache transfer for C and C++: `libpmd_kv`.
//!
//! # Place in the flow
//! A program in C or C++ includes `pmd_kv.h`, or, if it was written for LLM-DataDist or HIXL, those libraries' headers
//! under the same names (`llm_datadist/llm_datadist.h`, `hixl/hixl.h`), which are classes over the same C functions:
//!
//! ```text
//!  C++ program          C++ program          C program
//!  llm_datadist.h       hixl.h                   |
//!        |                  |                    |
//!        +--- pmd_kv.h -----+--------------------+
//!  ------------------------------------------------------ the C boundary: this crate
//!     datadist            hixl       kvtrans   engine      handles, statuses, panics caught, last error
//!        |                  |           |        |
//!                        kv-api
//! ```
//! | module | holds |
//! |---|---|
//! | `engine` | the native engine: caches, peers, transfers, notifications |
//! | `kvtrans` | KVTrans |
//! | `datadist` | LLM-DataDist |
//! | `hixl` | HIXL |
//! | `status` | what functions return |
//! | `options` | options that are texts |
//! | `boundary` | the frame of every function; `pmd_capi` has what it shares with other C interfaces |
//!
//! # The boundary
//! - A handle is a number that looks like a pointer; it is looked up at every call. One that was released gives
//!   `PMD_KV_STATUS_INVALID_HANDLE`.
//! - A panic is caught and becomes `PMD_KV_STATUS_PANIC` (`LLM_FAILED`, `hixl::FAILED`). The C++ headers hold no state
//!   of their own but a handle.
//! - Every place for a result is checked before anything is done.
//! - `include/pmd_kv.h` is written by cbindgen from this crate; a test compares.

mod boundary;
pub mod datadist;
pub mod engine;
pub mod hixl;
pub mod kvtrans;
mod options;
mod status;
#[cfg(test)]
mod tests;

pub use boundary::pmd_kv_last_error;
pub use options::pmd_kv_option;
pub use status::pmd_kv_status;
