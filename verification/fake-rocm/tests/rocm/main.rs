//! `accel-rocm` on the fake runtime: what it does, each of its errors, and that nothing is left over. Every case is a
//! process of its own, because the runtime is loaded once and read its environment then.

#[macro_use]
mod stage;

mod bench;
mod blocks;
mod descriptors;
mod devices;
mod faults;
mod flags;
mod memory;
mod processes;
mod streams;
