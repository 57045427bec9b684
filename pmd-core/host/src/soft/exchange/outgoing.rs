//! A connection to a peer: frames go out in order, at once or when the socket has room again.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::super::{message::Message, socket};

/// What an idle connection is polled for: its end.
pub(super) const IDLE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLRDHUP);

#[derive(Debug)]
pub(super) struct Outgoing {
    socket: OwnedFd,
    tag: u64,
    waiting: VecDeque<(Vec<u8>, Vec<Arc<OwnedFd>>)>,
}

impl Outgoing {
    pub(super) fn new(socket: OwnedFd, tag: u64) -> Self {
        Self { socket, tag, waiting: VecDeque::new() }
    }

    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    /// Sends, or keeps the frame until [`Outgoing::flush`]. That the peer is gone is found out by polling.
    pub(super) fn send(&mut self, poll: &Epoll, message: &Message, files: &[Arc<OwnedFd>]) {
        self.waiting.push_back((message.encode(), files.to_vec()));
        if self.waiting.len() == 1 && self.flush(poll) && !self.waiting.is_empty() {
            self.poll_for(poll, IDLE | EpollFlags::EPOLLOUT);
        }
    }

    /// Sends what waits and fits. `false` when the peer is gone.
    pub(super) fn flush(&mut self, poll: &Epoll) -> bool {
        let blocked = self.waiting.len() > 1;
        while let Some((frame, files)) = self.waiting.front() {
            let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
            match socket::send(&self.socket, frame, &descriptors) {
                Ok(true) => self.waiting.pop_front(),
                Ok(false) => return true,
                Err(_) => return false,
            };
        }
        if blocked {
            self.poll_for(poll, IDLE);
        }
        true
    }

    /// Takes the connection out of the poll set and closes it.
    pub(super) fn end(self, poll: &Epoll) {
        let _ = poll.delete(&self.socket);
    }

    fn poll_for(&self, poll: &Epoll, flags: EpollFlags) {
        let _ = poll.modify(&self.socket, &mut EpollEvent::new(flags, self.tag));
    }
}
