//! The Ascend runtime without an NPU: `libascendcl.so`, whose device memory is host memory.
//!
//! # Place in the flow
//! Programs that were written for LLM-DataDist or HIXL allocate their tensors with the Ascend runtime. With this
//! library in its place they run on any machine, against `kv-api`'s headers and library:
//!
//! ```text
//!  a C++ program ---- llm_datadist.h, hixl.h ---- libpmd_kv.so      transfers
//!        |
//!        +----------- acl/acl.h ----------------- libascendcl.so    memory, streams, events: this package
//! ```
//! Built for tests; no NPU behaves like this. What a program does wrong gets the runtime's own code: a copy whose kind
//! does not fit its addresses, a copy past the end of device memory, a handle that was destroyed, a device that is not
//! there. A thread that has set no device uses device 0.
//!
//! | module | holds |
//! |---|---|
//! | `api` | the C functions |
//! | `memory` | what was allocated, and the checks of a copy |
//! | `stream` | streams and events |
//! | `error` | codes, and the last error of a thread |

#[cfg(test)]
mod tests;

pub mod api;
mod error;
mod memory;
mod stream;

pub use error::Code;
