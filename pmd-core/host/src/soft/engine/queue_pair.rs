//! One queue pair of the engine: its halves, its link, and how it fails.
//!
//! ```text
//!  Reset --connect--> Pending --both sides there--> Linked
//!    ^                   |                            |
//!    |                   +-------- failure -----------+---> Failed: closed, quiet, flushed
//!    +------------------------- reset -----------------------'
//! ```

use std::time::{Duration, Instant};

use nix::sys::epoll::EpollFlags;
use pmd_core::wire::Syndrome;

use super::{
    packet::{Header, Kind, PacketFlags},
    pass::Pass,
    queues::ReceiveRing,
    requester::Requester,
    responder::{Ended, Responder},
};
use crate::{
    security::KeyMismatch,
    soft::{Joining, Link, Quiet, connect::LinkFault},
};

/// Polls without news between two looks at whether the peer is there.
const LIVENESS_TURNS: u32 = 64;
/// The same for polls with news; the other is a multiple of it.
const BUSY_LIVENESS_TURNS: u32 = 8;
/// Polls after which an acknowledgement that went out in a packet is published as well: the peer might
/// not come to that packet before it knows.
const REPEAT_TURNS: u32 = 16;

/// One queue pair.
#[derive(Debug)]
pub(super) struct QueuePair {
    number: u32,
    pub(super) requester: Requester,
    pub(super) responder: Responder,
    connection: Connection,
    /// Polls so far.
    turns: u32,
    /// Position of the peer's requests that the last request packet acknowledged.
    acknowledged: u32,
}

#[derive(Debug)]
enum Connection {
    /// Nothing moves.
    Reset,
    /// Waits for the peer.
    Pending { link: Box<Joining>, deadline: Instant },
    /// Works.
    Linked(Box<Link>),
    /// Flushes. `quiet` until no peer moves bytes for it; `first` is what the oldest send fails with.
    Failed { quiet: Option<Quiet>, first: Option<Syndrome> },
}

impl QueuePair {
    /// A queue pair that is not connected.
    pub(super) fn new(number: u32, requester: Requester, responder: Responder) -> Self {
        let connection = Connection::Reset;
        Self { number, requester, responder, connection, turns: 0, acknowledged: 0 }
    }

    /// Number in the device.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it can be connected.
    pub(super) fn is_reset(&self) -> bool {
        matches!(self.connection, Connection::Reset)
    }

    /// Whether it waits for its peer or for a deadline, so that an engine must not sleep for long.
    pub(super) fn needs_time(&self) -> bool {
        match &self.connection {
            Connection::Pending { .. } => true,
            Connection::Linked(_) => self.requester.has_deadline(),
            Connection::Failed { quiet, .. } => quiet.is_some(),
            Connection::Reset => false,
        }
    }

    /// Connects, once the peer does.
    pub(super) fn connect(&mut self, link: Joining, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        self.connection = Connection::Pending { link: Box::new(link), deadline };
    }

    /// Whether no peer moves bytes for it, and none will.
    pub(super) fn is_quiet(&mut self) -> bool {
        match &mut self.connection {
            Connection::Failed { quiet, .. } => quiet.as_mut().is_none_or(Quiet::is_reached),
            Connection::Pending { .. } | Connection::Linked(_) => false,
            Connection::Reset => true,
        }
    }

    /// Forgets everything; no completion follows. Waits until no peer moves bytes for it.
    pub(super) fn reset(&mut self) {
        let quiet = match std::mem::replace(&mut self.connection, Connection::Reset) {
            Connection::Linked(link) => close(*link),
            Connection::Failed { quiet, .. } => quiet,
            Connection::Pending { link, .. } => link.close(),
            Connection::Reset => None,
        };
        self.requester.reset();
        self.responder.reset();
        self.turns = 0;
        self.acknowledged = 0;
        if let Some(quiet) = quiet {
            quiet.wait();
        }
    }

    /// Fails: the oldest send completes with `first`, all else flushed, in the passes that follow.
    #[cold]
    pub(super) fn fail(&mut self, first: Syndrome) {
        let failed = Connection::Failed { quiet: None, first: Some(first) };
        match std::mem::replace(&mut self.connection, failed) {
            Connection::Linked(link) => {
                let quiet = close(*link);
                self.connection = Connection::Failed { quiet, first: Some(first) };
            }
            Connection::Pending { link, .. } => {
                self.connection = Connection::Failed { quiet: link.close(), first: Some(first) };
            }
            // Failed already: the first reason stands.
            before @ Connection::Failed { .. } => self.connection = before,
            Connection::Reset => self.connection = Connection::Reset,
        }
    }

