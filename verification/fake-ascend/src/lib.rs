//! The Ascend runtime without an NPU: `libascendcl.so`, over the devices of `fake-device`.
//!
//! # Place in the flow
//! Programs that were written for LLM-DataDist or HIXL allocate their tensors with the Ascend runtime, and
//! `accel-ascend` drives it. With this library in its place they run on any machine:
//!
//! ```text
//!  a C++ program ---- llm_datadist.h, hixl.h ---- libpmd_kv.so
//!        |                                              accel-ascend
//!        |                                                   |
//!        +----------- acl/acl.h ----------------- libascendcl.so: this package --> fake-device
//! ```
//! Built for tests; no NPU behaves like this. What a program does wrong gets the runtime's own code, and where a device
//! would have done harm, a line of misuse too. Device memory kills a process that touches it, unless
//! `FAKE_DEVICE_TOUCH=allow`: for programs that register it with the driver as if it were the host's. A thread that has
//! set no device has no context, as on an NPU. The variables are `fake-device`'s.
//!
//! | module | holds |
//! |---|---|
//! | [`device`] | initialisation, devices, contexts, counts |
//! | [`memory`] | allocations, copies, pinned memory, keys for other processes |
//! | [`stream`] | streams, events, functions of the host, words that streams write and wait for |
//! | `error` | codes, and the last error of a thread |

mod error;
#[cfg(test)]
mod tests;

pub mod device;
pub mod memory;
pub mod stream;

pub use error::Code;
