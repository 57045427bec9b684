//! Taking over memory that a device reads and writes is a promise.

use pmd_core::{
    provider::{CompletionQueueMemory, Hardware},
    queue::QueueProvider,
};

fn create<H: Hardware>(device: H, memory: CompletionQueueMemory) {
    let _ = QueueProvider::new(device, memory);
}

fn main() {}
