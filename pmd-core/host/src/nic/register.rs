//! Registration with a NIC: memory of this process, and an accelerator's through a dma-buf.
#![allow(unsafe_code)] // calls libibverbs

use std::{ffi::c_void, io, ptr::NonNull};

use pmd_core::memory::{Access, LocalKey, MemoryKind, RegionSource, RemoteKey};
use pmd_sys::{LoadError, inline::ibv_reg_mr, verbs::ibv_mr};
use thiserror::Error;

use super::Device;
use crate::region::{PathRefusal, Region, RegionFacts, RegionPath, Registration};

/// Why a range was not registered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No bytes.
    #[error("a region needs at least one byte")]
    Empty,
    /// The range ends beyond the address space.
    #[error("{length} bytes at {address:#x} reach beyond the address space")]
    Overflow {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// Remote writing or atomics without local writing.
    #[error("{access:?}: remote writing and atomics need LOCAL_WRITE as well")]
    InconsistentAccess {
        /// What was asked for.
        access: Access,
    },
    /// The accelerator gave no dma-buf for its memory, and no kernel module lets the NIC in by its address (peer memory).
    #[error(
        "device memory at {address:#x} has no dma-buf descriptor: let its accelerator export one, load its peer memory \
         module, or copy to pinned memory of the host first ({peer_memory})"
    )]
    NoDescriptor {
        /// First byte.
        address: u64,
        /// What the kernel said to the address.
        peer_memory: io::Error,
    },
    /// Peers are to reach device memory that the NIC does not reach; only this side's own requests can be staged.
    #[error(
        "peers cannot be let into device memory ({length} bytes at {address:#x}, {access:?}): load the accelerator's peer \
         memory module (nvidia-peermem), or take a kernel and a driver with dma-buf (Linux 5.12, NVIDIA's open modules), \
         or register it with LOCAL_WRITE alone, which is staged through the host{}",
        listed(refusals)
    )]
    Unreachable {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
        /// What was asked for.
        access: Access,
        /// Which ways there were not, best first.
        refusals: Vec<PathRefusal>,
    },
    /// The installed library cannot register such memory.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// The device or the kernel refused.
    #[error("registering {length} bytes at {address:#x} with {device}: {call} failed ({})", advice(source))]
    System {
        /// Device name.
        device: String,
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// The ways that were tried.
fn listed(refusals: &[PathRefusal]) -> String {
    refusals.iter().map(|refusal| format!("; {refusal}")).collect()
}

/// What to look at when the kernel refuses to register.
fn advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::ENOMEM) => "raise the limit of locked memory, ulimit -l",
        Some(libc::EFAULT) => {
            "part of the range is not mapped, or not writable although the access asks for it"
        }
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EPROTONOSUPPORT) => {
            "the device or the kernel does not register this kind of memory"
        }
        _ => "see the source",
    }
}

impl Device {
    /// Registers `length` bytes at `address` of this process.
    ///
    /// # Errors
    /// [`RegisterError`].
    ///
    /// # Safety
    /// The range stays mapped until the region is dropped, and no `&[u8]` or `&mut [u8]` to it exists while a
    /// transfer may touch it: own requests with the local key, peers with the remote key.
    pub unsafe fn register(
        &self,
        address: u64,
        length: u64,
        access: Access,
    ) -> Result<Region, RegisterError> {
        // SAFETY: passed on.
        unsafe { self.register_address(address, length, access, RegionPath::Pinned) }
    }

