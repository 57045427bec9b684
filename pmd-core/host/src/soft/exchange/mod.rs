//! The exchange: one device's sockets, what comes in over them, and who the peers are.
//!
//! Nothing here waits. Engines call [`ExchangeCell::service`] when they poll and have time; it takes in whatever has
//! come for the whole device. Setting up and registering call in under the lock.

mod mailbox;
mod outgoing;

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
};

use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};

use pmd_core::accelerator::ShareHandle;

use super::{
    Device,
    arena::Announcement,
    link::LinkMemory,
    memory::{Mapping, Protection, sealed_length},
    message::{Hello, Letter, Message, Share},
    peer::Peer,
    segment::Segment,
    socket::{self, Accepted, Received},
};
use crate::identity::DeviceId;
pub(super) use mailbox::{Mailbox, Offered, Pair};
use outgoing::Outgoing;

/// The exchange behind its lock.
#[derive(Debug)]
pub(super) struct ExchangeCell {
    poll: Arc<Epoll>,
    state: Mutex<Exchange>,
}

impl ExchangeCell {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self { poll: exchange.poll.clone(), state: Mutex::new(exchange) }
    }

    /// Takes in what has come, unless another thread is at it.
    pub(super) fn service(&self, device: &Device) {
        let changed = self.try_lock().is_some_and(|mut exchange| exchange.service(device));
        if changed {
            // The engine that it concerns may be asleep in another thread.
            device.seats().wake_all();
        }
    }

    /// Readable when there is something to take in.
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.poll.0
    }

    /// Every peer whose engines may know keys of this device.
    pub(super) fn known_peers(&self) -> Vec<Arc<Peer>> {
        let mut exchange = self.lock();
        exchange.departed.retain(|peer| !peer.is_gone());
        exchange.peers.values().chain(&exchange.departed).cloned().collect()
    }

    /// Those of them that may have heard of this device's shared memory.
    pub(super) fn told_peers(&self) -> Vec<Arc<Peer>> {
        let mut exchange = self.lock();
        exchange.departed.retain(|peer| !peer.is_gone());
        let told = exchange.peers.values().filter(|peer| exchange.is_connected(peer.id()));
        told.chain(&exchange.departed).cloned().collect()
    }

    /// Tells every peer that an arena may be mapped.
    pub(super) fn announce_arena(&self, arena: &Announcement) {
        self.lock().broadcast(&arena_message(arena), std::slice::from_ref(&arena.file));
    }

    /// Tells every peer that an arena is not used any more.
    pub(super) fn withdraw_arena(&self, id: u32) {
        self.lock().broadcast(&Message::ArenaGone { id }, &[]);
    }

    /// Tells every peer of device memory that may be opened.
    pub(super) fn announce_share(&self, share: Share) {
        self.lock().broadcast(&Message::Share(share), &[]);
    }

    /// Tells every peer that device memory is not used any more.
    pub(super) fn withdraw_share(&self, number: u32) {
        self.lock().broadcast(&Message::ShareGone { number }, &[]);
    }

    /// Tells the owner of device memory that it is not open here any more.
    pub(super) fn tell_closed(&self, owner: DeviceId, number: u32) {
        self.lock().send(owner, &Message::ShareClosed { number }, &[]);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Exchange>> {
        match self.state.try_lock() {
            Ok(exchange) => Some(exchange),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Sockets and peers of one device.
#[derive(Debug)]
pub(super) struct Exchange {
    poll: Arc<Epoll>,
    listener: OwnedFd,
    /// Descriptors ran out, and the listener is not polled until some are free: it would keep everyone awake.
    paused: bool,
    /// The segment, for peers to come.
    segment: Arc<OwnedFd>,
    next_tag: u64,
    /// Connections that peers made, by the tag under which they are polled.
    incoming: HashMap<u64, Incoming>,
    /// Connections to peers.
    outgoing: HashMap<DeviceId, Outgoing>,
    /// Those that said hello and are there.
    peers: HashMap<DeviceId, Arc<Peer>>,
    /// Those whose connection is lost but whose engines might still run.
    departed: Vec<Arc<Peer>>,
    mailbox: Mailbox,
}

#[derive(Debug)]
struct Incoming {
    socket: OwnedFd,
    /// Set by its hello.
    peer: Option<Arc<Peer>>,
}

impl Incoming {
    fn has_living_end(&self) -> bool {
        self.peer.as_ref().is_none_or(|peer| peer.confirm_alive())
    }
}

/// The listener's tag.
const LISTENER: u64 = 0;
/// Frames taken from one connection before the others have their turn.
const FRAMES_PER_TURN: usize = 64;
/// Rounds of polling in one service: a new connection is found in the first, its hello in the second.
const ROUNDS: usize = 4;

/// The connection is of no use: what came over it cannot be understood.
#[derive(Debug)]
struct Garbage;

impl Exchange {
    pub(super) fn open(device: DeviceId, segment: OwnedFd) -> io::Result<Self> {
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let listener = socket::listen_as(device)?;
        poll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            poll: Arc::new(poll),
            listener,
            paused: false,
            segment: Arc::new(segment),
            next_tag: LISTENER + 1,
            incoming: HashMap::new(),
            outgoing: HashMap::new(),
            peers: HashMap::new(),
            departed: Vec::new(),
            mailbox: Mailbox::default(),
        })
    }

    /// The peer, once it has said hello.
    pub(super) fn peer(&self, device: DeviceId) -> Option<&Arc<Peer>> {
        self.peers.get(&device)
    }

    /// Whether there is a connection to `device`.
    pub(super) fn is_connected(&self, device: DeviceId) -> bool {
        self.outgoing.contains_key(&device)
    }

    /// Connects to `remote` unless that was done, and says hello. `false` when it has to be tried again.
    ///
    /// # Errors
    /// ECONNREFUSED when nobody listens there.
    pub(super) fn reach_out(&mut self, device: &Device, remote: DeviceId) -> Result<bool, Errno> {
        if self.is_connected(remote) {
            return Ok(true);
        }
        let Some(socket) = socket::connect_to(remote)? else { return Ok(false) };
        let tag = self.tag();
        self.poll.add(&socket, EpollEvent::new(outgoing::IDLE, tag))?;
        let mut outgoing = Outgoing::new(socket, tag);
        let hello = Hello {
            device: device.id(),
            token_address: device.token().address(),
            token: device.token().clone(),
        };
        outgoing.send(&self.poll, &Message::Hello(hello), std::slice::from_ref(&self.segment));
        for arena in device.arenas().announcements() {
            outgoing.send(&self.poll, &arena_message(&arena), std::slice::from_ref(&arena.file));
        }
        for share in device.memories().shares() {
            outgoing.send(&self.poll, &Message::Share(share), &[]);
        }
        self.outgoing.insert(remote, outgoing);
        Ok(true)
    }

    /// Sends to one peer, now or as soon as its socket has room.
    pub(super) fn send(&mut self, remote: DeviceId, message: &Message, files: &[Arc<OwnedFd>]) {
        if let Some(outgoing) = self.outgoing.get_mut(&remote) {
            outgoing.send(&self.poll, message, files);
        }
    }

    pub(super) fn mailbox(&mut self) -> &mut Mailbox {
        &mut self.mailbox
    }

    fn broadcast(&mut self, message: &Message, files: &[Arc<OwnedFd>]) {
        for outgoing in self.outgoing.values_mut() {
            outgoing.send(&self.poll, message, files);
        }
    }

    /// Takes in what has come. Whether anything did.
    fn service(&mut self, device: &Device) -> bool {
        if self.paused {
            self.accept();
        }
        let mut changed = false;
        for _ in 0..ROUNDS {
            let mut events = [EpollEvent::empty(); 32];
            let count = self.poll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            if count == 0 {
                break;
            }
            changed = true;
            for event in &events[..count] {
                self.handle(device, event.data(), event.events());
            }
        }
        changed
    }

    fn handle(&mut self, device: &Device, tag: u64, flags: EpollFlags) {
        if tag == LISTENER {
            self.accept();
        } else if self.incoming.contains_key(&tag) {
            self.receive(device, tag);
        } else {
            self.tend(tag, flags);
        }
    }

    fn accept(&mut self) {
        let short = loop {
            match socket::accept(&self.listener) {
                Accepted::Connection(socket) => self.admit(socket),
                Accepted::Nobody => break false,
                Accepted::NoDescriptor => break true,
            }
        };
        if self.paused != short {
            self.paused = short;
            let flags = if short { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
            let _ = self.poll.modify(&self.listener, &mut EpollEvent::new(flags, LISTENER));
        }
    }

    fn admit(&mut self, socket: OwnedFd) {
        let tag = self.tag();
        if self.poll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, tag)).is_ok() {
            self.incoming.insert(tag, Incoming { socket, peer: None });
        }
    }

    /// Looks after a connection to a peer: sends what waits, or finds that it is lost. Peers send nothing there.
    fn tend(&mut self, tag: u64, flags: EpollFlags) {
        let Some((device, outgoing)) = self.outgoing.iter_mut().find(|(_, outgoing)| outgoing.tag() == tag)
        else {
            return;
        };
        let device = *device;
        let ended = flags.intersects(!EpollFlags::EPOLLOUT);
        if ended || !outgoing.flush(&self.poll) {
            self.lose(device);
        }
    }

    fn receive(&mut self, device: &Device, tag: u64) {
        for _ in 0..FRAMES_PER_TURN {
            let Some(connection) = self.incoming.get(&tag) else { return };
            let outcome = match socket::receive(&connection.socket) {
                // The process may have ended although a child that it forked keeps the connection open.
                Received::Nothing if connection.has_living_end() => return,
                Received::Frame { bytes, descriptors } => self.take(device, tag, &bytes, descriptors),
                Received::Nothing | Received::Truncated | Received::End => Err(Garbage),
            };
            if outcome.is_err() {
                self.hang_up(tag);
            }
        }
    }

    fn take(
        &mut self,
        device: &Device,
        tag: u64,
        frame: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Garbage> {
        let message = Message::decode(frame).map_err(|_| Garbage)?;
        if descriptors.len() != message.descriptors() {
            return Err(Garbage);
        }
        let mut descriptors = descriptors.into_iter();
        let mut descriptor = || descriptors.next().ok_or(Garbage);
        let connection = self.incoming.get(&tag).ok_or(Garbage)?;
        match (connection.peer.clone(), message) {
            (None, Message::Hello(hello)) => self.welcome(device, tag, &hello, &descriptor()?),
            (Some(peer), Message::Arena { id, length, prefault }) => {
                map_arena(device, &peer, id, length, prefault, &descriptor()?)
            }
            (Some(peer), Message::ArenaGone { id }) => {
                peer.remove_arena(id);
                Ok(())
            }
            (Some(peer), Message::Share(share)) => {
                add_share(&peer, share);
                Ok(())
            }
            (Some(peer), Message::ShareGone { number }) => {
                if peer.withdraw_share(number) {
                    self.send(peer.id(), &Message::ShareClosed { number }, &[]);
                }
                Ok(())
            }
            (Some(peer), Message::ShareClosed { number }) => {
                device.memories().closed(number, peer.id());
                Ok(())
            }
            (Some(peer), Message::Offer(letter)) => {
                self.offered(&peer, letter, &descriptor()?, descriptor()?)
            }
            (Some(peer), Message::Answer(letter)) => {
                let pair = Pair { mine: letter.to, device: peer.id(), theirs: letter.from };
                self.mailbox.answer(pair, letter.serial, descriptor()?);
                Ok(())
            }
            _ => Err(Garbage),
        }
    }

    /// A hello: from now on there is a peer.
    fn welcome(
        &mut self,
        device: &Device,
        tag: u64,
        hello: &Hello,
        segment: &OwnedFd,
    ) -> Result<(), Garbage> {
        let segment = Segment::attach(segment).ok_or(Garbage)?;
        let connection = self.incoming.get_mut(&tag).ok_or(Garbage)?;
        if self.peers.contains_key(&hello.device) {
            return Err(Garbage);
        }
        let peer = Arc::new(Peer::new(device, hello, segment, &connection.socket).ok_or(Garbage)?);
        if let Some(process) = peer.process_descriptor() {
            self.poll.add(process, EpollEvent::new(EpollFlags::EPOLLIN, tag)).map_err(|_| Garbage)?;
        }
        connection.peer = Some(peer.clone());
        self.peers.insert(hello.device, peer);
        Ok(())
    }

    fn offered(
        &mut self,
        peer: &Peer,
        letter: Letter,
        link: &OwnedFd,
        event: OwnedFd,
    ) -> Result<(), Garbage> {
        let memory = Arc::new(LinkMemory::attach(link).ok_or(Garbage)?);
        let pair = Pair { mine: letter.to, device: peer.id(), theirs: letter.from };
        self.mailbox.offer(pair, Offered { serial: letter.serial, memory, event: Arc::new(event) });
        Ok(())
    }

    /// Ends a connection that a peer made, and what hangs on it.
    fn hang_up(&mut self, tag: u64) {
        let Some(connection) = self.incoming.remove(&tag) else { return };
        let _ = self.poll.delete(&connection.socket);
        if let Some(peer) = connection.peer {
            self.lose(peer.id());
        }
    }

    /// The peer is gone, or cannot be talked to.
    fn lose(&mut self, device: DeviceId) {
        if let Some(outgoing) = self.outgoing.remove(&device) {
            outgoing.end(&self.poll);
        }
        self.mailbox.forget(device);
        let Some(peer) = self.peers.remove(&device) else { return };
        peer.mark_dead();
        let poll = &self.poll;
        if let Some(process) = peer.process_descriptor() {
            let _ = poll.delete(process);
        }
        self.incoming.retain(|_, connection| {
            let other = connection.peer.as_ref().is_none_or(|theirs| theirs.id() != device);
            if !other {
                let _ = poll.delete(&connection.socket);
            }
            other
        });
        self.departed.retain(|peer| !peer.is_gone());
        if !peer.is_gone() {
            self.departed.push(peer);
        }
    }

    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }
}

