//! Registered memory that cases fill and look at. Beds make it.
#![allow(unsafe_code)] // memory that a device writes is reached by pointer only

use std::{
    alloc::Layout,
    any::Any,
    fmt,
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{CopyDirection, CopyRange, Stream},
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
};
use pmd_host::accelerator::wait_for;

/// Registered memory. The registration is taken back before the memory is freed.
pub struct Memory {
    base: NonNull<u8>,
    length: usize,
    local: LocalKey,
    remote: RemoteKey,
    registration: Option<Box<dyn Any + Send + Sync>>,
    /// Copies to and from memory that only an accelerator touches.
    stream: Option<Arc<dyn Stream>>,
    _backing: Box<dyn Any + Send + Sync>,
}

// SAFETY: the pointer is to memory that the value owns and reaches bytewise; cases see to it that nobody reads what
// another thread writes, except for looking whether a byte changes at all.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Memory at `base` that `backing` keeps mapped, registered by what `registration` undoes when it is dropped.
    ///
    /// # Safety
    /// `length` bytes at `base` stay mapped while `backing` lives, and no reference to them exists.
    pub(crate) unsafe fn new(
        (base, length): (NonNull<u8>, usize),
        (local, remote): (LocalKey, RemoteKey),
        registration: Box<dyn Any + Send + Sync>,
        backing: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let _ = base.as_ptr().expose_provenance();
        Self {
            base,
            length,
            local,
            remote,
            registration: Some(registration),
            stream: None,
            _backing: backing,
        }
    }

    /// The same, of an accelerator: bytes are read and written by this stream only.
    pub(crate) fn behind(mut self, stream: Arc<dyn Stream>) -> Self {
        self.stream = Some(stream);
        self
    }

    fn copy(stream: &Arc<dyn Stream>, (from, to): (u64, u64), length: usize, direction: CopyDirection) {
        const PATIENCE: Duration = Duration::from_secs(60);
        let range = CopyRange { from, to, length: length as u64, direction };
        // SAFETY: both sides live until the copy is done, which is waited for.
        unsafe { stream.copy(&[range]) }.expect("a copy within the memory");
        let copied = stream.record().expect("an event");
        assert_eq!(wait_for(&*copied, Some(Instant::now() + PATIENCE)), Ok(true));
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Key for the owner's requests.
    #[must_use]
    pub const fn local_key(&self) -> LocalKey {
        self.local
    }

    /// First byte, as a pointer.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// First byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.base.addr().get() as u64
    }

    /// `length` bytes at `offset`, for a request of the owner. Also beyond the end, which requests must not reach.
    #[must_use]
    pub fn sge(&self, offset: usize, length: usize) -> Sge {
        Sge { address: self.address() + offset as u64, length: length as u32, key: self.local }
    }

    /// The place at `offset`, for a request of the peer.
    #[must_use]
    pub fn remote(&self, offset: usize) -> RemoteAddress {
        RemoteAddress { address: self.address() + offset as u64, key: self.remote }
    }

    /// Writes bytes, while no transfer touches them.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length, "a case stays inside of its memory");
        if let Some(stream) = &self.stream {
            let range = (bytes.as_ptr() as u64, self.address() + offset as u64);
            return Self::copy(stream, range, bytes.len(), CopyDirection::HostToDevice);
        }
        // SAFETY: in range, and no transfer runs.
        unsafe { self.base.as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// Sets all bytes.
    pub fn fill(&self, byte: u8) {
        if self.stream.is_some() {
            return self.write(0, &vec![byte; self.length]);
        }
        // SAFETY: all of the memory.
        unsafe { self.base.as_ptr().write_bytes(byte, self.length) };
    }

    /// The bytes, while no transfer touches them, or as they are at some moment of one.
    #[must_use]
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length, "a case stays inside of its memory");
        let mut bytes = vec![0; length];
        if let Some(stream) = &self.stream {
            let range = (self.address() + offset as u64, bytes.as_mut_ptr() as u64);
            Self::copy(stream, range, length, CopyDirection::DeviceToHost);
            return bytes;
        }
        // SAFETY: in range; what a transfer may change meanwhile is copied as it is.
        unsafe { self.base.as_ptr().add(offset).copy_to(bytes.as_mut_ptr(), length) };
        bytes
    }

    /// A number of eight bytes.
    #[must_use]
    pub fn word(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.read(offset, 8));
        u64::from_ne_bytes(bytes)
    }

    /// Writes a number of eight bytes.
    pub fn set_word(&self, offset: usize, value: u64) {
        self.write(offset, &value.to_ne_bytes());
    }

    /// Takes the registration back: when this returns nothing touches the memory. The memory stays.
    pub fn deregister(&mut self) {
        assert!(self.registration.take().is_some(), "deregistered twice");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Before the memory itself.
        self.registration = None;
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Memory({} bytes at {:#x})", self.length, self.address())
    }
}

/// Zeroed memory of the heap, at the start of a page.
#[derive(Debug)]
pub(crate) struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: owns its memory, which is reached through `Memory`'s pointer.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Heap {
    pub(crate) fn new(length: usize) -> Self {
        let layout = Layout::from_size_align(length.max(1), 4096).expect("a case's size");
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
        Self { base, layout }
    }

    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.base.as_ptr(), self.layout) };
    }
}
