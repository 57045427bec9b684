//! The compiled half of the Python package `pmd_kv`.
//!
//! ```text
//!  pmd_kv | kvtrans_engine | llm_datadist | hixl       Python: signatures, checks, enums, asyncio
//!        |                                  ^
//!     _native   objects, memory, errors     | callbacks, with the interpreter's lock
//!        v                                  |
//!     kv-api    engine, fabric, kvtrans, datadist, hixl
//! ```
//! | module | holds |
//! |---|---|
//! | `engine` | caches, peers' caches, prepared transfers |
//! | `fabric` | memory by address, plans, messages |
//! | `transfer` | a transfer in flight: wait, await, cancel |
//! | `landing`, `blocks` | a layer that is waited for; which blocks are not valid |
//! | `device` | accelerators, and memory on them |
//! | `view` | registered memory as Python objects; memory of Python objects comes through `pmd-python` |
//! | `error` | exceptions |
//!
//! Two rules keep the interpreter's lock and the driver's threads apart: every call that may wait releases the lock
//! (`pmd_python::waiting`), and no lane ever takes it; callbacks run on control threads and threads of their own.

mod blocks;
mod config;
mod datadist;
mod device;
mod engine;
mod error;
mod fabric;
mod hixl;
mod indices;
mod kvtrans;
mod landing;
mod peer;
mod transfer;
mod view;

use pmd_python::{bell, memory, waiting};
use pyo3::prelude::*;

/// The compiled half of `pmd_kv`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<bell::Bell>()?;
    module.add_class::<datadist::CacheTask>()?;
    module.add_class::<datadist::DataDist>()?;
    module.add_class::<device::Device>()?;
    module.add_class::<device::DeviceMemory>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::Cache>()?;
    module.add_class::<engine::RemoteCache>()?;
    module.add_class::<engine::LayerArrivals>()?;
    module.add_class::<engine::LayerStream>()?;
    module.add_class::<engine::TransferFailure>()?;
    module.add_class::<engine::Prepared>()?;
    module.add_class::<engine::TokenFormat>()?;
    module.add_class::<fabric::Fabric>()?;
    module.add_class::<fabric::Message>()?;
    module.add_class::<fabric::Plan>()?;
    module.add_class::<fabric::Segment>()?;
    module.add_class::<hixl::Hixl>()?;
    module.add_class::<hixl::TransferOpDesc>()?;
    module.add_class::<kvtrans::KvTrans>()?;
    module.add_class::<landing::Landing>()?;
    module.add_class::<peer::Peer>()?;
    module.add_class::<transfer::Transfer>()?;
    module.add_class::<view::View>()?;
    Ok(())
}
