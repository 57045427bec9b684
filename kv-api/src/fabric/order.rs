//! The order in which descriptors merge best: that of the peer's memory, where neighbours are gathered into one work
//! request. Used by plans of the fabric and of agents.

#[cfg(test)]
mod tests;

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

/// Places of pieces, each once.
pub(crate) type Order = Lent<Vec<u32>>;

/// Fewer descriptors than these are not worth an order of their own.
const FEW: usize = 32;

/// Nor are descriptors that are longer than this on average: each is a work request worth having.
const LONG: u64 = 64 << 10;

/// Neighbours that follow each other anyway, where an order would gather not much more: a work request takes 30 or so.
const RUN: usize = 64;

/// Pieces that come in order go into the list by so many: they are in the first cache level then.
const CHUNK: usize = 512;

/// Up to here a comparison sort is faster than counting digits.
const SMALL: usize = 512;

/// Most bits of a digit: its counts fit the first cache level.
const DIGIT: u32 = 11;

/// Of that many bits.
const LARGEST_DIGIT: usize = (1 << DIGIT) - 1;

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
/// `place` tells a piece's address at the peer and its bytes, and is asked first; `piece` finds its keys, and is asked
/// for each once, in the order of the list; after an error again for those before, so that the first that fails is told.
/// `note` hears of the lengths in the order of the list.
pub(crate) fn gather<E>(
    spares: &PlanSpares,
    (direction, limits): (Direction, WorkListLimits),
    count: usize,
    place: impl Fn(usize) -> (u64, u64),
    mut piece: impl FnMut(usize) -> Result<Piece, E>,
    note: impl FnMut(u64),
) -> Result<(WorkList, Option<Order>), E> {
    let mut chunks = Chunks {
        list: WorkListBuilder::reusing(&spares.lists, direction, limits, count),
        kept: Vec::with_capacity(CHUNK.min(count)),
        note,
    };
    let order = if is_in_order(count, &place) { None } else { by_remote_address(count, &place, spares) };
    if let Err(error) = chunks.fill(count, order.as_deref(), &mut piece) {
        if order.is_some() {
            chunks.fill(count, None, &mut piece)?;
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

impl<N: FnMut(u64)> Chunks<N> {
    /// Adds the pieces in an order, or in their own. One loop for both: `piece` is inlined where it is called once.
    #[inline(never)]
    fn fill<E>(
        &mut self,
        count: usize,
        order: Option<&Vec<u32>>,
        piece: &mut impl FnMut(usize) -> Result<Piece, E>,
    ) -> Result<(), E> {
        for index in 0..count {
            self.kept.push(piece(order.map_or(index, |order| order[index] as usize))?);
            if self.kept.len() == CHUNK {
                self.flush();
            }
        }
        self.flush();
        Ok(())
    }

    #[inline(never)]
    fn flush(&mut self) {
        let Self { list, kept, note } = self;
        list.extend(kept.iter().map(|piece| {
            note(piece.length);
            piece.ends()
        }));
        kept.clear();
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

/// The order of the peer's memory; those at one address stay in theirs. `None` where there is nothing to win.
fn by_remote_address(
    count: usize,
    place: impl Fn(usize) -> (u64, u64),
    spares: &PlanSpares,
) -> Option<Order> {
    if count < FEW || u32::try_from(count).is_err() {
        return None;
    }
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
