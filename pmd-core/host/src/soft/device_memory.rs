//! Memory of accelerators that a soft HCA has registered: what it is, and how peers open it.
//!
//! Registration ([`Device::register_device`]) numbers it, tells every peer what opens it, and only then gives out a key.
//! The region table says that a key's range is device memory, so that no engine touches it; the
//! [mover](super::mover) copies it.
//!
//! # Taking it back
//! A runtime wants shared memory to stay allocated while another process has it open. Peers keep what they have opened
//! for the next copy, so taking memory back has two ends: that of the copies, for which deregistration waits, and that
//! of the openings, for which it does not.
//! ```text
//!  owner                                            peer
//!  SHARED     Share{number, handle} --------------> known
//!                                                     | first copy: a round checks the key, opens the handle
//!  deregister: the key is revoked                   open (by so many movers)
//!  REVOKED    waits for every round that may have     |
//!             seen the key, here and there            | later rounds find the key gone
//!  QUIET      deregistration returns: no stream copies with the memory any more, none will
//!             ShareGone{number} ------------------> withdrawn: not opened again
//!  CLOSING    keeps the memory allocated              | its movers close it, between rounds
//!             <------------------ ShareClosed{number} closed (at once where nothing was open)
//!  GONE       answered by all: the memory is let go of
//! ```
//! | who dies | when | then |
//! |---|---|---|
//! | a peer | before QUIET | its rounds end with its process, and with them the wait ([`Peer::is_gone`](super::peer::Peer::is_gone)) |
//! | a peer | in CLOSING | it owes no answer any more; the memory goes when the next thread of the owner's looks |
//! | a peer's connection, not its process | in CLOSING | the memory stays until that process has ended |
//! | the owner | at any time | its peers close what they have open of it; the kernel gives the memory back |
//!
//! A peer that is stopped (SIGSTOP) while a round runs holds deregistration up, as it does with memory of the host; one
//! that is stopped at any other time holds nothing up but the freeing. What the accelerator crates allocate is freed in
//! GONE, when nobody else holds the value; memory of another library, which was adopted, is that library's to free:
//! [`Device::is_withdrawn`] tells when it may. What peers in the same process have open is not waited for: runtimes
//! open their own memory by reference.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, AcceleratorKind, DeviceMemory, PciAddress, ShareHandle},
    memory::{Access, LocalKey, MemoryKind, RemoteKey},
};

use super::{
    Device, ProtectionDomain,
    message::Share,
    peer::Peer,
    quiet::Quiet,
    regions::Grant,
    register::{RegisterError, check_range},
};
use crate::{
    identity::DeviceId,
    region::{Region, RegionFacts, RegionPath, Registration},
};

#[cfg(test)]
mod tests;

/// The accelerators whose memory a soft HCA reaches.
#[derive(Clone, Default)]
pub struct Accelerators(Vec<Arc<dyn Accelerator>>);

impl Accelerators {
    /// These. Of two for the same device the first is used.
    #[must_use]
    pub fn new(accelerators: Vec<Arc<dyn Accelerator>>) -> Self {
        Self(accelerators)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Accelerator>> {
        self.0.iter()
    }

    /// Where the first of them is whose place is known.
    pub(crate) fn place(&self) -> Option<PciAddress> {
        self.0.iter().find_map(|accelerator| accelerator.identity().pci)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn at(&self, index: usize) -> Option<&Arc<dyn Accelerator>> {
        self.0.get(index)
    }

    /// The one that drives this device.
    pub(super) fn find(&self, kind: AcceleratorKind, unique: &[u8; 16]) -> Option<usize> {
        self.0.iter().position(|accelerator| {
            let identity = accelerator.identity();
            identity.kind == kind && identity.unique == *unique
        })
    }
}

impl fmt::Debug for Accelerators {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().map(|accelerator| accelerator.identity());
        formatter.debug_list().entries(names.map(|of| (of.kind.name(), of.ordinal))).finish()
    }
}

impl PartialEq for Accelerators {
    /// The same values, not just the same devices.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(one, two)| Arc::ptr_eq(one, two))
    }
}

