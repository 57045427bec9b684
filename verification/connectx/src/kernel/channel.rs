//! Event files: what `read` on a completion channel's or an asynchronous descriptor gives. A pipe, whose records are
//! written by the service thread; the program has the read end.
#![allow(unsafe_code)] // pipes

use std::{
    ffi::c_int,
    fs::{File, OpenOptions},
    io::Read,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use super::error::CommandError;
use crate::errno::Errno;

/// Longest record: `ib_uverbs_async_event_desc`.
const LONGEST: usize = 16;

/// One pipe. Its read end belongs to the program, which closes it.
#[derive(Debug)]
pub(super) struct Channel {
    reader: c_int,
    writer: OwnedFd,
    /// A second read end that does not block, to take back what the program has not read.
    unread: File,
    /// Bytes of a record.
    record: usize,
}

impl Channel {
    /// A new pipe for records of this size.
    pub(super) fn new(record: usize) -> Result<Self, CommandError> {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(Errno::last().into());
        }
        // SAFETY: just made, and nobody else's.
        let writer = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        // SAFETY: as above.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let path = format!("/proc/self/fd/{}", ends[0]);
        let unread = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let unread = unread.inspect_err(|_| {
            // SAFETY: made above, and given to nobody.
            unsafe { libc::close(ends[0]) };
        });
        Ok(Self { reader: ends[0], writer, unread: unread.map_err(Errno::from)?, record })
    }

    /// The descriptor for the program.
    pub(super) fn reader(&self) -> c_int {
        self.reader
    }

    /// Writes a record; false when the program has let too many wait.
    pub(super) fn put(&self, record: &[u8]) -> bool {
        debug_assert_eq!(record.len(), self.record);
        // SAFETY: `record` is readable for its length. By system call: it may be called where `write` is interposed.
        let written =
            unsafe { libc::syscall(libc::SYS_write, self.writer.as_raw_fd(), record.as_ptr(), record.len()) };
        usize::try_from(written) == Ok(record.len())
    }

    /// Takes out the records that are not read yet and that `unwanted` says; gives how many. What it keeps stays in
    /// its order.
    pub(super) fn take_back(&self, unwanted: impl Fn(&[u8]) -> bool) -> u32 {
        let mut kept = Vec::new();
        let mut taken = 0;
        let mut buffer = [0; LONGEST];
        let record = &mut buffer[..self.record];
        while (&self.unread).read_exact(record).is_ok() {
            if unwanted(record) {
                taken += 1;
            } else {
                kept.push(record.to_vec());
            }
        }
        kept.iter().for_each(|record| {
            self.put(record);
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(channel: &Channel) -> Option<[u8; 8]> {
        let mut record = [0; 8];
        (&channel.unread).read_exact(&mut record).ok().map(|()| record)
    }

    #[test]
    fn records_that_nobody_read_are_taken_back_by_kind() {
        let channel = Channel::new(8).expect("a pipe");
        for value in [1_u64, 2, 1, 3] {
            assert!(channel.put(&value.to_ne_bytes()));
        }
        assert_eq!(channel.take_back(|record| record == 1_u64.to_ne_bytes()), 2);
        assert_eq!(read(&channel).map(u64::from_ne_bytes), Some(2));
        assert_eq!(read(&channel).map(u64::from_ne_bytes), Some(3));
        assert_eq!(read(&channel), None);
        // SAFETY: the test is the program that owns the read end.
        unsafe { libc::close(channel.reader()) };
    }

    #[test]
    fn a_full_pipe_refuses_and_does_not_block() {
        let channel = Channel::new(16).expect("a pipe");
        let fits = (0..).take_while(|_| channel.put(&[0; 16])).count();
        assert_eq!(fits, 4096);
        // SAFETY: the test is the program that owns the read end.
        unsafe { libc::close(channel.reader()) };
    }
}