    /// Whether a pass has anything to do here. For a queue pair with nothing under way this reads one line of shared
    /// memory.
    #[inline]
    pub(super) fn has_news(&mut self) -> bool {
        self.turns = self.turns.wrapping_add(1);
        if let Connection::Linked(link) = &mut self.connection {
            let news = !matches!(link.requests_in.peek(), Ok(None))
                || self.requester.has_news(link)
                || link.has_socket_news()
                || self.turns.is_multiple_of(LIVENESS_TURNS) && link.is_gone();
            if !news {
                self.publish_when_idle();
            }
            return news;
        }
        self.has_other_news()
    }

    /// [`QueuePair::has_news`] of a queue pair that is not connected.
    #[cold]
    fn has_other_news(&mut self) -> bool {
        match &mut self.connection {
            Connection::Linked(_) => true,
            Connection::Pending { .. } => self.turns.is_multiple_of(REPEAT_TURNS),
            Connection::Failed { quiet, .. } => {
                quiet.is_some() || self.requester.has_posted() || self.responder.has_posted()
            }
            Connection::Reset => false,
        }
    }

    /// Whether it can go on at once, so that the engine must not sleep.
    pub(super) fn is_busy(&mut self, shared: &[Option<ReceiveRing>]) -> bool {
        match &mut self.connection {
            Connection::Linked(link) => {
                let stalled = self.responder.waits_for_receive(shared) || self.responder.waits_for_stream();
                !stalled && !matches!(link.requests_in.peek(), Ok(None))
                    || self.requester.can_go_on()
                    || self.requester.has_answers(link)
                    || link.has_socket_news()
                    || link.is_gone()
            }
            Connection::Failed { .. } => self.requester.has_posted() || self.responder.has_posted(),
            Connection::Pending { .. } | Connection::Reset => false,
        }
    }

    /// Tells the peer whether this engine sleeps, and before that what it might wait for.
    pub(super) fn set_parked(&mut self, parked: bool) {
        if let Connection::Linked(link) = &mut self.connection {
            if parked && publish(link) {
                link.wake_peer();
            }
            link.set_parked(parked);
        }
    }

    /// Notes what has happened to one of its streams.
    pub(super) fn note(&mut self, stream: usize, flags: EpollFlags) {
        if let Connection::Linked(link) = &mut self.connection
            && let Some(carrier) = link.carrier()
        {
            carrier.note(stream, flags);
        }
    }

    /// Tells the peer what was kept back for a packet to take along.
    pub(super) fn settle(&mut self) {
        if let Connection::Linked(link) = &mut self.connection
            && link.is_overdue()
        {
            link.tell();
        }
    }

    /// Executes what the doorbell handed over.
    #[inline]
    pub(super) fn send(&mut self, pass: &mut Pass<'_>) {
        let Connection::Linked(link) = &mut self.connection else { return };
        let before = link.requests_out.position();
        self.requester.run(pass, link);
        let failure = self.requester.retire(pass, link);
        if link.requests_out.position() != before {
            self.acknowledged = link.requests_in.position();
            link.wake_peer();
        }
        if let Some(syndrome) = failure {
            self.fail(syndrome);
        }
    }

    /// One turn: takes what came in, goes on with what is unfinished.
    #[inline]
    pub(super) fn run(&mut self, pass: &mut Pass<'_>) {
        match &mut self.connection {
            Connection::Linked(_) => {
                if let Err(syndrome) = self.exchange(pass) {
                    self.fail(syndrome);
                    // Who polls to hear what has arrived, and then gives up, hears this too.
                    self.flush(pass);
                }
            }
            Connection::Pending { .. } => self.try_link(pass),
            Connection::Failed { .. } => self.flush(pass),
            Connection::Reset => {}
        }
    }

