//! The order in which descriptors merge best: that of the peer's memory, where neighbours are gathered into one work
//! request. Used by plans of the fabric and of agents.

#[cfg(test)]
mod tests;

use std::ops::Range;

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::transfer::{
    Direction, Lent, LocalPiece, Spares, WorkBuffers, WorkList, WorkListBuilder, WorkListLimits,
};

/// Memory of plans that were dropped, for the next ones: a plan of many descriptors costs more to have pages mapped for
/// than to make.
#[derive(Clone, Default)]
pub(crate) struct PlanSpares {
    lists: Spares<WorkBuffers>,
    orders: Spares<Vec<u32>>,
    keys: Spares<Vec<u64>>,
}

/// A descriptor whose keys were found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    remote: u64,
    local: u64,
    length: u64,
    rkey: u32,
    lkey: u32,
}

/// Numbers of pieces, one after the other or as an order has them.
#[derive(Clone, Debug)]
pub enum Numbers<'a> {
    /// One after the other.
    Range(Range<usize>),
    /// In this order.
    Listed(&'a [u32]),
}

/// Places of pieces, each once.
pub(crate) type Order = Lent<Vec<u32>>;

/// Fewer descriptors than these are not worth an order of their own.
const FEW: usize = 32;

/// Nor are descriptors that are longer than this on average: each is a work request worth having.
pub(crate) const LONG: u64 = 64 << 10;

/// Neighbours that follow each other anyway, where an order would gather not much more: a work request takes 30 or so.
const RUN: usize = 64;

/// Pieces go into the list by so many: whatever is worked out of them on the way stays in the first cache level.
const CHUNK: usize = 256;

/// A table of ranks may have so many places for each piece; where it has more, addresses are sorted instead.
const SPARSE: usize = 4;

/// In a table of ranks: nobody has this one.
const NOBODY: u32 = u32::MAX;

/// Up to here a comparison sort is faster than counting digits.
const SMALL: usize = 512;

/// Most bits of a digit: its counts fit the first cache level.
const DIGIT: u32 = 11;

/// Of that many bits.
const LARGEST_DIGIT: usize = (1 << DIGIT) - 1;

/// Where pieces are at the peer, each by its number below `count`.
pub(crate) struct Places<P, R> {
    pub(crate) count: usize,
    /// A piece's address and its bytes.
    pub(crate) place: P,
    /// A piece's rank, where it is known without sorting, and what all ranks are below.
    pub(crate) ranks: Option<(R, usize)>,
}

/// For places whose ranks are not known.
pub(crate) type NoRanks = fn(usize) -> u32;

impl Piece {
    #[inline]
    pub(crate) const fn new(local: LocalPiece, remote: RemoteAddress) -> Self {
        let LocalPiece { address, length, key: LocalKey(lkey) } = local;
        Self { remote: remote.address, local: address, length, rkey: remote.key.0, lkey }
    }

    #[inline]
    const fn ends(self) -> (LocalPiece, RemoteAddress) {
        let Self { remote, local, length, rkey, lkey } = self;
        let local = LocalPiece { address: local, length, key: LocalKey(lkey) };
        (local, RemoteAddress { address: remote, key: RemoteKey(rkey) })
    }
}

