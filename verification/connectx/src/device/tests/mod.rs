//! The device in one process: driven by the driver's own queues, and by WQEs written by hand.

mod bench;
mod completions;
mod faults;
mod operations;
mod raw;
mod recovery;
mod rules;
mod shared;
mod syndromes;
mod unreliable;
mod waiting;

use std::time::{Duration, Instant};

use super::Device;

/// Lets everything that waits come to its end, as a service thread does.
fn wait(device: &Device) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Some(rest) = device.run_due() {
        assert!(Instant::now() < deadline, "something waits for ever");
        std::thread::sleep(rest);
    }
}
