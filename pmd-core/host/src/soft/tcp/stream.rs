//! One TCP socket, never waited for.
//!
//! The engine's poll set is edge-triggered: it says once that bytes have come or that there is room again. What it said is
//! kept here until the kernel says otherwise, so that nothing is asked of a socket that has nothing to say.
#![allow(unsafe_code)] // vectored calls take addresses

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use libc::iovec;
use nix::errno::Errno;

use super::socket;

/// A connected socket, or one that is being connected.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
    /// Bytes, or the end, may be there.
    pub(super) readable: bool,
    /// Bytes may be sent.
    pub(super) writable: bool,
    /// The other end closed it, or it broke: nothing more comes.
    pub(super) ended: bool,
}

impl Stream {
    /// A socket that is not blocking.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, readable: true, writable: true, ended: false }
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Takes what is there, as much as has room. 0 when nothing is, or nothing ever will be: see [`Stream::ended`].
    ///
    /// # Safety
    /// Each entry is memory that may be written for its length.
    pub(super) unsafe fn receive_into(&mut self, parts: &[iovec]) -> usize {
        while self.readable {
            // SAFETY: the list is as long as stated; the entries are the caller's promise.
            let taken = unsafe { libc::readv(self.socket.as_raw_fd(), parts.as_ptr(), parts.len() as i32) };
            match self.judge(taken) {
                Judged::Moved(0) if parts.iter().any(|part| part.iov_len > 0) => self.end(),
                Judged::Moved(taken) => return taken,
                Judged::Nothing => self.readable = false,
                Judged::Again => {}
                Judged::Broken => self.end(),
            }
        }
        0
    }

    /// As [`Stream::receive_into`], into one slice.
    pub(super) fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let part = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: the slice is borrowed for writing.
        unsafe { self.receive_into(&[part]) }
    }

    /// Sends what there is room for; 0 when there is none.
    ///
    /// # Safety
    /// Each entry is memory that may be read for its length.
    pub(super) unsafe fn send_from(&mut self, parts: &[iovec]) -> usize {
        while self.writable && !self.ended {
            // SAFETY: all zeroes is a message header without anything.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = parts.as_ptr().cast_mut();
            message.msg_iovlen = parts.len() as _;
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the list is as long as stated and only read; the entries are the caller's promise.
            let sent = unsafe { libc::sendmsg(self.socket.as_raw_fd(), &raw const message, flags) };
            match self.judge(sent) {
                Judged::Moved(sent) => return sent,
                Judged::Nothing => self.writable = false,
                Judged::Again => {}
                // What came before is still to be read: the end is found there.
                Judged::Broken => (self.writable, self.readable) = (false, true),
            }
        }
        0
    }

    /// As [`Stream::send_from`], from one slice.
    pub(super) fn send(&mut self, bytes: &[u8]) -> usize {
        let part = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: the slice is borrowed.
        unsafe { self.send_from(&[part]) }
    }

    /// Says that nothing more comes from here.
    pub(super) fn finish(&self) {
        socket::finish(&self.socket);
    }

    /// Why connecting it has failed, if it has.
    pub(super) fn fault(&self) -> Option<Errno> {
        socket::fault(&self.socket)
    }

    fn end(&mut self) {
        (self.readable, self.writable, self.ended) = (false, false, true);
    }

    fn judge(&self, result: isize) -> Judged {
        if let Ok(moved) = usize::try_from(result) {
            return Judged::Moved(moved);
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => Judged::Again,
            // A socket that is being connected has no bytes and no room.
            Some(libc::EAGAIN | libc::ENOTCONN | libc::ENOBUFS) => Judged::Nothing,
            _ => Judged::Broken,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a call said.
enum Judged {
    Moved(usize),
    Nothing,
    Again,
    Broken,
}
