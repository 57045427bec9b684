//! A link: the memory through which two connected queue pairs exchange packets.
//!
//! ```text
//!  0        header: magic, version, lines per ring
//!  256      lane of side 0: state, open, parked, may park, protection domain
//!  512      lane of side 1
//!  1 KiB    four lines for the consumers' positions
//!  4 KiB    four rings: requests 0 -> 1, requests 1 -> 0, responses 0 -> 1, responses 1 -> 0
//! ```
//! Side 0 is the one with the lower (device, queue pair) and makes the memory. Each side writes its own lane only;
//! what it reads in the other's is checked or harmless.
#![allow(unsafe_code)] // turns offsets in a mapping into references and rings

use std::{os::fd::OwnedFd, ptr::NonNull, sync::Arc};

use nix::{errno::Errno, fcntl::SealFlag};
use pmd_core::{
    accelerator::ShareHandle,
    memory::Access,
    ring::{
        packet::{ConsumedLine, Consumer, LINE_BYTES, Line, LineCount, Producer},
        parking::{Parking, Published},
        quiesce::{Active, Revoked},
        side::{Side, SideState},
    },
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    wire::RemoteSegment,
};

use super::{
    Device, MappingCache, ProtectionDomain, Reach,
    memory::{Mapping, PAGE, Protection, memory_file, reserve, seal, sealed_length},
    peer::Peer,
    quiet::Quiet,
    regions::KeyFault,
    tcp::{Carrier, Consumed, LinkRings, STREAMED_FROM, WireFault},
};

const MAGIC: u64 = u64::from_le_bytes(*b"pmd-link");
const VERSION: u32 = 1;
const LANES_AT: usize = 256;
const CONSUMED_AT: usize = 1024;
const RINGS: usize = 4;

const _: () = assert!(size_of::<Lane>() == 256 && CONSUMED_AT >= LANES_AT + 2 * size_of::<Lane>());
const _: () = assert!(CONSUMED_AT + RINGS * size_of::<ConsumedLine>() <= PAGE);

#[derive(Debug)]
#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    /// Lines of each ring.
    lines: AtomicU32,
}

/// What one side tells the other.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Lane {
    /// Attached once all else here is written.
    side: Side,
    may_park: AtomicU32,
    protection_domain: AtomicU32,
    parked: Parked,
}

/// On lines of its own: it changes while the others are read.
#[derive(Debug)]
#[repr(C, align(128))]
struct Parked(Parking);

/// The memory of a link, mapped.
#[derive(Debug)]
pub(super) struct LinkMemory {
    mapping: Mapping,
    /// Lines of each ring, as checked when it was mapped.
    lines: usize,
}

impl LinkMemory {
    /// Makes a link with rings of `ring_bytes` bytes.
    pub(super) fn create(ring_bytes: u32) -> Result<(Self, OwnedFd), Errno> {
        let lines = ring_bytes as usize / LINE_BYTES;
        let length = length(lines);
        let file = memory_file(c"pmd-link", length, false)?;
        reserve(&file, length)?;
        seal(&file, SealFlag::empty())?;
        let memory = Self { mapping: Mapping::new(&file, length, Protection::ReadWrite)?, lines };
        memory.header().magic.store(MAGIC, Ordering::Relaxed);
        memory.header().version.store(VERSION, Ordering::Relaxed);
        memory.header().lines.store(lines as u32, Ordering::Relaxed);
        Ok((memory, file))
    }

    /// Maps a link that a peer made, or `None` when it is not one.
    pub(super) fn attach(file: &OwnedFd) -> Option<Self> {
        let length_found = sealed_length(file)?;
        if length_found < PAGE || length_found > length(1 << 20) {
            return None;
        }
        let mapping = Mapping::new(file, length_found, Protection::ReadWrite).ok()?;
        let mut memory = Self { mapping, lines: 0 };
        let header = memory.header();
        let lines = header.lines.load(Ordering::Relaxed) as usize;
        let fits = header.magic.load(Ordering::Relaxed) == MAGIC
            && header.version.load(Ordering::Relaxed) == VERSION
            && lines <= 1 << 20
            && lines.is_power_of_two()
            && length(lines) == length_found;
        memory.lines = lines;
        fits.then_some(memory)
    }

    /// How far `side` has come.
    pub(super) fn state(&self, side: usize) -> SideState {
        self.lane(side).side.state()
    }

    /// Says that this side has all it needs, and opens its lane.
    pub(super) fn set_attached(&self, side: usize, domain: ProtectionDomain, may_park: bool) {
        let lane = self.lane(side);
        lane.may_park.store(u32::from(may_park), Ordering::Relaxed);
        lane.protection_domain.store(domain.0, Ordering::Relaxed);
        lane.side.attach();
    }

