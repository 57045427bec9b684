//! The receiving half of a connection: whether the peer answers, and what it allows.
//!
//! Called by `requester` for each WQE of a connected queue pair. A refusal (NAK) moves the peer to its error state as
//! the InfiniBand specification wants (9.9.3: remote access, invalid request, remote operational errors), with the
//! asynchronous event that its process then hears of; on an unreliable connection the message is dropped.

use pmd_core::{
    memory::Access,
    wire::{Received, RemoteSegment, Syndrome},
};

use super::{
    gather::{self, Right, Span},
    receives::{Message, Undelivered},
    turn::Turn,
};
use crate::{
    dma::{self, CopyFault},
    state::{AsynchronousKind, QueuePair, QueuePairKind, state},
};

/// Why a WQE did not get to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its own side is at fault.
    Failed(Syndrome),
    /// The peer refused it.
    Refused(Syndrome),
    /// The peer has no receive, and asks to wait as its timer code says.
    NotReady { timer: u8 },
    /// Nothing comes back.
    NoAnswer,
}

/// An eight-byte atomic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Atomic {
    CompareSwap { compare: u64, swap: u64 },
    FetchAdd(u64),
}

impl Atomic {
    fn apply(self, value: u64) -> u64 {
        match self {
            Self::CompareSwap { compare, swap } if value == compare => swap,
            Self::CompareSwap { .. } => value,
            Self::FetchAdd(addend) => value.wrapping_add(addend),
        }
    }
}

