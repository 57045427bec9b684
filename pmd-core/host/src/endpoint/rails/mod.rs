//! The rails to a peer: [`Bundle`] put to work on routes and the control connection.
//!
//! Each end has a [`Rails`] for each peer. The end that connected opens rails; the other makes its own on the first that it is
//! offered. [`Peer::submit`](super::Peer::submit) hands large transfers over; messages and all else stay on
//! [`Peer::route`](super::Peer::route), notifications of these transfers too.
//!
//! ```text
//!  Peer::submit, lanes (ends of chunks, routes that fail), control thread (offers, words), keeper (time)
//!        |  events, in one queue
//!      turn     whoever brings an event takes the bundle if nobody has it, and goes on until the queue is empty
//!        |  chunks posted, notifications, words: nothing waits     | opening, closing: these wait
//!      routes, control connection                                keeper, a thread
//! ```
//! Lanes bring events while they hold nothing of rails, and a turn never waits for a lane. Outcomes are told by lanes, by the
//! control thread and by the keeper; a caller's thread, which may hold locks of its own that observers want, leaves those of its
//! turn to the keeper.

mod chunks;
mod keeper;
mod turn;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use self::{
    keeper::{Job, Maker},
    turn::{Event, State, Submission, Telling},
};
use super::{EndpointError, Inner, Peer, handshake};
use crate::{
    backend::QueuePairAddress,
    control::{Connection, DownReason, Refusal},
    lane::Route,
    rail::{Bundle, BundleConfig, MOST_RAILS, RailId, RailState, Role},
    transfer::{
        Listener, Stopper, SubmitError, Transfer, TransferError, TransferOptions, WorkList, transfer,
    },
};

/// Several ways to each peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RailsConfig {
    /// Rails that this endpoint opens to each peer that it connects to, at most [`MOST_RAILS`]; 0 opens none. A peer that
    /// connects to this endpoint says how many for both.
    pub count: usize,
    /// Over TCP, this host's addresses, on which the peer reaches rail 0, rail 1 and so on, in turn: each on a NIC of its own.
    /// Both ends name theirs; with unequal counts the shorter list is gone through again. None leaves all rails on the address
    /// of the control connection. A rail's streams leave from its address, too: where two NICs are in one network, the system
    /// must be told to send what comes from an address over that address's NIC (`ip rule from ADDRESS`).
    pub addresses: Vec<IpAddr>,
    /// Transfers of fewer bytes stay on [`Peer::route`](super::Peer::route).
    pub from: u64,
    /// Bytes that go on a rail at a time; never less than a work request.
    pub chunk: u64,
    /// How chunks are spread, and rails are probed, lost and opened again.
    pub bundle: BundleConfig,
}

impl Default for RailsConfig {
    fn default() -> Self {
        Self {
            count: 0,
            addresses: Vec::new(),
            from: 16 << 20,
            chunk: 4 << 20,
            bundle: BundleConfig::default(),
        }
    }
}

impl RailsConfig {
    /// A rail on each of these addresses of this host, over TCP.
    #[must_use]
    pub fn over(addresses: Vec<IpAddr>) -> Self {
        Self { count: addresses.len(), addresses, ..Self::default() }
    }
}

/// A rail as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RailReport {
    /// Which one, from 0; the same at both ends.
    pub number: u16,
    /// Where it stands.
    pub state: RailState,
    /// Times that it was opened.
    pub lives: u32,
    /// Bytes that transfers of this end have moved on it.
    pub bytes: u64,
    /// Chunks that those came in.
    pub chunks: u64,
    /// Bytes a second, as lately measured.
    pub rate: Option<u64>,
}

/// All rails to one peer, at this end.
pub(super) struct Rails {
    this: Weak<Self>,
    config: RailsConfig,
    connection: Connection,
    /// Carries notifications.
    primary: Route,
    epoch: Instant,
    maker: Maker,
    keeper: mpsc::Sender<Job>,
    events: Mutex<Vec<Event>>,
    state: Mutex<State>,
    /// By number, with their lives.
    routes: Mutex<Vec<Option<(RailId, Route)>>>,
}

/// Asks the other end to open its part of a rail; answered by the addresses of that.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    number: u16,
    life: u32,
    addresses: Vec<QueuePairAddress>,
}

/// Tells that this end of a rail is quiet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Word {
    number: u16,
    life: u32,
}

/// Refusal code of an offer that does not fit.
const NOT_NOW: u16 = 0xff12;