    #[inline]
    fn exchange(&mut self, pass: &mut Pass<'_>) -> Result<(), Syndrome> {
        let Self { requester, responder, connection: Connection::Linked(link), .. } = self else {
            return Ok(());
        };
        // Before it is asked who is gone: the end of a wire is behind the last words.
        link.take_in().map_err(|_| Syndrome::BadResponse)?;
        let mut gone = self.turns.is_multiple_of(BUSY_LIVENESS_TURNS) && link.is_gone();
        let before = (link.requests_out.position(), link.responses_out.position());
        let consumed = link.requests_in.position();
        requester.take_responses(pass, link).map_err(|_| Syndrome::BadResponse)?;
        let served = responder.serve(pass, link);
        match served {
            Ok(()) => {}
            Err(Ended::PeerFailed) => gone = link.has_said_all(),
            Err(Ended::Refused) => return Err(requester.retire(pass, link).unwrap_or(Syndrome::Flushed)),
            Err(Ended::Broken) => return Err(Syndrome::BadResponse),
        }
        if gone && pass.budget > 0 {
            requester.take_responses(pass, link).map_err(|_| Syndrome::BadResponse)?;
            return Err(requester.retire(pass, link).unwrap_or(Syndrome::RetryExceeded));
        }
        if let Some(syndrome) = requester.retire(pass, link) {
            return Err(syndrome);
        }
        if requester.has_unfinished() {
            requester.run(pass, link);
            if let Some(syndrome) = requester.retire(pass, link) {
                return Err(syndrome);
            }
        }
        if link.requests_out.position() != before.0 {
            self.acknowledged = link.requests_in.position();
        }
        let sent = (link.requests_out.position(), link.responses_out.position()) != before;
        let published = publish_much(link);
        if sent || published {
            link.wake_peer();
        }
        if link.requests_in.position() == consumed {
            // Busy, but not with what the peer waits for.
            self.publish_when_idle();
        }
        if let Connection::Linked(link) = &mut self.connection {
            link.transmit();
        }
        Ok(())
    }

    /// Nothing to do: the time to tell the peer what was consumed, unless a packet has told it just now.
    #[inline]
    fn publish_when_idle(&mut self) {
        let Connection::Linked(link) = &mut self.connection else { return };
        let owed = link.requests_in.unpublished() | link.responses_in.unpublished();
        if owed == 0 {
            return;
        }
        let told = self.acknowledged == link.requests_in.position();
        if (!told || self.turns.is_multiple_of(REPEAT_TURNS)) && publish(link) {
            link.wake_peer();
        }
    }

    #[cold]
    fn try_link(&mut self, pass: &mut Pass<'_>) {
        let Connection::Pending { link, deadline } = &mut self.connection else { return };
        match link.poll() {
            Ok(Some(link)) => {
                self.responder.set_peer(link.peer_queue_pair());
                if pass.mover.is_some() {
                    self.requester.set_link(&link);
                }
                self.connection = Connection::Linked(Box::new(link));
                self.run(pass);
            }
            Ok(None) if Instant::now() < *deadline => {}
            Err(LinkFault::Keys(mismatch)) => self.refuse(Some(mismatch)),
            Ok(None) | Err(_) => {
                let mismatch = link.mismatch();
                self.refuse(mismatch);
            }
        }
    }

    /// There will be no link; why, if it is the keys.
    #[cold]
    fn refuse(&mut self, mismatch: Option<KeyMismatch>) {
        self.requester.set_mismatch(mismatch);
        self.fail(Syndrome::RetryExceeded);
    }

    /// Completes what is left, once no peer moves bytes for this queue pair.
    #[cold]
    fn flush(&mut self, pass: &mut Pass<'_>) {
        let Connection::Failed { quiet, first } = &mut self.connection else { return };
        if quiet.as_mut().is_some_and(|quiet| !quiet.is_reached()) {
            return;
        }
        *quiet = None;
        if self.requester.has_moves() {
            return;
        }
        if self.requester.flush(first, pass) {
            self.responder.flush(pass);
        }
    }
}

/// Stores both consumed positions in shared memory. Whether there was anything to store.
fn publish(link: &mut Link) -> bool {
    let mut stored = false;
    for ring in [&mut link.requests_in, &mut link.responses_in] {
        if ring.unpublished() > 0 {
            ring.publish();
            stored = true;
        }
    }
    stored
}

/// As [`publish`], for rings of which a quarter waits to be given back.
#[inline]
fn publish_much(link: &mut Link) -> bool {
    let quarter = (link.requests_out.longest_body() / (4 * pmd_core::ring::packet::LINE_BYTES)) as u32;
    let mut stored = false;
    for ring in [&mut link.requests_in, &mut link.responses_in] {
        if ring.unpublished() > quarter {
            ring.publish();
            stored = true;
        }
    }
    stored
}

/// Tells the peer that nothing more comes, if there is room for that, and closes this end, which tells it too.
#[cold]
fn close(mut link: Link) -> Option<Quiet> {
    let acknowledged = link.requests_in.position();
    let (kind, flags) = (Kind::Fatal, PacketFlags::ONLY);
    let fatal = Header { kind, flags, detail: 0, acknowledged, word: 0, length: 0 };
    // A full ring is no loss: the peer looks at the closed state as well.
    let _ = link.requests_out.push(&fatal.to_bytes());
    link.close()
}
