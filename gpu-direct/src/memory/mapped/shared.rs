//! What of mapped memory was given out: numbers that other processes name, and what stands behind them. Asked by the
//! [socket's thread](super::post), made by [`CudaMemory`](super::super::CudaMemory) when it is shared.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, Weak},
};

use pmd_core::accelerator::AcceleratorError;

use super::{
    Physical, mappings,
    post::{Post, System},
};
use crate::context::{Context, lock};

/// Memory that was given out, for as long as whoever shared it lives.
#[derive(Debug)]
pub(in super::super) struct Shared {
    context: Arc<Context>,
    name: Name,
    /// First byte of the first piece.
    base: u64,
    pieces: Vec<(Physical, u64)>,
}

impl Shared {
    pub(in super::super) fn name(&self) -> Name {
        self.name
    }

    pub(in super::super) fn base(&self) -> u64 {
        self.base
    }

    /// How many pieces it has.
    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes and descriptors of some pieces; the driver's code where it refuses.
    pub(super) fn export(&self, first: usize, most: usize) -> Result<Vec<(u64, OwnedFd)>, u32> {
        /// `CUDA_ERROR_INVALID_CONTEXT`.
        const NO_CONTEXT: u32 = 201;
        let _entered = self.context.enter().map_err(|_| NO_CONTEXT)?;
        let pieces = self.pieces.iter().skip(first).take(most);
        pieces.map(|(physical, length)| Ok((*length, physical.export()?))).collect()
    }
}

/// By what another process finds shared memory. Goes over the wire as [`Name::to_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Name {
    /// In the name of the owner's socket.
    pub(super) socket: [u8; 16],
    pub(super) number: u64,
}

/// How a name begins, that it may not be taken for another handle.
const MAGIC: [u8; 8] = *b"pmd-map1";

impl Name {
    const BYTES: usize = 32;

    pub(in super::super) fn to_bytes(self) -> Vec<u8> {
        [&MAGIC[..], &self.socket, &self.number.to_le_bytes()].concat()
    }

    /// `None` for what is another kind of handle.
    pub(in super::super) fn parse(opaque: &[u8]) -> Option<Self> {
        let rest = opaque.strip_prefix(&MAGIC).filter(|_| opaque.len() == Self::BYTES)?;
        let (socket, number) = rest.split_at(16);
        let number = u64::from_le_bytes(number.try_into().ok()?);
        Some(Self { socket: socket.try_into().ok()?, number })
    }
}

/// What a context has given out, and the thread that hands descriptors over; there is none before the first.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    numbers: Arc<Numbers>,
    post: Mutex<Option<Post>>,
}

/// Shared memory by its number.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: u64,
    shared: HashMap<u64, Weak<Shared>>,
}

impl Numbers {
    pub(super) fn find(&self, number: u64) -> Option<Arc<Shared>> {
        lock(&self.0).shared.get(&number)?.upgrade()
    }

    fn next(&self) -> u64 {
        let mut known = lock(&self.0);
        known.shared.retain(|_, shared| shared.strong_count() > 0);
        known.last += 1;
        known.last
    }

    fn insert(&self, shared: &Arc<Shared>) {
        lock(&self.0).shared.insert(shared.name.number, Arc::downgrade(shared));
    }
}

impl Shares {
    /// The name of the context's socket; opened with the first share.
    fn socket(&self) -> Result<[u8; 16], AcceleratorError> {
        let mut post = lock(&self.post);
        match &*post {
            Some(post) => Ok(post.name()),
            None => Ok(post.insert(Post::open(&self.numbers).map_err(System::error)?).name()),
        }
    }
}

/// Gives mapped memory out: the mappings that a range touches. `None` for memory of another kind. Inside
/// [`Context::enter`].
pub(in super::super) fn share(
    context: &Arc<Context>,
    address: u64,
    length: u64,
) -> Result<Option<Arc<Shared>>, AcceleratorError> {
    let Some(first) = Physical::at(context, address) else { return Ok(None) };
    first.check()?;
    let found = mappings(context, address, length)?;
    let base = found.first().map_or(address, |(base, _)| *base);
    let piece = |(at, length): (u64, u64)| {
        // What another thread unmaps meanwhile was not there for as long as was promised.
        let none = AcceleratorError::Range { address, length, available: None };
        let physical = Physical::at(context, at).ok_or(none)?;
        physical.check().map(|()| (physical, length))
    };
    let pieces = found.into_iter().map(piece).collect::<Result<_, _>>()?;
    let shares = &context.shares;
    let name = Name { socket: shares.socket()?, number: shares.numbers.next() };
    let shared = Arc::new(Shared { context: Arc::clone(context), name, base, pieces });
    shares.numbers.insert(&shared);
    Ok(Some(shared))
}
