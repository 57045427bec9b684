//! Memory as another process of the host names it: process, descriptor, and a number that tells a descriptor that was
//! used again. Opened through `/proc`, so that an owner that has ended or freed the memory is noticed.

use std::{
    fs::{self, OpenOptions},
    os::fd::OwnedFd,
};

use crate::FakeError;

/// How a handle begins.
const MAGIC: [u8; 4] = *b"FDV1";

/// Names an allocation of another process. 32 bytes; a runtime's longer handle is filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpcHandle {
    /// The process that owns the memory.
    pub process: u32,
    /// Its descriptor of the memory.
    pub descriptor: u32,
    /// The device, by its number in that process.
    pub device: u32,
    /// Bytes of the allocation.
    pub length: u64,
    /// In the name of the memfd.
    pub nonce: u64,
}

impl IpcHandle {
    /// Bytes of a handle.
    pub const BYTES: usize = 32;

    /// As it goes to the other process.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.process.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.descriptor.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.device.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.nonce.to_le_bytes());
        bytes
    }

    /// What a process was given; `None` for other bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let begins = bytes.starts_with(&MAGIC);
        let handle = Self {
            process: word(4)?,
            descriptor: word(8)?,
            device: word(12)?,
            length: long(16)?,
            nonce: long(24)?,
        };
        begins.then_some(handle)
    }

    /// Opens the memory.
    pub(crate) fn open(&self) -> Result<OwnedFd, FakeError> {
        let path = format!("/proc/{}/fd/{}", self.process, self.descriptor);
        let gone = |_| FakeError::Gone;
        let found = fs::read_link(&path).map_err(gone)?;
        let wanted = format!("/memfd:{} (deleted)", name(self.nonce));
        if found.as_os_str() != wanted.as_str() {
            return Err(FakeError::Gone);
        }
        Ok(OpenOptions::new().read(true).write(true).open(&path).map_err(gone)?.into())
    }
}

/// The name of the memfd.
pub(crate) fn name(nonce: u64) -> String {
    format!("fake-device-{nonce:016x}")
}
