//! What the C interfaces over this driver have in common.
//!
//! # Place in the flow
//! `libpmd_kv` and `libpmd_af` are crates of C functions over Rust. Each function goes through the same four things,
//! which are here:
//!
//! ```text
//!  C program --- pmd_kv_*() / pmd_af_*() ---+--- guard    panics become a status, texts of failures kept per thread
//!                                           +--- memory   pointers checked, texts and arrays read, results written
//!                                           +--- handles  numbers in place of objects, looked up at every call
//!                                           +--- settings names of transports and the like
//!                                           +--- error    what is wrong with a call before anything is done
//! ```
//! Statuses, and which error becomes which, are each library's own. Nothing here is a C function.

mod error;
mod guard;
mod handles;
mod memory;
mod settings;
#[cfg(test)]
mod tests;
mod waiting;

pub use error::{BadCall, chain};
pub use guard::{guard, last_error};
pub use handles::Table;
pub use memory::{
    Place, array, copy_out, copy_text_out, milliseconds, optional_text, reference, text, writable_array,
};
pub use settings::{idle_policy, socket_address, transport_choice};
pub use waiting::Bell;
