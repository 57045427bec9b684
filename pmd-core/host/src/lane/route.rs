//! Routes: the queue pairs to one peer, as applications hold them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    ring::{credits::Credits, mpsc::Full},
    sync::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    Lane, RouteError,
    command::{Command, MessageBytes, OutgoingMessage, Reply, SetupCommand, Submission, reply},
    counters::{Counters, Record},
};
use crate::{
    backend::{ConnectOptions, QueuePairAddress},
    metrics::Latencies,
    transfer::{
        LaneFault, Listener, RouteFault, SendError, SubmitError, Trace, Transfer, TransferOptions, WorkList,
        WorkListLimits, transfer,
    },
};

/// The queue pairs to one peer.
///
/// A clone is another handle of the same route. The route closes when the last handle is gone and all transfers on it
/// are done. Methods that wait for the lane must not be called on the thread that drives it: there, use
/// [`LaneDriver`](super::LaneDriver)'s.
#[derive(Clone, Debug)]
pub struct Route(pub(crate) Arc<RouteHandle>);

/// Names a route within its lane; never reused while the lane lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteId(pub u64);

impl fmt::Display for RouteId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "route {}", self.0)
    }
}

impl Route {
    /// Name of the route within its lane.
    #[must_use]
    pub fn id(&self) -> RouteId {
        self.0.shared.key.id
    }

