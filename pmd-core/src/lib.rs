//! The driver core: the layer that turns work requests into mlx5 work-queue entries and completion-queue
//! entries into completions.
//!
//! Nothing below this crate but memory and a doorbell; above it `pmd-host` opens devices and owns lanes.
#![cfg_attr(not(loom), no_std)]

extern crate alloc;

pub mod memory;
pub mod mmio;
pub mod provider;
pub mod queue;
pub mod ring;
pub mod sync;
pub mod wire;