    /// Says that this side gave up before it was connected; the other may have been faster.
    pub(super) fn set_abandoned(&self, side: usize) -> Revoked {
        self.lane(side).side.abandon()
    }

    fn lane(&self, side: usize) -> &Lane {
        let at = LANES_AT + (side & 1) * size_of::<Lane>();
        // SAFETY: inside the first page, aligned to 128; all fields are atomics, zeroed at the start.
        unsafe { self.mapping.base().add(at).cast().as_ref() }
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping starts with it; all fields are atomics.
        unsafe { self.mapping.base().cast().as_ref() }
    }

    fn ring(&self, index: usize) -> (NonNull<Line>, NonNull<ConsumedLine>) {
        // SAFETY: `length` has room for `RINGS` of both behind the header.
        unsafe {
            let base = self.mapping.base();
            let lines = base.add(PAGE + index * self.lines * LINE_BYTES).cast();
            (lines, base.add(CONSUMED_AT + index * size_of::<ConsumedLine>()).cast())
        }
    }

    /// # Safety
    /// Each ring gets one producer and one consumer at most, fresh memory, and `self` outlives them.
    unsafe fn producer(&self, index: usize) -> Result<Producer, LineCount> {
        let (lines, consumed) = self.ring(index);
        // SAFETY: mapped readable and writable, and by the caller the only one.
        unsafe { Producer::attach(lines, self.lines, consumed) }
    }

    /// # Safety
    /// As for `producer`.
    unsafe fn consumer(&self, index: usize) -> Result<Consumer, LineCount> {
        let (lines, consumed) = self.ring(index);
        // SAFETY: as for `producer`.
        unsafe { Consumer::attach(lines, self.lines, consumed) }
    }
}

fn length(lines: usize) -> usize {
    PAGE + (RINGS * lines * LINE_BYTES).next_multiple_of(PAGE)
}

/// A connected link, one side of it. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    /// Requests of this side.
    pub(crate) requests_out: Producer,
    /// Requests of the peer.
    pub(crate) requests_in: Consumer,
    /// Answers to the peer's requests.
    pub(crate) responses_out: Producer,
    /// Answers to this side's requests.
    pub(crate) responses_in: Consumer,
    medium: Medium,
}

/// What is between the two ends.
#[derive(Debug)]
enum Medium {
    /// Memory that both processes map.
    Memory(Shared),
    /// TCP streams, or nothing.
    Tcp(Carrier),
}

/// All of a link over shared memory but its rings.
#[derive(Debug)]
struct Shared {
    device: Device,
    peer: Arc<Peer>,
    /// Wakes the peer's engine.
    event: Arc<OwnedFd>,
    sides: Sides,
    peer_queue_pair: u32,
    peer_may_park: bool,
    peer_domain: ProtectionDomain,
    /// The rings point into it. Behind them, so that it goes last.
    memory: Arc<LinkMemory>,
}

/// Which lane is whose; both the same where a queue pair is connected to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    pub(super) mine: usize,
    pub(super) theirs: usize,
}

/// A link as the thread that moves device memory knows it.
#[derive(Debug)]
pub(crate) struct Route {
    peer: Arc<Peer>,
    memory: Arc<LinkMemory>,
    sides: Sides,
    domain: ProtectionDomain,
    peer_domain: ProtectionDomain,
    /// One of its moves failed: nothing behind it is begun. Only the mover's thread looks and sets.
    failed: AtomicBool,
}

impl Route {
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Of the own queue pair.
    pub(crate) fn domain(&self) -> ProtectionDomain {
        self.domain
    }

    /// Of the queue pair at the other end.
    pub(crate) fn peer_domain(&self) -> ProtectionDomain {
        self.peer_domain
    }

