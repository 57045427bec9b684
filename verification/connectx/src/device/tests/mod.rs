//! The device in one process: driven by the driver's own queues, and by WQEs written by hand.

mod bench;
mod operations;
