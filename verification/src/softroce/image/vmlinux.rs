//! Finds the kernel proper in Debian's compressed kernel. Called by `image`.
//!
//! The emulated processor would take ten seconds to decompress it; QEMU starts the plain ELF file directly.

use std::ops::Range;

/// Fields of the boot header (kernel documentation "The Linux/x86 Boot Protocol").
const SETUP_SECTORS: usize = 0x1f1;
const SIGNATURE: Range<usize> = 0x202..0x206;
const VERSION: Range<usize> = 0x206..0x208;
const PAYLOAD_OFFSET: Range<usize> = 0x248..0x24c;
const PAYLOAD_LENGTH: Range<usize> = 0x24c..0x250;

/// The first version that says where the payload is.
const FIRST_VERSION: u32 = 0x0208;

const SECTOR: usize = 512;

/// What a header without a number of setup sectors means.
const DEFAULT_SETUP_SECTORS: usize = 4;

/// The payload ends with its length before compression.
const LENGTH_FIELD: usize = 4;

/// Why a file is not a kernel that can be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VmlinuxError {
    /// No boot header.
    #[error("no boot header: not a compressed kernel for x86")]
    NoHeader,
    /// A boot protocol that does not say where the payload is.
    #[error("boot protocol {version:#06x} does not say where the kernel is, {FIRST_VERSION:#06x} would")]
    OldProtocol {
        /// The version of the protocol.
        version: u32,
    },
    /// The header points outside of the file.
    #[error("the header promises bytes {from} to {to} of a file of {length} bytes")]
    Truncated {
        /// The first byte of the payload.
        from: usize,
        /// The byte after its last.
        to: usize,
        /// The file's length.
        length: usize,
    },
    /// A compression that is not known here.
    #[error("the kernel's compression is unknown: it begins with {0:02x?}")]
    UnknownCompression([u8; 4]),
    /// The decompressed payload is no ELF file.
    #[error("the decompressed kernel is not an ELF file")]
    NotElf,
}

/// A compression that kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// xz, as in Debian 12.
    Xz,
    /// Zstandard, as in later releases.
    Zstandard,
}

impl Compression {
    /// The command that decompresses standard input.
    pub(super) fn command(self) -> [&'static str; 2] {
        match self {
            Self::Xz => ["xz", "-dc"],
            Self::Zstandard => ["zstd", "-dcq"],
        }
    }

    /// The package that has the command.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Xz => "xz-utils",
            Self::Zstandard => "zstd",
        }
    }

    fn of(stream: &[u8]) -> Option<Self> {
        match stream {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstandard),
            _ => None,
        }
    }
}

/// The compressed kernel inside of `file`, and its compression.
pub(super) fn payload(file: &[u8]) -> Result<(Compression, &[u8]), VmlinuxError> {
    if file.get(SIGNATURE) != Some(b"HdrS") {
        return Err(VmlinuxError::NoHeader);
    }
    let version = number(file, VERSION)?;
    if version < FIRST_VERSION {
        return Err(VmlinuxError::OldProtocol { version });
    }
    let setup_sectors = match usize::from(file[SETUP_SECTORS]) {
        0 => DEFAULT_SETUP_SECTORS,
        sectors => sectors,
    };
    let from = (setup_sectors + 1) * SECTOR + number(file, PAYLOAD_OFFSET)? as usize;
    let to = from + number(file, PAYLOAD_LENGTH)? as usize;
    let truncated = VmlinuxError::Truncated { from, to, length: file.len() };
    let stream = file.get(from..to.saturating_sub(LENGTH_FIELD)).ok_or(truncated)?;
    let first = stream.first_chunk().copied().unwrap_or_default();
    let compression = Compression::of(stream).ok_or(VmlinuxError::UnknownCompression(first))?;
    Ok((compression, stream))
}

/// Checks that a decompressed payload is what QEMU can start.
pub(super) fn check_elf(kernel: &[u8]) -> Result<(), VmlinuxError> {
    if kernel.starts_with(b"\x7fELF") { Ok(()) } else { Err(VmlinuxError::NotElf) }
}

/// A little-endian number of at most four bytes.
fn number(file: &[u8], at: Range<usize>) -> Result<u32, VmlinuxError> {
    let bytes = file.get(at).ok_or(VmlinuxError::NoHeader)?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
}