impl Turn<'_> {
    /// The other end of a connection, if it answers.
    pub(super) fn peer(&self, queue_pair: &QueuePair) -> Result<QueuePair, Stop> {
        let path = &queue_pair.path;
        let peer = self.tables.queue_pairs.find(path.remote).ok_or(Stop::NoAnswer)?;
        let is_connected = peer.kind == queue_pair.kind
            && peer.path.remote == queue_pair.number
            && peer.path.receive_sequence == path.send_sequence;
        let arrives = self.leads_here(path.lid, &path.gid) && !self.tables.link_down;
        if is_connected && arrives && takes_packets(peer) { Ok(*peer) } else { Err(Stop::NoAnswer) }
    }

    /// The memory that a WRITE goes to. One with an immediate needs a receive as well.
    pub(super) fn serve_write(
        &mut self,
        peer: &QueuePair,
        remote: RemoteSegment,
        length: u64,
        immediate: bool,
    ) -> Result<Span, Stop> {
        self.require(peer, Access::REMOTE_WRITE)?;
        if immediate {
            self.require_receive(peer)?;
        }
        let target = self.remote(peer, remote, length, Access::REMOTE_WRITE);
        target.map_err(|syndrome| self.refuse(peer, syndrome))
    }

    /// The memory that a READ comes from.
    pub(super) fn serve_read(
        &mut self,
        peer: &QueuePair,
        remote: RemoteSegment,
        length: u64,
    ) -> Result<Span, Stop> {
        self.require(peer, Access::REMOTE_READ)?;
        let source = self.remote(peer, remote, length, Access::REMOTE_READ);
        source.map_err(|syndrome| self.refuse(peer, syndrome))
    }

    /// Executes an atomic, and gives the earlier value. It excludes other devices' atomics, as the lock is held.
    pub(super) fn serve_atomic(
        &mut self,
        peer: &QueuePair,
        remote: RemoteSegment,
        operation: Atomic,
    ) -> Result<u64, Stop> {
        self.require(peer, Access::REMOTE_ATOMIC)?;
        if !remote.address.is_multiple_of(8) {
            return Err(self.refuse(peer, Syndrome::RemoteInvalidRequest));
        }
        let target = self.remote(peer, remote, 8, Access::REMOTE_ATOMIC);
        let target = target.map_err(|syndrome| self.refuse(peer, syndrome))?;
        let earlier = dma::update(target.pid, target.address, |value| operation.apply(value));
        earlier.map_err(|fault| self.remote_fault(peer, fault.errno))
    }

    /// Puts a message into the peer's next receive.
    pub(super) fn serve_send(&mut self, peer: &QueuePair, message: &Message<'_>) -> Result<(), Stop> {
        if let Received::SendInvalidate(key) = message.received {
            self.require_receive(peer)?;
            self.invalidate(peer, key)?;
        }
        self.deliver(peer, message).map_err(|undelivered| match undelivered {
            Undelivered::NotReady => Stop::NotReady { timer: peer.path.minimum_rnr_timer },
            Undelivered::Gone => Stop::NoAnswer,
            Undelivered::SenderFault => Stop::Failed(Syndrome::LocalProtection),
            Undelivered::Failed(Syndrome::LocalLength) => {
                self.refuse_broken(peer, Syndrome::RemoteInvalidRequest)
            }
            Undelivered::Failed(_) => self.refuse_broken(peer, Syndrome::RemoteOperation),
        })
    }

    /// Moves bytes `skip..skip + length` between this side and the peer.
    pub(super) fn move_bytes(
        &mut self,
        peer: &QueuePair,
        source: &[Span],
        target: &[Span],
        (skip, length): (u64, u64),
    ) -> Result<(), Stop> {
        let peer_pid = self.pid(peer.owner);
        gather::copy(source, target, skip, length).map_err(|fault| {
            let (CopyFault::Source(fault) | CopyFault::Target(fault)) = fault;
            if fault.pid == dma::own_pid() && fault.pid != peer_pid {
                Stop::Failed(Syndrome::LocalProtection)
            } else {
                self.remote_fault(peer, fault.errno)
            }
        })
    }

    /// The peer's memory that a key opens; nothing is looked at for no bytes.
    fn remote(
        &self,
        peer: &QueuePair,
        remote: RemoteSegment,
        length: u64,
        access: Access,
    ) -> Result<Span, Syndrome> {
        if length == 0 {
            return Ok(Span { pid: self.pid(peer.owner), address: 0, length: 0 });
        }
        let right = Right { owner: peer.owner, domain: peer.domain, access };
        let span = self.span(remote.rkey, (remote.address, length), right);
        span.map_err(|_| Syndrome::RemoteAccess)
    }

    /// Refuses what the peer's queue pair was not opened for.
    fn require(&mut self, peer: &QueuePair, access: Access) -> Result<(), Stop> {
        if Access::from_bits_truncate(peer.access).contains(access) {
            Ok(())
        } else {
            Err(self.refuse(peer, Syndrome::RemoteInvalidRequest))
        }
    }

    fn require_receive(&mut self, peer: &QueuePair) -> Result<(), Stop> {
        match self.next_receive(peer) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Stop::NotReady { timer: peer.path.minimum_rnr_timer }),
            Err(_) => Err(Stop::NoAnswer),
        }
    }

    /// Takes a key of the peer away, as SEND_INVAL asks.
    fn invalidate(&mut self, peer: &QueuePair, key: u32) -> Result<(), Stop> {
        let region = self.tables.regions.find_mut(key);
        let region = region.filter(|region| region.owner == peer.owner && region.domain == peer.domain);
        match region {
            Some(region) if !region.invalidated => {
                region.invalidated = true;
                Ok(())
            }
            _ => Err(self.refuse(peer, Syndrome::RemoteAccess)),
        }
    }

    /// Memory that a key opens is not there: the process is gone, or has unmapped what it registered.
    fn remote_fault(&mut self, peer: &QueuePair, errno: i32) -> Stop {
        if errno == libc::ESRCH {
            Stop::NoAnswer
        } else {
            self.refuse_broken(peer, Syndrome::RemoteOperation)
        }
    }

    /// Refuses a request: the peer's queue pair fails, and its process hears why.
    fn refuse(&mut self, peer: &QueuePair, syndrome: Syndrome) -> Stop {
        if peer.kind == QueuePairKind::Reliable {
            let kind = match syndrome {
                Syndrome::RemoteAccess => AsynchronousKind::QueuePairAccessError,
                _ => AsynchronousKind::QueuePairRequestError,
            };
            self.raise(peer.owner, kind, peer.number, peer.user_handle);
            self.enter_error(peer.number);
        }
        Stop::Refused(syndrome)
    }

    /// Refuses a request for which a receive of the peer has completed with an error, or its memory is gone: the
    /// peer's queue pair fails whatever its service is.
    fn refuse_broken(&mut self, peer: &QueuePair, syndrome: Syndrome) -> Stop {
        self.enter_error(peer.number);
        Stop::Refused(syndrome)
    }
}

/// Whether a queue pair looks at what arrives.
pub(super) fn takes_packets(queue_pair: &QueuePair) -> bool {
    matches!(queue_pair.state, state::RTR | state::RTS | state::SQD | state::SQE)
}
