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
use nix::{errno::Errno, sys::epoll::EpollFlags};

use super::{seal::Seal, socket};
use crate::security::Cipher;

#[cfg(test)]
thread_local! {
    /// Calls to send, and to receive, that this thread has made.
    pub(super) static CALLS: std::cell::Cell<[u32; 2]> = const { std::cell::Cell::new([0; 2]) };
}

/// Counts a call to send (0) or to receive (1).
#[cfg(test)]
fn count(kind: usize) {
    let mut calls = CALLS.get();
    calls[kind] += 1;
    CALLS.set(calls);
}

/// A connected socket, or one that is being connected.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
    /// Bytes, or the end, may be there.
    pub(super) readable: bool,
    /// The poll set has said that nothing comes behind what is there.
    ending: bool,
    /// Bytes may be sent.
    pub(super) writable: bool,
    /// The other end closed it, or it broke: nothing more comes.
    pub(super) ended: bool,
    /// It takes nothing more. What came before may still be there.
    pub(super) broken: bool,
    /// It ended because a sealed record did not verify.
    pub(super) forged: bool,
    /// Seals and opens what goes over it, where data is encrypted.
    seal: Option<Box<Seal>>,
}

impl Stream {
    /// A socket that is not blocking.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            readable: true,
            ending: false,
            writable: true,
            ended: false,
            broken: false,
            forged: false,
            seal: None,
        }
    }

    /// Notes what the poll set said.
    pub(super) fn note(&mut self, flags: EpollFlags) {
        self.ending |= flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP);
        self.readable |= self.ending || flags.contains(EpollFlags::EPOLLIN);
        self.writable |= flags.contains(EpollFlags::EPOLLOUT);
    }

    /// A call has given less than there was room for, which is all that had come (epoll(7)): what comes now is news, and the
    /// poll set tells of it. The end is none where that was said before, and has to be asked for.
    ///
    /// Only for a stream of which a poll set tells that is asked again and again.
    pub(super) fn note_drained(&mut self) {
        // Of a sealed one more may have come than was given out.
        self.readable &= self.ending || self.seal.is_some();
    }

    /// From now on all that is sent and received is sealed.
    pub(super) fn seal(&mut self, cipher: Box<Cipher>) {
        self.seal = Some(Box::new(Seal::new(cipher)));
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// The socket, and what is to be sent over it for `rest`, of which callers were not told that it was sent.
    pub(super) fn into_rest(self, rest: Vec<u8>) -> (OwnedFd, Vec<u8>) {
        match self.seal {
            None => (self.socket, rest),
            Some(seal) => (self.socket, seal.into_rest(&rest)),
        }
    }

    /// Takes what is there, as much as has room. 0 when nothing is, or nothing ever will be: see [`Stream::ended`].
    ///
    /// # Safety
    /// Each entry is memory that may be written for its length.
    pub(super) unsafe fn receive_into(&mut self, parts: &[iovec]) -> usize {
        if self.seal.is_some() {
            // SAFETY: passed on.
            return unsafe { self.receive_sealed(parts) };
        }
        // SAFETY: passed on.
        unsafe { self.receive_clear(parts) }
    }

    /// # Safety
    /// As [`Stream::receive_into`].
    #[inline]
    unsafe fn receive_clear(&mut self, parts: &[iovec]) -> usize {
        while self.readable {
            let socket = self.socket.as_raw_fd();
            #[cfg(test)]
            count(1);
            // SAFETY: the list is as long as stated; the entries are the caller's promise.
            let taken = unsafe {
                match parts {
                    // What packets take: the kernel need not fetch a list.
                    [part] => libc::recv(socket, part.iov_base, part.iov_len, libc::MSG_DONTWAIT),
                    _ => libc::readv(socket, parts.as_ptr(), parts.len() as i32),
                }
            };
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
        if self.seal.is_some() {
            // SAFETY: passed on.
            return unsafe { self.send_sealed(parts) };
        }
        // SAFETY: passed on.
        unsafe { self.send_clear(parts) }
    }

    /// # Safety
    /// As [`Stream::send_from`].
    #[inline]
    unsafe fn send_clear(&mut self, parts: &[iovec]) -> usize {
        while self.writable && !self.ended {
            let (socket, flags) = (self.socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            #[cfg(test)]
            count(0);
            // SAFETY: all zeroes is a message header without anything; the list is as long as stated and only read; the
            // entries are the caller's promise.
            let sent = unsafe {
                if let [part] = parts {
                    libc::send(socket, part.iov_base, part.iov_len, flags)
                } else {
                    let mut message: libc::msghdr = std::mem::zeroed();
                    message.msg_iov = parts.as_ptr().cast_mut();
                    message.msg_iovlen = parts.len() as _;
                    libc::sendmsg(socket, &raw const message, flags)
                }
            };
            match self.judge(sent) {
                Judged::Moved(sent) => return sent,
                Judged::Nothing => self.writable = false,
                Judged::Again => {}
                // What came before is still to be read: the end is found there.
                Judged::Broken => (self.writable, self.broken, self.readable) = (false, true, true),
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

    /// Gives out what was opened, and opens what is there. [`Stream::readable`] stays while anything is left to open.
    ///
    /// # Safety
    /// As [`Stream::receive_into`].
    #[inline(never)]
    unsafe fn receive_sealed(&mut self, parts: &[iovec]) -> usize {
        let Some(mut seal) = self.seal.take() else { return 0 };
        let mut given = 0;
        while self.readable {
            match seal.open() {
                Ok(true) => {
                    // SAFETY: passed on.
                    given = unsafe { seal.give(parts) };
                    break;
                }
                Ok(false) => {
                    let room = seal.room();
                    let part = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
                    // SAFETY: the room is borrowed for writing.
                    let taken = unsafe { self.receive_clear(&[part]) };
                    seal.note_received(taken);
                }
                Err(_) => {
                    self.forged = true;
                    self.end();
                }
            }
        }
        self.seal = Some(seal);
        given
    }

    /// Seals a record and sends it. Its bytes are reported when all of it is with the kernel.
    ///
    /// # Safety
    /// As [`Stream::send_from`].
    #[inline(never)]
    unsafe fn send_sealed(&mut self, parts: &[iovec]) -> usize {
        let Some(mut seal) = self.seal.take() else { return 0 };
        let mut reported = 0;
        while self.writable && !self.ended && reported == 0 {
            // SAFETY: passed on.
            match unsafe { seal.prepare(parts) } {
                Ok(true) => {
                    let unsent = seal.unsent();
                    let part = iovec { iov_base: unsent.as_ptr().cast_mut().cast(), iov_len: unsent.len() };
                    // SAFETY: the record is borrowed.
                    let sent = unsafe { self.send_clear(&[part]) };
                    reported = seal.note_sent(sent).unwrap_or(0);
                }
                Ok(false) => break,
                // Its keys are used up.
                Err(_) => self.end(),
            }
        }
        self.seal = Some(seal);
        reported
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
