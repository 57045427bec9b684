//! Memory registered with an endpoint, and work lists between two of them.

use std::{any::Any, ptr::NonNull, sync::Arc};

use pmd_core::memory::{Access, MemoryKind, RegionDescription, RemoteAddress};
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, Registered},
    soft::ArenaOptions,
    transfer::{Direction, LocalPiece, WorkList, WorkListBuilder, WorkListLimits},
};

use crate::memory::Heap;

/// Bytes of one transfer; a peer's memory has a half to read and a half to write.
pub(super) const HALF: usize = 1 << 20;
/// Pushes of a child.
pub(super) const ROUNDS: u64 = 48;
/// Bytes of one push.
pub(super) const BLOCK: usize = 16 << 10;

/// Memory with its registration. The registration goes first.
pub(super) struct Shared {
    registered: Registered,
    base: NonNull<u8>,
    length: usize,
    _backing: Box<dyn Any + Send + Sync>,
}

// SAFETY: the pointer is to memory that the value owns and reaches bytewise.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Zeroed memory of an arena or of the heap.
    pub(super) fn new(endpoint: &Endpoint, arena: bool, length: usize) -> Self {
        if arena {
            let arena = endpoint.allocate(length, ArenaOptions::default()).expect("an arena");
            let registered = endpoint.register(&arena, Access::READ_WRITE).expect("registering");
            let base = NonNull::new(arena.as_ptr()).expect("an arena is not at address 0");
            return Self { registered, base, length, _backing: Box::new(arena) };
        }
        let heap = Heap::new(length);
        let base = heap.base();
        let (address, kind) = (base.addr().get() as u64, MemoryKind::Host);
        let memory = RegionDescription { address, length: length as u64, kind, descriptor: None };
        // SAFETY: the heap memory outlives the registration, which is dropped first, and is reached by pointer only.
        let registered = unsafe { endpoint.register_memory(&memory, Access::READ_WRITE) };
        Self { registered: registered.expect("registering"), base, length, _backing: Box::new(heap) }
    }

    pub(super) fn address(&self) -> u64 {
        self.base.addr().get() as u64
    }

    /// Key for peers over a transport.
    pub(super) fn remote_key(&self, transport: Transport) -> u32 {
        self.registered.remote_key(transport).expect("registered for the transport").0
    }

    pub(super) fn piece(&self, transport: Transport, offset: usize, length: usize) -> LocalPiece {
        let key = self.registered.local_key(transport).expect("registered for the transport");
        LocalPiece { address: self.address() + offset as u64, length: length as u64, key }
    }

    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length);
        // SAFETY: in range; no transfer that a case cares for runs there.
        unsafe { self.base.as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    pub(super) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        let mut bytes = vec![0; length];
        // SAFETY: in range; what a transfer may change meanwhile is copied as it is.
        unsafe { self.base.as_ptr().add(offset).copy_to(bytes.as_mut_ptr(), length) };
        bytes
    }
}

/// A work list in requests of 64 KiB.
pub(super) fn list(
    direction: Direction,
    pieces: impl IntoIterator<Item = (LocalPiece, RemoteAddress)>,
) -> Arc<WorkList> {
    let limits = WorkListLimits { max_message: 64 << 10, ..WorkListLimits::default() };
    let mut builder = WorkListBuilder::new(direction, limits);
    pieces.into_iter().for_each(|(local, remote)| builder.push(local, remote));
    Arc::new(builder.finish())
}
