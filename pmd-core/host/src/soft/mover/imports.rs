//! Device memory of peers that is open here. Closing it is what the owner waits for before it frees the memory: see
//! [`device_memory`](crate::soft::device_memory).

use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::{DeviceMemory, ShareHandle};

use crate::{
    soft::{Device, Shared, peer::Peer},
    transfer::DeviceFault,
};

/// What is open, since its first use.
#[derive(Debug, Default)]
pub(super) struct Imports(Vec<Import>);

#[derive(Debug)]
struct Import {
    device: Device,
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
    /// Finds, or opens, the `length` bytes that a peer shares.
    pub(super) fn open(
        &mut self,
        device: &Device,
        peer: &Arc<Peer>,
        shared: Shared,
        length: u64,
    ) -> Result<Opened, DeviceFault> {
        let is_it = |import: &Import| {
            import.number == shared.number && std::ptr::eq(import.peer.as_ptr(), Arc::as_ptr(peer))
        };
        let index = match self.0.iter().position(is_it) {
            Some(index) => index,
            None => {
                self.0.push(Import::open(device, peer, shared.number)?);
                self.0.len() - 1
            }
        };
        let Import { accelerator, memory, .. } = &self.0[index];
        let accelerator = *accelerator;
        let Some(memory) = memory else { return Ok(Opened { address: shared.address, accelerator }) };
        let described = memory.description();
        // What the peer's table says is not trusted with more than the peer has shared.
        let fits = shared.offset.checked_add(length).is_some_and(|end| end <= described.length);
        if !fits {
            return Err(DeviceFault::NotShared);
        }
        Ok(Opened { address: described.address + shared.offset, accelerator })
    }

    /// Closes what its owner does not share any more. No round is in flight.
    pub(super) fn trim(&mut self) {
        self.0.retain(|import| {
            import.peer.upgrade().is_some_and(|peer| peer.alive() && peer.has_share(import.number))
        });
    }
}

impl Import {
    fn open(device: &Device, peer: &Arc<Peer>, number: u32) -> Result<Self, DeviceFault> {
        let handle = announced(device, peer, number).ok_or(DeviceFault::NotShared)?;
        // From here on dropping it tells the owner that it is closed.
        let mut import =
            Self { device: device.clone(), peer: Arc::downgrade(peer), number, accelerator: 0, memory: None };
        let (accelerators, kind) = (&device.config().accelerators, handle.kind);
        let missing = DeviceFault::NoAccelerator { kind };
        import.accelerator = accelerators.find(kind, &handle.device).ok_or(missing)?;
        // Runtimes do not open their own process's memory, nor need to.
        if !peer.is_direct() {
            let accelerator = accelerators.at(import.accelerator).ok_or(missing)?;
            let opened = accelerator.import(&handle).map_err(|_| DeviceFault::NotOpened { kind })?;
            import.memory = Some(opened);
        }
        Ok(import)
    }
}

/// The announcement was sent before the key was handed out, but may still be on its way, or another thread be at the
/// exchange: this thread has time.
fn announced(device: &Device, peer: &Peer, number: u32) -> Option<ShareHandle> {
    const LONGEST: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + LONGEST;
    loop {
        match peer.begin_import(number) {
            Some(handle) => return Some(handle),
            None if !peer.alive() || Instant::now() >= deadline => return None,
            None => device.service(),
        }
        thread::yield_now();
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.memory = None;
        if let Some(peer) = self.peer.upgrade()
            && peer.end_import(self.number)
        {
            self.device.exchange().tell_closed(peer.id(), self.number);
        }
    }
}