/// A work list of `count` pieces, in the order in which they merge best, and that order where it is not their own.
///
/// `places` are asked first; `pieces` finds the keys of at most [`CHUNK`] pieces and adds them, and is asked for each piece
/// once, in the order of the list; after an error again for those before, so that the first that fails is told. `note` hears
/// of the lengths in the order of the list: of each, how often in a row.
pub(crate) fn gather<E>(
    spares: &PlanSpares,
    (direction, limits): (Direction, WorkListLimits),
    places: &Places<impl Fn(usize) -> (u64, u64), impl Fn(usize) -> u32>,
    mut pieces: impl FnMut(Numbers<'_>, &mut Vec<Piece>) -> Result<(), E>,
    note: impl FnMut(u64, usize),
) -> Result<(WorkList, Option<Order>), E> {
    let count = places.count;
    let mut chunks = Chunks {
        list: WorkListBuilder::reusing(&spares.lists, direction, limits, count),
        kept: Vec::with_capacity(CHUNK.min(count)),
        note,
    };
    let order = places.order(spares);
    if let Err(error) = chunks.fill(count, order.as_deref(), &mut pieces) {
        if order.is_some() {
            chunks.fill(count, None, &mut pieces)?;
        }
        return Err(error);
    }
    Ok((chunks.list.finish(), order))
}

/// Pieces on their way into a work list, by so many that they stay in the first cache level.
struct Chunks<N> {
    list: WorkListBuilder,
    kept: Vec<Piece>,
    note: N,
}

impl<N: FnMut(u64, usize)> Chunks<N> {
    /// Adds the pieces in an order, or in their own.
    fn fill<E>(
        &mut self,
        count: usize,
        order: Option<&Vec<u32>>,
        pieces: &mut impl FnMut(Numbers<'_>, &mut Vec<Piece>) -> Result<(), E>,
    ) -> Result<(), E> {
        for first in (0..count).step_by(CHUNK) {
            let range = first..count.min(first + CHUNK);
            let numbers = match order {
                Some(order) => Numbers::Listed(&order[range]),
                None => Numbers::Range(range),
            };
            self.kept.clear();
            pieces(numbers, &mut self.kept)?;
            self.flush();
        }
        Ok(())
    }

    #[inline(never)]
    fn flush(&mut self) {
        let Self { list, kept, note } = self;
        let (mut length, mut times) = (0, 0);
        list.extend(kept.iter().map(|piece| {
            if piece.length != length {
                note(length, times);
                (length, times) = (piece.length, 0);
            }
            times += 1;
            piece.ends()
        }));
        note(length, times);
    }
}

impl Numbers<'_> {
    /// The one at a position below [`Numbers::count`].
    #[inline]
    #[must_use]
    pub fn at(&self, position: usize) -> usize {
        match self {
            Self::Range(range) => range.start + position,
            Self::Listed(listed) => listed[position] as usize,
        }
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Range(range) => range.len(),
            Self::Listed(listed) => listed.len(),
        }
    }
}

/// Whether pieces come in the order of the peer's memory, or in one that is almost as good: runs of neighbours, so long
/// that no more than one in [`RUN`] begins one.
fn is_in_order(count: usize, place: impl Fn(usize) -> (u64, u64)) -> bool {
    let (mut end, mut last, mut runs, mut ascends) = (0, 0, 0, true);
    for (address, length) in (0..count).map(place) {
        runs += usize::from(address != end);
        ascends &= last <= address;
        if !ascends && runs > count / RUN {
            return false;
        }
        (end, last) = (address.wrapping_add(length), address);
    }
    true
}

impl<P: Fn(usize) -> (u64, u64), R: Fn(usize) -> u32> Places<P, R> {
    /// The order of the peer's memory; those at one address stay in theirs. `None` where there is nothing to win.
    fn order(&self, spares: &PlanSpares) -> Option<Order> {
        let Self { count, ref place, ref ranks } = *self;
        if count < FEW || u32::try_from(count).is_err() || is_in_order(count, place) {
            return None;
        }
        let ranked = ranks.as_ref().and_then(|(rank, below)| by_rank(count, rank, *below, spares));
        ranked.or_else(|| by_remote_address(count, place, spares))
    }
}

/// The order of ranks: each piece goes to the place in a table that its rank says, which costs a fraction of a sort.
/// `None` where the table would be almost empty, or where two pieces have one rank and so one address.
#[inline(never)]
fn by_rank(count: usize, rank: impl Fn(usize) -> u32, below: usize, spares: &PlanSpares) -> Option<Order> {
    if below / SPARSE > count {
        return None;
    }
    let mut table = spares.orders.take();
    table.resize(below, NOBODY);
    for index in 0..count {
        let place = &mut table[rank(index) as usize];
        if *place != NOBODY {
            return None;
        }
        *place = index as u32;
    }
    if below > count {
        table.retain(|index| *index != NOBODY);
    }
    Some(table)
}

