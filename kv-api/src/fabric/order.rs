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
    pieces: Spares<Vec<Piece>>,
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

/// Pieces on their way into a work list.
pub(crate) struct Gathering<'a> {
    spares: &'a PlanSpares,
    list: WorkListBuilder,
    kept: Lent<Vec<Piece>>,
    /// They come in an order that is good enough: none is waited for.
    in_order: bool,
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

impl<'a> Gathering<'a> {
    /// For `count` pieces or so, whose addresses at the peer and bytes are `places`.
    pub(crate) fn new(
        spares: &'a PlanSpares,
        (direction, limits): (Direction, WorkListLimits),
        count: usize,
        places: impl Iterator<Item = (u64, u64)>,
    ) -> Self {
        let list = WorkListBuilder::reusing(&spares.lists, direction, limits, count);
        let in_order = is_in_order(count, places);
        let mut kept = spares.pieces.take();
        kept.reserve(if in_order { CHUNK.min(count) } else { count });
        Self { spares, list, kept, in_order }
    }

    /// The next one. `note` hears of the lengths in the order of the list.
    #[inline]
    pub(crate) fn push(&mut self, piece: Piece, note: impl FnMut(u64)) {
        self.kept.push(piece);
        if self.in_order && self.kept.len() == CHUNK {
            self.flush(note);
        }
    }

    /// The list, and the order of its pieces where it is not their own.
    pub(crate) fn finish(mut self, mut note: impl FnMut(u64)) -> (WorkList, Option<Order>) {
        let order = if self.in_order { None } else { by_remote_address(&self.kept, self.spares) };
        let Some(order) = order else {
            self.flush(note);
            return (self.list.finish(), None);
        };
        let ordered = order.iter().map(|place| self.kept[*place as usize]);
        self.list.extend(ordered.map(|piece| {
            note(piece.length);
            piece.ends()
        }));
        (self.list.finish(), Some(order))
    }

    #[inline(never)]
    fn flush(&mut self, mut note: impl FnMut(u64)) {
        self.list.extend(self.kept.iter().map(|piece| {
            note(piece.length);
            piece.ends()
        }));
        self.kept.clear();
    }
}

/// Whether pieces come in the order of the peer's memory, or in one that is almost as good: runs of neighbours, so long
/// that no more than one in [`RUN`] begins one.
fn is_in_order(count: usize, places: impl Iterator<Item = (u64, u64)>) -> bool {
    let (mut end, mut last, mut runs, mut ascends) = (0, 0, 0, true);
    for (address, length) in places {
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
fn by_remote_address(pieces: &[Piece], spares: &PlanSpares) -> Option<Order> {
    let bytes = pieces.iter().map(|piece| piece.length).fold(0, u64::saturating_add);
    if pieces.len() < FEW || bytes / pieces.len() as u64 > LONG || u32::try_from(pieces.len()).is_err() {
        return None;
    }
    let mut order = spares.orders.take();
    match Packing::of(pieces) {
        Some(packing) => packing.sort(pieces, spares, &mut order),
        None => {
            order.extend(0..pieces.len() as u32);
            order.sort_by_key(|place| pieces[*place as usize].remote);
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
    fn of(pieces: &[Piece]) -> Option<Self> {
        let first = pieces.first()?.remote;
        let (mut lowest, mut highest, mut different) = (first, first, 0);
        for piece in pieces {
            (lowest, highest) = (lowest.min(piece.remote), highest.max(piece.remote));
            different |= piece.remote ^ first;
        }
        let common = different.trailing_zeros().min(u64::BITS - 1);
        let key_bits = u64::BITS - ((highest - lowest) >> common).leading_zeros();
        let place_bits = usize::BITS - (pieces.len() - 1).leading_zeros();
        (key_bits + place_bits <= u64::BITS).then_some(Self { lowest, common, key_bits, place_bits })
    }

    fn sort(&self, pieces: &[Piece], spares: &PlanSpares, order: &mut Vec<u32>) {
        let Self { lowest, common, key_bits, place_bits } = *self;
        let mut packed = spares.keys.take();
        let keys = pieces.iter().map(|piece| (piece.remote - lowest) >> common);
        // A shift by all 64 bits is only where there is one piece, which is none too many to sort.
        packed.extend((0..).zip(keys).map(|(place, key)| key.unbounded_shl(place_bits) | place));
        if packed.len() < SMALL {
            packed.sort_unstable();
        } else {
            sort_by_digits(&mut packed, &mut spares.keys.take(), place_bits, key_bits);
        }
        let place = u64::MAX.unbounded_shr(u64::BITS - place_bits);
        order.extend(packed.iter().map(|packed| (packed & place) as u32));
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
