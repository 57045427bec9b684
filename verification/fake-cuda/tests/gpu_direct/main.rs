//! `gpu-direct` on the stand-in for the driver: each case runs in a process of its own, with the stand-in on its library
//! path and the faults that it is about.
#![allow(unsafe_code)] // adopts memory, copies between plain addresses, calls the stand-in's functions

mod blocks;
mod faults;
mod flags;
mod graphs;
mod mapped;
mod memory;
mod older;
mod opening;
mod processes;
mod streams;
mod support;
