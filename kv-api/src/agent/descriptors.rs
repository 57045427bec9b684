//! Lists of descriptors, and their bytes: runs of blocks at one distance count as one, however many there are.

use pmd_core::memory::MemoryKind;
use serde::{Deserialize, Serialize};

use super::AgentError;

/// First bytes of a list, and its version.
const MAGIC: [u8; 4] = *b"PMD2";

/// Most descriptors that a list of bytes may stand for: a few bytes can name any number.
pub(super) const MOST_DESCRIPTORS: u64 = 1 << 24;

/// Kinds of memory, with NIXL's numbers (`nixl_mem_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[repr(u8)]
pub enum MemoryType {
    /// Memory of this process (`DRAM_SEG`).
    #[default]
    Dram = 0,
    /// Memory of an accelerator (`VRAM_SEG`).
    Vram = 1,
    /// A block device (`BLK_SEG`). Not offered.
    Block = 2,
    /// An object store (`OBJ_SEG`). Not offered.
    Object = 3,
    /// A file (`FILE_SEG`). Not offered.
    File = 4,
}

impl MemoryType {
    /// As registrars know it.
    ///
    /// # Errors
    /// [`AgentError::Unsupported`] for storage.
    pub const fn kind(self) -> Result<MemoryKind, AgentError> {
        match self {
            Self::Dram => Ok(MemoryKind::Host),
            Self::Vram => Ok(MemoryKind::Device),
            Self::Block => Err(AgentError::Unsupported { what: "BLK_SEG" }),
            Self::Object => Err(AgentError::Unsupported { what: "OBJ_SEG" }),
            Self::File => Err(AgentError::Unsupported { what: "FILE_SEG" }),
        }
    }
}

/// One contiguous piece of memory: NIXL's `(addr, len, devID)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Descriptor {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Number of the accelerator; 0 for memory of the host.
    pub device: u64,
}

/// Descriptors of one kind of memory, in an order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DescriptorList {
    /// What they are in.
    pub memory: MemoryType,
    /// The pieces.
    pub descriptors: Vec<Descriptor>,
}

/// `count` blocks of the same size at the same distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) device: u64,
    pub(super) stride: i64,
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    memory: MemoryType,
    runs: Vec<Run>,
}

impl DescriptorList {
    /// Descriptors of the host's memory.
    #[must_use]
    pub fn dram(pieces: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let descriptor = |(address, length)| Descriptor { address, length, device: 0 };
        Self { memory: MemoryType::Dram, descriptors: pieces.into_iter().map(descriptor).collect() }
    }

    /// The list as bytes for another agent. Its order is kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut runs: Vec<Run> = Vec::new();
        for descriptor in &self.descriptors {
            if !runs.last_mut().is_some_and(|run| run.extend(descriptor)) {
                runs.push(Run::of(descriptor));
            }
        }
        // Numbers always encode.
        let body = postcard::to_allocvec(&Encoded { memory: self.memory, runs }).unwrap_or_default();
        [&MAGIC[..], &body].concat()
    }

    /// What another agent's bytes say.
    ///
    /// # Errors
    /// [`AgentError::Malformed`]: not a list, or one of more than 2^24 descriptors.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AgentError> {
        let malformed = || AgentError::Malformed { what: "a list of descriptors", length: bytes.len() };
        let body = bytes.strip_prefix(&MAGIC).ok_or_else(malformed)?;
        let Encoded { memory, runs } = postcard::from_bytes(body).map_err(|_| malformed())?;
        check(&runs).ok_or_else(malformed)?;
        Ok(Self { memory, descriptors: runs.iter().flat_map(Run::descriptors).collect() })
    }
}

/// Whether runs can be unrolled: few enough, and none wraps.
pub(super) fn check(runs: &[Run]) -> Option<()> {
    let mut total = 0_u64;
    for run in runs {
        total = total.checked_add(run.count).filter(|total| *total <= MOST_DESCRIPTORS)?;
        let last = i64::try_from(run.count.checked_sub(1)?).ok()?.checked_mul(run.stride)?;
        run.address.checked_add_signed(last)?;
    }
    Some(())
}

impl Run {
    pub(super) const fn of(descriptor: &Descriptor) -> Self {
        let Descriptor { address, length, device } = *descriptor;
        Self { address, length, device, stride: 0, count: 1 }
    }

    /// Whether the descriptor continues the run; then it is part of it now.
    pub(super) fn extend(&mut self, descriptor: &Descriptor) -> bool {
        let distance = descriptor.address.wrapping_sub(self.address) as i64;
        if descriptor.length != self.length || descriptor.device != self.device {
            return false;
        }
        let stride = if self.count == 1 { distance } else { self.stride };
        let continues = i64::try_from(self.count).ok().and_then(|count| count.checked_mul(stride))
            == Some(distance)
            && self.address.checked_add_signed(distance) == Some(descriptor.address);
        if continues {
            (self.stride, self.count) = (stride, self.count + 1);
        }
        continues
    }

    /// The blocks, which [`check`] has found to be sound.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = Descriptor> + use<> {
        let Self { address, length, device, stride, count } = *self;
        (0..count as i64).map(move |index| {
            let address = address.wrapping_add_signed(index.wrapping_mul(stride));
            Descriptor { address, length, device }
        })
    }
}