/// The order of the peer's memory, by sorting.
fn by_remote_address(
    count: usize,
    place: impl Fn(usize) -> (u64, u64),
    spares: &PlanSpares,
) -> Option<Order> {
    let mut addresses = spares.keys.take();
    let mut bytes = 0_u64;
    addresses.extend((0..count).map(|index| {
        let (address, length) = place(index);
        bytes = bytes.saturating_add(length);
        address
    }));
    if bytes / count as u64 > LONG {
        return None;
    }
    let mut order = spares.orders.take();
    match Packing::of(&addresses) {
        Some(packing) => packing.sort(&mut addresses, spares, &mut order),
        None => {
            order.extend(0..count as u32);
            order.sort_by_key(|place| addresses[*place as usize]);
        }
    }
    Some(order)
}

/// How addresses and places share 64 bits: what the addresses do not have in common above, the place below.
struct Packing {
    lowest: u64,
    /// Low bits that all addresses have in common.
    common: u32,
    key_bits: u32,
    place_bits: u32,
}

impl Packing {
    /// `None` where they do not fit.
    fn of(addresses: &[u64]) -> Option<Self> {
        let first = *addresses.first()?;
        let (mut lowest, mut highest, mut different) = (first, first, 0);
        for address in addresses {
            (lowest, highest) = (lowest.min(*address), highest.max(*address));
            different |= address ^ first;
        }
        let common = different.trailing_zeros().min(u64::BITS - 1);
        let key_bits = u64::BITS - ((highest - lowest) >> common).leading_zeros();
        let place_bits = usize::BITS - (addresses.len() - 1).leading_zeros();
        (key_bits + place_bits <= u64::BITS).then_some(Self { lowest, common, key_bits, place_bits })
    }

    /// Turns addresses into keys, and the sorted keys into an order.
    fn sort(&self, keys: &mut Vec<u64>, spares: &PlanSpares, order: &mut Vec<u32>) {
        let Self { lowest, common, key_bits, place_bits } = *self;
        for (place, key) in (0..).zip(keys.iter_mut()) {
            // A shift by all 64 bits is only where there is one piece, which is none too many to sort.
            *key = ((*key - lowest) >> common).unbounded_shl(place_bits) | place;
        }
        if keys.len() < SMALL {
            keys.sort_unstable();
        } else {
            sort_by_digits(keys, &mut spares.keys.take(), place_bits, key_bits);
        }
        let place = u64::MAX.unbounded_shr(u64::BITS - place_bits);
        order.extend(keys.iter().map(|key| (key & place) as u32));
    }
}

/// Sorts by the `bits` bits from `first_bit` on, the lowest digit first: linear, and those that are equal keep their
/// order.
fn sort_by_digits(values: &mut Vec<u64>, other: &mut Vec<u64>, first_bit: u32, bits: u32) {
    other.clear();
    other.resize(values.len(), 0);
    let digits = bits.div_ceil(DIGIT).max(1);
    let width = bits.div_ceil(digits);
    let mask = (1_u64 << width) - 1;
    for number in 0..digits {
        let shift = first_bit + number * width;
        let digit = |value: u64| (value.unbounded_shr(shift) & mask) as usize & LARGEST_DIGIT;
        let mut places = [0_u32; LARGEST_DIGIT + 1];
        values.iter().for_each(|value| places[digit(*value)] += 1);
        let mut before = 0;
        for place in &mut places[..=mask as usize] {
            (before, *place) = (before + *place, before);
        }
        for value in values.iter() {
            let place = &mut places[digit(*value)];
            other[*place as usize] = *value;
            *place += 1;
        }
        std::mem::swap(values, other);
    }
}
