//! A NIC of a few hundred lines in this process, behind the lower seam: pmd-core's queue pairs at work, with a device
//! that does what the specification says and nothing more.
//!
//! ```text
//!   FakeBackend    Backend: creates, connects, fails, resets
//!        | QueueProvider<FakeHardware>
//!   hardware       doorbells, with what real hardware would only answer with silence checked: record, index, bytes
//!   requester      WQEs become packets in the peer's mailbox; answers retire them in order
//!   responder      packets of the own mailbox, in order: keys, bounds, rights, receives
//!   net            all mailboxes and all keys, under one lock
//! ```
//! Each engine touches its own queues only, on the thread that posts and polls; what belongs to others travels through
//! the mailboxes.
#![allow(unsafe_code)] // memory that driver and device share, and registered memory

mod backend;
mod block;
mod hardware;
mod net;
mod queue_pair;
mod queues;
mod requester;
mod responder;

use std::sync::Arc;

use pmd_core::memory::{Access, LocalKey, RemoteKey};

use self::{backend::FakeBackend, net::Net};
use super::{Ability, Bed, Device, Place};
use crate::{
    any::AnyBackend,
    memory::{Heap, Memory},
};

/// How a fake device does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Bytes of a completion entry.
    pub cqe_size: u32,
    /// Small messages arrive in the completion entry.
    pub scatter_to_completion: bool,
    /// Largest WQE that BlueFlame takes.
    pub blue_flame: u32,
    /// Requests begun, and requests served, in one doorbell or poll.
    pub pace: usize,
    /// Every other queue pair works in one turn of so many only, as packets of different routes arrive at different
    /// times.
    pub unevenness: u32,
}

impl Manner {
    /// As silicon likes it: everything at once, entries of 64 bytes.
    pub const BRISK: Self =
        Self { cqe_size: 64, scatter_to_completion: false, blue_flame: 256, pace: usize::MAX, unevenness: 1 };
    /// Two requests at a time, some queue pairs slower than others, large entries with payload in them, plain
    /// doorbells.
    pub const SLOW: Self =
        Self { cqe_size: 128, scatter_to_completion: true, blue_flame: 0, pace: 2, unevenness: 6 };
}

/// Fake devices that reach each other.
#[derive(Clone)]
pub struct FakeBed {
    name: &'static str,
    manner: Manner,
    net: Net,
}

impl FakeBed {
    /// A bed of that name on devices of that manner.
    #[must_use]
    pub fn new(name: &'static str, manner: Manner) -> Self {
        Self { name, manner, net: Net::default() }
    }
}

impl Bed for FakeBed {
    fn name(&self) -> &str {
        self.name
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::Processes => Some("the fake device is memory of one process"),
            Ability::DeviceMemory | Ability::Staging => Some("the fake device has no accelerator"),
            _ => None,
        }
    }

    fn device(&self, _: Place) -> Arc<dyn Device> {
        let domain = self.net.lock().domain();
        Arc::new(FakeDevice { net: self.net.clone(), manner: self.manner, domain })
    }
}

struct FakeDevice {
    net: Net,
    manner: Manner,
    domain: u32,
}

impl Device for FakeDevice {
    fn backend(&self, completions: u32) -> AnyBackend {
        let backend = FakeBackend::new(self.net.clone(), self.domain, self.manner, completions);
        AnyBackend::new(backend.expect("a fake back end"))
    }

    fn memory(&self, length: usize, access: Access) -> Memory {
        register(&self.net, length, access, self.domain)
    }

    fn foreign_memory(&self, length: usize, access: Access) -> Memory {
        let domain = self.net.lock().domain();
        register(&self.net, length, access, domain)
    }
}

/// Takes a key back.
struct Registration {
    net: Net,
    key: u32,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Whoever moves bytes holds the lock, so nobody does when this returns.
        self.net.lock().revoke(self.key);
    }
}

fn register(net: &Net, length: usize, access: Access, domain: u32) -> Memory {
    let heap = Heap::new(length);
    let base = heap.base();
    let address = base.addr().get() as u64;
    let key = net.lock().grant(net::Grant { address, length: length as u64, access, domain });
    let registration = Box::new(Registration { net: net.clone(), key });
    // SAFETY: the heap memory lives as long as the value, and is reached by pointer only.
    unsafe { Memory::new((base, length), (LocalKey(key), RemoteKey(key)), registration, Box::new(heap)) }
}
