//! Payloads that are too long to come along: the memory that the peer reads, and the memory that it is read into.
#![allow(unsafe_code)] // registers memory that it owns

use pmd_core::memory::{Access, MemoryKind, RegionDescription, RemoteKey};
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, RegisterError, Registered},
    transfer::LocalPiece,
};

use super::Refused;

/// A payload that a peer may read as long as this lives.
#[derive(Debug)]
pub(super) struct Offered {
    // Deregistered before the bytes are freed.
    registered: Registered,
    _bytes: Vec<u8>,
}

impl Offered {
    pub(super) fn new(endpoint: &Endpoint, mut bytes: Vec<u8>) -> Result<Self, RegisterError> {
        // SAFETY: the vector is owned by the value that holds the registration, is not touched meanwhile, and its bytes
        // stay where they are when it moves.
        let registered = unsafe { endpoint.register_memory(&described(&mut bytes), Access::REMOTE_READ)? };
        Ok(Self { registered, _bytes: bytes })
    }

    pub(super) const fn address(&self) -> u64 {
        self.registered.address()
    }

    pub(super) fn key(&self, transport: Transport) -> Option<RemoteKey> {
        self.registered.remote_key(transport)
    }
}

/// Memory that a payload is read into.
#[derive(Debug)]
pub(super) struct Landing {
    // Deregistered before the bytes are freed.
    registered: Registered,
    bytes: Vec<u8>,
}

impl Landing {
    pub(super) fn new(endpoint: &Endpoint, length: u64) -> Result<Self, Refused> {
        let length = usize::try_from(length).map_err(|_| Refused::TooLong)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Refused::NoMemory)?;
        bytes.resize(length, 0);
        // SAFETY: as in `Offered::new`; nobody looks at the bytes before the transfer into them has ended.
        let registered = unsafe { endpoint.register_memory(&described(&mut bytes), Access::LOCAL_WRITE) };
        Ok(Self { registered: registered.map_err(|_| Refused::NoMemory)?, bytes })
    }

    pub(super) fn piece(&self, transport: Transport) -> Option<LocalPiece> {
        let key = self.registered.local_key(transport)?;
        Some(LocalPiece { address: self.registered.address(), length: self.registered.length(), key })
    }

    /// The bytes, once no transfer is left.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let Self { registered, bytes } = self;
        drop(registered);
        bytes
    }
}

fn described(bytes: &mut [u8]) -> RegionDescription {
    let (address, length) = (bytes.as_mut_ptr() as u64, bytes.len() as u64);
    RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None }
}
