//! The rails to a peer: [`Bundle`] put to work on routes and the control connection.
//!
//! Rails are on the device that carries the route, or on devices of their own ([`RailsConfig::ports`]); then work lists carry
//! other keys on each, see [`keys`].
//!
//! Each end has a [`Rails`] for each peer. The end that connected opens rails; the other makes its own on the first that it is
//! offered. [`Peer::submit`](super::Peer::submit) hands large transfers over, whose notifications go over rails too
//! ([`notices`]); messages and all else stay on [`Peer::route`](super::Peer::route).
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
mod keys;
mod named;
mod notices;
mod turn;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

pub(super) use self::keys::answer;
pub use self::named::RailsTextError;
use self::{
    keeper::{Job, Maker},
    keys::{Beside, Place},
    notices::Notices,
    turn::{Event, State, Submission, Telling},
};
use super::{
    EndpointError, Inner, Peer,
    handshake::{self, RESERVED},
    peer::Relay,
    ports::PortTerms,
};
use crate::{
    backend::QueuePairAddress,
    control::{Connection, DownReason, Refusal},
    lane::Route,
    nic::NicOptions,
    rail::{Bundle, BundleConfig, MOST_RAILS, Pairing, RailId, RailState, Reach, Role},
    soft::TcpConfig,
    transfer::{
        Listener, Stopper, SubmitError, Trace, Transfer, TransferError, TransferOptions, WorkList, transfer,
    },
};

/// Several ways to each peer. As text, in options and in `PMD_RAILS`: addresses or names of NICs, `mlx5_0,mlx5_1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RailsConfig {
    /// Rails that this endpoint opens to each peer that it connects to, at most [`MOST_RAILS`]; 0 opens none. A peer that
    /// connects to this endpoint says how many for both. On devices of their own there are no more than pairs of these.
    pub count: usize,
    /// Over TCP, this host's addresses, on which the peer reaches rail 0, rail 1 and so on, in turn: each on a NIC of its own.
    /// Both ends name theirs; with unequal counts the shorter list is gone through again. None leaves all rails on the address
    /// of the control connection. A rail's streams leave from its address, too: where two NICs are in one network, the system
    /// must be told to send what comes from an address over that address's NIC (`ip rule from ADDRESS`). Where rails have
    /// devices of their own ([`RailsConfig::ports`]) these are the devices' instead, for peers that reach them at other addresses
    /// than they listen on.
    pub addresses: Vec<IpAddr>,
    /// Devices that rails are on, at most [`MOST_RAILS`], each with queue pairs, a lane and keys of its own: all memory is
    /// registered with each. Both ends name theirs, of one kind, and a peer that names none is not connected to. Of two lists of
    /// unequal length the devices of the shorter one are on several rails. The first rails are those of the NICs that are nearest
    /// to the accelerators of [`EndpointConfig::soft`](super::EndpointConfig::soft). A transfer goes over the rails of the NICs
    /// that are nearest to its memory at this end while one of those is up: by the PCIe distance from its accelerator, by the NUMA
    /// node of its first page; over all where its memory is in several places, or nothing is known (containers without
    /// `CAP_SYS_NICE` are not told where pages are). Transfers over them begin with a round trip of the control connection, for
    /// the peer's keys; memory that not every device reaches, and work lists with more than 4096 keys of the peer, stay on the
    /// route. None leaves rails on the device that carries the route, where [`RailsConfig::addresses`] tells them apart.
    pub ports: Vec<RailPort>,
    /// Which devices of the two ends reach each other, as the end that connects has it. On a fabric of rails only, where a device
    /// reaches one device of the peer alone, those are found by trying: a rail that has not come up in [`DISCOVERY`] lives goes
    /// on with other devices, and keeps those on which it comes up first. Where device *i* reaches device *i*, to declare it
    /// saves the time: [`Reach::SameNumber`].
    ///
    /// [`DISCOVERY`]: crate::rail::DISCOVERY
    pub reach: Reach,
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
            ports: Vec::new(),
            reach: Reach::default(),
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

    /// Rails on these devices of their own, as many as there are pairs with those of the peer.
    #[must_use]
    pub fn on(ports: Vec<RailPort>) -> Self {
        Self { count: MOST_RAILS, ports, ..Self::default() }
    }
}

