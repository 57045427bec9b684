//! The CUDA driver without a GPU: `libcuda.so`, whose device memory is host memory behind a second mapping.
//!
//! # Place in the flow
//! `gpu-direct` loads the driver at run time. With the folder of this library in `LD_LIBRARY_PATH` it, and everything
//! above it, runs on any machine:
//!
//! ```text
//!  kv-api, af-api --- pmd-host --- gpu-direct ---- the driver's C functions ---- this package --- fake-device
//! ```
//! Built for tests; no GPU behaves like this. What a device would not forgive is misuse, as [`fake_device`] says; what is
//! wrong by the driver's rules gets the driver's own code. Functions that need a context fail without one, handles are
//! numbers that are looked up, and streams of another device than the current context's are refused.
//!
//! There is one kernel: functions whose names begin with `pmd_copy_blocks_` are recognised, and move blocks on their
//! stream's thread. A module must be PTX text; the text itself is run, thread by thread, only where that is asked for.
//!
//! Beside the driver's functions there is `void fake_device_counts(struct fake_device_counts *)`, which tells what is
//! alive ([`fake_device::Counts`]): `others` counts retained contexts, loaded modules and graphs.
//!
//! | variable | means |
//! |---|---|
//! | `FAKE_CUDA_ATTRIBUTES` | `number=value` of device attributes, separated by commas: `124=0` is a driver without dma-bufs |
//! | `FAKE_CUDA_INTERPRET` | launches run the kernel's text |
//! | those of [`fake_device`] | devices, memory, faults (by names without `_v2`), misuse |
//!
//! | module | holds |
//! |---|---|
//! | `api` | the C functions, by what they are about |
//! | `state` | the devices, contexts and their threads' stacks |
//! | `kernel` | modules, and what a launch does |
//! | `interpret` | runs a kernel's text |
//! | `graph` | operations of streams, done or captured |
//! | `code` | results |

pub mod api;
mod code;
mod graph;
mod interpret;
mod kernel;
mod state;
#[cfg(test)]
mod tests;
