//! Device memory of peers that is open here.

use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::DeviceMemory;

use crate::soft::{Device, peer::Peer, reach::Shared};

/// What is open, since its first use.
#[derive(Debug, Default)]
pub(super) struct Imports(Vec<Import>);

#[derive(Debug)]
struct Import {
    peer: Weak<Peer>,
    number: u32,
    /// Which of the device's accelerators opened it.
    accelerator: usize,
    /// None for memory of this process.
    memory: Option<Box<dyn DeviceMemory>>,
}

/// Memory of a peer's device, as streams of this process address it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) address: u64,
    pub(super) accelerator: usize,
}

impl Imports {
    /// Finds, or opens, the `length` bytes that a peer shares. `None` where that cannot be.
    pub(super) fn open(
        &mut self,
        device: &Device,
        peer: &Arc<Peer>,
        shared: Shared,
        length: u64,
    ) -> Option<Opened> {
        let is_it = |import: &Import| {
            import.number == shared.number && std::ptr::eq(import.peer.as_ptr(), Arc::as_ptr(peer))
        };
        let index = match self.0.iter().position(is_it) {
            Some(index) => index,
            None => {
                self.0.push(import(device, peer, shared.number)?);
                self.0.len() - 1
            }
        };
        let Import { accelerator, memory, .. } = &self.0[index];
        let accelerator = *accelerator;
        let Some(memory) = memory else { return Some(Opened { address: shared.address, accelerator }) };
        let described = memory.description();
        // What the peer's table says is not trusted with more than the peer has shared.
        let fits = shared.offset.checked_add(length).is_some_and(|end| end <= described.length);
        fits.then(|| Opened { address: described.address + shared.offset, accelerator })
    }

    /// Closes what its owner does not share any more.
    pub(super) fn trim(&mut self) {
        self.0.retain(|import| {
            import.peer.upgrade().is_some_and(|peer| peer.alive() && peer.has_share(import.number))
        });
    }
}

/// The announcement was sent before the key was handed out, but may still be on its way, or another thread be at the
/// exchange: this thread has time.
fn import(device: &Device, peer: &Arc<Peer>, number: u32) -> Option<Import> {
    const LONGEST: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + LONGEST;
    let handle = loop {
        match peer.share(number) {
            Some(handle) => break handle,
            None if !peer.alive() || Instant::now() >= deadline => return None,
            None => device.service(),
        }
        thread::yield_now();
    };
    let accelerators = &device.config().accelerators;
    let accelerator = accelerators.find(handle.kind, &handle.device)?;
    // Runtimes do not open their own process's memory, nor need to.
    let memory = match peer.is_direct() {
        true => None,
        false => Some(accelerators.at(accelerator)?.import(&handle).ok()?),
    };
    Some(Import { peer: Arc::downgrade(peer), number, accelerator, memory })
}
