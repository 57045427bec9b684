//! From a message to the work of each lane: one contiguous stripe for each, in work requests of a chunk.

use std::sync::Arc;

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::transfer::{Direction, LocalPiece, WorkList, WorkListBuilder, WorkListLimits};

/// Stripes begin at pages of the message, so that lanes do not share cache lines or pages.
const ALIGNMENT: u64 = 4096;

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stripe {
    /// First byte, from the start of the message.
    pub(super) offset: u64,
    /// Bytes; zero for a message of none.
    pub(super) length: u64,
}

/// Cuts `length` bytes into at most `lanes` stripes of about the same length, none shorter than a chunk but the last,
/// and at least one.
pub(super) fn cut(length: u64, lanes: usize, chunk_bytes: u32) -> Vec<Stripe> {
    let count = length.div_ceil(u64::from(chunk_bytes)).clamp(1, lanes.max(1) as u64);
    let each = length.div_ceil(count).checked_next_multiple_of(ALIGNMENT).unwrap_or(length);
    let stripe = |offset| Stripe { offset, length: each.min(length - offset) };
    let starts = (0..count).map_while(|index| index.checked_mul(each));
    starts.take_while(|start| *start == 0 || *start < length).map(stripe).collect()
}

/// Both ends of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// First byte in this process.
    pub(super) local: u64,
    pub(super) local_key: LocalKey,
    /// First byte in the peer's.
    pub(super) remote: u64,
    pub(super) remote_key: RemoteKey,
}

/// The work requests of one stripe.
pub(super) fn work(stripe: Stripe, ends: &Ends, limits: WorkListLimits) -> Arc<WorkList> {
    let Stripe { offset, length } = stripe;
    let pieces = length.div_ceil(u64::from(limits.max_message.max(1))) as usize;
    let mut list = WorkListBuilder::with_capacity(Direction::Write, limits, pieces);
    let local = LocalPiece { address: ends.local.wrapping_add(offset), length, key: ends.local_key };
    let remote = RemoteAddress { address: ends.remote.wrapping_add(offset), key: ends.remote_key };
    list.push(local, remote);
    Arc::new(list.finish())
}