/// A device of rails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RailPort {
    /// A NIC.
    Nic(NicOptions),
    /// A software HCA of its own, reached over TCP at the address that it listens on.
    Soft(TcpConfig),
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
    /// Says whether a transfer can be taken.
    primary: Route,
    /// Tells the service what is notified.
    relay: Relay,
    notices: Notices,
    epoch: Instant,
    maker: Maker,
    keeper: mpsc::Sender<Job>,
    events: Mutex<Vec<Event>>,
    state: Mutex<State>,
    /// By number, where rails have devices of their own: those of the present life.
    places: Mutex<Vec<Option<Place>>>,
    /// Finds devices for rails that this end opens.
    pairing: Option<Mutex<Pairing>>,
    role: Role,
    routes: Mutex<Routes>,
}

/// This end of the rails.
#[derive(Debug)]
struct Routes {
    /// With their lives.
    by_number: Vec<Option<(RailId, Route)>>,
    /// No more are opened.
    is_shut: bool,
}

/// Asks the other end to open its part of a rail; answered by the addresses of that.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    number: u16,
    life: u32,
    place: Option<Place>,
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
        (connection, primary): (&Connection, &Route),
        relay: Relay,
        pairing: Option<Pairing>,
    ) -> Result<Arc<Self>, EndpointError> {
        let config = maker.rails().clone();
        let count = match (role, &pairing) {
            (Role::Opens, Some(pairing)) => pairing.rails(),
            (Role::Opens, None) => config.count.min(MOST_RAILS),
            (Role::Awaits, _) => MOST_RAILS,
        };
        let (keeper, jobs) = mpsc::channel();
        let rails = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            connection: connection.clone(),
            primary: primary.clone(),
            relay,
            notices: Notices::default(),
            epoch: Instant::now(),
            maker,
            keeper,
            events: Mutex::default(),
            state: Mutex::new(State::new(Bundle::new(count, role, config.bundle), count)),
            routes: Mutex::new(Routes { by_number: vec![None; count], is_shut: false }),
            places: Mutex::new(vec![None; count]),
            pairing: pairing.map(Mutex::new),
            role,
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

    /// Takes a transfer, unless this end's keys for it are not known where rails have devices of their own: then it goes over
    /// this route.
    pub(super) fn submit_beside(
        &self,
        route: &Route,
        work: &Arc<WorkList>,
        options: TransferOptions,
        deadline: Option<Instant>,
    ) -> Result<Transfer, SubmitError> {
        let (is_fabric, table) = (self.maker.is_fabric(), self.maker.keys());
        let beside = self.has_places().then(|| Beside::of(work, is_fabric, table, route));
        match beside {
            Some(None) => route.submit_waiting(work, options, deadline),
            beside => self.submit(work, options, beside.flatten()),
        }
    }

    fn submit(
        &self,
        work: &Arc<WorkList>,
        options: TransferOptions,
        beside: Option<Beside>,
    ) -> Result<Transfer, SubmitError> {
        self.primary.check(work, &options)?;
        let listener = Listener::Other(self.this.clone() as Weak<dyn Stopper>);
        let trace = Trace::begin(work, &"rails");
        let (transfer, completer) = transfer(listener, options.observer.clone(), None, trace);
        let work = Arc::clone(work);
        let submission = Submission { completer, work, options };
        self.happen_to_caller(Event::Submitted(Box::new(submission), beside));
        Ok(transfer)
    }

    /// The connection is down. As with routes, what is posted may still be answered for where the peer has said goodbye.
    pub(super) fn peer_down(&self, reason: &DownReason) {
        self.happen(match reason {
            DownReason::Goodbye => Event::PeerLeft,
            _ => Event::PeerDown,
        });
    }

    /// Opens no rail any more, and tells those that are open at this end, which are to be closed.
    pub(super) fn shut(&self) -> Vec<Route> {
        let mut routes = self.routes();
        routes.is_shut = true;
        let open = routes.by_number.iter().flatten().map(|(_, route)| route.clone()).collect();
        drop(routes);
        self.happen_to_caller(Event::PeerDown);
        open
    }

    /// The peer's end of a rail is quiet.
    pub(super) fn heard(&self, body: &[u8]) {
        if let Ok(Word { number, life }) = handshake::decode::<Word>(body) {
            self.happen(Event::Heard(RailId { number, life }));
        }
    }

    /// The peer opens a rail.
    pub(super) fn offered(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let Offer { number, life, place, addresses } =
            handshake::decode(body).map_err(|error| handshake::refused(&error))?;
        let rail = RailId { number, life };
        if !self.with(|state| state.offered(rail)) {
            return Err(Refusal { code: NOT_NOW, detail: format!("rail {number} cannot begin life {life}") });
        }
        // Nothing of an earlier life is posted any more, and nothing of this one yet.
        self.set_place(number, place);
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

    /// The device of this end and that of the other, of a rail that has devices of its own.
    fn devices_of(&self, number: u16) -> Option<(usize, usize)> {
        let place = self.places().get(usize::from(number)).copied().flatten()?;
        let (opener, other) = (usize::from(place.opener), usize::from(place.other));
        Some(if self.role == Role::Opens { (opener, other) } else { (other, opener) })
    }

    /// The device of this end of each rail that has devices of its own.
    fn our_devices(&self) -> Vec<(u16, usize)> {
        let ours = |place: Place| if self.role == Role::Opens { place.opener } else { place.other };
        let device = |(number, place): (u16, &Option<Place>)| Some((number, usize::from(ours((*place)?))));
        (0..).zip(&*self.places()).filter_map(device).collect()
    }

    fn has_places(&self) -> bool {
        self.places().iter().any(Option::is_some)
    }

    /// The highest number of a device of the other end.
    fn farthest(&self) -> usize {
        let number = |place: &Place| if self.role == Role::Opens { place.other } else { place.opener };
        self.places().iter().flatten().map(number).max().map_or(0, usize::from)
    }

    /// Chooses the devices for the life of a rail that begins, where it has devices of its own. Whether it has some: one that must
    /// wait for what comes of others is not opened.
    fn choose_place(&self, number: u16) -> bool {
        let Some(pairing) = &self.pairing else { return true };
        let chosen = pairing.lock().unwrap_or_else(PoisonError::into_inner).begin(number);
        if let Some((our, their)) = chosen {
            // As when one is offered: nothing of an earlier life is posted any more.
            self.set_place(number, Some(Place { opener: our as u16, other: their as u16 }));
        }
        chosen.is_some()
    }

    /// A rail has come up on its devices.
    fn prove_place(&self, number: u16) {
        if let Some(pairing) = &self.pairing {
            pairing.lock().unwrap_or_else(PoisonError::into_inner).came_up(number);
        }
    }

    fn set_place(&self, number: u16, place: Option<Place>) {
        if let Some(known) = self.places().get_mut(usize::from(number)) {
            *known = place;
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Option<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, rail: RailId) -> Option<Route> {
        let routes = self.routes();
        let (of, route) = routes.by_number.get(usize::from(rail.number))?.as_ref()?;
        (*of == rail).then(|| route.clone())
    }
}

/// Making them.
impl Inner {
    /// Opens rails to a peer that was connected to, if there are to be any.
    pub(super) fn open_rails(&self, peer: &Peer, patience: Duration) -> Result<(), EndpointError> {
        if self.config.rails.count > 0 {
            let pairing = self.pairing(peer, patience)?;
            self.rails(peer, Role::Opens, pairing)?;
        }
        Ok(())
    }

    /// Which devices of the two ends are on a rail together, where rails have devices of their own.
    fn pairing(&self, peer: &Peer, patience: Duration) -> Result<Option<Pairing>, EndpointError> {
        let ours = self.devices.ports().terms();
        if ours.is_empty() {
            return Ok(None);
        }
        let answer = peer.connection().request(RESERVED.ports, Vec::new(), patience)?;
        let theirs = handshake::decode::<Vec<PortTerms>>(&answer)?;
        let joined = (theirs.len() <= MOST_RAILS).then(|| {
            let RailsConfig { reach, count, .. } = self.config.rails;
            PortTerms::together(ours, &theirs, reach, count)
        });
        match joined.filter(|pairing| pairing.rails() > 0) {
            None => Err(EndpointError::RailPorts { ours: ours.len(), theirs: theirs.len() }),
            joined => Ok(joined),
        }
    }

    /// A peer that has connected opens a rail.
    pub(super) fn rails_offered(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let rails = self.rails(peer, Role::Awaits, None).map_err(|error| handshake::refused(&error))?;
        rails.offered(body)
    }

    /// The rails to a peer, made when there are none.
    fn rails<'a>(
        &self,
        peer: &'a Peer,
        role: Role,
        pairing: Option<Pairing>,
    ) -> Result<&'a Arc<Rails>, EndpointError> {
        let rails = peer.rails_or(|| {
            let maker = Maker::new(&self.devices, peer.transport(), &self.config);
            let relay = Relay::new(Arc::clone(&self.service));
            relay.introduce(peer);
            Rails::start(role, maker, (peer.connection(), peer.route()), relay, pairing)
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
