//! Send WQEs from arbitrary bytes: nothing panics, nothing outside of the queue is read, and parse, emit, parse is
//! the identity.
//!
//! Input: one byte of shape (low three bits: log2 of the queue's basic blocks; 0x40: datagram service; 0x80: take the
//! rest as the queue, whatever its length), the WQE's index (4 bytes, little-endian), then the bytes that lie in the
//! queue from that WQE on, around its end.

mod owned;

use arbitrary::{Result, Unstructured};
use pmd_core::wire::{BASIC_BLOCK, SendDump, SendWqe, Service};

pub use owned::{Body, Owned, Piece};

/// Shape bit: the queue pair is a datagram one.
pub const DATAGRAM: u8 = 0x40;
/// Shape bit: the queue is the rest of the input.
pub const RAGGED: u8 = 0x80;

/// Parses what the input describes, leniently and strictly, and prints it.
pub fn run(data: &[u8]) {
    // An input that is too short describes nothing.
    if let Ok((queue, index, service)) = decode(data) {
        check(&queue, index, service);
    }
}

/// A queue that holds `bytes` from basic block `index` on, as an input.
#[must_use]
pub fn encode(shape: u8, index: u32, bytes: &[u8]) -> Vec<u8> {
    [&[shape][..], &index.to_le_bytes(), bytes].concat()
}

fn decode(data: &[u8]) -> Result<(Vec<u8>, u32, Service)> {
    let mut input = Unstructured::new(data);
    let (shape, index) = (u8::from_le_bytes(fixed(&mut input)?), u32::from_le_bytes(fixed(&mut input)?));
    let service = if shape & DATAGRAM == 0 { Service::Connected } else { Service::Datagram };
    let bytes = input.take_rest();
    if shape & RAGGED != 0 {
        return Ok((bytes.to_vec(), index, service));
    }
    let mut queue = vec![0; BASIC_BLOCK << (shape & 7)];
    let start = index as usize * BASIC_BLOCK;
    for (place, byte) in bytes.iter().take(queue.len()).enumerate() {
        let length = queue.len();
        queue[start.wrapping_add(place) % length] = *byte;
    }
    Ok((queue, index, service))
}

/// The next bytes of the input as they are.
pub(crate) fn fixed<const N: usize>(input: &mut Unstructured<'_>) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    bytes.copy_from_slice(input.bytes(N)?);
    Ok(bytes)
}

fn check(queue: &[u8], index: u32, service: Service) {
    let lenient = SendWqe::parse(queue, index, service);
    let strict = SendWqe::parse_strict(queue, index, service);
    let dump = SendDump { queue, index, service }.to_string();
    let complains = dump.lines().last().is_some_and(|line| line.starts_with('!'));
    assert_eq!(complains, strict.is_err(), "the dump and the strict parser differ:\n{dump}");
    let Ok(lenient) = lenient else {
        assert!(strict.is_err(), "only the strict parser takes it:\n{dump}");
        return;
    };
    let owned = Owned::of(&lenient);
    assert_eq!(lenient.data_length(), owned.data_length(), "{dump}");
    assert!(usize::from(lenient.basic_blocks()) * BASIC_BLOCK <= queue.len(), "{dump}");
    // Whatever lay in the queue before.
    for fill in [0, 0xff] {
        let mut again = vec![fill; queue.len()];
        owned.emit(&mut again, index);
        let parsed = SendWqe::parse_strict(&again, index, service);
        let parsed = parsed.as_ref().map(Owned::of);
        assert!(parsed == Ok(owned.without_reserved()), "{parsed:?} was emitted for {owned:?}");
    }
    if let Ok(strict) = strict {
        assert_eq!(Owned::of(&strict), owned);
        let mut again = queue.to_vec();
        owned.emit(&mut again, index);
        assert!(again == queue, "emitting changed the bytes of\n{dump}");
    }
}