    /// The lane that drives this route.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.0.lane
    }

    /// What the peer needs to connect to this end, one for each queue pair.
    #[must_use]
    pub fn addresses(&self) -> &[QueuePairAddress] {
        &self.0.shared.addresses
    }

    /// Longest message in bytes; 0 on a route without message memory, which takes none.
    #[must_use]
    pub fn message_limit(&self) -> usize {
        self.0.shared.message_bytes
    }

    /// Limits to plan this route's work lists with.
    #[must_use]
    pub fn limits(&self) -> WorkListLimits {
        let max_sges = u16::try_from(self.0.shared.sges).unwrap_or(u16::MAX);
        WorkListLimits { max_sges, ..WorkListLimits::default() }
    }

    /// What took the route down, if it is down. [`RouteFault::Disconnected`] gives way to what [`Route::fail`] says
    /// later: the device sees that a connection broke before the control plane knows why.
    #[must_use]
    pub fn fault(&self) -> Option<RouteFault> {
        self.0.shared.fault(&self.0.lane)
    }

    /// What was done on this route so far. Counts of polls and parks are the lane's.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.shared.record.counters.read()
    }

    /// Times that [`Route::send`] gave a message back because the peer had no receive for it.
    #[must_use]
    pub fn refused_for_credit(&self) -> u64 {
        self.0.shared.refused_for_credit.load(Ordering::Relaxed)
    }

    /// How long transfers of this route took; as [`Lane::latencies`].
    #[must_use]
    pub fn latencies(&self) -> Option<Latencies> {
        self.0.shared.record.latencies()
    }

    /// Connects each queue pair to the one at the same place in `addresses`. Never waits for the peer.
    ///
    /// # Errors
    /// [`RouteError`]. The route stays as it is when the addresses are refused.
    pub fn connect(
        &self,
        addresses: &[QueuePairAddress],
        options: &ConnectOptions,
    ) -> Result<(), RouteError> {
        let (reply, answer) = reply();
        self.0.lane.command(self.connect_command(addresses, options, reply), thread::yield_now);
        answer.wait()
    }

    /// Whether the route would take a transfer now, room aside.
    ///
    /// # Errors
    /// As [`Route::submit`], without [`SubmitError::Full`].
    pub fn check(&self, work: &WorkList, options: &TransferOptions) -> Result<(), SubmitError> {
        self.0.admit(work, options)
    }

    /// Hands a transfer to the lane. The list can be submitted again while it is in flight.
    ///
    /// # Errors
    /// [`SubmitError::Full`] is the normal answer of a busy lane and gives the options back.
    pub fn submit(&self, work: &Arc<WorkList>, options: TransferOptions) -> Result<Transfer, SubmitError> {
        self.0.admit(work, &options)?;
        let begun = self.0.shared.record.begin();
        let trace = Trace::begin(work, &self.0.shared.key.id);
        let listener = Listener::Lane(self.0.lane.shared().attention.clone());
        let (transfer, completer) = transfer(listener, options.observer.clone(), begun, trace);
        let (work, route) = (Arc::clone(work), Arc::clone(&self.0));
        let submission = Submission { completer, work, options, route };
        match self.0.lane.shared().push(Command::Submit(submission)) {
            Ok(()) => Ok(transfer),
            Err(Full(Command::Submit(submission))) => Err(SubmitError::Full(submission.options)),
            Err(Full(_)) => Err(SubmitError::Full(TransferOptions::default())),
        }
    }

    /// As [`Route::submit`], and while the ring is full lets other threads run and tries again, until `deadline`.
    ///
    /// # Errors
    /// As [`Route::submit`]; [`SubmitError::Full`] only once the deadline has passed.
    pub fn submit_waiting(
        &self,
        work: &Arc<WorkList>,
        mut options: TransferOptions,
        deadline: Option<Instant>,
    ) -> Result<Transfer, SubmitError> {
        loop {
            match self.submit(work, options) {
                Err(SubmitError::Full(returned)) if deadline.is_none_or(|at| Instant::now() < at) => {
                    options = returned;
                    thread::yield_now();
                }
                result => return result,
            }
        }
    }

    /// Sends a message: after those sent before it by this thread, in no order with transfers.
    ///
    /// # Errors
    /// [`SendError::Full`] is the normal answer when the peer has not taken earlier messages yet.
    pub fn send(&self, bytes: &[u8], immediate: Option<u32>) -> Result<(), SendError> {
        let shared = &self.0.shared;
        if shared.message_bytes == 0 {
            return Err(SendError::NoMemory);
        }
        if bytes.len() > shared.message_bytes {
            return Err(SendError::TooLong { given: bytes.len(), limit: shared.message_bytes });
        }
        if let Some(fault) = self.fault() {
            return Err(SendError::RouteFailed(fault));
        }
        if !shared.connected.load(Ordering::Acquire) {
            return Err(SendError::NotConnected);
        }
        if !shared.credits.take() {
            // Any thread may be here: what it adds is no single writer's.
            shared.refused_for_credit.fetch_add(1, Ordering::Relaxed);
            return Err(SendError::Full);
        }
        let message = OutgoingMessage { route: shared.key, bytes: MessageBytes::from(bytes), immediate };
        self.0.lane.shared().push(Command::Send(message)).map_err(|_| {
            shared.credits.give(1);
            SendError::Full
        })
    }

    /// Takes the route down: everything outstanding on it fails with what `fault` means to it, soon, and nothing more
    /// is taken. Returns at once; the first fault counts.
    pub fn fail(&self, fault: RouteFault) {
        let _ = self.0.shared.requested_fault.set(fault);
        self.0.lane.shared().attention.raise();
    }

    /// The peer has said goodbye. As [`Route::fail`] with [`RouteFault::PeerDown`], only that what is posted in full may
    /// still be answered for, at most for `patience`: the acknowledgements that the peer sent before it left may come later
    /// than its goodbye, which took another way.
    pub(crate) fn peer_left(&self, patience: Duration) {
        let _ = self.0.shared.goodbye.set(());
        self.let_finish(patience, RouteFault::PeerDown);
    }

    /// The peer says that its end of the route is closed. As [`Route::fail`] with [`RouteFault::Disconnected`], only that what is
    /// posted may still be answered for, at most for `patience`: what that end said last, which may be why it was closed, may
    /// come later than the peer's word, which took another way.
    pub(crate) fn peer_closed(&self, patience: Duration) {
        self.let_finish(patience, RouteFault::Disconnected);
    }

    fn let_finish(&self, patience: Duration, fault: RouteFault) {
        self.0.shared.let_finish(Instant::now() + patience, fault);
        self.0.lane.shared().attention.raise();
    }

    /// Closes the route for all its handles and waits until it is quiet: transfers that are not posted in full fail
    /// with [`TransferError::RouteClosed`](crate::transfer::TransferError::RouteClosed), the rest is given the lane's
    /// grace period.
    ///
    /// # Errors
    /// [`RouteError`] when the back end refused to give a queue pair back.
    pub fn close(&self) -> Result<(), RouteError> {
        let (reply, answer) = reply();
        self.0.lane.command(self.close_command(reply), thread::yield_now);
        answer.wait()
    }

    pub(crate) fn connect_command(
        &self,
        addresses: &[QueuePairAddress],
        options: &ConnectOptions,
        reply: Reply<()>,
    ) -> SetupCommand {
        let (route, addresses) = (self.0.shared.key, addresses.to_vec());
        SetupCommand::Connect { route, addresses, options: *options, reply }
    }

    pub(crate) fn close_command(&self, reply: Reply<()>) -> SetupCommand {
        SetupCommand::Close { route: self.0.shared.key, reply }
    }
}

/// What all handles of a route and its transfers in flight hold; the route closes when it is dropped.
#[derive(Debug)]
pub(crate) struct RouteHandle {
    pub(crate) shared: Arc<RouteShared>,
    pub(crate) lane: Lane,
}

