//! What the Python packages over the driver share.
//!
//! # Place in the flow
//! ```text
//!  pmd_kv | pmd_af                        Python
//!     _native of each                     objects, errors
//!        |            \
//!     kv-api | af-api  pmd-python         memory of Python objects, waits, event loops
//!        v            /
//!     pmd-host
//! ```
//! | module | holds |
//! |---|---|
//! | [`memory`], [`dlpack`] | memory that Python objects give, with its element type and shape |
//! | [`device`], [`array_interface`] | memory of accelerators: DLPack's numbers, `__cuda_array_interface__` |
//! | [`export`] | memory of the driver as Python objects: the buffer protocol, DLPack |
//! | [`element`] | element types, by DLPack's numbers, NumPy's and PyTorch's names, the buffer protocol's formats |
//! | [`waiting`] | waits without the interpreter's lock, which hear Ctrl-C |
//! | [`signal`], [`bell`], [`awaiting`] | what is in flight, for threads and for event loops |
//! | [`raising`] | exceptions with the values that explain them |
//!
//! Each extension module links a copy of its own; no object of one is ever given to the other.

pub mod array_interface;
pub mod awaiting;
pub mod bell;
pub mod device;
pub mod dlpack;
pub mod element;
pub mod export;
pub mod memory;
pub mod raising;
pub mod signal;
pub mod waiting;
