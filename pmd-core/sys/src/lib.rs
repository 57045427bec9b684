//! rdma-core for the driver: the types, constants and functions of libibverbs, libmlx5 and librdmacm.
//!
//! The lowest room. `pmd-host`'s mlx5 and verbs back ends open devices through it and create queue pairs; from there
//! on the mlx5 back end writes queue entries itself, and only the verbs back end keeps calling ([`mod@inline`]).
//! `pmd-core` takes nothing from here but, in its tests, the structs that its wire formats are compared with.
//!
//! ```text
//!   pmd-host: back ends mlx5, verbs      pmd info            pmd-core's wire tests
//!        |                                  |                       |
//!        | functions                        | devices()             | layouts
//!        v                                  v                       v
//!   Verbs, Mlx5, RdmaCm  <----------  verbs, mlx5, rdmacm (generated, committed)
//!        | dlopen, once a process
//!        v
//!   libibverbs.so.1, libmlx5.so.1, librdmacm.so.1
//! ```
//!
//! Building needs neither rdma-core's headers nor libclang, and a program starts where the libraries are not
//! installed: [`Verbs::load`] answers with the package to install.
//!
//! # Quick start
//! ```
//! use pmd_sys::{LoadError, Verbs};
//!
//! match Verbs::load() {
//!     Ok(_) => println!("libibverbs is here"),
//!     Err(LoadError::LibraryMissing { name, package, .. }) => println!("{name}: apt-get install {package}"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//! Every function of a table returns `Result<_, LoadError>` around what the C function returns: `Err` says that the
//! installed library lacks it, and `missing()` lists all that it lacks. Names are rdma-core's own, so that its manual
//! pages apply; the generated modules carry no text of their own.
//!
//! # Features
//! `regenerate` builds the maintenance command of the same name, which writes `src/bindings` from the installed
//! headers or, with `--check`, compares them.
//!
//! # Threads and clean-up
//! The tables are `Send + Sync` and are never unloaded. What the functions return follows rdma-core's rules: control
//! calls may come from any thread, a queue belongs to one thread at a time unless the provider locks.

pub mod bindings;
mod control_segment;
pub mod devices;
pub mod inline;
pub mod loader;

pub use bindings::mlx5::Mlx5;
pub use bindings::rdmacm::RdmaCm;
pub use bindings::verbs::Verbs;
pub use bindings::{mlx5, rdmacm, verbs};
pub use devices::{Device, DevicesError, Transport, devices};
pub use loader::{Library, LoadError};