impl RouteHandle {
    /// Whether the route can take this transfer now.
    fn admit(&self, work: &WorkList, options: &TransferOptions) -> Result<(), SubmitError> {
        if let Some(fault) = self.shared.fault(&self.lane) {
            return Err(SubmitError::RouteFailed(fault));
        }
        if !self.shared.connected.load(Ordering::Acquire) {
            return Err(SubmitError::NotConnected);
        }
        if u32::from(work.widest()) > self.shared.sges {
            return Err(SubmitError::TooManySges { given: work.widest(), limit: self.shared.sges });
        }
        if options.notify.is_some() && self.shared.message_bytes == 0 {
            return Err(SubmitError::NoMemory);
        }
        let given = options.notify.as_ref().map_or(0, |notify| notify.bytes.len());
        if given > self.shared.message_bytes {
            return Err(SubmitError::NotificationTooLong { given, limit: self.shared.message_bytes });
        }
        Ok(())
    }
}

impl Drop for RouteHandle {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        self.lane.shared().attention.raise();
    }
}

/// Where a lane keeps a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteKey {
    pub(crate) index: u32,
    pub(crate) id: RouteId,
}

/// What a route's handles and its lane share.
#[derive(Debug)]
pub(crate) struct RouteShared {
    pub(crate) key: RouteKey,
    pub(crate) addresses: Box<[QueuePairAddress]>,
    /// Pieces that one work request can gather.
    pub(crate) sges: u32,
    pub(crate) message_bytes: usize,
    /// Set by the lane once; work is taken from then on.
    pub(crate) connected: AtomicBool,
    /// Set by the lane once, when the route is down.
    pub(crate) fault: OnceLock<RouteFault>,
    /// Set by a handle to take the route down.
    pub(crate) requested_fault: OnceLock<RouteFault>,
    /// Set once the peer has said goodbye, or that its end is closed, or that was found: until when what is outstanding may be
    /// answered for, and what then takes the route down.
    left: OnceLock<(Instant, RouteFault)>,
    /// Set before that once the peer has said goodbye: it is why its end is closed, also where that was found before.
    goodbye: OnceLock<()>,
    /// No handle and no transfer is left.
    pub(crate) abandoned: AtomicBool,
    /// Messages that the peer has receives for and nobody has claimed.
    pub(crate) credits: Credits,
    /// Messages given back for want of one.
    refused_for_credit: AtomicU64,
    /// What the lane counts of this route.
    pub(crate) record: Record,
}

impl RouteShared {
    pub(crate) fn new(
        key: RouteKey,
        addresses: Box<[QueuePairAddress]>,
        sges: u32,
        message_bytes: usize,
        latencies: bool,
    ) -> Self {
        Self {
            key,
            addresses,
            sges,
            message_bytes,
            connected: AtomicBool::new(false),
            fault: OnceLock::new(),
            requested_fault: OnceLock::new(),
            left: OnceLock::new(),
            goodbye: OnceLock::new(),
            abandoned: AtomicBool::new(false),
            credits: Credits::new(),
            refused_for_credit: AtomicU64::new(0),
            record: Record::new(latencies),
        }
    }

    /// Whether a handle wants the route taken down, now or later.
    pub(crate) fn is_to_go(&self) -> bool {
        self.requested_fault.get().is_some() || self.left.get().is_some()
    }

    /// What to call a `fault` that the lane finds: whatever it is, it comes of the peer's leaving once that has left.
    pub(crate) fn cause(&self, fault: RouteFault) -> RouteFault {
        self.leaving().filter(|leaving| *leaving == RouteFault::PeerDown).unwrap_or(fault)
    }

    /// Until when what is outstanding may be answered for, and what then takes the route down.
    pub(crate) fn left(&self) -> Option<(Instant, RouteFault)> {
        let (until, fault) = *self.left.get()?;
        Some((until, self.goodbye.get().map_or(fault, |()| RouteFault::PeerDown)))
    }

    /// What takes the route down once what is outstanding has been answered for.
    pub(crate) fn leaving(&self) -> Option<RouteFault> {
        self.left().map(|(_, fault)| fault)
    }

    /// Until when it may be.
    pub(crate) fn left_until(&self) -> Option<Instant> {
        self.left().map(|(until, _)| until)
    }

    /// Lets what is outstanding be answered for until then, unless that is so already.
    pub(crate) fn let_finish(&self, until: Instant, fault: RouteFault) -> (Instant, RouteFault) {
        let _ = self.left.set((until, fault));
        self.left().unwrap_or((until, fault))
    }

    fn fault(&self, lane: &Lane) -> Option<RouteFault> {
        let of_lane = || lane.shared().fault().map(|fault: LaneFault| RouteFault::LaneEnded(fault));
        // Asked for counts as happened: the lane takes nothing more once it sees the request.
        let leaving = self.leaving();
        let asked_for = || {
            let is_asked = |fault: &RouteFault| *fault == RouteFault::PeerDown;
            leaving.filter(is_asked).or_else(|| self.requested_fault.get().copied()).or(leaving)
        };
        match self.fault.get().copied() {
            // A broken connection has no cause of its own; who failed the route may know it.
            Some(RouteFault::Disconnected) => asked_for().or(Some(RouteFault::Disconnected)),
            fault => fault.or_else(asked_for).or_else(of_lane),
        }
    }
}
