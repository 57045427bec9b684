//! Requests and answers as bytes: copied from and to the caller's memory by system call, so that a wrong address is
//! `EFAULT` and not a crash, and read field by field, so that a short request is an error and not a wrong value.

use super::error::CommandError;
use crate::dma;

/// Longest request or answer that there is; announced lengths come from the caller.
const LONGEST: usize = 64 * 1024;

/// A stretch of the caller's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UserBuffer {
    /// Where.
    pub(super) address: u64,
    /// Bytes.
    pub(super) length: usize,
}

impl UserBuffer {
    /// What lies there.
    pub(super) fn read(self) -> Result<Vec<u8>, CommandError> {
        if self.length > LONGEST {
            return Err(CommandError::Invalid { what: "length", value: self.length as u64 });
        }
        let mut bytes = vec![0; self.length];
        dma::read(dma::own_pid(), self.address, &mut bytes)?;
        Ok(bytes)
    }

    /// Puts as much of an answer there as fits: older libraries know shorter structures.
    pub(super) fn fill(self, answer: &Answer) -> Result<(), CommandError> {
        let fits = answer.0.len().min(self.length);
        Ok(dma::write(dma::own_pid(), self.address, &answer.0[..fits])?)
    }
}

/// Fields of a request, in the order of its structure; native byte order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// Bytes before `rest`, for errors.
    taken: usize,
    /// Missing bytes are zeros.
    lenient: bool,
}

impl<'a> Fields<'a> {
    /// All fields have to be there.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, taken: 0, lenient: false }
    }

    /// Of what the driver adds: after the first `needed` bytes fields may be missing, and are zero then.
    pub(super) fn driver(bytes: &'a [u8], needed: usize) -> Result<Self, CommandError> {
        if bytes.len() < needed {
            return Err(CommandError::Truncated { wanted: needed, found: bytes.len() });
        }
        Ok(Self { rest: bytes, taken: 0, lenient: true })
    }

    /// The next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], CommandError> {
        let mut field = [0; N];
        match self.rest.split_first_chunk::<N>() {
            Some((found, rest)) => {
                field = *found;
                self.rest = rest;
            }
            None if self.lenient => self.rest = &[],
            None => {
                let found = self.taken + self.rest.len();
                return Err(CommandError::Truncated { wanted: self.taken + N, found });
            }
        }
        self.taken += N;
        Ok(field)
    }

    /// A `__u8`.
    pub(super) fn u8(&mut self) -> Result<u8, CommandError> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    /// A `__u16`.
    pub(super) fn u16(&mut self) -> Result<u16, CommandError> {
        self.bytes().map(u16::from_ne_bytes)
    }

    /// A `__u32`.
    pub(super) fn u32(&mut self) -> Result<u32, CommandError> {
        self.bytes().map(u32::from_ne_bytes)
    }

    /// A `__u64`.
    pub(super) fn u64(&mut self) -> Result<u64, CommandError> {
        self.bytes().map(u64::from_ne_bytes)
    }
}

/// Fields of an answer, in the order of its structure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer(pub(super) Vec<u8>);

impl Answer {
    /// Adds bytes.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds one `__u8` each.
    pub(super) fn u8(self, values: &[u8]) -> Self {
        self.bytes(values)
    }

    /// Adds one `__u16` each.
    pub(super) fn u16(self, values: &[u16]) -> Self {
        values.iter().fold(self, |answer, value| answer.bytes(&value.to_ne_bytes()))
    }

    /// Adds one `__u32` each.
    pub(super) fn u32(self, values: &[u32]) -> Self {
        values.iter().fold(self, |answer, value| answer.bytes(&value.to_ne_bytes()))
    }

    /// Adds one `__u64` each.
    pub(super) fn u64(self, values: &[u64]) -> Self {
        values.iter().fold(self, |answer, value| answer.bytes(&value.to_ne_bytes()))
    }

    /// Adds zeros up to a size.
    pub(super) fn pad(mut self, size: usize) -> Self {
        self.0.resize(size, 0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_order_and_their_end_is_an_error() {
        let mut fields = Fields::new(&[1, 2, 0, 3, 0, 0, 0, 9]);
        assert_eq!((fields.u8(), fields.u16(), fields.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(fields.u16(), Err(CommandError::Truncated { wanted: 9, found: 8 }));
        assert_eq!(fields.u8(), Ok(9));
    }

    #[test]
    fn what_an_older_driver_does_not_send_is_zero() {
        let mut fields = Fields::driver(&[7, 0, 0, 0, 1], 4).expect("enough");
        assert_eq!((fields.u32(), fields.u32(), fields.u64()), (Ok(7), Ok(0), Ok(0)));
        let short = Fields::driver(&[7, 0], 4).expect_err("not enough");
        assert_eq!(short, CommandError::Truncated { wanted: 4, found: 2 });
    }

    #[test]
    fn wrong_addresses_and_lengths_are_errors() {
        let nowhere = UserBuffer { address: 16, length: 8 };
        assert_eq!(nowhere.read().map_err(|error| error.errno().0), Err(libc::EFAULT));
        assert_eq!(
            nowhere.fill(&Answer::default().pad(8)).map_err(|error| error.errno().0),
            Err(libc::EFAULT)
        );
        let endless = UserBuffer { address: 16, length: usize::MAX };
        assert_eq!(endless.read().map_err(|error| error.errno().0), Err(libc::EINVAL));
    }

    #[test]
    fn a_short_buffer_gets_the_beginning_of_an_answer() {
        let mut memory = [0xee_u8; 6];
        let buffer = UserBuffer { address: memory.as_mut_ptr() as u64, length: 4 };
        buffer.fill(&Answer::default().u32(&[0x0403_0201, 5])).expect("own memory");
        assert_eq!(memory, [1, 2, 3, 4, 0xee, 0xee]);
    }
}
