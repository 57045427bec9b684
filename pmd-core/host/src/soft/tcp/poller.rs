//! An engine's poll set: the sockets of its queue pairs, edge-triggered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use super::stream::Stream;

/// Events taken at a time.
const EVENTS: usize = 32;
/// Bits of an event's data that name the stream; those above name the queue pair.
const INDEX_BITS: u32 = 8;

/// An engine's poll set.
#[derive(Debug)]
pub(crate) struct Poller(Epoll);

/// What happened to one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// The number under which the queue pair added it.
    pub(crate) tag: u32,
    /// Which of the queue pair's.
    pub(crate) index: usize,
    /// What.
    pub(crate) flags: EpollFlags,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Errno> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map(Self)
    }

    pub(super) fn add(&self, stream: &Stream, tag: u32, index: usize) -> Result<(), Errno> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        self.0.add(stream, EpollEvent::new(flags, u64::from(tag) << INDEX_BITS | index as u64))
    }

    pub(super) fn remove(&self, socket: &OwnedFd) {
        // Fails for one that is not there, which is what is wanted.
        let _ = self.0.delete(socket);
    }

    /// Gives what has happened since the last call to `each`. Never waits.
    pub(crate) fn take(&self, mut each: impl FnMut(Event)) {
        let mut events = [EpollEvent::empty(); EVENTS];
        // What does not fit comes with the next call.
        let count = self.0.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            let index = (event.data() & ((1 << INDEX_BITS) - 1)) as usize;
            each(Event { tag: (event.data() >> INDEX_BITS) as u32, index, flags: event.events() });
        }
    }
}

/// Readable when something has happened.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
