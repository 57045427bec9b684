//! Ascend's ACL runtime: its functions, types and codes, found when the program runs.
//!
//! The lowest room of [`accel-ascend`](https://docs.rs/accel-ascend), its only caller. Building needs neither CANN nor
//! libclang: [`bindings`] is committed, generated from `include/acl`, a header of our own with the declarations that are
//! used. A program starts where CANN is not installed; [`Acl::load`] says then what to do.
//!
//! ```
//! match acl_sys::Acl::load() {
//!     Ok(acl) => println!("the runtime is here, without {:?}", acl.missing()),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//! Every function of [`Acl`] returns `Result<_, LoadError>` around what the C function returns: `Err` says that the
//! installed runtime lacks it, which older ones do.
//!
//! # Features
//! `regenerate` builds the maintenance command of the same name, which writes `src/bindings` from `include/acl` or, with
//! `--check`, compares them.
//!
//! # Threads and clean-up
//! The table is `Send + Sync` and is never unloaded. Which device a call means, the runtime keeps for each thread.

pub mod bindings;
pub mod loader;

pub use bindings::acl::{self, Acl};
pub use loader::LoadError;
