//! The compiled half of the Python package `pmd_af`.
//!
//! ```text
//!  pmd_af | fserver_lib                    Python: signatures, numbers in place of handles
//!        |                ^
//!     _native   objects, memory, errors    | awaitables
//!        v                |
//!     af-api    rendezvous, worker, server
//! ```
//! | module | holds |
//! |---|---|
//! | `node` | the scheduler, and a process's place in the cluster |
//! | `worker`, `pending` | push-pulls and what is in flight |
//! | `server`, `request` | batches and responses |
//! | `event`, `traces` | what a push waits for; what became of its time |
//! | `capture` | push-pulls and batches in captured graphs |
//! | `simple` | ps-lite's key-values and requests |
//! | `tensor`, `registry` | registered memory as Python objects, and memory of Python objects |
//! | `config`, `error` | options and exceptions |
//!
//! Every call that may wait releases the interpreter's lock (`pmd_python::waiting`), and no lane ever takes it.

mod capture;
mod config;
mod device;
mod error;
mod event;
mod node;
mod pending;
mod registry;
mod request;
mod server;
mod simple;
mod tensor;
mod traces;
mod worker;

use pyo3::prelude::*;

/// The compiled half of `pmd_af`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<capture::Exchange>()?;
    module.add_class::<capture::Service>()?;
    module.add_class::<event::Event>()?;
    module.add_class::<event::Stream>()?;
    module.add_class::<simple::app::NativeSimpleApp>()?;
    module.add_class::<simple::kv::NativeKvServer>()?;
    module.add_class::<simple::kv::NativeKvWorker>()?;
    module.add_class::<node::Node>()?;
    module.add_class::<node::Scheduler>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<request::Request>()?;
    module.add_class::<server::Gathering>()?;
    module.add_class::<server::Response>()?;
    module.add_class::<server::Server>()?;
    module.add_class::<tensor::Tensor>()?;
    module.add_class::<worker::Worker>()?;
    module.add_function(wrap_pyfunction!(pending::wait_any, module)?)?;
    module.add_function(wrap_pyfunction!(now, module)?)
}

/// Nanoseconds of this machine's monotonic clock, by which traces are stamped.
#[pyfunction]
fn now() -> u64 {
    af_api::trace::now()
}
