//! A NIXL plugin, so that every engine that speaks NIXL gains this driver's transports.
//!
//! # Place in the flow
//! ```text
//!  vLLM, SGLang, Dynamo
//!        v
//!  NIXL agent (libnixl.so)       names, descriptor lists, metadata
//!        v virtual functions
//!  shim/engine.cpp               C++20: libplugin_PMD.so's face; strings and lists in, statuses out
//!        v C functions           shim/seam.h
//!  seam                          panics end here, errors become NIXL's statuses
//!        v
//!  kv_api::agent::backend        registrations, connections, requests, notifications
//! ```
//! This crate is built as a static library, which the shim is linked with; README.md tells how. Nobody calls it from Rust.
//!
//! | module | holds |
//! |---|---|
//! | `seam` | the C functions, as `shim/seam.h` declares them |
//! | `boundary` | bytes and sinks across the seam, the guard against panics, what is told to people |
//! | `parameters` | what a back end is created with |
//! | `request` | a prepared transfer, and how it is released |
//! | `hosting` | which release of NIXL has loaded the plugin |
//!
//! # One build for one release
//! NIXL's plugin interface is C++: virtual functions by their place, members by their offset. Both change between
//! releases while the number that a plugin states, NIXL_PLUGIN_API_VERSION, stays 1. So a build is for one release, and
//! says so: `nixl_plugin_init` finds the library that called it, reads that library's release out of its memory, and hands
//! out nothing if it is another. The agent then reports that the plugin cannot be loaded; a line on stderr says why.
//!
//! # Release of an active request
//! NIXL asks of a back end that release does not block, and lets it refuse. A request in flight is told to stop and given
//! a millisecond. If it is quiet by then the release succeeds, and nothing writes the memory any more. If not, the agent's
//! caller gets NIXL_ERR_REPOST_ACTIVE, and the second release frees the handle whatever is left: the transfer drains
//! behind, and deregistering its memory waits for that.

mod boundary;
mod hosting;
mod parameters;
mod request;
mod seam;
