//! Connecting two queue pairs, without waiting for the other side.
//!
//! ```text
//!  side 0 (lower device id, queue pair)           side 1
//!  connect: hello, arenas, offer + link + event   connect: hello, arenas
//!                                                 poll: offer taken, lane attached, answer + event
//!  poll: answer taken, lane attached: Link        poll: side 0 is attached: Link
//! ```
//! A side attaches only once it knows the peer's segment, and gives the link out only once the other is attached.
//! So whoever may use a key is known to the key's owner before, who waits for its engines when it takes the key back.

use std::{
    cmp::Ordering,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use nix::errno::Errno;
use pmd_core::ring::side::SideState;
use thiserror::Error;

use super::{
    Device, ProtectionDomain,
    exchange::{Exchange, Offered, Pair},
    link::{Link, LinkMemory, LinkParts, Sides},
    message::{Letter, Message},
    peer::Peer,
    quiet::Quiet,
};
use crate::{
    backend::{SetupError, SoftAddress, Waker},
    identity::DeviceId,
    security::KeyMismatch,
};

/// This side of a connection to be.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Number of the queue pair in this device.
    pub(crate) queue_pair: u32,
    /// Its protection domain.
    pub(crate) protection_domain: ProtectionDomain,
    /// Wakes its engine.
    pub(crate) waker: Waker,
    /// Whether that engine ever sleeps; if not, the peer never looks whether it does.
    pub(crate) may_park: bool,
}

/// A connection that is not complete yet. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct PendingLink {
    device: Device,
    protection_domain: ProtectionDomain,
    may_park: bool,
    event: Arc<OwnedFd>,
    pair: Pair,
    /// The connection to the peer's device was there once.
    connected: bool,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// Side 0, with the offer once it was made.
    Offering(Option<Offer>),
    /// Side 1, with the offer that was accepted last.
    Taking(Option<Offered>),
    /// Both sides.
    Alone,
    /// The link was given out, or given up.
    Done,
}

#[derive(Debug)]
struct Offer {
    memory: Arc<LinkMemory>,
    serial: u64,
}

