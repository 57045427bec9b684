//! What af-api puts on the wire: the header of a request, what a response says beside its data, and the questions
//! that go over the control connection.
//!
//! Emitted and parsed by [`worker`](crate::worker) and [`server`](crate::server) alone. All integers are
//! little-endian, the first byte of each format is its version.
//!
//! # One push and one pull to one server
//! ```text
//!  worker                                                        server
//!    | WRITE  pushed tensor ---------------------> slot of the receive area of (worker, key)
//!    | SEND   request header, 56 bytes ----------> read, checked, handed out as a request
//!    |                                                             respond
//!    | pulled tensor <--------------- WRITE with a 4-byte immediate: slot and generation of the request
//! ```
//! Three work requests and 60 bytes of metadata. Tensors of a few hundred bytes travel inside the SEND instead: then it
//! is two.
//!
//! # Layouts
//! A layout (type and shape) gets a number from the worker and travels with every request that uses it until a response
//! proves that the server has seen it. From then on its number is enough.

mod control;
mod error;
mod header;
mod response;
#[cfg(test)]
mod tests;

pub use control::NodeIdentity;
pub(crate) use control::{
    AgreeArea, AreaAgreed, AreaGone, CancelAnswer, CancelRequest, Introduction, Refused, kind,
};
pub use error::WireError;
pub use header::{
    BATCH_BYTES, BatchPart, Definition, Flags, HEADER_BYTES, INLINE, LARGEST_SLOT, NO_SLOT, PULL_BYTES,
    PUSH_BYTES, PullEntry, PushEntry, RequestHeader, RequestView, VERSION,
};
pub use response::{Immediate, Refusal, ResponseView, emit_inline, emit_lengths, emit_refusal};

/// Reads fixed-width integers at the front of a byte string.
#[derive(Clone, Copy, Debug)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }
}