    /// Whether bytes may be moved in this round: neither end has been closed.
    pub(crate) fn is_open(&self, active: &Active<'_>) -> bool {
        let open = |side| self.memory.lane(side).side.is_open(active);
        open(self.sides.theirs) && open(self.sides.mine)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// What completes a link.
#[derive(Debug)]
pub(super) struct LinkParts {
    pub(super) device: Device,
    pub(super) peer: Arc<Peer>,
    pub(super) event: Arc<OwnedFd>,
    pub(super) sides: Sides,
    pub(super) peer_queue_pair: u32,
    pub(super) memory: Arc<LinkMemory>,
}

impl Link {
    /// The link, both sides being attached. Called once per side and memory.
    pub(super) fn new(parts: LinkParts) -> Result<Self, LineCount> {
        let LinkParts { device, peer, event, sides, peer_queue_pair, memory } = parts;
        let theirs = memory.lane(sides.theirs);
        let peer_may_park = theirs.may_park.load(Ordering::Relaxed) != 0;
        let peer_domain = ProtectionDomain(theirs.protection_domain.load(Ordering::Relaxed));
        // SAFETY: the two sides take opposite ends, each once per memory, which was new; `Shared` keeps it mapped.
        unsafe {
            Ok(Self {
                requests_out: memory.producer(sides.mine)?,
                requests_in: memory.consumer(sides.theirs)?,
                responses_out: memory.producer(2 + sides.mine)?,
                responses_in: memory.consumer(2 + sides.theirs)?,
                medium: Medium::Memory(Shared {
                    device,
                    peer,
                    event,
                    sides,
                    peer_queue_pair,
                    peer_may_park,
                    peer_domain,
                    memory: memory.clone(),
                }),
            })
        }
    }

    /// A link that TCP carries.
    pub(super) fn over_tcp(rings: LinkRings, carrier: Carrier) -> Self {
        let LinkRings { requests_out, requests_in, responses_out, responses_in } = rings;
        Self { requests_out, requests_in, responses_out, responses_in, medium: Medium::Tcp(carrier) }
    }

    /// What carries it, if it is not memory.
    #[inline]
    pub(crate) fn carrier(&mut self) -> Option<&mut Carrier> {
        match &mut self.medium {
            Medium::Memory(_) => None,
            Medium::Tcp(carrier) => Some(carrier),
        }
    }

    fn shared(&self) -> Option<&Shared> {
        match &self.medium {
            Medium::Memory(shared) => Some(shared),
            Medium::Tcp(_) => None,
        }
    }

    /// Checks the peer's key and says where the range is, if this process can reach it; see [`Peer::reach`].
    ///
    /// # Errors
    /// [`KeyFault`], for a remote access error. Over TCP the peer checks.
    #[inline]
    pub(crate) fn reach(
        &self,
        mappings: &mut MappingCache,
        active: &Active<'_>,
        remote: &RemoteSegment,
        length: u64,
        access: Access,
    ) -> Result<Reach, KeyFault> {
        let Medium::Memory(shared) = &self.medium else { return Ok(Reach::Packets) };
        let RemoteSegment { address, rkey } = *remote;
        shared.peer.reach(mappings, active, rkey, address, length, access, shared.peer_domain)
    }

    /// What opens device memory of the peer of this number; none where the peer is not on this host.
    pub(crate) fn share(&self, number: u32) -> Option<ShareHandle> {
        self.shared()?.peer.share(number)
    }

    /// The device at the other end.
    #[cfg(test)]
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.shared().expect("a link over shared memory").peer
    }

    /// Number of the queue pair at the other end.
    pub(crate) fn peer_queue_pair(&self) -> u32 {
        match &self.medium {
            Medium::Memory(shared) => shared.peer_queue_pair,
            Medium::Tcp(carrier) => carrier.peer_queue_pair(),
        }
    }

    /// Protection domain of the queue pair at the other end: remote keys must be of it.
    #[cfg(test)]
    pub(crate) fn peer_domain(&self) -> ProtectionDomain {
        self.shared().expect("a link over shared memory").peer_domain
    }

    /// Longest packet, with its head.
    #[inline]
    pub(crate) fn longest_packet(&self) -> usize {
        // So that four are under way.
        let quarter = self.requests_out.longest_body().min(self.responses_out.longest_body()) / 4;
        match &self.medium {
            Medium::Memory(_) => quarter,
            Medium::Tcp(carrier) => quarter.min(carrier.longest_packet()),
        }
    }

    /// Whether a message of so many bytes goes over streams of its own, beside its packet.
    #[inline]
    pub(crate) fn streams(&self, length: u64) -> bool {
        matches!(&self.medium, Medium::Tcp(carrier) if length > STREAMED_FROM && carrier.has_bulk())
    }

    /// Wakes the peer's engine if it is parked. Call it after publishing what the engine should see.
    #[inline]
    pub(crate) fn wake_peer(&mut self) {
        match &mut self.medium {
            Medium::Memory(shared) => {
                if shared.peer_may_park && shared.theirs().parked.0.published() == Published::Wake {
                    shared.signal();
                }
            }
            Medium::Tcp(_) => self.tell(),
        }
    }

    /// Says whether this engine is about to sleep. After `true`, look at the rings once more before sleeping.
    #[inline]
    pub(crate) fn set_parked(&self, parked: bool) {
        let Some(shared) = self.shared() else { return };
        let parking = &shared.mine().parked.0;
        if parked { parking.announce() } else { parking.resume() }
    }

    /// Whether the other end was closed, in order. (A peer that was killed is not [`alive`](Peer::alive).)
    #[inline]
    pub(crate) fn closed_by_peer(&self) -> bool {
        match &self.medium {
            Medium::Memory(shared) => {
                matches!(shared.memory.state(shared.sides.theirs), SideState::Closed | SideState::Abandoned)
            }
            Medium::Tcp(carrier) => carrier.has_ended(),
        }
    }

    /// Whether the peer has closed its end or is gone.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.closed_by_peer() || self.shared().is_some_and(|shared| !shared.peer.alive())
    }

