//! A doorbell is borrowed for one ring: the device cannot be used meanwhile.

use pmd_core::provider::{Hardware, QueuePairHandle, SendDoorbell};

fn ring_twice<H: Hardware>(device: &mut H) {
    let mut doorbell = device.doorbell(QueuePairHandle(0));
    let _ = device.progress();
    doorbell.ring([0; 8]);
}

fn main() {}
