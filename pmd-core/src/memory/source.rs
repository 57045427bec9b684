//! How memory is described before it is registered; implemented by the accelerator crates and by host memory.

/// Where the bytes of a region live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryKind {
    /// Ordinary memory of this process (heap, stack, NumPy, pinned host memory).
    Host,
    /// Memory of this process that lives in a descriptor which a process on this host can map.
    Shared,
    /// Memory of an accelerator, reachable by its address only through the accelerator or a DMA mapping.
    Device,
}

/// One contiguous range, described well enough to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionDescription {
    /// First byte, as the owner's process addresses it.
    pub address: u64,
    /// Bytes, more than zero.
    pub length: u64,
    /// Where the bytes live.
    pub kind: MemoryKind,
    /// For [`MemoryKind::Shared`] and dma-buf memory: an open descriptor and the offset of `address` in it.
    /// The registrar duplicates the descriptor; the source keeps its own.
    pub descriptor: Option<(i32, u64)>,
}

/// Memory that can be registered.
///
/// # Safety
/// The implementer promises that the described range is mapped and stays so, at the same address, for as long as
/// any value that registration gave out for it lives; that the descriptor, if any, refers to that same memory;
/// and that writing the range through a device breaks no Rust reference (the bytes are not borrowed as `&[u8]` or
/// `&mut [u8]` while a transfer may touch them).
///
/// The caller (the registrar) promises to write the range only for transfers that the owner asked for or for
/// peers that hold a key for it.
#[expect(unsafe_code, reason = "the trait carries a promise about memory that the compiler cannot check")]
pub unsafe trait RegionSource {
    /// Describes the memory as it is now.
    fn description(&self) -> RegionDescription;
}