    /// The peer has failed, which is the last that it says. Whether all that it said before is here: over TCP the bytes of READs
    /// take other streams.
    #[cold]
    pub(crate) fn has_said_all(&mut self) -> bool {
        self.carrier().is_none_or(Carrier::has_said_all)
    }

    /// Whether the peer is there, having asked the kernel; see [`Peer::confirm_alive`].
    pub(crate) fn confirm_alive(&self) -> bool {
        self.shared().is_none_or(|shared| shared.peer.confirm_alive())
    }

    /// Whether bytes may be moved directly in this round: the peer closes its end, then waits for the round's end.
    #[inline]
    pub(crate) fn is_open(&self, active: &Active<'_>) -> bool {
        self.shared().is_none_or(|shared| shared.theirs().side.is_open(active))
    }

    /// What the mover needs of the link, for a queue pair of `domain`. Over TCP it moves nothing.
    pub(crate) fn route(&self, domain: ProtectionDomain) -> Option<Route> {
        let Shared { peer, sides, memory, peer_domain, .. } = self.shared()?;
        let (peer, memory) = (peer.clone(), memory.clone());
        Some(Route {
            peer,
            memory,
            sides: *sides,
            domain,
            peer_domain: *peer_domain,
            failed: AtomicBool::new(false),
        })
    }

    /// Whether a socket has news.
    #[inline]
    pub(crate) fn has_socket_news(&self) -> bool {
        matches!(&self.medium, Medium::Tcp(carrier) if carrier.is_ready())
    }

    /// Takes in what came over the wire, where there is one.
    ///
    /// # Errors
    /// [`WireFault`]: the link is of no more use.
    #[inline]
    pub(crate) fn take_in(&mut self) -> Result<(), WireFault> {
        let consumed = self.consumed();
        self.carrier().map_or(Ok(()), |carrier| carrier.take_in(consumed))
    }

    /// Sends what is in the rings over the wire, where there is one. What was consumed may wait for the next pass, which
    /// then has [news](Self::has_socket_news).
    #[inline]
    pub(crate) fn transmit(&mut self) {
        let consumed = self.consumed();
        if let Some(carrier) = self.carrier() {
            carrier.transmit(consumed);
        }
    }

    /// Whether what was consumed waits for the next pass.
    #[inline]
    pub(crate) fn is_overdue(&self) -> bool {
        matches!(&self.medium, Medium::Tcp(carrier) if carrier.is_overdue())
    }

    /// Sends what is in the rings over the wire, where there is one, and what was consumed.
    #[inline]
    pub(crate) fn tell(&mut self) {
        let consumed = self.consumed();
        if let Some(carrier) = self.carrier() {
            carrier.tell(consumed);
            // So that what is unpublished is what the peer has not been told.
            self.requests_in.publish();
            self.responses_in.publish();
        }
    }

    fn consumed(&self) -> Consumed {
        (self.requests_in.position(), self.responses_in.position())
    }

    /// Closes this end: the peer's engine begins no more direct copies for this queue pair. Once the result is
    /// reached, none is going on either.
    pub(crate) fn close(mut self) -> Option<Quiet> {
        let consumed = self.consumed();
        match &mut self.medium {
            Medium::Memory(shared) => Some(shared.close()),
            Medium::Tcp(carrier) => {
                carrier.close(consumed);
                None
            }
        }
    }
}

impl Shared {
    fn mine(&self) -> &Lane {
        self.memory.lane(self.sides.mine)
    }

    #[inline]
    fn theirs(&self) -> &Lane {
        self.memory.lane(self.sides.theirs)
    }

    fn signal(&self) {
        // A full counter means that the peer has a wake-up pending; other failures, that it is gone.
        let _ = nix::unistd::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn close(&self) -> Quiet {
        let revoked = self.mine().side.close();
        self.signal();
        Quiet::of_peer(&self.device, self.peer.clone(), &revoked)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.device.is_owner() {
            drop(self.close());
        }
    }
}
