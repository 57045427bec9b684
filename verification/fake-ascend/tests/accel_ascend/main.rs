//! `accel-ascend` on the stand-in for the runtime, where the suite of all accelerators does not look: what a runtime lacks,
//! calls that fail, and what is put off. Each case runs in a process of its own, with the stand-in on its library path and
//! the faults that it is about.
#![allow(unsafe_code)] // adopts memory, copies between plain addresses, calls the stand-in's functions

mod lacking;
mod opening;
mod retired;
mod support;