    /// Registers what `source` describes: host memory by its address, device memory by its dma-buf descriptor, or by its
    /// address where there is none and the accelerator's kernel module lets NICs in. [`Region::path`] tells which.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register_source(
        &self,
        source: &(impl RegionSource + ?Sized),
        access: Access,
    ) -> Result<Region, RegisterError> {
        let described = source.description();
        let (address, length) = (described.address, described.length);
        match (described.kind, described.descriptor) {
            (MemoryKind::Device, Some((descriptor, offset))) => {
                self.register_dma_buf(descriptor, offset, address, length, access)
            }
            (MemoryKind::Device, None) => {
                // SAFETY: as below.
                let region =
                    unsafe { self.register_address(address, length, access, RegionPath::PeerMemory) };
                region.map_err(|error| match error {
                    RegisterError::System { source, .. } => {
                        RegisterError::NoDescriptor { address, peer_memory: source }
                    }
                    other => other,
                })
            }
            // SAFETY: the implementer of `RegionSource` promises exactly this of what it describes.
            _ => unsafe { self.register(address, length, access) },
        }
    }

    /// Has the kernel look up the memory at an address.
    ///
    /// # Safety
    /// As [`Device::register`].
    pub(super) unsafe fn register_address(
        &self,
        address: u64,
        length: u64,
        access: Access,
        path: RegionPath,
    ) -> Result<Region, RegisterError> {
        check(address, length, access)?;
        // SAFETY: the caller's promise.
        let answer = unsafe {
            ibv_reg_mr(
                self.verbs(),
                self.protection_domain().as_ptr(),
                address as *mut c_void,
                length as usize,
                access.bits(),
            )
        }?;
        self.region(answer, "ibv_reg_mr", address, length, access, path)
    }

    /// Registers `length` bytes from `offset` of a dma-buf, under the addresses that its accelerator uses. The kernel
    /// keeps a reference of its own to the memory.
    pub(super) fn register_dma_buf(
        &self,
        descriptor: i32,
        offset: u64,
        address: u64,
        length: u64,
        access: Access,
    ) -> Result<Region, RegisterError> {
        check(address, length, access)?;
        // SAFETY: the protection domain is live; a descriptor that is no dma-buf is refused by the kernel.
        let answer = unsafe {
            self.verbs().ibv_reg_dmabuf_mr(
                self.protection_domain().as_ptr(),
                offset,
                length as usize,
                address,
                descriptor,
                access.bits() as i32,
            )
        }?;
        self.region(answer, "ibv_reg_dmabuf_mr", address, length, access, RegionPath::DmaBuf)
    }

    fn region(
        &self,
        answer: *mut ibv_mr,
        call: &'static str,
        address: u64,
        length: u64,
        access: Access,
        path: RegionPath,
    ) -> Result<Region, RegisterError> {
        let Some(region) = NonNull::new(answer) else {
            let (device, source) = (self.name().to_owned(), io::Error::last_os_error());
            return Err(RegisterError::System { device, address, length, call, source });
        };
        // SAFETY: the region was just made.
        let (local_key, remote_key) = unsafe { (region.as_ref().lkey, region.as_ref().rkey) };
        let (local_key, remote_key) = (LocalKey(local_key), RemoteKey(remote_key));
        let facts = RegionFacts { address, length, local_key, remote_key, access, path };
        Ok(Region::new(facts, Box::new(NicRegistration { device: self.clone(), region })))
    }
}

/// A memory region of a NIC. Deregistering waits until the device touches the memory no more.
#[derive(Debug)]
struct NicRegistration {
    device: Device,
    region: NonNull<ibv_mr>,
}

// SAFETY: a memory region is only deregistered, once, which any thread may do.
unsafe impl Send for NicRegistration {}
// SAFETY: as above; nothing is done through a shared reference.
unsafe impl Sync for NicRegistration {}

impl Registration for NicRegistration {}

impl Drop for NicRegistration {
    fn drop(&mut self) {
        // SAFETY: the region is live and this is its only owner. The kernel gives it back with the process otherwise.
        let _ = unsafe { self.device.verbs().ibv_dereg_mr(self.region.as_ptr()) };
    }
}

pub(super) fn check(address: u64, length: u64, access: Access) -> Result<(), RegisterError> {
    if length == 0 {
        return Err(RegisterError::Empty);
    }
    if address.checked_add(length).is_none() || usize::try_from(length).is_err() {
        return Err(RegisterError::Overflow { address, length });
    }
    if !access.is_consistent() {
        return Err(RegisterError::InconsistentAccess { access });
    }
    Ok(())
}