/// Keeps what opens a peer's device memory; it is opened by whoever first copies there. Memory of an accelerator that
/// this build does not know stays out of reach.
fn add_share(peer: &Peer, share: Share) {
    let Share { number, kind, device, opaque, offset, length } = share;
    if let Some(kind) = super::device_memory::kind_of(&kind) {
        peer.add_share(number, ShareHandle { kind, device, opaque, offset, length });
    }
}

fn arena_message(arena: &Announcement) -> Message {
    Message::Arena { id: arena.id, length: arena.length, prefault: arena.prefault }
}

/// Maps a peer's arena. Where that fails for want of address space, its memory is reached in another way.
fn map_arena(
    device: &Device,
    peer: &Peer,
    id: u32,
    length: u64,
    prefault: bool,
    file: &OwnedFd,
) -> Result<(), Garbage> {
    let length = usize::try_from(length).map_err(|_| Garbage)?;
    if id == 0 || sealed_length(file) != Some(length) {
        return Err(Garbage);
    }
    if !peer.maps_arenas() || peer.has_arena(id) {
        return Ok(());
    }
    if let Ok(mut mapping) = Mapping::new(file, length, Protection::ReadWrite) {
        if prefault {
            // Only a matter of speed.
            let _ = mapping.populate();
        }
        if device.config().pin_arenas {
            // Only a matter of speed too.
            let _ = mapping.pin(&device.config().accelerators);
        }
        peer.add_arena(id, mapping);
    }
    Ok(())
}