impl Eq for Accelerators {}

/// Registered device memory of one soft HCA.
#[derive(Debug, Default)]
pub(super) struct Memories {
    state: Mutex<Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    last: u32,
    entries: Vec<Entry>,
    withdrawn: Vec<Withdrawn>,
    /// Of those that were withdrawn, how many a thread is letting go of.
    going: usize,
}

/// Memory that was taken back and that peers may still have open.
#[derive(Debug)]
struct Withdrawn {
    number: u32,
    memory: Arc<dyn DeviceMemory>,
    /// Those that have not answered.
    waiting: Vec<Arc<Peer>>,
}

#[derive(Debug)]
struct Entry {
    number: u32,
    /// Which of the device's accelerators it belongs to.
    accelerator: usize,
    share: Option<ShareHandle>,
}

impl Memories {
    /// What opens each of them, for a peer that is new.
    pub(super) fn shares(&self) -> Vec<Share> {
        let state = self.lock();
        state.entries.iter().filter_map(|entry| Some(message(entry.number, entry.share.as_ref()?))).collect()
    }

    /// The accelerator of the memory with this number.
    pub(super) fn accelerator(&self, number: u32) -> Option<usize> {
        self.lock().entries.iter().find(|entry| entry.number == number).map(|entry| entry.accelerator)
    }

    fn add(&self, accelerator: usize, share: Option<ShareHandle>) -> u32 {
        let mut state = self.lock();
        // Four billion registrations later a number comes round again.
        loop {
            state.last = state.last.wrapping_add(1);
            let number = state.last;
            if number != 0 && state.entries.iter().all(|entry| entry.number != number) {
                state.entries.push(Entry { number, accelerator, share });
                return number;
            }
        }
    }

    /// Takes memory back that these peers may have open.
    fn withdraw(&self, number: u32, memory: Arc<dyn DeviceMemory>, waiting: Vec<Arc<Peer>>) {
        let mut state = self.lock();
        state.entries.retain(|entry| entry.number != number);
        state.withdrawn.push(Withdrawn { number, memory, waiting });
    }

    /// A peer does not have it open any more.
    pub(super) fn closed(&self, number: u32, peer: DeviceId) {
        let mut state = self.lock();
        let of_it = state.withdrawn.iter_mut().filter(|withdrawn| withdrawn.number == number);
        of_it.for_each(|withdrawn| withdrawn.waiting.retain(|waiting| waiting.id() != peer));
    }

    /// Lets go of what nobody has open any more. It may call the runtime, which engines do not.
    pub(super) fn let_go(&self) {
        let closed = self.take_closed();
        if closed.is_empty() {
            return;
        }
        let count = closed.len();
        drop(closed);
        self.lock().going -= count;
    }

    /// What nobody has open any more. It counts as going until [`let_go`](Self::let_go) has dropped it.
    fn take_closed(&self) -> Vec<Arc<dyn DeviceMemory>> {
        let mut state = self.lock();
        let mut closed = Vec::new();
        state.withdrawn.retain_mut(|withdrawn| {
            withdrawn.waiting.retain(|peer| !peer.is_gone());
            if withdrawn.waiting.is_empty() {
                closed.push(withdrawn.memory.clone());
            }
            !withdrawn.waiting.is_empty()
        });
        state.going += closed.len();
        closed
    }