impl Rails {
    /// Starts the keeper.
    fn start(
        role: Role,
        maker: Maker,
        connection: &Connection,
        primary: &Route,
    ) -> Result<Arc<Self>, EndpointError> {
        let config = maker.rails().clone();
        let count = match role {
            Role::Opens => config.count.min(MOST_RAILS),
            Role::Awaits => MOST_RAILS,
        };
        let (keeper, jobs) = mpsc::channel();
        let rails = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            connection: connection.clone(),
            primary: primary.clone(),
            epoch: Instant::now(),
            maker,
            keeper,
            events: Mutex::default(),
            state: Mutex::new(State::new(Bundle::new(count, role, config.bundle), count)),
            routes: Mutex::new(vec![None; count]),
            config,
        });
        keeper::start(Arc::downgrade(&rails), jobs)?;
        rails.happen(Event::Time);
        Ok(rails)
    }

    /// Whether a transfer of so many bytes goes over rails now.
    pub(super) fn take(&self, bytes: u64) -> bool {
        bytes >= self.config.from && self.with(State::has_rail)
    }

    pub(super) fn submit(
        &self,
        work: &Arc<WorkList>,
        options: TransferOptions,
    ) -> Result<Transfer, SubmitError> {
        self.primary.check(work, &options)?;
        let listener = Listener::Other(self.this.clone() as Weak<dyn Stopper>);
        let (transfer, completer) = transfer(listener, options.observer.clone(), None);
        let work = Arc::clone(work);
        self.happen_to_caller(Event::Submitted(Box::new(Submission { completer, work, options })));
        Ok(transfer)
    }

    /// The connection is down. As with routes, what is posted may still be answered for where the peer has said goodbye.
    pub(super) fn peer_down(&self, reason: &DownReason) {
        self.happen(match reason {
            DownReason::Goodbye => Event::PeerLeft,
            _ => Event::PeerDown,
        });
    }

    /// The peer's end of a rail is quiet.
    pub(super) fn heard(&self, body: &[u8]) {
        if let Ok(Word { number, life }) = handshake::decode::<Word>(body) {
            self.happen(Event::Heard(RailId { number, life }));
        }
    }

    /// The peer opens a rail.
    pub(super) fn offered(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let Offer { number, life, addresses } =
            handshake::decode(body).map_err(|error| handshake::refused(&error))?;
        let rail = RailId { number, life };
        if !self.with(|state| state.offered(rail)) {
            return Err(Refusal { code: NOT_NOW, detail: format!("rail {number} cannot begin life {life}") });
        }
        let opened = self.open_ours(rail, &addresses);
        self.happen(if opened.is_ok() { Event::Opened(rail) } else { Event::Lost(rail) });
        opened.map(|ours| handshake::encode(&ours)).map_err(|error| handshake::refused(&error))
    }

    /// Every rail that was ever opened.
    pub(super) fn report(&self) -> Vec<RailReport> {
        self.with(State::report)
    }

    /// Takes note of something and does what follows from it, unless another thread is at that: then it does.
    fn happen(&self, event: Event) {
        self.note(event);
        self.turn(Telling::Here);
    }

    /// The same for a thread of the application.
    fn happen_to_caller(&self, event: Event) {
        self.note(event);
        self.turn(Telling::Keeper);
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// Looks at the state between turns. Whoever brought an event meanwhile has left it to this thread.
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let seen = look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.turn(Telling::Keeper);
        seen
    }

    fn routes(&self) -> MutexGuard<'_, Vec<Option<(RailId, Route)>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, rail: RailId) -> Option<Route> {
        let routes = self.routes();
        let (of, route) = routes.get(usize::from(rail.number))?.as_ref()?;
        (*of == rail).then(|| route.clone())
    }
}

/// Making them.
impl Inner {
    /// Opens rails to a peer that was connected to, if there are to be any.
    pub(super) fn open_rails(&self, peer: &Peer) -> Result<(), EndpointError> {
        if self.config.rails.count > 0 {
            self.rails(peer, Role::Opens)?;
        }
        Ok(())
    }

    /// A peer that has connected opens a rail.
    pub(super) fn rails_offered(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let rails = self.rails(peer, Role::Awaits).map_err(|error| handshake::refused(&error))?;
        rails.offered(body)
    }

    /// The rails to a peer, made when there are none.
    fn rails<'a>(&self, peer: &'a Peer, role: Role) -> Result<&'a Arc<Rails>, EndpointError> {
        let rails = peer.rails_or(|| {
            let maker = Maker::new(&self.devices, peer.transport(), &self.config);
            Rails::start(role, maker, peer.connection(), peer.route())
        })?;
        // The peer may have gone down before there was anybody to tell.
        if let Some(reason) = peer.down_reason() {
            rails.peer_down(&reason);
        }
        Ok(rails)
    }
}

/// A transfer was asked to stop.
impl Stopper for Rails {
    fn look(&self) {
        self.happen_to_caller(Event::Stops);
    }
}

impl Drop for Rails {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.abandon(TransferError::RouteClosed);
    }
}

impl fmt::Debug for Rails {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rails").field("config", &self.config).finish_non_exhaustive()
    }
}
