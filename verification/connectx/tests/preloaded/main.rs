//! Programs on the simulated device that do what programs should not, or seldom do, and that end cleanly.
//!
//! ```text
//! cargo run -p verification -- connectx -- cargo test -p connectx --test preloaded -- --ignored signals forks
//! cargo run -p verification -- connectx --lint report -- cargo test -p connectx --test preloaded -- --ignored overruns
//! ```
//! The last one breaks a rule on purpose, so that its command fails in the end.
#![allow(missing_docs)]
#![allow(unsafe_code)] // speaks libibverbs, handles signals and forks

mod bench;
mod forks;
mod overruns;
#[cfg(target_arch = "x86_64")]
mod signals;