/// Why a connection will never be complete.
#[derive(Debug, Error)]
pub(crate) enum LinkFault {
    /// The peer's process ended, dropped its device, or speaks another version.
    #[error("soft HCA {device} went away before the connection was complete; fetch a fresh address")]
    PeerGone {
        /// The peer.
        device: DeviceId,
    },
    /// The keys of both sides differ.
    #[error(transparent)]
    Keys(KeyMismatch),
    /// A system call failed.
    #[error("connecting over shared memory: {call} failed")]
    System {
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl Device {
    /// Begins to connect a queue pair of this device to `remote`. The peer need not be connecting yet.
    ///
    /// # Errors
    /// [`SetupError::NotSameHost`], [`SetupError::PeerGone`], or [`SetupError::System`] when memory or descriptors
    /// are short.
    pub(crate) fn connect(
        &self,
        endpoint: &Endpoint,
        remote: &SoftAddress,
    ) -> Result<PendingLink, SetupError> {
        if let Some(reason) = self.host().separation(&remote.host) {
            return Err(SetupError::NotSameHost { reason });
        }
        let event = endpoint.waker.0.as_fd().try_clone_to_owned();
        let event = event.map_err(|source| SetupError::System { call: "dup", source })?;
        let role = match (self.id(), endpoint.queue_pair).cmp(&(remote.device, remote.queue_pair)) {
            Ordering::Less => Role::Offering(None),
            Ordering::Equal => Role::Alone,
            Ordering::Greater => Role::Taking(None),
        };
        let mut pending = PendingLink {
            device: self.clone(),
            protection_domain: endpoint.protection_domain,
            may_park: endpoint.may_park,
            event: Arc::new(event),
            pair: Pair { mine: endpoint.queue_pair, device: remote.device, theirs: remote.queue_pair },
            connected: false,
            role,
        };
        pending.begin()?;
        Ok(pending)
    }
}

impl Device {
    /// Connects to the socket of a peer's device, which a link over shared memory needs, unless that was done. It stays
    /// connected until the peer's device is gone.
    ///
    /// # Errors
    /// ECONNREFUSED when nobody of this user listens there.
    pub(crate) fn reach_out(&self, peer: DeviceId) -> Result<(), Errno> {
        self.exchange().lock().reach_out(self, peer).map(drop)
    }
}

impl PendingLink {
    /// Goes on as far as possible without waiting, and gives the link once it is complete.
    ///
    /// # Errors
    /// [`LinkFault`]; the queue pair will not be connected.
    pub(crate) fn poll(&mut self) -> Result<Option<Link>, LinkFault> {
        let device = self.device.clone();
        device.service();
        let Some(mut exchange) = device.exchange().try_lock() else { return Ok(None) };
        if !self.reach_out(&mut exchange)? {
            return Ok(None);
        }
        self.offer_if_due(&mut exchange)?;
        let Some(peer) = exchange.peer(self.pair.device).cloned() else { return Ok(None) };
        match self.role {
            Role::Offering(_) => self.finish_offering(&mut exchange, peer),
            Role::Taking(_) => self.finish_taking(&mut exchange, peer),
            Role::Alone => self.finish_alone(peer).map(Some),
            Role::Done => Ok(None),
        }
    }

    /// Gives the connection up. If the peer was faster and moves bytes already, the result tells when it has ended.
    pub(crate) fn close(mut self) -> Option<Quiet> {
        self.give_up()
    }

    fn begin(&mut self) -> Result<(), SetupError> {
        let device = self.device.clone();
        let mut exchange = device.exchange().lock();
        let begun = self.reach_out(&mut exchange).and_then(|_| self.offer_if_due(&mut exchange));
        begun.map_err(SetupError::from)
    }

    /// Whether there is a connection to the peer's device.
    fn reach_out(&mut self, exchange: &mut Exchange) -> Result<bool, LinkFault> {
        let device = self.pair.device;
        if self.connected {
            let lost = !exchange.is_connected(device);
            return if lost { Err(LinkFault::PeerGone { device }) } else { Ok(true) };
        }
        match exchange.reach_out(&self.device, device) {
            Ok(connected) => self.connected = connected,
            Err(Errno::ECONNREFUSED | Errno::ECONNRESET) => return Err(LinkFault::PeerGone { device }),
            Err(source) => return Err(LinkFault::system("connect")(source)),
        }
        Ok(self.connected)
    }

    /// Side 0: makes a link and offers it, if there is no offer or the peer gave the last one up.
    fn offer_if_due(&mut self, exchange: &mut Exchange) -> Result<(), LinkFault> {
        let Role::Offering(offer) = &mut self.role else { return Ok(()) };
        let stands = offer.as_ref().is_some_and(|offer| offer.memory.state(1) != SideState::Abandoned);
        if stands || !self.connected {
            return Ok(());
        }
        let ring_bytes = self.device.config().ring_bytes;
        let (memory, file) = LinkMemory::create(ring_bytes).map_err(LinkFault::system("memfd_create"))?;
        let serial = exchange.mailbox().expect(self.pair);
        let files = [Arc::new(file), self.event.clone()];
        exchange.send(self.pair.device, &Message::Offer(self.letter(serial)), &files);
        self.role = Role::Offering(Some(Offer { memory: Arc::new(memory), serial }));
        Ok(())
    }

    fn finish_offering(
        &mut self,
        exchange: &mut Exchange,
        peer: Arc<Peer>,
    ) -> Result<Option<Link>, LinkFault> {
        let Role::Offering(Some(Offer { memory, serial })) = &self.role else { return Ok(None) };
        let Some(event) = exchange.mailbox().take_answer(self.pair, *serial) else { return Ok(None) };
        let memory = memory.clone();
        memory.set_attached(0, self.protection_domain, self.may_park);
        self.complete(peer, memory, event, Sides { mine: 0, theirs: 1 }).map(Some)
    }

    fn finish_taking(&mut self, exchange: &mut Exchange, peer: Arc<Peer>) -> Result<Option<Link>, LinkFault> {
        if let Some(offered) = exchange.mailbox().take_offer(self.pair) {
            self.accept(exchange, offered);
        }
        let Role::Taking(Some(offered)) = &self.role else { return Ok(None) };
        let (memory, event) = (offered.memory.clone(), offered.event.clone());
        match memory.state(0) {
            SideState::Attached | SideState::Closed => {
                self.complete(peer, memory, event, Sides { mine: 1, theirs: 0 }).map(Some)
            }
            SideState::New | SideState::Abandoned => Ok(None),
        }
    }

    /// Side 1: takes an offer in place of an earlier one, and says so.
    fn accept(&mut self, exchange: &mut Exchange, offered: Offered) {
        offered.memory.set_attached(1, self.protection_domain, self.may_park);
        let answer = Message::Answer(self.letter(offered.serial));
        exchange.send(self.pair.device, &answer, std::slice::from_ref(&self.event));
        if let Role::Taking(Some(earlier)) = std::mem::replace(&mut self.role, Role::Taking(Some(offered))) {
            earlier.memory.set_abandoned(1);
        }
    }

    fn finish_alone(&mut self, peer: Arc<Peer>) -> Result<Link, LinkFault> {
        let ring_bytes = self.device.config().ring_bytes;
        let (memory, _) = LinkMemory::create(ring_bytes).map_err(LinkFault::system("memfd_create"))?;
        memory.set_attached(0, self.protection_domain, self.may_park);
        self.complete(peer, Arc::new(memory), self.event.clone(), Sides { mine: 0, theirs: 0 })
    }

    fn complete(
        &mut self,
        peer: Arc<Peer>,
        memory: Arc<LinkMemory>,
        event: Arc<OwnedFd>,
        sides: Sides,
    ) -> Result<Link, LinkFault> {
        let device = self.device.clone();
        let parts = LinkParts { device, peer, event, sides, peer_queue_pair: self.pair.theirs, memory };
        let link = Link::new(parts).map_err(|_| LinkFault::system("attaching to a link")(Errno::EINVAL))?;
        self.role = Role::Done;
        Ok(link)
    }

    fn letter(&self, serial: u64) -> Letter {
        Letter { from: self.pair.mine, to: self.pair.theirs, serial }
    }

    fn give_up(&mut self) -> Option<Quiet> {
        let (memory, side) = match std::mem::replace(&mut self.role, Role::Done) {
            Role::Offering(Some(Offer { memory, serial })) => {
                self.device.exchange().lock().mailbox().give_up(self.pair, serial);
                (memory, 0)
            }
            Role::Taking(Some(offered)) => (offered.memory, 1),
            _ => return None,
        };
        let revoked = memory.set_abandoned(side);
        let peer = self.device.exchange().lock().peer(self.pair.device).cloned()?;
        Some(Quiet::of_peer(&self.device, peer, &revoked))
    }
}

impl Drop for PendingLink {
    fn drop(&mut self) {
        if self.device.is_owner() {
            drop(self.give_up());
        }
    }
}

impl LinkFault {
    fn system(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |source| Self::System { call, source: source.into() }
    }
}

impl From<LinkFault> for SetupError {
    fn from(fault: LinkFault) -> Self {
        match fault {
            LinkFault::PeerGone { device } => Self::PeerGone { device },
            // Found while it connects, never before.
            LinkFault::Keys(mismatch) => {
                Self::System { call: "connecting over TCP", source: io::Error::other(mismatch) }
            }
            LinkFault::System { call, source } => Self::System { call, source },
        }
    }
}
