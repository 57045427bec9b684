//! How an engine finds a peer's bytes: by pointer, through the kernel, or not at all.

use std::sync::{Arc, Weak};

use pmd_core::{memory::Access, ring::quiesce::Active};

use super::{
    Device, ProtectionDomain,
    memory::Mapping,
    peer::Peer,
    regions::{KeyFault, Wanted},
};

/// Where the bytes of a remote range are, from this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Here. Good until the round ends.
    Direct(*mut u8),
    /// In the memory of another process, for `process_vm_readv` and `process_vm_writev`.
    Process {
        /// Whose.
        pid: i32,
        /// First byte there.
        address: u64,
    },
    /// Out of reach: the peer's engine has to move them.
    Packets,
    /// In memory of an accelerator: its streams have to move them.
    Device(Shared),
}

/// A range of device memory, as its owner numbers and addresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    /// Which memory of the owner's.
    pub(crate) number: u32,
    /// Where in it the range begins.
    pub(crate) offset: u64,
    /// First byte, in the owner's address space.
    pub(crate) address: u64,
}

impl Peer {
    /// Checks `key` in the peer's table and says where the range is. `active` is the round in which the bytes are
    /// moved; `protection_domain` is that of the peer's queue pair.
    ///
    /// Takes no lock and makes no system call, unless the arena is one that `mappings` has not met.
    ///
    /// # Errors
    /// [`KeyFault`], for a remote access error.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "a request's fields, each needed, in the hottest path")]
    pub(crate) fn reach(
        self: &Arc<Self>,
        mappings: &mut MappingCache,
        active: &Active<'_>,
        key: u32,
        address: u64,
        length: u64,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<Reach, KeyFault> {
        let wanted = Wanted { address, length, access, protection_domain };
        let grant = self.segment().check(active, key, &wanted)?;
        if let Some(number) = grant.device {
            let offset = address.wrapping_sub(grant.address);
            return Ok(Reach::Device(Shared { number, offset, address }));
        }
        if self.is_direct() {
            return Ok(Reach::Direct(address as *mut u8));
        }
        if self.maps_arenas()
            && let Some((arena, start)) = grant.arena
        {
            let offset = start.wrapping_add(address.wrapping_sub(grant.address));
            if let Some(pointer) = mappings.locate(self, arena, offset, length) {
                return Ok(Reach::Direct(pointer));
            }
        }
        if self.is_permitted() {
            return Ok(Reach::Process { pid: self.pid(), address });
        }
        Ok(Reach::Packets)
    }
}

/// One engine's view of the arenas of all peers.
#[derive(Debug)]
pub(crate) struct MappingCache {
    device: Device,
    known: Vec<Known>,
    /// Index of the peer asked for last.
    last: usize,
    /// Mappings that went away while a round may still use pointers into them.
    retired: Vec<Arc<Mapping>>,
}

#[derive(Debug)]
struct Known {
    peer: Weak<Peer>,
    generation: u64,
    /// By id, ascending.
    arenas: Vec<(u32, Arc<Mapping>)>,
}

impl MappingCache {
    /// A cache that knows nothing.
    pub(crate) fn new(device: &Device) -> Self {
        Self { device: device.clone(), known: Vec::new(), last: 0, retired: Vec::new() }
    }

    /// Whether streams copy from and to an address of a peer's arena themselves, which [`Peer::reach`] has just told.
    pub(crate) fn is_pinned(&self, address: u64) -> bool {
        let arenas = self.known.get(self.last).map(|known| &known.arenas[..]).unwrap_or_default();
        arenas.iter().any(|(_, mapping)| {
            let offset = address.wrapping_sub(mapping.base().as_ptr() as u64);
            offset < mapping.length() as u64 && mapping.is_pinned()
        })
    }

    /// Lets go of mappings that peers do not use any more. Call it between rounds, when there is time.
    pub(crate) fn trim(&mut self) {
        self.retired.clear();
        self.known.retain(|known| known.peer.strong_count() > 0);
        for known in &mut self.known {
            if let Some(peer) = known.peer.upgrade() {
                known.refresh(&peer, &mut self.retired);
            }
        }
        self.retired.clear();
    }

    /// Pointer to `offset` of a peer's arena, if `length` bytes from there are inside its mapping.
    #[inline]
    fn locate(&mut self, peer: &Arc<Peer>, arena: u32, offset: u64, length: u64) -> Option<*mut u8> {
        let index = self.find(peer);
        if self.known[index].generation != peer.generation() {
            self.known[index].refresh(peer, &mut self.retired);
        }
        if let Some(mapping) = self.known[index].arena(arena) {
            return inside(mapping, offset, length);
        }
        self.locate_new(peer, index, arena, offset, length)
    }

    /// The arena was announced before its key was handed out, so the announcement is here by now, unless the
    /// exchange is busy or mapping it failed.
    #[cold]
    fn locate_new(
        &mut self,
        peer: &Arc<Peer>,
        index: usize,
        arena: u32,
        offset: u64,
        length: u64,
    ) -> Option<*mut u8> {
        self.device.service();
        self.known[index].refresh(peer, &mut self.retired);
        inside(self.known[index].arena(arena)?, offset, length)
    }

    #[inline]
    fn find(&mut self, peer: &Arc<Peer>) -> usize {
        let is_it = |known: &Known| std::ptr::eq(known.peer.as_ptr(), Arc::as_ptr(peer));
        if !self.known.get(self.last).is_some_and(is_it) {
            self.last = self.known.iter().position(is_it).unwrap_or_else(|| {
                let generation = peer.generation().wrapping_sub(1);
                self.known.push(Known { peer: Arc::downgrade(peer), generation, arenas: Vec::new() });
                self.known.len() - 1
            });
        }
        self.last
    }
}

impl Known {
    #[inline]
    fn arena(&self, id: u32) -> Option<&Mapping> {
        let index = self.arenas.binary_search_by_key(&id, |arena| arena.0).ok()?;
        Some(&self.arenas[index].1)
    }

    fn refresh(&mut self, peer: &Peer, retired: &mut Vec<Arc<Mapping>>) {
        let generation = peer.generation();
        if self.generation != generation {
            self.generation = generation;
            let old = std::mem::replace(&mut self.arenas, peer.arenas());
            retired.extend(old.into_iter().map(|(_, mapping)| mapping));
        }
    }
}

/// What the peer's table says is not trusted with memory of this process.
#[inline]
fn inside(mapping: &Mapping, offset: u64, length: u64) -> Option<*mut u8> {
    let size = mapping.length() as u64;
    let fits = offset <= size && length <= size - offset;
    fits.then(|| mapping.base().as_ptr().wrapping_add(offset as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soft::memory::{PAGE, Protection, memory_file};

    #[test]
    fn nothing_outside_of_a_mapping_is_inside() {
        let file = memory_file(c"pmd-test", PAGE, false).unwrap();
        let mapping = Mapping::new(&file, PAGE, Protection::Read).unwrap();
        let page = PAGE as u64;
        let base = mapping.base().as_ptr();
        for (offset, length) in [(0, page), (page - 1, 1), (page, 0), (8, 0)] {
            assert_eq!(inside(&mapping, offset, length), Some(base.wrapping_add(offset as usize)));
        }
        for (offset, length) in [(0, page + 1), (page - 1, 2), (page, 1), (page + 1, 0), (u64::MAX, 2)] {
            assert_eq!(inside(&mapping, offset, length), None, "{length} bytes at {offset}");
        }
    }
}
