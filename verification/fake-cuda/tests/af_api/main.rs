//! `af-api` in graphs of the stand-in for the driver: each case runs in a process of its own, with the stand-in on its
//! library path.
#![allow(unsafe_code)] // copies between plain addresses, launches graphs

mod devices;
mod graphs;
mod killed;
#[allow(dead_code, unused_imports, reason = "cases use a part")]
#[path = "../gpu_direct/support.rs"]
mod support;
