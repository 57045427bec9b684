//! The HIP runtime without a GPU: `libamdhip64.so`, whose devices are threads and host memory.
//!
//! # Place in the flow
//! `accel-rocm` finds this library where a machine with a GPU has AMD's, and runs as it does there:
//!
//! ```text
//!  accel-rocm, or any program ---- hip/hip_runtime_api.h ---- libamdhip64.so: this package --> fake-device
//! ```
//! Built for tests; no GPU behaves like this. What a program does wrong gets the runtime's own code, and where a device
//! would have done harm, a line of misuse too. The variables are `fake-device`'s, and one of its own:
//!
//! | variable | default | means |
//! |---|---|---|
//! | `FAKE_ROCM_VERSION` | 7.0.0 | what `hipRuntimeGetVersion` gives; from 6 on, kinds of memory have the numbers of ROCm 6 |
//!
//! A runtime that lacks functions is made of this library by renaming them in its file: see the tests.
//!
//! | module | holds |
//! |---|---|
//! | [`device`] | devices, errors, counts |
//! | [`memory`] | allocations, attributes, pinned memory, handles for other processes, dma-bufs |
//! | [`stream`] | streams, events, copies, words that streams write and wait for |
//! | `error` | codes, and the last error of a thread |

mod error;

pub mod device;
pub mod memory;
pub mod stream;