    /// Whether nothing is left of what was withdrawn, in any thread's hands either.
    fn are_gone(&self) -> bool {
        let state = self.lock();
        state.withdrawn.is_empty() && state.going == 0
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Device {
    /// Registers memory of an accelerator that the device was opened with
    /// ([`DeviceConfig::accelerators`](super::DeviceConfig::accelerators)). Copies are made by the accelerator's streams,
    /// behind nothing that the application has in its own: a transfer is posted when the kernels that write or read the
    /// range are done with it. Memory of the host (pinned, for instance) is registered as such.
    ///
    /// What there is not: SEND from device memory and receives into it, atomics on it
    /// ([`Syndrome`](pmd_core::wire::Syndrome)s `LocalProtection` and `RemoteInvalidRequest`).
    ///
    /// # Errors
    /// [`RegisterError::NoAccelerator`] for a device that this one was not opened with; [`RegisterError::Accelerator`]
    /// where a peer is to reach memory that its runtime cannot share; else as [`Device::register`].
    pub fn register_device(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<Region, RegisterError> {
        let described = memory.description();
        let (address, length) = (described.address, described.length);
        if described.kind != MemoryKind::Device {
            return self.register_kept(memory, access, protection_domain);
        }
        check_range(address, length, access)?;
        let owner = memory.accelerator();
        let identity = owner.identity();
        let accelerators = &self.config().accelerators;
        let index = accelerators.find(identity.kind, &identity.unique);
        let index =
            index.ok_or(RegisterError::NoAccelerator { kind: identity.kind, ordinal: identity.ordinal })?;
        let share = match memory.share() {
            Ok(share) if share.opaque.len() <= ShareHandle::LONGEST => Some(share),
            Ok(_) => return Err(RegisterError::Accelerator(too_long(identity.kind))),
            Err(AcceleratorError::Unsupported { .. }) if !is_remote(access) => None,
            Err(error) => return Err(RegisterError::Accelerator(error)),
        };
        self.memories().let_go();
        let number = self.memories().add(index, share.clone());
        if let Some(share) = &share {
            self.exchange().announce_share(message(number, share));
        }
        let mut registration = DeviceRegistration { device: self.clone(), number, key: None, memory };
        let grant = Grant { address, length, access, protection_domain, arena: None, device: Some(number) };
        let key = self.regions().insert(&grant)?;
        registration.key = Some(key);
        let (local_key, remote_key, path) = (LocalKey(key), RemoteKey(key), RegionPath::DeviceCopy);
        let facts = RegionFacts { address, length, local_key, remote_key, access, path };
        Ok(Region::new(facts, Box::new(registration)))
    }
}

impl Device {
    /// Whether every peer has closed what was shared of device memory that is deregistered by now. Until then the owner
    /// of memory that was [adopted](Accelerator::adopt) keeps it allocated. Takes in what peers have sent; does not wait.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.service();
        self.memories().let_go();
        self.memories().are_gone()
    }
}

fn too_long(kind: AcceleratorKind) -> AcceleratorError {
    AcceleratorError::Unsupported {
        kind,
        what: "share memory",
        why: "its handle is longer than a frame takes",
    }
}

fn is_remote(access: Access) -> bool {
    access.intersects(Access::REMOTE_READ | Access::REMOTE_WRITE | Access::REMOTE_ATOMIC)
}

fn message(number: u32, handle: &ShareHandle) -> Share {
    let ShareHandle { kind, device, opaque, offset, length } = handle.clone();
    Share { number, kind: kind.name().to_owned(), device, opaque, offset, length }
}

/// The accelerator that a peer names.
pub(super) fn kind_of(name: &str) -> Option<AcceleratorKind> {
    use AcceleratorKind::{Ascend, Cpu, Cuda, Rocm};
    [Cpu, Cuda, Rocm, Ascend].into_iter().find(|kind| kind.name() == name)
}

/// A key of device memory.
#[derive(Debug)]
struct DeviceRegistration {
    device: Device,
    number: u32,
    /// None until there is one.
    key: Option<u32>,
    /// Stays allocated until the key is gone, and nobody has it open.
    memory: Arc<dyn DeviceMemory>,
}

impl Registration for DeviceRegistration {}

impl Drop for DeviceRegistration {
    fn drop(&mut self) {
        if !self.device.is_owner() {
            return;
        }
        if let Some(key) = self.key {
            let revoked = self.device.regions().revoke(key);
            Quiet::everywhere(&self.device, &revoked).wait();
            self.device.regions().release(key);
        }
        // Whoever has it open was told of it, and said hello before its first copy.
        let mut peers = self.device.exchange().told_peers();
        peers.retain(|peer| !peer.is_same_process() && !peer.is_gone());
        self.device.memories().withdraw(self.number, self.memory.clone(), peers);
        self.device.exchange().withdraw_share(self.number);
        self.device.memories().let_go();
    }
}
